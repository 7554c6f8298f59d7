"""What happens to jobs on a dataset while they run: files that change or go, folders that can only be read, a second job, the power."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path

import pytest
from PIL import Image

import tagger_model
from lorabake import flattener, journal, locks, tag_changes, tag_job, tag_words
from lorabake.repaint import Wish

CHILD = Path(__file__).with_name("mishap_child.py")
NAMES = ["1_a/\u732b one.png", "1_a/\u043a\u043e\u0442 & (2).png", "2_b/\U0001f408.png", "2_b/four.webp", "2_b/five.gif"]


def started(mishap, script, *words):
    command = [sys.executable, str(CHILD), mishap, script, *map(str, words)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")


def ended(mishap, script, *words):
    """(exit code, what it said) of a job."""
    with started(mishap, script, *words) as process:
        said = process.communicate(timeout=120)[0]
    return process.returncode, said


def contents(folder):
    """What people see: names that begin with _ are ours."""
    parts = ((path, path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {place.as_posix(): path.read_bytes() for path, place in parts if not any(part.startswith("_") for part in place.parts)}


def seen(folder):
    """The same with pictures as their pixels: ImageMagick writes the time into some files."""
    found = contents(folder)
    for name in found:
        if not name.endswith(".txt"):
            with Image.open(folder / name) as image:
                found[name] = (image.format, image.size, image.convert("RGBA").tobytes())
    return found


def fill(folder):
    for number, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGBA", (24, 16), (40 * number, 250 - 60 * number, 90, 255))
        picture.paste((0, 0, 0, 0), (0, 0, 6, 6))
        picture.save(path)
        path.with_suffix(".txt").write_bytes([b"old, x", b"old\r\nsecond line", b"\xef\xbb\xbfold", b"", "old, \u732b".encode()][number])
    return folder


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "a set")


@pytest.fixture
def open_folder():
    """A dataset below a folder that anybody may enter, which pytest's own are not."""
    above = Path(tempfile.mkdtemp(prefix="lb-"))
    above.chmod(0o755)
    place = fill(above / "set of \u732b")
    for path in (place, *place.rglob("*")):
        if hasattr(os, "chown") and os.geteuid() == 0:
            os.chown(path, 65534, 65534)
    yield place
    for path in (place, *place.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IRWXU)
    shutil.rmtree(above)


def flatten_words(folder, **more):
    given = {"background": "white", "recursive": True, "dry_run": False, "undo": False, "crop": [], "max_side": None, **more}
    return flattener.main(Namespace(folder=[str(folder)], **given))


def tag(folder, *words):
    return tag_job.main(tag_words.parse(None, [str(folder), *map(str, words)]))


def undo_all(folder):
    """Take back every entry that stands, newest first, as a person would."""
    for place in (folder, *(path for path in folder.iterdir() if path.is_dir() and path.name[0] != "_")):
        for job in reversed(journal.jobs(place)):
            if job.state != "undone":
                assert journal.undo(place, job).problems == ()


# files that change or go while a job runs


def test_what_happens_to_pictures_while_they_are_flattened(folder, monkeypatch, capsys):
    """After the first picture took its place: one is painted over, one is gone, one became a folder, one is new."""
    place = folder / "2_b"
    for number in range(12):
        shutil.copy(place / "four.webp", place / f"more {number:02}.webp")
    before = contents(place)
    update = flattener.console.Bar.update

    def meddle(bar, done):
        update(bar, done)
        if done == 1:
            (place / "more 00.webp").write_bytes(b"painted over")
            (place / "more 01.webp").unlink()
            (place / "more 11.webp").unlink()
            (place / "more 11.webp").mkdir()
            shutil.copy(place / "more 05.webp", place / "new.webp")

    monkeypatch.setattr(flattener.console.Bar, "update", meddle)
    tally = flattener.flatten(place, Wish(), {})
    assert {Path(line.partition(": ")[0]).name for line in tally.problems} == {"more 00.webp", "more 01.webp", "more 11.webp"}
    after = contents(place)
    assert after["more 00.webp"] == b"painted over" and "more 01.webp" not in after and (place / "more 11.webp").is_dir()
    assert after["new.webp"] == before["more 05.webp"] and after["more 10.webp"] != before["more 10.webp"]
    assert not list(place.glob("_tmp-*")) and not (place / "_lock.json").exists()
    monkeypatch.undo()
    undo_all(place)
    changed = {name for name, data in contents(place).items() if before.get(name) != data}
    assert changed == {"more 00.webp", "new.webp"}


@pytest.mark.skipif(os.name == "nt", reason="Windows does not rename a folder in which a file is open")
def test_a_folder_that_goes_while_it_is_flattened(folder, monkeypatch):
    place = folder / "2_b"
    update = flattener.console.Bar.update

    def meddle(bar, done):
        update(bar, done)
        if done == 1:
            place.rename(folder / "3_b")

    monkeypatch.setattr(flattener.console.Bar, "update", meddle)
    tally = flattener.flatten(place, Wish(), {})
    monkeypatch.undo()
    assert len(tally.problems) == tally.num_pictures - 1
    assert not place.exists() or not contents(place)
    undo_all(folder / "3_b")
    fresh = fill(folder.parent / "fresh")
    assert contents(folder / "3_b") == contents(fresh / "2_b")


def test_captions_that_change_or_go_between_reading_and_writing(folder, monkeypatch, capsys):
    before = contents(folder)
    differing = tag_changes.differing
    by_hand = folder / "1_a/\u732b one.txt"

    def meddle(found, new):
        by_hand.write_text("by hand", encoding="utf-8")
        (folder / "2_b/five.txt").unlink()
        (folder / "2_b/four.txt").write_text("by hand too", encoding="utf-8")
        return differing(found, new)

    monkeypatch.setattr(tag_changes, "differing", meddle)
    assert tag(folder, "--add", "new") == 1
    seen = capsys.readouterr()
    assert seen.err.count("it was changed while the job ran, left as it is") == 3 and "2 captions of 5 changed" in seen.out
    after = contents(folder)
    assert by_hand.read_bytes() == b"by hand" and "2_b/five.txt" not in after and after["2_b/four.txt"] == b"by hand too"
    assert after["2_b/\U0001f408.txt"] == b"old, new"
    monkeypatch.undo()
    assert tag(folder, "--undo") == 0
    assert contents(folder)["2_b/\U0001f408.txt"] == before["2_b/\U0001f408.txt"]
    assert tag(folder, "--add", "new") == 0 and by_hand.read_bytes() == b"by hand, new"


# what may not be written or read


@pytest.mark.skipif(os.name == "nt", reason="these are permissions of POSIX")
@pytest.mark.parametrize(
    ("script", "words"), [("flatten", ["--recursive"]), ("tag", ["--add", "x"]), ("tag", ["--remove", "old", "--dedupe"])], ids=str
)
def test_a_folder_that_can_only_be_read(open_folder, script, words):
    before = contents(open_folder)
    for path in (open_folder, *open_folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    code, said = ended("nobody", script, open_folder, *words)
    assert code == 1 and "no permission" in said and "Traceback" not in said, said
    assert contents(open_folder) == before


@pytest.mark.skipif(os.name == "nt", reason="these are permissions of POSIX")
def test_a_folder_inside_that_can_only_be_read(open_folder):
    before = contents(open_folder)
    (open_folder / "1_a").chmod(0o555)
    code, said = ended("nobody", "tag", open_folder, "--add", "new")
    after = contents(open_folder)
    assert code == 1 and said.count("left as it is") == 2 and "3 captions of 5 changed" in said, said
    assert {name for name in after if after[name] != before[name]} == {name for name in before if "2_b" in name and ".txt" in name}
    code, said = ended("nobody", "tag", open_folder, "--undo")
    assert code == 0 and contents(open_folder) == before, said


@pytest.mark.skipif(os.name == "nt", reason="these are permissions of POSIX")
def test_an_undoing_where_a_folder_can_only_be_read_can_be_finished_later(open_folder):
    before = contents(open_folder)
    assert ended("nobody", "tag", open_folder, "--add", "new")[0] == 0
    (open_folder / "1_a").chmod(0o555)
    code, said = ended("nobody", "tag", open_folder, "--undo")
    assert code == 1 and said.count("--undo again") == 2 and "3 files as before" in said, said
    (open_folder / "1_a").chmod(0o755)
    code, said = ended("nobody", "tag", open_folder, "--undo")
    assert code == 0 and "2 files as before" in said and contents(open_folder) == before, said


@pytest.mark.skipif(os.name == "nt", reason="these are permissions of POSIX")
def test_files_that_may_not_be_read(open_folder):
    picture, caption = open_folder / "2_b/five.gif", open_folder / "2_b/five.txt"
    before = contents(open_folder)
    picture.chmod(0)
    caption.chmod(0)
    code, said = ended("nobody", "flatten", open_folder, "--recursive")
    assert code == 1 and f"{picture}: cannot be opened: Permission denied" in said and "Traceback" not in said, said
    code, said = ended("nobody", "tag", open_folder, "--add", "x")
    assert code == 1 and f"{caption}: cannot be read: Permission denied, left as it is" in said, said
    assert contents(open_folder)["2_b/five.txt"] == before["2_b/five.txt"]
    assert ended("nobody", "tag", open_folder, "--undo")[0] == 0
    assert ended("nobody", "flatten", open_folder, "--recursive", "--undo")[0] == 0
    assert contents(open_folder) == before


# a second job


@pytest.mark.parametrize("second", [("flatten",), ("tag", "--add", "y"), ("tag", "--undo")], ids=lambda words: " ".join(words))
@pytest.mark.parametrize("first", [("flatten",), ("tag", "--add", "x")], ids=lambda words: " ".join(words))
def test_the_second_job_refuses_and_the_first_finishes(folder, tmp_path, first, second):
    place = folder / "2_b"
    before, go = contents(place), tmp_path / "go"
    with started(f"waits={go}", first[0], place, *first[1:]) as running:
        end = time.monotonic() + 60
        while not (tmp_path / "go.inside").exists():
            assert time.monotonic() < end and running.poll() is None, running.communicate()[0]
            time.sleep(0.01)
        code, said = ended("", second[0], place, *second[1:])
        assert code == 1 and f"another job is at work in this folder\n  process {running.pid}" in said, said
        assert contents(place) == before
        go.touch()
        assert running.wait(60) == 0, running.communicate()[0]
    after = contents(place)
    suffix = ".txt" if first[0] == "tag" else None
    assert all((after[name] != before[name]) == (name.endswith(".txt") == (suffix is not None)) for name in before)
    with locks.dataset(place):
        undo_all(place)
    assert contents(place) == before


# the power goes


def points(count, most):
    """`most` of the moments 1 to `count`, the first and the last among them."""
    return sorted({1 + round(step * (count - 1) / (most - 1)) for step in range(most)})


@pytest.mark.parametrize(
    ("script", "words", "most"),
    [("flatten", [], 9), ("tag", ["--remove", "old", "--add-first", "trigger"], 7), ("tag", ["--model"], 5)],
    ids=["flatten", "edit", "tag"],
)
def test_killed_in_the_middle_and_started_again(tmp_path, script, words, most):
    """The second start makes what one that was not killed makes, and undoing both brings every byte back."""
    if words == ["--model"]:
        words = ["--model", tagger_model.write(tmp_path / "model"), "--existing", "merge"]

    def fresh(name):
        return fill(tmp_path / name) / "2_b" if script == "flatten" else fill(tmp_path / name)

    whole = fresh("whole")
    before = contents(whole)
    code, said = ended("dies=0", script, whole, *words)
    assert code == 0, said
    count, wanted = int(said.rpartition("count=")[2]), seen(whole)
    assert count > 10 and wanted != seen(fresh("untouched"))
    for at in points(count, most):
        place = fresh(f"killed {at}")
        code, said = ended(f"dies={at}", script, place, *words)
        assert code != 0 and "count=" not in said, "it was not killed"
        code, said = ended("", script, place, *words)
        assert code == 0 and seen(place) == wanted, (at, said)
        assert not (place / "_lock.json").exists() and not list(place.rglob("_tmp-*")), at
        undo_all(place)
        assert contents(place) == before, at
        assert not list(place.rglob("_originals")), at

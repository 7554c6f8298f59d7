"""py/tag.py with a tagger: which captions it writes, what a stop, a crash and other programs do to it, and that all of it can be undone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

import baking
import tagger_model
from lorabake import journal, tag_job, tag_words, tagger, tagging
from lorabake.errors import Stopped, UsageError, UserError

SCRIPT = Path(__file__).parents[1] / "py" / "tag.py"
PICTURES = {
    "5_anna/\u8d64 red.png": (255, 0, 0),
    "5_anna/\u0437\u0435\u043b\u0451\u043d\u044b\u0439.png": (0, 255, 0),
    "3_bob/\U0001f535.png": (0, 0, 255),
    "3_bob/white.webp": (255, 255, 255),
    "_rejected/no.png": (255, 0, 0),
}
RED = ["red_theme", "1girl", "red_hair", "signature", "^_^", "anna_(fairy_tale)"]


@pytest.fixture
def model(tmp_path):
    return tagger_model.write(tmp_path / "model \u00e9")


@pytest.fixture
def folder(tmp_path):
    for name, colour in PICTURES.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 24), colour).save(path)
    return tmp_path / "set"


def run(folder, *words):
    return tag_job.main(tag_words.parse(None, [str(folder), *map(str, words)]))


def texts(folder):
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8").strip() for path in folder.rglob("*.txt")}


def of(folder, part):
    return next(text for name, text in texts(folder).items() if part in name).split(", ")


def test_all_pictures_get_captions_and_lose_them_again(folder, model, capsys):
    assert run(folder, "--model", model) == 0
    seen = capsys.readouterr()
    assert "4 captions of 4 written" in seen.out
    assert "the processor" in seen.err and "signature (4)" in seen.err and "--undo" in seen.err
    assert set(texts(folder)) == {Path(name).with_suffix(".txt").as_posix() for name in PICTURES if name[0] != "_"}
    assert of(folder, "red") == ["red theme", "1girl", "red hair", "signature", "^_^", "anna (fairy tale)"]
    assert run(folder, "--undo") == 0 and texts(folder) == {}


def test_the_words_do_what_they_say(folder, model):
    words = ["--underscores", "--rating", "last", "--exclude", "^_^", "--character-first", "--character-threshold", "0.9"]
    run(folder, "--model", model, *words)
    assert of(folder, "red") == ["anna_(fairy_tale)", "red_theme", "1girl", "red_hair", "signature", "questionable"]
    assert of(folder, "\U0001f535")[0] == "bob_(fairy_tale)"
    run(folder, "--model", model, "--threshold", "0.97", "--order", "score", "--existing", "overwrite", "--character-expand")
    assert of(folder, "red") == ["red theme", "red hair", "anna", "fairy tale"]


@pytest.mark.parametrize(
    ("existing", "wanted"), [("keep", ["mine"]), ("merge", ["mine", *RED]), ("overwrite", RED)], ids=lambda value: str(value)[:9]
)
def test_captions_that_are_there(folder, model, existing, wanted):
    caption = next(folder.glob("5_anna/*red.png")).with_suffix(".txt")
    caption.write_text("mine", encoding="utf-8")
    (folder / "3_bob" / "white.txt").write_text("", encoding="utf-8")
    before = texts(folder)
    assert run(folder, "--model", model, "--underscores", "--existing", existing) == 0
    assert of(folder, "red") == wanted and of(folder, "white")[0] == "1girl", "an empty one is written"
    run(folder, "--undo")
    assert texts(folder) == before


def test_nothing_to_do_needs_no_model(folder, capsys):
    for name in PICTURES:
        (folder / name).with_suffix(".txt").write_text("x", encoding="utf-8")
    assert run(folder, "--model", "wd-vit-tagger-v3") == 0
    seen = capsys.readouterr()
    assert "nothing to do: 4 captions there already" in seen.out and "--existing merge" in seen.err


def test_presets_and_trigger_words_by_folder(folder, model, capsys):
    assert run(folder, "--model", model, "--preset", "character") == 0
    assert of(folder, "red") == ["anna", "red theme", "1girl", "signature", "^_^"], "hair and name are learned as anna's"
    assert of(folder, "\U0001f535")[0] == "bob"
    seen = capsys.readouterr().err
    assert 'trigger words: "bob" for 3_bob, "anna" for 5_anna' in seen and "5_anna: not written" in seen and "red hair" in seen
    run(folder, "--model", model, "--preset", "style", "--existing", "overwrite", "--trigger", "5_anna=inked", "--trigger", "bob=washed")
    assert of(folder, "red") == ["inked", "red theme", "1girl", "red hair", "signature", "^_^"]
    assert of(folder, "\U0001f535")[0] == "washed"


def test_a_trigger_for_a_folder_that_is_not_there_is_told_before_the_hours(folder, monkeypatch):
    monkeypatch.setattr(tagging.tag_models, "folder_of", lambda *_, **__: pytest.fail("too late"))
    with pytest.raises(UsageError, match='no folder "carl"'):
        run(folder, "--trigger", "carl=x")


def test_edits_with_a_tagging_are_made_to_what_it_writes(folder, model):
    (folder / "3_bob" / "white.txt").write_text("mine", encoding="utf-8")
    run(folder, "--model", model, "--add-first", "first", "--add", "last", "--remove", "sig*", "--replace", "1girl=woman")
    assert of(folder, "red") == ["first", "red theme", "woman", "red hair", "^_^", "anna (fairy tale)", "last"]
    assert of(folder, "white") == ["mine"]


def test_only_what_was_found(folder, model):
    run(folder, "--model", model)
    before = texts(folder)
    run(folder, "--model", model, "--existing", "overwrite", "--underscores", "--find", "red theme")
    after = texts(folder)
    assert [name for name in after if after[name] != before[name]] == [name for name in after if "red" in Path(name).stem]


def test_a_dry_run_writes_no_caption(folder, model, capsys):
    assert run(folder, "--model", model, "--dry-run") == 0
    seen = capsys.readouterr()
    assert "4 captions of 4 would be written" in seen.out and "+ " in seen.err and not texts(folder)
    assert not (folder / journal.FOLDER).exists()


def profile_of(tmp_path, model, block):
    path = baking.profile_file(tmp_path)
    path.write_text(path.read_text(encoding="utf-8") + f"tag:\n  model: '{model.name}'\n" + block, encoding="utf-8")
    for caption in (tmp_path / "set").rglob("*.txt"):
        caption.unlink()
    return path


def test_a_profile_says_it_all(tmp_path, model):
    block = (
        "  trigger: blocky\n  append: [made of blocks]\n  threshold: 0.01\n  exclude: '*theme, *_(fairy_tale), *background'\n"
        "  rules:\n  - {find: 1girl, replace: {1girl: thing}}\n  - {remove: '^_^'}\n"
    )
    assert run(profile_of(tmp_path, model, block)) == 0
    assert set(texts(tmp_path / "set").values()) == {"blocky, thing, red hair, signature, made of blocks"}


def test_the_rules_of_a_profile_on_captions_that_are_there(tmp_path, model, capsys):
    path = profile_of(tmp_path, model, "  rules:\n  - {find: old, add_first: found}\n  - {replace: {old: new}}\n")
    caption = tmp_path / "set/1_blocks/1.txt"
    caption.write_text("old, x", encoding="utf-8")
    assert run(path, "--rules") == 0
    assert caption.read_text(encoding="utf-8") == "found, new, x" and len(texts(tmp_path / "set")) == 1
    run(path, "--history")
    assert "the profile's rules" in capsys.readouterr().out
    run(path, "--undo")
    assert caption.read_text(encoding="utf-8") == "old, x"
    with pytest.raises(UsageError, match=r"no tag\.rules"):
        run(tmp_path / "set", "--rules", "--dry-run")


def test_a_stop_file_stops_between_two_batches_and_the_next_start_goes_on(folder, model, monkeypatch, capsys):
    scored = tagger.score_all

    def stopped(*args, **kwargs):
        for number, one in enumerate(scored(*args, **kwargs)):
            if number == 1:
                (folder / "_stop").touch()
            yield one

    monkeypatch.setattr(tagger, "score_all", stopped)
    with pytest.raises(Stopped, match="after 2 of 4 pictures; no caption was written") as caught:
        run(folder, "--model", model, "--batch-size", "2")
    assert caught.value.exit_code == 13 and not texts(folder) and not (folder / "_stop").exists()
    monkeypatch.undo()
    assert run(folder, "--model", model) == 0 and len(texts(folder)) == 4
    assert "2 pictures looked at before, 2 to do" in capsys.readouterr().err


def test_other_thresholds_need_no_second_look(folder, model, monkeypatch):
    run(folder, "--model", model)
    monkeypatch.setattr(tagger, "opened", lambda *_, **__: pytest.fail("looked again"))
    assert run(folder, "--model", model, "--existing", "overwrite", "--threshold", "0.99") == 0
    assert of(folder, "red") == ["red theme", "red hair"]


def test_scores_are_not_read_by_another_list_of_tags(folder, model):
    """A row that is lost from the list, after the pictures were looked at, would give each picture its neighbours' tags."""
    run(folder, "--model", model)
    before = texts(folder)
    labels = model / "selected_tags.csv"
    rows = labels.read_text(encoding="utf-8").splitlines()
    labels.write_text("\n".join(row for row in rows if "1girl" not in row), encoding="utf-8")
    with pytest.raises(UserError, match="gives 14 scores, its list of tags has 13 rows"):
        run(folder, "--model", model, "--existing", "overwrite")
    labels.write_text("\n".join("" if "1girl" in row else row for row in rows), encoding="utf-8")
    with pytest.raises(UserError, match="line 9 is empty"):
        run(folder, "--model", model, "--existing", "overwrite")
    assert texts(folder) == before


def test_broken_pictures_are_told_and_the_rest_is_written(folder, model, capsys):
    bad = folder / "3_bob" / "white.webp"
    bad.write_bytes(b"RIFF\0\0\0\0WEBP")
    assert run(folder, "--model", model) == 1
    assert str(bad) in capsys.readouterr().err and len(texts(folder)) == 3


def test_pictures_and_captions_that_change_while_it_runs(folder, model, monkeypatch, capsys):
    """One picture goes, one is drawn anew, a caption appears: what the person did stands."""
    scored = tagger.score_all

    def meanwhile(*args, **kwargs):
        yield from scored(*args, **kwargs)
        next(folder.glob("5_anna/*red.png")).unlink()
        Image.new("RGB", (50, 50)).save(folder / "3_bob" / "\U0001f535.png")
        (folder / "3_bob" / "white.txt").write_text("by hand", encoding="utf-8")

    monkeypatch.setattr(tagger, "score_all", meanwhile)
    assert run(folder, "--model", model) == 1
    assert "it was changed while the job ran" in capsys.readouterr().err
    found = texts(folder)
    assert found.pop("3_bob/white.txt") == "by hand"
    assert [Path(name).parent.name for name in found] == ["5_anna"] and "green theme" in next(iter(found.values()))


def test_a_caption_that_cannot_be_written_is_told(folder, model, monkeypatch, capsys):
    put = journal._put

    def denied(path, data):
        if path.name == "white.txt":
            raise PermissionError(13, "Permission denied", str(path))
        put(path, data)

    monkeypatch.setattr(journal, "_put", denied)
    assert run(folder, "--model", model) == 1
    assert "white.txt: Permission denied, left as it is" in capsys.readouterr().err and len(texts(folder)) == 3
    monkeypatch.undo()
    assert run(folder, "--undo") == 0 and not texts(folder)


def test_unreadable_captions_stay_unless_they_are_to_be_overwritten(folder, model, capsys):
    caption = folder / "3_bob" / "white.txt"
    caption.write_bytes(b"\0\1\2")
    for existing in ("keep", "merge"):
        assert run(folder, "--model", model, "--existing", existing) == 1
        assert caption.read_bytes() == b"\0\1\2" and "white.txt" in capsys.readouterr().err
    assert run(folder, "--model", model, "--existing", "overwrite") == 0
    assert "1girl" in caption.read_text(encoding="utf-8")
    run(folder, "--undo")
    assert caption.read_bytes() == b"\0\1\2"


@pytest.mark.skipif(os.name == "nt", reason="Windows names are Unicode")
def test_a_name_that_is_no_unicode_is_told(folder, model, capsys):
    source = folder / "3_bob" / "white.webp"
    try:
        shutil.copy(os.fsencode(source), os.fsencode(source.parent) + b"/caf\xe9.webp")
    except OSError:
        pytest.skip("this disk takes only Unicode names")
    assert run(folder, "--model", model) == 1
    assert "its name is not Unicode: rename it" in capsys.readouterr().err and len(texts(folder)) == 4


def test_a_second_job_refuses(folder, model):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (folder / "_lock.json").write_text(json.dumps({"pid": other.pid}), encoding="utf-8")
        with pytest.raises(UserError, match="another job"):
            run(folder, "--model", model)
        other.communicate(b"\n")


def test_wrong_words(folder, model):
    with pytest.raises(UsageError, match="--threshold"):
        run(folder, "--threshold", "2")
    with pytest.raises(UsageError, match="--background"):
        run(folder, "--background", "wite")
    with pytest.raises(UserError, match="no tagger"):
        run(folder, "--model", "nobody-knows")
    with pytest.raises(UsageError, match="--rules"):
        run(folder, "--tag", "--rules")


def many(folder, count, size=(64, 64)):
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", size, (number % 256, number // 256 * 8, 99)).save(folder / f"{number:05}.png", compress_level=1)


@pytest.mark.skipif(os.name == "nt", reason="sends Ctrl-C to a process of its own group")
def test_ctrl_c_in_the_middle_and_again(tmp_path, model):
    many(tmp_path / "set", 300, (900, 900))
    command = [sys.executable, str(SCRIPT), str(tmp_path / "set"), "--model", str(model)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8", start_new_session=True) as process:
        scores = tmp_path / "set" / "_tagger" / f"{model.name}.jsonl"
        end = time.monotonic() + 60
        while not (scores.exists() and scores.stat().st_size > 3000):
            assert time.monotonic() < end and process.poll() is None, "it never began"
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 13, told
    assert "stopped by Ctrl-C after" in told and "it goes on from here" in told and not texts(tmp_path / "set")
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0 and "300 captions of 300 written" in done.stdout and "looked at before" in done.stderr


@pytest.mark.slow
def test_2000_pictures_in_bounded_memory(tmp_path, model):
    """The largest resident size hardly grows from 100 to 2000 pictures of 3 MB each in memory."""
    peaks = {}
    for count in (100, 2000):
        many(tmp_path / str(count), count, (1024, 1024))
        process = psutil.Popen([sys.executable, str(SCRIPT), str(tmp_path / str(count)), "--model", str(model)], stderr=subprocess.PIPE)
        peaks[count] = 0
        while process.poll() is None:
            try:
                peaks[count] = max(peaks[count], process.memory_info().rss)
            except psutil.Error:
                break
            time.sleep(0.02)
        assert process.wait() == 0, process.stderr.read()
        process.stderr.close()
        assert len(texts(tmp_path / str(count))) == count
    assert peaks[2000] - peaks[100] < 100 << 20, peaks

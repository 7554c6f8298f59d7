"""py/tag.py as people use it: counting, finding, editing many captions, and taking it back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import baking
from lorabake import journal, tag_changes, tag_job, tag_words
from lorabake.errors import UsageError, UserError

SCRIPT = Path(__file__).parents[1] / "py" / "tag.py"
CAPTIONS = {
    "5_girl/a \u732b.png": "1girl, red eyes, solo",
    "5_girl/b \U0001f408.png": "1girl, Red_Eyes, signature",
    "5_girl/c.png": None,
    "2_boy/d.png": "1boy, solo",
    "_rejected/e.png": "1girl",
}


def run(folder, **options):
    """As typed: find="x" is --find x, a list is the word several times, True a word alone."""
    words = [str(folder)]
    for name, value in options.items():
        word = f"--{name.replace('_', '-')}"
        words += [word] if value is True else [part for one in (value if isinstance(value, list) else [value]) for part in (word, str(one))]
    return tag_job.main(tag_words.parse(None, words))


def texts(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.txt")}


@pytest.fixture
def folder(tmp_path):
    for name, caption in CAPTIONS.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
        if caption is not None:
            path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return tmp_path / "set"


def test_counts(folder, capsys):
    assert run(folder, stats=True) == 0
    seen = capsys.readouterr()
    assert [line.split(maxsplit=1) for line in seen.out.splitlines()][:3] == [["2", "1girl"], ["2", "red eyes"], ["2", "solo"]]
    assert "5 tags on 4 pictures; 1 without a caption" in seen.err


def test_a_list_of_all_tags_as_a_file(folder, tmp_path):
    assert run(folder, tag_list=tmp_path / "tags.txt", find="1girl") == 0
    assert (tmp_path / "tags.txt").read_text(encoding="utf-8").split("\n") == [
        "     2  1girl",
        "     2  red eyes",
        "     1  signature",
        "     1  solo",
        "",
    ]


def test_finding(folder, capsys):
    assert run(folder, find="1girl and not solo") == 0
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()] == [str(Path("5_girl/b \U0001f408.png"))]


def test_an_edit_of_what_was_found_and_its_undoing(folder, capsys):
    before = texts(folder)
    assert run(folder, find="1girl", remove=["signature"], add_first=["junwool"]) == 0
    after = texts(folder)
    assert after["5_girl/a \u732b.txt"] == b"junwool, 1girl, red eyes, solo"
    assert after["5_girl/b \U0001f408.txt"] == b"junwool, 1girl, Red_Eyes"
    assert after["2_boy/d.txt"] == before["2_boy/d.txt"] and after["_rejected/e.txt"] == before["_rejected/e.txt"]
    seen = capsys.readouterr()
    assert "2 captions of 2 changed" in seen.out and "+ junwool, 1girl, red eyes, solo" in seen.err
    assert run(folder, history=True) == 0
    assert "--remove signature --add-first junwool" in capsys.readouterr().out
    assert run(folder, undo=0) == 0 and texts(folder) == before
    with pytest.raises(UserError, match="nothing to undo"):
        run(folder, undo=0)


def test_what_an_edit_changed_can_be_read_later(folder, capsys):
    run(folder, find="signature", replace=["signature=\u732b"])
    run(folder, add=["x"])
    capsys.readouterr()
    assert run(folder, diff=1) == 0
    assert capsys.readouterr().out == "5_girl/b \U0001f408.txt\n  - 1girl, Red_Eyes, signature\n  + 1girl, Red_Eyes, \u732b\n"
    assert run(folder, diff=0) == 0
    assert capsys.readouterr().out.count("  + ") == 4
    with pytest.raises(UserError, match="no entry 9"):
        run(folder, diff=9)


def test_an_older_edit_can_be_undone_by_its_number(folder):
    run(folder, find="1boy", replace=["1boy=1girl"])
    run(folder, find="signature", remove=["signature"])
    assert run(folder, undo=1) == 0
    assert (folder / "2_boy/d.txt").read_bytes() == b"1boy, solo"
    assert (folder / "5_girl/b \U0001f408.txt").read_bytes() == b"1girl, Red_Eyes"
    with pytest.raises(UserError, match="no entry 1"):
        run(folder, undo=1)


def test_what_was_edited_by_hand_since_is_not_undone(folder, capsys):
    run(folder, add=["x"])
    (folder / "2_boy/d.txt").write_text("by hand", encoding="utf-8")
    assert run(folder, undo=0) == 1
    assert (folder / "2_boy/d.txt").read_text(encoding="utf-8") == "by hand"
    assert "changed since" in capsys.readouterr().err


def test_a_picture_without_a_caption_gets_one_and_loses_it_again(folder):
    assert run(folder, add=["junwool"]) == 0
    assert (folder / "5_girl/c.txt").read_bytes() == b"junwool\n"
    run(folder, undo=0)
    assert not (folder / "5_girl/c.txt").exists()


def test_a_dry_run_and_an_edit_that_changes_nothing_write_nothing(folder):
    before = texts(folder)
    assert run(folder, add=["x"], dry_run=True) == 0 and run(folder, remove=["none"]) == 0 and run(folder, find="none", add=["x"]) == 0
    assert texts(folder) == before and not (folder / journal.FOLDER).exists()


def test_other_lines_stay_and_other_encodings_become_utf_8(folder):
    (folder / "2_boy/d.txt").write_bytes("\r\n\u732b\u306e\u9854, solo\r\na second line\r\n".encode("cp932"))
    before = texts(folder)
    assert run(folder, add=["x"]) == 0
    assert (folder / "2_boy/d.txt").read_bytes() == "\r\n\u732b\u306e\u9854, solo, x\r\na second line\r\n".encode()
    run(folder, undo=0)
    assert texts(folder) == before


def test_a_caption_that_cannot_be_read_is_left_alone(folder):
    (folder / "2_boy/d.txt").write_bytes(b"\0\1\2")
    assert run(folder, add=["x"]) == 1
    assert (folder / "2_boy/d.txt").read_bytes() == b"\0\1\2"


def test_a_second_job_refuses(folder):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (folder / "_lock.json").write_text(json.dumps({"pid": other.pid}), encoding="utf-8")
        with pytest.raises(UserError, match="another job"):
            run(folder, add=["x"])
        other.communicate(b"\n")


def test_a_profile_stands_for_its_pictures(tmp_path, capsys):
    assert run(baking.profile_file(tmp_path), stats=True) == 0
    assert "4  blocks" in capsys.readouterr().out


def test_bad_words(folder, tmp_path):
    with pytest.raises(UsageError, match="64 to 8192"):
        run(folder, check=True, resolution=0)
    with pytest.raises(UserError, match="already"):
        run(folder, tag_list=folder / "2_boy" / "d.txt")
    with pytest.raises(UsageError, match=r"no tag\.rules"):
        run(folder, rules=True)
    with pytest.raises(UserError, match="no such folder"):
        run(tmp_path / "none", stats=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures"):
        run(tmp_path / "empty", stats=True)


def test_many_changes_are_shown_by_the_first_few(folder, capsys):
    for number in range(6):
        Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("solo ,  Cat", encoding="utf-8")
    assert run(folder, find="cat", dedupe=True) == 0
    assert "0 captions of 6 changed" in capsys.readouterr().out, "other spaces between the same tags are no change"
    assert run(folder, find="cat", add=["x"]) == 0
    told = capsys.readouterr().err
    assert told.count("\n  + solo, Cat, x") == tag_changes.SHOWN and "... and 1 more" in told
    assert (folder / "0.txt").read_bytes() == b"solo, Cat, x"


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
def test_a_right_click_asks_for_the_folder_and_checks_it(folder):
    from terminal import Terminal

    with Terminal([sys.executable, str(SCRIPT)], cwd=folder) as window:
        window.expect(">", timeout_s=60)
        window.type(f'"{folder}"\r')
        window.expect("What shall be done with it?", timeout_s=60)
        window.type("\r")
        window.expect("4 pictures: ", timeout_s=60)
        assert window.wait(timeout_s=30) == 0
    done = subprocess.run([sys.executable, str(SCRIPT)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no dataset was named" in done.stderr


def test_the_script_itself(folder):
    command = [sys.executable, str(SCRIPT), str(folder), "--find", "1boy"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0 and "1boy, solo" in done.stdout, done.stderr

"""Facts that are kept: a file is looked at once, as long as it stays as it is."""

import json
import os

import pytest

from lorabake import picture_facts, picture_memory
from photos import scene

NAMES = ("a.png", "猫 & (1).png", "b.png")


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "ünter" / "5_x"
    inside.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        scene((80, 64), number).save(inside / name)
    return inside.parent


@pytest.fixture
def looks(monkeypatch):
    """The names that were looked at."""
    seen = []
    look = picture_facts.look
    monkeypatch.setattr(picture_facts, "look", lambda path: seen.append(path.name) or look(path))
    return seen


def files(folder):
    return [folder / "5_x" / name for name in NAMES]


def kept(folder):
    return folder / "_checks" / "facts.jsonl"


def test_a_second_look_reads_no_picture(folder, looks):
    first = picture_memory.look_at_all(folder, files(folder))
    assert list(first) == files(folder) and sorted(looks) == sorted(NAMES)
    looks.clear()
    done = []
    assert picture_memory.look_at_all(folder, files(folder), done.append) == first and looks == [] and done == [3]
    assert picture_memory.remembered(folder, files(folder)) == first


def test_a_changed_file_is_looked_at_again(folder, looks):
    picture_memory.look_at_all(folder, files(folder))
    looks.clear()
    scene((80, 64), 9).save(files(folder)[0])
    os.utime(files(folder)[2], ns=(1, 1))
    assert list(picture_memory.remembered(folder, files(folder))) == [files(folder)[1]]
    picture_memory.look_at_all(folder, files(folder))
    assert sorted(looks) == ["a.png", "b.png"]


@pytest.mark.parametrize("damage", [b'{"version": 1, "path": "5_x/a', b"\xff\xfe\0", b"[]\n7\n{}\n", b'{"version": 1, "path": 3}\n'])
def test_torn_lines_are_no_loss(folder, looks, damage):
    first = picture_memory.look_at_all(folder, files(folder))
    kept(folder).write_bytes(kept(folder).read_bytes()[:-1] + b"\n" + damage)
    looks.clear()
    os.utime(files(folder)[0], ns=(1, 1))
    again = picture_memory.look_at_all(folder, files(folder))
    assert again == first and looks == ["a.png"]
    assert picture_memory.remembered(folder, files(folder)) == first


def test_an_interrupted_check_goes_on(folder, looks, monkeypatch):
    look = picture_facts.look

    def stopped(path):
        if path.name == "b.png":
            raise KeyboardInterrupt
        return look(path)

    monkeypatch.setattr(picture_facts, "look", stopped)
    with pytest.raises(KeyboardInterrupt):
        picture_memory.look_at_all(folder, files(folder))
    monkeypatch.setattr(picture_facts, "look", look)
    looks.clear()
    picture_memory.look_at_all(folder, files(folder))
    assert looks == ["b.png"]


def test_facts_of_another_version_are_made_again(folder, looks, monkeypatch):
    picture_memory.look_at_all(folder, files(folder))
    monkeypatch.setattr(picture_memory, "VERSION", picture_memory.VERSION + 1)
    assert picture_memory.remembered(folder, files(folder)) == {}


def test_a_file_that_went_is_told_and_not_kept(folder):
    files(folder)[1].unlink()
    found = picture_memory.look_at_all(folder, files(folder))
    assert found[files(folder)[1]].problem and not found[files(folder)[0]].problem
    assert len(picture_memory.remembered(folder, files(folder))) == 2


def test_where_nothing_can_be_written_all_is_looked_at(folder, capsys):
    (folder / "_checks").write_bytes(b"a file of this name")
    assert len(picture_memory.look_at_all(folder, files(folder))) == 3
    assert capsys.readouterr().err.count("cannot be written") == 1


def test_the_file_does_not_grow_without_end(folder, monkeypatch):
    monkeypatch.setattr(picture_memory, "ROOM", 4)
    for number in range(12):
        os.utime(files(folder)[0], ns=(number, number))
        picture_memory.look_at_all(folder, files(folder))
    lines = kept(folder).read_text(encoding="utf-8").split("\n")
    assert len([json.loads(line) for line in lines if line]) < 10
    assert len(picture_memory.remembered(folder, files(folder))) == 3

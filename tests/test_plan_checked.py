"""What a plan tells of pictures that were checked before, without decoding any."""

from pathlib import Path

import pytest

from lorabake import picture_facts, picture_memory
from photos import scene
from picture_sets import make


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "set" / "5_a"
    folder.mkdir(parents=True)
    for number in range(3):
        scene((160, 160), number).save(folder / f"good{number}.png")
    scene((40, 40)).save(folder / "tiny.png")
    (folder / "again.png").write_bytes((folder / "good1.png").read_bytes())
    (folder / "good1.txt").write_text("a caption", encoding="utf-8")
    return tmp_path / "set"


def notes(tmp_path, images):
    return "\n".join(make(tmp_path, images).notes)


def test_verdicts_are_told_once_they_are_known(tmp_path, images, monkeypatch):
    assert "checked before" not in notes(tmp_path, images) and "5 of 5 pictures not yet checked" in notes(tmp_path, images)
    picture_memory.look_at_all(images, sorted((images / "5_a").glob("*.png")))
    monkeypatch.setattr(picture_facts, "look", None)
    told = notes(tmp_path, images)
    assert "5 pictures checked before: 3 good, 1 to reject (again.png twice), 1 poor (tiny.png small)" in told
    assert "not yet checked" not in told


def test_a_check_of_the_inner_folder_counts_too(tmp_path, images):
    inner = images / "5_a"
    picture_memory.look_at_all(inner, [inner / "tiny.png", inner / "good0.png"])
    told = notes(tmp_path, images)
    assert "2 pictures checked before: 1 good, 1 poor (tiny.png small)" in told and "3 of 5 pictures not yet checked" in told


def test_a_changed_picture_is_unknown_again(tmp_path, images):
    files = sorted((images / "5_a").glob("*.png"))
    picture_memory.look_at_all(images, files)
    scene((150, 150), 9).save(Path(files[0]))
    assert "1 of 5 pictures not yet checked" in notes(tmp_path, images)


def test_good_pictures_need_no_sentence(tmp_path, images):
    picture_memory.look_at_all(images, sorted((images / "5_a").glob("good*.png")))
    assert "checked before" not in notes(tmp_path, images)

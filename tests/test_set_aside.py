"""Pictures moved away with their captions and masks, and brought back."""

import os

import pytest

from lorabake import journal, set_aside, tag_files
from lorabake.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """a and b with captions of their own, c.png and c.jpg that share one, a crop that shares b's; a mask of a."""
    inside = tmp_path / "Töne & (1)" / "5_猫"
    (inside / "_masks").mkdir(parents=True)
    for name in ("a.png", "b.png", "c.png", "c.jpg", "b_1_2_3_4.png", "_masks/a.png"):
        (inside / name).write_bytes(name.encode())
    for name in ("a", "b", "c"):
        (inside / f"{name}.txt").write_text(f"猫, {name}", encoding="utf-8")
    return inside.parent


def everything(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and journal.FOLDER not in path.parts
    }


def moved(folder, place, *names):
    chosen = {folder / "5_猫" / name for name in names}
    made = set_aside.moves(chosen, tag_files.read_all(folder), place)
    assert set_aside.carry_out(folder, made, "test") == []
    return made


def undone(folder):
    return journal.undo(folder, journal.jobs(folder)[-1])


def test_a_picture_goes_with_caption_and_mask_and_comes_back(folder):
    before = everything(folder)
    moved(folder, set_aside.rejected(folder), "a.png")
    after = everything(folder)
    assert {name for name in after if name.startswith("_rejected")} == {
        "_rejected/5_猫/a.png",
        "_rejected/5_猫/a.txt",
        "_rejected/5_猫/_masks/a.png",
    }
    assert sorted(after.values()) == sorted(before.values()) and "5_猫/a.txt" not in after
    assert undone(folder) == journal.Undone(3, ())
    assert everything(folder) == before and not (folder / "_rejected").exists()


def test_a_shared_caption_stays_with_those_that_stay(folder):
    before = everything(folder)
    moved(folder, set_aside.rejected(folder), "c.jpg", "b.png")
    after = everything(folder)
    assert after["5_猫/c.txt"] == after["_rejected/5_猫/c.txt"] == "猫, c".encode()
    assert after["5_猫/b.txt"] == after["_rejected/5_猫/b.txt"] and "5_猫/b_1_2_3_4.png" in after
    undone(folder)
    assert everything(folder) == before


def test_a_whole_group_leaves_no_caption_behind(folder):
    before = everything(folder)
    moved(folder, set_aside.rejected(folder), "c.jpg", "c.png", "b.png", "b_1_2_3_4.png")
    assert {name for name in everything(folder) if not name.startswith("_")} == {"5_猫/_masks/a.png", "5_猫/a.png", "5_猫/a.txt"}
    assert tag_files.captions.read(folder / "_rejected/5_猫/b_1_2_3_4.png", ".txt").text == "猫, b"
    undone(folder)
    assert everything(folder) == before


def test_names_that_are_taken_get_a_number_and_keep_their_captions(folder):
    before = everything(folder)
    there = folder / "_rejected" / "5_猫"
    there.mkdir(parents=True)
    (there / "a.txt").write_text("another's", encoding="utf-8")
    moved(folder, set_aside.rejected(folder), "a.png")
    after = everything(folder)
    assert after["_rejected/5_猫/a.2.txt"] == "猫, a".encode() and after["_rejected/5_猫/a.2.png"] == b"a.png"
    assert after["_rejected/5_猫/a.txt"] == b"another's" and after["_rejected/5_猫/_masks/a.2.png"] == before["5_猫/_masks/a.png"]
    undone(folder)
    assert everything(folder) == before | {"_rejected/5_猫/a.txt": b"another's"}


def test_fewer_repeats_are_a_folder_beside(folder):
    pictures = [folder / "5_猫" / "a.png"]
    moved(folder, set_aside.demoted(folder, 2, pictures), "a.png")
    assert (folder / "2_猫" / "a.txt").read_text(encoding="utf-8") == "猫, a"
    undone(folder)
    assert not (folder / "2_猫").exists()
    assert set_aside.seen_less(pictures, 4) == pictures and set_aside.seen_less(pictures, 5) == []


def test_where_no_repeats_can_be_fewer(folder):
    with pytest.raises(UserError, match="lies beside it") as caught:
        set_aside.demoted(folder / "5_猫", 2, [folder / "5_猫" / "a.png"])
    assert str(folder) in caught.value.todo
    (folder / "loose.png").write_bytes(b"")
    with pytest.raises(UserError, match="have repeats"):
        set_aside.demoted(folder, 2, [folder / "loose.png"])


def test_what_cannot_be_moved_stays_with_its_caption_and_the_rest_goes(folder, monkeypatch):
    rename = os.rename
    before = everything(folder)

    def busy(path, target):
        if path.name == "a.txt":
            raise PermissionError(13, "another program has it open")
        rename(path, target)

    monkeypatch.setattr("lorabake.paths.move", lambda path, target: busy(path, target))
    chosen = {folder / "5_猫" / "a.png", folder / "5_猫" / "c.png", folder / "5_猫" / "c.jpg"}
    made = set_aside.moves(chosen, tag_files.read_all(folder), set_aside.rejected(folder))
    (problem,) = set_aside.carry_out(folder, made, "test")
    assert "a.png" in problem and "open" in problem
    assert (folder / "5_猫" / "a.png").exists() and not (folder / "_rejected/5_猫/a.png").exists()
    assert (folder / "_rejected/5_猫/c.txt").exists()
    monkeypatch.undo()
    undone(folder)
    assert everything(folder) == before


def test_what_was_ended_in_the_middle_is_taken_back_too(folder, monkeypatch):
    before = everything(folder)
    rename, done = os.rename, []

    def ends(path, target):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(path)
        rename(path, target)

    monkeypatch.setattr("lorabake.paths.move", lambda path, target: ends(path, target))
    chosen = {folder / "5_猫" / name for name in ("a.png", "c.png", "c.jpg")}
    with pytest.raises(KeyboardInterrupt):
        set_aside.carry_out(folder, set_aside.moves(chosen, tag_files.read_all(folder), set_aside.rejected(folder)), "test")
    monkeypatch.undo()
    assert everything(folder) != before and journal.jobs(folder)[-1].state == "interrupted"
    assert undone(folder).problems == () and everything(folder) == before

"""Which pictures were enlarged by a network, as the journals tell, and what the plan says of it."""

from PIL import Image

import picture_sets
from lorabake import journal, upscaled
from photos import scene


def replaced(folder, name, note="", color="red"):
    aside = folder / "_tmp.png"
    Image.new("RGB", (8, 8), color).save(aside)
    with journal.Recorder(folder, "flatten", "test") as recorder:
        recorder.replace_picture(folder / name, aside, note=note)


def folder_of(tmp_path, count=3):
    folder = tmp_path / "set" / "5_猫"
    folder.mkdir(parents=True)
    for number in range(count):
        scene((140, 140), number).save(folder / f"{number:02}.png")
    return folder


def names(*folders):
    return {path.name: model for path, model in upscaled.pictures(folders).items()}


def test_what_was_enlarged_counts_until_it_comes_back(tmp_path):
    folder = folder_of(tmp_path)
    replaced(folder, "00.png", f"{upscaled.NOTE}x4.pth")
    replaced(folder, "01.png")
    assert names(folder) == {"00.png": "x4.pth"}
    journal.undo(folder, journal.jobs(folder)[0])
    assert names(folder) == {}


def test_cropped_afterwards_it_stays_enlarged_and_drawn_anew_it_does_not(tmp_path):
    folder = folder_of(tmp_path)
    replaced(folder, "00.png", f"{upscaled.NOTE}x4.pth")
    replaced(folder, "00.png", color="blue")
    assert names(folder) == {"00.png": "x4.pth"}
    scene((9, 9)).save(folder / "00.png")
    assert names(folder) == {}


def test_moved_ones_are_known_by_their_new_place(tmp_path):
    folder = folder_of(tmp_path)
    replaced(folder, "00.png", f"{upscaled.NOTE}x4.pth")
    with journal.Recorder(folder.parent, "check", "test") as recorder:
        recorder.move_together([{folder / "00.png": folder.parent / "2_猫" / "00.png"}])
    assert list(upscaled.pictures([folder.parent, folder])) == [folder.parent / "2_猫" / "00.png"]
    assert upscaled.pictures([tmp_path]) == {}


def test_the_plan_gives_the_share(tmp_path):
    folder = folder_of(tmp_path, 6)
    made = picture_sets.make(tmp_path, folder.parent)
    assert "upscaled" not in "".join([*made.notes, *made.warnings])
    replaced(folder, "00.png", f"{upscaled.NOTE}x4.pth")
    made = picture_sets.make(tmp_path, folder.parent)
    assert any("1 of 6 pictures (17%) were upscaled (x4.pth)" in note and "a few are fine" in note for note in made.notes)
    replaced(folder, "01.png", f"{upscaled.NOTE}anime.pth", "blue")
    warnings = picture_sets.make(tmp_path, folder.parent).warnings
    assert any("2 of 6 pictures (33%) were upscaled (anime.pth, x4.pth)" in warning and "many" in warning for warning in warnings)

"""Layouts that people have: each is recognised, said, and used or refused with what to do."""

import os
import sys

import pytest

from lorabake import paths
from lorabake.errors import UserError
from lorabake.scan import Scan, walk
from lorabake.scan_layout import repeats_of
from picture_sets import load, picture, pictures


def scan(tmp_path, images, **settings) -> Scan:
    return walk(load(tmp_path / "p", images, {key.replace("__", "."): value for key, value in settings.items()}).profile)


def said(found: Scan) -> str:
    return "\n".join((*found.notes, *found.warnings))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("5_ConceptA", (5, "ConceptA")),
        ("10_my cat_in hat", (10, "my cat_in hat")),
        ("5", (5, "")),
        ("05_x", (5, "x")),
        ("0_x", (0, "x")),
        ("-1_x", (-1, "x")),
        ("cats", None),
        ("5cats", None),
        ("5 cats", None),
        ("_5_x", None),
        ("x_5", None),
        ("\u0665_x", None),
    ],
)
def test_repeats_are_read_from_the_name_as_the_reference_does(name, expected):
    assert repeats_of(name) == expected


def test_numbered_folders_in_natural_order_with_captions(tmp_path):
    pictures(tmp_path / "set/10_b", 3)
    pictures(tmp_path / "set/2_a cat", 2)
    found = scan(tmp_path, tmp_path / "set")
    assert [(f.name, f.repeats, f.concept, len(f.pictures)) for f in found.folders] == [("2_a cat", 2, "a cat", 2), ("10_b", 10, "b", 3)]
    assert found.folders[0].pictures[1].caption == "a drawing of number 1"
    assert (found.folders[0].pictures[0].width, found.folders[0].pictures[0].height) == (128, 128)
    assert not found.notes and not found.warnings


def test_the_inner_folder_is_used_and_its_neighbours_are_named(tmp_path):
    pictures(tmp_path / "set/5_ConceptA", 2)
    pictures(tmp_path / "set/3_ConceptB", 2)
    found = scan(tmp_path, tmp_path / "set/5_ConceptA")
    assert [(f.repeats, f.concept) for f in found.folders] == [(5, "ConceptA")]
    assert "inner folder 5_ConceptA" in found.warnings[0]
    assert "3_ConceptB" in found.warnings[0] and found.warnings[0].endswith(f"images: {tmp_path / 'set'}")


def test_the_inner_folder_alone_is_no_warning(tmp_path):
    pictures(tmp_path / "set/5_ConceptA", 2)
    found = scan(tmp_path, tmp_path / "set/5_ConceptA")
    assert not found.warnings and 'the concept "ConceptA" with 5 repeats' in found.notes[0]


def test_a_flat_folder_takes_data_repeats(tmp_path):
    pictures(tmp_path / "junwool", 3, caption=None)
    found = scan(tmp_path, tmp_path / "junwool", data__repeats="7")
    assert [(f.repeats, f.concept, f.pictures[0].caption) for f in found.folders] == [(7, "junwool", "junwool")]
    assert "flat folder" in said(found) and "7 times per epoch" in said(found)


@pytest.mark.parametrize("name", ["2023_summer", "0_off"])
def test_a_picked_folder_whose_number_is_no_repeats_is_flat(tmp_path, name):
    pictures(tmp_path / name, 2)
    found = scan(tmp_path, tmp_path / name)
    assert found.folders[0].repeats == 5
    assert "not taken for repeats" in said(found)


def test_a_year_among_the_numbered_folders_is_read_as_repeats_and_warned_about(tmp_path):
    pictures(tmp_path / "set/2023_summer", 2)
    found = scan(tmp_path, tmp_path / "set")
    assert found.folders[0].repeats == 2023
    assert "rename the folder to 5_2023_summer" in found.warnings[0]


def test_what_lies_beside_the_numbered_folders_is_said(tmp_path):
    root = tmp_path / "set"
    pictures(root / "5_a", 2)
    picture(root / "loose.png")
    pictures(root / "cats", 3)
    pictures(root / "7 dogs", 1)
    pictures(root / "0_off", 2)
    picture(root / "5_a/deep/deeper/x.png")
    (root / "9_empty").mkdir()
    (root / "5_a/source.psd").write_bytes(b"x")
    pictures(root / "_originals", 4)
    found = scan(tmp_path, root)
    text = said(found)
    assert [f.name for f in found.folders] == ["5_a"]
    assert "1 picture beside the numbered folders not used (loose.png); to use them move them into 5_a" in text
    assert "subfolder cats: not used (3 pictures)" in text and "rename it to 5_cats" in text
    assert "subfolder 7 dogs: not used (1 picture)" in text and "rename it to 7_dogs" in text
    assert "0_off: not used, its name says 0 repeats (2 pictures)" in text
    assert "9_empty: holds no pictures" in text
    assert "5_a/deep (1 picture)" in text
    assert "source.psd" in text
    assert "_originals" not in text


def test_a_subfolder_of_a_flat_folder_is_to_be_moved_up(tmp_path):
    pictures(tmp_path / "flat", 2)
    pictures(tmp_path / "flat/more", 2)
    assert "subfolder more: not used (2 pictures); to use it move them up into flat" in said(scan(tmp_path, tmp_path / "flat"))


def test_captions_missing_and_empty(tmp_path):
    folder = tmp_path / "set/5_cat"
    picture(folder / "a.png", "1girl")
    picture(folder / "b.png")
    picture(folder / "c.png", " \n")
    found = scan(tmp_path, tmp_path / "set")
    assert (found.folders[0].missing, found.folders[0].empty) == (("b.png",), ("c.png",))
    assert [f.caption for f in found.folders[0].pictures] == ["1girl", "cat", "cat"]
    assert '2 of 3 captions missing or empty (b.png, c.png): these pictures get the caption "cat"' in found.warnings[0]


def test_no_captions_at_all_is_a_note_and_other_text_files_are_named(tmp_path):
    folder = tmp_path / "set/5_cat"
    picture(folder / "a.png").with_suffix(".tags").write_text("x", encoding="utf-8")
    found = scan(tmp_path, tmp_path / "set")
    assert 'no caption files, every picture gets the caption "cat"' in said(found)
    assert "data.caption_extension: .tags" in said(found)


def test_captions_from_dot_caption_files_are_said(tmp_path):
    picture(tmp_path / "set/5_cat/a.png").with_suffix(".caption").write_text("hello", encoding="utf-8")
    found = scan(tmp_path, tmp_path / "set")
    assert found.folders[0].pictures[0].caption == "hello"
    assert "1 caption from .caption files" in said(found)


def test_two_pictures_of_one_stem_share_a_caption(tmp_path):
    picture(tmp_path / "set/5_cat/a.png", "tag", mode="L")
    picture(tmp_path / "set/5_cat/a.jpg", mode="L")
    found = scan(tmp_path, tmp_path / "set")
    assert [f.caption for f in found.folders[0].pictures] == ["tag", "tag"]
    assert "a.jpg and a.png share one caption; both are used" in said(found)


def test_a_caption_without_a_picture_is_said(tmp_path):
    picture(tmp_path / "set/5_cat/a.png", "tag").with_name("gone.txt").write_text("x", encoding="utf-8")
    assert "1 .txt file without a picture of that name: gone.txt" in said(scan(tmp_path, tmp_path / "set"))


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="needs a file system that keeps a.png and A.png apart")
def test_names_that_differ_only_in_case(tmp_path):
    picture(tmp_path / "set/5_cat/a.png", "x")
    picture(tmp_path / "set/5_cat/A.png", "y")
    picture(tmp_path / "set/5_CAT/b.png", "z")
    text = said(scan(tmp_path, tmp_path / "set"))
    assert "differ only in capital letters" in text and "5_CAT" in text and "A.png" in text


def test_regularisation_numbered_flat_missing_empty_and_itself(tmp_path):
    root = pictures(tmp_path / "set/5_a", 2).parent
    pictures(tmp_path / "reg/1_girl", 3, caption=None)
    pictures(tmp_path / "flat", 3, caption=None)
    (tmp_path / "empty").mkdir()
    numbered = scan(tmp_path, root, data__regularization=str(tmp_path / "reg"))
    assert [(f.regularization, f.repeats, f.concept) for f in numbered.folders] == [(False, 5, "a"), (True, 1, "girl")]
    assert not numbered.warnings
    flat = scan(tmp_path, root, data__regularization=str(tmp_path / "flat"))
    assert [(f.regularization, f.repeats, f.concept) for f in flat.folders][1] == (True, 1, "flat")
    for nothing in (tmp_path / "gone", tmp_path / "empty", root):
        found = scan(tmp_path, root, data__regularization=str(nothing))
        assert [f.regularization for f in found.folders] == [False]
        assert "none are used" in said(found) or "no regularisation pictures are used" in said(found)


def test_regularisation_among_the_training_folders_is_not_trained_twice(tmp_path):
    pictures(tmp_path / "set/5_a", 2)
    pictures(tmp_path / "set/1_reg", 2)
    found = scan(tmp_path, tmp_path / "set", data__regularization=str(tmp_path / "set/1_reg"))
    assert [(f.name, f.regularization) for f in found.folders] == [("5_a", False), ("1_reg", True)]


def refused(tmp_path, images) -> str:
    with pytest.raises(UserError) as caught:
        scan(tmp_path, images)
    return str(caught.value)


def test_refusals_say_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no pictures in this folder; it is empty" in refused(tmp_path, tmp_path / "empty")

    pictures(tmp_path / "named/cats", 2)
    text = refused(tmp_path, tmp_path / "named")
    assert "rename cats to 5_cats" in text and f"images: {tmp_path / 'named' / 'cats'}" in text

    pictures(tmp_path / "deep/set/5_a", 2)
    assert f"images: {tmp_path / 'deep' / 'set'}" in refused(tmp_path, tmp_path / "deep")

    pictures(tmp_path / "off/0_a", 2)
    assert "rename 0_a to 5_a" in refused(tmp_path, tmp_path / "off")

    picture(tmp_path / "low/5_a/sub/x.png")
    assert "move the pictures up into 5_a" in refused(tmp_path, tmp_path / "low")

    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/notes.psd").write_bytes(b"x")
    assert "only notes.psd" in refused(tmp_path, tmp_path / "texts")

    assert "does not exist" in refused(tmp_path, tmp_path / "gone")
    assert f"{tmp_path} exists and holds" in refused(tmp_path, tmp_path / "gone")
    assert "images is a file" in refused(tmp_path, picture(tmp_path / "one.png"))


def test_pictures_whose_header_cannot_be_read_are_kept_with_the_reason(tmp_path):
    folder = pictures(tmp_path / "set/5_a", 1)
    (folder / "zero.png").write_bytes(b"")
    (folder / "page.jpg").write_text("<html>", encoding="utf-8")
    found = scan(tmp_path, tmp_path / "set")
    assert [f.path.rpartition(os.sep)[2] for f in found.folders[0].pictures if f.unreadable] == ["page.jpg", "zero.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are always text")
def test_a_name_that_is_no_text_is_an_unreadable_picture(tmp_path):
    folder = pictures(tmp_path / "set/5_a", 1)
    (folder / "000.png").rename(os.fsdecode(os.fsencode(folder) + b"/\xff.png"))
    (found,) = scan(tmp_path, tmp_path / "set").folders[0].pictures
    assert found.unreadable.isascii() and "rename it" in found.unreadable


def test_non_ascii_and_spaced_names(tmp_path):
    folder = tmp_path / "B\u00fccher \u732b/5_\u732b ears"
    picture(folder / "\u7d75 1.png", "\u732b, ears")
    found = scan(tmp_path, folder.parent)
    assert found.folders[0].concept == "\u732b ears"
    assert found.folders[0].pictures[0].caption == "\u732b, ears"


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    def refuse(_folder):
        raise PermissionError(13, "Permission denied")

    root = pictures(tmp_path / "set/5_a", 1).parent
    monkeypatch.setattr(paths, "visible", refuse)
    assert "this folder cannot be read: Permission denied" in refused(tmp_path, root)

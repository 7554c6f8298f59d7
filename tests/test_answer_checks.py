"""What is told of an answer at once: models, folders, names."""

import pytest

import asked
import picture_sets
import sd1_header
from lorabake import answer_checks, paths
from lorabake.answer_checks import check, epochs_hint, free_name
from lorabake.errors import UserError


@pytest.fixture
def images(tmp_path, monkeypatch):
    return asked.rooms(tmp_path, monkeypatch)


def test_a_base_model_is_recognised(tmp_path):
    told = check("base_model", str(asked.base_file(tmp_path)), {}).told[0]
    assert told.startswith("Stable Diffusion 1.x, ") and told.endswith("the file itself says: for 128 px, clip skip 1")
    assert check("base_model", str(sd1_header.write(tmp_path / "full.safetensors")), {}).told[0].count(";") == 0
    (tmp_path / "page.safetensors").write_text("<html>", encoding="utf-8")
    for wrong in ("page.safetensors", "not there.ckpt"):
        with pytest.raises(UserError):
            check("base_model", str(tmp_path / wrong), {})
    assert not answer_checks.says_clip_skip(str(tmp_path / "not there.ckpt"))


def test_pictures_are_counted(images):
    found = check("images", str(images), {})
    assert found.told[0] == "5 pictures in 2 folders: 5_anna (3), 10_bob (2)"
    assert (found.looks, found.concept, found.instead) == (35, "it's a set", "")


def test_the_inner_folder_is_noticed(images):
    found = check("images", str(images / "5_anna"), {})
    assert found.instead == str(images) and found.concept == "anna"


def test_a_flat_folder_is_fine(images, tmp_path):
    flat = picture_sets.pictures(tmp_path / "flat", 4, caption=None)
    found = check("images", str(flat), {"data.repeats": 3})
    assert found.looks == 12 and not found.instead
    assert found.told[:2] == ("4 pictures in 1 folder: flat (4)", found.told[1]) and "no caption files yet" in found.told[1]


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures"):
        check("images", str(tmp_path / "empty"), {})


def test_names(images):
    assert check("name", "anna", {}).told == ()
    for wrong in ("_anna", ".anna"):
        with pytest.raises(UserError, match="leave out"):
            check("name", wrong, {})
    (paths.PROFILES / "anna.yaml").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="already a profile") as caught:
        check("name", "anna", {})
    assert caught.value.todo == "another name: anna-2"


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ("anna", "anna"),
        ("it's a set", "it's a set"),
        ("a/b:c", "a_b_c"),
        ("con", "lora-con"),
        ("_x", "x"),
        ("...", "my-lora"),
        ("x" * 300, "x" * 100),
    ],
)
def test_names_that_are_proposed_can_be_files(images, wish, name):
    assert free_name(wish) == name and paths.check_name(name) is None


def test_output(tmp_path):
    assert check("output", str(tmp_path), {}).told == ()
    assert "will be made" in check("output", str(tmp_path / "a/b"), {}).told[0]
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="this is a file"):
        check("output", str(tmp_path / "file" / "x"), {})


def test_regularisation(tmp_path):
    check("data.regularization", str(tmp_path), {})
    with pytest.raises(UserError, match="no such folder"):
        check("data.regularization", str(tmp_path / "x"), {})


@pytest.mark.parametrize(
    ("looks", "words"),
    [
        (0, ""),
        (74, "only 74 times an epoch"),
        (250, "6 to 24 epochs"),
        (1000, "2 to 6 epochs"),
        (6000, "1 epoch make"),
        (7000, "over the guides' 6000 already"),
    ],
)
def test_the_hint_for_epochs(looks, words):
    assert words in epochs_hint(looks)


def test_others_are_not_looked_at():
    assert check("train.epochs", 3, {}) == answer_checks.Found()
    assert check("data.regularization", None, {}) == answer_checks.Found()

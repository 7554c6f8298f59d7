"""Profiles from a file of answers: the same questions without a person. (new_profile.py, answers_file.py)"""

from argparse import Namespace

import pytest

import asked
from lorabake import new_profile, paths, profile
from lorabake.errors import UserError
from lorabake.profile import ProfileErrors


@pytest.fixture
def file(tmp_path, monkeypatch):
    asked.rooms(tmp_path, monkeypatch)
    path = tmp_path / "answers.txt"

    def write(text):
        path.write_text(text, encoding="utf-8")
        return path

    return write


def made(path, *names):
    return new_profile.from_file(Namespace(answers=str(path), profile_path=list(names)))


def mistakes(path, *names):
    with pytest.raises(ProfileErrors) as caught:
        made(path, *names)
    assert not list(paths.PROFILES.iterdir())
    return {mistake.what: mistake for mistake in caught.value.mistakes}


def test_in_any_order_and_with_groups(file, tmp_path, capsys):
    path = made(file("train.epochs: 9\nimages: it's a set   # a comment\nnetwork: {alpha: 8, rank: 16}\noutput: out\nbase_model: pocket\n"))
    assert path == paths.PROFILES / "it's a set.yaml"
    loaded = profile.load(path)
    assert (loaded.profile.train.epochs, loaded.profile.network.rank, loaded.profile.network.alpha) == (9, 16, 8)
    assert loaded.profile.images == str(tmp_path / "it's a set") and loaded.profile.output == str(tmp_path / "out")
    told = capsys.readouterr()
    assert told.out.strip() == str(path) and "Plan of it's a set" in told.err


def test_a_name_on_the_command_line(file):
    path = made(file("name: other\nimages: it's a set\nbase_model: pocket\noutput: out\n"), "anna")
    assert path.stem == "anna" and profile.load(path).profile.name == "anna"


def test_all_mistakes_at_once_with_lines(file):
    found = mistakes(
        file("imagess: x\ntrain.epochs: six\nepochs: 3\nnetwork: {rank: 8, alpha: 9}\ntrain.epochs: 3\nbase_model: nowhere.ckpt\n")
    )
    assert found['"imagess" is none of the questions'].todo == "did you mean images?"
    assert found['"epochs" is none of the questions'].todo == "here it is train.epochs"
    assert found['train.epochs: "six" is not a whole number'].line == 2
    assert found["train.epochs comes twice, first in line 2"].line == 5
    assert found["network.alpha: network.alpha: 9 is over network.rank, which is 8"].line == 4
    assert "images is missing" in found
    assert any(what.startswith("base_model: ") and mistake.line == 6 for what, mistake in found.items())


def test_what_is_missing(file):
    assert {*mistakes(file("train.epochs: 3\n"))} == {"base_model is missing", "images is missing"}


@pytest.mark.parametrize("text", ["# nothing\n", "just words\n", "- a\n- b\n"])
def test_no_answers(file, text):
    with pytest.raises(UserError, match="no answers"):
        made(file(text))


def test_a_file_that_is_no_text(file, tmp_path):
    with pytest.raises(UserError):
        made(tmp_path / "gone.txt")
    path = file("")
    path.write_bytes(b"\0\1")
    with pytest.raises(UserError, match="not a text file"):
        made(path)


def test_nothing_is_written_over(file):
    text = "name: anna\nimages: it's a set\nbase_model: pocket\noutput: out\n"
    before = made(file(text)).read_bytes()
    with pytest.raises(ProfileErrors, match="already a profile"):
        made(file(text + "train.epochs: 3\n"))
    assert (paths.PROFILES / "anna.yaml").read_bytes() == before


def test_what_cannot_be_baked_is_not_written(file):
    with pytest.raises(UserError, match="clip_skip 9"):
        made(file("images: it's a set\nbase_model: pocket\noutput: out\nmodel.clip_skip: 9\n"))
    assert not list(paths.PROFILES.iterdir())


def test_windows_paths_in_double_quotes_are_answered(file):
    found = mistakes(file('images: "D:\\new"\nbase_model: pocket\n'))
    assert found

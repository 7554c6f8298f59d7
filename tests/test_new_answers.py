"""Taking answers: what is refused, what goes out again, what is proposed."""

import pytest

import asked
from lorabake import new_answers, paths
from lorabake.errors import UserError
from lorabake.kinds import Wrong
from lorabake.new_answers import Making, missing, proposed, take


@pytest.fixture
def making(tmp_path, monkeypatch):
    asked.rooms(tmp_path, monkeypatch)
    return Making(tmp_path)


def test_a_refused_answer_changes_nothing(making):
    take(making, "network.rank", "64")
    for dotted, raw in (("network.rank", "0"), ("network.alpha", "128"), ("images", "nowhere"), ("network.conv_rank", "8")):
        with pytest.raises((Wrong, UserError)):
            take(making, dotted, raw)
    assert making.sheet.values == {"network.rank": 64}


def test_an_answer_that_no_longer_fits_is_asked_again(making):
    take(making, "network.rank", "64")
    take(making, "network.alpha", "64")
    taken = take(making, "network.rank", "32")
    assert taken.again == ("network.alpha",) and "asked again" in taken.told[0]
    assert making.sheet.values == {"network.rank": 32}


def test_answers_without_effect_are_told(making):
    take(making, "model.clip_skip", "1")
    assert "no effect" in take(making, "model.look", "realistic").told[0]


def test_what_is_proposed(making, tmp_path):
    assert proposed(making, "images") is None and proposed(making, "train.epochs") == 6
    assert proposed(making, "output") == str(paths.ROOT / "baked")
    assert take(making, "images", str(tmp_path / "it's a set" / "5_anna")).instead == str(tmp_path / "it's a set")
    assert proposed(making, "name") == "anna"
    take(making, "images", "it's a set")
    assert proposed(making, "name") == "it's a set"
    (paths.PROFILES / "it's a set.yaml").write_text("", encoding="utf-8")
    assert proposed(making, "name") == "it's a set-2"
    making.offered["output"] = "/o"
    assert proposed(making, "output") == "/o"
    take(making, "output", "out")
    assert proposed(making, "output") == str(tmp_path / "out")
    assert missing(making) == ["base_model", "name"]


def test_the_output_is_not_the_pictures(making, tmp_path):
    take(making, "images", "it's a set")
    with pytest.raises(Wrong, match="folder of the pictures"):
        take(making, "output", "it's a set")


def test_a_draft_whose_files_are_gone(making, tmp_path):
    making.sheet.values |= {"images": str(tmp_path / "gone"), "base_model": str(asked.base_file(tmp_path))}
    new_answers.look_again(making)
    assert making.looks == 0 and making.file_says_clip_skip

"""For which bake a dataset is checked: the usual one, or a profile's, with what was typed on top."""

from pathlib import Path

import pytest

import picture_sets
from lorabake import checks_asked, tag_words
from lorabake.errors import UsageError


def asked(folder, *words, loaded=None):
    return checks_asked.of(folder, loaded, tag_words.parse(None, [str(folder), "--check", *words]))


def test_without_a_profile_it_is_the_usual_bake(tmp_path):
    usual = asked(tmp_path)
    assert (usual.resolution, usual.most_tokens, usual.data.min_bucket, usual.data.max_bucket) == (512, 150, 320, 960)
    typed = asked(tmp_path, "--resolution", "768", "--tokens", "225")
    assert (typed.resolution, typed.most_tokens) == (768, 225)
    bucket, placement = typed.placed((1000, 1000))
    assert bucket == (768, 768) == placement.resized


def test_a_profile_s_bake_and_what_is_typed_on_top(tmp_path):
    images = picture_sets.pictures(tmp_path / "5_x", 2).parent
    loaded = picture_sets.load(tmp_path / "p", images, {"model.max_token_length": "75", "tag.trigger": "jun", "data.buckets": "false"})
    of_profile = asked(images, loaded=loaded)
    assert (of_profile.resolution, of_profile.most_tokens, of_profile.trigger) == (128, 75, "jun")
    assert of_profile.sizes == [(128, 128)] and of_profile.placed((300, 200))[0] == (128, 128)
    assert asked(images, "--resolution", "256", "--trigger", "bo", loaded=loaded).trigger == "bo"


def test_buckets_are_those_of_the_plan(tmp_path):
    images = picture_sets.pictures(tmp_path / "5_x", 1, size=(300, 170)).parent
    for settings in ({}, {"data.upscale_small": "false"}, {"data.buckets": "false"}, {"data.max_bucket": "192"}):
        loaded = picture_sets.load(tmp_path / "p", images, settings)
        (planned,) = picture_sets.make(tmp_path, images, settings).pictures
        assert asked(images, loaded=loaded).placed((300, 170))[0] == planned.bucket


def test_a_base_model_that_is_not_there_yet_is_no_hindrance(tmp_path):
    images = picture_sets.pictures(tmp_path / "5_x", 1).parent
    loaded = picture_sets.load(tmp_path / "p", images)
    Path(loaded.profile.base_model).unlink()
    assert asked(images, loaded=loaded).resolution == 512


def test_trigger_words_of_each_folder(tmp_path):
    names = {tmp_path / "5_anna" / "a.png": "5_anna/a.png", tmp_path / "5_bob" / "b.png": "5_bob/b.png"}
    ask = asked(tmp_path, "--trigger", "auto").of_captions(names, len)
    assert ask.triggers == {"5_anna/a.png": "anna", "5_bob/b.png": "bob"} and not ask.named
    assert asked(tmp_path, "--preset", "character").of_captions(names, len).named
    with pytest.raises(UsageError, match="no folder"):
        asked(tmp_path, "--trigger", "5_eve=eve").of_captions(names, len)


@pytest.mark.parametrize("typed", ["0", "63", "9000"])
def test_resolutions_that_no_bake_has(tmp_path, typed):
    with pytest.raises(UsageError, match="no resolution of a bake"):
        asked(tmp_path, "--resolution", typed)

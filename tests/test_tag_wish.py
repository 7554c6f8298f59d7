"""What a tagging is to do: typed words over the profile's over the defaults, read as the profile would read them."""

import pytest

import picture_sets
from lorabake import settings, tag_edits, tag_query, tag_wish, tag_words
from lorabake.errors import UsageError
from lorabake.tag_choice import Choice

PROFILE = {
    "tag.threshold": "0.5",
    "tag.character_threshold": "0.8",
    "tag.preset": "character",
    "tag.exclude": "[solo, 1girl]",
    "tag.replace": "{1boy: 1girl}",
    "tag.trigger": "{5_anna: anna}",
    "tag.existing": "merge",
    "tag.rating": "last",
    "tag.order": "score",
    "tag.underscores": "true",
    "tag.batch_size": "3",
    "data.background": "black",
}


def wish(*words, loaded=None):
    return tag_wish.of(tag_words.parse(None, ["folder", *words]), loaded, tag_edits.NONE)


@pytest.fixture
def loaded(tmp_path):
    return picture_sets.load(tmp_path, picture_sets.pictures(tmp_path / "pictures" / "5_anna", 1).parent, PROFILE)


def test_without_a_word_the_defaults():
    found = wish()
    assert found.tag == settings.Tag() and found.model == settings.Tag().model and found.background == "white"
    assert found.trigger is None and found.only is None and not found.edits
    assert found.choice == Choice(threshold=0.35, character_threshold=0.35)


def test_a_profile_over_the_defaults(loaded):
    found = wish(loaded=loaded)
    assert found.tag == loaded.profile.tag and found.background == "black" and found.trigger == {"5_anna": "anna"}
    assert found.choice == Choice(
        threshold=0.5,
        character_threshold=0.8,
        exclude=("solo", "1girl"),
        replace=(("1boy", "1girl"),),
        kinds_out=("character", "artist"),
        underscores=True,
        rating="last",
        order="score",
    )


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--threshold", "0.2"], "threshold", 0.2),
        (["--threshold", "2e-1"], "threshold", 0.2),
        (["--character-threshold", "1"], "character_threshold", 1),
        (["--preset", "none"], "preset", "none"),
        (["--existing", "keep"], "existing", "keep"),
        (["--exclude", "a, b", "--exclude", "c*"], "exclude", ("a", "b", "c*")),
        (["--rating", "no"], "rating", "no"),
        (["--order", "file"], "order", "file"),
        (["--batch-size", "7"], "batch_size", 7),
        (["--underscores"], "underscores", True),
        (["--character-first"], "character_first", True),
        (["--character-expand"], "character_expand", True),
        (["--model", "owner/name"], "model", "owner/name"),
    ],
)
def test_what_is_typed_over_both(loaded, words, name, value):
    for profile in (None, loaded):
        found = wish(*words, loaded=profile)
        block = profile.profile.tag if profile else settings.Tag()
        assert getattr(found.tag, name) == value
        assert found.tag == block.model_copy(update={name: value}), "and nothing else changes"


def test_typed_background_and_trigger_words(loaded):
    found = wish("--background", "#102030", "--trigger", "junwool", loaded=loaded)
    assert found.background == "#102030" and found.trigger == "junwool"
    assert wish("--trigger", "5_anna=x", "--trigger", "5_bob=y").trigger == {"5_anna": "x", "5_bob": "y"}
    assert wish("--trigger", "", loaded=loaded).trigger == "", "none at all, in spite of profile and preset"


@pytest.mark.parametrize(
    ("words", "says", "allowed"),
    [
        (["--threshold", "0"], '--threshold: "0" is too small', "a number from 0.01 to 1"),
        (["--threshold", "35"], '--threshold: "35" is too large', "a number from 0.01 to 1"),
        (["--threshold", "high"], '--threshold: "high" is not a number', "a number from 0.01 to 1"),
        (["--character-threshold", "nan"], "--character-threshold", "a number from 0.01 to 1"),
        (["--batch-size", "0"], '--batch-size: "0" is too small', "a whole number from 1 to 1024"),
        (["--batch-size", "1.5"], "--batch-size", "a whole number from 1 to 1024"),
        (["--background", "wite"], "--background", "white"),
        (["--trigger", "a, b"], "--trigger: .*would be two tags", "a word"),
        (["--trigger", "5_anna=a, b"], "--trigger: .*would be two tags", "a word"),
        (["--trigger", "a", "--trigger", "b"], "do not go together", "one word"),
    ],
)
def test_what_the_profile_would_not_take_is_refused_in_its_words(words, says, allowed):
    with pytest.raises(UsageError, match=says) as caught:
        wish(*words)
    assert caught.value.exit_code == 2 and allowed in caught.value.allowed


def test_a_decimal_comma_gets_the_hint():
    with pytest.raises(UsageError) as caught:
        wish("--threshold", "0,5")
    assert caught.value.todo == "a decimal point, not a comma: 0.5"


@pytest.mark.parametrize(
    "words", [["--preset", "person"], ["--existing", "append"], ["--rating", "yes"], ["--order", "name"], ["--device", "tpu"]]
)
def test_choices_are_those_of_the_profile(words, capsys):
    with pytest.raises(SystemExit) as caught:
        wish(*words)
    assert caught.value.code == 2 and "choose from" in capsys.readouterr().err


def test_a_model_of_the_profile_lies_where_the_profile_does(tmp_path, monkeypatch):
    (tmp_path / "p" / "tagger").mkdir(parents=True)
    (tmp_path / "elsewhere" / "tagger").mkdir(parents=True)
    pictures = picture_sets.pictures(tmp_path / "pictures", 1)
    loaded = picture_sets.load(tmp_path / "p", pictures, {"tag.model": "tagger"})
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert wish(loaded=loaded).model == str(tmp_path / "p" / "tagger")
    assert wish("--model", "tagger", loaded=loaded).model == "tagger", "what is typed counts from where one is"
    absolute = picture_sets.load(tmp_path / "p", pictures, {"tag.model": str(tmp_path / "elsewhere" / "tagger")})
    assert wish(loaded=absolute).model == str(tmp_path / "elsewhere" / "tagger")
    named = picture_sets.load(tmp_path / "p", pictures, {"tag.model": "wd-vit-tagger-v3"})
    assert wish(loaded=named).model == "wd-vit-tagger-v3"


def test_every_word_of_tagging_is_a_key_of_the_profile():
    keys = {key.dotted for key in settings.keys()}  # noqa: SIM118  (no dict)
    assert all(f"tag.{name}" in keys for name in tag_wish.TYPED)


def test_edits_and_expression_are_passed_on():
    edits, only = tag_edits.Edits(remove=("solo",)), tag_query.parse("1girl")
    found = tag_wish.of(tag_words.parse(None, ["folder"]), None, edits, only)
    assert found.edits is edits and found.only is only

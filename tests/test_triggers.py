"""Trigger words: what was typed, and which folder gets which."""

import pytest

from lorabake import triggers
from lorabake.errors import UsageError

FOLDERS = ["5_anna", "10_bob", "Three Cats"]


@pytest.mark.parametrize(
    ("words", "wish"),
    [
        ([], None),
        (["junwool"], "junwool"),
        ([" jun wool "], "jun wool"),
        (["auto"], "auto"),
        ([""], ""),
        (["  ", ""], ""),
        (["5_anna=anna"], {"5_anna": "anna"}),
        (["5_anna = anna", " bob= bob "], {"5_anna": "anna", "bob": "bob"}),
        (["x=a=b"], {"x": "a=b"}),
        (["x="], {"x": ""}),
    ],
)
def test_what_was_typed(words, wish):
    assert triggers.typed(words) == wish


@pytest.mark.parametrize("words", [["a", "b"], ["a", "x=b"], ["x=b", "a", "y=c"]])
def test_a_mixture_is_refused(words):
    with pytest.raises(UsageError, match="do not go together") as caught:
        triggers.typed(words)
    assert all(word in caught.value.what for word in words) and "--trigger 5_anna=anna" in caught.value.todo


@pytest.mark.parametrize(
    ("wish", "preset", "words"),
    [
        ("junwool", "none", ["junwool"] * 3),
        ("auto", "none", ["anna", "bob", "Three Cats"]),
        (None, "none", [""] * 3),
        (None, "style", ["anna", "bob", "Three Cats"]),
        (None, "character", ["anna", "bob", "Three Cats"]),
        (None, "concept", ["anna", "bob", "Three Cats"]),
        ("", "character", [""] * 3),
        ({"5_anna": "x"}, "none", ["x", "", ""]),
        ({"anna": "x", "three cats": "z"}, "character", ["x", "", "z"]),
        ({"ANNA": "x", "10_BOB": "y"}, "none", ["x", "y", ""]),
        ({}, "character", [""] * 3),
    ],
)
def test_which_folder_gets_which(wish, preset, words):
    assert triggers.by_folder(wish, FOLDERS, preset=preset) == dict(zip(FOLDERS, words, strict=True))


def test_a_style_alone_needs_none():
    assert triggers.by_folder(None, ["5_style", "5_style"], preset="style") == {"5_style": ""}
    assert triggers.by_folder("auto", ["5_style"], preset="style") == {"5_style": "style"}


def test_all_folders_of_a_concept_are_meant_by_its_name():
    """Poor pictures of a concept are often kept in a folder of fewer repeats."""
    folders = ["10_anna", "2_anna", "5_bob"]
    assert triggers.by_folder({"anna": "x", "bob": "y"}, folders) == {"10_anna": "x", "2_anna": "x", "5_bob": "y"}
    assert triggers.by_folder({"anna": "x", "2_anna": "z", "bob": "y"}, folders) == {"10_anna": "x", "2_anna": "z", "5_bob": "y"}


@pytest.mark.parametrize("key", ["carl", "5_bob", "5_ann"])
def test_a_folder_that_is_not_there_is_told(key):
    with pytest.raises(UsageError, match=f'no folder "{key}"') as caught:
        triggers.by_folder({"5_anna": "x", key: "y"}, FOLDERS)
    assert caught.value.allowed == "5_anna, 10_bob, Three Cats" and "5_anna=WORD" in caught.value.todo


def test_no_folders():
    assert triggers.by_folder("x", []) == {}
    with pytest.raises(UsageError, match="no folder"):
        triggers.by_folder({"a": "x"}, [])


@pytest.mark.parametrize(
    ("folder", "concept"),
    [
        ("5_junwool", "junwool"),
        ("12_my_girl", "my_girl"),
        ("5_My Girl", "My Girl"),
        ("5_\u732b", "\u732b"),
        ("junwool", "junwool"),
        ("5_", "5_"),
        ("5", "5"),
        ("1girl", "1girl"),
        ("my_5_girls", "my_5_girls"),
    ],
)
def test_the_concept_of_a_name(folder, concept):
    assert triggers.concept(folder) == concept

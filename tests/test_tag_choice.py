"""From scores to tags: thresholds, names, order, rating. Expected values follow reference/lora-facts.md 5.5."""

import numpy as np
import pytest

from lorabake.tag_choice import Choice, spaced, tags_of
from lorabake.tag_labels import Labels

ROWS = (
    ("general", "rating"),
    ("sensitive", "rating"),
    ("explicit", "rating"),
    ("long_hair", "general"),
    ("1girl", "general"),
    ("solo", "general"),
    ("^_^", "general"),
    ("anna_(fairy_tale)", "character"),
    ("bob_(young)_(fairy_tale)", "character"),
    ("highres", "meta"),
    ("some_painter", "artist"),
)
LABELS = Labels(tuple(name for name, _ in ROWS), tuple(kind for _, kind in ROWS))
NUMBER = {name: number for number, (name, _) in enumerate(ROWS)}
SURE = {"sensitive": 0.7, "general": 0.2, "long_hair": 0.9, "1girl": 0.99, "solo": 0.5, "anna_(fairy_tale)": 0.6}


def tags(scores, **choice):
    return tags_of({NUMBER[name]: score for name, score in scores.items()}, LABELS, Choice(**choice))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, ["long hair", "1girl", "solo", "anna (fairy tale)"]),
        ({"threshold": 0.9}, ["long hair", "1girl", "anna (fairy tale)"]),
        ({"threshold": 0.95, "character_threshold": 0.95}, ["1girl"]),
        ({"character_threshold": 0.61}, ["long hair", "1girl", "solo"]),
        ({"order": "score"}, ["1girl", "long hair", "solo", "anna (fairy tale)"]),
        ({"underscores": True}, ["long_hair", "1girl", "solo", "anna_(fairy_tale)"]),
        ({"character_first": True}, ["anna (fairy tale)", "long hair", "1girl", "solo"]),
        ({"character_first": True, "character_expand": True}, ["anna", "fairy tale", "long hair", "1girl", "solo"]),
        ({"rating": "first"}, ["sensitive", "long hair", "1girl", "solo", "anna (fairy tale)"]),
        ({"rating": "last"}, ["long hair", "1girl", "solo", "anna (fairy tale)", "sensitive"]),
        ({"exclude": ("LONG_hair", "anna*")}, ["1girl", "solo"]),
        ({"kinds_out": ("character",)}, ["long hair", "1girl", "solo"]),
        ({"replace": (("1girl", "1boy"),)}, ["long hair", "1boy", "solo", "anna (fairy tale)"]),
        ({"replace": (("long hair", ""), ("* (fairy tale)", "anna"))}, ["1girl", "solo", "anna"]),
        ({"replace": (("long_hair", "solo"),)}, ["solo", "1girl", "anna (fairy tale)"]),
    ],
)
def test_each_wish(choice, expected):
    assert tags(SURE, **choice) == expected


def test_a_threshold_is_reached_by_what_equals_it():
    assert tags({"solo": 0.35, "1girl": 0.3499}) == ["solo"]
    assert tags({"anna_(fairy_tale)": 0.85}, character_threshold=0.85) == ["anna (fairy tale)"]


def test_exclusion_is_of_what_would_be_written():
    """As the reference does: the final names are compared, so a tag that was renamed is not meant, and its new name is."""
    assert tags(SURE, exclude=("1girl",), replace=(("1girl", "1boy"),))[1] == "1boy"
    assert "1boy" not in tags(SURE, exclude=("1boy",), replace=(("1girl", "1boy"),))
    assert tags(SURE, exclude=("fairy tale",), character_expand=True)[-1] == "anna"


def test_one_tag_by_several_and_none_of_them_twice():
    replaced = tags(SURE, replace=(("1girl", "solo, a doll, secret"),), exclude=("secret",))
    assert replaced == ["long hair", "solo", "a doll", "anna (fairy tale)"]


def test_the_first_replacement_that_fits_is_the_only_one():
    assert tags({"1girl": 1, "solo": 1}, replace=(("1girl", "solo"), ("solo", "alone"))) == ["solo", "alone"]


def test_two_people_of_one_series_name_it_once():
    both = {"anna_(fairy_tale)": 0.8, "bob_(young)_(fairy_tale)": 0.9}
    assert tags(both, character_expand=True) == ["anna", "fairy tale", "bob (young)"]
    assert tags(both, character_expand=True, order="score") == ["bob (young)", "fairy tale", "anna"]


def test_the_other_kinds_of_labels_are_general_ones():
    scores = {"highres": 0.5, "some_painter": 0.5, "1girl": 0.4}
    assert tags(scores) == ["1girl", "highres", "some painter"]
    assert tags(scores, threshold=0.45) == ["highres", "some painter"]
    assert tags(scores, kinds_out=("character", "artist")) == ["1girl", "highres"]


def test_ratings_below_every_threshold_still_count_for_the_rating():
    assert tags({"general": 0.02, "explicit": 0.03}, rating="last") == ["explicit"]
    assert tags({"general": 0.5, "explicit": 0.5}, rating="last") == ["general"], "of equals the first, as argmax does"
    assert tags({"1girl": 1}, rating="first") == ["1girl"] and tags({}, rating="first") == []
    assert tags({"general": 0.9, "1girl": 1}) == ["1girl"]


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("long_hair", "long hair"),
        ("^_^", "^_^"),
        ("o_o", "o_o"),
        ("(o)_(o)", "(o)_(o)"),
        ("|_|", "|_|"),
        (">:(", ">:("),
        ("k-on!", "k-on!"),
        ("high_heels_(2)", "high heels (2)"),
        ("1990s_(style)", "1990s (style)"),
        ("a_b", "a_b"),
        ("ab_c", "ab c"),
        ("\u732b_\u8033\u9aa8", "\u732b \u8033\u9aa8"),
    ],
)
def test_faces_keep_their_underscores(tag, expected):
    assert spaced(tag) == expected


@pytest.mark.parametrize("seed", range(20))
def test_random_scores_against_a_plain_retelling(seed):
    """Every choice of options on random scores: nothing twice, nothing below its threshold, nothing that should be there missing."""
    chance = np.random.default_rng(seed)
    scores = {number: float(chance.random()) for number in range(len(ROWS)) if chance.random() < 0.8}
    general, character = chance.uniform(0.1, 0.9, 2)
    first, by_score = (bool(chance.integers(2)) for _ in range(2))
    found = tags_of(
        scores,
        LABELS,
        Choice(general, character, character_first=first, order="score" if by_score else "file", underscores=True),
    )
    groups = []
    for people in (first, not first):
        numbers = [number for number in sorted(scores) if (ROWS[number][1] == "character") is people and ROWS[number][1] != "rating"]
        passed = [number for number in numbers if scores[number] >= (character if people else general)]
        groups += sorted(passed, key=lambda number: -scores[number]) if by_score else passed
    assert found == [ROWS[number][0] for number in groups]

"""Expressions over tags, asked of captions."""

import pytest

from lorabake.errors import UsageError
from lorabake.tag_query import matches, parse, plain, plain_tags

CAPTION = "1girl, Red_Eyes, fate \\(series\\), ^_^, long hair, and"


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("1girl", True),
        ("1GIRL", True),
        ("girl", False),
        ("*girl", True),
        ("red eyes", True),
        ("red_eyes", True),
        ("red  eyes and long hair", True),
        ("not solo", True),
        ("not not solo", False),
        ("1girl and solo", False),
        ("1girl or solo and none", True),
        ("(1girl or solo) and none", False),
        ("1girl and not (solo or blue eyes)", True),
        ('"fate (series)"', True),
        ('"and" and 1girl', True),
        ("^_^", True),
        ("long*", True),
        ("*", True),
        ("[1]girl", False),
        ("1gir?", False),
    ],
)
def test_expressions(text, fits):
    assert parse(text)(plain_tags(CAPTION)) is fits


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("1girl and", "missing at the end"),
        ("and 1girl", 'missing before "and"'),
        ("(1girl", "not closed"),
        ("1girl)", r'nothing was expected at "\)"'),
        ("()", r'missing before "\)"'),
        ('"1girl', "quotation mark is open"),
        ("not", "missing at the end"),
        ("a (b)", r'nothing was expected at "\("'),
    ],
)
def test_what_cannot_be_understood_is_told(text, says):
    with pytest.raises(UsageError, match=says):
        parse(text)


def test_how_tags_are_compared():
    assert plain(" Long_Hair ") == "long hair" and plain("^_^") == "^_^" and plain("a \\(b\\)") == "a (b)"
    assert matches("signature", "sign*") and matches("Long_hair", "long hair") and not matches("hair", "long hair")


@pytest.mark.parametrize("count", [51, 5000, 100_000])
@pytest.mark.parametrize(("open_", "close"), [("(", ")"), ("not ", ""), ("not (", ")")])
def test_what_is_nested_too_deep_is_told_in_a_line(count, open_, close):
    with pytest.raises(UsageError, match="more than 50 brackets and nots are within each other") as caught:
        parse(open_ * count + "solo" + close * count)
    assert len(caught.value.what) < 400


def test_as_deep_as_it_may_be():
    assert parse("not (" * 25 + "solo" + ")" * 25)(frozenset(("solo",))) is False


@pytest.mark.parametrize("word", ["or", "and"])
def test_a_list_of_thousands_of_tags_is_not_deep(word):
    query = parse(f" {word} ".join(f"tag{number}" for number in range(5000)))
    assert query(frozenset(("tag4999",))) is (word == "or")
    assert query(frozenset(f"tag{number}" for number in range(5000))) is True

"""Edits of one caption's tags."""

import pytest

from lorabake.errors import UsageError
from lorabake.tag_edits import Edits, apply, edits

TAGS = ["1boy", "Red_Eyes", "solo", "red eyes", "signature"]


def wish(**words):
    lists = {name: words.pop(name, []) for name in ("add", "add_first", "remove", "replace")}
    return edits(**lists, others=words)


@pytest.mark.parametrize(
    ("words", "after"),
    [
        ({"add": ["solo", "new, newer"]}, [*TAGS, "new", "newer"]),
        ({"add_first": ["solo"]}, ["solo", "1boy", "Red_Eyes", "red eyes", "signature"]),
        ({"add_first": ["a, b"]}, ["a", "b", *TAGS]),
        ({"remove": ["red eyes"]}, ["1boy", "solo", "signature"]),
        ({"remove": ["sig*", "1*"]}, ["Red_Eyes", "solo", "red eyes"]),
        ({"replace": ["1boy=1girl"]}, ["1girl", *TAGS[1:]]),
        ({"replace": ["1boy=solo"]}, TAGS[1:]),
        ({"replace": ["1boy="]}, TAGS[1:]),
        ({"replace": ["red*=blue eyes, x"]}, ["1boy", "blue eyes", "x", "solo", "signature"]),
        ({"replace": ["1boy=a", "a=b"]}, ["b", *TAGS[1:]]),
        ({"dedupe": True}, ["1boy", "Red_Eyes", "solo", "signature"]),
        ({"sort": "name"}, ["1boy", "Red_Eyes", "red eyes", "signature", "solo"]),
        ({"sort": "count"}, ["solo", "1boy", "Red_Eyes", "red eyes", "signature"]),
        ({"remove": ["x"], "add": ["x"]}, [*TAGS, "x"]),
    ],
)
def test_each_edit(words, after):
    assert apply(TAGS, wish(**words), {"solo": 3, "1boy": 1, "red eyes": 1, "signature": 1}) == after


def test_nothing_is_nothing_and_titles_are_as_typed():
    assert not wish() and not Edits() and apply(TAGS, wish(), {}) == TAGS
    assert wish(add=["a"], remove=["b"], dedupe=True, sort="name").title() == "--remove b --add a --dedupe --sort name"


@pytest.mark.parametrize("word", ["1boy", "=x", " =x"])
def test_a_replacement_needs_both_sides(word):
    with pytest.raises(UsageError, match="old=new"):
        wish(replace=[word])

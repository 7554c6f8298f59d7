"""The values of a profile's tag block: what is understood, what is refused and in which words."""

import re

import pytest

from lorabake import tag_kinds
from lorabake.kinds import Wrong
from lorabake.tag_edits import NONE, Edits


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("solo", ("solo",)),
        ("solo, long hair,", ("solo", "long hair")),
        (["solo", "1girl, long hair", " x "], ("solo", "1girl", "long hair", "x")),
        (["no"], ("no",)),
        ("", ()),
        ([], ()),
    ],
)
def test_lists_of_tags(typed, value):
    kind = tag_kinds.tags()
    assert kind.parse(typed) == value and kind.fits(value)


@pytest.mark.parametrize("typed", [{"a": "b"}, [["a"]], None, [None]])
def test_what_is_no_list_of_tags(typed):
    with pytest.raises(Wrong, match="is not a tag"):
        tag_kinds.tags().parse(typed)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ({"1boy": "1girl"}, {"1boy": "1girl"}),
        ({"1boy": ["1girl", "solo"], "x": None, "y": ""}, {"1boy": "1girl, solo", "x": "", "y": ""}),
        ("1boy=1girl, x=", {"1boy": "1girl", "x": ""}),
        (["1boy = 1girl", "red*=blue eyes"], {"1boy": "1girl", "red*": "blue eyes"}),
        ("a=b=c", {"a": "b=c"}),
        ({}, {}),
    ],
)
def test_replacements(typed, value):
    kind = tag_kinds.replacements()
    assert kind.parse(typed) == value and kind.fits(value)


@pytest.mark.parametrize("typed", ["1boy", "=1girl", " =x", ["a=b", "c"], {"": "x"}, {" ": "x"}])
def test_what_is_no_replacement(typed):
    with pytest.raises(Wrong, match="is no replacement"):
        tag_kinds.replacements().parse(typed)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("junwool", "junwool"),
        (" auto ", "auto"),
        ("", ""),
        ({"5_anna": "anna", "bob": " bob "}, {"5_anna": "anna", "bob": "bob"}),
        ("two words", "two words"),
    ],
)
def test_trigger_words(typed, value):
    kind = tag_kinds.trigger()
    assert kind.parse(typed) == value and kind.fits(value)


@pytest.mark.parametrize(
    ("typed", "says"), [("a, b", "would be two tags"), ({"x": "a, b"}, "would be two tags"), (["a"], "not a trigger word")]
)
def test_what_is_no_trigger_word(typed, says):
    with pytest.raises(Wrong, match=says):
        tag_kinds.trigger().parse(typed)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ([], ()),
        (["dedupe"], ({"dedupe": True},)),
        ([{"remove": "a, b"}], ({"remove": ("a", "b")},)),
        ([{"find": "1girl and not solo", "add_first": ["x"]}], ({"find": "1girl and not solo", "add_first": ("x",)},)),
        ([{"dedupe": "Yes", "sort": "count"}, {"dedupe": "off"}], ({"dedupe": True, "sort": "count"}, {"dedupe": False})),
        ([{"replace": {"a": "b, c"}, "add": "d"}], ({"replace": {"a": "b, c"}, "add": ("d",)},)),
    ],
)
def test_rules(typed, value):
    kind = tag_kinds.rules()
    assert kind.parse(typed) == value and kind.fits(value)


@pytest.mark.parametrize(
    ("typed", "says", "todo"),
    [
        ("dedupe", "is not a list of rules", "- {find"),
        ({"remove": "a"}, "is not a list of rules", "- {find"),
        (["remove"], '"remove" is no rule', "{find"),
        ([["dedupe"]], "a list is no rule", "{find"),
        ([None], "an empty value is no rule", "{find"),
        ([{"take": "a"}], 'a rule has no "take"', "one of find, add"),
        ([{"find": "1girl"}], "a rule does nothing", "{find"),
        ([{}], "a rule does nothing", "{find"),
        ([{"find": "a and", "add": "x"}], "missing at the end", ""),
        ([{"sort": "size"}], "is no order", "name or count"),
        ([{"dedupe": "perhaps"}], "is not true or false", ""),
        ([{"remove": {"a": "b"}}], "is not a tag", ""),
        ([{"replace": "a"}], "is no replacement", "{1boy: 1girl}"),
    ],
)
def test_what_is_no_rule(typed, says, todo):
    with pytest.raises(Wrong, match=re.escape(says)) as caught:
        tag_kinds.rules().parse(typed)
    assert todo in caught.value.todo


def test_a_rule_as_edits():
    rule = tag_kinds.rules().parse([{"find": "x", "remove": "a", "replace": {"b": "c, d"}, "add_first": "e", "sort": "name"}])[0]
    assert tag_kinds.edits_of(rule) == Edits(remove=("a",), replace=(("b", ("c", "d")),), add_first=("e",), sort="name")
    assert tag_kinds.edits_of({"dedupe": False}) == NONE


def test_what_a_finished_value_may_not_be():
    assert not tag_kinds.tags().fits("solo") and not tag_kinds.replacements().fits(("a",)) and not tag_kinds.rules().fits([])
    assert not tag_kinds.trigger().fits(("a",))

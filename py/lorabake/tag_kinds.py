"""Kinds of values that a profile's `tag` block holds: lists of tags, replacements, trigger words, rules.

Not here: the ordinary kinds (kinds.py), what edits do (tag_edits.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lorabake import captions, tag_query
from lorabake.errors import UsageError
from lorabake.kinds import ANY_TEXT, FALSE, TRUE, Kind, Raw, Wrong, shown, text_of
from lorabake.tag_edits import SORTS, Edits

Rule = dict[str, Any]
LISTS = ("add", "add_first", "remove")
RULE_KEYS = ("find", *LISTS, "replace", "dedupe", "sort")
TAGS_SCHEMA = {"anyOf": [ANY_TEXT, {"type": "array", "items": ANY_TEXT}]}
REPLACE_SCHEMA = {"type": ["object", "string", "array"]}
RULE_EXAMPLE = "{find: 1boy, replace: {1boy: 1girl}}"


def tags_of(value: Raw) -> tuple[str, ...]:
    """`a, b`, or a list of those. Raises Wrong for a group."""
    entries = value if isinstance(value, list) else [value]
    return tuple(tag for entry in entries for tag in captions.split_tags(text_of(entry, "a tag")))


def tags() -> Kind:
    return Kind("tags, as a list or between commas; * stands for anything", tags_of, lambda v: isinstance(v, tuple), TAGS_SCHEMA)


def replacements() -> Kind:
    """{old: new}; as text `old=new`, several between commas."""

    def parse(value: Raw) -> dict[str, str]:
        if isinstance(value, dict):
            pairs = list(value.items())
        else:
            split = [word.partition("=") for word in tags_of(value)]
            pairs = [(old if equals else "", new) for old, equals, new in split]
        if not all(old.strip() for old, _ in pairs):
            raise Wrong(f"{shown(value)} is no replacement", "{1boy: 1girl}")
        return {old.strip(): ", ".join(tags_of(new)) if new is not None else "" for old, new in pairs}

    return Kind("tags with what takes their place: {1boy: 1girl}", parse, lambda v: isinstance(v, dict), REPLACE_SCHEMA)


def trigger() -> Kind:
    """One word, `auto`, or a map of folders to words."""

    def parse(value: Raw) -> str | dict[str, str]:
        if isinstance(value, dict):
            return {folder: _word(word) for folder, word in value.items()}
        return _word(value)

    schema = {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": ANY_TEXT}]}
    return Kind("a word, auto (the folders' concept names), or {folder: word}", parse, lambda v: isinstance(v, str | dict), schema)


def _word(value: Raw) -> str:
    word = text_of(value, "a trigger word")
    if "," in word:
        raise Wrong(f"{shown(value)} holds a comma: it would be two tags")
    return word


def rules() -> Kind:
    """A list of edits in the order in which they are applied."""

    def parse(value: Raw) -> tuple[Rule, ...]:
        if not isinstance(value, list):
            raise Wrong(f"{shown(value)} is not a list of rules", f"- {RULE_EXAMPLE}")
        return tuple(_rule(entry) for entry in value)

    properties: dict[str, Any] = dict.fromkeys(LISTS, TAGS_SCHEMA)
    properties |= {
        "find": ANY_TEXT,
        "replace": REPLACE_SCHEMA,
        "dedupe": {"type": "boolean"},
        "sort": {"enum": list(SORTS)},
    }
    items = {"anyOf": [{"const": "dedupe"}, {"type": "object", "properties": properties, "additionalProperties": False}]}
    schema = {"type": "array", "items": items}
    return Kind(f"a list of rules with {', '.join(RULE_KEYS)}", parse, lambda v: isinstance(v, tuple), schema)


def _rule(value: Raw) -> Rule:
    if value == "dedupe":
        return {"dedupe": True}
    if not isinstance(value, dict):
        raise Wrong(f"{shown(value)} is no rule", RULE_EXAMPLE)
    strange = [name for name in value if name not in RULE_KEYS]
    if strange:
        raise Wrong(f'a rule has no "{strange[0]}"', f"one of {', '.join(RULE_KEYS)}")
    rule: Rule = {name: tags_of(value[name]) for name in LISTS if name in value}
    if "find" in value:
        rule["find"] = _find(value["find"])
    if "replace" in value:
        rule["replace"] = replacements().parse(value["replace"])
    if "dedupe" in value:
        typed = text_of(value["dedupe"], "true or false").lower()
        if typed not in TRUE + FALSE:
            raise Wrong(f"{shown(value['dedupe'])} is not true or false")
        rule["dedupe"] = typed in TRUE
    if "sort" in value:
        rule["sort"] = text_of(value["sort"], "an order")
        if rule["sort"] not in SORTS:
            raise Wrong(f"{shown(value['sort'])} is no order", " or ".join(SORTS))
    if not rule.keys() - {"find"}:
        raise Wrong("a rule does nothing", RULE_EXAMPLE)
    return rule


def _find(value: Raw) -> str:
    text = text_of(value, "an expression")
    try:
        tag_query.parse(text)
    except UsageError as error:
        raise Wrong(error.what, error.todo) from error
    return text


def edits_of(rule: Mapping[str, Any]) -> Edits:
    """A rule as edits, without its condition."""
    pairs = tuple((old, tuple(captions.split_tags(new))) for old, new in rule.get("replace", {}).items())
    lists: dict[str, Sequence[str]] = {name: tuple(rule.get(name, ())) for name in LISTS}
    return Edits(replace=pairs, dedupe=rule.get("dedupe", False), sort=rule.get("sort", ""), **lists)  # type: ignore[arg-type]

"""The questions of a new profile, made from the keys of settings.py: which, in which order, and what an answer's text means.

No console, no files. Not here: how a question looks (question_screens.py), asking (interview.py), checks that look at
models and pictures (answer_checks.py).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorabake import yaml_nodes
from lorabake.kinds import FALSE, TRUE, Raw, Wrong, plain, shown
from lorabake.profile import absolute
from lorabake.profile_checks import Finding, Values, impossible, pointless, without_effect
from lorabake.settings import BLOCKS, Key, keys
from lorabake.settings_asked import ASKED, Ask
from lorabake.settings_later import NOT_YET_VALUES
from lorabake.typed_paths import split
from lorabake.yaml_lines import JOINERS

NOTHING = ("none", "nothing", "null")
YES_OR_NO = {"y": "yes", "n": "no"}
NO_GROUP = "other"  # keys at the left edge of a profile that are not asked for at first
MOST_CHARACTERS = 4000


@dataclass(frozen=True)
class Question:
    """One key, and what is said about it."""

    key: Key
    ask: Ask

    @property
    def title(self) -> str:
        """In words; of keys without a title their own name."""
        return self.ask.title or self.key.dotted.rpartition(".")[2].replace("_", " ").capitalize()

    @property
    def is_flag(self) -> bool:
        return self.key.kind.schema == {"type": "boolean"}

    @property
    def picks(self) -> str:
        """What a window lets one pick; "" for keys that are no path."""
        return (self.ask.pick or "file") if self.key.kind.is_path else ""


@dataclass
class Sheet:
    """The answers so far, by dotted key, as understood. A key that took its default has that; one that was not answered is not there."""

    values: dict[str, Any] = field(default_factory=dict)


def all_questions() -> dict[str, Question]:
    """By dotted key: first those of ASKED in its order, then all others as settings.py has them."""
    known = {key.dotted: key for key in keys()}
    order = [*(dotted for dotted in ASKED if dotted in known), *(dotted for dotted in known if dotted not in ASKED)]
    return {dotted: Question(known[dotted], ASKED.get(dotted, Ask(first=False))) for dotted in order}


def groups(found: Iterable[Question]) -> dict[str, int]:
    """The groups of what is not asked at first, with their counts of questions."""
    counts = dict.fromkeys((*BLOCKS, NO_GROUP), 0)
    for question in found:
        if not question.ask.first:
            counts[group_of(question)] = counts.get(group_of(question), 0) + 1
    return {name: count for name, count in counts.items() if count}


def group_of(question: Question) -> str:
    return question.key.dotted.rpartition(".")[0] or NO_GROUP


def to_ask(found: Mapping[str, Question], sheet: Sheet, more: Collection[str]) -> list[Question]:
    """The questions that make sense with these answers: the first ones, then the groups of `more` in the order they were wished."""
    v = values_of(sheet)
    first = [question for question in found.values() if question.ask.first]
    later = [q for group in more for q in found.values() if not q.ask.first and group_of(q) == group]
    return [q for q in (*first, *later) if q.key.required or not pointless(v, q.key.dotted)]


def values_of(sheet: Sheet) -> Values:
    """The answers as the rules between keys see them: a default that was taken counts as not typed."""
    defaults = {key.dotted: key.default for key in keys()}
    typed = {dotted: value for dotted, value in sheet.values.items() if dotted not in defaults or value != defaults[dotted]}
    return Values(typed, defaults)


def raw_of(question: Question, typed: str) -> Raw:
    """Typed text as the kinds want it: lists and groups as YAML, one path out of what was dropped, y and n. Raises Wrong."""
    text = typed.strip()
    if len(text) > MOST_CHARACTERS:
        raise Wrong(f"{shown(text)} is {len(text)} characters long", f"{MOST_CHARACTERS} are the most")
    if any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise Wrong(f"{shown(text)} is not Unicode text", "type it anew")
    if text[:1] in ("[", "{") and not question.key.kind.is_text:
        return _list_or_group(text)
    if question.key.kind.is_path:
        return _one_path(text, question.key.kind.choices)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return YES_OR_NO.get(text.lower(), text) if question.is_flag else text


def _list_or_group(text: str) -> Raw:
    node, mistakes = yaml_nodes.compose(text)
    if node is None or mistakes:
        raise Wrong(f"{shown(text)} is not a list or a group", "[a, b] or {a: b}")
    return yaml_nodes.raw(node)


def _one_path(text: str, words: Collection[str]) -> str:
    found = [text] if text in words else split(text)
    if len(found) > 1:
        raise Wrong(f"{len(found)} paths were given: {', '.join(map(shown, found[:3]))}", "one path")
    return found[0] if found else ""


def understood(question: Question, raw: Raw, folder: Path) -> Any:
    """The value of an answer; paths counted from `folder`. None takes the default. Raises Wrong."""
    key = question.key
    if isinstance(raw, str) and raw.strip().lower() in ("", *NOTHING) and key.nullable:
        raw = None
    if raw is None:
        if key.required:
            raise Wrong("an answer is needed here")
        return key.default
    if isinstance(raw, str) and raw.strip().lower() == "auto" and key.auto:
        return None
    if isinstance(raw, str) and (topic := NOT_YET_VALUES.get(key.dotted, {}).get(raw.strip().lower())):
        raise Wrong(f"{shown(raw)} - not yet: {topic}", f"allowed: {key.kind.allowed}")
    value = key.kind.parse(raw)
    if not key.kind.is_path or not isinstance(value, str):
        return value
    if odd := next((c for c in value if not c.isprintable() and c not in JOINERS), ""):
        raise Wrong(f"{shown(value)} holds an invisible character (U+{ord(odd):04X})", "rename the folder or file")
    return absolute(value, folder)


def conflicts(sheet: Sheet) -> list[Finding]:
    """Combinations that cannot be. Keys that were not answered yet count with their defaults."""
    return list(impossible(values_of(sheet)))


def idle(sheet: Sheet) -> list[Finding]:
    """Answers that change nothing."""
    return list(without_effect(values_of(sheet)))


def words_of(question: Question, value: Any) -> str:
    """A value as one would type it; a default in words."""
    key = question.key
    if value is None:
        return f"auto ({key.auto})" if key.auto else "nothing" if key.nullable else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _typed(value)


def _typed(value: Any) -> str:
    if isinstance(value, bool):
        return TRUE[0] if value else FALSE[0]
    if isinstance(value, int | float):
        return plain(value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_typed, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_typed(entry)}" for name, entry in value.items()) + "}"
    return str(value)


def as_raw(value: Any) -> Raw:
    """A value as the kinds take it, fit for JSON; `understood` makes the same value of it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, tuple | list):
        return [as_raw(entry) for entry in value]
    if isinstance(value, dict):
        return {str(name): as_raw(entry) for name, entry in value.items()}
    return _typed(value)

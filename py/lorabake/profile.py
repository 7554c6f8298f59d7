"""Reads a profile: YAML text to a checked, frozen Profile, or every mistake at once, each with its line and what to type.

Not here: what a single value may be (kinds.py, settings.py), rules between keys (profile_checks.py), whether folders are there (plan.py).
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from lorabake import path_rules, yaml_nodes
from lorabake.errors import UserError
from lorabake.families import POCKET
from lorabake.kinds import Raw, Wrong, shown
from lorabake.profile_checks import Finding, Values, impossible, without_effect
from lorabake.profile_names import advice
from lorabake.settings import BLOCKS, Key, Profile, keys
from lorabake.settings_later import NOT_YET_VALUES, topic_of

LATER = "leave it out; a later version of lorabake will have it"
RIVALS = {"train.epochs": "train.steps", "train.steps": "train.epochs"}  # one on the command line takes the place of the other in the file
EXAMPLES = {"name": "my-style", "base_model": "pocket", "images": "../pictures", "output": "../baked"}


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong. `where` is "--set" for an override, else empty; `line` counts from 1, None for the file as a whole."""

    what: str
    line: int | None = None
    allowed: str = ""
    todo: str = ""
    where: str = ""


class ProfileErrors(UserError):
    """All the mistakes of one profile, sorted by line. `mistakes` has them one by one."""

    def __init__(self, path: Path, mistakes: Sequence[Mistake], note: str = "") -> None:
        self.path, self.note = path, note
        self.mistakes = tuple(sorted(mistakes, key=lambda m: (bool(m.where), m.line is None, m.line or 0)))
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        super().__init__(
            "\n".join([f"{count} in {path}", *(_block(path.name, mistake) for mistake in self.mistakes), *([f"  {note}"] if note else [])])
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.path, self.mistakes, self.note)


def _block(name: str, mistake: Mistake) -> str:
    where = mistake.where or (f"{name}:{mistake.line}" if mistake.line else name)
    more = [f"    allowed: {mistake.allowed}"] if mistake.allowed else []
    more += [f"    -> {mistake.todo}"] if mistake.todo else []
    return "\n".join([f"  {where}: {mistake.what}", *more])


@dataclass(frozen=True)
class Loaded:
    """A profile without mistakes. `typed`: dotted keys that the user typed; `warnings`: typed settings without effect."""

    profile: Profile
    typed: frozenset[str]
    path: Path
    text: str
    warnings: tuple[str, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)

    def where(self, key: str) -> str:
        """`file:line` of a key for messages; the key's name alone where it was not typed in the file."""
        return f"{self.path}:{self.lines[key]} ({key})" if key in self.lines else key


@dataclass
class _Reading:
    """What is known of a profile while it is read. `values` has the typed keys that were understood."""

    known: Mapping[str, Key]
    file: str
    folder: Path
    mistakes: list[Mistake] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)  # keys that a mistake has already named: not "missing" on top
    cut: list[tuple[int, str]] = field(default_factory=list)  # lines where a comment may have been meant as text
    where: str = ""

    def mistake(self, line: int | None, what: str, *, allowed: str = "", todo: str = "") -> None:
        self.mistakes.append(Mistake(what, line, allowed, todo, self.where))


def load(path: Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read a profile with `key=value` overrides. Raises ProfileErrors with all mistakes, UserError for a file that cannot be read."""
    path = Path(path)
    text = yaml_nodes.read_text(path)
    reading = _Reading({key.dotted: key for key in keys()}, path.name, path.absolute().parent)
    root, syntax = yaml_nodes.compose(text)
    reading.mistakes += [Mistake(found.what, found.line, todo=found.todo) for found in syntax]
    if root is None:
        if not syntax:
            raise UserError("this profile holds only comments", where=str(path), todo="copy profiles/demo.yaml and change it")
        raise ProfileErrors(path, reading.mistakes, "(the rest of the file is checked when this is mended)")
    _read_root(reading, root)
    for override in overrides:
        _override(reading, override)
    _missing(reading)
    defaults = {dotted: key.default for dotted, key in reading.known.items()}
    values = Values(reading.values, defaults, frozenset(reading.answered - reading.values.keys()))
    reading.mistakes += [_placed(reading, finding) for finding in impossible(values)]
    if reading.mistakes:
        raise ProfileErrors(path, reading.mistakes)
    return Loaded(_profile(reading.values), frozenset(reading.values), path, text, _warnings(reading, values), reading.lines)


def _warnings(reading: _Reading, values: Values) -> tuple[str, ...]:
    found = [(reading.lines.get(finding.key, 0), finding.what) for finding in without_effect(values)]
    return tuple(f"{reading.file}:{line}: {what}" if line else what for line, what in sorted(found + reading.cut))


def _profile(values: Mapping[str, Any]) -> Profile:
    nested: dict[str, Any] = {}
    for dotted, value in values.items():
        block, _, name = dotted.rpartition(".")
        (nested.setdefault(block, {}) if block else nested)[name] = value
    return Profile.model_validate(nested)


def _placed(reading: _Reading, finding: Finding) -> Mistake:
    line = reading.lines.get(finding.key)
    return Mistake(finding.what, line, finding.allowed, finding.todo, "" if line else f"--set {finding.key}")


def _missing(reading: _Reading) -> None:
    for key in reading.known.values():
        if key.required and key.dotted not in reading.values and key.dotted not in reading.answered:
            reading.mistake(None, f"{key.dotted} is missing", allowed=key.kind.allowed, todo=f"{key.dotted}: {EXAMPLES[key.dotted]}")


def _read_root(reading: _Reading, root: yaml.Node) -> None:
    if not isinstance(root, yaml.MappingNode):
        what = f"{shown(_quiet(root))} is not a profile: it has no keys"
        reading.mistake(root.start_mark.line + 1, what, todo="name: my-style")
        reading.answered |= set(reading.known)
        return
    seen: dict[str, int] = {}
    for entry in yaml_nodes.entries(root):
        again = _again(reading, seen, entry.key, entry)
        if entry.key in BLOCKS:
            _read_block(reading, entry)
        elif "." in entry.key and entry.key in reading.known:
            block, _, name = entry.key.partition(".")
            reading.mistake(entry.line, f"{entry.key} in one word is for --set", todo=f"{block}: with {name}: below it, indented")
            reading.answered.add(entry.key)
        elif not again:
            _read_entry(reading, entry.key, entry)


def _again(reading: _Reading, seen: dict[str, int], dotted: str, entry: yaml_nodes.Entry) -> bool:
    """Whether this key came before in its group, which is a mistake."""
    if dotted in seen:
        todo = f"all keys of {dotted} under one {dotted}:" if dotted in BLOCKS else "leave one of the two out"
        reading.mistake(entry.line, f"{dotted} comes twice, first in line {seen[dotted]}", todo=todo)
        return True
    seen[dotted] = entry.line
    return False


def _read_block(reading: _Reading, block: yaml_nodes.Entry) -> None:
    if yaml_nodes.is_null(block.node):
        return
    if not isinstance(block.node, yaml.MappingNode):
        reading.mistake(
            block.line, f"{block.key} is {shown(_quiet(block.node))}, but it is a group of keys", todo=_group_advice(reading, block)
        )
        return
    seen: dict[str, int] = {}
    for entry in yaml_nodes.entries(block.node):
        dotted = f"{block.key}.{entry.key}"
        if not _again(reading, seen, dotted, entry):
            _read_entry(reading, dotted, entry)


def _group_advice(reading: _Reading, block: yaml_nodes.Entry) -> str:
    if isinstance(block.node, yaml.SequenceNode):
        return "without dashes and brackets"
    if block.key == "model":
        return f"base_model: {block.node.value}, if the base model is meant"
    if squeezed := re.match(r"(\w+):(\S+)", str(block.node.value)):
        return f"a space after the colon: {squeezed[1]}: {squeezed[2]}"
    example = next(dotted for dotted in reading.known if dotted.startswith(f"{block.key}."))
    return f"{block.key}: {{{example.partition('.')[2]}: ...}}"


def _read_entry(reading: _Reading, dotted: str, entry: yaml_nodes.Entry) -> None:
    try:
        value = yaml_nodes.raw(entry.node)
    except Wrong as wrong:
        reading.mistake(entry.line, f"{dotted}: {wrong.what}", todo=wrong.todo)
        reading.answered.add(dotted)
        return
    if not _hidden(reading, dotted, entry):
        _take(reading, dotted, value, entry.line)


def _hidden(reading: _Reading, dotted: str, entry: yaml_nodes.Entry) -> bool:
    """Whether YAML hides a part of the value: after a #, or behind a backslash in double quotes."""
    key = reading.known.get(dotted)
    if key is None or not isinstance(entry.node, yaml.ScalarNode):
        return False
    source = yaml_nodes.source(entry.node)
    if key.kind.is_path and source.startswith('"') and "\\" in source.replace("\\\\", ""):
        what, todo = yaml_nodes.backslashes(source)
        reading.mistake(entry.line, f"{dotted}: {what}", todo=f"{todo}")
        reading.answered.add(dotted)
        return True
    if entry.node.style is not None or not (cut := re.match(r"\s*(#\S+)", yaml_nodes.rest_of_line(entry.node))):
        return False
    if dotted == "data.background" and not source:
        reading.mistake(entry.line, f"{dotted} has no value: {cut[1]} without quotes is a comment", todo=f'{dotted}: "{cut[1]}"')
        reading.answered.add(dotted)
        return True
    if key.kind.is_text and source:
        reading.cut.append(
            (entry.line, f"{dotted} is {source}; the rest of its line, from {cut[1]} on, is a comment (quotes would make it a part)")
        )
    return False


def _take(reading: _Reading, dotted: str, value: Raw, line: int | None) -> None:
    """Convert one typed value, or note what is wrong with it."""
    key = reading.known.get(dotted)
    if key is None:
        _unknown(reading, dotted, line)
        return
    reading.answered.add(dotted)
    if line:
        reading.lines[dotted] = line
    if topic := _not_yet(dotted, value):
        reading.mistake(line, f"{dotted}: {shown(value)} - not yet: {topic}", allowed=key.kind.allowed)
        return
    if value == "" and key.nullable:
        value = None
    if value is None and not key.nullable and key.default != "":
        reading.mistake(line, f"{dotted} has no value", allowed=key.kind.allowed)
    elif (value is None and key.nullable) or (value == "auto" and key.auto):
        reading.values[dotted] = None
    else:
        try:
            found = "" if value is None else key.kind.parse(value)
        except Wrong as wrong:
            allowed = key.kind.allowed + (", auto" if key.auto else "")
            reading.mistake(line, f"{dotted}: {wrong.what}", allowed=allowed, todo=wrong.todo)
            return
        reading.values[dotted] = _place(reading, dotted, found, line) if key.kind.is_path and isinstance(found, str) else found


def _place(reading: _Reading, dotted: str, typed: str, line: int | None) -> str:
    """A typed path as a full one; a mistake where Windows takes none of that name."""
    if wrong := path_rules.trouble(typed):
        reading.mistake(line, f"{dotted}: {wrong[0]}", todo=f"{dotted}: {wrong[1]}")
    return absolute(typed, reading.folder)


def _not_yet(dotted: str, value: Raw) -> str | None:
    if dotted == "images" and isinstance(value, list):
        return "several sets of pictures in one profile"
    return NOT_YET_VALUES.get(dotted, {}).get(value.strip().lower()) if isinstance(value, str) else None


def _unknown(reading: _Reading, dotted: str, line: int | None) -> None:
    if topic := topic_of(dotted):
        reading.mistake(line, f"{dotted} - not yet: {topic}", todo=LATER)
        return
    todo, meant = advice(dotted, reading.known)
    reading.answered |= meant
    reading.mistake(line, f"{dotted} is not a key", todo=todo)


def _override(reading: _Reading, override: str) -> None:
    """One `--set key=value`; it takes the place of what the file says."""
    dotted, equals, text = (part.strip() for part in override.partition("="))
    reading.where = f"--set {override}"
    if not equals or not dotted:
        reading.mistake(None, f"{shown(override)} is not key=value", todo="--set train.epochs=3")
    else:
        for gone in (dotted, RIVALS.get(dotted)):
            if gone:
                reading.lines.pop(gone, None)
                reading.values.pop(gone, None)
        try:
            value = _override_value(text)
            group = (
                {f"{dotted}.{name}": entry for name, entry in value.items()}
                if dotted in BLOCKS and isinstance(value, dict)
                else {dotted: value}
            )
            for key, entry in group.items():
                _take(reading, key, entry, None)
        except Wrong as wrong:
            reading.mistake(None, f"{dotted}: {wrong.what}", todo=wrong.todo)
    reading.where = ""


def _override_value(text: str) -> Raw:
    """Lists and groups are read as YAML, everything else is text as it is, so that D:\\new needs no quotes."""
    if text in yaml_nodes.NULLS:
        return None
    if text[0] not in "[{":
        return text
    node, mistakes = yaml_nodes.compose(text)
    if node is None or mistakes:
        raise Wrong(f"{shown(text)} is not a list or a group", "[a, b]")
    return yaml_nodes.raw(node)


def _quiet(node: yaml.Node) -> Raw:
    return [] if isinstance(node, yaml.SequenceNode) else {} if isinstance(node, yaml.MappingNode) else str(node.value)


def absolute(typed: str, folder: Path) -> str:
    """A typed path counted from `folder`; `~` is the home folder; the word pocket and full paths of Windows stay as they are."""
    if typed == POCKET or PureWindowsPath(typed).is_absolute():
        return typed if typed == POCKET else str(PureWindowsPath(typed))
    return os.path.abspath(folder / os.path.expanduser(typed))  # noqa: PTH100, PTH111  (Path.resolve would follow links; expanduser may not raise)

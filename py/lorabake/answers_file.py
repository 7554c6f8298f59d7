"""Reads answers to the questions of a new profile from a file, for scripts and tests: `key: value` lines or YAML groups, in any order.

Every mistake is told at once, with its line. Not here: what an answer means (questions.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from lorabake import yaml_nodes
from lorabake.errors import UserError
from lorabake.kinds import Raw, Wrong, shown
from lorabake.profile import Mistake, ProfileErrors
from lorabake.profile_names import advice
from lorabake.settings import BLOCKS


@dataclass(frozen=True)
class Given:
    dotted: str
    raw: Raw
    line: int | None


def read(path: Path, known: Iterable[str]) -> tuple[list[Given], list[Mistake]]:
    """The answers in the order of the file, and what is wrong with it. Raises UserError for a file that cannot be read at all."""
    known = list(known)
    root, syntax = yaml_nodes.compose(yaml_nodes.read_text(path))
    mistakes = [Mistake(found.what, found.line, todo=found.todo) for found in syntax]
    if root is None and mistakes:
        raise ProfileErrors(path, mistakes)
    if not isinstance(root, yaml.MappingNode):
        raise UserError("there are no answers in this file", where=str(path), allowed="key: value", todo="train.epochs: 8")
    given: list[Given] = []
    for entry in yaml_nodes.entries(root):
        if entry.key in BLOCKS and isinstance(entry.node, yaml.MappingNode):
            for inner in yaml_nodes.entries(entry.node):
                _take(given, mistakes, known, yaml_nodes.Entry(f"{entry.key}.{inner.key}", inner.line, inner.node))
        else:
            _take(given, mistakes, known, entry)
    return given, mistakes


def _take(given: list[Given], mistakes: list[Mistake], known: list[str], entry: yaml_nodes.Entry) -> None:
    if entry.key not in known:
        todo, _ = advice(entry.key, known)
        mistakes.append(Mistake(f"{shown(entry.key)} is none of the questions", entry.line, todo=todo))
    elif first := next((one.line for one in given if one.dotted == entry.key), None):
        mistakes.append(Mistake(f"{entry.key} comes twice, first in line {first}", entry.line, todo="leave one of the two out"))
    else:
        try:
            given.append(Given(entry.key, yaml_nodes.raw(entry.node), entry.line))
        except Wrong as wrong:
            mistakes.append(Mistake(f"{entry.key}: {wrong.what}", entry.line, todo=wrong.todo))

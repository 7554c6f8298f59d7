"""Writes YAML that our strict reader reads back to the same values: one setting a line, with a comment behind it.

Not a YAML library: only what a profile holds. Not here: reading (yaml_nodes.py, profile.py).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lorabake import said
from lorabake.kinds import plain
from lorabake.settings import BLOCKS
from lorabake.yaml_nodes import NULLS

COMMENT_COLUMN = 44
# Texts that need no quotes: nothing in them means anything to YAML, and no reader takes them for a number, a flag or a date.
_BARE = re.compile(r"[A-Za-z_./][A-Za-z0-9_./+()-]*(?: [A-Za-z0-9_./+()-]+)*")
_MEANT_OTHERWISE = {*NULLS, "true", "false", "yes", "no", "on", "off", "auto", "y", "n"}
JOINERS = "\u200c\u200d"  # invisible, but parts of emoji and of words in some scripts, so of names of folders too
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


@dataclass(frozen=True)
class Line:
    """A setting: dotted key, value, and what stands in the comment behind it."""

    key: str
    value: Any
    comment: str = ""


def text(head: Iterable[str], lines: Iterable[Line], tail: Iterable[str]) -> str:
    """A whole profile: comments, settings (top level, then block by block), comments."""
    lines = list(lines)
    written = [_comment(line) for line in head]
    written += [_setting(line.key, line, "") for line in lines if "." not in line.key]
    for block in BLOCKS:
        own = [line for line in lines if line.key.startswith(f"{block}.")]
        if own:
            written += ["", f"{block}:", *(_setting(line.key.partition(".")[2], line, "  ") for line in own)]
    rest = [_comment(line) for line in tail]
    return "\n".join([*written, *(["", *rest] if rest else []), ""])


def commented_out(line: str, why: str) -> str:
    """A written line as a comment, with the reason behind it."""
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}# {line.strip()} - not taken: {said.clean(why, 200)}"


def _comment(line: str) -> str:
    return f"# {said.clean(line)}" if line else "#"


def _setting(name: str, line: Line, indent: str) -> str:
    written = f"{indent}{name}: {scalar(line.value)}"
    return f"{written:<{COMMENT_COLUMN}} # {said.clean(line.comment, 200)}" if line.comment else written


def scalar(value: Any) -> str:
    """A value on one line. Texts that need quotes get single ones, in which the backslashes of Windows paths mean themselves."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return plain(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(str(key))}: {scalar(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(scalar(entry) for entry in value) + "]"
    return _quoted(str(value))


def _quoted(value: str) -> str:
    if _BARE.fullmatch(value) and value.lower() not in _MEANT_OTHERWISE and not re.search(r"\.(inf|nan)", value.lower()):
        return value
    if all(c.isprintable() or c in JOINERS for c in value):
        return "'" + value.replace("'", "''") + "'"
    return '"' + "".join(c if c.isprintable() and c not in _ESCAPES else _ESCAPES.get(c) or _escaped(ord(c)) for c in value) + '"'


def _escaped(code: int) -> str:
    """A lone surrogate, which no file may hold, becomes the replacement character."""
    if 0xD800 <= code <= 0xDFFF:
        code = 0xFFFD
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

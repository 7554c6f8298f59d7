"""Paths out of what was typed, dropped or pasted into a console window: quotes, several in a row, other programs' ways of writing them.

A pure function of the text: whether the paths are there is for others to find out. Not here: asking (asking.py). Standard library only.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

# how a whole path begins: a drive, a share, the root or the home folder of Linux, an address of a file
_WHOLE = r"(?:[A-Za-z]:[\\/]|\\\\[^\\\s]|~?/|file://)"
_CLOSING = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019"}
_SINGLE = re.compile(rf"'((?:[^']|'\\''|''(?!{_WHOLE}))*)'")  # PowerShell writes '' for an apostrophe, other shells '\''
# PowerShell's console puts "& " before what is dropped into it
_NEXT = re.compile(rf"[\s,;]+(?=(?:& ?)?[\"\u201c\u2018]|(?:& ?)?'(?:{_WHOLE})|{_WHOLE})")
_NEXT_DRIVE = re.compile(r"(?<=.)[\s,;]*(?=[A-Za-z]:[\\/])", re.DOTALL)  # no name on Windows holds a colon


def split(text: str) -> list[str]:
    r"""The paths in a line, in order. Unquoted spaces belong to a path unless the next whole path begins behind them.

    Explorer pastes `"C:\a b\x" "D:\y"` or the same without a space between, PowerShell's console `& 'C:\it''s'`, terminals of Linux
    `'/a b'` or `/a\ b`, some file managers `file:///a%20b`.
    """
    found, rest = [], text.strip().strip("\0")
    while rest:
        item, rest = _first(rest)
        rest = rest.lstrip(" \t\r\n,;")
        if item.strip():
            found.append(item.strip())
    return found


def _first(text: str) -> tuple[str, str]:
    """(the first path, what stands behind it)."""
    call = re.match(r"& ?(?=['\"])", text)
    text = text[call.end() :] if call else text
    if text[0] == "'" and (match := _SINGLE.match(text)):
        return re.sub(r"'\\''|''", "'", match[1]), text[match.end() :]
    closing = _CLOSING.get(text[0])
    if closing and text[0] != "'":
        inside, _, rest = text[1:].partition(closing)
        return inside, rest
    if closing and re.match(_WHOLE, text[1:]):
        text = text[1:]  # the closing quote was forgotten
    return _bare(text)


def _bare(text: str) -> tuple[str, str]:
    ends = [match.start() for match in (_NEXT.search(text, 1),) if match]
    if re.match(r"[A-Za-z]:[\\/]|\\\\", text) and (match := _NEXT_DRIVE.search(text, 3)):
        ends.append(match.start())
    end = min(ends, default=len(text))
    item, rest = text[:end], text[end:]
    if item.startswith("file://"):
        return _of_address(item.strip()), rest
    if re.match(r"~?/", item):
        item = re.sub(r"\\(.)", r"\1", item)  # /a\ b
    return item.rstrip('" '), rest


def _of_address(address: str) -> str:
    path = unquote(address[len("file://") :])
    return path[1:] if re.match(r"/[A-Za-z]:", path) else path

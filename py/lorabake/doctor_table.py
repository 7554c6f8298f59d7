"""The rows of `setup.py --check`: what a row is, its number, the table a person reads and the list a machine reads.

Not here: what is checked (doctor.py and the files named after it). Standard library only.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from dataclasses import asdict, dataclass

OK, WARN, FAIL = "OK", "WARN", "FAIL"
NARROWEST, WIDEST = 60, 100  # columns
# A row's number is its place here, so that it is the same on every machine and on every day.
NAMES = (
    "Python",
    "folder",
    "neighbours",
    "path length",
    "folder guard",
    "web mark",
    "disk",
    "memory",
    "page file",
    "Windows",
    "restart",
    "environment",
    "packages",
    "graphics card",
    "driver",
    "VRAM",
    "VRAM overflow",
    "torch",
    "cuDNN",
    "DLLs",
    "bitsandbytes",
    "xformers",
    "onnxruntime",
    "ImageMagick",
    "pocket model",
)


@dataclass(frozen=True)
class Check:
    """One row. `status` is OK, WARN or FAIL, `found` what is there, `cause` why that is trouble, `fix` what to do in words.

    `command` is to be typed as it stands; `action` names a fix that --fix can do (doctor_fixes.FIXES). All are empty where all is well.
    """

    name: str
    status: str
    found: str
    cause: str = ""
    fix: str = ""
    command: str = ""
    action: str = ""


def number_of(name: str) -> int:
    """The number of a row's kind, from 1."""
    return NAMES.index(name) + 1


def problems(found: list[Check]) -> list[Check]:
    """What is not well, the worst last, so that it stands where the eye is."""
    return [check for check in found if check.status == WARN] + [check for check in found if check.status == FAIL]


def exit_code(found: list[Check]) -> int:
    """1 when a row says FAIL."""
    return int(any(check.status == FAIL for check in found))


def columns() -> int:
    """The width to write for."""
    return min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)


def to_text(found: list[Check], *, setup: str, width: int = 80) -> str:
    """The table: what is well, then what is not with its cause and fix, then a line that sums up. `setup` is how --check was started."""
    bad = problems(found)
    good = [check for check in found if check.status == OK]
    indent = 10 + max(len(check.name) for check in found) + 2
    lines = [line for check in good for line in _row(check, indent, width)]
    for check in bad:
        lines += ["", *_row(check, indent, width)]
    return "\n".join([*lines, "", *textwrap.wrap(summary(found), width - 1), *_offer(bad, setup)])


def _row(check: Check, indent: int, width: int) -> list[str]:
    head = f"{number_of(check.name):>2}  {check.status:<4}  {check.name}".ljust(indent)
    lines = [head + line if not place else " " * indent + line for place, line in enumerate(_wrapped(check.found, width - indent))]
    if check.cause:
        lines += [" " * indent + line for line in _wrapped(check.cause, width - indent)]
    if check.fix:
        marked = _wrapped(check.fix, width - indent - 3)
        lines += [" " * indent + ("   " if place else "-> ") + line for place, line in enumerate(marked)]
    if check.command:  # never wrapped: it is to be copied; one that is long begins further left
        room = min(indent + 3, max(4, width - len(check.command) - 1))
        lines.append((" " * room)[:-3] + ("   " if check.fix else "-> ") + check.command)
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for line in text.splitlines() or [""]:
        lines += textwrap.wrap(line, width - 1, break_long_words=False, break_on_hyphens=False) or [""]
    return lines


def summary(found: list[Check]) -> str:
    """'2 to mend: driver (15), torch (18); 1 to look at: page file (9)'."""
    parts = []
    for status, words in ((FAIL, "to mend"), (WARN, "to look at")):
        names = list(dict.fromkeys(f"{check.name} ({number_of(check.name)})" for check in found if check.status == status))
        if names:
            parts.append(f"{len(names)} {words}: {', '.join(names)}")
    return "; ".join(parts) or "all is well"


def _offer(bad: list[Check], setup: str) -> list[str]:
    numbers = list(dict.fromkeys(number_of(check.name) for check in bad if check.action))
    option = "-Fix" if setup.endswith("-Check") else "--fix"
    return [f"{setup} {option} {number}   does what row {number} says" for number in numbers]


def to_json(found: list[Check]) -> str:
    """The rows for machines, in the order of their numbers; `fix` holds the command too."""
    rows = []
    for check in found:
        row = {"number": number_of(check.name), **asdict(check)}
        row["fix"] = ": ".join(filter(None, (check.fix, check.command)))
        rows.append(row)
    return json.dumps(rows, indent=1)

"""What we remember of scheduled tasks, in logs/tasks: how each was registered, and how its last run ended.

The Task Scheduler's own list is in the PC's language and loses letters; this one does not. Standard library only.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lorabake import errors, paths
from lorabake.registration import Night

MINUTE = "%Y-%m-%d %H:%M"


@dataclass(frozen=True)
class Last:
    """A run that has ended; times as text, `log` is its whole console output."""

    began: str
    ended: str
    exit_code: int
    log: str


def place(name: str, kind: str) -> Path:
    """kind: json (how it was registered), last.json (how it ended), xml (what the Task Scheduler was given)."""
    return errors.LOGS / "tasks" / f"{name}.{kind}"


def remember(night: Night) -> None:
    paths.write_json(place(night.name, "json"), {**asdict(night), "start": f"{night.start:{MINUTE}}"})


def nights() -> list[Night]:
    """Every registered one, by name. A damaged note is left out."""
    found = [_night(file) for file in sorted(place("", "json").parent.glob("*.json")) if not file.name.endswith(".last.json")]
    return [night for night in found if night]


def note_end(name: str, last: Last) -> None:
    paths.write_json(place(name, "last.json"), asdict(last))


def last(name: str) -> Last | None:
    data = _read(place(name, "last.json"))
    try:
        return Last(**data) if data else None
    except TypeError:
        return None


def forget(name: str) -> None:
    """The task is gone. The logs of its runs stay."""
    for kind in ("json", "last.json", "xml"):
        place(name, kind).unlink(missing_ok=True)


def _night(file: Path) -> Night | None:
    data = _read(file)
    with suppress(KeyError, TypeError, ValueError):
        lists = {key: tuple(data[key]) for key in ("profiles", "overrides")}
        return Night(**{**data, **lists, "start": datetime.strptime(data["start"], MINUTE)})
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

"""Answers of a new profile that was not finished, kept in profiles/_drafts, which lists of profiles leave out.

Not here: asking (interview.py).
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lorabake import paths
from lorabake.kinds import Raw, Wrong
from lorabake.questions import Question, Sheet, as_raw, understood

FOLDER = "_drafts"
MOST = 9  # offered


@dataclass(frozen=True)
class Draft:
    path: Path
    name: str
    saved: str
    answers: dict[str, Raw]


def folder() -> Path:
    return paths.PROFILES / FOLDER


def save(sheet: Sheet, path: Path | None) -> Path:
    """Write the answers to the draft that they came from, else to a new one."""
    if path is None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        path = folder() / f"{stamp}.json"
        while path.exists():
            path = path.with_stem(f"{path.stem}x")
    answers = {dotted: as_raw(value) for dotted, value in sheet.values.items()}
    paths.write_json(path, {"saved": time.strftime("%Y-%m-%d %H:%M"), "answers": answers})
    return path


def found() -> list[Draft]:
    """The newest first; what cannot be read is left out."""
    if not folder().is_dir():
        return []
    read = [_read(path) for path in sorted(folder().glob("*.json"), reverse=True)]
    return [draft for draft in read if draft][:MOST]


def _read(path: Path) -> Draft | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    answers = data.get("answers") if isinstance(data, dict) else None
    if not isinstance(answers, dict) or not answers:
        return None
    return Draft(path, str(answers.get("name") or "no name yet"), str(data.get("saved", "?")), answers)


def sheet_of(draft: Draft, known: Mapping[str, Question]) -> Sheet:
    """The answers that are still understood; the others are asked again."""
    sheet = Sheet()
    for dotted, raw in draft.answers.items():
        if dotted in known:
            try:
                sheet.values[dotted] = understood(known[dotted], raw, paths.PROFILES)
            except (Wrong, TypeError):
                continue
    return sheet

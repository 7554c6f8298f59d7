"""Which pictures of a dataset were enlarged by a network, as the journals of its folders tell. Nothing is decoded.

A picture counts while it is what the newest entry of a journal left there: brought back or drawn anew it is another.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lorabake import journal

NOTE = "upscaled with "  # and the model's name: of changes in the journal


@dataclass(frozen=True)
class _Standing:
    after: str | None
    model: str


def pictures(folders: Iterable[Path]) -> dict[Path, str]:
    """Picture -> the model that enlarged it."""
    standing: dict[Path, _Standing] = {}
    jobs = [(folder, job) for folder in dict.fromkeys(folders) for job in journal.jobs(folder) if job.state != "undone"]
    for folder, job in sorted(jobs, key=lambda pair: pair[1].time):
        for change in job.changes:
            place = folder / change.path
            before = standing.pop(place, None)
            if change.kind == "move":
                moved = _Standing(before.after, before.model) if before else None
                standing |= {folder / change.other: moved} if moved else {}
            elif change.kind == "picture" and (model := _model(change, before)):
                standing[place] = _Standing(change.after, model)
    return {path: one.model for path, one in standing.items() if path.is_file() and journal.sha256(path) == one.after}


def _model(change: journal.Change, before: _Standing | None) -> str:
    """What is cropped or flattened afterwards stays an enlarged one."""
    return change.note.removeprefix(NOTE) if change.note.startswith(NOTE) else before.model if before else ""

"""log.jsonl of a run: one event per line, appended as it happens; going on from a state drops what came after that state.

Not here: what the events mean (trainer.py makes them, report.py reads them).
"""

import json
import math
from pathlib import Path
from typing import Any

from lorabake import paths


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines; a line torn by a kill or a power cut is left out."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def plain(value: Any) -> Any:
    """JSON has no NaN: numbers that are not finite become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


class RunLog:
    """Appends events to `path`. With `up_to`, events of later steps are dropped first (they will happen again)."""

    def __init__(self, path: Path, *, up_to: int | None = None) -> None:
        self.path = path
        if up_to is not None:
            kept = [event for event in read(path) if int(event.get("step", 0)) <= up_to and event.get("kind") != "done"]
            paths.write_text(path, "".join(json.dumps(event) + "\n" for event in kept))
        torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
        self.file = path.open("a", encoding="utf-8", newline="\n")
        if torn:
            self.file.write("\n")  # the first new event shall not share a line with half an old one

    def add(self, kind: str, **values: Any) -> None:
        self.file.write(json.dumps({"kind": kind, **plain(values)}) + "\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

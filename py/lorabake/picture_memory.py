"""What was measured on a dataset's pictures, kept in `<folder>/_checks/facts.jsonl`: each file is looked at once, while it stays as it is.

One line for each look, written as it is made, so that an interrupted check goes on. The file may be deleted at any time. Not here: the
measures (picture_facts.py), what is good or bad about them (picture_checks.py).
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lorabake import console, images, paths, picture_facts
from lorabake.picture_facts import Facts

FOLDER, NAME = "_checks", "facts.jsonl"
VERSION = 1  # raised when a measure changes: older facts are made again
ROOM = 256  # lines that are no longer true before the file is written anew

Row = dict[str, Any]


def remembered(folder: Path, files: Sequence[Path]) -> dict[Path, Facts]:
    """The facts of those files that were looked at and are as they were (size and time); no picture is read."""
    rows = _rows(folder / FOLDER / NAME)
    return {file: facts for file in files if (facts := _facts(rows.get(_place(folder, file)), paths.stamp_of(file)))}


def look_at_all(folder: Path, files: Sequence[Path], progress: Callable[[int], object] | None = None) -> dict[Path, Facts]:
    """Facts of every file, in order; only what is not remembered is looked at, on several threads. `progress` gets how many are done."""
    known = remembered(folder, files)
    missing = [file for file in files if file not in known]
    if progress:
        progress(len(known))
    with _writer(folder, files) as write, ThreadPoolExecutor(min(images.MOST_THREADS, os.cpu_count() or 1)) as pool:
        try:
            for file, (stamp, facts) in zip(missing, pool.map(_look, missing), strict=True):
                known[file] = facts
                if stamp:
                    write({"version": VERSION, "path": _place(folder, file), "stamp": stamp, "facts": asdict(facts)})
                if progress:
                    progress(len(known))
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C what is not begun is not waited for
    return {file: known[file] for file in files}


def _look(file: Path) -> tuple[paths.Stamp | None, Facts]:
    """The stamp is taken before the look: a file that changes meanwhile is looked at again next time."""
    return paths.stamp_of(file), picture_facts.look(file)


def _place(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _rows(kept: Path) -> dict[str, Row]:
    """The newest line of each file; torn ones and those of another version say nothing."""
    found: dict[str, Row] = {}
    try:
        lines = kept.read_bytes().split(b"\n")
    except OSError:
        return {}
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and row.get("version") == VERSION and isinstance(row.get("path"), str):
            found[row["path"]] = row
    return found


def _facts(row: Row | None, stamp: paths.Stamp | None) -> Facts | None:
    if row is None or stamp is None or row.get("stamp") != list(stamp):
        return None
    try:
        return Facts(**row["facts"] | {"bars": tuple(row["facts"]["bars"])})
    except (KeyError, TypeError):
        return None


@contextmanager
def _writer(folder: Path, files: Sequence[Path]) -> Iterator[Callable[[Row], None]]:
    """A function that adds a line. Where nothing can be written that is told once and everything else goes on."""
    kept = folder / FOLDER / NAME
    try:
        kept.parent.mkdir(exist_ok=True)
        _tidy(folder, kept, files)
        stream = kept.open("ab")
    except OSError as error:
        console.say(f"{kept.parent} cannot be written ({error.strerror or error}): the next check looks at everything again")
        yield lambda row: None
        return
    with stream:
        stream.write(b"\n" if kept.stat().st_size else b"")  # behind a torn line

        def write(row: Row) -> None:
            stream.write(json.dumps(row).encode() + b"\n")
            stream.flush()

        yield write


def _tidy(folder: Path, kept: Path, files: Sequence[Path]) -> None:
    """Write the file anew when more than ROOM of its lines are of files that changed or went."""
    rows = _rows(kept)
    places = {_place(folder, file) for file in files}
    num_lines = kept.read_bytes().count(b'{"version"') if kept.exists() else 0
    alive = [row for place, row in rows.items() if place in places or (folder / place).exists()]
    if num_lines - len(alive) > ROOM:
        with paths.replacing(kept) as aside:
            aside.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in alive))

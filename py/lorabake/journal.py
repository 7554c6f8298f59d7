"""What was changed in a dataset, so that it can be undone days later: one file a job in `<folder>/_journal/`.

Each line is on the disk before the change that it tells of, so a crash leaves no change without its line. Undoing looks at the files
and not at what should have happened: what was never done needs no undoing, and what somebody changed since is left alone and told.
Not here: which changes are made (flattener.py).
"""

import base64
import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from lorabake import paths
from lorabake.errors import DISK_FULL_NUMBERS, UserError

FOLDER, ORIGINALS = "_journal", "_originals"


@dataclass(frozen=True)
class Change:
    """One file, all places relative to the folder and with "/".

    `kind` text: `before` and `after` are a caption's bytes (see `packed`), None for no file. picture: `other` is where the original is
    kept, `after` the SHA-256 of what took its place; `note` what was done to it, where others want to know. move: `other` is where the
    file went.
    """

    kind: str
    path: str
    other: str = ""
    before: str | None = None
    after: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Job:
    """One entry. `state`: done, interrupted (it never came to its end) or undone."""

    file: Path
    name: str
    title: str
    time: float
    changes: tuple[Change, ...]
    state: str

    @property
    def number(self) -> int:
        return number_of(self.file)


@dataclass(frozen=True)
class Undone:
    """`problems` has a line for each file that was left as it is, with the reason."""

    num_files: int
    problems: tuple[str, ...]


class Recorder:
    """Writes one entry: a context manager, inside which every change is announced by `add` before it is made."""

    def __init__(self, folder: Path, name: str, title: str) -> None:
        self.folder, self.name, self.title = folder, name, title
        self.stream: BinaryIO | None = None

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.stream:
            if kind is None:
                self._write([{"done": time.time()}])
            self.stream.close()

    def add(self, changes: Iterable[Change]) -> None:
        """Put the lines on the disk. A job that changes nothing leaves no entry."""
        rows = [asdict(change) for change in changes]
        if rows and not self.stream:
            (self.folder / FOLDER).mkdir(exist_ok=True)
            number = max(map(number_of, entries(self.folder)), default=0) + 1
            self.stream = (self.folder / FOLDER / f"{number:04d}-{self.name}.jsonl").open("xb")
            rows.insert(0, {"name": self.name, "title": self.title, "time": time.time()})
        if rows:
            self._write(rows)

    def _write(self, rows: Sequence[dict[str, Any]]) -> None:
        assert self.stream
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        self.stream.write(lines.encode("utf-8", "backslashreplace"))  # a name that is no Unicode as JSON writes it: \\udc80
        self.stream.flush()
        os.fsync(self.stream.fileno())

    def write_texts(self, texts: dict[Path, bytes | None]) -> list[str]:
        """Give each file these bytes, or take it away (None); files that have them already are not touched.

        Returns a line for each file that could not be written; the others are. A full disk is raised.
        """
        problems, changes = [], {}
        for path, text in texts.items():
            try:
                before = _bytes(path)
            except OSError as error:
                problems.append(f"{path}: {why_not(error)}, left as it is")
                continue
            if before != text:
                changes[path] = Change("text", self._place(path), before=packed(before), after=packed(text))
        self.add(changes.values())
        sweep({path.parent for path in changes})
        for path in changes:
            try:
                _put(path, texts[path])
            except (UserError, OSError) as error:
                problems.append(f"{path}: {why_not(error)}, left as it is")
        return problems

    def replace_picture(self, path: Path, aside: Path, *, note: str = "") -> None:
        """Move the finished file `aside` to `path`; what was there is kept in `_originals` beside it, the same bytes and time stamp."""
        kept = free_place(path.parent / ORIGINALS / path.name)
        paths.flush(aside)
        self.add([Change("picture", self._place(path), self._place(kept), after=sha256(aside), note=note)])
        keep(path, kept)
        try:
            paths.rename_over(aside, path)
        except UserError:
            with suppress(OSError):  # Windows keeps both names of a file that is open; undoing knows that case
                kept.unlink()  # nothing was replaced, so nothing has to be kept
                _remove_empty(kept.parent)
            raise

    def move_together(self, groups: Sequence[Mapping[Path, Path]]) -> list[str]:
        """Move files within the folder, from -> to, each group wholly or not at all; there is nothing at the targets yet.

        Returns a line for each group that stays where it is.
        """
        self.add(Change("move", self._place(path), self._place(target)) for group in groups for path, target in group.items())
        return [problem for group in groups if (problem := _moved(group))]

    def _place(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def entries(folder: Path) -> list[Path]:
    """The files of the journal, oldest first."""
    place = folder / FOLDER
    found = [file for file in place.iterdir() if re.fullmatch(r"\d{4,}-.*\.jsonl", file.name)] if place.is_dir() else []
    return sorted(found, key=number_of)


def number_of(file: Path) -> int:
    return int(file.name.partition("-")[0])


def jobs(folder: Path) -> list[Job]:
    """All entries, oldest first. A torn last line, as a power cut leaves it, is of a change that was not made yet."""
    return [job for file in entries(folder) if (job := _read(file))]


def _read(file: Path) -> Job | None:
    rows = []
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):  # captions may hold what splitlines takes for an end
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    if not rows or "title" not in rows[0]:
        return None
    state = "undone" if any("undone" in row for row in rows) else "done" if any("done" in row for row in rows) else "interrupted"
    changes = tuple(Change(**row) for row in rows if "kind" in row)
    return Job(file, rows[0]["name"], rows[0]["title"], rows[0]["time"], changes, state)


def undo(folder: Path, job: Job) -> Undone:
    """Take the job's changes back, the last one first.

    Files that were changed since, or that another program holds, stay as they are, and the entry stays open for them.
    """
    problems: dict[str, str] = {}
    num_files = 0
    sweep({(folder / place).parent for change in job.changes for place in (change.path, change.other)})
    oldest = {change.path: change.before for change in reversed(job.changes) if change.kind == "text"}
    for change in reversed(job.changes):
        if change.path in problems:  # what was done to it before waits for the later change to be taken back
            continue
        try:
            if change.kind == "text" and packed(_bytes(folder / change.path)) == oldest[change.path]:
                continue  # an earlier undoing took all of its changes back
            problem = {"text": _undo_text, "picture": _undo_picture, "move": _undo_move}[change.kind](folder, change)
        except (UserError, OSError) as error:
            problem = f"{why_not(error)}, left as it is; close what has it open and --undo again"
        if problem is None:
            num_files += 1
        elif problem:
            problems[change.path] = f"{folder / change.path}: {problem}"
    if not problems:
        with job.file.open("ab") as stream:
            stream.write(f'\n{{"undone": {time.time()}}}\n'.encode())
            stream.flush()
            os.fsync(stream.fileno())
    return Undone(num_files, tuple(reversed(problems.values())))


def why_not(error: UserError | OSError) -> str:
    """Why one file stays as it is; a full disk, which stops the whole job, is raised again."""
    if isinstance(error, UserError):
        return error.what
    if error.errno in DISK_FULL_NUMBERS:
        raise error
    return error.strerror or str(error)


# Each returns None when it took the change back, "" when there was nothing to take back, else why it left the file alone.


def _undo_text(folder: Path, change: Change) -> str | None:
    path, now = folder / change.path, _bytes(folder / change.path)
    if packed(now) == change.before:
        return ""
    if packed(now) != change.after:
        return "changed since, left as it is"
    _put(path, unpacked(change.before))
    return None


def _undo_picture(folder: Path, change: Change) -> str | None:
    path, kept = folder / change.path, folder / change.other
    if not kept.exists():
        return "" if path.exists() and sha256(path) != change.after else f"its original is gone from {kept.parent}"
    if path.exists() and sha256(path) != change.after:
        if sha256(path) != sha256(kept):
            return f"changed since, left as it is; its original is {kept}"
        kept.unlink()  # the same bytes: the change stopped before the last step
        _remove_empty(kept.parent)
        return ""
    paths.rename_over(kept, path)
    _remove_empty(kept.parent)
    return None


def _undo_move(folder: Path, change: Change) -> str | None:
    path, moved = folder / change.path, folder / change.other
    if not moved.exists():
        return "" if path.exists() else f"it is no longer at {moved}"
    if path.exists():
        return f"there is another file of this name now; the moved one is {moved}"
    path.parent.mkdir(parents=True, exist_ok=True)
    paths.move(moved, path)
    _remove_empty_up_to(folder, moved.parent)
    return None


def packed(data: bytes | None) -> str | None:
    """Bytes as text for JSON, exactly: UTF-8 as it reads, anything else as base64 behind a NUL."""
    if data is None:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return "\0" + base64.b64encode(data).decode("ascii")
    return text if not text.startswith("\0") else "\0" + base64.b64encode(data).decode("ascii")


def unpacked(text: str | None) -> bytes | None:
    if text is None:
        return None
    return base64.b64decode(text[1:]) if text.startswith("\0") else text.encode("utf-8")


def free_place(path: Path) -> Path:
    """`path`, or `name.2.png` and so on where there is a file already."""
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.stem}.{number}{path.suffix}")
    return found


def keep(path: Path, kept: Path) -> None:
    """A second name for the file, or a copy with its time stamps where the disk knows no second names (exFAT), or for a link's content."""
    kept.parent.mkdir(exist_ok=True)
    try:
        if path.is_symlink():  # a second name of the link itself would lead nowhere from another folder
            raise OSError(errno.ENOTSUP, "a link")
        kept.hardlink_to(path)
    except (OSError, NotImplementedError):
        with paths.replacing(kept) as aside:
            shutil.copy2(path, aside)


def sweep(folders: Iterable[Path]) -> None:
    """Take away what jobs that were killed had not finished."""
    for folder in folders:
        for leftover in folder.glob("_tmp-*"):
            number = leftover.name.split("-")[1]
            if number.isdecimal() and not paths.process_alive(int(number)):
                with suppress(OSError):
                    leftover.unlink()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bytes(path: Path) -> bytes | None:
    """None for no file. Raises OSError for what cannot be read or is no file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise OSError(errno.ENOENT, "it is a link to a file that is not there") from None
        return None


def _put(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink(missing_ok=True)
        return
    with paths.replacing(path) as aside:
        aside.write_bytes(data)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        if folder.name.startswith("_") and not any(folder.iterdir()):
            folder.rmdir()


def _remove_empty_up_to(top: Path, folder: Path) -> None:
    """The folder and those above it inside `top`, as long as nothing is in them."""
    with suppress(OSError):  # the files are back; a window of Explorer may still show the folder
        while folder != top and top in folder.parents and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _moved(group: Mapping[Path, Path]) -> str:
    """ "" when every file is at its new place; else why none is."""
    done: list[tuple[Path, Path]] = []
    for path, target in group.items():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            paths.move(path, target)
        except OSError as error:
            for back, moved in reversed(done):
                paths.move(moved, back)
            return f"{next(iter(group))}: left where it is, {path.name} cannot be moved: {why_not(error)}"
        done.append((path, target))
    return ""

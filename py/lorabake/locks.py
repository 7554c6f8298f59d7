"""One job at a time on a folder, by a file that names the process which holds it.

Whoever wants the lock is alone while it looks and takes, by a lock of the system, which a process that dies gives back by dying. Where
the disk has no such locks (some network shares), the file appears whole or not at all, and what is taken from a dead holder is looked at
once more. Not here: which jobs need a folder for themselves. Processes of other computers are not seen.
"""

import errno
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from lorabake import paths
from lorabake.errors import DISK_FULL_NUMBERS, UserError

CLOCK_SLACK_S = 60.0  # a clock may be set while a job runs
TORN_S = 2.0  # so long a lock without content may be one that is just being written
PATIENCE_S, PAUSE_S = 20.0, 0.02  # for others who look and take, which is a matter of milliseconds
TRIES = 20
NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EINVAL}


class Lock:
    """One job at a time on `folder`: a file there with the holder's process number; a dead holder's lock is taken over.

    `busy` is the sentence for whoever comes second: "this LoRA is being baked right now".
    """

    def __init__(self, folder: Path, busy: str, *, name: str = "lock.json") -> None:
        self.path, self.busy = folder / name, busy

    def __enter__(self) -> "Lock":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(self.path):
            for _ in range(TRIES):
                if _taken(self.path, json.dumps({"pid": os.getpid(), "since": time.time()})):
                    return self
                record = _whole_record(self.path)
                holder = record.get("pid")
                if isinstance(holder, int) and self.held(holder, record.get("since")):
                    raise UserError(
                        self.busy,
                        where=f"process {holder}, {self.path}",
                        todo="wait for it, or stop it with Ctrl-C in its window",
                    )
                _cleared(self.path, record)
        raise UserError("the lock of this folder keeps coming back", where=str(self.path), todo="start only one such job at a time")

    @staticmethod
    def held(pid: int, since: object) -> bool:
        """Whether the process that wrote the lock still runs, and not another that got its number, as after a power cut.

        Our own number is the one that is likely to come again, in a container that starts anew, so no slack is given there.
        """
        if not paths.process_alive(pid):
            return False
        if not isinstance(since, int | float):
            return pid != os.getpid()
        try:
            return psutil.Process(pid).create_time() < since + (CLOCK_SLACK_S if pid != os.getpid() else 0)
        except psutil.Error:
            return True

    def __exit__(self, *exc: object) -> None:
        with suppress(OSError):  # the lock of a process that has ended holds nobody up
            if _record(self.path).get("pid") == os.getpid():
                _removed(self.path)


def dataset(folder: Path) -> Lock:
    """The lock of whatever changes a dataset."""
    return Lock(folder, "another job is at work in this folder", name="_lock.json")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one process at a time is inside for `path`; one that is killed inside is so no longer. Without effect where the disk cannot."""
    end = time.monotonic() + PATIENCE_S
    number = None
    while number is None:
        try:
            number = _guard(path)
        except BlockingIOError:
            if time.monotonic() > end:
                raise UserError("many jobs want this folder at once", where=str(path), todo="start only one at a time") from None
            time.sleep(PAUSE_S)
    try:
        yield
    finally:
        if number >= 0:
            os.close(number)


def _guard(path: Path) -> int:
    """An open file that holds the system's lock until it is closed, -1 where there are none. Raises BlockingIOError where another holds it.

    The folder itself is locked, or on NFS, which locks only what was opened for writing, a file that stays.
    """
    if sys.platform == "win32":
        return _windows_guard(path)
    import fcntl

    for place, flags in ((path.parent, os.O_RDONLY), (path.parent / f"_guard-{path.name}", os.O_RDWR | os.O_CREAT)):
        number = -1
        try:
            number = os.open(place, flags | os.O_CLOEXEC, 0o666)
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number
        except OSError as error:
            if number >= 0:
                os.close(number)
            if isinstance(error, BlockingIOError):
                raise
    return -1  # a folder that can only be read is told when the lock is written


def _windows_guard(path: Path) -> int:
    """A file that Windows itself deletes when it is closed, by whatever end of its process; it is there or it is not."""
    guard = path.parent / f"_guard-{path.name}"
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_TEMPORARY", 0) | getattr(os, "O_NOINHERIT", 0)
    end = time.monotonic() + TORN_S
    while time.monotonic() < end:
        try:
            return os.open(guard, flags)
        except FileExistsError:
            raise BlockingIOError from None
        except PermissionError:  # it is just being deleted, or nobody may write here, which is told when the lock is written
            time.sleep(PAUSE_S)
    return -1


def _taken(path: Path, text: str) -> bool:
    """Make the lock, unless there is one. It appears with its content where the disk knows second names."""
    aside = path.parent / f"_tmp-{os.getpid()}-{uuid4().hex}.json"
    try:
        aside.write_text(text, encoding="utf-8")
        try:
            os.link(aside, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS and getattr(error, "winerror", None) is None:
                raise
            return _opened_new(path, text)
        return True
    finally:
        _removed(aside)


def _opened_new(path: Path, text: str) -> bool:
    """The same on a disk without second names (exFAT)."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in DISK_FULL_NUMBERS:
            _removed(path)
        raise
    return _record(path) == json.loads(text)  # else somebody took the unfinished one for a dead process's


def _whole_record(path: Path) -> dict[str, Any]:
    """What stands in a lock; one without content gets the time to be written. Raises PermissionError for one that may not be read."""
    end = time.monotonic() + TORN_S
    while True:
        try:
            record = _record(path)
        except PermissionError:
            if time.monotonic() > end:
                raise
        else:
            if record or time.monotonic() > end or _age_s(path) > TORN_S:
                return record
        time.sleep(PAUSE_S)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:  # it is gone
        return 2 * TORN_S


def _cleared(path: Path, seen: dict[str, Any]) -> None:
    """Take a dead process's lock away: under a name of its own first, so that a living one's, which came meanwhile, can be given back."""
    aside = path.parent / f"_tmp-{os.getpid()}-{uuid4().hex}.json"
    try:
        path.rename(aside)
    except (FileNotFoundError, PermissionError):  # it is gone, or on Windows just being read
        time.sleep(PAUSE_S)
        return
    if _record(aside) != seen:
        with suppress(FileExistsError):
            _given_back(aside, path)
    _removed(aside)


def _given_back(aside: Path, path: Path) -> None:
    """Put a living process's lock back, unless there is another by now. Raises FileExistsError."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # no second names
        with path.open("xb") as file:
            file.write(aside.read_bytes())


def _removed(path: Path) -> None:
    """Away with our own file; on Windows another process may be reading it for a moment."""
    end = time.monotonic() + TORN_S
    while True:
        try:
            path.unlink(missing_ok=True)
            return
        except PermissionError:
            if time.monotonic() > end:
                raise
            time.sleep(PAUSE_S)


def _record(path: Path) -> dict[str, Any]:
    """What stands in a lock; {} where it is gone or torn."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

"""Errors that carry an exit code and a text a person can act on, and `run`, the one place where exceptions become exit codes.

Not here: what to do about an error; each module says that where it raises. Standard library only, any Python 3.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lorabake import console

BUG, STOPPED = 3, 13
LOGS = Path(__file__).resolve().parents[2] / "logs"
OUT_OF_MEMORY_CLASSES = {"OutOfMemoryError", "MemoryError"}  # torch's class by name: torch is not imported here
OUT_OF_MEMORY_WORDS = (
    "CUDA out of memory",
    "DefaultCPUAllocator: can't allocate",
    "DefaultCPUAllocator: not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
# as Linux and torch say it, as Rust (safetensors) says it on Linux and on Windows, and as Windows says it
DISK_FULL_WORDS = ("No space left on device", "os error 28", "os error 112", "not enough space on the disk")
# Windows' numbers, of which errno knows less: learn.microsoft.com, "System Error Codes"
WINDOWS_LENGTH, WINDOWS_FOLDER_MOST = {2, 3, 123, 206}, 240  # "not found" is what it says of a path that is too long
WINDOWS_NAMES = {6, 123, 161, 267}  # a device, no name, no path, no folder's name
WINDOWS_IN_USE = {5, 32, 33, 1224}  # denied, shared, locked, mapped into another program's memory
DISK_FULL_NUMBERS = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class LorabakeError(Exception):
    """`what` is wrong (the value quoted), `where` (file:line or key), what is `allowed` or there, what `todo` next."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", allowed: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.allowed, self.todo = what, where, allowed, todo

    def __str__(self) -> str:
        return "\n  ".join(part for part in (self.what, self.where, self.allowed, self.todo) if part)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.allowed, self.todo)


def _rebuild(kind: type[LorabakeError], what: str, where: str, allowed: str, todo: str) -> LorabakeError:
    return kind(what, where=where, allowed=allowed, todo=todo)


class UserError(LorabakeError):
    """The user can fix it."""


class UsageError(LorabakeError):
    """Wrong arguments."""

    exit_code = 2


class OutOfMemory(LorabakeError):
    """The card or the machine ran out of memory."""

    exit_code = 10


class Diverged(LorabakeError):
    """NaN or Inf in loss or weights."""

    exit_code = 11


class DiskFull(LorabakeError):
    """No space left."""

    exit_code = 12


class Stopped(LorabakeError):
    """Stopped on request; the state is saved."""

    exit_code = STOPPED


class QueueFailed(LorabakeError):
    """Some jobs of a queue failed; the others are done."""

    exit_code = 20


def run(main: Callable[[], int]) -> NoReturn:
    """Run a script's main and leave with its exit code; the only broad except of the project."""
    console.prepare()
    try:
        code = main()
    except LorabakeError as error:
        console.say(f"{'stopped' if isinstance(error, Stopped) else 'error'}: {error}")
        code = error.exit_code
    except KeyboardInterrupt:
        console.say("stopped by Ctrl-C")
        code = STOPPED
    except Exception as error:  # noqa: BLE001  (here, and nowhere else)
        known = translate(error)
        if known:
            console.say(f"error: {known}")
            code = known.exit_code
        else:
            console.say(bug_text(error))
            code = BUG
    sys.exit(code)


def translate(error: BaseException) -> LorabakeError | None:
    """An exception of the system or of torch as one of ours, or None when it is our bug."""
    text = str(error)
    name = getattr(error, "filename", None)
    where = str(name) if name else ""
    if getattr(error, "errno", None) in DISK_FULL_NUMBERS or any(words in text for words in DISK_FULL_WORDS):
        return DiskFull("the disk is full", where=where or text, todo="make room, then start again: nothing half-written is left behind")
    number = getattr(error, "winerror", None)
    if number in WINDOWS_LENGTH and len(where) > WINDOWS_FOLDER_MOST:
        what = f"a path of {len(where)} characters is too long for Windows, which ends them at 260"
        return UserError(what, where=where, todo="use a shorter folder; python py/setup.py --check says how to switch long paths on")
    if number in WINDOWS_NAMES:
        return UserError(
            "Windows takes no file or folder of this name", where=where, allowed=error_words(error), todo="choose another name"
        )
    if isinstance(error, PermissionError) or number in WINDOWS_IN_USE:
        todo = "close the program that has it open, or check that you may write there; then start again"
        return UserError(f"no permission: {error_words(error)}", where=where, todo=todo)
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return UserError("this folder can only be read", where=where, todo="choose a folder that you can write to")
    if type(error).__name__ in OUT_OF_MEMORY_CLASSES or any(words in text for words in OUT_OF_MEMORY_WORDS):
        first_line = text.strip().splitlines()[0] if text.strip() else "the machine's memory is used up"
        todo = "close other programs, or set a smaller train.batch_size, data.resolution, or train.gradient_checkpointing: true"
        return OutOfMemory("out of memory", where=first_line, todo=todo)
    return None


def error_words(error: BaseException) -> str:
    """The system's own words."""
    return getattr(error, "strerror", None) or str(error)


def bug_text(error: BaseException) -> str:
    """Write the traceback into a log file; the text names the file."""
    import traceback  # only now: every start would pay for it

    details = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    path = write_log(f"{' '.join(sys.argv)}\nPython {sys.version}\n\n{details}")
    what = f"error: this is a bug in lorabake: {type(error).__name__}: {error}"
    return f"{what}\n  {path}\n  please send this file with a description of what you did"


def write_log(text: str, *, kind: str = "bug") -> Path:
    """Keep `text` in logs/ of the repository, or in the temporary folder where that cannot be written."""
    import tempfile

    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 1_000_000_000:09}-{kind}.log"
    for folder in (LOGS, Path(tempfile.gettempdir())):
        path = folder / name
        try:
            folder.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return path
    return Path("(no folder could be written)")

"""Where things are, and how files are written: to a temporary name in the same folder, flushed, then renamed.

Not here: what is in the files. Standard library only, any Python 3.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Tuple  # noqa: UP035

from lorabake.errors import DiskFull, UsageError, UserError

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
VENV = ROOT / "venv"
PROFILES = ROOT / "profiles"
EXAMPLES = ROOT / "examples"
STACK = ROOT / "stacks" / "current"

FORBIDDEN = '<>:"/\\|?*'
RESERVED = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10)), "conin$", "conout$"}
LONGEST_NAME = 120  # leaves room for "-000001.preview.png" and for a deep folder within Windows' 260
LONGEST_WHOLE = 200  # bytes of a name that a temporary one holds whole; disks take 255
LONGEST_WINDOWS_PATH = 240
RENAME_TRIES, RENAME_PAUSE_S = 6, 0.2


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; when the block succeeds, flush it to disk and rename it over `path`.

    On any error the temporary file is removed and `path` is as it was. Raises UserError where Windows will not replace an open file.
    """
    refuse_device(Path(path))
    path = Path(long_path(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    try:
        yield aside
        flush(aside)
        rename_over(aside, path)
    finally:
        with suppress(OSError):
            aside.unlink()
    flush_folder(path.parent)


Stamp = Tuple[int, int]  # noqa: UP006  (Python 3.8 gets a sentence: no tuple[]); a file's size in bytes, its time in ns


def stamp_of(path: Path) -> Stamp | None:
    """By which a changed file is known; None for one that is gone or cannot be seen."""
    try:
        status = status_of(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def aside_of(path: Path) -> Path:
    """A temporary name of this process for `path`, in its folder; a long name becomes its hash, to leave room for ours."""
    name = path.name
    if len(os.fsencode(name)) > LONGEST_WHOLE:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32] + path.suffix[:10]
    return path.parent / f"_tmp-{os.getpid()}-{name}"


def rename_over(aside: Path, path: Path) -> None:
    """`move`, with a sentence. Raises UserError when the file stays held."""
    try:
        move(aside, path)
    except PermissionError as problem:
        todo = "close the program that has it open, or check that you may write there; then start again"
        raise UserError(f"{path.name} cannot be replaced", where=str(path), todo=todo) from problem


def move(source: Path, target: Path) -> None:
    """Rename a file or folder, over a file of that name too; tried for a second: on Windows a virus scanner may hold what is new.

    Raises PermissionError when it stays held.
    """
    for left in reversed(range(RENAME_TRIES)):
        try:
            source.replace(target)
            return
        except PermissionError:
            if not left:
                raise
            time.sleep(RENAME_PAUSE_S if os.name == "nt" else 0)


def refuse_existing(path: Path) -> None:
    """Raises UserError where a result would take the place of a file that is there. Asked before the work, and by nobody else's file."""
    refuse_device(path)
    if os.path.lexists(long_path(path)):
        raise UserError(
            "there is already a file of this name, which is left alone", where=str(path), todo="choose another --out, or move it away"
        )


def refuse_device(path: Path, *, windows: bool = sys.platform == "win32") -> None:
    """Raises UserError for names that Windows takes for devices: what is written to con.txt or aux.safetensors is gone without a word."""
    if windows and path.name.split(".")[0].strip().lower() in RESERVED:
        raise UserError(f"{path.name} cannot be a file: {check_name(path.name)}", where=str(path), todo="choose another name")


def require_safetensors(out: Path) -> None:
    """Raises UsageError where --out names a file of another kind than the one that is written."""
    if out.suffix.lower() != ".safetensors":
        what = f'"{out.name}" does not end in .safetensors, which is what is written'
        raise UsageError(what, where="--out", todo=f"--out {out.stem}.safetensors")


def flush(path: Path) -> None:
    """Ask the system to put the file's content on the disk before it gets its name."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """The rename itself on the disk; Windows has no such call and needs none."""
    if os.name != "posix":
        return
    with suppress(OSError):  # some network file systems refuse this, and the rename is done all the same
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with LF line ends, all of it or nothing."""
    with replacing(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def write_json(path: Path, data: Any) -> None:
    """Write readable JSON, all of it or nothing."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def check_name(name: str) -> str | None:
    """Why no Windows or Linux file can have this name, or None when it can."""
    if not name.strip():
        return "it is empty"
    found = [character for character in name if character in FORBIDDEN]
    if found:
        return f"it holds {found[0]} (no file name may hold any of {FORBIDDEN})"
    if any(ord(character) < 32 for character in name):
        return "it holds a control character (a line break or a tab?)"
    if name[-1] in ". ":
        return "it ends in a dot or a space, which Windows drops"
    if name[0] == " ":
        return "it begins with a space"
    if name.split(".")[0].strip().lower() in RESERVED:
        return f"{name.split('.')[0]} is a device on Windows, not a file"
    if len(name) > LONGEST_NAME or len(name.encode("utf-8")) > 2 * LONGEST_NAME:
        return f"it is longer than {LONGEST_NAME} characters"
    return None


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which 2 comes before 10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), part) if part.isdecimal() and part.isascii() else (1, 0, part) for part in parts]


def visible(folder: Path) -> list[Path]:
    """The entries of a folder in natural order, without those whose names begin with '_' or '.'."""
    names = os.listdir(long_path(folder))  # noqa: PTH208  (long_path is text)
    entries = (Path(folder) / name for name in names if name[0] not in "_.")
    return sorted(entries, key=lambda entry: (natural_key(entry.name), entry.name))


def free_bytes(folder: Path) -> int:
    """Free space on the disk of `folder`, which need not exist yet."""
    folder = Path(folder).absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_room(path: Path, num_bytes: int) -> None:
    """Raises DiskFull, before anything is written, where the disk of `path` cannot hold so much more."""
    if (free := free_bytes(path.parent)) < num_bytes:
        need = f"{num_bytes / 2**30:.2f} GB are needed, {free / 2**30:.2f} GB are free"
        raise DiskFull("the disk is full", where=str(path), allowed=need, todo="make room, or write elsewhere with --out")


def opened(path: Path) -> BinaryIO:
    """A file to read, also at more than 259 characters. Raises OSError."""
    return open(long_path(path), "rb")  # noqa: PTH123  (long_path is text; the caller closes it)


def status_of(path: Path) -> os.stat_result:
    """Path.stat, also at more than 259 characters. Raises OSError."""
    return os.stat(long_path(path))  # noqa: PTH116


def long_path(path: Path | str) -> str:
    r"""The path as text, with the \\?\ prefix where Windows needs it for more than 259 characters."""
    text = str(path)
    if sys.platform != "win32" or text.startswith("\\\\?\\"):
        return text
    absolute = os.path.abspath(text)  # noqa: PTH100  (Path.resolve would follow links)
    if len(absolute) < LONGEST_WINDOWS_PATH:
        return text
    return "\\\\?\\UNC\\" + absolute[2:] if absolute.startswith("\\\\") else "\\\\?\\" + absolute


def process_alive(pid: int) -> bool:
    """Whether a process with this id runs. (os.kill(pid, 0) would end it on Windows.)"""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _windows_process_alive(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _windows_process_alive(pid: int) -> bool:
    import ctypes

    query_limited_information, still_active, access_denied = 0x1000, 259, 5
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return bool(ctypes.get_last_error() == access_denied)  # type: ignore[attr-defined]
    code = ctypes.c_ulong()
    found = kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
    kernel.CloseHandle(ctypes.c_void_p(handle))
    return bool(found) and code.value == still_active

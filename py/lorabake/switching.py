"""Exchanges the files of one release for those of another, so that a kill at any moment is mended by the next start.

A journal says what goes where, before the first file is touched; every file is replaced whole; the next start of any script finishes what
the journal says (py/lorabake/__init__.py looks for it). Because that start may run half-exchanged code, this module imports nothing of
lorabake, and its journal is the same in all releases. Not here: which files those are (release_files.py). Any Python 3.8 or newer.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

JOURNAL, STATE, LOCK = "_switch.json", "current.json", "_lock"
WAIT_S = 0.1
# cmd.exe goes on reading a batch file where it was: the one that started us is exchanged a moment after it has ended.
BATCH, BATCH_VARIABLE = "setup.bat", "LORABAKE_BATCH"
AFTERWARDS = """
import os, sys, time
time.sleep(2)
os.environ.pop("LORABAKE_BATCH", None)
sys.path.insert(0, sys.argv[1])
import lorabake
"""


def mend(root: Path) -> None:
    """Finish an exchange that was interrupted, then start the running script again, from the files that now stand there."""
    if in_batch() and read(root).get("late"):
        afterwards(root)
        return
    number = os.open(root / "releases" / LOCK, os.O_RDWR | os.O_CREAT)
    while not try_lock(number):  # another start mends, or the exchange is just being made
        time.sleep(WAIT_S)
    try:
        journal = read(root)
        if journal:
            _say("an update was interrupted: it is finished now")
            with suppress(OSError, KeyError):
                Path(journal["git_lock"]).unlink()  # of the git that was killed in the middle
            finish(root, journal)
    except OSError as error:
        _say(f"error: an interrupted update cannot be finished: {error}")
        _say("  close what has the file open (a bake, an editor), then start again")
        sys.exit(1)
    finally:
        os.close(number)
    command = [sys.executable, *getattr(sys, "orig_argv", [sys.executable, *sys.argv])[1:]]
    if os.name == "posix":
        os.execv(command[0], command)
    if (root / "releases" / JOURNAL).exists() and not in_batch():
        sys.exit(1)
    sys.exit(subprocess.call(command))


def in_batch() -> bool:
    """Whether setup.bat started us and waits for us."""
    return bool(os.environ.get(BATCH_VARIABLE))


def afterwards(root: Path) -> None:
    """What is left of an exchange is done by a program of its own, two seconds later; where that fails, by the next start."""
    command = [sys.executable, "-c", AFTERWARDS, str(root / "py")]
    quiet = subprocess.DEVNULL
    alone = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    subprocess.Popen(command, cwd=str(root), stdin=quiet, stdout=quiet, stderr=quiet, creationflags=alone, start_new_session=not alone)


def _say(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(text + "\n")


def try_lock(number: int) -> bool:
    """Whether the open file is locked by this process now; the system lets it go when the process dies."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(number, 0, os.SEEK_SET)
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def read(root: Path) -> dict[str, Any]:
    """The journal of an exchange that is not finished, {} without one."""
    try:
        found = json.loads((root / "releases" / JOURNAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def begin(root: Path, journal: dict[str, Any]) -> None:
    """Write the journal; from here on the exchange will be finished.

    "to", "from": folders in releases/; "files": [[path, hash before, hash after]]; "kept": [[path, copy]]; "back": [[copy, path]] of
    an earlier exchange; "state": what current.json will hold; "git", "git_lock": commands for git, which then moves the files.
    """
    _write(root / "releases" / JOURNAL, json.dumps(journal, indent=1))


def finish(root: Path, journal: dict[str, Any]) -> None:
    """Do what is still to be done. Doing it twice is harmless. Raises OSError where a file is held by another program."""
    for name, copy in journal.get("kept", ()):
        if (root / name).is_file() and not (root / copy).exists():
            put(root / name, root / copy)
    late = [row for row in journal.get("files", ()) if row[0] == BATCH and in_batch() and hash_of(root / BATCH) != row[2]]
    for name, _, after in journal.get("files", ()):
        if name not in [row[0] for row in late]:
            _bring(root, name, after, root / "releases" / journal["to"] / "files")
    back = [(root / copy, root / name) for copy, name in journal.get("back", ()) if (root / copy).is_file()]
    for copy, path in back:
        put(copy, path)
        _forget_compiled(path)
    for command in journal.get("git", ()):
        subprocess.run(command, cwd=str(root), check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _write(root / "releases" / STATE, json.dumps(journal["state"], indent=1))
    for copy, _ in back:
        copy.unlink()
    if late:
        begin(root, {"to": journal["to"], "from": journal["from"], "files": late, "state": journal["state"], "late": True})
        afterwards(root)
    else:
        (root / "releases" / JOURNAL).unlink()


def undo(root: Path, journal: dict[str, Any]) -> None:
    """Go back to what was there before `begin`, where a file turned out to be held; nothing is left of the exchange."""
    copies = dict(journal.get("kept", ()))
    for name, before, _ in reversed(journal.get("files", ())):
        own = root / copies.get(name, "")
        source = own if name in copies and own.is_file() else root / "releases" / journal["from"] / "files" / name
        if before is None:
            _remove(root, name)
        elif hash_of(root / name) != before:
            put(source, root / name)
            _forget_compiled(root / name)
    for _, copy in journal.get("kept", ()):
        with suppress(FileNotFoundError):
            (root / copy).unlink()
    (root / "releases" / JOURNAL).unlink()


def _bring(root: Path, name: str, after: str | None, source: Path) -> None:
    path = root / name
    if after is None:
        _remove(root, name)
    elif hash_of(path) != after:
        put(source / name, path)
        _forget_compiled(path)


def _remove(root: Path, name: str) -> None:
    path = root / name
    with suppress(FileNotFoundError):
        path.unlink()
    _forget_compiled(path)
    for folder in path.parents:
        if folder == root:
            break
        with suppress(OSError):
            (folder / "__pycache__").rmdir()
        try:
            folder.rmdir()  # only an empty one goes
        except OSError:
            break


def _forget_compiled(path: Path) -> None:
    """Python knows a changed file by size and second, which two releases can share."""
    if path.suffix == ".py":
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            with suppress(OSError):
                compiled.unlink()


def put(source: Path, path: Path) -> None:
    """A copy of `source` under the name `path`, whole or not at all, on the disk before it gets its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f"_tmp-{os.getpid()}-{path.name}"
    try:
        shutil.copyfile(source, aside)
        shutil.copymode(source, aside)
        with aside.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)  # noqa: PTH105  (tests count these)
    finally:
        with suppress(OSError):
            aside.unlink()


def _write(path: Path, text: str) -> None:
    aside = path.parent / f"_tmp-{os.getpid()}-{path.name}"
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)  # noqa: PTH105


def hash_of(path: Path) -> str | None:
    """SHA-256 of a file, None where there is none."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    return digest.hexdigest()

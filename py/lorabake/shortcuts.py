"""The shortcuts on the desktop that take drops: which there are, what they start, which of the files there are ours.

They start Python itself: Explorer puts what is dropped behind the arguments, each path a word of its own, and neither cmd.exe (it has its
own ideas of & and ^ and %) nor PowerShell (its lists, its policies) stands between. Not here: the .lnk file (shell_links.py), what is done
with the paths (dropped.py). Standard library only.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lorabake import shell_links
from lorabake.errors import UserError
from lorabake.shell_links import Link

NAMES = {"train": "Bake a LoRA", "tag": "Tag pictures", "convert": "Convert models", "extract": "Extract a LoRA"}
SCRIPT = Path("py", "dropped.py")
TRIES = 9  # "Bake a LoRA (2)", where a file of that name is somebody else's
ABSENT = "shortcuts are made on Windows only; here start py/train.py and the others"


def link(root: Path, python: str, job: str) -> Link:
    """What the shortcut of `job` holds. -I: another Python's variables must not reach ours."""
    arguments = subprocess.list2cmdline(["-I", str(root / SCRIPT), job])
    return Link(python, arguments, str(root), f"lorabake: {NAMES[job]}. Drop files or folders on it.")


def is_ours(found: Link | None, root: Path) -> bool:
    """Whether a shortcut was made by this folder's lorabake, whichever Python it names."""
    script = str(root / SCRIPT).lower()
    return found is not None and script in found.arguments.lower()


def place(folder: Path, root: Path, job: str, *, read: Callable[[Path], Link | None] = shell_links.read) -> Path | None:
    """Where the shortcut of `job` goes: over our own, else under a name that is free; None when all are taken."""
    names = [NAMES[job], *(f"{NAMES[job]} ({number})" for number in range(2, TRIES))]
    paths = [folder / f"{name}.lnk" for name in names]
    ours = [path for path in paths if path.exists() and is_ours(read(path), root)]
    free = [path for path in paths if not path.exists()]
    return next(iter([*ours, *free]), None)


def make(root: Path, python: str) -> list[Path]:
    """Put the shortcuts on the desktop, or bring ours up to date. Raises UserError."""
    folder = desktop()
    made = []
    for job in NAMES:
        path = place(folder, root, job)
        if path is None:
            raise UserError(f'there are already {TRIES - 1} others\' shortcuts "{NAMES[job]}"', where=str(folder), todo="take some away")
        try:
            shell_links.write(path, link(root, python, job))
        except OSError as error:
            raise UserError(f"the shortcut cannot be written: {error}", where=str(path), todo="look whether you may write there") from error
        made.append(path)
    return made


def remove(root: Path) -> list[Path]:
    """Take away the shortcuts that this lorabake made, wherever on the desktop the user has renamed them; others' stay."""
    ours = [path for path in sorted(desktop().glob("*.lnk")) if is_ours(shell_links.read(path), root)]
    for path in ours:
        path.unlink()
    return ours


def refresh(root: Path, python: str) -> None:
    """After another Python has come: ours that are still there start that one. Nothing is made anew, nothing is said."""
    folder = shell_links.desktop() if sys.platform == "win32" else None
    for job in NAMES if folder else ():
        path = place(folder, root, job) if folder else None
        there = shell_links.read(path) if path and path.exists() else None
        wanted = link(root, python, job)
        if path and there and (there.target, there.arguments) != (wanted.target, wanted.arguments):
            with suppress(OSError):  # the old one still starts where its Python is still there
                shell_links.write(path, wanted)


def desktop() -> Path:
    """This user's desktop folder. Raises UserError where there is none."""
    if sys.platform != "win32":
        raise UserError(ABSENT)
    folder = shell_links.desktop()
    if folder is None or not folder.is_dir():
        raise UserError("this user has no desktop folder", where=str(folder or ""), todo="start the .ps1 files instead")
    return folder

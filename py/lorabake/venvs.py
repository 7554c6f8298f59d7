"""What an environment is: a numbered folder under venv/, finished when its stamp stands in it; venv/current.txt names the one in use.

Its stamp says which stack (a named pinned set, a folder of stacks/) it holds. Not here: making one (builder.py), keeping and exchanging
them (kept.py), going into one (environment.py). Runs at every start, so it starts no program, asks no network and
imports little. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from lorabake import paths

STAMP = "lorabake.json"
IN_USE = "_in-use"
CURRENT = "current"  # the stack that is meant where none is named
REQUIREMENTS, TESTS, TORCH = "requirements.txt", "tests.txt", "torch.json"
PYTHONS = ((3, 11), (3, 13))  # oldest and newest that the set is tested on


def python_of(env: Path) -> Path:
    """The interpreter of an environment."""
    return env / "Scripts" / "python.exe" if os.name == "nt" else env / "bin" / "python"


def library_of(env: Path) -> Path:
    """Its site-packages folder."""
    if os.name == "nt":
        return env / "Lib" / "site-packages"
    return next(iter(sorted((env / "lib").glob("python3.*/site-packages"))), env / "lib" / "site-packages")


def numbered(root: Path) -> list[Path]:
    """The environments under `root`, finished or not, in order."""
    return [entry for entry in paths.visible(root) if entry.name.isdigit() and entry.is_dir()] if root.is_dir() else []


def read_stamp(env: Path) -> dict[str, Any]:
    """The stamp of a finished environment, {} for any other folder."""
    try:
        stamp = json.loads((env / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def current(root: Path) -> Path | None:
    """The environment that current.txt names, whatever its state."""
    try:
        name = (root / "current.txt").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return root / name if name.isdigit() else None


def stacks(folder: Path) -> dict[str, Path]:
    """The named pinned sets: name -> folder, "current" first."""
    found = {entry.name: entry for entry in paths.visible(folder) if is_stack(entry)} if folder.is_dir() else {}
    return dict(sorted(found.items(), key=lambda one: one[0] != CURRENT))


def is_stack(folder: Path) -> bool:
    """Whether a pinned set stands here."""
    return (folder / REQUIREMENTS).is_file() and (folder / TORCH).is_file()


def stack_of(env: Path, stack: Path) -> Path:
    """The stack that an environment was made of: a sibling of `stack`, which itself is meant by stamps that name none."""
    name = read_stamp(env).get("stack")
    return stack.parent / name if isinstance(name, str) and name else stack


def torch_version(stack: Path) -> str:
    """The torch of a stack."""
    return str(json.loads((stack / TORCH).read_text(encoding="utf-8"))["version"])


def lock_hash(stack: Path) -> str:
    """A hash of the pinned set and of torch's version; comments, blank lines and line ends do not count."""
    lines = (line.split("#")[0].strip() for line in (stack / REQUIREMENTS).read_text(encoding="utf-8").splitlines())
    pinned = "\n".join(sorted(line for line in lines if line))
    version = torch_version(stack)
    return hashlib.sha256(f"{pinned}\ntorch=={version}".encode()).hexdigest()[:16]


def torch_ranges(stacks: Path = paths.STACK.parent) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The versions of torch that the library runs on, as every stack tells of its own: (first, the first too new one), in order."""
    told = [json.loads(path.read_text(encoding="utf-8"))["runs_on"] for path in stacks.glob(f"*/{TORCH}")]
    return sorted((_pair(one["from"]), _pair(one["below"])) for one in told)


def _pair(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def ranges_text(ranges: list[tuple[tuple[int, int], tuple[int, int]]]) -> str:
    """'2.7 and 2.11 to 2.13'."""
    words = []
    for (major, first), (_, below) in ranges:
        words.append(f"{major}.{first}" if below == first + 1 else f"{major}.{first} to {major}.{below - 1}")
    return " and ".join(words)


def tests_hash(stack: Path) -> str:
    """The same for the packages that only the tests need."""
    return hashlib.sha256((stack / TESTS).read_bytes().replace(b"\r\n", b"\n")).hexdigest()[:16]


def why_not(env: Path | None, stack: Path) -> str:
    """Why this environment cannot be used as it is, '' when it can: stamped, its Python still there, its stack's pinned set the same.

    `stack` is where stacks stand: the one that the stamp names is compared.
    """
    if env is None:
        return "there is no environment yet"
    reason = unusable(env)
    if reason:
        return reason
    own = stack_of(env, stack)
    if not is_stack(own):
        return f"the stack {own.name}, of which {env.name} was made, is not here any more"
    return "" if read_stamp(env).get("lock") == lock_hash(own) else "the pinned set has changed"


def unusable(env: Path) -> str:
    """Why nothing can run in this environment, whatever its pinned set; '' when something can."""
    stamp = read_stamp(env)
    if not stamp:
        return f"{env.name} was not finished"
    if not python_of(env).exists():
        return f"the Python of {env.name} is gone"
    base = str(stamp.get("base", ""))
    link = os.path.realpath(python_of(env)) if os.name == "posix" else base
    if link != base or not os.path.lexists(base):  # Python from the Microsoft Store is a link that cannot be followed
        return f"the Python that {env.name} was made with ({base}) is gone or replaced"
    return ""


def card_changed(env: Path) -> bool:
    """Whether an NVIDIA driver or card is here that was not when the environment was made (a cheap look; nvidia-smi then says more).

    One that is gone is no change: torch's build for it computes on the CPU too, and laptops switch their card off.
    """
    mark = driver_mark()
    return bool(mark and read_stamp(env).get("mark", "") != mark)


def driver_mark() -> str:
    """A cheap mark that changes when an NVIDIA driver or card comes, goes or is updated; '' without one. Starts no program."""
    module = Path("/proc/driver/nvidia")
    try:
        if sys.platform == "win32":
            info = (Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvidia-smi.exe").stat()
            return f"{info.st_size}-{int(info.st_mtime)}"
        version = (module / "version").read_text(encoding="utf-8", errors="replace").splitlines()[0]
        return " ".join([version, *sorted(os.listdir(module / "gpus"))])  # noqa: PTH208  (names, and at every start)
    except (OSError, IndexError):
        return ""


def inside(env: Path) -> bool:
    """Whether this process runs in the environment."""
    with suppress(OSError):
        return os.path.samefile(sys.prefix, env)  # noqa: PTH121  (sys.prefix is text)
    return False


def hold(env: Path) -> int | None:
    """Mark the environment as in use for the life of this process; a file number that is never closed, None where that is not possible.

    Linux: a shared lock on a file. Windows: the open file itself, which nobody can delete.
    """
    try:
        number = os.open(env / IN_USE, os.O_RDWR | os.O_CREAT)
    except OSError:
        return None  # a folder that cannot be written is not going to be removed either
    if os.name == "posix":
        import fcntl

        with suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return number

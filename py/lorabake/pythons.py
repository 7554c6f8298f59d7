"""Which Python an environment is made with: the running one where it fits, else one that is installed beside it.

Not here: making the environment (builder.py). Standard library only.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lorabake import venvs
from lorabake.errors import UserError


def base_python() -> tuple[str, str]:
    """(path, version) of the Python to make an environment with: the running one's base, else a fitting one that is installed.

    Raises UserError when there is none.
    """
    running = getattr(sys, "_base_executable", None) or sys.executable
    if fits(sys.version_info[:2]) and sys.maxsize > 2**32:
        return os.path.realpath(running) if os.name == "posix" else running, platform.python_version()
    for command in other_pythons():
        code = (
            "import sys, platform; print(sys.maxsize > 2**32, platform.python_version(), getattr(sys, '_base_executable', sys.executable))"
        )
        with suppress(OSError, subprocess.TimeoutExpired):
            answer = subprocess.run([*command, "-c", code], capture_output=True, text=True, timeout=30, check=False).stdout.strip()
            wide, version, path = [*answer.split(" ", 2), "", "", ""][:3]
            if wide == "True" and fits(tuple(int(part) for part in version.split(".")[:2])):
                return path, version
    oldest, newest = (".".join(map(str, version)) for version in venvs.PYTHONS)
    bits = "" if sys.maxsize > 2**32 else " (32 bits)"
    raise UserError(
        f"this is Python {platform.python_version()}{bits}",
        where=sys.executable,
        allowed=f"lorabake needs a 64-bit Python {oldest} to {newest}, and found none",
        todo="install Python 3.12 (Windows: winget install Python.Python.3.12), then start again with it",
    )


def fits(version: tuple[int, ...]) -> bool:
    """Whether the pinned set is tested on this Python version."""
    return venvs.PYTHONS[0] <= tuple(version[:2]) <= venvs.PYTHONS[1]


def other_pythons() -> Iterator[list[str]]:
    """Commands that may be a fitting Python, the middle version first."""
    launcher = shutil.which("py") if os.name == "nt" else None
    for minor in ("12", "13", "11"):
        if launcher:
            yield [launcher, f"-3.{minor}"]
        program = shutil.which(f"python3.{minor}")
        if program:
            yield [program]
        installed = Path(os.environ.get("LOCALAPPDATA", "")) / "Programs" / "Python" / f"Python3{minor}" / "python.exe"
        if os.name == "nt" and installed.is_file():
            yield [str(installed)]

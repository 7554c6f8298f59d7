"""A copy of this checkout on Windows (a real one, or the small one of the tools), and how its programs are started there.

The fixtures `house` and `baker` are in conftest.py. Not here: tests.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import tools

FOLDER = "My Loras & \u00e9 (1)"
SMALL_WINDOWS = Path(
    os.environ.get("LORABAKE_WINDOWS") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lorabake-windows"
)
DRIVE_C = SMALL_WINDOWS / "prefix" / "drive_c"
BUILD_LIMIT_S, START_LIMIT_S = 1800, 300
WITH_PYTHON = [r"WINEPATH=C:\Python"] if os.name == "posix" else []
RIGHT_CLICK = "if((Get-ExecutionPolicy ) -ne 'AllSigned') {{ Set-ExecutionPolicy -Scope Process Bypass }}; & '{}'"


def made() -> Iterator[Path]:
    """A copy of the checkout in C:\\Users\\me\\My Loras & \u00e9 (1): hard on batch files, and short, as Windows counts to 260."""
    tools.windows()  # skips where there is none
    users = DRIVE_C / "users"
    above = Path(tempfile.mkdtemp(prefix="me", dir=users if os.name == "posix" and users.is_dir() else None))
    yield copy_to(above / FOLDER)
    shutil.rmtree(above, ignore_errors=True)


def copy_to(folder: Path) -> Path:
    """What git knows of this checkout, and what is new and not ignored, in `folder`."""
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=tools.ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode("utf-8").split("\0")):
        if (tools.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tools.ROOT / name, folder / name)
    return folder


def of_windows(path: Path) -> str:
    """The path as Windows says it."""
    if os.name == "nt":
        return str(path)
    inside = path.is_relative_to(DRIVE_C)
    return ("C:\\" + str(path.relative_to(DRIVE_C)) if inside else f"Z:{path}").replace("/", "\\")


def python_of(house: Path) -> str:
    """The house's own Python, as Windows says it."""
    number = (house / "venv" / "current.txt").read_text(encoding="utf-8").strip()
    return of_windows(house / "venv" / number / "Scripts" / "python.exe")


def start(house: Path, *command: str, python: bool = True, limit_s: float = START_LIMIT_S, variables: tuple[str, ...] = ()):
    """Run a Windows command in the house without a console. CompletedProcess with text."""
    words = [*tools.windows(), *(WITH_PYTHON if python else []), *variables, *command]
    return subprocess.run(
        words,
        cwd=house,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=limit_s,
        check=False,
    )


def setup(house: Path, *words: str, **more):
    """setup.bat, with Python on PATH."""
    return start(house, "cmd.exe", "/c", "setup.bat", *words, **more)


def launch(house: Path, script: str, *words: str, **more):
    """A launcher as the Task Scheduler starts it: a PC without Python on PATH."""
    started = ["powershell.exe", "-NoProfile", "-ExecutionPolicy", "Bypass", "-File", of_windows(house / script)]
    return start(house, *started, *words, python=False, **more)

"""A lorabake of few files for tests of --update: what runs before anything is installed, a launcher, a profile."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from lorabake import paths, venvs
from test_floors import FLOORS

MODULES = [name for floor, names in FLOORS if floor == "F0" for name in names.split()]


def write(folder: Path, version: str, **more: str) -> Path:
    """A release in `folder`. `more`: path with / as __ and . as _dot_, or any path by a mapping; its text."""
    library = folder / "py" / "lorabake"
    library.mkdir(parents=True)
    for name in ("__init__", *MODULES):
        source = paths.ROOT / "py" / "lorabake" / f"{name.replace('.', '/')}.py"
        if source.is_file():
            shutil.copyfile(source, library / f"{name}.py")
    text = (library / "__init__.py").read_text(encoding="utf-8")
    (library / "__init__.py").write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', text), encoding="utf-8")
    shutil.copyfile(paths.ROOT / "py" / "setup.py", folder / "py" / "setup.py")
    shutil.copyfile(paths.ROOT / "setup.bat", folder / "setup.bat")
    shutil.copytree(paths.STACK, folder / "stacks" / "current")
    put(folder, {"train.ps1": f"# launcher of {version}\n", "profiles/demo.yaml": f"# demo of {version}\n"})
    return folder


def put(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def packed(folder: Path, file: Path, *, top: str = "") -> Path:
    """The folder as a zip, below a folder `top` as download sites make them."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                out.write(path, f"{top}{path.relative_to(folder).as_posix()}")
    return file


def with_environment(folder: Path) -> Path:
    """A stamped environment around the Python of the tests, of the folder's own pinned set."""
    env = folder / "venv" / "001"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", "--symlinks" if os.name == "posix" else "--copies", str(env)], check=True
    )
    stamp(env, folder / "stacks" / "current")
    paths.write_text(folder / "venv" / "current.txt", "001\n")
    return env


def stamp(env: Path, stack: Path) -> None:
    base = os.path.realpath(venvs.python_of(env)) if os.name == "posix" else sys.executable
    told = {"lock": venvs.lock_hash(stack), "base": base, "python": "3", "torch": "2.13.0+cpu", "row": "cpu", "stack": stack.name}
    paths.write_json(env / venvs.STAMP, {**told, "mark": venvs.driver_mark()})


def setup(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """py/setup.py of the folder with words."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("LORABAKE")}
    command = [sys.executable, str(folder / "py" / "setup.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env={**outside, **variables}, check=False)


def state(folder: Path) -> dict[str, str]:
    """Every file of a folder as text, but for environments, releases and compiled code."""
    skipped = {"venv", "releases", "__pycache__", "logs", ".git"}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not skipped & set(path.relative_to(folder).parts)]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def record(folder: Path) -> dict:
    return json.loads((folder / "releases" / "current.json").read_text(encoding="utf-8"))

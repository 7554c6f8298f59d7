"""setup --make-offline FOLDER: fills a folder with all that an environment needs, for this PC or another one, so that it needs no network.

Wheels come from where pip is set to look and from torch's own index. Not here: installing from the folder (offline.py, builder.py).
Standard library only, any Python 3.8 or newer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorabake import console, hardware, installer, offline, paths, pythons, release, switching, torch_builds, venvs, workshop
from lorabake.errors import UsageError, UserError

LINUX_TAGS = (*(f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)), "manylinux2014_x86_64", "linux_x86_64")
TAGS = {"windows": ("win_amd64",), "linux": LINUX_TAGS}
ABOUT_BYTES = {"cpu": 1 << 30, "cuda": 6 << 30}
TAGGER_CODE = (
    "import sys; sys.path.insert(0, {py!r}); from lorabake import tag_models; print('told ' + str(tag_models.folder_of({name!r})))"
)


@dataclass(frozen=True)
class Wish:
    """For whom the folder is filled. None: this system, this Python, the build of torch for this card, the stack in use."""

    system: str | None = None
    python: str | None = None
    torch: str | None = None
    stack: str | None = None
    taggers: tuple[str, ...] = ()


def make(folder: Path, wish: Wish, *, root: Path = paths.VENV, stack: Path = paths.STACK, store: Path = paths.MODELS / "taggers") -> None:
    """Fill `folder`. An interrupted one is gone on with. Raises UserError, UsageError, DiskFull."""
    base = pythons.base_python()
    system, python = wish.system or offline.this_system(), wish.python or ".".join(base[1].split(".")[:2])
    require_known(system, python)
    stack = named(stack, wish.stack, root)
    build = choose_build(wish, system, stack)
    same = (system, python) == (offline.this_system(), ".".join(base[1].split(".")[:2]))
    if system == "linux" and not same and build.index and build.compute:
        what = f"torch {build.name} for Linux brings packages along that only a Linux PC with Python {python} can list"
        raise UserError(what, where="--for linux", todo="make the folder there, or take --torch cpu")
    key = {"system": system, "python": python, "stack": stack.name, "lock": venvs.lock_hash(stack), "torch": build.name}
    begin(folder, key)
    paths.require_room(folder / offline.MANIFEST, ABOUT_BYTES["cuda" if build.compute else "cpu"])
    console.say(f"filling {folder} for {system} with Python {python}, stack {stack.name}, torch {build.requirement[len('torch==') :]}")
    with pip_here(root, base[0]) as pip:
        for label, words in downloads(stack, build, system, None if same else python):
            run(pip, folder, label, words)
    bring(wish.taggers, folder, root, store)
    finish(folder, stack, {**key, "release": release.here().version, "requirement": build.requirement})


def require_known(system: str, python: str) -> None:
    """Raises UsageError for a system or a Python that lorabake does not run on."""
    if system not in TAGS:
        raise UsageError(f'"{system}" is no system that a folder can be made for', where="--for", allowed=", ".join(TAGS))
    parts = python.split(".")
    if len(parts) != 2 or not all(part.isdigit() for part in parts) or not pythons.fits(tuple(map(int, parts))):
        oldest, newest = (".".join(map(str, version)) for version in venvs.PYTHONS)
        raise UsageError(f'"{python}" is no Python that lorabake runs on', where="--python", allowed=f"{oldest} to {newest}")


def named(stack: Path, name: str | None, root: Path) -> Path:
    """The folder of the stack: the named one, else the one in use."""
    found = venvs.stacks(stack.parent)
    if name and name not in found:
        raise UsageError(f'no stack "{name}"', allowed=", ".join(found), todo="--stack current")
    env = venvs.current(root)
    own = venvs.stack_of(env, stack) if env else stack
    return found[name] if name else own if venvs.is_stack(own) else stack


def choose_build(wish: Wish, system: str, stack: Path) -> torch_builds.Build:
    """The build of torch: the named one, else the first that suits this card and whose index answers."""
    table = torch_builds.rows(windows=system == "windows", table=stack / venvs.TORCH)
    choice = torch_builds.choose(hardware.look(), table, asked=wish.torch)
    console.say(f"torch for: {choice.reason}" + ("" if wish.torch else " (of this PC; --torch BUILD for another)"))
    return next((build for build in choice.builds if torch_builds.probe(build) is None), choice.builds[-1])


def begin(folder: Path, key: dict[str, str]) -> None:
    """Make the folder, or go on with one of the same kind. Raises UserError for a folder that holds other things."""
    told = release.read_json(folder / offline.MANIFEST)
    if not told and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError("there are other things in this folder", where=str(folder), todo="give a new one, or an empty one")
    if any(told.get(name) != value for name, value in key.items()):
        shutil.rmtree(folder / offline.WHEELS, ignore_errors=True)  # of another set or system: the list says that they are ours
    paths.write_json(folder / offline.MANIFEST, {**key, "finished": False})
    (folder / offline.WHEELS).mkdir(exist_ok=True)


@contextmanager
def pip_here(root: Path, base: str) -> Iterator[str]:
    """A Python with pip: the environment's, else one that is made for this and taken away."""
    env = venvs.current(root)
    if env and not venvs.unusable(env):
        yield str(venvs.python_of(env))
        return
    with tempfile.TemporaryDirectory(prefix="lorabake-pip-", ignore_cleanup_errors=True) as name:
        made = Path(name) / "env"
        done = subprocess.run([base, "-m", "venv", str(made)], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            raise installer.explain(done.stderr.decode("utf-8", "replace"), label="pip", log=Path("(none)"), code=done.returncode)
        yield str(venvs.python_of(made))


def downloads(stack: Path, build: torch_builds.Build, system: str, python: str | None) -> list[tuple[str, list[str]]]:
    """(label, words of pip download) in order. `python` None: for the Python that asks; else pins alone, as pip judges needs by itself."""
    index = ["--extra-index-url", build.index] if build.index else []
    pins = offline.needed(stack, system)
    if python is None:
        words = ["-c", str(stack / venvs.REQUIREMENTS)]
        found = [
            ("torch", [build.requirement, *index, *words]),
            ("packages", ["-r", str(stack / venvs.REQUIREMENTS), *index, build.requirement]),
        ]
        other: list[str] = []
    else:
        tags = [word for tag in TAGS[system] for word in ("--platform", tag)]
        other = ["--no-deps", "--implementation", "cp", "--python-version", python, *tags]
        found = [("torch", [build.requirement, *index, *other]), ("packages", [*pins, *other])]
    if build.onnxruntime:
        found.append(("onnxruntime for the card", [build.onnxruntime, *(other or ["--no-deps"])]))
    return [*found, ("pip", ["pip", "--no-deps"])]


def run(python: str, folder: Path, label: str, words: Sequence[str]) -> None:
    """One pip download into the folder, with its progress on a line."""
    shared = ["--only-binary", ":all:", "--progress-bar", "off", "--dest", str(folder / offline.WHEELS)]
    temp = folder / f"_tmp-{os.getpid()}"
    installer.run_step([python, "-m", "pip", "download", *shared, *words], label=label, log=workshop.new_log(), temp=temp)


def bring(asked: Sequence[str], folder: Path, root: Path, store: Path) -> None:
    """Copy taggers into the folder: those asked for, which are loaded where they are not here, else all that are here."""
    env = venvs.current(root)
    found = []
    for name in asked:
        if env is None or venvs.unusable(env):
            raise UserError("loading a tagger needs the environment", where=f"--tagger {name}", todo="setup, then the same again")
        code = TAGGER_CODE.format(py=str(paths.ROOT / "py"), name=name)
        console.say(f"  tagger {name}")
        found.append(Path(installer.imported(venvs.python_of(env), code, offline=False)))
    if not asked and store.is_dir():
        found = [entry for entry in paths.visible(store) if (entry / "lorabake.json").is_file()]
    for tagger in found:
        for path in paths.visible(tagger):
            if path.is_file():
                switching.put(path, folder / offline.TAGGERS / tagger.name / path.name)


def finish(folder: Path, stack: Path, facts: dict[str, Any]) -> None:
    """Write the list of files with their hashes; what to do next."""
    lacking = offline.missing(
        offline.needed(stack, facts["system"]),
        [path.name for path in paths.visible(folder / offline.WHEELS)],
        system=facts["system"],
        python=facts["python"],
    )
    if lacking:
        raise UserError(f"there is no wheel of {', '.join(lacking)}", where=str(folder), todo="start again; if it stays so, tell us")
    files: dict[str, dict[str, Any]] = {}
    for part in (offline.WHEELS, offline.TAGGERS):
        for path in sorted((folder / part).rglob("*")):
            if path.is_file() and not path.name.startswith("_tmp-"):
                files[path.relative_to(folder).as_posix()] = {"sha256": switching.hash_of(path), "size": path.stat().st_size}
    paths.write_json(folder / offline.MANIFEST, {**facts, "finished": True, "files": files})
    size = console.size(sum(int(entry["size"]) for entry in files.values()))
    console.say(f"{folder}: {len(files)} files, {size}; carry it and lorabake to the other PC, there: setup.bat -Offline FOLDER")

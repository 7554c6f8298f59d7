"""A folder that brings an environment to a PC without network: wheels, taggers, and a list with their hashes. Here: installing from it.

Not here: filling such a folder (offline_make.py). Standard library only, any Python 3.8 or newer.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lorabake import console, installer, paths, release, switching, torch_builds, venvs
from lorabake.errors import UserError

MANIFEST, WHEELS, TAGGERS = "lorabake-offline.json", "wheels", "taggers"
SYSTEMS = {"win32": "windows", "linux": "linux"}
MARKER = re.compile(r"sys_platform *(==|!=) *[\"'](\w+)[\"']")
SHOWN = 8
# pip out of its wheel; started as a program called pip it would refuse to install itself on Windows
FROM_WHEEL = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('pip', run_name='__main__', alter_sys=True)"


def this_system() -> str:
    """windows, linux, or what Python calls another system."""
    return SYSTEMS.get(sys.platform, sys.platform)


def read(folder: Path) -> dict[str, Any]:
    """The folder's list. Raises UserError for a folder that has none, or was not filled to the end."""
    told = release.read_json(folder / MANIFEST)
    if not told.get("finished"):
        what = "this folder was not filled to the end" if told else f"there is no {MANIFEST} in this folder"
        todo = "on a PC with a network: setup.bat -MakeOffline FOLDER; then carry that folder here"
        raise UserError(what, where=str(folder), todo=todo)
    return told


def check(folder: Path, stack: Path, python: str) -> None:
    """Raises UserError where the folder is not for this system, Python or pinned set, lacks a package, or where a file was changed."""
    told = read(folder)
    wanted = {"system": this_system(), "python": ".".join(python.split(".")[:2])}
    again = f"make it again: setup.bat -MakeOffline FOLDER -For {wanted['system']} -Python {wanted['python']}"
    if (told["system"], told["python"]) != (wanted["system"], wanted["python"]):
        here = f"here it is {wanted['system']} with Python {wanted['python']}"
        what = f"this folder is for {told['system']} with Python {told['python']}; {here}"
        start = f"start setup with Python {told['python']}, or {again}" if told["system"] == wanted["system"] else again
        raise UserError(what, where=str(folder), todo=start)
    if told.get("lock") != venvs.lock_hash(stack):
        what = f"this folder is for another pinned set than {stack.name} has here (made by release {told.get('release', 'unknown')})"
        raise UserError(what, where=str(folder), todo=f"put that release in place (setup.bat -Version), or {again}")
    lacking = missing(needed(stack, wanted["system"]), names(told), **wanted)
    if lacking:
        more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
        what = f"this folder lacks {', '.join(lacking[:SHOWN])}{more} for {wanted['system']} with Python {wanted['python']}"
        raise UserError(what, where=str(folder), todo=again)
    verify(folder, told)


def names(told: Mapping[str, Any]) -> list[str]:
    """The file names of a list's wheels."""
    return [path.rpartition("/")[2] for path in told["files"] if path.startswith(f"{WHEELS}/")]


def verify(folder: Path, told: Mapping[str, Any]) -> None:
    """Raises UserError for a file that is not the one of the list, and for a wheel that is not in it."""
    files = told["files"]
    with console.Bar(len(files), "checking the files") as bar:
        for number, (name, facts) in enumerate(sorted(files.items()), start=1):
            path = folder / name
            if not path.is_file() or path.stat().st_size != facts["size"] or switching.hash_of(path) != facts["sha256"]:
                what = f"{name} is not the file that the folder was made with" if path.exists() else f"{name} is gone from the folder"
                raise UserError(
                    what, where=str(folder), todo="copy the folder again; setup.bat -MakeOffline FOLDER mends it where it was made"
                )
            bar.update(number)
    strange = [path.name for path in paths.visible(folder / WHEELS) if f"{WHEELS}/{path.name}" not in files]
    if strange:
        raise UserError(f"{strange[0]} is not in the folder's list", where=str(folder / WHEELS), todo="take it out, then start again")


def needed(stack: Path, system: str) -> list[str]:
    """The pins of a stack, name==version, that are for a system (windows, linux)."""
    platform = next((name for name, other in SYSTEMS.items() if other == system), system)
    found = []
    for line in (stack / venvs.REQUIREMENTS).read_text(encoding="utf-8").splitlines():
        pin, _, marker = line.split("#")[0].partition(";")
        asked = MARKER.search(marker)
        if pin.strip() and (asked is None or (asked[2] == platform) == (asked[1] == "==")):
            found.append(pin.strip())
    return found


def missing(pins: Iterable[str], wheels: Iterable[str], *, system: str, python: str) -> list[str]:
    """The pins for which there is no wheel that fits."""
    there = {"==".join(name_and_version(wheel)) for wheel in wheels if fits(wheel, system=system, python=python)}
    return [pin for pin in pins if canonical(pin) not in there]


def canonical(pin: str) -> str:
    """typing_extensions==4.16.0 as typing-extensions==4.16.0, as packages are named. (PEP 503)"""
    name, _, version = pin.partition("==")
    return f"{re.sub('[-_.]+', '-', name).lower()}=={version}"


def name_and_version(wheel: str) -> tuple[str, str]:
    """Of a wheel's file name; an epoch or a local part (+cu130) stays in the version."""
    name, version = [*wheel.split("-"), "", ""][:2]
    return re.sub("[-_.]+", "-", name).lower(), version


def fits(wheel: str, *, system: str, python: str) -> bool:
    """Whether a wheel's tags are those of a 64-bit CPython of that version on windows or linux. (PEP 425, x86-64 only)"""
    parts = wheel[: -len(".whl")].split("-")
    if not wheel.endswith(".whl") or len(parts) < 5:
        return False
    pythons, abis, platforms = (part.split(".") for part in parts[-3:])
    minor = int(python.split(".")[1])
    own = {"py3", f"py3{minor}", "py2", f"cp3{minor}", "cp3"}
    older = {f"cp3{number}" for number in range(2, minor + 1)} if "abi3" in abis else {f"py3{number}" for number in range(minor + 1)}
    if not (own | older) & set(pythons):
        return False
    if not {"none", "abi3", f"cp3{minor}"} & set(abis):
        return False
    if "any" in platforms or (system == "windows" and "win_amd64" in platforms):
        return True
    return system == "linux" and any("linux" in one and one.endswith("x86_64") for one in platforms)


def pip_words(folder: Path) -> list[str]:
    """What pip gets so that it takes everything from the folder; further places that the user's pip is set to would mix in others."""
    return [installer.ALONE, "--no-index", "--find-links", str(folder / WHEELS)]


def choice(folder: Path, table: tuple[torch_builds.Build, ...]) -> torch_builds.Choice:
    """The build of torch that the folder holds."""
    told = read(folder)
    own = torch_builds.Build(torch_builds.OWN_INDEX, table[0].version, "", None, (), ())
    build = next((build for build in (*table, own) if build.name == told["torch"]), own)
    return torch_builds.Choice((build,), f"from {folder}", asked=True)


def venv_commands(folder: Path | None, base: str, env: Path) -> list[list[str]]:
    """The commands that make an empty environment with pip: Python's own, or from the folder with the pip that lies in it."""
    if folder is None:
        return [[base, "-m", "venv", str(env)]]
    wheel = next(iter(sorted((folder / WHEELS).glob("pip-*.whl"))), None)
    if wheel is None:
        return [[base, "-m", "venv", str(env)]]
    pip = [str(venvs.python_of(env)), "-c", FROM_WHEEL, str(wheel), "install", *pip_words(folder), "--no-warn-script-location", "pip"]
    return [[base, "-m", "venv", "--without-pip", str(env)], pip]


def bring_taggers(folder: Path, store: Path) -> None:
    """Copy the folder's taggers to where tag_models.py looks for them; what is there already, whole, stays."""
    told = read(folder)
    own = sorted(name for name in told["files"] if name.startswith(f"{TAGGERS}/"))
    for name in own:
        target = store / name.partition("/")[2]
        if switching.hash_of(target) != told["files"][name]["sha256"]:
            switching.put(folder / name, target)
    taggers = sorted({name.split("/")[1] for name in own})
    if taggers:
        console.say(f"  taggers: {', '.join(taggers)}")

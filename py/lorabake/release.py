"""Which release of lorabake this is, and which stack it runs on: cheap enough for every bake, no program is asked.

A git checkout is named by the commit in .git, a release that --update or --version put in place by releases/current.json, a downloaded
one by its own release.json. Not here: exchanging releases (releases.py). Standard library only, any Python 3.8 or newer.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorabake import __version__, paths, venvs

RELEASES = paths.ROOT / "releases"
CURRENT, OWN = "current.json", "release.json"
SHORT = 12  # digits of a commit or hash that are shown
HEX = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class Release:
    """`mark` is a git commit or the hash of a release's files, "" where neither is known; `kind` says which."""

    version: str
    kind: str = ""
    mark: str = ""

    def __str__(self) -> str:
        return f"{self.version} ({self.kind} {self.mark[:SHORT]})" if self.mark else self.version


def here(root: Path = paths.ROOT, version: str = __version__) -> Release:
    """The release in the folder `root`, whose code calls itself `version`."""
    commit = git_commit(root)
    if commit:
        return Release(version, "commit", commit)
    for file in (root / "releases" / CURRENT, root / OWN):
        told = read_json(file)
        if told.get("version") == version:  # else somebody unpacked another one over it
            for kind, key in (("commit", "commit"), ("files", "hash")):
                mark = told.get(key)
                if isinstance(mark, str) and HEX.fullmatch(mark):
                    return Release(version, kind, mark)
    return Release(version)


def read_json(file: Path) -> dict[str, Any]:
    """A small file of ours, {} where it is absent or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def git_folder(root: Path) -> Path | None:
    """The .git folder of a checkout: a folder, or the file by which a worktree names its own."""
    place = root / ".git"
    try:
        if place.is_file():
            told = place.read_text(encoding="utf-8").strip()
            return (root / told[len("gitdir:") :].strip()).resolve() if told.startswith("gitdir:") else None
    except (OSError, ValueError):
        return None
    return place if place.is_dir() else None


def git_commit(root: Path) -> str:
    """The commit that is checked out, read from git's own files; "" where there is none. (gitrepository-layout in git's documentation)"""
    folder = git_folder(root)
    try:
        if folder is None:
            return ""
        head = (folder / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref:"):
            return head if HEX.fullmatch(head) else ""
        name = head[len("ref:") :].strip()
        common = folder / "commondir"  # worktrees keep their branches in the main one
        shared = (folder / common.read_text(encoding="utf-8").strip()) if common.is_file() else folder
        if (shared / name).is_file():
            found = (shared / name).read_text(encoding="utf-8").strip()
        else:
            lines = (shared / "packed-refs").read_text(encoding="utf-8").splitlines()
            found = next((line.split(" ")[0] for line in lines if line.endswith(f" {name}")), "")
    except (OSError, ValueError):
        return ""
    return found if HEX.fullmatch(found) else ""


def running_stack(prefix: str = sys.prefix) -> str:
    """The stack of the environment in which this runs; "" in a Python that is not one of ours."""
    stamp = venvs.read_stamp(Path(prefix))
    name = stamp.get("stack", venvs.CURRENT) if stamp else ""
    return name if isinstance(name, str) else ""


def running_torch() -> str:
    """The version of the installed torch, "" without one; torch is not loaded."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def other_stack(tuned_on: str, folder: Path = paths.STACK.parent) -> str:
    """A sentence where a profile was tuned on another stack than the one that runs; "" where it is the same."""
    running, torch = running_stack(), running_torch()
    version = venvs.torch_version(folder / tuned_on) if tuned_on in venvs.stacks(folder) else ""
    if running == tuned_on or (not running and version and torch.split("+")[0] == version):
        return ""
    runs = f"the stack {running}" if running else "your own Python"
    there = f" (torch {version})" if version else ""
    back = f"setup.bat -Stack {tuned_on} goes to it" if running else f"LORABAKE_PYTHON unset and setup.bat -Stack {tuned_on} go to it"
    return f"tuned on the stack {tuned_on}{there}, but {runs} is running (torch {torch}): results can differ; {back}"

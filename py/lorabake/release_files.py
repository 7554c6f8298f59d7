"""Which files a release consists of, and what exchanging it for another does to each file of the folder, the user's own included.

Pure but for reading and hashing. Not here: doing it (switching.py), where a release comes from (release_source.py). Standard library only.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lorabake import release, switching
from lorabake.errors import UserError

YOURS = ("venv", "logs", "baked", "releases", ".git")  # at the top of our folder: never part of a release, never touched
YOUR_FOLDERS = ("profiles",)  # here nothing of the user's is moved aside for a file of ours
SKIPPED = ("__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis", "taggers")
CODE = ("py", "ps", "stacks", "tools", "tests", "docs", "bench", ".ci")  # folders in which everything is ours
EDITABLE = (".ps1", ".bat", ".yaml", ".yml")  # what people change: kept where nobody can tell whether they did
MANIFEST = "manifest.json"
VERSION = re.compile(r"^__version__ = [\"'](\d+(?:\.\d+){1,3}[0-9A-Za-z.+-]*)[\"']", re.MULTILINE)


@dataclass
class Exchange:
    """What happens to the folder: `files` [path, hash before, hash after], `kept` [path, copy], and what is left as the user made it."""

    files: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def version_of(folder: Path) -> str:
    """The version that the code in a folder calls itself, "" where it is no lorabake. Nothing of it is run."""
    try:
        found = VERSION.search((folder / "py" / "lorabake" / "__init__.py").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""


def walk(folder: Path) -> Iterator[str]:
    """The files of a release that has no list of its own: everything but what our folder holds for the user, as POSIX paths."""
    for place, folders, names in os.walk(folder):
        inside = Path(place).relative_to(folder)
        at_top = inside == Path()
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not (at_top and name in YOURS))
        for name in sorted(names):
            if not name.startswith("_tmp-") and not name.endswith(".pyc") and not (at_top and name in YOURS):
                yield (inside / name).as_posix()


def hashed(folder: Path, names: Iterator[str] | list[str]) -> dict[str, str]:
    """path -> SHA-256 of the files that are there."""
    found = ((name, switching.hash_of(folder / name)) for name in names)
    return {name: digest for name, digest in found if digest}


def hash_of_all(files: Mapping[str, str]) -> str:
    """One hash for a release: of its files' names and hashes."""
    return hashlib.sha256("\n".join(f"{digest} {name}" for name, digest in sorted(files.items())).encode()).hexdigest()


def present(root: Path, after: Mapping[str, str]) -> dict[str, str]:
    """path -> hash as it was delivered, of the release that stands in `root`.

    From the record of the last exchange, else the list that came with it. Without either: all in folders of code, and what `after`
    has too; of files that people edit the hash is then unknown ("").
    """
    name = release.read_json(root / "releases" / release.CURRENT).get("name")
    record = release.read_json(root / "releases" / name / MANIFEST) if isinstance(name, str) else {}
    told = record.get("delivered") or record.get("files") or release.read_json(root / release.OWN).get("files")
    if isinstance(told, dict):
        return {str(path): str(digest) for path, digest in told.items()}
    ours = [path for path in walk(root) if path in after or path.split("/")[0] in CODE]
    return {path: "" if _editable(path) and digest != after.get(path) else digest for path, digest in hashed(root, ours).items()}


def _editable(path: str) -> bool:
    return path.lower().endswith(EDITABLE) and path.split("/")[0] not in CODE


def require_writable(root: Path, names: list[str]) -> None:
    """Raises UserError where a file is held by another program or may not be written, before anything is changed."""
    for name in names:
        path = root / name
        if not path.exists():
            continue
        try:
            os.rename(path, path)  # noqa: PTH104  (Windows refuses this, too, for a file that is held)
            with path.open("r+b"):
                pass
        except OSError as error:
            todo = "close the program that has it open, or check that you may write there; then start again"
            raise UserError(f"{name} cannot be replaced ({error.strerror}), so nothing was changed", where=str(path), todo=todo) from error


def exchange(before: Mapping[str, str], after: Mapping[str, str], now: Callable[[str], str | None], mark: str) -> Exchange:
    """What to do. `before` and `after`: the two releases' files; `now`: hash of what stands there; `mark`: ends the names of copies."""
    found = Exchange()
    for path in sorted({*before, *after}):
        was, new, there = before.get(path), after.get(path), now(path)
        if there == new:
            continue
        edited = there is not None and there != was
        if edited and (was == new or (path.split("/")[0] in YOUR_FOLDERS and (was is None or new is None))):
            found.left.append(path)
            continue
        if edited:
            found.kept.append((path, free_name(path, mark, now)))
        found.files.append((path, there, new))
    return found


def free_name(path: str, mark: str, now: Callable[[str], str | None]) -> str:
    """demo.yaml.kept-0.1.0, or with a number where that is taken."""
    name, number = f"{path}.kept-{mark}", 1
    while now(name) is not None:
        number += 1
        name = f"{path}.kept-{mark}-{number}"
    return name

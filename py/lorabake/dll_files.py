"""The DLLs in an environment's torch/lib: what is there, putting others in their place, and putting everything back byte for byte.

What was replaced is kept in the environment (`_dlls-kept`), and a log beside it is on the disk before each change, so that a power cut
leaves nothing that cannot be undone. Not here: which are right (dll_needs.py), where they come from (dlls.py). Standard library only.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from lorabake import dll_needs, paths, pe_version, venvs
from lorabake.dll_needs import Change, Found, Wheel
from lorabake.errors import UserError

LOG, KEPT = "lorabake-dlls.json", "_dlls-kept"
HASHED_UP_TO = 4 << 20  # bytes; of the big ones the size must do, or the doctor would read gigabytes
BLOCK = 1 << 20


def library_of(env: Path) -> Path:
    """site-packages of an environment; a Windows one is known by its folders on any system."""
    windows = env / "Lib" / "site-packages"
    return windows if windows.is_dir() else venvs.library_of(env)


def for_windows(env: Path) -> bool:
    """Whether the environment holds a torch for Windows: Linux wheels find their CUDA libraries as packages, nothing is to do there."""
    return any((library_of(env) / "torch" / "lib").glob("*.dll"))


def build_of(env: Path) -> str:
    """The installed torch's build, such as 'cu130'; '' without a torch."""
    try:
        return dll_needs.build_of((library_of(env) / "torch" / "version.py").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""


def look(env: Path) -> list[Found]:
    """Every cuDNN DLL in torch/lib."""
    library = library_of(env)
    record = recorded(library)
    put = {name: entry for name, entry in read_log(env).get("files", {}).items() if entry.get("sha256")}
    there = sorted(path for path in (library / "torch" / "lib").glob("*.dll") if dll_needs.CUDNN.fullmatch(path.name))
    found = [_found(path, record.get(f"torch/lib/{path.name}"), put.get(path.name)) for path in there]
    brought = {name.rsplit("/", 1)[1] for name in record} - {path.name for path in there}
    return [*found, *(Found(name, 0, trouble="is gone") for name in sorted(brought) if dll_needs.CUDNN.fullmatch(name))]


def _found(path: Path, recorded_as: tuple[str, int] | None, entry: dict[str, Any] | None) -> Found:
    try:
        size = path.stat().st_size
        own = recorded_as is not None and _same(path, size, *recorded_as)
        put = entry is not None and _same(path, size, entry["sha256"], entry["size"])
        version = pe_version.read(path)
    except OSError as error:
        return Found(path.name, 0, trouble=f"cannot be read ({error.strerror})")
    except pe_version.Damaged as error:
        return Found(path.name, size, own=own, put=put, trouble=f"is damaged ({error})")
    except pe_version.NoVersion:
        return Found(path.name, size, whose="it does not say what it is", own=own, put=put)
    return Found(path.name, size, version.numbers, dll_needs.whose(version.texts), own, put)


def _same(path: Path, size: int, sha256: str, wanted: int) -> bool:
    return size == wanted and (size > HASHED_UP_TO or digest(path) == sha256)


def recorded(library: Path) -> dict[str, tuple[str, int]]:
    """{'torch/lib/name.dll': (SHA-256 as hex, size)} as torch's wheel brought them; {} where that cannot be known."""
    found = {}
    for record in library.glob("torch-*.dist-info/RECORD"):
        with suppress(OSError, ValueError), record.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                if len(row) == 3 and row[0].startswith("torch/lib/") and row[0].endswith(".dll") and row[1].startswith("sha256="):
                    found[row[0]] = (base64.urlsafe_b64decode(row[1][7:] + "=").hex(), int(row[2]))
    return found


def digest(path: Path) -> str:
    """SHA-256 of a file as hex."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            total.update(block)
    return total.hexdigest()


def read_log(env: Path) -> dict[str, Any]:
    """What was changed here: {'wheel', 'files': {name: {'kept', 'size', 'sha256'}}}; {} for nothing."""
    try:
        log = json.loads((env / LOG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return log if isinstance(log, dict) and isinstance(log.get("files"), dict) else {}


def put(env: Path, changes: list[Change], wheel: Wheel, archive: Path) -> None:
    """Make the changes one by one, each complete or not at all. Raises UserError where the wheel holds something else than it should."""
    folder = library_of(env) / "torch" / "lib"
    log = read_log(env) or {"wheel": wheel.file, "files": {}}
    with zipfile.ZipFile(archive) as zipped:
        for change in changes:
            target = folder / change.name
            kept = keep(env, target, log)
            size, sha256 = wheel.dlls[change.name] if change.take else (0, "")
            log["files"][change.name] = {"kept": kept, "size": size, "sha256": sha256}
            paths.write_json(env / LOG, log)  # before the change
            if change.take:
                _take(zipped, f"{wheel.folder}/{change.name}", target, sha256)
            else:
                target.unlink(missing_ok=True)


def keep(env: Path, target: Path, log: dict[str, Any]) -> str | None:
    """Keep a copy of what stands there, and name it; what was kept before is the original, and stays. None where nothing stood."""
    earlier = log["files"].get(target.name)
    if earlier is not None:
        return earlier["kept"]
    if not target.exists():
        return None
    kept = env / KEPT / target.name
    with paths.replacing(kept) as aside:
        shutil.copy2(target, aside)
    return f"{KEPT}/{target.name}"


def _take(zipped: zipfile.ZipFile, member: str, target: Path, sha256: str) -> None:
    with paths.replacing(target) as aside:
        try:
            with zipped.open(member) as source, aside.open("wb") as out:
                shutil.copyfileobj(source, out, BLOCK)
        except (KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{member} cannot be taken out of NVIDIA's wheel: {error}", where=str(zipped.filename)) from error
        if digest(aside) != sha256:
            raise UserError(f"{member} is not the file that it should be", where=str(zipped.filename), todo="start again")


def undo(env: Path) -> tuple[list[str], list[str]]:
    """Put everything back. (names put back or taken away, names left alone as somebody changed them or what was kept of them since)."""
    folder = library_of(env) / "torch" / "lib"
    log = read_log(env)
    done, left = [], []
    for name, entry in sorted(log.get("files", {}).items()):
        target = folder / name
        changed = target.exists() and not is_ours(target, entry) and not _is_kept(env, target, entry)
        if changed or (entry["kept"] and not (env / entry["kept"]).is_file()):
            left.append(name)
            continue
        if entry["kept"] is None:
            target.unlink(missing_ok=True)
        else:
            with paths.replacing(target) as aside:
                shutil.copy2(env / entry["kept"], aside)
        done.append(name)
    rest = {name: log["files"][name] for name in left}
    if rest:
        paths.write_json(env / LOG, {**log, "files": rest})
    else:
        with suppress(OSError):
            (env / LOG).unlink()
        shutil.rmtree(env / KEPT, ignore_errors=True)
    return done, left


def is_ours(target: Path, entry: dict[str, Any]) -> bool:
    """Whether the file is the one that was put there."""
    return os.stat(target).st_size == entry["size"] and digest(target) == entry["sha256"]  # noqa: PTH116


def _is_kept(env: Path, target: Path, entry: dict[str, Any]) -> bool:
    """Whether the file still is what was kept: the change had been noted and not yet made."""
    kept = env / entry["kept"] if entry["kept"] else None
    return kept is not None and kept.is_file() and kept.stat().st_size == target.stat().st_size and digest(kept) == digest(target)

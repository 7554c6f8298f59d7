"""Where another release comes from: a folder, a zip, an address. It is looked at before anything of it is used, and laid into releases/.

Nothing in a zip is trusted: its names, its sizes, and that it is lorabake at all. Not here: putting it in place (releases.py).
Standard library only, any Python 3.8 or newer.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from lorabake import console, paths, release, release_files, switching
from lorabake.errors import UserError

ADDRESS = ""  # "https://.../{version}.zip", once lorabake is published somewhere
ADDRESS_VARIABLE = "LORABAKE_RELEASES"
MOST_FILES, MOST_BYTES, MOST_RATIO = 20_000, 2 << 30, 200
LARGE_ENOUGH = 10 << 20  # bytes; below it a file may be packed as tightly as it likes
TIMEOUT_S, BLOCK = 30, 1 << 20
NEEDED = ("setup.bat", "py/setup.py", "py/lorabake/__init__.py", "stacks/current/requirements.txt")
FOREIGN = "this is no release of lorabake"


def lay_in(source: Path, root: Path) -> dict[str, Any]:
    """Copy the release from a folder or a zip to releases/<version>-<hash>/ and return its record. Raises UserError."""
    if not source.exists():
        raise UserError("there is no such file or folder", where=str(source), todo="give an unpacked release, or its .zip")
    if source.is_dir() and (source.resolve() == root.resolve() or root.resolve() in source.resolve().parents):
        raise UserError(
            "this folder is part of the lorabake that is to be updated", where=str(source), todo="give another folder, or a zip"
        )
    work = root / "releases" / f"_tmp-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    try:
        (work / "files").mkdir(parents=True)
        if source.is_dir():
            _copy(source, work / "files")
        else:
            _unpack(source, work / "files")
        record = described(work / "files", source)
        _try_out(work / "files", source)
        paths.write_json(work / release_files.MANIFEST, record)
        place = root / "releases" / record["name"]
        if not place.exists():
            os.rename(work, place)  # noqa: PTH104
        return record
    finally:
        shutil.rmtree(work, ignore_errors=True)


def described(folder: Path, source: Path) -> dict[str, Any]:
    """{"name", "version", "commit", "hash", "files"} of a release that lies in `folder`. UserError for what is none, or not whole."""
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{FOREIGN}: it has no {missing[0]}", where=str(source), todo="give the folder or zip of a release, unchanged")
    version = release_files.version_of(folder)
    if not version:
        raise UserError(f"{FOREIGN}: its code says no version", where=str(source), todo="give the folder or zip of a release, unchanged")
    files = release_files.hashed(folder, list(release_files.walk(folder)))
    told = release.read_json(folder / release.OWN)
    for name, digest in (told.get("files") or {}).items():
        if files.get(name) != digest:
            todo = "download it again" if source.is_file() else "give the folder of an unchanged release"
            raise UserError(f"this release is not whole: {name} is not the file that it was made with", where=str(source), todo=todo)
    whole = release_files.hash_of_all(files)
    name = f"{version}-{whole[:8]}"
    return {"name": name, "version": version, "commit": str(told.get("commit", "")), "hash": whole, "files": files}


def _copy(source: Path, target: Path) -> None:
    for name in _names(source):
        if (source / name).is_file():
            switching.put(source / name, target / name)


def _names(source: Path) -> list[str]:
    """The release's files in a folder: by its own list, by git's, else all that can be part of one."""
    told = release.read_json(source / release.OWN).get("files")
    if isinstance(told, dict):
        return [*map(str, told), release.OWN]
    if (source / ".git").exists():
        with suppress(OSError):
            command = ["git", "-C", str(source), "ls-files", "-z"]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            if done.returncode == 0:
                return [name for name in done.stdout.decode("utf-8", "replace").split("\0") if name]
    return list(release_files.walk(source))


def _unpack(source: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            entries = _checked(archive.infolist(), source)
            for name, entry in entries.items():
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as data, path.open("wb") as out:
                    _pour(data, out, entry.file_size, source)
                    os.fsync(out.fileno())
                if os.name == "posix" and (entry.external_attr >> 16) & 0o111:
                    path.chmod(0o755)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"this zip is damaged or of an unknown kind: {error}", where=str(source), todo="download it again") from error


def _pour(data: Any, out: Any, size: int, source: Path) -> None:
    """Copy a packed file; it must be as long as the zip says."""
    total = 0
    for block in iter(lambda: data.read(BLOCK), b""):
        total += len(block)
        if total > size:
            raise UserError("a file in this zip is longer than the zip says", where=str(source), todo="do not use it")
        out.write(block)


def _checked(entries: list[zipfile.ZipInfo], source: Path) -> dict[str, zipfile.ZipInfo]:
    """path -> entry of the files, without the one folder that many zips begin with. Raises UserError for what no release holds."""
    files = [entry for entry in entries if not entry.is_dir()]
    packed, whole = sum(entry.compress_size for entry in files), sum(entry.file_size for entry in files)
    if len(files) > MOST_FILES or whole > MOST_BYTES or (whole > LARGE_ENOUGH and whole > MOST_RATIO * max(1, packed)):
        what = f"{FOREIGN}: it would unpack to {len(files)} files of {console.size(whole)}"
        raise UserError(what, where=str(source), todo="do not use it")
    tops = {entry.filename.split("/")[0] for entry in files}
    strip = f"{next(iter(tops))}/" if len(tops) == 1 and not any(entry.filename in tops for entry in files) else ""
    found: dict[str, zipfile.ZipInfo] = {}
    seen = set()
    for entry in files:
        name = entry.filename[len(strip) :]
        reason = why_not_a_path(name) or ("a link" if stat.S_ISLNK(entry.external_attr >> 16) else "")
        reason = reason or ("encrypted" if entry.flag_bits & 1 else "") or ("twice in it" if name.lower() in seen else "")
        if reason:
            raise UserError(f"{FOREIGN}: {entry.filename!r} is {reason}", where=str(source), todo="do not use it")
        seen.add(name.lower())
        found[name] = entry
    return found


def why_not_a_path(name: str) -> str:
    """Why a release cannot hold a file of this name, '' when it can: it stays inside, on every system, and out of the user's folders."""
    parts = name.split("/")
    if not name or name.startswith("/") or "\\" in name or ".." in parts or re.match(r"[A-Za-z]:", name):
        return "no path inside of it"
    for part in parts:
        reason = paths.check_name(part)
        if reason:
            return f"a name that not every system takes ({reason})"
    if parts[0].lower() in release_files.YOURS or parts[0].startswith("_"):
        return "in a folder that is yours"
    return ""


def _try_out(folder: Path, source: Path) -> None:
    """Start it once: code that this Python cannot read is noticed before it stands in our place."""
    with tempfile.TemporaryDirectory(prefix="lorabake-") as elsewhere:
        command = [sys.executable, "-B", str(folder / "py" / "setup.py"), "--help"]
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(command, cwd=elsewhere, stdin=subprocess.DEVNULL, capture_output=True, env=variables, check=False)
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"code {done.returncode}"]
        raise UserError(f"this release does not start: {lines[-1]}", where=str(source), todo="nothing was changed; try another release")


def download(version: str, folder: Path) -> Path:
    """The zip of a published release. Raises UserError where nothing is published, and for what the server says."""
    form = os.environ.get(ADDRESS_VARIABLE) or ADDRESS
    if not form:
        todo = f"download its zip, then: setup --update ZIP; or set {ADDRESS_VARIABLE} to https://.../{{version}}.zip"
        raise UserError(f"release {version} is not kept here, and this lorabake knows no address to load it from", todo=todo)
    address = form.replace("{version}", urllib.parse.quote(version, safe=""))
    parts = urllib.parse.urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "localhost"}:
        raise UserError("releases are loaded by https only", where=address, todo=f"set {ADDRESS_VARIABLE} to an https address")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"_tmp-{os.getpid()}-download.zip"
    try:
        context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or None)
        request = urllib.request.Request(address, headers={"User-Agent": "lorabake-setup"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer, path.open("wb") as out:
            expected = int(answer.headers.get("Content-Length") or 0)
            with console.Bar(max(1, expected >> 20), f"downloading release {version}, MB", "MB") as bar:
                for block in iter(lambda: answer.read(BLOCK), b""):
                    out.write(block)
                    bar.update(out.tell() >> 20)
                    if out.tell() > MOST_BYTES:
                        raise UserError("this is far too large for a release", where=address, todo="do not use it")
            if expected and out.tell() != expected:
                raise UserError("the download broke off", where=address, todo="start again")
    except urllib.error.HTTPError as error:
        path.unlink(missing_ok=True)
        what = f"there is no release {version}" if error.code == 404 else f"the server answers {error.code} {error.reason}"
        raise UserError(what, where=address, todo="look at CHANGELOG.md for the versions there are") from error
    except UserError:
        path.unlink(missing_ok=True)
        raise
    except (OSError, ValueError) as error:
        path.unlink(missing_ok=True)
        reason = getattr(error, "reason", error)
        raise UserError(f"the release cannot be loaded: {reason}", where=address, todo="check the connection, then start again") from error
    return path

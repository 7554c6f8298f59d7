"""Other releases of lorabake in the place of this one, and back: setup --update, --version, --rollback.

Each release that was ever here stays in releases/<version>-<hash>/, whole, as it was delivered. Putting one in place exchanges files of
ours at the top (switching.py); profiles, LoRAs, environments and everything else of the user's stay. Not here: where a release comes from
(release_source.py), checkouts of git (release_git.py). Standard library only, any Python 3.8 or newer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lorabake import console, kept, paths, release, release_files, release_git, release_source, setup_lock, switching, venvs
from lorabake.errors import UserError, translate

SHOWN = 6


def update(source: Path, root: Path = paths.ROOT) -> int:
    """Put the release of a folder or zip in place. Exit code."""
    with alone(root):
        if release.git_folder(root):
            what = "this lorabake is a git checkout, and files put over it would look like edits"
            raise UserError(what, where=str(root), todo="git pull, or: setup --version TAG-OR-COMMIT")
        console.say(f"looking at {source}")
        record = release_source.lay_in(source, root)
        return put_in_place(record, root)


def to_version(version: str, root: Path = paths.ROOT) -> int:
    """Put a release in place by its version: through git in a checkout, else a kept one, else the published one. Exit code."""
    with alone(root):
        if release.git_folder(root):
            return settle(root, release_git.check_out(version, root))
        found = [record for record in kept_here(root) if version in (record["name"], record["version"])]
        if len(found) > 1:
            names = ", ".join(record["name"] for record in found)
            raise UserError(f"several releases {version} are kept here", allowed=names, todo=f"setup --version {found[0]['name']}")
        if found:
            return put_in_place(found[0], root)
        path = release_source.download(version, root / "releases")
        try:
            return put_in_place(release_source.lay_in(path, root), root)
        finally:
            path.unlink()


def alone(root: Path) -> Any:
    """Nobody else makes environments or exchanges releases meanwhile, and nothing of ours runs."""
    return setup_lock.locked(root / "releases", what="other releases", others="another start exchanges releases")


def kept_here(root: Path) -> list[dict[str, Any]]:
    """The records of the releases that are kept, whole ones only."""
    folder = root / "releases"
    found = [release.read_json(entry / release_files.MANIFEST) for entry in paths.visible(folder)] if folder.is_dir() else []
    return [record for record in found if record.get("name") and (folder / str(record["name"]) / "files").is_dir()]


def state(root: Path) -> dict[str, Any]:
    """What the last exchange noted: {"name", "version", "commit", "hash", "previous", "changed", "kept"}; {} when there was none."""
    return release.read_json(root / "releases" / release.CURRENT)


def previous(root: Path) -> str:
    """The release that --rollback would put in place, "" for none."""
    name = str(state(root).get("previous", ""))
    return name if name and (release.git_folder(root) or any(record["name"] == name for record in kept_here(root))) else ""


def put_in_place(record: dict[str, Any], root: Path) -> int:
    """Exchange the release that stands in `root` for the one of the record, which lies in releases/."""
    kept.refuse_while_running(root)
    before = release_files.present(root, record["files"])
    mine = snapshot(root, before)
    if mine == record["name"]:
        console.say(f"release {record['name']} is in place already")
        return 0
    made = release_files.exchange(before, record["files"], lambda name: switching.hash_of(root / name), release_files.version_of(root))
    last = state(root)
    returns = {name: copy for name, copy in last.get("kept", ()) if last.get("previous") == record["name"]}
    touched = {*(name for name, _ in made.kept), *made.left}
    facts = {key: record[key] for key in ("name", "version", "commit", "hash")}
    journal = {
        "to": record["name"],
        "from": mine,
        "files": made.files,
        "kept": made.kept,
        "back": [[copy, name] for name, copy in returns.items() if name not in touched],
        "state": {**facts, "previous": mine, "changed": time.time(), "kept": made.kept},
    }
    release_files.require_writable(root, [name for name, _, _ in made.files])
    exchange(root, journal)
    say_exchange(mine, record["name"], made)
    return settle(root, 0)


def exchange(root: Path, journal: dict[str, Any]) -> None:
    """Do what the journal says; where a file turns out to be held by another program, everything is as it was before. Raises UserError."""
    switching.begin(root, journal)
    try:
        switching.finish(root, journal)
    except OSError as error:
        switching.undo(root, journal)
        known = translate(error)
        raise known or UserError(
            f"a file cannot be replaced: {error}", todo="nothing was changed; close other programs, start again"
        ) from error


def snapshot(root: Path, before: dict[str, str]) -> str:
    """The name under which the present release is kept; it is copied to releases/ where it is not there yet."""
    name = state(root).get("name")
    if isinstance(name, str) and any(record["name"] == name for record in kept_here(root)):
        return name
    work = root / "releases" / f"_tmp-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    for path in before:
        if (root / path).is_file():
            switching.put(root / path, work / "files" / path)
    files = release_files.hashed(work / "files", list(before))
    here, whole = release.here(root, release_files.version_of(root)), release_files.hash_of_all(files)
    name = f"{here.version}-{whole[:8]}"
    record = {"name": name, "version": here.version, "commit": here.mark if here.kind == "commit" else "", "hash": whole, "files": files}
    # what somebody edited is kept as it is, and is still known for an edit when it comes back
    paths.write_json(work / release_files.MANIFEST, {**record, "delivered": before})
    if not (root / "releases" / name).exists():
        os.rename(work, root / "releases" / name)  # noqa: PTH104
    shutil.rmtree(work, ignore_errors=True)
    return name


def say_exchange(before: str, after: str, made: release_files.Exchange) -> None:
    """Two or three lines on what was done."""
    console.say(f"release {after} is in place of {before} ({len(made.files)} files); back: setup --rollback")
    if made.kept:
        console.say(f"  you had edited these, your version is kept beside: {_some([copy for _, copy in made.kept])}")
    if made.left:
        console.say(f"  left as you made them: {_some(made.left)}")


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def settle(root: Path, code: int) -> int:
    """The environment that the release now in place wants: the one in use, the kept one, else setup makes it."""
    if code:
        return code
    place, stack = root / "venv", root / "stacks" / venvs.CURRENT
    env, other = venvs.current(place), kept.previous(place)
    if env is None or not venvs.why_not(env, stack):
        return 0
    if other and not kept.trouble(other, stack):
        kept.switch(place, other, keep=env)
        console.say(f"  with the environment {kept.described(other, stack)}")
        return 0
    code = subprocess.call([sys.executable, str(root / "py" / "setup.py"), "--no-pause"])
    if code:
        console.say("  its environment could not be made yet: any start tries again; or go back: setup --rollback")
    return code


def roll_back(root: Path = paths.ROOT) -> int:
    """Undo the last change: of the environment where it was that and still fits this release, else of the release. Exit code."""
    place, stack = root / "venv", root / "stacks" / venvs.CURRENT
    env, name = kept.previous(place), previous(root)
    env_fits = env is not None and not venvs.why_not(env, stack)
    if name and not (env_fits and kept.changed(place) > float(state(root).get("changed", 0))):
        with alone(root):
            if release.git_folder(root):
                return settle(root, release_git.check_out(name, root))
            return put_in_place(next(record for record in kept_here(root) if record["name"] == name), root)
    with setup_lock.locked(place):
        back = kept.roll_back(place, stack)
        console.say(f"back to the environment {kept.described(back, stack)}; forward again: setup --rollback")
    return 0


def forget_previous(root: Path = paths.ROOT) -> int:
    """Free the room of the kept environment and of releases that are not in place."""
    place = root / "venv"
    with setup_lock.locked(place):
        console.say(kept.forget(place))
    with alone(root):
        for record in kept_here(root):
            if record["name"] != state(root).get("name"):
                size = kept.num_bytes(root / "releases" / record["name"])
                shutil.rmtree(root / "releases" / record["name"], ignore_errors=True)
                console.say(f"release {record['name']} is gone: {console.size(size)} freed")
    return 0


def told(root: Path = paths.ROOT) -> dict[str, Any]:
    """For --json: what is in place, and what --rollback would go back to."""
    place, stack = root / "venv", root / "stacks" / venvs.CURRENT
    env, other = venvs.current(place), kept.previous(place)
    here = release.here(root, release_files.version_of(root))
    return {
        "release": {"version": here.version, here.kind or "commit": here.mark, "name": state(root).get("name", "")},
        "stack": venvs.stack_of(env, stack).name if env else "",
        "stacks": list(venvs.stacks(stack.parent)),
        "rollback": {
            "release": previous(root),
            "environment": other.name if other else "",
            "stack": venvs.stack_of(other, stack).name if other else "",
        },
    }

"""The environments beside the one in use: the one before it is kept, so that one word goes back to it; older ones are taken away.

venv/kept.json holds a pair of names, and venv/current.txt says which of the two is in use: going back and forth is one small write, which
cannot be torn. Not here: making environments (builder.py). Standard library only, any Python 3.8 or newer.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lorabake import console, installer, paths, venvs
from lorabake.errors import UserError

PAIR = "kept.json"
PROGRESS = "_half-made.json"  # in an environment that is being made
RUNS_CODE = "import sys; print('told ' + sys.version.split()[0])"


def read(root: Path) -> dict[str, Any]:
    """{"pair": [name, name], "changed": seconds of the epoch}, or {}."""
    try:
        found = json.loads((root / PAIR).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("pair"), list) else {}


def changed(root: Path) -> float:
    """When the environment in use was last exchanged for another that is kept; 0 for never."""
    when = read(root).get("changed", 0)
    return float(when) if isinstance(when, (int, float)) else 0.0


def previous(root: Path) -> Path | None:
    """The kept environment: of the pair the one that is not in use."""
    env = venvs.current(root)
    others = [name for name in read(root).get("pair", ()) if isinstance(name, str) and name.isdigit() and (not env or name != env.name)]
    return next((root / name for name in others if (root / name).is_dir()), None)


def switch(root: Path, env: Path, *, keep: Path | None) -> None:
    """Make `env` the one in use; `keep` (else the one that is kept already) stays beside it."""
    keep = keep or previous(root)
    if keep and keep != env:
        paths.write_json(root / PAIR, {"pair": [env.name, keep.name], "changed": time.time()})
    paths.write_text(root / "current.txt", env.name + "\n")


def trouble(env: Path, stack: Path) -> str:
    """Why a kept environment cannot be gone back to, '' when it can. Takes a second: its files' sizes, and a start of its Python."""
    return venvs.why_not(env, stack) or installer.damage(env, RUNS_CODE)


def roll_back(root: Path, stack: Path) -> Path:
    """Go to the kept environment, which is looked at before; the one that was in use is kept in its place. Raises UserError."""
    env, before = previous(root), venvs.current(root)
    if env is None:
        raise UserError("there is no earlier environment to go back to", todo="setup --stack NAME makes one of another stack")
    reason = trouble(env, stack)
    if reason:
        stays = f"{before.name} stays in use" if before else "nothing was changed"
        raise UserError(
            f"the kept environment cannot be gone back to: {reason}", where=str(env), todo=f"{stays}; setup repairs it where needed"
        )
    switch(root, env, keep=before)
    return env


def described(env: Path, stack: Path) -> str:
    """'002 (stack current, torch 2.13.0+cpu)'"""
    stamp = venvs.read_stamp(env)
    return f"{env.name} (stack {venvs.stack_of(env, stack).name}, torch {stamp.get('torch', 'unknown')})"


def num_bytes(env: Path) -> int:
    """What an environment takes on the disk."""
    total = 0
    for folder, _, names in os.walk(env):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118  (30 000 of them)
    return total


def say_kept(root: Path, stack: Path) -> None:
    """One line on what is kept and how to free it."""
    env = previous(root)
    if env:
        size = console.size(num_bytes(env))
        console.say(f"  kept: {described(env, stack)}, {size}; back to it: setup --rollback; free the room: setup --forget-previous")


def forget(root: Path) -> str:
    """Take the kept environment away; a line on what came of it."""
    env = previous(root)
    if env is None:
        return "no earlier environment is kept"
    if in_use(env):
        raise UserError(f"something runs in the environment {env.name}", where=str(env), todo="wait for it or stop it, then start again")
    size = num_bytes(env)
    (root / PAIR).unlink(missing_ok=True)
    tidy(root)
    return f"the environment {env.name} is gone: {console.size(size)} freed"


def tidy(root: Path) -> None:
    """Take away every environment but the one in use and the kept one, where nothing runs in it, and what earlier removals left."""
    for leftover in (*root.glob("_old-*"), *root.glob("_tmp-*")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
    stay = {venvs.current(root), previous(root)}
    for env in venvs.numbered(root):
        if env not in stay and not in_use(env):
            aside = root / f"_old-{env.name}"
            with suppress(OSError):  # Windows refuses while any file in it is open
                env.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)


def in_use(env: Path) -> bool:
    """Whether a script runs in the environment, or a pip works on it."""
    with suppress(OSError, ValueError):
        if paths.process_alive(int(json.loads((env / PROGRESS).read_text(encoding="utf-8")).get("pid", 0))):
            return True
    if os.name != "posix":
        try:
            (env / venvs.IN_USE).unlink(missing_ok=True)  # Windows refuses to delete an open file
        except OSError:
            return True
        return False
    import fcntl

    try:
        number = os.open(env / venvs.IN_USE, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(number)
    return False


def refuse_while_running(root: Path) -> None:
    """Raises UserError while something of lorabake runs: its next step would find the files of another release."""
    busy = [env for env in venvs.numbered(root / "venv") if in_use(env)]
    if busy:
        todo = "wait for it, or stop it with Ctrl-C in its window; then start again"
        raise UserError("something of lorabake is running (a bake, a page), so nothing was changed", where=str(busy[0]), todo=todo)

"""What py/setup.py does with its words: make the environment, check this machine, and the rest. A function for each.

Not here: the words (setup_words.py), making the environment (builder.py). Standard library only, any Python 3.8 or newer.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path

from lorabake import console, environment, paths, shortcuts, venvs

SEEN = "_tried.json"  # in an environment: what was there when everything in it was last imported
NETWORK = "this folder is on the network: it works, but every start loads its programs from there; a folder on this PC is far quicker"


def main(options: argparse.Namespace) -> int:
    """Do what was asked; the exit code."""
    if options.shortcuts:
        shortcuts.desktop()  # before anything is set up
    if options.check or options.fix:
        return check(options)
    if options.update or options.version or options.rollback or options.forget_previous:
        return other_release(options)
    if options.make_offline:
        return make_offline(options)
    if options.undo_dlls:
        return undo_dlls()
    if options.no_shortcuts or options.undo_allow_scripts or options.allow_scripts:
        return change(options)
    return make(options)


def check(options: argparse.Namespace) -> int:
    """A row per check; 1 when one says FAIL. With --fix: do what that row says, then look at it again."""
    from lorabake import doctor, doctor_fixes, doctor_table

    console.say("looking at this machine, which takes some seconds")
    found = doctor.checks()
    if options.fix:
        if doctor_fixes.fix(options.fix, found):
            found = doctor.checks()
        found = doctor_fixes.rows_of(options.fix, found)
    if options.json:
        console.result(doctor_table.to_json(found))
    elif found:
        console.result(doctor_table.to_text(found, setup=doctor.STARTED, width=doctor_table.columns()))
    return doctor_table.exit_code(found)


def make_offline(options: argparse.Namespace) -> int:
    """Fill a folder for a PC without network."""
    from lorabake import offline_make

    wish = offline_make.Wish(options.system, options.python, options.torch, options.stack, tuple(options.tagger))
    offline_make.make(Path(options.make_offline).expanduser().absolute(), wish)
    return 0


def other_release(options: argparse.Namespace) -> int:
    """Another release or environment in place of this one, or the room of the kept ones free."""
    from lorabake import releases

    if options.update:
        code = releases.update(Path(options.update).expanduser().absolute())
    elif options.version:
        code = releases.to_version(options.version)
    else:
        code = releases.roll_back() if options.rollback else releases.forget_previous()
    if options.json:
        console.result(json.dumps(releases.told()))
    return code


def change(options: argparse.Namespace) -> int:
    """What is changed outside our folder, or changed back, without looking at the environment."""
    from lorabake import offers

    if options.no_shortcuts:
        console.result(offers.drop_shortcuts(paths.ROOT))
    if options.undo_allow_scripts:
        console.result(offers.undo_allow_scripts())
    if options.allow_scripts:
        console.result(offers.allow_scripts())
    return make(options) if options.shortcuts else 0


def make(options: argparse.Namespace) -> int:
    """Make or repair the environment; then the rest of a first day: the doctor's table, what is offered, what to do next."""
    from lorabake import offers

    if str(paths.ROOT).startswith("\\\\"):
        console.say(NETWORK)
    if options.no_pause:
        os.environ.pop(offers.ASK, None)
    folder = Path(options.offline).expanduser().absolute() if options.offline else None
    if folder:
        from lorabake import offline

        options.stack = options.stack or offline.read(folder)["stack"]
    env = None if options.torch or options.stack or options.repair else quickly(paths.VENV)
    made = env is None
    if env is None:
        before = venvs.current(paths.VENV)
        env = environment.build(torch=options.torch, name=options.stack, offline=folder)
        paths.write_json(env / SEEN, {"packages": packages(env)})
        made = env != before
    if folder:
        offline.bring_taggers(folder, paths.MODELS / "taggers")
    python = str(environment.python_of(env))
    if options.json:
        from lorabake import releases

        console.result(json.dumps({"environment": str(env), "python": python, **releases.told()}))
        return 0
    console.result(f"the environment {env} is ready")
    if made:
        show(options)
    base = str(venvs.read_stamp(env).get("base", python))
    if options.shortcuts:
        console.result(offers.make_shortcuts(paths.ROOT, base))
    offers.finish(paths.ROOT, base, made=made, quiet=options.no_pause)
    if not made:
        console.say("nothing was to do (setup.bat -Repair looks at each of its files, -Check at this PC)")
    return 0


def undo_dlls() -> int:
    """Put back what was replaced in the current environment."""
    from lorabake import dlls

    console.result(dlls.undo(paths.VENV))
    return 0


def show(options: argparse.Namespace) -> None:
    """The doctor's table, after something was made; what it finds does not undo that."""
    from lorabake import doctor, doctor_table

    console.result(doctor_table.to_text(doctor.checks(), setup=doctor.STARTED, width=doctor_table.columns()))


def quickly(root: Path) -> Path | None:
    """The current environment where it is ready and holds the packages that it held when it was last tried, by a look at their lists."""
    from lorabake import dlls

    env = environment.ready(root=root)
    if env is None or dlls.wrong(env):
        return None
    try:
        seen = json.loads((env / SEEN).read_text(encoding="utf-8"))["packages"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return env if seen == packages(env) else None


def packages(env: Path) -> str:
    """A hash of what is installed: the top of site-packages with the size of each package's list of files."""
    entries = []
    with os.scandir(venvs.library_of(env)) as found:
        for entry in found:
            if entry.name == "__pycache__":
                continue
            record = Path(entry.path, "RECORD") if entry.name.endswith(".dist-info") else None
            entries.append(f"{entry.name} {record.stat().st_size if record and record.exists() else ''}")
    return hashlib.sha256("\n".join(sorted(entries)).encode("utf-8", "surrogateescape")).hexdigest()

"""`setup.py --check --fix N`: does what row N says, where that is something of ours; else it says what to type.

Not here: finding out what is wrong (doctor.py). Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lorabake import console, environment, offers, paths, venvs, web_mark
from lorabake.doctor_table import NAMES, Check, number_of, problems
from lorabake.errors import UsageError


def make_environment() -> None:
    """Make the environment, or a new one in the place of an unfit one."""
    env = environment.build()
    console.say(f"the environment {env} is ready")


def renew_environment() -> None:
    """A new environment in the place of one whose packages are whole, but not the pinned ones."""
    env = venvs.current(paths.VENV)
    stamp = venvs.read_stamp(env) if env else {}
    if not env or not stamp:
        make_environment()
        return
    paths.write_json(env / venvs.STAMP, {**stamp, "lock": "other packages than the pinned ones"})
    made = False
    try:
        make_environment()
        made = True
    finally:
        if not made:  # no network, no room: the one that is there is better than none
            paths.write_json(env / venvs.STAMP, stamp)


def unblock() -> None:
    """Take the mark of the web off our own scripts."""
    for path in web_mark.marked(paths.ROOT):
        console.say(f"  {path}" if web_mark.clear(path) else f"  {path}: the mark stays, it cannot be written")


def install_magick() -> None:
    """Let winget install ImageMagick: asked for by --fix, so not asked again."""
    console.say(offers.install_magick())


FIXES: Mapping[str, Callable[[], None]] = MappingProxyType(
    {"environment": make_environment, "packages": renew_environment, "unblock": unblock, "magick": install_magick}
)


def rows_of(word: str, found: list[Check]) -> list[Check]:
    """The rows that `word` names, by number or by name. Raises UsageError where no row can have it."""
    names = {str(number_of(name)): name for name in NAMES}
    name = names.get(word.strip()) or next((one for one in NAMES if one.lower() == word.strip().lower()), "")
    if not name:
        raise UsageError(f'no row is called "{word}"', allowed=f"--fix takes a row's number, 1 to {len(NAMES)}, or its name")
    return [check for check in found if check.name == name]


def fix(word: str, found: list[Check]) -> bool:
    """Do it; True when something was done, so that a second look is due. Raises UsageError."""
    named = rows_of(word, found)
    bad = problems(named)
    if not bad:
        what = "; ".join(f"{check.name}: {check.status}, {check.found}" for check in named) or "this machine has no such row"
        console.say(f"nothing to mend: {what}")
        return False
    done = False
    for check in bad:
        if check.action in FIXES and not done:
            console.say(f"{check.name}: {check.found}")
            FIXES[check.action]()
            done = True
        elif check.action not in FIXES:
            console.say(f"{check.name}: this is for you to do: {check.fix}" + (f"\n  {check.command}" if check.command else ""))
    return done

"""Questions to a person at a console, as after a right-click. Standard library only.

Not here: what paths look like in a console (typed_paths.py), windows to pick them in (pickers.py), the questions of a new profile
(interview.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from lorabake import console, pickers, typed_paths
from lorabake.errors import UsageError

Picker = Callable[[], "list[str] | None"]


def somebody_there() -> bool:
    """Whether a person could answer; a scheduled run gives its bakes no console (night_run.py)."""
    return bool(sys.stdin and sys.stdin.isatty())


def at_console() -> bool:
    """Whether stdin is a real console. Windows calls NUL one too, and a question to it is answered by nobody, at once."""
    if sys.platform != "win32":
        return somebody_there()
    import ctypes
    import msvcrt

    if not somebody_there():
        return False
    return bool(ctypes.windll.kernel32.GetConsoleMode(ctypes.c_void_p(msvcrt.get_osfhandle(0)), ctypes.byref(ctypes.c_uint())))


def line() -> str | None:
    """What is typed, without the spaces around it; None where the input was closed."""
    try:
        return input("> ").strip()
    except EOFError:
        return None


def answer(question: str) -> str:
    """What is typed, without quotes around it; "" for Enter alone."""
    console.say(question)
    return (line() or "").strip("\"'")


def paths_of(typed: str) -> list[str]:
    """The paths that were typed, dropped or pasted; `~` is the home folder."""
    bare = typed.strip()
    try:
        if bare and os.path.lexists(bare):  # a name may hold anything
            return [bare]
    except ValueError:  # a NUL in it
        pass
    return [os.path.expanduser(path) for path in typed_paths.split(typed)]  # noqa: PTH111  (Path.expanduser may raise)


def required(question: str, *, lacking: str, todo: str) -> str:
    """An answer that is one. Raises UsageError, saying what is `lacking`, where nobody answers."""
    found = answer(question) if somebody_there() else ""
    if not found:
        raise UsageError(lacking, todo=todo)
    return found


def required_paths(question: str, *, lacking: str, todo: str, pick: Picker | None = None) -> list[str]:
    """At least one path; `pick` opens a window to choose in, after Enter alone. Raises UsageError where nobody answers.

    `question` says what is wanted; how to answer is added here.
    """
    if not somebody_there():
        raise UsageError(lacking, todo=todo)
    if pick and pickers.screen():
        console.say(f"{question}\n  Drag it here or type it, then Enter. Enter alone opens a window to choose in.")
        typed = line()
        if typed is None:  # nobody is there to look at a window
            raise UsageError(lacking, todo=todo)
        if found := paths_of(typed) or pick():
            return found
        console.say("nothing was chosen in the window")
    console.say(f"{question}\n  Drag it here or type it, then Enter. Enter alone: stop.")
    found = paths_of(line() or "")
    if not found:
        raise UsageError(lacking, todo=todo)
    return found


def required_path(question: str, *, lacking: str, todo: str, pick: Picker | None = None) -> str:
    """Exactly one. Raises UsageError for several too."""
    found = required_paths(question, lacking=lacking, todo=todo, pick=pick)
    if len(found) > 1:
        raise UsageError(f"{len(found)} paths were given, and one is wanted", where=", ".join(found[:3]), todo=todo)
    return found[0]

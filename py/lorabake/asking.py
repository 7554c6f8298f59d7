"""Questions to a person at a console, as after a right-click. Standard library only."""

from __future__ import annotations

import sys

from lorabake import console
from lorabake.errors import UsageError


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


def answer(question: str) -> str:
    """What is typed, or dragged into the window, without the quotes that consoles put around names with spaces; "" for Enter alone."""
    console.say(question)
    try:
        return input("> ").strip().strip("\"'")
    except EOFError:  # Windows calls NUL a console
        return ""


def required(question: str, *, lacking: str, todo: str) -> str:
    """An answer that is one. Raises UsageError, saying what is `lacking`, where nobody answers."""
    found = answer(question) if somebody_there() else ""
    if not found:
        raise UsageError(lacking, todo=todo)
    return found

"""The end of the window, of the log-on or of Windows itself: one attempt to save before Windows ends this program.

Windows calls a handler in a thread of its own and ends the program when that returns, or after about 5 seconds:
learn.microsoft.com/windows/console/handlerroutine. Elsewhere a closed terminal is a signal (stopper.py). Standard library only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_S = 4.5
CLOSINGS = {2: "the closed window", 5: "the log-off", 6: "the shut-down of Windows"}  # CTRL_CLOSE_EVENT and so on, wincon.h


def handler(ask: Callable[[str], None], wait: Callable[[float], None] = time.sleep) -> Callable[[int], bool]:
    """What Windows calls: `ask` is told the reason, and the program gets the time to end by itself. Other events are others' to answer."""

    def on_event(event: int) -> bool:
        if event not in CLOSINGS:
            return False
        ask(CLOSINGS[event])
        wait(PATIENCE_S)  # when the program ends before, this thread ends with it
        return True

    return on_event


@contextmanager
def listening(ask: Callable[[str], None]) -> Iterator[None]:
    """While inside, a closing window calls `ask(reason)`."""
    if sys.platform != "win32":
        yield
        return
    import ctypes
    from ctypes import wintypes

    kind = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)
    set_handler = ctypes.WinDLL("kernel32", use_last_error=True).SetConsoleCtrlHandler
    set_handler.argtypes, set_handler.restype = [kind, wintypes.BOOL], wintypes.BOOL
    reasons: list[str] = []

    def told(reason: str) -> None:
        reasons.append(reason)
        ask(reason)

    called = kind(handler(told))
    set_handler(called, True)
    try:
        yield
    finally:
        if reasons:
            # Taking it away would wait for it to return, and then Windows ends the program before its last files are written.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(called))
        else:
            set_handler(called, False)

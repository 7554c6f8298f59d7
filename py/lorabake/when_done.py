"""--when-done: what the PC does when the baking has ended, after a count-down that a key, Ctrl-C or a file takes back.

Not here: the calls that do it (power.py). Standard library only, any Python 3.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from lorabake import asking, console, paths, power

COUNT_DOWN_S = 60
STOP_FILE = paths.ROOT / "stop"
WORDS = {"sleep": "goes to sleep", "hibernate": "hibernates", "shutdown": "is switched off"}
CURES = {
    "sleep": "powercfg /a says which kinds of sleep this PC has",
    "hibernate": "in a console of an administrator: powercfg /hibernate on",
}


def wanted(when_done: str | None, *, started: bool, closed: bool) -> str:
    """What is to be done, or "": nothing after a start that came too late (somebody has just switched the PC on), or a closed window."""
    return when_done if when_done in WORDS and started and not closed else ""


def end_with(action: str) -> None:
    """Count down, then do it; says so where it was taken back or refused. Never an error: the baking is done."""
    if not count_down(action):
        console.say("taken back: the PC stays on")
        return
    refusal = power.act(action)
    if refusal:
        cure = CURES.get(action, "")
        console.say(f"the PC stays on: {refusal}" + (f"\n  {cure}" if cure and sys.platform == "win32" else ""))


def count_down(action: str, *, seconds: int = COUNT_DOWN_S, pause: Callable[[float], None] = time.sleep) -> bool:
    """False when it was taken back: by a key in the console, by Ctrl-C, or by the file `stop` beside train.ps1."""
    STOP_FILE.unlink(missing_ok=True)
    live = asking.at_console()
    try:
        console.say(f"the PC {WORDS[action]} in {seconds} s; {'Enter, Ctrl-C or ' if live else ''}the file {STOP_FILE} takes it back")
        for left in range(seconds, 0, -1):
            if live:
                console.rewrite(f"{left} s")
            pause(1)
            if (live and key_pressed()) or STOP_FILE.exists():
                return False
    except KeyboardInterrupt:
        return False
    finally:
        STOP_FILE.unlink(missing_ok=True)
        if live:
            console.say("")
    return True


def key_pressed() -> bool:
    """Whether something was typed; it is taken away."""
    if sys.platform == "win32":
        import msvcrt

        found = msvcrt.kbhit()
        while msvcrt.kbhit():
            msvcrt.getwch()
        return found
    import select

    if not select.select([sys.stdin], [], [], 0)[0]:
        return False
    sys.stdin.readline()
    return True

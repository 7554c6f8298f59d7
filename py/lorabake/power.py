"""The PC's power: kept awake while something is baked; put to sleep or switched off. The thin layer over Windows' and Linux' own calls.

Not here: whether and when (when_done.py). Standard library only, any Python 3.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# SetThreadExecutionState: learn.microsoft.com/windows/win32/api/winbase/nf-winbase-setthreadexecutionstate
ES_CONTINUOUS, ES_SYSTEM_REQUIRED = 0x80000000, 0x00000001
SYSTEMCTL = {"sleep": "suspend", "hibernate": "hibernate", "shutdown": "poweroff"}
CALL_S = 60.0


@contextmanager
def awake() -> Iterator[None]:
    """While inside, the PC does not go to sleep by itself; its screen may. Without effect where the system has no such wish."""
    if sys.platform == "win32":
        import ctypes

        state = ctypes.WinDLL("kernel32").SetThreadExecutionState
        state.argtypes, state.restype = [ctypes.c_uint], ctypes.c_uint
        state(ES_CONTINUOUS | ES_SYSTEM_REQUIRED)
        try:
            yield
        finally:
            state(ES_CONTINUOUS)
        return
    inhibitor = _inhibitor()
    try:
        yield
    finally:
        if inhibitor and inhibitor.stdin:
            with suppress(OSError):
                inhibitor.stdin.close()
            inhibitor.wait()


def _inhibitor() -> subprocess.Popen[bytes] | None:
    """systemd's wish lasts as long as its `cat`, which ends with us, however we end."""
    program = shutil.which("systemd-inhibit")
    if not program:
        return None
    command = [program, "--what=sleep:idle", "--who=lorabake", "--why=a LoRA is being baked", "--mode=block", "cat"]
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True)


def act(action: str) -> str:
    """Do sleep, hibernate or shutdown. "" when the system took it, else what it said. Other programs' unsaved work is not forced away."""
    if os.name != "nt":
        return _program(["systemctl", SYSTEMCTL[action]])
    if action == "sleep":
        return _windows_sleep()
    program = os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "shutdown.exe")  # noqa: PTH118  (Windows only)
    # A wait longer than 0 would close other programs by force.
    return _program([program, "/h"] if action == "hibernate" else [program, "/s", "/t", "0"])


def _program(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=CALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
    return "" if done.returncode == 0 else said or f"{command[0]} gave {done.returncode}"


def _windows_sleep() -> str:
    """SetSuspendState(hibernate, force, without wake events): wake timers stay on, so that tomorrow's task can wake the PC."""
    if sys.platform != "win32":
        return "not on this system"
    import ctypes

    suspend = ctypes.WinDLL("powrprof", use_last_error=True).SetSuspendState
    suspend.argtypes, suspend.restype = [ctypes.c_ubyte] * 3, ctypes.c_ubyte
    return "" if suspend(0, 0, 0) else ctypes.FormatError(ctypes.get_last_error())

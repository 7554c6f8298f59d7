"""What `setup.py --check` asks Windows itself: registry values that every user may read. Nothing is decided here, nothing is changed.

Not here: the rows (doctor_system.py, doctor_folder.py) and disks (disks.py). Standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lorabake import path_rules

MEMORY = r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management"
VERSION = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion"
GUARD = r"SOFTWARE\Microsoft\Windows Defender\Windows Defender Exploit Guard\Controlled Folder Access"
# learn.microsoft.com: these keys are there while a restart is due
RESTARTS = (
    ("installed updates", r"SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired"),
    ("changed parts of Windows", r"SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending"),
)


@dataclass(frozen=True)
class Seen:
    """Windows' answers. None is a value that is not there or may not be read."""

    version: tuple[int, int, int]
    display: str
    long_paths: bool
    page_files: Sequence[str] | None
    guard: int | None
    guarded: tuple[str, ...]
    restarts: tuple[str, ...]


def look() -> Seen | None:
    """Everything at once; None where this is no Windows."""
    if sys.platform != "win32":
        return None
    version = sys.getwindowsversion()
    build = value(VERSION, "CurrentBuildNumber")  # getwindowsversion's is that of a compatibility mode
    number = int(build) if isinstance(build, str) and build.isdigit() else version.build
    files = value(MEMORY, "PagingFiles")
    guard = value(GUARD, "EnableControlledFolderAccess")
    return Seen(
        version=(version.major, version.minor, number),
        display=str(value(VERSION, "DisplayVersion") or value(VERSION, "ReleaseId") or ""),
        long_paths=path_rules.long_paths_enabled(),
        page_files=[files] if isinstance(files, str) else files,
        guard=guard if isinstance(guard, int) else None,
        guarded=tuple(value_names(GUARD + r"\ProtectedFolders")),
        restarts=tuple(name for name, key in RESTARTS if there(key)),
    )


def value(key: str, name: str) -> Any:
    """A value of HKEY_LOCAL_MACHINE, None where it is not there or not for us."""
    if sys.platform != "win32":
        return None
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
            return winreg.QueryValueEx(opened, name)[0]
    except OSError:
        return None


def value_names(key: str) -> list[str]:
    """The names of a key's values, [] where it is not there."""
    if sys.platform != "win32":
        return []
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
            return [winreg.EnumValue(opened, place)[0] for place in range(winreg.QueryInfoKey(opened)[1])]
    except OSError:
        return []


def there(key: str) -> bool:
    """Whether a key of HKEY_LOCAL_MACHINE is there."""
    if sys.platform != "win32":
        return False
    import winreg

    try:
        winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key).Close()
    except OSError:
        return False
    return True

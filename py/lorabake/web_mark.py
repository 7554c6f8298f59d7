"""The mark of the web: what browsers put on files from the internet, and on all that Windows unpacks from a marked zip.

A marked .ps1 asks before each start, or does not run at all. Only our own scripts are looked at. The mark is a second stream of the file
on NTFS: https://learn.microsoft.com/openspecs/windows_protocols/ms-fscc/6e3f7352-d11c-4d76-8c39-2516a9df36e8
Other systems and disks have none. Standard library only.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

STREAM = ":Zone.Identifier"
INTERNET = 3  # 0 this PC, 1 the local network, 2 trusted, 3 the internet, 4 restricted
KINDS = ("*.ps1", "*.bat", "ps/*.psm1", "py/**/*.py")


def marked(root: Path, *, read: Callable[[Path], str | None] | None = None) -> list[Path]:
    """Our own scripts under `root` that carry the mark; `read` gives the mark's text or None, for tests."""
    look = read or read_mark
    return [path for kind in KINDS for path in sorted(root.glob(kind)) if hinders(look(path))]


def hinders(text: str | None) -> bool:
    """Whether a mark's text says internet; one that cannot be understood counts too."""
    if text is None:
        return False
    zone = re.search(r"ZoneId\s*=\s*(\d+)", text)
    return zone is None or int(zone[1]) >= INTERNET


def read_mark(path: Path) -> str | None:
    """The text of the mark, None where there is none."""
    if sys.platform != "win32":
        return None
    try:
        with open(f"{path}{STREAM}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123  (a stream is no path of its own)
            return file.read()
    except OSError:
        return None


def clear(path: Path) -> bool:
    """Take the mark away; the file itself stays as it is. False where that was not possible."""
    with suppress(OSError):
        os.remove(f"{path}{STREAM}")  # noqa: PTH107
        return True
    return False

"""A notification of the system: Windows' own toast through ps/toast.ps1, notify-send on Linux. Never an error: it is a courtesy.

Standard library only, any Python 3.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from xml.sax.saxutils import escape

from lorabake import paths, registration

CALL_S = 30.0
MOST = 300  # characters of a text that a toast shows
NOT_IN_XML = dict.fromkeys((*range(9), 11, 12, *range(14, 32)), " ")


def xml(title: str, text: str) -> str:
    """The toast's content: learn.microsoft.com/windows/apps/design/shell/tiles-and-notifications/toast-schema."""
    lines = "".join(f"<text>{escape(part[:MOST].translate(NOT_IN_XML))}</text>" for part in (title, text) if part)
    return f'<toast><visual><binding template="ToastGeneric">{lines}</binding></visual></toast>'


def show(title: str, text: str) -> None:
    """Show it where the system can; nothing happens where it cannot."""
    with suppress(OSError, subprocess.SubprocessError):
        if os.name == "nt":
            _windows(title, text)
        elif shutil.which("notify-send"):
            _quietly(["notify-send", "--app-name=lorabake", "--", title, escape(text)])


def _windows(title: str, text: str) -> None:
    number, name = tempfile.mkstemp(suffix=".xml", prefix="lorabake-")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(xml(title, text))
        script = str(paths.ROOT / "ps" / "toast.ps1")
        _quietly([registration.command_of(os.environ), *registration.HOW, script, "-Path", name])
    finally:
        Path(name).unlink(missing_ok=True)


def _quietly(command: list[str]) -> None:
    nowhere = subprocess.DEVNULL
    subprocess.run(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, timeout=CALL_S, check=False)

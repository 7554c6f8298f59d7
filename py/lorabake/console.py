"""What a person sees in the console: lines, one progress bar, durations and sizes. ASCII in our own words.

Results go to stdout, everything else to stderr, so that a result can be piped. Not here: log files (runlog.py) and error texts (errors.py).
Runs before anything is installed, on any Python 3: standard library only.
"""

from __future__ import annotations

import io
import logging
import shutil
import sys
import time
from contextlib import suppress
from typing import TextIO

PLAIN_EVERY_S = 10.0  # between two progress lines where the output is a file or a pipe
REDRAW_EVERY_S = 0.1
BAR_CELLS = 24
MINUTE, HOUR = 60, 3600


def prepare() -> None:
    """UTF-8 on stdout and stderr; a character that a stream still cannot show becomes '?' instead of an exception (cp1252 consoles)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    # On some processors bitsandbytes warns about a kernel for 4-bit models, which nothing here uses.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def say(text: str) -> None:
    """One message for the person, on stderr. Where its window was closed nobody reads it, and the work goes on to its end."""
    with suppress(OSError):
        _write(sys.stderr, text)


def result(text: str) -> None:
    """One line of the result, on stdout."""
    _write(sys.stdout, text)


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # pythonw and some schedulers give a process no streams at all
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    stream.flush()


def duration(seconds: float) -> str:
    """'0.4 s', '12 s', '3 min 20 s', '1 h 05 min'."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE:02} min"


def size(num_bytes: float) -> str:
    """'512 bytes', '36.1 MB', '2.4 GB': powers of 1024, as Explorer counts."""
    if abs(num_bytes) < 1024:
        return f"{num_bytes:.0f} bytes"
    for power, unit in enumerate(("KB", "MB", "GB"), start=1):
        if abs(num_bytes) < 1024 ** (power + 1):
            return f"{num_bytes / 1024**power:.1f} {unit}"
    return f"{num_bytes / 1024**4:.1f} TB"


class Bar:
    """Progress of `total` things: one line redrawn on a terminal, else a plain line every ten seconds. Also a context manager."""

    def __init__(self, total: int, label: str, unit: str = "it") -> None:
        self.total, self.label, self.unit = total, label, unit
        self.started = time.monotonic()
        self.first: int | None = None  # where a continued job began, so that its speed is not flattered
        self.done, self.note = 0, ""
        self.shown_at: float | None = None
        self.shown_done = -1
        self.live = bool(sys.stderr and sys.stderr.isatty())

    def update(self, done: int, note: str = "") -> None:
        """`done` of the total are finished; `note` ('loss 0.1034') stands beside the counts until the next call."""
        if self.first is None:
            self.first, self.started = done, time.monotonic()  # the first one may hold a warm-up that the others do not
        self.done, self.note = done, note
        now = time.monotonic()
        due = self.shown_at is None or now - self.shown_at >= (REDRAW_EVERY_S if self.live else PLAIN_EVERY_S)
        if due or (self.live and done >= self.total):
            self._show(now)

    def text(self) -> str:
        """The line without the drawn bar: counts, speed, time left, note."""
        elapsed_s = time.monotonic() - self.started
        advanced = self.done - (self.first or 0)
        parts = [f"{self.label} {self.done}/{self.total}"]
        if advanced > 0 and elapsed_s > 0:
            per_second = advanced / elapsed_s
            parts.append(f"{per_second:.2f} {self.unit}/s" if per_second >= 1 else f"{1 / per_second:.2f} s/{self.unit}")
            parts.append(f"{duration((self.total - self.done) / per_second)} left" if self.done < self.total else "")
        return "  ".join([part for part in parts if part] + ([self.note] if self.note else []))

    def close(self) -> None:
        """End the line; a plain output gets its last state unless it was just shown."""
        if self.shown_at is None:
            return
        if self.live or self.shown_done != self.done:
            self._show(time.monotonic())
        if self.live:
            say("")
        self.shown_at = None

    def _show(self, now: float) -> None:
        self.shown_at, self.shown_done = now, self.done
        if not self.live:
            say(self.text())
            return
        filled = BAR_CELLS * min(self.done, self.total) // max(self.total, 1)
        line = f"[{'#' * filled}{'.' * (BAR_CELLS - filled)}] {self.text()}"
        rewrite(line)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def rewrite(line: str) -> None:
    """Draw over the current terminal line on stderr, cut to its width (a wrapped line could not be redrawn)."""
    width = shutil.get_terminal_size().columns - 1
    with suppress(OSError):  # see say
        sys.stderr.write("\r" + line[:width].ljust(width))
        sys.stderr.flush()

"""When to stop: Ctrl-C, a polite kill, a closed window, a file named `stop`, or the time that was given; asked between two steps, so that
the state is saved within one step.

Not here: saving (bake.py) and the exit code (errors.py).
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType

from lorabake import closing

SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")  # the third is Windows' Ctrl-Break, the last a terminal's closed window


class Stopper:
    """`reason()` is None while the run may go on. A second Ctrl-C ends at once. `end` is by this PC's clock."""

    def __init__(self, stop_files: tuple[Path, ...], end: datetime | None = None, clock: Callable[[], datetime] = datetime.now) -> None:
        self.stop_files, self.end, self.clock = stop_files, end, clock
        self.asked: str | None = None

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = {"SIGINT": "Ctrl-C", "SIGHUP": "the closed window"}.get(name := signal.Signals(number).name, name)

    def on_closing(self, reason: str) -> None:
        self.asked = self.asked or reason

    def reason(self) -> str | None:
        if self.asked is None:
            for file in self.stop_files:
                if file.exists():
                    file.unlink(missing_ok=True)
                    self.asked = f"the file {file.name}"
        if self.asked is None and self.end and self.clock() >= self.end:
            self.asked = f"the end that was given, {self.end:%H:%M},"
        return self.asked

    @contextmanager
    def listening(self) -> Iterator["Stopper"]:
        """Signal handlers in place for the time of a training; the ones before come back afterwards."""
        wanted = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
        # a program that was started with nohup outlives its window
        wanted = [number for number in wanted if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self.on_signal) for number in wanted}
        try:
            with closing.listening(self.on_closing):
                yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Every:
    """True once per `minutes`; never when minutes is 0."""

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.clock = minutes * 60, clock
        self.last = clock()

    def due(self) -> bool:
        if not self.seconds or self.clock() - self.last < self.seconds:
            return False
        self.reset()
        return True

    def reset(self) -> None:
        self.last = self.clock()

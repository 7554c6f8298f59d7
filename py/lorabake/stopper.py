"""When to stop: Ctrl-C, a polite kill, or a file named `stop`; asked between two steps, so that the state is saved within one step.

Not here: saving (bake.py) and the exit code (errors.py).
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class Stopper:
    """`reason()` is None while the run may go on. A second Ctrl-C ends at once."""

    def __init__(self, stop_files: tuple[Path, ...]) -> None:
        self.stop_files = stop_files
        self.asked: str | None = None

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name

    def reason(self) -> str | None:
        if self.asked is None:
            for file in self.stop_files:
                if file.exists():
                    file.unlink(missing_ok=True)
                    self.asked = f"the file {file.name}"
        return self.asked

    @contextmanager
    def listening(self) -> Iterator["Stopper"]:
        """Signal handlers in place for the time of a training; the ones before come back afterwards."""
        wanted = [signal.SIGINT, signal.SIGTERM, *([signal.SIGBREAK] if hasattr(signal, "SIGBREAK") else [])]
        before = {number: signal.signal(number, self.on_signal) for number in wanted}
        try:
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

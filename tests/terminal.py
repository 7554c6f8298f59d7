"""A program in a pseudo terminal: what a person sees in a console, and what they type. Linux only."""

import os
import pty
import re
import select
import signal
import time
from pathlib import Path


class Terminal:
    """Starts a program that believes it has a console. A context manager: at the end the program is gone."""

    def __init__(self, command: list[str], *, cwd: Path, columns: int = 120) -> None:
        self.seen = b""
        self.code: int | None = None
        self.pid, self.number = pty.fork()
        if self.pid == 0:  # the child
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell that starts tests in the background has Ctrl-C ignored in all of them
            os.chdir(cwd)
            os.environ.update(COLUMNS=str(columns), LINES="40")
            os.execvp(command[0], command)

    def text(self) -> str:
        """Everything shown so far, without colours and the like; Wine moves the cursor where others write spaces."""
        text = re.sub(r"\x1b\[(\d*)C", lambda match: " " * int(match[1] or 1), self.seen.decode("utf-8", "replace"))
        return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\a]*\a)", "", text)

    def read(self, timeout_s: float) -> bool:
        """Take in what has come; False when the program has ended."""
        if not select.select([self.number], [], [], timeout_s)[0]:
            return True
        try:
            data = os.read(self.number, 65536)
        except OSError:  # how Linux says that the other side is closed
            data = b""
        self.seen += data
        return bool(data)

    def expect(self, words: str, *, timeout_s: float) -> None:
        """Wait until `words` stand on the screen; AssertionError with the screen when they do not come."""
        deadline = time.monotonic() + timeout_s
        while words not in self.text():
            alive = self.read(0.2)
            assert words in self.text() or (alive and time.monotonic() < deadline), f"{words!r} did not come; the screen:\n{self.text()}"

    def expect_times(self, words: str, times: int, *, timeout_s: float) -> None:
        """Wait until the program has begun `times` lines with `words`; AssertionError with the screen when it does not."""
        deadline = time.monotonic() + timeout_s
        while self.text().replace("\r", "\n").count(f"\n{words}") < times:
            alive = self.read(0.2)
            assert alive and time.monotonic() < deadline, f"{words!r} did not come {times} times; the screen:\n{self.text()}"

    def type(self, keys: str) -> None:
        """Press keys; Enter is a carriage return."""
        os.write(self.number, keys.encode())

    def wait(self, *, timeout_s: float) -> int:
        """The exit code; AssertionError with the screen when the program does not end."""
        deadline = time.monotonic() + timeout_s
        while self.read(0.2):
            assert time.monotonic() < deadline, f"it did not end; the screen:\n{self.text()}"
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.number)

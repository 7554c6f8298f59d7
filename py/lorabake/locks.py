"""One job at a time on a folder, by a file that names the process which holds it."""

import json
import os
import time
from pathlib import Path
from typing import Any

import psutil

from lorabake import paths
from lorabake.errors import UserError

CLOCK_SLACK_S = 60.0  # a clock may be set while a job runs


class Lock:
    """One job at a time on `folder`: a file there with the holder's process number; a dead holder's lock is taken over.

    `busy` is the sentence for whoever comes second: "this LoRA is being baked right now".
    """

    def __init__(self, folder: Path, busy: str, *, name: str = "lock.json") -> None:
        self.path, self.busy = folder / name, busy

    def __enter__(self) -> "Lock":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"pid": os.getpid(), "since": time.time()})
        for _ in range(2):
            try:
                with self.path.open("x", encoding="utf-8") as file:
                    file.write(text)
                return self
            except FileExistsError:
                record = _record(self.path)
                holder = record.get("pid")
                if isinstance(holder, int) and holder != os.getpid() and self.held(holder, record.get("since")):
                    raise UserError(
                        self.busy,
                        where=f"process {holder}, {self.path}",
                        todo="wait for it, or stop it with Ctrl-C in its window",
                    ) from None
                self.path.unlink(missing_ok=True)
        raise UserError("the lock of this folder keeps coming back", where=str(self.path), todo="start only one such job at a time")

    @staticmethod
    def held(pid: int, since: object) -> bool:
        """Whether the process that wrote the lock still runs, and not another that got its number, as after a power cut."""
        if not paths.process_alive(pid):
            return False
        try:
            return not isinstance(since, int | float) or psutil.Process(pid).create_time() < since + CLOCK_SLACK_S
        except psutil.Error:
            return True

    def __exit__(self, *exc: object) -> None:
        if _record(self.path).get("pid") == os.getpid():
            self.path.unlink(missing_ok=True)


def dataset(folder: Path) -> Lock:
    """The lock of whatever changes a dataset."""
    return Lock(folder, "another job is at work in this folder", name="_lock.json")


def _record(path: Path) -> dict[str, Any]:
    """What stands in a lock; {} where it is gone or torn."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

"""A job of py/flatten.py or py/tag.py in a process of its own to which something happens, for test_mishaps.py.

mishap_child.py nobody SCRIPT WORDS...     as a user who may write only where anybody may, in spite of the tests being root's
mishap_child.py dies=N SCRIPT WORDS...     killed before the N-th time that something is put on the disk; 0: only counts them
mishap_child.py waits=FILE SCRIPT WORDS... stops inside the job until FILE is there, and makes FILE.inside when it does
"""

import importlib
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from lorabake import environment, errors, journal, repaint

NOBODY = 65534


def become_nobody(script: str) -> None:
    """With all that a job imports on its way imported before: Python's own folder may not be anybody's to read."""
    environment.ensure(script)
    environment.ensure = lambda script: None  # the script asks again, and may not even read Python where that is in root's own folder
    repaint.imagemagick()
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


class Counted:
    """Counts what is put on the disk, and kills this process before one of them."""

    def __init__(self, dies_at: int) -> None:
        self.dies_at, self.count = dies_at, 0
        journal.os.fsync = self.before(os.fsync)
        for name in ("replace", "hardlink_to", "unlink", "mkdir"):
            setattr(journal.Path, name, self.before(getattr(journal.Path, name)))

    def before(self, call):
        def wrapped(*args, **kwargs):
            self.count += 1
            if self.count == self.dies_at:
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
                time.sleep(60)
            return call(*args, **kwargs)

        return wrapped


def wait_inside(go: Path) -> None:
    add = journal.Recorder.add

    def waiting(self, changes):
        go.with_name(go.name + ".inside").touch()
        end = time.monotonic() + 60
        while not go.exists() and time.monotonic() < end:
            time.sleep(0.01)
        add(self, changes)

    journal.Recorder.add = waiting


def main() -> None:
    mishap, script, *words = sys.argv[1:]
    module = importlib.import_module(script)
    sys.argv = [script, *words]
    name, _, value = mishap.partition("=")
    counted = Counted(int(value)) if name == "dies" else None
    if name == "nobody":
        importlib.import_module("lorabake.flattener")
        importlib.import_module("lorabake.tag_job")
        become_nobody(str(module.__file__))
    if name == "waits":
        wait_inside(Path(value))
    try:
        errors.run(module.main)
    finally:
        if counted:
            print(f"count={counted.count}", file=sys.stderr)


if __name__ == "__main__":
    main()

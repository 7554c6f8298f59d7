"""A run that looks after itself: the one that the Task Scheduler starts, and any with --when-done.

The baking is a child process, whatever may happen to it; here are its end time, its log, the notification and the PC's own end. Not here:
which profiles and in which order (jobs.py).
"""

import os
import subprocess
import sys
import time
from argparse import Namespace
from datetime import datetime
from pathlib import Path

from lorabake import console, errors, jobs, night_times, paths, power, task_notes, toast, when_done
from lorabake.errors import Stopped
from lorabake.night_times import Mark
from lorabake.task_notes import MINUTE, Last


def run(options: Namespace) -> int:
    """The exit code of the child. Raises Stopped for a start that comes past the end."""
    mark = night_times.read_mark(options.scheduled) if options.scheduled else None
    now = datetime.now()
    start = night_times.latest_start(mark, now) if mark else now
    end = night_times.end_after(start, options.stop_by) if options.stop_by else None
    if end and end <= now:
        raise too_late(mark, start, end)
    closed: list[str] = []
    began = time.monotonic()
    log = new_log(mark, now) if mark else None
    with power.awake():
        command = child_command(options, end, unattended=bool(mark))
        code = logged(command, log, closed) if log else jobs.run_child(command, closed)
    text = f"{status(code)} after {console.duration(time.monotonic() - began)}"
    if mark and log:
        task_notes.note_end(mark.name, Last(f"{now:{MINUTE}}", f"{datetime.now():{MINUTE}}", code, str(log)))
    action = when_done.wanted(options.when_done, started=True, closed=bool(closed))
    announce(mark.name if mark else "", text, log, action)
    if action:
        when_done.end_with(action)
    return code


def status(code: int) -> str:
    return "some jobs failed" if code == errors.QueueFailed.exit_code else jobs.STATUS.get(code, "failed")


def too_late(mark: Mark | None, start: datetime, end: datetime) -> Stopped:
    """Noted like any other end. Nothing is done to the PC: somebody has just switched it on."""
    was_off = f"it was to start {start:{MINUTE}}, when the PC was off, asleep or on its battery" if mark else ""
    error = Stopped(f"nothing was started: the end that was given, {end:{MINUTE}}, is past", where=was_off)
    if mark:
        log = errors.write_log(f"{error}\n", kind="night")
        now = f"{datetime.now():{MINUTE}}"
        task_notes.note_end(mark.name, Last(now, now, errors.STOPPED, str(log)))
        announce(mark.name, error.what, log, "")
    return error


def child_command(options: Namespace, end: datetime | None, *, unattended: bool) -> list[str]:
    """train.py again, as if typed by hand; unattended, profiles with mistakes do not hold up the others."""
    words = [f"--set={word}" for word in options.set]
    words += [f"--{name}" for name, wanted in (("fresh", options.fresh), ("skip-bad", options.skip_bad or unattended)) if wanted]
    words += [f"--stop-by={end:%Y-%m-%dT%H:%M}"] if end else []
    return [sys.executable, str(paths.ROOT / "py" / "train.py"), *words, "--", *options.profile_path]


def new_log(mark: Mark, now: datetime) -> Path:
    return errors.write_log(f"{mark.name}, {now:{MINUTE}}\n\n", kind="night")


def logged(command: list[str], log: Path, closed: list[str]) -> int:
    """The child's exit code; what it shows goes to the console and into the log. Ctrl-C and a closed window are the child's to answer."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert child.stdout
    with jobs.left_to_the_child(closed), open(log if log.is_file() else os.devnull, "ab") as file:  # noqa: PTH123  (nul too)
        for line in iter(child.stdout.readline, b""):
            file.write(line)
            file.flush()
            console.say(line.decode("utf-8", "replace").rstrip("\r\n"))
        return jobs.code_of(child)


def announce(name: str, text: str, log: Path | None, action: str) -> None:
    parts = (
        [f"the PC {when_done.WORDS[action]} in {when_done.COUNT_DOWN_S} s, the file {when_done.STOP_FILE} takes it back"] if action else []
    )
    parts += [f"log: {log}"] if log else []
    for line in (f"\n{name or 'the bake'}: {text}", *parts[-1:]):
        console.say(line)
    toast.show(f"lorabake: {name or 'the bake'}", "\n".join([text, *parts]))

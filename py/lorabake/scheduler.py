"""schtasks.exe, the thin layer: put a task in, ask about it, take it away. And who is logged on.

What it prints is in the PC's language and code page, so only exit codes and the places of columns are read. Not here: what a task is
(registration.py) and what we remember of it (task_notes.py). Standard library only.
"""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lorabake import console, paths
from lorabake.errors import UserError
from lorabake.registration import FOLDER, Task, path_of, xml

CALL_S = 60.0
# Columns of schtasks /Query /V /FO CSV, the same in every language.
NAME, NEXT, STATUS, LAST, RESULT = 1, 2, 3, 5, 6
RESULTS = {  # codes of the scheduler itself: learn.microsoft.com/windows/win32/taskschd/task-scheduler-error-and-success-constants
    0x41303: "has not run yet",
    0x41301: "runs now",
    0x41306: "was ended in the Task Scheduler",
    0x8004131F: "ran already when it was to start",
    0x80070002: "train.ps1 or PowerShell is not where it was",
    0x8007010B: "the folder of lorabake is not where it was",
    0x800710E0: "could not start: nobody was logged on, or the PC ran on its battery",
    0xC000013A: "its window was closed",
}


@dataclass(frozen=True)
class State:
    """What the scheduler says of a task, in its own language; `result` is the exit code of the last run or a code of RESULTS."""

    name: str
    next_run: str
    status: str
    last_run: str
    result: int


def there() -> bool:
    """Whether this system has the Task Scheduler."""
    return os.name == "nt"


def create(task: Task, file: Path) -> None:
    """Put the task in, in place of one of the same name. `file` is written, kept, and given to schtasks.exe. Raises UserError."""
    with paths.replacing(file) as aside:
        aside.write_bytes(xml(task).replace("\n", "\r\n").encode("utf-16"))
    done = ask("/Create", "/TN", path_of(task.name), "/XML", str(file), "/F")
    if done.returncode != 0:
        todo = f"schtasks /Create /TN {FOLDER}\\test /XML <file> /F in a console says more; rules of a workplace may forbid tasks"
        raise UserError("the Task Scheduler did not take the task", where=said(done), allowed=f"what it was given: {file}", todo=todo)


def state(name: str) -> State | None:
    """What the scheduler says of a task of ours; None where it has none of this name."""
    done = ask("/Query", "/TN", path_of(name), "/V", "/FO", "CSV", "/NH")
    if done.returncode != 0:
        return None
    return next(iter(rows(done.stdout)), State(name, "", "", "", 0x41303))


def names() -> list[str]:
    """The tasks in our folder. Letters that the console's code page lacks are lost in them."""
    done = ask("/Query", "/TN", f"\\{FOLDER}\\", "/V", "/FO", "CSV", "/NH")
    return list(dict.fromkeys(row.name for row in rows(done.stdout))) if done.returncode == 0 else []


def delete(name: str) -> None:
    """Take a task away. Raises UserError."""
    done = ask("/Delete", "/TN", path_of(name), "/F")
    if done.returncode != 0:
        raise UserError(
            f"the Task Scheduler did not take {name} away",
            where=said(done),
            todo=f"open taskschd.msc, folder {FOLDER}, and delete it there",
        )


def rows(text: str) -> list[State]:
    """The rows of /Query /V /FO CSV /NH that are ours."""
    found = []
    for row in csv.reader(io.StringIO(text)):
        if len(row) > RESULT and row[NAME].lower().startswith(f"\\{FOLDER}\\"):
            number = int(row[RESULT]) if re.fullmatch(r"-?\d+", row[RESULT]) else 0
            found.append(State(row[NAME].split("\\", 2)[2], row[NEXT], row[STATUS], row[LAST], number & 0xFFFFFFFF))
    return found


def user() -> str:
    """Who is logged on: the SID, which has no letters of any language in it; DOMAIN\\name where Windows does not tell."""
    done = _run("whoami.exe", "/user", "/fo", "csv", "/nh")
    found = re.search(r"S-1-[\d-]+\d", done.stdout)
    return found[0] if found else f"{os.environ.get('USERDOMAIN', '.')}\\{os.environ.get('USERNAME', '')}"


def ask(*words: str) -> subprocess.CompletedProcess[str]:
    return _run("schtasks.exe", *words)


def said(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr or done.stdout).strip() or f"it gave {done.returncode}"


def _run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    full = str(Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / program)
    encoding = "oem" if os.name == "nt" else "utf-8"
    nowhere = subprocess.DEVNULL
    try:
        return subprocess.run(
            [full, *words], stdin=nowhere, capture_output=True, encoding=encoding, errors="replace", timeout=CALL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        console.say(f"{program}: {error}")
        return subprocess.CompletedProcess([full, *words], 1, "", str(error))

"""A night as the Task Scheduler is told it: a task, the command line that it starts, and the XML that schtasks.exe reads.

All of it functions of plain data. Not here: asking schtasks.exe (scheduler.py) and what a scheduled run does (night_run.py). The XML's
elements: Microsoft's Task Scheduler schema, learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema. Standard library only.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.sax.saxutils import escape

from lorabake.errors import UserError
from lorabake.night_times import Mark
from lorabake.train_words import NEXT_KEY

FOLDER = "lorabake"  # of the Task Scheduler's library: everything in it is ours
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SHELL = r"System32\WindowsPowerShell\v1.0\powershell.exe"  # in %SystemRoot%; every Windows has it there
HOW = ("-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File")


@dataclass(frozen=True)
class Night:
    """What was typed with --at, with full paths; `start` is the first one."""

    name: str
    profiles: tuple[str, ...]
    start: datetime
    repeat: str
    stop_by: str = ""
    when_done: str = "nothing"
    overrides: tuple[str, ...] = ()
    fresh: bool = False


@dataclass(frozen=True)
class Task:
    """What the Task Scheduler gets. `user` is a SID or DOMAIN\\name."""

    name: str
    user: str
    start: datetime
    repeat: str
    command: str
    arguments: str
    folder: str


def options_of(night: Night) -> list[tuple[str, str]]:
    """(option in Python's spelling, value) of the run itself; a switch has no value."""
    found = [("set", word) for word in night.overrides] + ([("fresh", "")] if night.fresh else [])
    found += [("stop-by", night.stop_by)] if night.stop_by else []
    found += [("when-done", night.when_done)] if night.when_done != "nothing" else []
    return [*found, ("scheduled", Mark(night.name, night.start, night.repeat).text())]


def launcher_words(night: Night) -> list[str]:
    """What is typed after train.ps1. powershell.exe -File takes a list as one word, and each parameter once."""
    joined = ",".join(night.overrides)
    if night.overrides and tuple(NEXT_KEY.split(joined)) != night.overrides:
        raise UserError(f'--set "{joined}" cannot be told to the Task Scheduler', todo="write it into the profile")
    words = ["-ProfilePath", ",".join(night.profiles)]
    for option, value in ([("set", joined)] if joined else []) + [pair for pair in options_of(night) if pair[0] != "set"]:
        words += ["-" + option.title().replace("-", ""), *([value] if value else [])]
    return [*words, "-NoPause"]


def python_words(night: Night) -> list[str]:
    """What is typed after train.py."""
    return [*(f"--{option}={value}" if value else f"--{option}" for option, value in options_of(night)), "--", *night.profiles]


def arguments(script: str, words: Sequence[str]) -> str:
    """The command line after powershell.exe: each word in quotes where it needs them, by the rules of Microsoft's C runtime."""
    return subprocess.list2cmdline([*HOW, script, *words])


def refuse_variables(line: str, variables: Iterable[str]) -> None:
    """The Task Scheduler puts the value of a variable in the place of %NAME%, and knows no way to write a percent sign itself."""
    known = {name.upper() for name in variables}
    for found in re.finditer("(?=%([^%]+)%)", line):
        if found[1].upper() in known:
            what = f"the Task Scheduler would read %{found[1]}% as a variable of Windows"
            raise UserError(what, where=line, todo="give the folder or file another name")


def command_of(variables: Mapping[str, str]) -> str:
    """PowerShell 5.1 by its full path; the environment's variables say where Windows is."""
    windows = variables.get("SystemRoot") or variables.get("SYSTEMROOT") or r"C:\Windows"
    return f"{windows}\\{SHELL}"


def xml(task: Task) -> str:
    """The task's XML: this user while logged on, without a password or rights, on mains power, once at a time, for as long as it takes.

    Priority 5 is a program's usual one; the scheduler's own 7 would give the processor, the disk and memory to everything else first.
    """
    lines = [
        '<?xml version="1.0" encoding="UTF-16"?>',
        '<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">',
        "  <RegistrationInfo>",
        "    <Author>lorabake</Author>",
        "    <Description>Bakes LoRAs. train.ps1 -List shows how it went, train.ps1 -Remove takes it away.</Description>",
        f"    <URI>{escape(path_of(task.name))}</URI>",
        "  </RegistrationInfo>",
        "  <Triggers>",
        *trigger(task),
        "  </Triggers>",
        "  <Principals>",
        '    <Principal id="Author">',
        f"      <UserId>{escape(task.user)}</UserId>",
        "      <LogonType>InteractiveToken</LogonType>",
        "      <RunLevel>LeastPrivilege</RunLevel>",
        "    </Principal>",
        "  </Principals>",
        "  <Settings>",
        "    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>",
        "    <DisallowStartIfOnBatteries>true</DisallowStartIfOnBatteries>",
        "    <StopIfGoingOnBatteries>true</StopIfGoingOnBatteries>",
        "    <StartWhenAvailable>true</StartWhenAvailable>",
        "    <WakeToRun>true</WakeToRun>",
        "    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>",
        "    <Priority>5</Priority>",
        "    <Enabled>true</Enabled>",
        "  </Settings>",
        '  <Actions Context="Author">',
        "    <Exec>",
        f"      <Command>{escape(task.command)}</Command>",
        f"      <Arguments>{escape(task.arguments)}</Arguments>",
        f"      <WorkingDirectory>{escape(task.folder)}</WorkingDirectory>",
        "    </Exec>",
        "  </Actions>",
        "</Task>",
    ]
    return "\n".join(lines) + "\n"


def trigger(task: Task) -> list[str]:
    """One start, or a calendar of them. A boundary without a time zone is the PC's own time, summer time included."""
    begin = [f"      <StartBoundary>{task.start:%Y-%m-%dT%H:%M:%S}</StartBoundary>", "      <Enabled>true</Enabled>"]
    if task.repeat == "once":
        return ["    <TimeTrigger>", *begin, "    </TimeTrigger>"]
    if task.repeat == "daily":
        days = ["      <ScheduleByDay>", "        <DaysInterval>1</DaysInterval>", "      </ScheduleByDay>"]
    else:
        named = DAYS[:5] if task.repeat == "weekdays" else (DAYS[task.start.weekday()],)
        days = ["      <ScheduleByWeek>", "        <WeeksInterval>1</WeeksInterval>", "        <DaysOfWeek>"]
        days += [*(f"          <{day} />" for day in named), "        </DaysOfWeek>", "      </ScheduleByWeek>"]
    return ["    <CalendarTrigger>", *begin, *days, "    </CalendarTrigger>"]


def path_of(name: str) -> str:
    """The task's place in the Task Scheduler's library."""
    return f"\\{FOLDER}\\{name}"


def linux_command(night: Night, command: Sequence[str]) -> str:
    """What does the same on Linux with systemd: a timer of this user. `command` is the Python and the script."""
    days = {"once": f"{night.start:%Y-%m-%d}", "daily": "*-*-*", "weekdays": "Mon..Fri", "weekly": f"{DAYS[night.start.weekday()][:3]}"}
    when = f"{days[night.repeat]} {night.start:%H:%M:%S}"
    return shlex.join(["systemd-run", "--user", f"--on-calendar={when}", *command, *python_words(night)])

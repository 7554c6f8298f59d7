"""What py/train.py does with its words: --at, --list and --remove here, the rest is jobs.py's or, where nobody watches, night_run.py's.

Before a task is registered everything is checked and planned, so that a typo is told in the evening. Not here: the task itself
(registration.py), schtasks.exe (scheduler.py).
"""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from lorabake import console, environment, jobs, night_run, night_times, paths, registration, scheduler, task_notes, when_done
from lorabake.errors import UserError
from lorabake.jobs import Planned
from lorabake.registration import Night, Task

WAKE_TIMERS = ("powercfg /setacvalueindex SCHEME_CURRENT SUB_SLEEP RTCWAKE 1", "powercfg /setactive SCHEME_CURRENT")


def main(options: Namespace) -> int:
    """Exit code of py/train.py."""
    if options.remove:
        return remove(options.remove)
    if options.list:
        return show_list()
    if options.at:
        return register(options, datetime.now())
    if options.scheduled or options.when_done in when_done.WORDS:
        return night_run.run(options)
    return jobs.main(options)


def register(options: Namespace, now: datetime) -> int:
    """Check, plan, register, say what was registered. Raises UserError where there is no Task Scheduler, with what does it there."""
    repeat = options.repeat or "once"
    start = night_times.first_start(options.at, now, repeat=repeat)
    end = night_times.window_end(start, options.stop_by, repeat=repeat) if options.stop_by else None
    typed = jobs.rejoined([str(item) for item in options.profile_path or jobs.choose()], os.path.exists)
    planned, _ = jobs.checked(Namespace(**{**vars(options), "profile_path": typed}), must_be_right=True)
    profiles = tuple(os.path.abspath(path) for path in typed)  # noqa: PTH100  (Path.resolve would follow links)
    more = {"stop_by": options.stop_by or "", "when_done": options.when_done or "nothing"}
    night = Night(name_of(planned), profiles, start, repeat, overrides=tuple(options.set), fresh=options.fresh, **more)
    for line in estimate(planned, start, end):
        console.say(line)
    if not scheduler.there():
        command = [sys.executable, str(paths.ROOT / "py" / "train.py")]
        what = "the Task Scheduler is Windows' own, and this is another system; all profiles are right"
        raise UserError(what, todo=f"to start it then: {registration.linux_command(night, command)}")
    night, replaced = with_a_free_name(night)
    line = registration.arguments(str(paths.ROOT / "train.ps1"), registration.launcher_words(night))
    registration.refuse_variables(f"{paths.ROOT} {line}", os.environ)
    command_line = registration.command_of(os.environ)
    task = Task(night.name, scheduler.user(), night.start, repeat, command_line, line, str(paths.ROOT))
    scheduler.create(task, task_notes.place(night.name, "xml"))
    task_notes.remember(night)
    for line in told(night, end, now, replaced=replaced):
        console.say(line)
    return 0


def name_of(planned: Sequence[Planned]) -> str:
    """The first LoRA's name, and how many more there are."""
    if not planned:
        raise UserError("no profile is left to bake", todo="mend the mistakes above")
    return planned[0].plan.name + (f"+{len(planned) - 1}" if len(planned) > 1 else "")


def with_a_free_name(night: Night) -> tuple[Night, bool]:
    """Under the name of a task that bakes the same profiles, which is replaced (True), or under one that no task has."""
    taken = {known.name.casefold(): known for known in task_notes.nights()}
    for number in range(1, len(taken) + 2):
        name = night.name if number == 1 else f"{night.name}-{number}"
        known = taken.get(name.casefold())
        if known is None or known.profiles == night.profiles:
            return replace(night, name=name), known is not None
    raise AssertionError("more names than tasks")


def estimate(planned: Sequence[Planned], start: datetime, end: datetime | None) -> list[str]:
    """How long it will take, beside how long there is."""
    seconds = [job.plan.costs.train_seconds for job in planned]
    samples = sum(job.plan.costs.sample_seconds or 0 for job in planned)
    total = None if None in seconds else sum(second or 0 for second in seconds) + samples
    names = ", ".join(f"{job.plan.name} ({job.plan.total_steps} steps)" for job in planned)
    baking = "how long this card takes is not known beforehand" if total is None else f"about {console.duration(total)} of baking (rough)"
    if end is None:
        return [names, baking]
    window = night_times.seconds_between(start, end)
    short = " - not enough: what is missing goes on with the next start" if total is not None and total > window else ""
    return [names, f"{baking}, {console.duration(window)} until {end:%H:%M}{short}"]


def told(night: Night, end: datetime | None, now: datetime, *, replaced: bool) -> list[str]:
    """What was registered, in plain words."""
    again = "" if night.repeat == "once" else f", then {night.repeat}"
    until = f"; stops by {end:%H:%M} with its state saved (exit code 13)" if end else ""
    lines = [f"\n{'replaced' if replaced else 'registered'}: {night.name}"]
    lines += [f"  starts {night_times.said(night.start, now)}{again}{until}"]
    lines += ["  as you, while you are logged on: lock the screen or let it sleep, but do not log off; on mains power"]
    lines += ["  logging off, shutting down or closing its window stops it: the next start goes on from the state saved last"]
    lines += ["  it wakes the PC from sleep, where wake timers are on; this puts them on:", *(f"    {command}" for command in WAKE_TIMERS)]
    if night.when_done in when_done.WORDS:
        lines += [
            f"  at the end the PC {when_done.WORDS[night.when_done]}, after {when_done.COUNT_DOWN_S} s in which you can take that back"
        ]
    if os.environ.get(environment.CHOICE):
        lines += [f"  the Task Scheduler does not know this window's {environment.CHOICE}: setx {environment.CHOICE} current tells it"]
    return [*lines, f"  how it went: train.ps1 -List      take it away: train.ps1 -Remove {in_quotes(night.name)}"]


def in_quotes(name: str) -> str:
    """As it is typed in PowerShell."""
    return name if name.replace("-", "").replace("+", "").replace("_", "").isalnum() else "'" + name.replace("'", "''") + "'"


def show_list() -> int:
    """Every task of ours, registered by this folder's lorabake or by another's."""
    known = task_notes.nights()
    for night in known:
        for line in row(night, scheduler.state(night.name) if scheduler.there() else None):
            console.result(line)
    ours = {night.name.casefold() for night in known}
    others = [name for name in scheduler.names() if name.casefold() not in ours] if scheduler.there() else []
    for name in others:
        console.result(f"{name}\n  registered by lorabake in another folder")
    if not known and not others:
        console.say("no scheduled tasks; train.ps1 profile.yaml -At 23:30 registers one")
    return 0


def row(night: Night, state: scheduler.State | None) -> list[str]:
    """A task and how its last run ended; what the scheduler itself says is in the PC's language."""
    when = f"{night.start:%Y-%m-%d %H:%M}" if night.repeat == "once" else f"{night.repeat} at {night.start:%H:%M}"
    last = task_notes.last(night.name)
    lines = [night.name, f"  {when}{f', stops by {night.stop_by}' if night.stop_by else ''}: {', '.join(night.profiles)}"]
    if state is None:
        lines += [f"  no longer in the Task Scheduler; train.ps1 -Remove {in_quotes(night.name)} forgets it"]
    elif state.next_run or state.status:
        lines += [f"  next: {state.next_run}  {state.status}".rstrip()]
    if last:
        lines += [f"  last run: {last.began} to {last.ended}, {night_run.status(last.exit_code)} ({last.exit_code}), {last.log}"]
    elif state and state.result in scheduler.RESULTS:
        lines += [f"  last run: {scheduler.RESULTS[state.result]}"]
    return lines


def remove(names: Sequence[str]) -> int:
    """Take tasks away, and what was noted of them; the logs stay. Raises UserError for a name that there is not."""
    known = {night.name.casefold(): night.name for night in task_notes.nights()}
    for typed in names:
        name = known.get(typed.casefold(), typed)
        if (
            not paths.check_name(name)
            and scheduler.there()
            and scheduler.state(name)
            and (name in known.values() or name in scheduler.names())
        ):
            scheduler.delete(name)
        elif typed.casefold() not in known:
            allowed = f"there are: {', '.join(known.values())}" if known else "there are none"
            raise UserError(f'no scheduled task is called "{typed}"', allowed=allowed, todo="train.ps1 -List shows them")
        task_notes.forget(name)
        console.say(f"taken away: {name}")
    return 0

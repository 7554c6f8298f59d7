"""The times of a night: what --at and --stop-by mean, when a scheduled run was to start, when it ends.

All of it this PC's wall clock, without a time zone, as the Task Scheduler keeps it: 23:30 stays 23:30 when the clocks are set forward.
Pure: the present is given. Not here: registering (registration.py) and stopping (stopper.py). Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from lorabake.errors import UsageError

CLOCK = re.compile(r"(\d{1,2})(?:[:.](\d{2}))? ?([ap]m)?", re.IGNORECASE)
DATED = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})[ T]+(\S.*)")
ALLOWED = '23:30, 7:00, 11:30pm or "2026-12-01 23:30"'
DAY = timedelta(days=1)
SLACK = timedelta(minutes=10)  # a clock that is set back just after the start must not make it yesterday's
SATURDAY = 5


@dataclass(frozen=True)
class Mark:
    """What the task's own command says about it: its name, its first start, how it repeats. Written as 2026-12-01T23:30/daily/name."""

    name: str
    first: datetime
    repeat: str

    def text(self) -> str:
        return f"{self.first:%Y-%m-%dT%H:%M}/{self.repeat}/{self.name}"


def read_mark(text: str) -> Mark:
    """Raises UsageError for what Mark.text did not write."""
    first, _, rest = text.partition("/")
    repeat, _, name = rest.partition("/")
    moment = _moment(first, "--scheduled") if name else None
    if not isinstance(moment, datetime):
        raise UsageError(f'--scheduled "{text}" is not what a task of ours says', todo="register it anew with --at")
    return Mark(name, moment, repeat)


def first_start(text: str, now: datetime, *, repeat: str = "once") -> datetime:
    """When --at TEXT is for the first time; a time that is past today means tomorrow. Raises UsageError for no time, or a past date."""
    moment = _moment(text, "--at")
    if isinstance(moment, datetime):
        if moment <= now:
            raise UsageError(f'--at "{text}" is past: it is {now:%Y-%m-%d %H:%M}', allowed=ALLOWED, todo="--at 23:30 is the next 23:30")
        start = moment
    else:
        start = _next(moment, now)
    while not runs_on(start, repeat, start):
        start += DAY
    return start


def runs_on(first: datetime, repeat: str, day: datetime) -> bool:
    """Whether a task that started first on `first` starts on this day too."""
    if repeat == "weekdays":
        return day.weekday() < SATURDAY
    return repeat != "weekly" or day.weekday() == first.weekday()


def latest_start(mark: Mark, now: datetime) -> datetime:
    """When the run that begins `now` was to start: the latest of the task's starts that is not ahead; its first one where all are."""
    if mark.repeat == "once":
        return mark.first
    for days in range(8):
        start = datetime.combine((now + SLACK).date(), mark.first.time()) - days * DAY
        if mark.first <= start <= now + SLACK and runs_on(mark.first, mark.repeat, start):
            return start
    return mark.first


def end_after(start: datetime, text: str) -> datetime:
    """The first --stop-by TEXT after `start`; one with a date is that moment, past or not. Raises UsageError for no time."""
    moment = _moment(text, "--stop-by")
    return moment if isinstance(moment, datetime) else _next(moment, start)


def window_end(start: datetime, text: str, *, repeat: str) -> datetime:
    """The same for a run that is being registered: a date must be after the start, and cannot be repeated."""
    end = end_after(start, text)
    if end <= start:
        raise UsageError(f'--stop-by "{text}" is before the start, {start:%Y-%m-%d %H:%M}', allowed="--stop-by 07:00 is the next 07:00")
    if repeat != "once" and isinstance(_moment(text, "--stop-by"), datetime):
        raise UsageError(f'--stop-by "{text}" is one day only, and the task is to repeat', allowed="--stop-by 07:00")
    return end


def seconds_between(start: datetime, end: datetime) -> float:
    """Real seconds between two times of this PC's clock, the hour of a clock change counted."""
    return end.timestamp() - start.timestamp()


def said(moment: datetime, now: datetime) -> str:
    """'today at 23:30', 'tomorrow at 07:00', 'on Tuesday 2026-12-01 at 23:30'. English day names, whatever the PC's language."""
    days = (moment.date() - now.date()).days
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    day = {0: "today", 1: "tomorrow"}.get(days, f"on {names[moment.weekday()]} {moment:%Y-%m-%d}")
    return f"{day} at {moment:%H:%M}"


def _next(clock: time, after: datetime) -> datetime:
    found = datetime.combine(after.date(), clock)
    return found if found > after else found + DAY


def _moment(text: str, word: str) -> time | datetime:
    """What was typed: a time, or a moment where a date stands before it."""
    typed = text.strip()
    dated = DATED.fullmatch(typed)
    clock = _clock(dated[4] if dated else typed)
    if clock is None:
        raise UsageError(f'{word} "{text}" is no time', allowed=ALLOWED)
    if not dated:
        return clock
    try:
        return datetime.combine(datetime(int(dated[1]), int(dated[2]), int(dated[3])), clock)
    except ValueError as error:
        raise UsageError(f'{word} "{text}" is no day of the calendar', allowed=ALLOWED) from error


def _clock(text: str) -> time | None:
    found = CLOCK.fullmatch(text.strip())
    if not found or not (found[2] or found[3]):  # 7 alone may be a number of anything
        return None
    hour, minute, half = int(found[1]), int(found[2] or 0), (found[3] or "").lower()
    if minute > 59 or hour > (12 if half else 23) or (half and hour == 0):
        return None
    return time(hour % 12 + (12 if half == "pm" else 0) if half else hour, minute)

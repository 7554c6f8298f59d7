"""What the times of a night mean, in a table of cases and for any times."""

import os
import time as clock
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lorabake import night_times
from lorabake.errors import UsageError
from lorabake.night_times import Mark

NOW = datetime(2026, 12, 1, 18, 5, 20)  # a Tuesday
DAYS = some.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 31))
TIMES = some.times().map(lambda found: f"{found:%H:%M}")


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("23:30", "2026-12-01 23:30"),
        (" 23.30 ", "2026-12-01 23:30"),
        ("7:00", "2026-12-02 07:00"),
        ("07:00", "2026-12-02 07:00"),
        ("11:30pm", "2026-12-01 23:30"),
        ("11:30 PM", "2026-12-01 23:30"),
        ("7am", "2026-12-02 07:00"),
        ("12am", "2026-12-02 00:00"),
        ("12:15pm", "2026-12-02 12:15"),
        ("0:00", "2026-12-02 00:00"),
        ("18:05", "2026-12-02 18:05"),
        ("18:06", "2026-12-01 18:06"),
        ("2026-12-01 23:30", "2026-12-01 23:30"),
        ("2026-12-24T1:00", "2026-12-24 01:00"),
        ("2027-1-2 7pm", "2027-01-02 19:00"),
    ],
)
def test_when_it_starts(typed, wanted):
    assert f"{night_times.first_start(typed, NOW):%Y-%m-%d %H:%M}" == wanted


@pytest.mark.parametrize(
    "typed", ["", "7", "24:00", "23:60", "13pm", "0am", "2330", "-1:00", "noon", "2026-02-30 7:00", "01.12.2026 23:30", "2026-12-01"]
)
def test_what_is_no_time_is_told_with_what_is_allowed(typed):
    with pytest.raises(UsageError) as caught:
        night_times.first_start(typed, NOW)
    assert typed in str(caught.value) and "23:30, 7:00" in str(caught.value)


def test_a_past_day_is_a_mistake():
    with pytest.raises(UsageError, match="is past: it is 2026-12-01 18:05"):
        night_times.first_start("2026-12-01 18:05", NOW)


@pytest.mark.parametrize(
    ("now", "repeat", "wanted"),
    [
        (datetime(2026, 12, 4, 18), "weekdays", datetime(2026, 12, 4, 23, 30)),
        (datetime(2026, 12, 4, 23, 45), "weekdays", datetime(2026, 12, 7, 23, 30)),
        (datetime(2026, 12, 5, 18), "weekdays", datetime(2026, 12, 7, 23, 30)),
        (datetime(2026, 12, 5, 18), "daily", datetime(2026, 12, 5, 23, 30)),
        (datetime(2026, 12, 5, 18), "weekly", datetime(2026, 12, 5, 23, 30)),
    ],
)
def test_the_first_start_of_what_repeats(now, repeat, wanted):
    assert night_times.first_start("23:30", now, repeat=repeat) == wanted


@pytest.mark.parametrize(
    ("start", "typed", "wanted"),
    [
        ("2026-12-01 23:30", "07:00", "2026-12-02 07:00"),
        ("2026-12-01 01:00", "07:00", "2026-12-01 07:00"),
        ("2026-12-01 07:00", "07:00", "2026-12-02 07:00"),
        ("2026-12-01 06:59", "07:00", "2026-12-01 07:00"),
        ("2026-12-31 23:30", "0:10", "2027-01-01 00:10"),
        ("2026-12-01 23:30", "2026-12-03 9:00", "2026-12-03 09:00"),
        ("2026-12-01 23:30", "2026-12-01T09:00", "2026-12-01 09:00"),
    ],
)
def test_the_end_is_the_first_one_after_the_start(start, typed, wanted):
    assert night_times.end_after(datetime.fromisoformat(start), typed) == datetime.fromisoformat(wanted)


@given(DAYS, TIMES)
def test_any_end_is_ahead_and_less_than_a_day_and_a_bit(start, typed):
    end = night_times.end_after(start, typed)
    assert start < end <= start + timedelta(days=1) and f"{end:%H:%M}" == typed


def test_an_end_that_cannot_be_is_told_when_it_is_registered():
    start = datetime(2026, 12, 1, 23, 30)
    with pytest.raises(UsageError, match="before the start"):
        night_times.window_end(start, "2026-12-01 20:00", repeat="once")
    with pytest.raises(UsageError, match="one day only"):
        night_times.window_end(start, "2026-12-02 07:00", repeat="daily")
    assert night_times.window_end(start, "2026-12-02 07:00", repeat="once") == datetime(2026, 12, 2, 7)
    assert night_times.window_end(start, "07:00", repeat="daily") == datetime(2026, 12, 2, 7)


FIRST = datetime(2026, 12, 1, 23, 30)


@pytest.mark.parametrize(
    ("repeat", "now", "wanted"),
    [
        ("once", "2026-12-01 23:30:02", "2026-12-01 23:30"),
        ("once", "2026-12-03 08:00", "2026-12-01 23:30"),
        ("once", "2026-12-01 15:00", "2026-12-01 23:30"),  # its command, run by hand in the afternoon
        ("daily", "2026-12-01 15:00", "2026-12-01 23:30"),
        ("daily", "2026-12-01 23:29:57", "2026-12-01 23:30"),  # the clock was set back by three seconds
        ("daily", "2026-12-02 23:29:57", "2026-12-02 23:30"),
        ("daily", "2026-12-05 06:00", "2026-12-04 23:30"),
        ("daily", "2026-12-05 09:00", "2026-12-04 23:30"),
        ("weekdays", "2026-12-06 06:00", "2026-12-04 23:30"),  # a Sunday: Friday's
        ("weekdays", "2026-12-07 23:31", "2026-12-07 23:30"),
        ("weekly", "2026-12-07 12:00", "2026-12-01 23:30"),
        ("weekly", "2026-12-08 23:40", "2026-12-08 23:30"),
    ],
)
def test_when_a_run_was_to_start(repeat, now, wanted):
    assert night_times.latest_start(Mark("x", FIRST, repeat), datetime.fromisoformat(now)) == datetime.fromisoformat(wanted)


@given(DAYS, some.timedeltas(timedelta(0), timedelta(days=40)), some.sampled_from(["once", "daily", "weekdays", "weekly"]))
def test_any_run_was_to_start_on_a_day_of_its_task(first, later, repeat):
    first = first.replace(second=0, microsecond=0)
    while not night_times.runs_on(first, repeat, first):
        first += timedelta(days=1)
    start = night_times.latest_start(Mark("x", first, repeat), first + later)
    assert first <= start <= first + later + night_times.SLACK
    assert night_times.runs_on(first, repeat, start) and start.time() == first.time()
    days = {"once": later, "daily": timedelta(days=1), "weekdays": timedelta(days=3), "weekly": timedelta(days=7)}[repeat]
    assert first + later - start <= days


@pytest.mark.parametrize("name", ["junwool", "two+1", "- \u732b/x", "a 'b' & %c%"])
def test_a_mark_comes_back(name):
    mark = Mark(name, FIRST, "daily")
    assert night_times.read_mark(mark.text()) == mark
    assert mark.text()[0].isdigit(), "PowerShell takes a word that begins with a dash for a parameter"


@pytest.mark.parametrize("text", ["", "23:30", "2026-12-01T23:30", "2026-12-01T23:30/once", "x/once/y", "23:30/daily/y"])
def test_a_mark_of_somebody_else(text):
    with pytest.raises(UsageError, match="--scheduled"):
        night_times.read_mark(text)


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot change the time zone of one process")
@pytest.mark.parametrize(("start", "hours"), [("2027-03-27 23:30", 6.5), ("2026-10-24 23:30", 8.5), ("2026-12-01 23:30", 7.5)])
def test_a_night_with_a_clock_change_is_shorter_or_longer(monkeypatch, start, hours):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    clock.tzset()
    try:
        begin = datetime.fromisoformat(start)
        end = night_times.end_after(begin, "07:00")
        assert night_times.seconds_between(begin, end) == hours * 3600
    finally:
        monkeypatch.undo()
        clock.tzset()


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (datetime(2026, 12, 1, 23, 30), "today at 23:30"),
        (datetime(2026, 12, 2, 7), "tomorrow at 07:00"),
        (datetime(2026, 12, 8, 7), "on Tuesday 2026-12-08 at 07:00"),
    ],
)
def test_a_moment_in_words(moment, words):
    assert night_times.said(moment, NOW) == words

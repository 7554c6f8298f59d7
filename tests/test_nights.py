"""--at, --list and --remove: all is checked before, what was registered is said, it comes and goes. schtasks.exe is stood in for."""

import subprocess
from datetime import datetime
from types import SimpleNamespace

import pytest

from lorabake import errors, jobs, nights, scheduler, task_notes, train_words
from lorabake.errors import UsageError, UserError
from lorabake.task_notes import Last
from test_jobs import profile

NOW = datetime(2026, 12, 1, 18, 5)


@pytest.fixture
def windows(monkeypatch, tmp_path):
    """A Task Scheduler that remembers names; everything it was asked comes back."""
    asked, tasks = [], {}

    def run(program, *words):
        asked.append([program, *words])
        code, text = 0, ""
        if program == "whoami.exe":
            text = '"pc\\me","S-1-5-21-7"'
        elif words[0] == "/Create":
            tasks[words[2]] = words[4]
        elif words[0] == "/Delete":
            code = 0 if tasks.pop(words[2], None) else 1
        elif words[2].endswith("\\"):
            text = "\n".join(f'"PC","{name}","next","Ready","I","last","0","x"' for name in tasks)
        else:
            code = 0 if words[2] in tasks else 1
            text = f'"PC","{words[2]}","2.12.2026","Bereit","I","last","267011","x"'
        return subprocess.CompletedProcess([program], code, text, "NEIN" if code else "")

    monkeypatch.setattr(scheduler, "_run", run)
    monkeypatch.setattr(scheduler, "there", lambda: True)
    monkeypatch.setattr(errors, "LOGS", tmp_path / "logs")
    monkeypatch.delenv("LORABAKE_PYTHON", raising=False)
    return SimpleNamespace(asked=asked, tasks=tasks)


def at(*words, now=NOW):
    return nights.register(train_words.parse("", [str(word) for word in words]), now)


def test_a_night_is_registered_and_said(windows, tmp_path, capsys):
    one, two = profile(tmp_path, "one, or more"), profile(tmp_path, "two")
    assert at(one, two, "--at=23:30", "--stop-by=07:00", "--when-done=sleep", "--repeat=daily", "--set=train.epochs=2") == 0
    assert list(windows.tasks) == ["\\lorabake\\one, or more+1"]
    told = capsys.readouterr().err
    for words in (
        "registered: one, or more+1",
        "today at 23:30, then daily; stops by 07:00",
        "do not log off",
        "goes to sleep",
        "powercfg",
    ):
        assert words in told
    assert "train.ps1 -Remove 'one, or more+1'" in told and "7 h 30 min until 07:00" in told
    text = task_notes.place("one, or more+1", "xml").read_bytes().decode("utf-16")
    assert f"{one},{two}" in text and "S-1-5-21-7" in text and "ScheduleByDay" in text and "train.epochs=2" in text


def test_a_comma_in_a_name_that_powershell_took_apart(windows, tmp_path):
    one = profile(tmp_path, "one, or more")
    assert at(*str(one).split(","), "--at=23:30") == 0
    assert task_notes.nights()[0].profiles == (str(one),)


def test_a_mistake_is_told_in_the_evening(windows, tmp_path):
    right, wrong = profile(tmp_path, "right"), profile(tmp_path, "wrong", more=["train: {epochs: -1}"])
    with pytest.raises(UserError, match="epochs"):
        at(wrong, "--at=23:30")
    with pytest.raises(UserError, match="1 of 2 profiles have mistakes"):
        at(right, wrong, "--at=23:30")
    for words, what in ((["--at=soon"], "is no time"), (["--at=23:30", "--stop-by=x"], "is no time")):
        with pytest.raises(UsageError, match=what):
            at(right, *words)
    assert windows.tasks == {}
    assert at(right, wrong, "--at=23:30", "--skip-bad") == 0


def test_the_same_profiles_again_take_the_tasks_place_others_get_a_new_name(windows, tmp_path, capsys):
    (tmp_path / "more").mkdir()
    one, other = profile(tmp_path, "one"), profile(tmp_path / "more", "one")
    at(one, "--at=23:30")
    at(one, "--at=22:30")
    assert "replaced: one" in capsys.readouterr().err and len(windows.tasks) == 1
    assert [night.start.hour for night in task_notes.nights()] == [22]
    at(other, "--at=23:30")
    assert list(windows.tasks) == ["\\lorabake\\one", "\\lorabake\\one-2"]


def test_a_window_that_is_too_short_is_said(tmp_path):
    plan = SimpleNamespace(name="x", total_steps=9, costs=SimpleNamespace(train_seconds=3600 * 9.0, sample_seconds=None))
    job = SimpleNamespace(plan=plan)
    start, end = datetime(2026, 12, 1, 23, 30), datetime(2026, 12, 2, 7)
    assert "not enough" in nights.estimate([job], start, end)[1]
    plan.costs.train_seconds = 3600.0
    assert nights.estimate([job], start, end)[1] == "about 1 h 00 min of baking (rough), 7 h 30 min until 07:00"
    plan.costs.train_seconds = None
    assert "not known beforehand, 7 h 30 min" in nights.estimate([job], start, end)[1]


def test_the_list_and_taking_away(windows, tmp_path, capsys):
    assert nights.main(train_words.parse("", ["--list"])) == 0
    assert "no scheduled tasks" in capsys.readouterr().err
    one = profile(tmp_path, "one")
    at(one, "--at=23:30", "--stop-by=7am")
    windows.tasks["\\lorabake\\of another folder"] = "x"
    nights.main(train_words.parse("", ["--list"]))
    shown = capsys.readouterr().out
    assert f"one\n  2026-12-01 23:30, stops by 7am: {one}\n  next: 2.12.2026  Bereit\n  last run: has not run yet" in shown
    assert "of another folder\n  registered by lorabake in another folder" in shown
    task_notes.note_end("one", Last("2026-12-01 23:30", "2026-12-02 07:00", 13, "C:\\x.log"))
    nights.main(train_words.parse("", ["--list"]))
    assert "last run: 2026-12-01 23:30 to 2026-12-02 07:00, stopped, state saved (13), C:\\x.log" in capsys.readouterr().out
    assert nights.main(train_words.parse("", ["--remove=ONE", "--remove=of another folder"])) == 0
    assert windows.tasks == {} and task_notes.nights() == []
    with pytest.raises(UserError, match='no scheduled task is called "one"'):
        nights.remove(["one"])
    for name in ("..\\..\\x", "", "a/b"):
        with pytest.raises(UserError, match="no scheduled task"):
            nights.remove([name])


def test_a_task_that_was_deleted_by_hand(windows, tmp_path, capsys):
    at(profile(tmp_path, "one"), "--at=23:30")
    windows.tasks.clear()
    nights.show_list()
    assert "no longer in the Task Scheduler" in capsys.readouterr().out
    assert nights.remove(["one"]) == 0 and task_notes.nights() == []


def test_elsewhere_it_says_what_does_it_there(windows, monkeypatch, tmp_path):
    monkeypatch.setattr(scheduler, "there", lambda: False)
    with pytest.raises(UserError) as caught:
        at(profile(tmp_path, "one"), "--at=23:30", "--stop-by=07:00")
    assert "systemd-run --user '--on-calendar=2026-12-01 23:30:00'" in str(caught.value) and caught.value.exit_code == 1
    assert windows.tasks == {} and task_notes.nights() == []


def test_other_words_are_jobs(monkeypatch):
    monkeypatch.setattr(jobs, "main", lambda options: 17)
    assert nights.main(train_words.parse("", ["a.yaml", "--when-done=nothing"])) == 17

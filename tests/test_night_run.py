"""A run that looks after itself: its end time, its log, what the PC does at the end, which is stood in for; the child is a real process."""

import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lorabake import errors, jobs, night_run, power, task_notes, toast, train_words, when_done
from lorabake.errors import Stopped

NOW = datetime(2026, 12, 1, 23, 30, 2)
CHILD = "import sys; print('one \u732b', flush=True); print('two', file=sys.stderr); sys.exit(int(sys.argv[1]))"


class Clock(datetime):
    present = NOW

    @classmethod
    def now(cls, tz=None):
        return cls.present


@pytest.fixture
def night(monkeypatch, tmp_path):
    """Runs train.py's words with a child that gives `code`. What happened comes back: the words, the toasts, what the PC did."""
    seen = {"toasts": [], "acts": [], "commands": []}
    monkeypatch.setattr(errors, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(night_run, "datetime", Clock)
    monkeypatch.setattr(toast, "show", lambda title, text: seen["toasts"].append((title, text)))
    monkeypatch.setattr(power, "act", lambda action: seen["acts"].append(action) or "")
    monkeypatch.setattr(when_done, "count_down", lambda action: True)
    real = night_run.child_command

    def start(*words, code=0, now=NOW):
        monkeypatch.setattr(Clock, "present", now)
        options = train_words.parse("", list(words))

        def child(*args, **more):
            seen["commands"].append(real(*args, **more)[2:])
            return [sys.executable, "-X", "utf8", "-c", CHILD, str(code)]

        monkeypatch.setattr(night_run, "child_command", child)
        return night_run.run(options), seen

    return start


MARK = "--scheduled=2026-12-01T23:30/daily/two+1"


def test_a_night(night, capfd):
    code, seen = night("--set=a.b=1", "--stop-by=07:00", "--when-done=Shutdown", MARK, "--", "a.yaml", "-b.yaml", code=20)
    assert code == 20
    assert seen["commands"] == [["--set=a.b=1", "--skip-bad", "--stop-by=2026-12-02T07:00", "--", "a.yaml", "-b.yaml"]]
    assert seen["acts"] == ["shutdown"]
    last = task_notes.last("two+1")
    assert (last.began, last.exit_code) == ("2026-12-01 23:30", 20)
    log = Path(last.log).read_text(encoding="utf-8")
    assert "one \u732b\n" in log and "two\n" in log
    title, text = seen["toasts"][0]
    assert "two+1" in title and "some jobs failed" in text and last.log in text and "switched off" in text
    assert "one \u732b" in capfd.readouterr().err


@pytest.mark.parametrize("code", [0, 1, 3, 10, 13, 20])
def test_each_exit_code_comes_back(night, code):
    assert night(MARK, "--", "a.yaml", code=code)[0] == code
    assert night("--when-done=sleep", "--", "a.yaml", code=code)[0] == code


def test_a_start_past_the_end_ends_at_once_and_leaves_the_pc_on(night):
    with pytest.raises(Stopped, match="2026-12-02 07:00, is past") as caught:
        night("--stop-by=07:00", "--when-done=shutdown", MARK, "--", "a.yaml", now=datetime(2026, 12, 2, 8, 15))
    assert "was to start 2026-12-01 23:30" in str(caught.value) and caught.value.exit_code == 13
    assert task_notes.last("two+1").exit_code == 13


def test_a_start_that_is_late_but_not_too_late_keeps_its_end(night):
    _, seen = night("--stop-by=07:00", MARK, "--", "a.yaml", now=datetime(2026, 12, 2, 6, 15))
    assert "--stop-by=2026-12-02T07:00" in seen["commands"][0]


def test_by_hand_with_when_done(night):
    _, seen = night("--stop-by=07:00", "--when-done=sleep", "--fresh", "--", "a.yaml")
    assert seen["commands"] == [["--fresh", "--stop-by=2026-12-02T07:00", "--", "a.yaml"]]
    assert seen["acts"] == ["sleep"] and task_notes.nights() == []


def test_a_closed_window_leaves_the_pc_alone(night, monkeypatch):
    def child(command, closed):
        closed.append("the log-off")
        return 13

    monkeypatch.setattr(jobs, "run_child", child)
    code, seen = night("--when-done=shutdown", "--", "a.yaml")
    assert (code, seen["acts"]) == (13, [])


def test_a_log_that_cannot_be_written_does_not_stop_a_night(night, monkeypatch, tmp_path):
    monkeypatch.setattr(night_run, "new_log", lambda mark, now: tmp_path / "nowhere" / "(none)")
    assert night(MARK, "--", "a.yaml", code=12)[0] == 12


def test_the_childs_words_are_train_pys():
    options = train_words.parse("", ["--skip-bad", "--set=a=[1,2]", MARK, "--", "x.yaml"])
    command = night_run.child_command(options, NOW + timedelta(hours=8), unattended=True)
    again = train_words.parse("", command[2:])
    assert command[0] == sys.executable and command[1].endswith("train.py")
    assert (again.profile_path, again.set, again.skip_bad, again.scheduled) == (["x.yaml"], ["a=[1,2]"], True, None)
    assert again.stop_by == "2026-12-02T07:30"

"""What is remembered of scheduled tasks: it comes back, a damaged note holds nothing up, forgetting leaves the logs."""

from datetime import datetime

import pytest

from lorabake import errors, task_notes
from lorabake.registration import Night
from lorabake.task_notes import Last

NIGHT = Night(
    "a \u732b+1", ("D:\\a, b.yaml", "D:\\c.yaml"), datetime(2026, 12, 1, 23, 30), "daily", "07:00", "sleep", ("a.b=[1, 2]",), True
)


@pytest.fixture(autouse=True)
def logs(monkeypatch, tmp_path):
    monkeypatch.setattr(errors, "LOGS", tmp_path / "logs")
    return tmp_path / "logs"


def test_notes_come_back():
    assert task_notes.nights() == []
    task_notes.remember(NIGHT)
    assert task_notes.nights() == [NIGHT]
    assert task_notes.last(NIGHT.name) is None
    last = Last("2026-12-01 23:30", "2026-12-02 07:00", 13, "C:\\logs\\x.log")
    task_notes.note_end(NIGHT.name, last)
    assert task_notes.last(NIGHT.name) == last and task_notes.nights() == [NIGHT]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": "x"}', '{"name": "x", "profiles": [], "overrides": [], "start": "soon"}'])
def test_a_damaged_note_holds_nothing_up(text):
    task_notes.remember(NIGHT)
    task_notes.place("x", "json").write_text(text, encoding="utf-8")
    task_notes.place("x", "last.json").write_text(text, encoding="utf-8")
    assert task_notes.nights() == [NIGHT] and task_notes.last("x") is None


def test_forgetting_leaves_the_logs(logs):
    task_notes.remember(NIGHT)
    task_notes.note_end(NIGHT.name, Last("", "", 0, ""))
    (logs / "x-night.log").write_text("", encoding="utf-8")
    task_notes.forget(NIGHT.name)
    task_notes.forget(NIGHT.name)
    assert task_notes.nights() == [] and list((logs / "tasks").iterdir()) == []
    assert (logs / "x-night.log").exists()

"""schtasks.exe: what it is asked, and what is read of its answers in any language. The program itself is stood in for."""

import subprocess
from datetime import datetime

import pytest

from lorabake import scheduler
from lorabake.errors import UserError
from lorabake.registration import Task

GERMAN = (
    '"PC","\\lorabake\\junwool+1","02.12.2026 23:30:00","Bereit","Interaktiv","01.12.2026 23:30:01","13","lorabake","powershell.exe"\r\n'
    '"PC","\\Microsoft\\x","Nicht zutreffend","Bereit","Interaktiv","N/A","0","MS","y"\r\n'
    '"PC","\\lorabake\\zwei","Nicht zutreffend","Bereit","Interaktiv","30.11.1999 00:00:00","267011","lorabake","powershell.exe"\r\n'
    '"PC","\\lorabake\\drei","Nicht zutreffend","Bereit","Interaktiv","01.12.2026","-1073741510","lorabake","powershell.exe"\r\n'
)
TASK = Task("a \u732b & b", "S-1-5-21-1", datetime(2026, 12, 1, 23, 30), "once", "p.exe", "-File x", "C:\\")


@pytest.fixture
def program(monkeypatch):
    """Answers in order; what was asked comes back."""
    asked, answers = [], []

    def run(name, *words):
        asked.append([name, *words])
        code, text = answers.pop(0) if answers else (0, "")
        return subprocess.CompletedProcess([name], code, text, "" if code == 0 else "FEHLER: kein Zugriff")

    monkeypatch.setattr(scheduler, "_run", run)
    return asked, answers


def test_rows_in_another_language():
    found = scheduler.rows(GERMAN)
    assert [(row.name, row.result) for row in found] == [("junwool+1", 13), ("zwei", 0x41303), ("drei", 0xC000013A)]
    assert found[0].next_run == "02.12.2026 23:30:00"
    assert scheduler.RESULTS[found[1].result] == "has not run yet"
    assert scheduler.rows("") == [] and scheduler.rows('"short"\n') == []


def test_a_task_is_put_in_by_a_file_of_utf_16(program, tmp_path):
    file = tmp_path / "tasks" / "a.xml"
    scheduler.create(TASK, file)
    assert program[0] == [["schtasks.exe", "/Create", "/TN", "\\lorabake\\a \u732b & b", "/XML", str(file), "/F"]]
    assert file.read_bytes()[:2] in (b"\xff\xfe", b"\xfe\xff")
    assert "\u732b &amp; b" in file.read_bytes().decode("utf-16")


def test_a_refusal_is_told_in_its_own_words(program, tmp_path):
    program[1].append((1, ""))
    with pytest.raises(UserError, match="did not take the task") as caught:
        scheduler.create(TASK, tmp_path / "a.xml")
    assert "FEHLER: kein Zugriff" in str(caught.value) and str(tmp_path / "a.xml") in str(caught.value)
    program[1].append((1, ""))
    with pytest.raises(UserError, match="did not take x away"):
        scheduler.delete("x")


def test_what_it_knows_of_a_task(program):
    program[1].extend([(0, GERMAN), (1, ""), (0, "")])
    assert scheduler.state("junwool+1").result == 13
    assert scheduler.state("gone") is None
    assert scheduler.state("silent").result == 0x41303
    assert program[0][0][:3] == ["schtasks.exe", "/Query", "/TN"]


def test_the_tasks_of_our_folder(program):
    program[1].extend([(0, GERMAN), (1, "")])
    assert scheduler.names() == ["junwool+1", "zwei", "drei"]
    assert scheduler.names() == []


@pytest.mark.parametrize("answer", ['"pc\\me","S-1-5-21-1-2-3-1001"\n', "\nUSER INFORMATION\npc\\me S-1-5-21-1-2-3-1001\n"])
def test_who_is_logged_on(program, answer):
    program[1].append((0, answer))
    assert scheduler.user() == "S-1-5-21-1-2-3-1001"


def test_who_is_logged_on_where_windows_does_not_tell(program, monkeypatch):
    program[1].append((1, ""))
    monkeypatch.setenv("USERDOMAIN", "PC")
    monkeypatch.setenv("USERNAME", "J\u00f6rg")
    assert scheduler.user() == "PC\\J\u00f6rg"


def test_a_program_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    assert scheduler.ask("/Query").returncode == 1

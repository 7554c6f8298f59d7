"""The count-down before the PC sleeps, and what takes it back. The call to the system is stood in for."""

import os

import pytest

from lorabake import power, when_done


@pytest.fixture
def acts(monkeypatch, tmp_path):
    """What the system was asked to do; nobody is at the console."""
    found = []
    monkeypatch.setattr(power, "act", lambda action: found.append(action) or "")
    monkeypatch.setattr(when_done, "STOP_FILE", tmp_path / "stop")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    return found


@pytest.mark.parametrize(
    ("word", "started", "closed", "wanted"),
    [
        ("sleep", True, False, "sleep"),
        ("shutdown", True, False, "shutdown"),
        ("nothing", True, False, ""),
        (None, True, False, ""),
        ("shutdown", False, False, ""),
        ("shutdown", True, True, ""),
    ],
)
def test_what_is_wanted(word, started, closed, wanted):
    assert when_done.wanted(word, started=started, closed=closed) == wanted


def test_it_counts_a_minute_and_says_how_to_take_it_back(acts, monkeypatch, capsys):
    pauses = []
    monkeypatch.setattr(when_done.count_down, "__kwdefaults__", {"seconds": 60, "pause": pauses.append})
    when_done.end_with("shutdown")
    assert acts == ["shutdown"] and sum(pauses) == 60
    told = capsys.readouterr().err
    assert "the PC is switched off in 60 s" in told and str(when_done.STOP_FILE) in told


def test_the_file_takes_it_back_and_is_taken_away(acts):
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            when_done.STOP_FILE.write_text("", encoding="utf-8")

    assert not when_done.count_down("sleep", pause=pause)
    assert len(pauses) == 3 and not when_done.STOP_FILE.exists()


def test_an_old_stop_file_does_not_take_it_back(acts):
    when_done.STOP_FILE.write_text("", encoding="utf-8")
    assert when_done.count_down("sleep", seconds=2, pause=lambda _seconds: None)


def test_control_c_takes_it_back(acts, capsys):
    def pause(_seconds):
        raise KeyboardInterrupt

    assert not when_done.count_down("sleep", pause=pause)


def test_a_refusal_is_said_and_is_no_error(acts, monkeypatch, capsys):
    monkeypatch.setattr(power, "act", lambda action: "not possible here")
    monkeypatch.setattr(when_done, "count_down", lambda action: True)
    when_done.end_with("hibernate")
    assert "the PC stays on: not possible here" in capsys.readouterr().err


CHILD = """import sys
sys.path.insert(0, {py!r})
from lorabake import power, when_done
power.act = lambda action: print('asked the system:', action) or ''
when_done.STOP_FILE = __import__('pathlib').Path({stop!r})
when_done.end_with('sleep')
"""


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
@pytest.mark.parametrize("key", ["\r", "\x03"])
def test_a_key_in_a_real_console_takes_it_back(tmp_path, key):
    import sys

    import tools
    from terminal import Terminal

    code = CHILD.format(py=str(tools.ROOT / "py"), stop=str(tmp_path / "stop"))
    with Terminal([sys.executable, "-c", code], cwd=tmp_path) as window:
        window.expect("60 s", timeout_s=20)
        window.type(key)
        window.expect("taken back: the PC stays on", timeout_s=20)
        assert window.wait(timeout_s=10) == 0
    assert "asked the system" not in window.text()

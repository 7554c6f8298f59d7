"""Stop by file and by signal, handlers put back, and the clock of state_minutes."""

import os
import signal
from datetime import datetime

import pytest

from lorabake.stopper import Every, Stopper


def test_a_stop_file_stops_once_and_is_taken_away(tmp_path):
    here, above = tmp_path / "run/stop", tmp_path / "stop"
    stopper = Stopper((here, above))
    assert stopper.reason() is None
    above.write_text("", encoding="utf-8")
    assert "stop" in (stopper.reason() or "")
    assert not above.exists(), "the next start shall not stop at once"
    assert stopper.reason() is not None, "it stays asked for"


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send itself these signals without ending")
@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_is_an_ask_and_the_second_ends_at_once(number, word):
    stopper = Stopper(())
    before = signal.getsignal(number)
    with stopper.listening():
        os.kill(os.getpid(), number)
        assert stopper.reason() == word
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_the_end_that_was_given_stops(tmp_path):
    now = [datetime(2026, 12, 2, 6, 59, 59)]
    stopper = Stopper((), datetime(2026, 12, 2, 7), lambda: now[0])
    assert stopper.reason() is None
    now[0] = datetime(2026, 12, 2, 7)
    assert "07:00" in (stopper.reason() or "")
    now[0] = datetime(2026, 12, 2, 6)
    assert stopper.reason(), "a clock that is set back does not take it back"


def test_a_closing_window_asks_to_stop_and_an_earlier_reason_stays():
    stopper = Stopper(())
    stopper.on_closing("the log-off")
    stopper.on_closing("the closed window")
    assert stopper.reason() == "the log-off"


@pytest.mark.skipif(os.name == "nt", reason="no such signal there")
def test_a_closed_terminal_asks_to_stop_but_not_under_nohup():
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        stopper = Stopper(())
        with stopper.listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert stopper.reason() == "the closed window"
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        stopper = Stopper(())
        with stopper.listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert stopper.reason() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_come_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError), Stopper(()).listening():
        raise ValueError
    assert signal.getsignal(signal.SIGINT) is before


def test_every_is_due_once_per_interval():
    now = [100.0]
    every = Every(2, clock=lambda: now[0])
    assert not every.due()
    now[0] += 120
    assert every.due() and not every.due()
    now[0] += 119
    every.reset()
    now[0] += 119
    assert not every.due()
    never = Every(0, clock=lambda: now[0])
    now[0] += 1e9
    assert not never.due()

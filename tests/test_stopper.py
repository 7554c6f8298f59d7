"""Stop by file and by signal, handlers put back, and the clock of state_minutes."""

import os
import signal

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

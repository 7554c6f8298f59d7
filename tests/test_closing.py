"""What a closing window does to a program that is at work. The call by Windows itself is in test_windows_nights.py."""

import pytest

from lorabake import closing


@pytest.mark.parametrize(("event", "reason"), [(2, "the closed window"), (5, "the log-off"), (6, "the shut-down of Windows")])
def test_a_closing_asks_and_waits_less_than_windows_does(event, reason):
    told = []
    assert closing.handler(told.append, told.append)(event)
    assert told == [reason, closing.PATIENCE_S] and closing.PATIENCE_S < 5


@pytest.mark.parametrize("event", [0, 1, 3, 7])
def test_control_c_is_pythons_own(event):
    told = []
    assert not closing.handler(told.append, told.append)(event)
    assert told == []

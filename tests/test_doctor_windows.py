"""What Windows is asked; elsewhere nothing is."""

import sys

import pytest

from lorabake import doctor_windows


@pytest.mark.skipif(sys.platform == "win32", reason="another system is needed")
def test_elsewhere_there_is_nothing_to_ask():
    assert doctor_windows.look() is None
    assert doctor_windows.value("x", "y") is None and doctor_windows.value_names("x") == [] and not doctor_windows.there("x")

"""The words of py/setup.py: Python's spelling and PowerShell's mean the same."""

import pytest

from lorabake import setup_words


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("-NoPause", "--no-pause"), ("-Check", "--check"), ("--check", "--check"), ("-h", "-h"), ("cpu", "cpu"), ("-1", "-1")],
)
def test_powershells_spelling(typed, meant):
    assert setup_words.as_option(typed) == meant


def test_both_spellings_are_read():
    options = setup_words.parse(None, ["-Torch", "cpu", "--json", "-NoPause"])
    assert (options.torch, options.json, options.no_pause, options.check) == ("cpu", True, True, False)


def test_a_wrong_word_ends_with_2():
    with pytest.raises(SystemExit) as ended:
        setup_words.parse(None, ["--chekc"])
    assert ended.value.code == 2

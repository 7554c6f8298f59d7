"""The table of the doctor: its numbers, its shape, its sum, and the list for machines."""

import json
import re

import pytest

from lorabake.doctor_table import FAIL, NAMES, OK, WARN, Check, exit_code, number_of, summary, to_json, to_text

GOOD = Check("Python", OK, "3.12.1, /usr/bin/python3.12")
BAD = Check(
    "driver",
    FAIL,
    "560.94, but torch cu130 needs 580.88 or newer",
    "an old driver does not run a newer CUDA",
    "update the driver (nvidia.com/drivers; Windows: the NVIDIA app), restart, then run setup again",
)
LESS = Check("page file", WARN, "3.0 GB may still be promised", "loading ends with error 1455", "let Windows size it", "Sys.exe")
MENDED = Check("environment", FAIL, "001 is damaged: numpy", "files are missing", "make it anew", "setup.bat", "environment")


def test_what_is_wrong_stands_at_the_end_and_is_summed_up():
    lines = to_text([BAD, GOOD, LESS], setup="setup.bat -Check").splitlines()
    heads = [line for line in lines if re.match(r" ?\d+  (OK|WARN|FAIL)", line)]
    assert [line.split()[1] for line in heads] == ["OK", "WARN", "FAIL"]
    assert lines[-1] == "1 to mend: driver (15); 1 to look at: page file (9)"
    assert summary([GOOD]) == "all is well"


@pytest.mark.parametrize("width", [60, 80, 100])
def test_words_stay_in_their_column_and_within_the_width(width):
    text = to_text([GOOD, BAD, LESS, MENDED], setup="setup.bat -Check", width=width)
    assert text.isascii() and max(len(line) for line in text.splitlines()) < width
    column = re.search("3.12.1", text).start()
    inner = [line for line in text.splitlines() if line.startswith(" " * 10)]
    assert inner and all(len(line) - len(line.lstrip()) >= column for line in inner)


def test_a_long_command_is_never_broken():
    command = r"reg add HKLM\SYSTEM\CurrentControlSet\Control\FileSystem /v LongPathsEnabled /t REG_DWORD /d 1 /f"
    text = to_text([Check("path length", WARN, "120", "too long", "switch long paths on", command)], setup="x")
    assert any(line.strip() == command for line in text.splitlines())
    alone = to_text([Check("path length", WARN, "120", "too long", "", "do it")], setup="x")
    assert any(line.strip() == "-> do it" for line in alone.splitlines())


def test_only_what_setup_can_do_is_offered():
    assert "setup.bat -Check -Fix 12" in to_text([MENDED, BAD], setup="setup.bat -Check")
    assert "python3 py/setup.py --check --fix 12" in to_text([MENDED], setup="python3 py/setup.py --check")
    assert "-Fix" not in to_text([BAD], setup="setup.bat -Check")


def test_the_list_for_machines():
    rows = json.loads(to_json([GOOD, LESS]))
    assert [row["number"] for row in rows] == [1, 9]
    assert set(rows[0]) == {"number", "name", "status", "found", "cause", "fix", "command", "action"}
    assert rows[1]["fix"] == "let Windows size it: Sys.exe"


def test_numbers_are_the_same_for_ever():
    """They stand in guides: new rows go to the end."""
    assert len(set(NAMES)) == len(NAMES)
    assert [number_of(name) for name in ("Python", "folder", "disk", "environment", "torch", "pocket model")] == [1, 2, 7, 12, 18, 25]


def test_the_exit_code():
    assert exit_code([GOOD, LESS]) == 0
    assert exit_code([GOOD, BAD]) == 1

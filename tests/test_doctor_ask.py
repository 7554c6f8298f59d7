"""What an environment's Python tells of itself; one that crashes, hangs or talks too much is no trouble."""

import sys
from pathlib import Path

import pytest

from lorabake import doctor_ask
from lorabake.doctor_ask import ask, ended, read, telling, users

FAKE = """import sys
MODE = {mode!r}
names = sys.argv[2:]
for name in names:
    print("begin " + name, flush=True)
    if MODE == "crash" and name == "onnxruntime":
        import os; os._exit(1)
    if MODE == "hang" and name == "cuDNN":
        import time; time.sleep(60)
    if MODE == "no torch":
        print("told torch " + '{{"trouble": "No module named torch"}}'); sys.exit(1)
    print("noise of a package")
    print("told " + name + ' {{"trouble": "", "version": "1"}}', flush=True)
"""


def told_by(monkeypatch, mode, **more):
    monkeypatch.setattr(doctor_ask, "START", FAKE.format(mode=mode))
    return ask(Path(sys.executable), **more)


def test_all_parts_answer(monkeypatch):
    assert told_by(monkeypatch, "") == {part: {"trouble": "", "version": "1"} for part in doctor_ask.PARTS}


def test_a_part_that_crashes_does_not_silence_the_others(monkeypatch):
    told = told_by(monkeypatch, "crash")
    assert told["onnxruntime"]["trouble"].startswith("it ended Python") and "version" not in told["onnxruntime"]
    assert {part for part, one in told.items() if one["trouble"]} == {"onnxruntime"} and len(told) == len(doctor_ask.PARTS)


def test_a_part_that_hangs_ends_the_asking(monkeypatch):
    told = told_by(monkeypatch, "hang", limit_s=3)
    assert told["torch"]["version"] == "1" and "longer than 3 s" in told["cuDNN"]["trouble"] and "xformers" not in told


def test_without_torch_nothing_else_is_asked(monkeypatch):
    assert told_by(monkeypatch, "no torch") == {"torch": {"trouble": "No module named torch"}}


def test_a_python_that_does_not_start(tmp_path):
    (trouble,) = ask(tmp_path / "python").values()
    assert trouble["trouble"]


def test_lines_are_read_among_other_talk():
    assert read('hello\nbegin torch\nwarning: x\ntold torch {"trouble": ""}\nbegin cuDNN\n') == ({"torch": {"trouble": ""}}, "cuDNN")


@pytest.mark.parametrize(
    ("code", "words"),
    [(0xC0000005, "memory access"), (-11, "segmentation"), (-1073741819, "memory access"), (None, "longer"), (7, "status 0x7")],
)
def test_how_a_child_ended(code, words):
    assert words in ended(code, "")
    assert ended(1, "Traceback\nImportError: no\n") == "ImportError: no"


def test_why_onnxruntime_did_not_take_the_card():
    talk = 'x\n\x1b[1;31mError loading "onnxruntime_providers_cuda.dll" which depends on "cublasLt64_13.dll" which is missing.\x1b[m\n'
    assert telling(talk) == 'Error loading "onnxruntime_providers_cuda.dll" which depends on "cublasLt64_13.dll" which is missing.'
    assert telling("") == ""


def test_who_uses_the_cards_memory():
    text = "1, C:\\Games\\game.exe, [N/A]\n22, /usr/bin/python3, 4096\n23, /usr/bin/python3, 1024\n9, [Insufficient Permissions], [N/A]\n"
    assert users(text) == ["python3 5.0 GB", "game.exe"]
    assert users("No running processes found") == []

"""The doctor's rows about the environment and the card, from made-up facts and recorded answers of nvidia-smi."""

from pathlib import Path

import pytest

from lorabake import doctor_environment as rows
from lorabake import hardware, torch_builds
from lorabake.pins import Difference

DATA = Path(__file__).parent / "data" / "nvidia_smi"
TABLE = torch_builds.rows(windows=True)
CU130 = next(build for build in TABLE if build.name == "cu130")
CARD = {"name": "NVIDIA GeForce RTX 4090", "trouble": ""}
CPU = {"python": "3.12.1", "version": "2.13.0+cpu", "cuda": None, "cards": [], "trouble": ""}
ON_CARD = {**CPU, "version": "2.13.0+cu130", "cuda": "13.0", "cards": [CARD]}
SETUP = "setup.bat"


def seen(file):
    text = (DATA / file).read_text(encoding="utf-8")
    found = tuple(hardware.parse(text))
    return hardware.Seen(found, "" if found else text.splitlines()[0])


def card(**facts):
    usual = {"index": 0, "name": "Card", "vram_gib": 12.0, "free_gib": 11.0, "compute": (8, 9), "driver": (591, 44), "uuid": ""}
    return hardware.Card(**{**usual, **facts})


def torch_row(told, answer):
    return rows.torch_row(told, answer, torch_builds.choose(answer, TABLE), windows=True)


def test_python():
    assert rows.python_row("3.12.1", "p", None, "").status == "OK"
    assert "another does" in rows.python_row("3.9.1", "p", "3.12.1, q", "").found
    row = rows.python_row("3.9.1", "p", None, "this is Python 3.9.1")
    assert (row.status, row.command.split()[0]) == ("FAIL", "winget")


def test_the_environment():
    assert rows.environment_row("003", "made today", reason="", broken=[], command=SETUP).found == "003: made today"
    none = rows.environment_row("", "", reason="there is no environment yet", broken=[], command=SETUP)
    assert (none.status, none.command, none.action) == ("WARN", SETUP, "environment")
    unfit = rows.environment_row("003", "", reason="the pinned set has changed", broken=[], command=SETUP)
    assert (unfit.status, unfit.found) == ("FAIL", "the pinned set has changed")
    damaged = rows.environment_row("003", "", reason="", broken=list("abcdef"), command=SETUP)
    assert (damaged.status, damaged.found) == ("FAIL", "003 is damaged: a, b, c, d and 2 more")


def test_packages():
    assert rows.packages_row([], 59, ours=True, command="x").found == "59 as pinned"
    wrong = [Difference("numpy", "2.4.6", "1.26.4")]
    ours, own = (rows.packages_row(wrong, 59, ours=ours, command="x") for ours in (True, False))
    assert "numpy 1.26.4 in place of 2.4.6" in ours.found
    assert (ours.status, ours.action, own.status, own.action) == ("FAIL", "packages", "WARN", "")
    assert rows.fix_command("packages", windows=True) == "setup.bat -Check -Fix 13"


def test_a_good_card():
    answer = seen("rtx4090.csv")
    (found,) = rows.card_rows(answer)
    assert found.found == "0: NVIDIA GeForce RTX 4090, 24.0 GB, compute 8.9"
    driver = rows.driver_row(answer, torch_builds.choose(answer, TABLE), CU130)
    assert (driver.status, driver.found) == ("OK", "591.44, new enough for cu130")
    assert torch_row(ON_CARD, answer).found == "2.13.0+cu130 computes on NVIDIA GeForce RTX 4090"


def test_no_card_is_a_warning_and_a_silent_driver_a_failure():
    (none,) = rows.card_rows(hardware.Seen(()))
    assert none.status == "WARN" and torch_row(CPU, hardware.Seen(())).status == "OK"
    (dead,) = rows.card_rows(seen("no_devices.txt"))
    assert dead.status == "FAIL" and "driver" in dead.fix
    assert rows.driver_row(hardware.Seen(()), torch_builds.choose(hardware.Seen(()), TABLE), None) is None


def test_drivers():
    old = seen("rtx5070ti_572.csv")
    row = rows.driver_row(old, torch_builds.choose(old, TABLE), None)
    assert row.status == "FAIL" and "580.88 or newer" in row.cause and "update the driver" in row.fix
    row = rows.driver_row(old, torch_builds.choose(old, TABLE), CU130)
    assert row.status == "FAIL" and "torch cu130 needs 580.88" in row.found
    aged = hardware.Seen((card(driver=(528, 49), compute=(6, 1)),))
    row = rows.driver_row(aged, torch_builds.choose(aged, TABLE), None)
    assert row.status == "WARN" and "older than the one" in row.cause


def test_free_memory_of_the_card():
    assert rows.vram_row(hardware.Seen(()), []) is None
    assert rows.vram_row(hardware.Seen((card(),)), ["x"]).status == "OK"
    full = rows.vram_row(hardware.Seen((card(free_gib=3.0),)), ["python.exe 8.0 GB", "dwm.exe"])
    assert full.status == "WARN" and "used by python.exe 8.0 GB, dwm.exe" in full.cause and "close" in full.fix
    small = rows.vram_row(hardware.Seen((card(vram_gib=4.0, free_gib=3.9),)), [])
    assert "batch_size" in small.fix and small.cause
    assert rows.vram_row(hardware.Seen((card(free_gib=1.0), card(index=1, free_gib=11.0))), []).status == "OK"


def test_the_note_on_overflowing_memory():
    new, old = hardware.Seen((card(),)), hardware.Seen((card(driver=(531, 79)),))
    assert "Sysmem Fallback Policy" in rows.overflow_row(new, windows=True).found
    assert rows.overflow_row(new, windows=True).status == "OK"
    assert [rows.overflow_row(old, windows=True), rows.overflow_row(new, windows=False)] == [None, None]


def test_torch_that_leaves_the_card_unused_or_does_not_compute():
    answer = seen("rtx4090.csv")
    assert torch_row(None, answer) is None
    unused = torch_row(CPU, answer)
    assert (unused.status, unused.command) == ("FAIL", "setup.bat --torch cu130")
    kernel = torch_row({**ON_CARD, "cards": [{**CARD, "trouble": "CUDA error: no kernel image is available"}]}, answer)
    assert kernel.status == "FAIL" and "no code for this card" in kernel.cause and kernel.command
    blind = torch_row({**ON_CARD, "cards": []}, answer)
    assert blind.status == "FAIL" and "sees no card" in blind.cause
    full = torch_row({**ON_CARD, "cards": [{**CARD, "trouble": "CUDA out of memory"}]}, answer)
    assert "full" in full.cause
    other = torch_row({**ON_CARD, "trouble": "CUDA driver error"}, answer)
    assert "do not work together" in other.cause and "driver" in other.fix


@pytest.mark.parametrize(
    ("trouble", "cause", "command"),
    [
        ("[WinError 126] The specified module could not be found. Error loading c10.dll", "C++ runtime", "winget"),
        ("[WinError 1455] The paging file is too small", "promise no more", "SystemPropertiesPerformance"),
        ("[WinError 5] Access is denied", "virus scanner", "setup.bat"),
        ("it ended Python (illegal instruction)", "lacks instructions", ""),
        ("No module named 'torch'", "does not load", "setup.bat"),
    ],
)
def test_what_a_failing_import_means(trouble, cause, command):
    row = torch_row({"trouble": trouble}, hardware.Seen(()))
    assert (row.status, row.found) == ("FAIL", trouble)
    assert cause in row.cause and command in row.command and (row.fix or row.command)


def test_cudnn():
    assert rows.cudnn_row(None, setup=SETUP) is None
    assert rows.cudnn_row({"trouble": "", "version": None}, setup=SETUP) is None
    assert rows.cudnn_row({"trouble": "", "version": 91002}, setup=SETUP).found == "9.10.2"
    assert rows.cudnn_text(8902) == "8.9.2"
    row = rows.cudnn_row({"trouble": "Could not load cudnn_graph64_9.dll"}, setup=SETUP)
    assert row.status == "FAIL" and row.cause and row.fix


def test_dlls():
    good = [("OK", "cuDNN 9.10.2, as torch brings it", ""), ("OK", "bitsandbytes has a library for CUDA 13.0", "")]
    (row,) = rows.dll_rows(good, setup=SETUP)
    assert (row.status, row.found.count(";")) == ("OK", 1)
    bad = [("FAIL", "cuDNN 8.9 of somebody", "python py/setup.py"), ("WARN", "relics", ""), ("WARN", "x", "delete the folder")]
    found = rows.dll_rows([*good, *bad], setup=SETUP)
    assert [(row.status, row.action) for row in found] == [("OK", ""), ("FAIL", "environment"), ("WARN", ""), ("WARN", "")]
    assert found[1].command == SETUP and all(row.cause and (row.fix or row.command) for row in found[1:])
    assert rows.dll_rows([], setup=SETUP) == []


def test_bitsandbytes():
    told = {"trouble": "", "version": "0.50.2", "needed": True}
    assert rows.bitsandbytes_row(None, setup=SETUP) is None
    assert rows.bitsandbytes_row(told, setup=SETUP).status == "OK"
    assert rows.bitsandbytes_row({**told, "needed": False}, setup=SETUP).found == "not needed without a card"
    assert rows.bitsandbytes_row({**told, "version": ""}, setup=SETUP).status == "WARN"
    row = rows.bitsandbytes_row({"trouble": "CUDA binary not found"}, setup=SETUP)
    assert row.status == "WARN" and "AdamW" in row.cause


def test_xformers_is_not_missed():
    assert rows.xformers_row(None, python="p") is None
    assert rows.xformers_row({"trouble": "", "version": ""}, python="p").found == "not needed: torch's own attention is used"
    assert rows.xformers_row({"trouble": "", "version": "0.0.33"}, python="p").status == "OK"
    row = rows.xformers_row({"trouble": "DLL load failed"}, python="p.exe")
    assert row.status == "WARN" and row.command == '"p.exe" -m pip uninstall xformers'


def test_onnxruntime():
    told = {"trouble": "", "version": "1.31.1", "for_card": True, "provider": "CUDAExecutionProvider"}
    assert rows.onnxruntime_row(None, setup=SETUP) is None
    assert rows.onnxruntime_row(told, setup=SETUP).found == "1.31.1 starts on the card"
    assert "on the CPU" in rows.onnxruntime_row({**told, "for_card": False}, setup=SETUP).found
    row = rows.onnxruntime_row({**told, "provider": "CPUExecutionProvider", "reason": "cublasLt64_13.dll which is missing"}, setup=SETUP)
    assert row.status == "WARN" and "cublasLt64_13.dll" in row.cause and row.fix
    assert rows.onnxruntime_row({"trouble": "DLL load failed"}, setup=SETUP).status == "FAIL"


def test_the_pocket_model():
    assert rows.model_row("m", 36 << 20).status == "OK"
    assert rows.model_row("m", 130).status == "WARN"  # a pointer of git lfs

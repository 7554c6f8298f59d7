"""DLLs on Windows: refused by its loader, replaced by pip's wheel, in use, put back; and the proof in the real environment."""

import json

import pytest

import windows_house
from windows_house import of_windows, start

pytestmark = pytest.mark.windows


def told(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("told "))[5:])


def test_a_dll_that_windows_refuses_is_replaced_and_put_back(house):
    done = start(house, "python.exe", "-X", "utf8", of_windows(house / "tests" / "windows_dlls.py"))
    found = told(done)
    assert found["version"] == "Microsoft Corporation"
    assert "[WinError" in found["before"], "a cut-off DLL is refused"
    assert found["mended"] and found["after"] == 92000 and found["there"]
    assert "cannot be replaced" in found["held"], "a DLL in use is not touched, and that is said"
    assert found["undone"].startswith("2 DLLs of 001 are as they were") and found["back"]


def test_the_real_environment_needs_nothing(baker):
    """torch's CPU build, bitsandbytes' library for the CPU; setup put nothing there, so there is nothing to undo."""
    code = (
        "import json, sys; sys.path.insert(0, 'py'); from pathlib import Path; from lorabake import dlls, venvs, paths; "
        "env = venvs.current(paths.VENV); print('told ' + json.dumps([dlls.prove(env), dlls.findings(env)]))"
    )
    proof, rows = told(start(baker, windows_house.python_of(baker), "-c", code, python=False))
    assert (proof["torch"], proof["eight_bit"], proof["onnxruntime"]) == ("", "", "")
    assert rows == [["OK", "torch's CPU build needs no cuDNN", ""]]
    done = windows_house.setup(baker, "-UndoDlls")
    assert done.returncode == 0 and "nothing to undo" in done.stdout, done.stdout + done.stderr
    assert (baker / "accelerate.yaml").read_text(encoding="utf-8").count("use_cpu: true") == 1

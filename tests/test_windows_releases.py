"""setup.bat -Update and -Rollback on Windows: files in use are noticed before anything is changed; setup.bat itself is exchanged."""

import os
import subprocess
import sys
import time

import pytest

import small_release as small
import tools
from windows_house import of_windows, setup

pytestmark = pytest.mark.windows
PYTHON = r"C:\Python\python.exe" if os.name == "posix" else sys.executable
HOLD = "import sys; file = open(sys.argv[1], 'r+b'); print('has it', flush=True); sys.stdin.readline()"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    tools.windows()
    above = tmp_path_factory.mktemp("w")
    folder = small.write(above / "My Loras \u00e9 & (1)" / "lorabake", "0.1.0")
    small.put(folder, {"profiles/mine.yaml": "name: mine\n", "baked/a.safetensors": "x"})
    newer = small.write(above / "new", "0.2.0")
    text = (newer / "setup.bat").read_text(encoding="utf-8")
    small.put(newer, {"setup.bat": text.replace("@echo off", "@echo off\nrem " + "longer " * 40, 1), "docs/new.md": "new"})
    return folder, small.packed(newer, above / "new.zip", top="lorabake-0.2.0/"), newer


def settled(folder):
    """Wait for what is done when setup.bat has ended."""
    for _ in range(150):
        if not (folder / "releases" / "_switch.json").exists():
            return
        time.sleep(0.2)
    pytest.fail("the exchange was not finished")


def test_a_file_that_is_held_stops_it_before_anything_is_changed(house):
    folder, zipped, _ = house
    before = small.state(folder)
    hold = [*tools.windows(), PYTHON, "-c", HOLD, of_windows(folder / "train.ps1")]
    with subprocess.Popen(hold, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as holder:
        assert b"has it" in holder.stdout.readline()
        done = setup(folder, "-Update", of_windows(zipped))
        holder.stdin.write(b"\n")
    assert done.returncode == 1 and "train.ps1 cannot be replaced" in done.stderr, done.stdout + done.stderr
    assert small.state(folder) == before


def test_there_and_back_with_setup_bat_itself(house):
    folder, zipped, newer = house
    before, bat = small.state(folder), (folder / "setup.bat").read_bytes()
    done = setup(folder, "-Update", of_windows(zipped))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is in place of 0.1.0-" in done.stderr and "not recognized" not in done.stderr
    settled(folder)
    after = small.state(folder)
    assert {name: after[name] for name in small.state(newer)} == small.state(newer)
    assert after["profiles/mine.yaml"] == "name: mine\n"
    done = setup(folder, "-Rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    settled(folder)
    assert small.state(folder) == before and (folder / "setup.bat").read_bytes() == bat

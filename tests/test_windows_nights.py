"""Nights on Windows itself: schtasks.exe, the wish to stay awake, a closed window, Ctrl-C through the launchers; then a real night."""

import json
import os
import shutil
import time
from xml.etree import ElementTree

import pytest

import tools
from lorabake import night_times
from test_launchers import PYTHON
from test_registration import windows_words
from windows_house import DRIVE_C, WITH_PYTHON, launch, of_windows, start

pytestmark = pytest.mark.windows
HEAD = "import sys; sys.path.insert(0, sys.argv[1]); from lorabake import *\n"
WITH_OURS = (*WITH_PYTHON, "LORABAKE_PYTHON=current")


@pytest.fixture(scope="module", autouse=True)
def there():
    tools.windows()  # skips where there is none


@pytest.fixture
def folder(tmp_path):
    """The launchers with a stand-in for train.py that tells its words."""
    found = tmp_path / "My Loras & \u00e9 (1)"
    (found / "py").mkdir(parents=True)
    shutil.copytree(tools.ROOT / "ps", found / "ps")
    shutil.copy(tools.ROOT / "train.ps1", found)
    (found / "py" / "train.py").write_text(PYTHON, encoding="utf-8")
    return found


def python(folder, code, *words):
    """Run our own modules under Windows' Python."""
    script = folder / "script.py"
    script.write_text(HEAD + code, encoding="utf-8")
    return start(folder, "python.exe", of_windows(script), of_windows(tools.ROOT / "py"), *words)


REGISTER = """
import os
from datetime import datetime
from pathlib import Path
from lorabake import registration, scheduler
name, folder = sys.argv[3], sys.argv[2]
files = (folder + chr(92) + 'a, b.yaml', folder + chr(92) + 'c.yaml')
night = registration.Night(name, files, datetime(2026, 12, 1, 23, 30), 'daily', '07:00')
line = registration.arguments(folder + chr(92) + 'train.ps1', registration.launcher_words(night))
registration.refuse_variables(line, os.environ)
user = scheduler.user()
assert user.startswith('S-1-'), user
task = registration.Task(name, user, night.start, night.repeat, registration.command_of(os.environ), line, folder)
scheduler.create(task, Path(folder) / 'task.xml')
scheduler.create(task, Path(folder) / 'task.xml')
assert scheduler.state(name)
"""
REMOVE = """
from lorabake import scheduler
from lorabake.errors import UserError
scheduler.delete(sys.argv[3])
try:
    scheduler.delete(sys.argv[3])
except UserError as error:
    print(error)
"""


def test_a_task_comes_and_goes_and_its_command_says_all_words(folder):
    name = f"probe \u00e9 {os.getpid()}"
    done = python(folder, REGISTER, of_windows(folder), name)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = DRIVE_C / "windows" / "system32" / "tasks" / "lorabake" / name
    if os.name == "posix":  # what the small Windows keeps of it
        root = ElementTree.fromstring(kept.read_text(encoding="utf-8-sig"))
        settings = {element.tag.split("}")[1]: element.text for element in root.iter()}
        assert settings["URI"] == f"\\lorabake\\{name}" and settings["WakeToRun"] == "true" and settings["ExecutionTimeLimit"] == "PT0S"
    else:
        assert start(folder, "schtasks.exe", "/Query", "/TN", f"\\lorabake\\{name}", python=False).returncode == 0
    given = ElementTree.fromstring((folder / "task.xml").read_bytes().decode("utf-16").split("\n", 1)[1])
    command, line = (next(e.text for e in given.iter() if e.tag.endswith(tag)) for tag in ("Command", "Arguments"))
    run = start(folder, command, *windows_words(line), python=False, variables=WITH_OURS)
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(next(row for row in run.stdout.splitlines() if row.startswith("{")))["words"]
    at = of_windows(folder)
    assert told[:2] == ["--stop-by=07:00", f"--scheduled=2026-12-01T23:30/daily/{name}"]
    assert ",".join(told[3:]) == f"{at}\\a, b.yaml,{at}\\c.yaml"
    assert night_times.read_mark(told[1].split("=", 1)[1]).name == name
    done = python(folder, REMOVE, "", name)
    assert done.returncode == 0 and "did not take" in done.stdout and not kept.exists(), done.stdout + done.stderr


@pytest.mark.parametrize("answer", [13, 20])
def test_the_exit_code_reaches_the_tasks_history(folder, answer):
    words = ["powershell.exe", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File", of_windows(folder / "train.ps1")]
    done = start(folder, *words, "-ProfilePath", "x.yaml", "-NoPause", python=False, variables=(*WITH_OURS, f"ANSWER={answer}"))
    assert done.returncode == answer, done.stderr


AWAKE = """
import ctypes
from lorabake import power, toast, asking
state = ctypes.WinDLL('kernel32').SetThreadExecutionState
state.restype = ctypes.c_uint
with power.awake():
    inside = state(0x80000000)
print(hex(inside))
toast.show('title', 'text')
"""


def test_windows_takes_the_wish_to_stay_awake_and_a_toast_is_no_error(folder):
    done = python(folder, AWAKE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0x80000001"]


CLOSED = """
import ctypes, threading, time
from lorabake.stopper import Stopper
stopper, began = Stopper(()), time.monotonic()
routine = ctypes.WinDLL('kernelbase').CtrlRoutine  # what Windows starts when the window is closed
with stopper.listening():
    threading.Thread(target=routine, args=(ctypes.c_void_p(2),), daemon=True).start()
    while not stopper.reason() and time.monotonic() - began < 20:
        time.sleep(0.05)
    print(stopper.reason())
    time.sleep(1)
    print('state saved')
print('ended in time' if time.monotonic() - began < 4 else 'too late')
sys.exit(13)
"""


@pytest.mark.skipif(os.name == "nt", reason="a person closes a window (docs/unproven.md)")
def test_a_closed_window_gets_its_one_attempt(folder):
    done = python(folder, CLOSED)
    assert done.stdout.splitlines() == ["the closed window", "state saved", "ended in time"], done.stdout + done.stderr
    assert done.returncode == 13


# Windows' own cmd.exe waits for what it started; the small one's ends at once, so that something must stay to keep the console.
STAYS = """import signal, subprocess, sys, time
child = subprocess.Popen(sys.argv[1:])
signal.signal(signal.SIGINT, signal.SIG_IGN)
child.wait()
time.sleep(8)
"""
BAKES = """import signal, sys, time
asked = []
signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
print('baking', flush=True)
while not asked:
    time.sleep(0.1)
time.sleep(1)
print('state saved', flush=True)
sys.exit(13)
"""


def interrupted(folder, *command):
    """What the window showed, and the exit code of the first program in it, after one Ctrl-C."""
    from terminal import Terminal

    (folder / "py" / "train.py").write_text(BAKES, encoding="utf-8")
    with Terminal([*tools.windows(), *WITH_OURS, *command], cwd=folder) as window:
        window.expect("baking", timeout_s=60)
        time.sleep(0.5)
        window.type("\x03")
        window.expect("state saved", timeout_s=30)
        return window.text(), window.wait(timeout_s=60)


LAUNCH = ["powershell.exe", "-NoProfile", "-ExecutionPolicy", "Bypass", "-File", "train.ps1", "a.yaml", "-NoPause"]


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
def test_control_c_through_powershell(folder):
    assert interrupted(folder, *LAUNCH)[1] == 13


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
def test_control_c_through_cmd_and_powershell(folder):
    (folder / "stays.py").write_text(STAYS, encoding="utf-8")
    (folder / "go.cmd").write_bytes(f"@echo off\r\n{' '.join(LAUNCH)}\r\nexit /b %ERRORLEVEL%\r\n".encode())
    interrupted(folder, "python.exe", "stays.py", "cmd.exe", "/c", "go.cmd")


COUNTS = """
from pathlib import Path
from lorabake import power, when_done
power.act = lambda action: print('asked Windows:', action) or ''
when_done.STOP_FILE = Path('stop of the test')
when_done.end_with('sleep')
"""


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
def test_a_key_takes_the_pcs_sleep_back(folder):
    from terminal import Terminal

    (folder / "script.py").write_text(HEAD + COUNTS, encoding="utf-8")
    command = [*tools.windows(), *WITH_PYTHON, "python.exe", of_windows(folder / "script.py"), of_windows(tools.ROOT / "py")]
    with Terminal(command, cwd=folder) as window:
        window.expect("goes to sleep in 60 s", timeout_s=60)
        window.type("x")
        window.expect("taken back: the PC stays on", timeout_s=20)
        assert window.wait(timeout_s=30) == 0
    assert "asked Windows" not in window.text()


# --- with an environment: a night from -At to the LoRA

SHORT = "train.steps=3,samples.prompts=[],train.warmup=0"


def test_a_night_is_registered_and_its_command_bakes_and_it_is_taken_away(baker):
    words = [
        "profiles\\demo.yaml",
        "-Set",
        f"name=night,output=baked\\nights,{SHORT}",
        "-At",
        "23:59",
        "-StopBy",
        "23:58",
        "-WhenDone",
        "Nothing",
    ]
    done = launch(baker, "train.ps1", *words)
    assert done.returncode == 0 and "registered: night" in done.stderr, done.stdout + done.stderr
    root = ElementTree.fromstring((baker / "logs" / "tasks" / "night.xml").read_bytes().decode("utf-16").split("\n", 1)[1])
    command, line = (next(e.text for e in root.iter() if e.tag.endswith(tag)) for tag in ("Command", "Arguments"))
    assert "has not run yet" in launch(baker, "train.ps1", "-List").stdout
    run = start(baker, command, *windows_words(line), python=False, limit_s=600)
    assert run.returncode == 0, run.stdout + run.stderr
    assert (baker / "profiles" / "baked" / "nights" / "night.safetensors").is_file()
    shown = launch(baker, "train.ps1", "-List").stdout
    assert "done (0)" in shown and "-night.log" in shown
    assert launch(baker, "train.ps1", "-Remove", "night").returncode == 0
    assert not list((baker / "logs" / "tasks").iterdir())


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
def test_control_c_ends_two_real_bakes_with_their_state_saved(baker):
    from terminal import Terminal

    for name in ("one", "two"):
        text = (baker / "profiles" / "demo.yaml").read_text(encoding="utf-8").replace("name: demo-openmoji", f"name: stopped {name}")
        (baker / "profiles" / f"stopped-{name}.yaml").write_text(text, encoding="utf-8")
    words = ["-File", "train.ps1", "profiles\\stopped-one.yaml,profiles\\stopped-two.yaml", "-Set", "samples.prompts=[]", "-NoPause"]
    with Terminal([*tools.windows(), "powershell.exe", "-NoProfile", "-ExecutionPolicy", "Bypass", *words], cwd=baker) as window:
        window.expect("baking 1/", timeout_s=600)
        window.type("\x03")
        assert window.wait(timeout_s=120) == 13, window.text()
    assert "not started" in window.text()
    result = json.loads((baker / "baked" / "stopped one.runs" / "001" / "result.json").read_text(encoding="utf-8"))
    assert (result["status"], result["exit_code"]) == ("stopped", 13)
    assert any((baker / "baked" / "stopped one.runs" / "001" / "state").iterdir())

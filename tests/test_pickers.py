"""Windows to pick in: what a child process answers, with a stand-in for tkinter, and for real where there is a screen to be had."""

import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

from lorabake import pickers

REAL_LIMIT_S = 60
STAND_IN = """
class Tk:
    def __init__(self): {start}
    def withdraw(self): pass
    def attributes(self, *words): pass
    def update(self): pass
    def destroy(self): pass
"""
DIALOGS = """
def askdirectory(*, parent, title, mustexist): return {folder!r}
def askopenfilename(*, parent, title, filetypes): return {file!r}
def askopenfilenames(*, parent, title, filetypes):
    assert ("All files", ("*",)) in filetypes and title == "Model files"
    return {files!r}
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A tkinter that answers at once."""

    def make(*, start="pass", folder="", file="", files=()):
        package = tmp_path / "stand in" / "tkinter"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text(STAND_IN.format(start=start), encoding="utf-8")
        (package / "filedialog.py").write_text(DIALOGS.format(folder=folder, file=file, files=files), encoding="utf-8")

    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stand in"))
    monkeypatch.setattr(pickers, "screen", lambda: True)
    return make


ODD = os.path.normpath("/a b/it's [1] & \u732b \U0001f63a")


def test_a_folder(stand_in):
    stand_in(folder=ODD)
    assert pickers.folder("Pictures") == [ODD]


def test_files(stand_in):
    stand_in(files=("/a//b.pt", ODD), file=ODD)
    assert pickers.files("Model files", pickers.MODELS) == [os.path.normpath("/a/b.pt"), ODD]
    assert pickers.files("One", pickers.MODELS, several=False) == [ODD]


@pytest.mark.parametrize("nothing", ["", ()])
def test_a_closed_window(stand_in, nothing):
    stand_in(folder=nothing, files=nothing)
    assert pickers.folder("x") == []
    assert pickers.files("Model files") == []


@pytest.mark.parametrize("start", ["raise RuntimeError('no display')", "import os; os.abort()", "import os; os._exit(0)"])
def test_a_broken_window_costs_only_the_window(stand_in, start, capfd):
    stand_in(start=start)
    assert pickers.folder("x") is None
    assert capfd.readouterr().err == ""


def test_what_a_broken_child_says_is_not_taken_for_paths():
    assert pickers._read(b'noise\n["a"]\n') == ["a"]
    assert pickers._read(b"") is None and pickers._read(b"{}") is None and pickers._read(b"\xff") is None


def test_a_module_in_the_current_folder_is_not_run(stand_in, tmp_path, monkeypatch):
    stand_in(folder=ODD)
    (tmp_path / "json.py").write_text("raise SystemExit(7)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert pickers.folder("x") == [ODD]


def test_without_a_screen(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not pickers.screen() and pickers.folder("x") is None
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv(pickers.OFF, "1")
    assert not pickers.screen()
    monkeypatch.delenv(pickers.OFF)
    monkeypatch.setattr(pickers.importlib.util, "find_spec", lambda name: None)
    assert not pickers.screen(), "Linux distributions ship Python without it"


def test_control_c_closes_the_window(stand_in, monkeypatch):
    stand_in(start="import time; time.sleep(60)")
    began, children = time.monotonic(), []
    real = subprocess.Popen

    def start(*words, **more):
        children.append(real(*words, **more))
        children[0].communicate = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
        return children[0]

    monkeypatch.setattr(pickers.subprocess, "Popen", start)
    with pytest.raises(KeyboardInterrupt):
        pickers.folder("x")
    assert time.monotonic() - began < 20 and children[0].returncode


@pytest.fixture
def real_screen(monkeypatch):
    """A virtual screen of our own."""
    if not shutil.which("Xvfb") or not shutil.which("xdotool"):
        pytest.skip("no virtual screen: Xvfb and xdotool are not installed")
    pytest.importorskip("tkinter")
    read, write = os.pipe()
    with subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24"], pass_fds=[write], stderr=subprocess.DEVNULL
    ) as server:
        os.close(write)
        with os.fdopen(read, encoding="ascii") as told:
            monkeypatch.setenv("DISPLAY", f":{told.readline().strip()}")
        monkeypatch.delenv(pickers.OFF, raising=False)
        guard = threading.Timer(REAL_LIMIT_S, server.terminate)  # then the dialog ends too, and the test says so
        guard.start()
        yield
        guard.cancel()
        server.terminate()


def window(title):
    """The number of the window of this title, None where there is none."""
    found = subprocess.run(["xdotool", "search", "--name", title], capture_output=True, text=True, check=False).stdout.split()
    return found[-1] if found else None


def press(title, *keys):
    """Press the keys until the window is gone; a busy machine may lose some of them."""
    for _ in range(20):
        while window(title) is None:
            time.sleep(0.2)
        time.sleep(0.5)
        for key in keys:
            subprocess.run(["xdotool", *key], capture_output=True, check=False)
        time.sleep(1.5)
        if window(title) is None:
            return


def picked(pick, title, *keys):
    presser = threading.Thread(target=press, args=(title, *keys), daemon=True)
    presser.start()
    return pick()


@pytest.mark.slow
def test_a_real_window(real_screen, tmp_path):
    file = tmp_path / "a b.safetensors"
    file.write_bytes(b"")
    keys = (["key", "ctrl+slash"], ["key", "BackSpace"], ["type", str(file)], ["key", "Return"])
    assert picked(lambda: pickers.files("Model files", pickers.MODELS, several=False), "Model files", *keys) == [str(file)]
    assert picked(lambda: pickers.folder("Pictures"), "Pictures", ["key", "Escape"]) == []

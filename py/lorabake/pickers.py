"""Windows in which a person picks a folder or files: the system's own dialogs, by tkinter, in a child process.

A child, because a missing screen or a broken Tk must cost nothing but the window: then the path is typed. Not here: asking at the
console (asking.py). Standard library only, any Python 3.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

Filter = tuple[str, str]  # what they are, and their patterns: ("Model files", "*.safetensors *.ckpt")
MODELS: tuple[Filter, ...] = (("Model files", "*.safetensors *.ckpt *.pt *.pth *.bin"),)
PROFILES: tuple[Filter, ...] = (("Profiles", "*.yaml *.yml"),)
TEXTS: tuple[Filter, ...] = (("Text files", "*.txt"),)
ANY: Filter = ("All files", "*")
OFF = "LORABAKE_NO_WINDOWS"  # set: no windows, paths are typed
START = "import sys; sys.path.insert(0, sys.argv[1]); from lorabake import pickers; pickers.child(sys.argv[2])"


def screen() -> bool:
    """Whether a window could be opened here, without trying."""
    if os.environ.get(OFF) or importlib.util.find_spec("tkinter") is None:
        return False
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY"))


def folder(title: str) -> list[str] | None:
    """The folder that was picked; [] when the window was closed without, None where no window could be opened."""
    return _ask({"kind": "folder", "title": title})


def files(title: str, filters: Sequence[Filter] = (), *, several: bool = True) -> list[str] | None:
    """The files that were picked (one where not `several`); [] and None as in `folder`."""
    return _ask({"kind": "files" if several else "file", "title": title, "filters": [list(pair) for pair in (*filters, ANY)]})


def _ask(wish: dict[str, object]) -> list[str] | None:
    if not screen():
        return None
    command = [sys.executable, "-c", START, str(Path(__file__).resolve().parents[1]), json.dumps(wish)]
    # PYTHONSAFEPATH: a file named tkinter.py in the current folder is not ours to run
    variables = {**os.environ, "PYTHONUTF8": "1", "PYTHONSAFEPATH": "1"}
    try:
        window = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=variables)
    except OSError:
        return None
    with window:
        try:
            told, _ = window.communicate()  # a person takes as long as a person takes
        except KeyboardInterrupt:
            window.kill()
            raise
    return _read(told) if window.returncode == 0 else None


def _read(told: bytes) -> list[str] | None:
    try:
        found = json.loads(told.decode("utf-8", "replace").strip().splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return [str(path) for path in found] if isinstance(found, list) else None


def child(wish_json: str) -> None:
    """What the child does: one dialog, its paths as JSON on stdout. Any failure is its exit code."""
    import tkinter
    from tkinter import filedialog

    wish = json.loads(wish_json)
    root = tkinter.Tk()
    root.withdraw()
    root.attributes("-topmost", True)  # else Windows may open it behind the console
    root.update()
    picked: str | tuple[str, ...]
    if wish["kind"] == "folder":
        picked = filedialog.askdirectory(parent=root, title=wish["title"], mustexist=True)
    else:
        filters = [(name, tuple(patterns.split())) for name, patterns in wish["filters"]]
        ask = filedialog.askopenfilenames if wish["kind"] == "files" else filedialog.askopenfilename
        picked = ask(parent=root, title=wish["title"], filetypes=filters)
    several = picked if isinstance(picked, (tuple, list)) else [picked]
    sys.stdout.write(json.dumps([os.path.normpath(path) for path in several if path]) + "\n")  # Tk writes / on Windows
    sys.stdout.flush()
    root.destroy()

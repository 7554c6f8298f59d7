"""Asks for `setup.py --check` what only other programs can tell: an environment's Python (doctor_probe.py) and nvidia-smi.

Each is given a time; none can hang or crash us. Not here: what the answers mean (doctor_environment.py). Standard library only.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from lorabake import hardware, installer

PARTS = ("torch", "cuDNN", "onnxruntime", "bitsandbytes", "xformers")
LIMIT_S = 120.0  # a first import from a cold hard disk under a virus scanner
LIBRARY = Path(__file__).resolve().parents[1]
# -c, not the file itself: Python would put our library's folder first on its path, where profile.py hides Python's own
START = "import sys; sys.path.insert(0, sys.argv[1]); from lorabake import doctor_probe; doctor_probe.main(sys.argv[2:])"
TELLING = re.compile(
    r"which is missing|Error loading|Failed to load|cannot open shared object|cannot be loaded|DLL load failed|LoadLibrary"
)
CRASHES = {0xC0000005: "memory access violation", 0xC000001D: "illegal instruction", 0xC0000135: "a DLL is missing"}
CRASHES.update({-11: "segmentation fault", -4: "illegal instruction", -6: "aborted", -9: "killed; out of memory?"})


def ask(python: Path, *, parts: Sequence[str] = PARTS, limit_s: float = LIMIT_S) -> dict[str, dict[str, Any]]:
    """What the environment tells of each part; one that crashed or took too long has only its 'trouble'."""
    end = time.monotonic() + limit_s
    told: dict[str, dict[str, Any]] = {}
    left = list(parts)
    while left:
        output, code, complaint = _run(python, left, end - time.monotonic())
        new, begun = read(output)
        told.update(new)
        if begun and begun not in told:
            told[begun] = {"trouble": ended(code, complaint, limit_s)}
        elif not new:  # not even the first part was begun
            told[left[0]] = {"trouble": ended(code, complaint, limit_s)}
        for one in new.values():
            if one.get("for_card") and one.get("provider", "").startswith("CPU"):
                one["reason"] = telling(complaint)
        left = [part for part in left if part not in told]
        if code is None or "version" not in told.get("torch", {"version": ""}):
            break  # no time is left, or no torch, which all the others need
    return told


def _run(python: Path, parts: Sequence[str], limit_s: float) -> tuple[str, int | None, str]:
    """(stdout, exit code, stderr); the code is None when the time was over."""
    variables = {**installer.clean_variables(None), "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    command = [str(python), "-c", START, str(LIBRARY), *parts]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=max(limit_s, 1),
            check=False,
            env=variables,
            creationflags=hidden,
        )
    except subprocess.TimeoutExpired as error:
        return _text(error.stdout), None, _text(error.stderr)
    except OSError as error:
        return "", -1, str(error)
    return _text(done.stdout), done.returncode, _text(done.stderr)


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")


def read(output: str) -> tuple[dict[str, dict[str, Any]], str]:
    """({part: what it told}, the part begun last) of the probe's lines; other lines are other packages' talk."""
    told, begun = {}, ""
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        name, _, text = rest.partition(" ")
        if word == "begin" and name in PARTS:
            begun = name
        elif word == "told" and name in PARTS:
            told[name] = json.loads(text)
    return told, begun


def ended(code: int | None, complaint: str, limit_s: float = LIMIT_S) -> str:
    """Why a part told nothing: the time, a crash, or the last line that it complained with."""
    if code is None:
        return f"it took longer than {limit_s:.0f} s (a virus scanner, a very slow disk?)"
    crash = CRASHES.get(code) or CRASHES.get(code & 0xFFFFFFFF)
    if crash:
        return f"it ended Python ({crash})"
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    return lines[-1] if lines else f"it ended Python (status {code & 0xFFFFFFFF:#x})"


def telling(complaint: str) -> str:
    """The line of onnxruntime's talk that says why the card is not used, '' when none does."""
    for line in complaint.splitlines():
        if TELLING.search(line):
            return re.sub(r"\x1b\[[0-9;]*m", "", line).strip()[-200:]
    return ""


def users_of_memory() -> list[str]:
    """The programs that compute on a card, as nvidia-smi names them; [] where it does not tell."""
    program = hardware.find_nvidia_smi()
    if program is None:
        return []
    command = [str(program), "--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader,nounits"]
    hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=hardware.ANSWER_TIMEOUT_S, check=False, creationflags=hidden, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return users(_text(done.stdout)) if done.returncode == 0 else []


def users(text: str) -> list[str]:
    """['python.exe 4.2 GB', 'dwm.exe'] of nvidia-smi's lines 'pid, name, MiB'; Windows' drivers tell no amount."""
    found: dict[str, float] = {}
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if len(row) >= 3 and row[0].strip().isdigit() and "insufficient" not in row[1].lower():
            name = PureWindowsPath(row[1].strip()).name  # takes both kinds of slash
            found[name] = found.get(name, 0.0) + (float(row[2]) if row[2].strip().isdigit() else 0.0)
    ranked = sorted(found.items(), key=lambda one: -one[1])
    return [f"{name} {mib / 1024:.1f} GB" if mib else name for name, mib in ranked]

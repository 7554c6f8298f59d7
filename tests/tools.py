"""Finds what the launchers are tested with: a PowerShell, its linter, and a Windows (a real one or the small one of the tools)."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = Path(os.environ.get("LORABAKE_TOOLS") or ROOT.parent / "shared" / "tools")
PWSH_OF_TOOLS = TOOLS / "pwsh" / "pwsh"


def powershell() -> str:
    """A PowerShell: PWSH, one on PATH, the tools' one; skips the test where there is none."""
    for name in (os.environ.get("PWSH"), "powershell.exe" if os.name == "nt" else None, "pwsh", str(PWSH_OF_TOOLS)):
        found = shutil.which(name) if name else None
        if found:
            return found
    pytest.skip(f"no PowerShell: PWSH is not set, pwsh is not on PATH and not in {TOOLS}")


def linter() -> list[str]:
    """The command that checks scripts for Windows PowerShell 5.1; skips the test where the tools are absent."""
    if not PWSH_OF_TOOLS.is_file():
        pytest.skip(f"no linter for PowerShell 5.1: there is no {PWSH_OF_TOOLS}")
    return [str(PWSH_OF_TOOLS), "--lint"]


def windows() -> list[str]:
    """What to put before a Windows command line ([] on a real Windows): LORABAKE_WINDOWS_RUN or the tools' small Windows; else skips."""
    if os.name == "nt":
        return []
    given = os.environ.get("LORABAKE_WINDOWS_RUN")
    run = Path(given) if given else TOOLS / "windows" / "run"
    trouble = _why_no_windows(run)
    if trouble:
        pytest.skip(trouble)
    return [str(run)]


@cache
def _why_no_windows(run: Path) -> str:
    if not run.is_file():
        return f"no Windows: LORABAKE_WINDOWS_RUN is not set and there is no {run}"
    try:
        done = subprocess.run([run, "cmd.exe", "/c", "exit 7"], capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return f"no Windows: {run} does not answer"
    return "" if done.returncode == 7 else f"no Windows: {run} says: {done.stderr.strip() or done.returncode} (its make was not run?)"

"""A program run to its end: seconds, its processor's seconds, and its peak memory. For the benches that put two programs side by side."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Figures:
    """`peak_bytes`: the largest resident size of one process, mapped file pages included (wait4). It begins with that of this process:
    what needs much memory here belongs into a process of its own."""

    elapsed_s: float
    cpu_s: float
    peak_bytes: int


def run(command: list[str], log: Path, *, cwd: Path = ROOT, variables: Mapping[str, str] | None = None) -> Figures:
    """Run without a card and without a hub; what the program says goes to `log`. Ends this program when that one fails."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": f"{cwd}{os.pathsep}{cwd / 'networks'}"}
    with log.open("wb") as file:
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=cwd, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment | dict(variables or {})
        )
        _, status, usage = os.wait4(process.pid, 0)
        elapsed_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
    return Figures(elapsed_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)

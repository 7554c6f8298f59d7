"""Runs the checks and the tests in lorabake's own environment, from any Python 3.11 to 3.13 with nothing installed.

  python3 tests              ruff, mypy and the default tier of the tests: CPU, no network once the environment stands
  python3 tests --all        the slow and the Windows tier too (what .ci/run calls)
  python3 tests -k plan      further words go to pytest, which then runs alone

Exit code: 0 when everything passed, 1 when not, 2 for words that pytest does not know.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "py"))

from lorabake import console, environment, errors

NOT_BY_DEFAULT = "not slow and not windows"
MOST_WORKERS = 4  # processes side by side, each with a model or two in memory
PYTEST_WORDS_CODE, NOTHING_FOUND_CODE = 4, 5


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python3 tests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="the slow and the Windows tier too")
    return parser.parse_known_args()


def steps(everything: bool, words: list[str]) -> dict[str, list[str]]:
    """What `python -m` is called with, by name. Whoever asks pytest for something of its own gets only that."""
    checks = {"ruff check": ["ruff", "check", "."], "ruff format": ["ruff", "format", "--check", "."], "mypy": ["mypy"]}
    tier = [] if everything else ["-m", NOT_BY_DEFAULT]
    together = ["-n", str(min(MOST_WORKERS, os.cpu_count() or 1)), "--no-loadscope-reorder"]
    return {**({} if words else checks), "pytest": ["pytest", "-rs", "--durations=10", *tier, *(words or together)]}


def main() -> int:
    options, words = parse()
    environment.ensure(__file__)
    environment.add_test_packages()
    rows = []
    for name, command in steps(options.all, words).items():
        console.say(f"\n=== {name}")
        rows.append((name, *run([sys.executable, "-m", *command])))
    console.say("")
    for name, code, elapsed_s in rows:
        console.say(f"  {name:<12} {'passed' if code == 0 else f'FAILED ({code})':<12} {console.duration(elapsed_s)}")
    codes = [code for _, code, _ in rows]
    left_out = "" if options.all else "; the slow and the Windows tier were left out (--all)"
    console.say(f"  {'not all passed' if any(codes) else 'all passed'}{left_out}")
    if codes[-1] in {PYTEST_WORDS_CODE, NOTHING_FOUND_CODE}:
        return 2
    return 1 if any(codes) else 0


def run(command: list[str]) -> tuple[int, float]:
    """Exit code and seconds of a check; nothing of it may ask a network for a model.

    One thread for each operation: those of tiny models are too short to share, and threads that wait for each other suffer most from
    whatever else runs on the machine.
    """
    start = time.monotonic()
    variables = {"OMP_NUM_THREADS": "1", **os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, check=False)
    return done.returncode, time.monotonic() - start


if __name__ == "__main__":
    errors.run(main)

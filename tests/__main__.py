"""Run the tests: `python3 tests` (the default tier) or `python3 tests --all` (also slow and windows).

Makes or repairs the environment first, adds the test packages, then lint, types and pytest; other words go to pytest. Works from any
Python 3.11 to 3.13 with nothing installed.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "py"))

from lorabake import console, environment, errors


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python3 tests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every tier that this machine can run")
    return parser.parse_known_args()


def steps(everything: bool, more: list[str]) -> list[tuple[str, list[str]]]:
    """(label, words after the interpreter). Without --all the slow and windows tiers are left out."""
    checks = [("lint", ["ruff", "check", "."]), ("format", ["ruff", "format", "--check", "."]), ("types", ["mypy"])]
    tiers = [] if everything else ["-m", "not slow and not windows"]
    return [*([] if more else checks), ("tests", ["pytest", "-rs", *tiers, *more])]


def main() -> int:
    options, more = parse()
    environment.ensure(__file__)
    environment.add_test_packages()
    rows = []
    for label, words in steps(options.all, more):
        console.say(f"--- {label}")
        began = time.monotonic()
        code = subprocess.run([sys.executable, "-m", *words], cwd=ROOT).returncode
        rows.append((label, code, time.monotonic() - began))
    console.say("")
    for label, code, seconds in rows:
        console.say(f"  {label:<8} {'ok' if code == 0 else f'FAILED ({code})':<12} {console.duration(seconds)}")
    return 0 if all(code == 0 for _, code, _ in rows) else 1


if __name__ == "__main__":
    errors.run(main)

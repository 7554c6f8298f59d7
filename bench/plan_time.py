"""How long a person waits: for a plan of 200 and of 3000 pictures, for a setup that has nothing to do, for the doctor.

  python bench/plan_time.py

The base model is a header only; pictures are 512x768 PNGs with captions. Median, fastest and slowest, and whether torch was imported.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "py"), str(ROOT / "tests")]

from lorabake import environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    environment.ensure(__file__)
    import picture_sets

    python = getattr(sys, "_base_executable", sys.executable)  # the one outside the environment, as a person would
    with tempfile.TemporaryDirectory() as folder:
        rows = {"start alone (no such profile)": [python, str(ROOT / "py" / "train.py"), str(Path(folder) / "none.yaml"), "--plan-only"]}
        rows["setup, nothing to do"] = [python, str(ROOT / "py" / "setup.py")]
        rows["setup --check"] = [python, str(ROOT / "py" / "setup.py"), "--check"]
        for count in (200, 3000):
            place = Path(folder) / str(count)
            images = picture_sets.pictures(place / "set" / "5_style", count, size=(512, 768))
            profile = picture_sets.load(place / "profile", images.parent).path
            rows[f"plan of {count} pictures"] = [python, str(ROOT / "py" / "train.py"), str(profile), "--plan-only"]
        for name, command in rows.items():
            times = [timed(command) for _ in range(options.rounds)]
            print(f"{name:<30} median {statistics.median(times):.2f} s, {min(times):.2f} to {max(times):.2f}")
        said = subprocess.run([sys.executable, "-X", "importtime", *command[1:]], capture_output=True, text=True, check=True).stderr
        print("torch imported:", any(line.endswith("| torch") for line in said.splitlines()))


def timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=False)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

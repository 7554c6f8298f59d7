"""Kill -9 again and again at random moments of a small bake, and see what is left and where it ends.

  python bench/killed.py WORK --kills 30

After each kill every file under a final name (LoRA, preview, latents, state, JSON, report) is opened and must be whole, and no result may
say "done". At the end the bake runs through and must have the weights of one that was never interrupted.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "py"), str(ROOT / "tests")]

from lorabake import environment

SETTINGS = {"train.epochs": "6", "save.state_minutes": "0.0001", "data.holdout": "1", "samples.every_epochs": "1"}
MOMENTS = ("loading", "pictures", "baking", "drawing")  # what the console says while each stage runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    environment.ensure(__file__)
    import baking

    whole, torn = options.work / "whole", options.work / "torn"
    for folder in (whole, torn):
        shutil.rmtree(folder, ignore_errors=True)
        baking.profile_file(folder)
    began = time.monotonic()
    finish(start(whole))
    took = time.monotonic() - began
    chance, seen, done = random.Random(options.seed), Counter(), 0
    for number in range(options.kills):
        if status(torn) == "done":
            done += 1
            shutil.rmtree(torn / "out")
        child = start(torn)
        if number % 3:  # a third of the kills may hit the start, the others come when work is under way
            wait_for_work(child)
        time.sleep(chance.uniform(0, took / 3))
        child.kill()
        said = child.communicate()[0]
        stage = next((word for word in reversed(said.split()) if word in MOMENTS), "start")
        seen[stage] += 1
        whole_files(torn / "out")
    finish(start(torn))
    ours, theirs = (model_hash(folder) for folder in (torn, whole))
    stages = ", ".join(f"{count} while {stage}" for stage, count in seen.most_common())
    print(f"{options.kills} kills ({stages}); {done} bakes came to their end between them; every file under a final name was whole")
    print(f"weights equal to the uninterrupted bake's: {ours == theirs}")
    if ours != theirs:
        sys.exit(1)


def start(folder: Path) -> subprocess.Popen[str]:
    import baking

    given = [word for key, value in (baking.QUICK | SETTINGS).items() for word in ("--set", f"{key}={value}")]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "LORABAKE_PYTHON": "current", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(ROOT / "py" / "train.py"), str(folder / "style.yaml"), *given]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")


def wait_for_work(child: subprocess.Popen[str]) -> None:
    """Until the console says that the model is being loaded."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("loading"):
            return


def finish(child: subprocess.Popen[str]) -> None:
    said = child.communicate()[0]
    if child.returncode:
        sys.exit(f"the bake ended with {child.returncode}:\n{said}")


def status(folder: Path) -> str:
    file = folder / "out/style.runs/001/result.json"
    return json.loads(file.read_text(encoding="utf-8"))["status"] if file.exists() else ""


def whole_files(out: Path) -> None:
    """Open everything that the next start, a web UI or a person would take for a good file. Raises at the first that is not whole."""
    import torch
    from PIL import Image
    from safetensors.torch import load_file

    from lorabake import states

    for file in out.rglob("*"):
        if not file.is_file() or any(part.startswith(("_tmp-", "_old-")) for part in file.parts):
            continue
        if file.suffix == ".safetensors":
            assert all(tensor.isfinite().all() for tensor in load_file(file).values()), file
        elif file.suffix == ".png":
            with Image.open(file) as picture:
                picture.load()
        elif file.suffix == ".json":
            json.loads(file.read_text(encoding="utf-8"))
        elif file.suffix == ".html":
            assert file.read_text(encoding="utf-8").rstrip().endswith("</html>"), file
        elif file.suffix == ".pt":
            torch.load(file, weights_only=True)
    for folder in out.glob("style.runs/*/state"):
        for step in states.steps(folder):
            states.load(folder / f"{step:08d}")


def model_hash(folder: Path) -> str:
    from lorabake import weights

    return weights.read_header(folder / "out/style.safetensors")[1]["sshs_model_hash"]


if __name__ == "__main__":
    main()

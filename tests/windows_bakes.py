"""Runs in a Python on Windows, in the folder of a checkout: bakes after one another in one process.

Prints a line of JSON for each: exit code, and what lies where afterwards. test_windows_differences.py reads them.
"""

import json
import runpy
import shutil
import sys
from pathlib import Path

PROFILE = "profiles/demo.yaml"
QUICK = ("data.holdout=0", "save.every_epochs=0", "save.every_steps=1", "save.keep_last=1", "train.batch_size=1", "name=many")
# fp32 as trained: nothing is converted, so that what was read of a file may still be a part of it
DRAWN = ("samples.prompts=[cat]", "samples.seeds=[1]", "samples.steps=1", "save.precision=fp32")


def train(output: Path, *words: str, steps: int, drawn: bool = False) -> int:
    """The exit code of py/train.py, run in this process."""
    settings = [*QUICK, *(DRAWN if drawn else ["samples.prompts=[]"]), f"train.steps={steps}", f"images={output}-set", f"output={output}"]
    sys.argv = ["py/train.py", PROFILE, *(word for setting in settings for word in ("--set", setting)), *words]
    try:
        runpy.run_path("py/train.py", run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    raise AssertionError("train.py did not exit")


def files(output: Path) -> list[str]:
    """All files and folders below, but for the cache, of which only its folder is named."""
    found = (path.relative_to(output).as_posix() for path in sorted(output.rglob("*")))
    return [name for name in found if not name.startswith(".cache/")]


def few_pictures(folder: Path) -> None:
    folder.mkdir()
    for path in sorted(Path("examples/openmoji/10_openmoji").iterdir())[:6]:
        shutil.copy2(path, folder)


def main(output: Path) -> None:
    few_pictures(output.with_name(f"{output.name}-set"))

    def tell(name: str, code: int) -> None:
        print("told " + json.dumps({"name": name, "code": code, "files": files(output)}), flush=True)

    tell("new", train(output, steps=1))
    tell("continued", train(output, steps=3))
    tell("fresh", train(output, "--fresh", steps=2, drawn=True))
    tell("cleared", train(output, "--clear-cache", steps=2, drawn=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""A finished run whose prompts, seeds or sample settings were changed: its pictures are drawn anew from the saved files.

Not here: whether the run is finished (runs.py), drawing (gallery.py).
"""

import json
from pathlib import Path

from lorabake import console, runlog, runs
from lorabake.gallery import Gallery
from lorabake.plan import Plan

MARK = "redraw"  # a file in the run's folder, from the decision until everything is drawn, so that it outlives a crash


def wanted(plan: Plan, folder: Path) -> bool:
    """Whether pictures are asked for that this finished run, whose plan stands in its folder, did not draw; then it is marked."""
    before, now = runs.read_json(folder / "plan.json"), json.loads(plan.to_json())
    if not plan.prompts or not before or all(before.get(key) == now[key] for key in ("prompts", "samples")):
        return False
    (folder / MARK).touch()
    console.say("only the pictures are asked for otherwise: they are drawn anew, nothing is trained")
    return True


def epochs(plan: Plan, gallery: Gallery, log: runlog.RunLog) -> None:
    """In a marked run, the pictures of every saved file that is still there; the sheets follow at the end of the bake as ever."""
    for step, name in zip(plan.save_steps, plan.lora_files, strict=True):
        path = Path(plan.output) / name
        if (gallery.folder / MARK).exists() and path.exists():
            gallery.epoch(path, log, step=step, epoch=-(-step // plan.steps_per_epoch))


def over(folder: Path) -> None:
    (folder / MARK).unlink(missing_ok=True)

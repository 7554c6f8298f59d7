"""A finished run whose epochs were raised: its last file becomes one on the way, under the name that such a file has, and stays.

Not here: whether a run goes on at all (runs.py), training (trainer.py).
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorabake import paths, runlog
from lorabake.plan import Plan


def keep_finished(plan: Plan, saved: Sequence[Path], log: runlog.RunLog, *, step: int) -> list[Path]:
    """`saved` with the file of `step` under its own epoch's name, where until now it was the finished one.

    Copies it, its preview and its samples, and lets the log say so; the finished name itself is there until training replaces it,
    so that a web UI keeps its LoRA. Called again after a crash it changes nothing that it made.
    """
    finished = Path(plan.output) / plan.lora_files[-1]
    if finished not in saved or step >= plan.total_steps:
        return list(saved)
    place = finished.with_name(name_of(plan, step))
    if not place.exists():
        for suffix in (".safetensors", ".preview.png"):
            source = finished.with_name(finished.stem + suffix)
            if source.exists():
                with paths.replacing(place.with_name(place.stem + suffix)) as aside:
                    shutil.copyfile(source, aside)
        rename_in_log(log, finished.stem, place.stem, step=step)
    return [place if path == finished else path for path in saved]


def name_of(plan: Plan, step: int) -> str:
    """The planned file of this step; its epoch's or its own name where the longer plan saves none there."""
    if step in plan.save_steps:
        return plan.file_at(step)
    epoch, rest = divmod(step, plan.steps_per_epoch)
    return f"{plan.name}-step{step:08d}.safetensors" if rest else f"{plan.name}-{epoch:06d}.safetensors"


def rename_in_log(log: runlog.RunLog, old: str, new: str, *, step: int) -> None:
    """Say the save and the samples of `step` once more under the new name: readers take the newest of each step."""
    events = runlog.read(log.path)
    saves = [event for event in events if event["kind"] == "save" and event["step"] == step]
    drawn = [event for event in events if event["kind"] == "samples" and event["step"] == step]
    for event in saves[-1:]:
        log.add(**event | {"path": f"{new}.safetensors"})
    for event in drawn[-1:]:
        run = log.path.parent
        shutil.copytree(run / "samples" / old, run / "samples" / new, dirs_exist_ok=True)
        log.add(**event | {"files": [moved(file, old, new) for file in event["files"]]})


def moved(file: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return file | {"path": file["path"].replace(f"samples/{old}/", f"samples/{new}/")}

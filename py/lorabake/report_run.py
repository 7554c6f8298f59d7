"""A run folder as the report reads it: plan.json, log.jsonl, result.json, whatever of them is there yet, and never more than read.

Tolerant: a run that is still going, was stopped, or was written by another version gives what it has. Not here: pictures
(report_pictures.py), words and tables (report_parts.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lorabake import runlog, suggest
from lorabake.suggest import Suggestion, number

Json = Mapping[str, Any]
Points = list[tuple[int, float]]


@dataclass(frozen=True)
class Drawn:
    """One sample picture: of which prompt and seed, by which LoRA file at which strength (None: without one)."""

    prompt: str
    seed: str
    path: Path
    strength: float | None

    @property
    def row(self) -> tuple[str, str]:
        return self.prompt, self.seed


@dataclass(frozen=True)
class Samples:
    """What was drawn at one save, or for one sheet."""

    step: int
    epoch: int
    drawn: tuple[Drawn, ...]
    file: str = ""
    sheet: Path | None = None


@dataclass(frozen=True)
class Saved:
    """A LoRA file of the run. `place` is where it is now, None when it is gone."""

    name: str
    step: int
    epoch: int
    place: Path | None

    @property
    def label(self) -> str:
        return f"step {self.step}" if "-step" in self.name else f"epoch {self.epoch}"


@dataclass(frozen=True)
class Run:
    folder: Path
    plan: Json
    result: Json
    events: tuple[Json, ...]

    def of_kind(self, kind: str) -> list[Json]:
        return [event for event in self.events if event.get("kind") == kind]

    @property
    def name(self) -> str:
        return str(self.plan.get("name") or self.folder.parent.name.removesuffix(".runs"))

    @property
    def status(self) -> str:
        return str(self.result.get("status", "running"))

    @cached_property
    def losses(self) -> Points:
        return self.numbers("step", "loss")

    @cached_property
    def held(self) -> Points:
        """With the LoRA, by step; step 0 is before training and stands alone in `held_base`."""
        return [point for point in self.numbers("heldout", "loss") if point[0] > 0]

    @cached_property
    def held_base(self) -> float | None:
        before = dict(self.numbers("heldout", "loss")).get(0)
        return before if before is not None else dict(enumerate(value for _, value in self.numbers("heldout", "base_loss"))).get(0)

    def numbers(self, kind: str, key: str) -> Points:
        """(step, value) of the events of a kind where the value is a finite number, by step; the newest where a step was done twice."""
        found = {_whole(event.get("step")): number(event.get(key)) for event in self.of_kind(kind)}
        return sorted((step, value) for step, value in found.items() if value is not None)

    def rates(self) -> dict[str, Points]:
        """Learning rates by part; both ways of writing them are read."""
        found: dict[str, dict[int, float]] = {}
        for event in self.of_kind("step"):
            rates = event.get("rates")
            rates = rates if isinstance(rates, dict) else {"unet": event.get("lr_unet"), "text_encoder": event.get("lr_te")}
            for part, rate in rates.items():
                if (value := number(rate)) is not None:
                    found.setdefault(str(part), {})[_whole(event.get("step"))] = value
        return {part: sorted(points.items()) for part, points in found.items()}

    @property
    def done_steps(self) -> int:
        return max((_whole(event.get("step")) for event in self.events), default=0)

    @property
    def total_steps(self) -> int:
        starts = [_whole(event.get("total_steps")) for event in self.of_kind("start")]
        return _whole(self.plan.get("total_steps")) or max(starts, default=0) or self.done_steps

    def epoch_ends(self) -> list[int]:
        """The last step of each epoch."""
        each, total = _whole(self.plan.get("steps_per_epoch")), self.total_steps
        return [*range(each, total, each), total] if 0 < each <= total else []

    @cached_property
    def saved(self) -> list[Saved]:
        found = {}
        for event in self.of_kind("save"):
            name = Path(str(event.get("path", "")).replace("\\", "/")).name
            if name:
                found[_whole(event.get("step"))] = name, _whole(event.get("epoch"))
        return [Saved(name, step, epoch, self._place(name)) for step, (name, epoch) in sorted(found.items())]

    def _place(self, name: str) -> Path | None:
        """In the output folder; a later run has moved it into this one's."""
        places = [Path(str(self.plan.get("output", ""))), self.folder.parent.parent]
        return next((path for place in (self.folder, *places) if (path := place / name).is_file()), None)

    @cached_property
    def suggestion(self) -> Suggestion | None:
        looks, total = number(self.plan.get("steps_at_batch_1")), self.total_steps
        return suggest.suggest(self.events, looks / total if looks and total else None)

    @cached_property
    def samples(self) -> list[Samples]:
        """Of the saves, at strength 1.0; the newest of each step, without those drawn for a sheet."""
        found = {}
        for event in self.of_kind("samples"):
            drawn = self._drawn(event)
            if {picture.strength for picture in drawn} <= {None, 1.0}:
                found[_whole(event.get("step"))] = Samples(_whole(event.get("step")), _whole(event.get("epoch")), drawn)
        return [made for _, made in sorted(found.items()) if made.drawn]

    @cached_property
    def sheets(self) -> list[Samples]:
        """Strengths side by side, one per LoRA file, the suggested one first."""
        found = {}
        events = [event for event in self.events if event.get("kind") == "sheet"]
        events += [e for e in self.of_kind("samples") if any(p.strength not in (None, 1.0) for p in self._drawn(e))]
        for event in events:
            step, file = _whole(event.get("step")), str(event.get("file", ""))
            path = self.folder / str(event["path"]) if event.get("path") else None
            file = file or next((saved.name for saved in self.saved if saved.step == step), "")
            found[file] = Samples(step, _whole(event.get("epoch")), self._drawn(event), file, path)
        best = self.suggestion.file if self.suggestion else ""
        return sorted(found.values(), key=lambda made: made.file != best)

    def _drawn(self, event: Json) -> tuple[Drawn, ...]:
        files = event.get("files")
        found = []
        for file in files if isinstance(files, list) else ():
            if isinstance(file, dict) and file.get("path"):
                path = self.folder / str(file["path"]).replace("\\", "/")
                found.append(Drawn(str(file.get("prompt", "")), str(file.get("seed", "")), path, number(file.get("strength", 1.0))))
        return tuple(found)


def read(folder: Path) -> Run:
    """What there is of a run; nothing is required."""
    return Run(folder, read_json(folder / "plan.json"), read_json(folder / "result.json"), tuple(runlog.read(folder / "log.jsonl")))


def read_json(path: Path) -> Json:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) and number(value) is not None else 0

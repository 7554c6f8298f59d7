"""The plan of one bake: every path, count, step, size, rate and precision with its reason, made from headers and caption files alone.

Frozen and JSON-able: the trainer does what stands here and never sees the profile. Not here: how a plan comes about (plan.py).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from lorabake.families import Base
from lorabake.plan_costs import Costs
from lorabake.plan_data import Picture, PlannedFolder
from lorabake.plan_prompts import Prompt
from lorabake.settings import Data, Model, Network, Samples, Save, Train

# What decides how fast or where, never what is learned: a run goes on when only these change.
NOT_LEARNED = {"epochs", "steps", "device", "processes", "cpu_threads", "background", "gradient_checkpointing", "deterministic"}
RATES = {"unet_lr", "text_encoder_lr", "scale_lr_by_batch"}  # what they lead to stands under "rates"
DATA_NOT_LEARNED = {"cache", "caption_extension", "repeats", "regularization"}  # what they lead to is in the pictures
SAVE_RELEVANT = {"every_epochs", "every_steps", "precision"}
NO_COSTS = Costs(0, 0, 0, 0, 0, 0, 0, None, None, None, None, None)  # of a plan in the making


@dataclass(frozen=True)
class Plan:
    """Everything that will happen. In the settings blocks every `auto` is resolved; `reasons` says why, by dotted key.

    `save_steps` and `lora_files` go together, one file name per step at which a LoRA is written; the last is the finished one.
    """

    name: str
    profile_path: str
    profile_text: str
    output: str
    base: Base
    family: str
    network: Network
    train: Train
    data: Data
    model: Model
    save: Save
    samples: Samples
    folders: tuple[PlannedFolder, ...]
    pictures: tuple[Picture, ...]
    buckets: tuple[tuple[int, int, int], ...]  # width, height, looks per epoch
    batches_per_epoch: int
    steps_per_epoch: int
    total_steps: int
    epochs: int
    steps_at_batch_1: int
    rate_factor: int
    unet_lr_used: float
    text_encoder_lr_used: float
    precision: str
    precision_reason: str
    device: str
    clip_skip_reason: str
    save_steps: tuple[int, ...]
    lora_files: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    costs: Costs
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    typed: tuple[str, ...] = ()  # dotted keys that the user typed, in the profile or with --set
    triggers: Mapping[str, str] = field(default_factory=dict)  # folder -> its trigger word, for folders that have one
    stack: str | None = None  # the one that the profile was tuned on

    @property
    def lora_bytes(self) -> int:
        return self.costs.lora_bytes

    @property
    def disk_bytes(self) -> int:
        return self.costs.disk_bytes

    @property
    def write_bytes(self) -> int:
        return self.costs.write_bytes

    @property
    def vram_gib(self) -> float | None:
        return self.costs.vram_gib

    @property
    def sample_steps(self) -> tuple[int, ...]:
        """Steps whose saved file is drawn: by whole epochs or steps as asked, at the next save; the last always."""
        due, last_epoch, last_step = [], 0, 0
        for step in self.save_steps:
            epoch = step // self.steps_per_epoch
            by_epoch = self.samples.every_epochs and epoch - last_epoch >= self.samples.every_epochs
            by_step = self.samples.every_steps and step - last_step >= self.samples.every_steps
            if by_epoch or by_step or step == self.total_steps:
                due.append(step)
                last_epoch, last_step = epoch, step
        return tuple(due)

    @property
    def looks_per_step(self) -> float:
        """Training pictures seen in one step, on average."""
        return self.steps_at_batch_1 / self.total_steps

    def file_at(self, step: int) -> str:
        """Name of the LoRA file that is written at this step. KeyError when none is."""
        return dict(zip(self.save_steps, self.lora_files, strict=True))[step]

    def identity(self) -> dict[str, Any]:
        """What is trained, JSON-able: names, paths, samples, device and speed settings left out. Two plans with equal identities (and equal
        contents of base and pictures, which the caller adds) give the same LoRA.

        `total_steps` and `epochs` stand alone at the top, because a run that differs only in these goes on (runs.py).
        """
        return {
            "family": self.family,
            "network": self.network.model_dump(mode="json"),
            "train": self.train.model_dump(mode="json", exclude=NOT_LEARNED | RATES),
            "data": self.data.model_dump(mode="json", exclude=DATA_NOT_LEARNED),
            "model": self.model.model_dump(mode="json", exclude={"look"}),
            "save": self.save.model_dump(mode="json", include=SAVE_RELEVANT),
            "rates": {"unet": self.unet_lr_used, "text_encoder": self.text_encoder_lr_used},
            "pictures": self._picture_identity(),
            "total_steps": self.total_steps,
            "epochs": self.epochs,
        }

    def _picture_identity(self) -> dict[str, str]:
        """A line per folder, so that a difference can be shown: counts for people, a hash of the rest for machines."""
        lines = {}
        for index, folder in enumerate(self.folders):
            digest = hashlib.sha256()
            for p in self.pictures:
                if p.folder == index:
                    fields = (p.path.replace("\\", "/").rpartition("/")[2], p.bucket, p.repeats, p.caption, p.regularization, p.holdout)
                    digest.update(repr(fields).encode("utf-8", "surrogatepass"))
            kind = "regularization " if folder.regularization else ""
            lines[f"{kind}{folder.name}"] = f"{folder.num_pictures} pictures x {folder.repeats} ({digest.hexdigest()[:12]})"
        return lines

    def to_json(self) -> str:
        return _adapter().dump_json(self, indent=1).decode("utf-8")

    @staticmethod
    def from_json(text: str) -> "Plan":
        """Inverse of to_json, exactly. ValueError when the text is not a plan of this version."""
        return _adapter().validate_json(text)


@cache
def _adapter() -> "TypeAdapter[Plan]":
    return TypeAdapter(Plan)

"""Makes the plan of one bake from a profile, headers and caption files, in a second or two and without torch.

Every `auto` is resolved, with its reason. The parts: scan.py (what lies there), plan_data.py (sizes, buckets, counts), plan_settings.py,
plan_fit.py (batch and memory), plan_prompts.py, plan_estimate.py (costs), plan_advice.py (sentences), plan_text.py (the printed page).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from lorabake import hardware, path_rules, plan_costs, plan_data, plan_prompts, plan_settings, schedule, triggers
from lorabake.errors import UsageError, UserError
from lorabake.families import FAMILIES, Base, Family, identify
from lorabake.modelfile import read_contents
from lorabake.networks import NETWORKS
from lorabake.plan_advice import advise
from lorabake.plan_costs import Load, Shapes
from lorabake.plan_data import Picture, PlannedFolder
from lorabake.plan_estimate import estimate
from lorabake.plan_fit import fit
from lorabake.plan_prompts import Prompt
from lorabake.plan_types import NO_COSTS, Plan
from lorabake.profile import Loaded
from lorabake.prompts import check as check_loras
from lorabake.prompts import folders as lora_folders
from lorabake.scan import Scan, walk
from lorabake.settings import Data, Network, Save, Train

__all__ = ["Picture", "Plan", "PlannedFolder", "Prompt", "make"]

LONGEST_METADATA = 300  # longer values in the base model's header (thumbnails) are nothing for a plan


@dataclass(frozen=True)
class _Subject:
    """What a plan is made from: the profile, and what the headers say. `reasons` grows on the way."""

    loaded: Loaded
    base: Base
    row: Family
    shapes: Shapes
    found: Scan
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def triggers(self) -> dict[str, str]:
        """Folder -> its trigger word, for folders that have one. Raises UsageError for a word whose folder is not there."""
        tag = self.loaded.profile.tag
        words = triggers.by_folder(
            tag.trigger, [folder.name for folder in self.found.folders if not folder.regularization], preset=tag.preset
        )
        return {folder: word for folder, word in words.items() if word}

    @property
    def native_px(self) -> int:
        return self.base.resolution or self.row.resolution


@dataclass(frozen=True)
class _Counts:
    batches_per_epoch: int
    steps_per_epoch: int
    total_steps: int
    epochs: int
    steps_at_batch_1: int


def make(loaded: Loaded, seen: hardware.Seen) -> Plan:
    """The whole plan on a machine with the cards that were seen. Raises UserError for everything that cannot be baked."""
    with _told_of(loaded, "base_model"):
        base = _short(identify(loaded.profile.base_model))
    shapes = read_contents(Path(base.path)).shapes
    with _told_of(loaded, "images"):
        subject = _Subject(loaded, base, FAMILIES[base.family], shapes, walk(loaded.profile))
    data, pictures = _pictures(subject)
    network = plan_settings.network(loaded.profile.network, subject.reasons)
    machine, device = plan_settings.machine(loaded, seen, subject.reasons)
    asked = plan_settings.on_this_device(loaded.profile.train, device, subject.reasons)
    precision, precision_reason = hardware.precision(machine.room.card, asked.mixed_precision)
    parts = plan_settings.trained_parts(network, asked)
    size = plan_costs.sizes(shapes, network, parts=parts, conv=NETWORKS[network.type].has_conv)
    load = Load(
        family=base.family,
        sizes=size,
        pixels=max(p.bucket[0] * p.bucket[1] for p in pictures if not p.holdout),
        precision=precision,
        rank=network.rank or 1,
        optimizer=asked.optimizer,
        trains_text="text_encoder" in parts,
        on_card=machine.room.card is not None,
    )
    chosen = fit(asked, load, machine.room, most_looks=max(plan_data.looks_by_bucket(pictures).values()))
    subject.reasons.update(chosen.reasons)
    train = plan_settings.train_settings(asked, chosen, precision, device)
    draft = _draft(subject, (network, train, data), pictures, parts, precision_reason)
    if deep := path_rules.too_deep(draft.output, draft.name, long_paths=path_rules.long_paths_enabled()):
        raise UserError(deep[0], where=f"{loaded.where('output')}: {draft.output}", todo=deep[1])
    places = lora_folders(Path(draft.output), Path(base.path), draft.save.copy_to)
    check_loras([(p.prompt, p.negative) for p in draft.prompts], places, own=draft.name)
    costs = estimate(draft, size, machine, chosen)
    plan = replace(draft, costs=costs)
    notes, warnings = advise(plan, subject.found, loaded)
    trouble = (f"the NVIDIA card cannot be used, so the CPU is: {seen.problem}",) if seen.problem and device == "cpu" else ()
    return replace(plan, notes=(*notes, *draft.notes), warnings=(*warnings, *chosen.warnings, *trouble))


@contextmanager
def _told_of(loaded: Loaded, key: str) -> Iterator[None]:
    """Errors inside name the line of the profile too: of several profiles one must know which."""
    try:
        yield
    except (UserError, UsageError) as error:
        error.where = ": ".join(part for part in (loaded.where(key), error.where) if part)
        raise


def _short(base: Base) -> Base:
    return replace(base, metadata={k: v for k, v in base.metadata.items() if len(v) <= LONGEST_METADATA})


def _pictures(subject: _Subject) -> tuple[Data, tuple[Picture, ...]]:
    """The data settings resolved, all pictures placed and the held-out ones chosen."""
    asked = subject.loaded.profile.data
    with _told_of(subject.loaded, "tag.trigger"):
        words = subject.triggers
    data, reasons = plan_data.resolve(asked, subject.base, subject.row, has_trigger=bool(words))
    placed = plan_data.place(subject.found, data, subject.row)
    num_training = sum(not p.regularization for p in placed)
    count = plan_data.holdout_count(asked.holdout, num_training)
    if asked.holdout is None:
        few = f"under {plan_data.HOLDOUT_FROM} pictures, all are trained on"
        reasons["data.holdout"] = f"{plan_data.HOLDOUT_SHARE:.0%} of {num_training}" if count else few
    subject.reasons.update(reasons)
    return data.model_copy(update={"holdout": count}), plan_data.hold_out(placed, count)


def counts(train: Train, looks: Sequence[int], training_looks: int) -> _Counts:
    """Batches, steps and epochs for looks per bucket; `train` has its batch. Counted at batch 1 are the looks at training pictures."""
    batches = schedule.batches_per_epoch(looks, train.batch_size or 1)
    per_epoch = schedule.steps_per_epoch(batches, train.accumulation, train.processes)
    total = train.steps or train.epochs * per_epoch
    epochs = schedule.epochs_for_steps(total, per_epoch) if train.steps else train.epochs
    return _Counts(batches, per_epoch, total, epochs, round(training_looks * total / per_epoch))


def saves(name: str, save: Save, count: _Counts) -> dict[int, str]:
    """step -> file name, in order: epochs `name-000001`, steps `name-step00000001`, and `name` itself for the last step alone."""
    found: dict[int, str] = {}
    if save.every_steps:
        found |= {step: f"{name}-step{step:08d}.safetensors" for step in range(save.every_steps, count.total_steps, save.every_steps)}
    if save.every_epochs:
        ends = {epoch * count.steps_per_epoch: epoch for epoch in range(save.every_epochs, count.epochs + 1, save.every_epochs)}
        found |= {step: f"{name}-{epoch:06d}.safetensors" for step, epoch in ends.items() if step < count.total_steps}
    return dict(sorted(found.items())) | {count.total_steps: f"{name}.safetensors"}


def _draft(
    subject: _Subject, settings: tuple[Network, Train, Data], pictures: tuple[Picture, ...], parts: tuple[str, ...], precision_reason: str
) -> Plan:
    """The plan but for costs, notes and warnings."""
    profile, reasons = subject.loaded.profile, subject.reasons
    network, train, data = settings
    looks = plan_data.looks_by_bucket(pictures)
    count = counts(train, list(looks.values()), plan_data.training_looks(pictures))
    files = saves(profile.name, profile.save, count)
    factor = plan_settings.rate_factor(train)
    captions = [p.caption for p in pictures if not p.regularization]
    fallback = subject.found.folders[0].concept or profile.name
    prompts, remarks = plan_prompts.make(profile.samples, captions, fallback=fallback, resolution=subject.native_px)
    drawn = {"size": plan_prompts.size_of(profile.samples, subject.native_px), "prompts": tuple(dict.fromkeys(p.prompt for p in prompts))}
    return Plan(
        name=profile.name,
        profile_path=str(subject.loaded.path),
        profile_text=subject.loaded.text,
        output=profile.output,
        base=subject.base,
        family=subject.base.family,
        network=network,
        train=train,
        data=data,
        model=plan_settings.model(subject.loaded, subject.base, subject.row, subject.shapes, reasons),
        save=profile.save,
        samples=profile.samples.model_copy(update=drawn),
        folders=plan_data.planned_folders(subject.found.folders),
        pictures=pictures,
        buckets=tuple((w, h, n) for (w, h), n in looks.items()),
        batches_per_epoch=count.batches_per_epoch,
        steps_per_epoch=count.steps_per_epoch,
        total_steps=count.total_steps,
        epochs=count.epochs,
        steps_at_batch_1=count.steps_at_batch_1,
        rate_factor=factor,
        unet_lr_used=plan_settings.used_rate(train.unet_lr, factor) if "unet" in parts else 0.0,
        text_encoder_lr_used=plan_settings.used_rate(train.text_encoder_lr, factor) if "text_encoder" in parts else 0.0,
        precision=train.mixed_precision or "fp32",
        precision_reason=precision_reason,
        device=train.device or "cpu",
        clip_skip_reason=reasons["model.clip_skip"],
        save_steps=tuple(files),
        lora_files=tuple(files.values()),
        prompts=prompts,
        costs=NO_COSTS,
        notes=tuple(remarks),
        reasons=dict(reasons),
        typed=tuple(sorted(subject.loaded.typed)),
        triggers=subject.triggers,
        stack=profile.stack,
    )

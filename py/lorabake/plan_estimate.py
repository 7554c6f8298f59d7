"""The costs of a plan: what plan_costs.py's formulas give for its counts. Not here: the formulas and where their constants come from."""

from dataclasses import dataclass
from pathlib import Path

from lorabake import paths, plan_costs
from lorabake.families import FAMILIES
from lorabake.plan_costs import Costs, Sizes
from lorabake.plan_fit import Fit, Room
from lorabake.plan_types import Plan

SHEET_STRENGTHS = 2  # 0.6 and 0.8, for the last and the suggested file; at 1.0 they were drawn when they were saved (gallery.py)
REPORT_SHARE = 4 / 3  # pictures inside the report, as base64


@dataclass(frozen=True)
class Machine:
    """Where it will run."""

    room: Room
    threads: int


def num_sample_pictures(plan: Plan) -> int:
    """One per prompt and drawn file; once without LoRA; the strengths of the sheets of the last and the suggested file."""
    drawn = len(plan.sample_steps)
    sheets = min(2, drawn) * SHEET_STRENGTHS
    return len(plan.prompts) * (drawn + 1 + sheets)


def sample_bytes(plan: Plan) -> int:
    """All sample pictures as PNG."""
    one_round = sum(p.width * p.height for p in plan.prompts) * plan_costs.PREVIEW_BYTES_PER_PX
    return int(one_round * num_sample_pictures(plan) / max(1, len(plan.prompts)))


def train_seconds(plan: Plan, size: Sizes, machine: Machine) -> float | None:
    """Rough time on the CPU, encoding the pictures included; None on a card, whose speed is not known beforehand."""
    if machine.room.card:
        return None
    seen = sum(w * h * count for w, h, count in plan.buckets) * plan.total_steps / plan.steps_per_epoch
    encoded = sum(p.bucket[0] * p.bucket[1] for p in plan.pictures) * (2 if plan.data.flip else 1)
    checkpointing = bool(plan.train.gradient_checkpointing)
    steps = plan.total_steps * plan.train.accumulation
    return plan_costs.cpu_train_seconds(
        size, seen, steps=steps, threads=machine.threads, checkpointing=checkpointing
    ) + plan_costs.cpu_encode_seconds(size, encoded, threads=machine.threads)


def sample_seconds(plan: Plan, size: Sizes, machine: Machine) -> float | None:
    if machine.room.card:
        return None
    rounds = num_sample_pictures(plan) / max(1, len(plan.prompts))
    one_round = sum(
        plan_costs.cpu_sample_seconds(size, p.width * p.height, p.steps, guided=p.cfg != 1, threads=machine.threads) for p in plan.prompts
    )
    return one_round * rounds


def estimate(plan: Plan, size: Sizes, machine: Machine, chosen: Fit) -> Costs:
    """All costs. Disk: LoRA files with previews, two states, latents, samples and the report that holds them, copies for the web UI."""
    row = FAMILIES[plan.family]
    lora = plan_costs.lora_bytes(size, plan.save.precision)
    state = plan_costs.state_bytes(size, plan.train.optimizer)
    boxes = [p.bucket for p in plan.pictures]
    latents = 0
    if plan.data.cache == "disk":
        latents = plan_costs.latent_bytes(boxes, flip=plan.data.flip, channels=row.latent_channels, factor=row.pixels_per_latent)
    seconds = train_seconds(plan, size, machine)
    num_files = len(plan.save_steps)
    kept_files = min(num_files, plan.save.keep_last + 1) if plan.save.keep_last else num_files
    timed = int(seconds / 60 / plan.save.state_minutes) if seconds and plan.save.state_minutes else 0
    num_states = num_files + timed
    drawn = sample_bytes(plan)
    copies = lora if plan.save.copy_to else 0
    report = int(drawn * REPORT_SHARE)
    return Costs(
        lora_bytes=lora,
        state_bytes=state,
        latent_bytes=latents,
        num_sample_pictures=num_sample_pictures(plan),
        disk_bytes=lora * kept_files + state * min(2, num_states) + latents + drawn + report + copies,
        # The report is written anew at each save and holds what is drawn by then: half of it on average.
        write_bytes=lora * num_files + state * num_states + latents + drawn + report * (num_files + 1) // 2 + copies,
        free_bytes=paths.free_bytes(Path(plan.output)),
        card=machine.room.card.name if machine.room.card else None,
        vram_gib=round(chosen.needed_gib, 2) if machine.room.card else None,
        vram_free_gib=machine.room.free_gib if machine.room.card else None,
        train_seconds=seconds,
        sample_seconds=sample_seconds(plan, size, machine),
    )

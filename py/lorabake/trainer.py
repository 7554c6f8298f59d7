"""The training loop: does the plan, step by step, and tells what happened as events.

It never sees a profile, prints nothing and writes nothing: whoever iterates over `train()` saves, samples, reports and stops between
two steps. All randomness comes from the seed and the step's number, so that a run can go on from any step in the same weights.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch

from lorabake import noise, schedule
from lorabake.attach import Attached
from lorabake.cache import Latents
from lorabake.dataset import Batch, Look, epoch_batches, windows_of
from lorabake.device import Device
from lorabake.errors import Diverged
from lorabake.families import Family
from lorabake.plan import Plan

HELD_OUT_TIMESTEPS = (125, 375, 625, 875)


@dataclass(frozen=True)
class Event:
    """`kind`: step, skip, heldout, save. `values` is JSON-able and becomes a line of log.jsonl."""

    kind: str
    step: int
    epoch: int
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Kit:
    """Everything that training works on. `contexts` remembers text encodings while the text encoder is frozen."""

    models: Any
    row: Family
    family: ModuleType
    attached: Attached
    optimizer: torch.optim.Optimizer
    device: Device
    latents: Latents
    trains_text: bool
    contexts: dict[str, torch.Tensor] = field(default_factory=dict)


def step_generator(seed: int, number: int) -> torch.Generator:
    """The CPU generator of one micro-batch: noise first, then its offset, then the timesteps (noise.draw)."""
    return torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63)


def encode_captions(plan: Plan, kit: Kit, captions: Sequence[str]) -> torch.Tensor:
    """(b, tokens, width). Encoded once per distinct caption while the text encoder is not trained."""
    options = {"clip_skip": plan.model.clip_skip, "num_windows": plan.model.max_token_length // 75}
    if kit.trains_text:
        return kit.family.encode_text(kit.models, list(captions), **options)
    new = [caption for caption in dict.fromkeys(captions) if caption not in kit.contexts]
    if new:
        with torch.no_grad():
            for caption, context in zip(new, kit.family.encode_text(kit.models, new, **options), strict=True):
                kit.contexts[caption] = context
    return torch.stack([kit.contexts[caption] for caption in captions])


def losses(plan: Plan, kit: Kit, batch: Batch, number: int) -> torch.Tensor:
    """(b,) float32: the weighted squared error of the predicted noise, a mean over channels and places per look."""
    x0_bchw = kit.latents.batch(batch) * kit.row.scaling_factor
    generator = step_generator(plan.train.seed, number)
    eps_bchw, t_b = noise.draw(x0_bchw.shape, generator, offset=plan.train.noise_offset)
    weight_b = torch.tensor([look.weight for look in batch.looks])
    if plan.train.min_snr_gamma:
        weight_b = weight_b * noise.min_snr_weight(t_b, plan.train.min_snr_gamma)
    error_b = errors(kit, (x0_bchw, eps_bchw.to(x0_bchw.device), t_b), encode_captions_under(plan, kit, batch.looks))
    return error_b * weight_b.to(error_b.device)


def encode_captions_under(plan: Plan, kit: Kit, looks: Sequence[Look]) -> torch.Tensor:
    with kit.device.autocast():
        return encode_captions(plan, kit, [look.caption for look in looks])


def errors(kit: Kit, drawn: tuple[torch.Tensor, torch.Tensor, torch.Tensor], context: torch.Tensor) -> torch.Tensor:
    """(b,) plain squared error for latents, noise and timesteps as given."""
    x0_bchw, eps_bchw, t_b = drawn
    noisy_bchw = noise.add_noise(x0_bchw, eps_bchw, t_b)
    with kit.device.autocast():
        predicted_bchw = kit.family.predict(kit.models, noisy_bchw, t_b.to(noisy_bchw.device), context)
    return (predicted_bchw.float() - eps_bchw.float()).square().mean((1, 2, 3))


@torch.no_grad()
def held_out_loss(plan: Plan, kit: Kit) -> float | None:
    """Mean error on the held-out pictures with fixed noise at fixed timesteps, so that two numbers differ only by the weights."""
    indices = [i for i, picture in enumerate(plan.pictures) if picture.holdout]
    total = 0.0
    for index in indices:
        picture = plan.pictures[index]
        x0 = kit.latents.of([(index, False)]) * kit.row.scaling_factor
        eps = torch.randn((len(HELD_OUT_TIMESTEPS), *x0.shape[1:]), generator=step_generator(23, index)).to(x0.device)
        context = encode_captions_under(plan, kit, [Look(index, picture.caption, False, 1.0)])
        repeated = (x0.expand_as(eps), eps, torch.tensor(HELD_OUT_TIMESTEPS))
        total += errors(kit, repeated, context.expand(len(eps), -1, -1)).mean().item()
    return total / len(indices) if indices else None


def planned_steps(plan: Plan) -> Iterator[tuple[int, int, int, list[Batch]]]:
    """(step from 1, epoch from 1, number of its first micro-batch, micro-batches) up to the planned total."""
    step = number = 0
    for epoch in range(1, plan.epochs + 1):
        for window in windows_of(epoch_batches(plan, epoch), plan.train.accumulation):
            step += 1
            if step > plan.total_steps:
                return
            yield step, epoch, number, window
            number += len(window)


def optimizer_step(plan: Plan, kit: Kit, window: list[Batch], number: int) -> tuple[float, float]:
    """Forward and backward over one window, then one step. Returns (loss, norm); when either is not finite the weights stay."""
    looks = sum(len(batch.looks) for batch in window)
    total = 0.0
    for offset, batch in enumerate(window):
        error_b = losses(plan, kit, batch, number + offset)
        # Each micro-batch counts by its looks, so that accumulation equals one batch of all of them, incomplete ones included.
        loss = error_b.sum() / looks
        kit.device.backward(loss)
        total += loss.item()
    parameters = [p for group in kit.optimizer.param_groups for p in group["params"]]
    norm = kit.device.clip(kit.optimizer, parameters, plan.train.max_grad_norm)
    # Under fp16 the scaler finds overflowed gradients itself, lowers its scale and skips: that is its normal work, not a divergence.
    finite = math.isfinite(total) and (math.isfinite(norm) or kit.device.scaler is not None)
    if finite:
        kit.device.step(kit.optimizer)
    kit.optimizer.zero_grad(set_to_none=True)
    return (total, norm) if finite else (math.nan, norm)


def set_rates(plan: Plan, kit: Kit, step: int) -> dict[str, float]:
    """Each group's rate for this step: its own, times the scheduler's factor; stateless, so continuing needs no scheduler state."""
    train = plan.train
    warmup = schedule.warmup_steps(train.warmup, plan.total_steps)
    factor = schedule.factor(train.scheduler, step - 1, total=plan.total_steps, warmup=warmup, restarts=train.restarts, power=train.power)
    for group in kit.optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return {group["name"]: group["lr"] for group in kit.optimizer.param_groups}


def picture_names(plan: Plan, window: list[Batch]) -> list[str]:
    return sorted({plan.pictures[look.picture].path for batch in window for look in batch.looks})


def train(plan: Plan, kit: Kit, *, start: int = 0) -> Iterator[Event]:
    """Train from the state after step `start` to the plan's end.

    Raises Diverged after two steps in a row that are not finite, or when a weight is not finite at a save; the first such step is
    skipped and told.
    """
    bad = 0
    for step, epoch, number, window in planned_steps(plan):
        if step <= start:
            continue
        if step == 1 and (base := held_out_loss(plan, kit)) is not None:
            yield Event("heldout", 0, 0, {"loss": base})
        rates = set_rates(plan, kit, step)
        began = time.perf_counter()
        loss, norm = optimizer_step(plan, kit, window, number)
        if math.isfinite(loss):
            bad = 0
            yield Event("step", step, epoch, {"loss": loss, "grad_norm": norm, "rates": rates, "seconds": time.perf_counter() - began})
        else:
            bad += 1
            names = picture_names(plan, window)
            yield Event("skip", step, epoch, {"reason": "the loss is not finite", "pictures": names})
            if bad == 2:
                raise Diverged(
                    "the loss was NaN or infinite twice in a row",
                    where=f"step {step}, pictures: {', '.join(names[:5])}",
                    todo="lower train.unet_lr, or set train.mixed_precision to bf16 or fp32; the last good file is kept",
                )
        if step in plan.save_steps or step == plan.total_steps:
            if not all(bool(p.isfinite().all()) for group in kit.optimizer.param_groups for p in group["params"]):
                raise Diverged("a LoRA weight is NaN or infinite", where=f"step {step}", todo="lower train.unet_lr or use fp32")
            if (held := held_out_loss(plan, kit)) is not None:
                yield Event("heldout", step, epoch, {"loss": held})
            yield Event("save", step, epoch)

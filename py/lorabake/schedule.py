"""Step arithmetic and learning-rate schedules, as the reference trainer counts and as transformers and diffusers draw them.

Pure functions of numbers: a rate needs no state, so a run can go on from any step. Not here: applying them (trainer.py).
"""

import math
from collections.abc import Iterable

SCHEDULERS = ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup")
POLYNOMIAL_END = 1e-7  # diffusers' lr_end; there relative to the rate, see factor()


def batches_per_epoch(looks: Iterable[int], batch_size: int) -> int:
    """Batches of one epoch from the looks (pictures x repeats) of each bucket: a batch never mixes buckets, incomplete ones count."""
    return sum(math.ceil(count / batch_size) for count in looks)


def steps_per_epoch(batches: int, accumulation: int = 1, processes: int = 1) -> int:
    return math.ceil(batches / processes / accumulation)


def epochs_for_steps(steps: int, per_epoch: int) -> int:
    return math.ceil(steps / per_epoch)


def warmup_steps(value: float | str, total: int) -> int:
    """Warmup as typed: steps, a ratio of the total below 1, or a text such as "5%"."""
    if isinstance(value, str):
        return int(float(value.strip().rstrip("%")) / 100 * total) if value.strip().endswith("%") else warmup_steps(float(value), total)
    return int(value * total) if 0 < value < 1 else int(value)


def factor(name: str, step: int, *, total: int, warmup: int = 0, restarts: int = 1, power: float = 1.0) -> float:
    """What the rate is multiplied by for optimizer step `step` (from 0) of `total`. Formulas of diffusers.optimization.

    `constant` has no warmup; `restarts` is for cosine_with_restarts, `power` for polynomial. ValueError for an unknown name.
    """
    if name not in SCHEDULERS:
        raise ValueError(f"unknown scheduler {name!r}")
    if name == "constant":
        return 1.0
    if step < warmup:
        # diffusers' constant_with_warmup divides by max(1.0, warmup) too: one formula for all.
        return step / max(1, warmup)
    if name == "constant_with_warmup":
        return 1.0
    progress = (step - warmup) / max(1, total - warmup)
    if name == "linear":
        return max(0.0, 1 - progress)
    if name == "cosine":
        return max(0.0, 0.5 * (1 + math.cos(math.pi * progress)))
    if name == "cosine_with_restarts":
        return 0.0 if progress >= 1 else max(0.0, 0.5 * (1 + math.cos(math.pi * ((restarts * progress) % 1))))
    return POLYNOMIAL_END if step > total else (1 - POLYNOMIAL_END) * (1 - progress) ** power + POLYNOMIAL_END

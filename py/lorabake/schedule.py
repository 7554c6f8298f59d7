"""Counts of batches, steps and epochs, and how the learning rate moves over the steps. Pure arithmetic, no torch.

The counts are the reference trainer's (lora-facts.md 3.8); the curves are those of diffusers.optimization.get_scheduler, which it uses.
Not here: which step writes which file (plan.py), and the rates themselves (optimizers.py multiplies them by `factor`).
"""

import math
from collections.abc import Iterable

WARMS_UP = ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant_with_warmup")
SCHEDULERS = (*WARMS_UP, "constant")


def batches_per_epoch(looks: Iterable[int], batch_size: int) -> int:
    """Batches of one epoch. `looks` are pictures x repeats per bucket: a batch never mixes buckets, and incomplete ones count."""
    return sum(-(-count // batch_size) for count in looks)


def steps_per_epoch(batches: int, accumulation: int = 1, processes: int = 1) -> int:
    """Optimizer steps of one epoch: batches are shared among processes, then gathered by `accumulation`."""
    return math.ceil(batches / processes / accumulation)


def epochs_for_steps(steps: int, per_epoch: int) -> int:
    """Epochs begun when training for `steps`; the last one may end early."""
    return math.ceil(steps / per_epoch)


def warmup_steps(value: float | str, total: int) -> int:
    """Steps of warmup from what a profile says: a number of steps, a share of `total` below 1, or "5%". Rounded down."""
    if isinstance(value, str) and value.strip().endswith("%"):
        return int(float(value.strip()[:-1]) / 100 * total)
    number = float(value)
    return int(number * total) if number < 1 else int(number)


def factor(name: str, step: int, *, total: int, warmup: int = 0, restarts: int = 1, power: float = 1.0) -> float:
    """What the learning rate is multiplied by in `step` (0 is the first of `total`), 0 to 1.

    `restarts` are the cycles of cosine_with_restarts, `power` is polynomial's. polynomial ends at 0; the original ends at a rate of 1e-7
    whatever the rates are, which no factor can say and no LoRA notices. Raises ValueError for a name not in SCHEDULERS.
    """
    if name not in SCHEDULERS:
        raise ValueError(f"{name} is none of {', '.join(SCHEDULERS)}")
    if name == "constant":
        return 1.0
    if step < warmup:
        return step / warmup
    if name == "constant_with_warmup":
        return 1.0
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    if name == "linear":
        return 1.0 - done
    if name == "polynomial":
        return float((1.0 - done) ** power)
    if done >= 1.0:
        return 0.0
    part = (done * restarts) % 1.0 if name == "cosine_with_restarts" else done
    return 0.5 * (1.0 + math.cos(math.pi * part))

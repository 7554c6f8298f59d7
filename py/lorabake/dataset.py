"""What is seen in which order: the batches of an epoch, captions and flips per look, all from the seed, so that a run can go on anywhere.

Not here: decoding, caching (cache.py) and anything that computes. Every function is pure; torch is not needed.
"""

import random
from collections import defaultdict
from dataclasses import dataclass

from lorabake import captions
from lorabake.plan import Plan


@dataclass(frozen=True)
class Look:
    """One look at one picture: which, with what caption, mirrored or not, and how much its loss counts."""

    picture: int
    caption: str
    flipped: bool
    weight: float


@dataclass(frozen=True)
class Batch:
    """Looks of one bucket, all of one size."""

    bucket: tuple[int, int]
    looks: tuple[Look, ...]


def looks_per_epoch(plan: Plan) -> list[int]:
    """Picture indices as often as an epoch shows them.

    Regularisation pictures are taken in order with their own repeats until they are as many looks as the training pictures have;
    when they run out, the list goes round again, one look at a time (lora-facts 3.2). Held-out pictures never occur.
    """
    train: list[int] = []
    regular: list[int] = []
    for index, picture in enumerate(plan.pictures):
        if picture.holdout:
            continue
        (regular if picture.regularization else train).extend([index] * picture.repeats)
    if not regular:
        return train
    distinct = list(dict.fromkeys(regular))
    filled = regular[: len(train)]
    while len(filled) < len(train):
        filled += distinct[: len(train) - len(filled)]
    return train + filled


def epoch_batches(plan: Plan, epoch: int) -> list[Batch]:
    """All batches of one epoch (1-based), each inside one bucket, in an order that only seed and epoch decide.

    Incomplete batches are kept smaller. Captions are shuffled and pictures flipped here, per look, so that no later state is needed.
    """
    rng = random.Random(f"{plan.train.seed}:{epoch}")
    by_bucket: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index in looks_per_epoch(plan):
        by_bucket[plan.pictures[index].bucket].append(index)
    batches: list[Batch] = []
    size = plan.train.batch_size
    assert size, "the plan resolves the batch"
    for bucket in sorted(by_bucket):
        members = by_bucket[bucket]
        rng.shuffle(members)
        for start in range(0, len(members), size):
            batches.append(Batch(bucket, tuple(look(plan, index, rng) for index in members[start : start + size])))
    rng.shuffle(batches)
    return batches


def look(plan: Plan, index: int, rng: random.Random) -> Look:
    picture = plan.pictures[index]
    caption = captions.process(picture.caption, keep_tokens=plan.data.keep_tokens or 0, shuffle=plan.data.shuffle, rng=rng)
    flipped = plan.data.flip and rng.random() < 0.5
    return Look(index, caption, flipped, plan.train.prior_loss_weight if picture.regularization else 1.0)


def windows_of(batches: list[Batch], accumulation: int) -> list[list[Batch]]:
    """Batches gathered into optimizer steps; the last step of an epoch may hold fewer."""
    return [batches[start : start + accumulation] for start in range(0, len(batches), accumulation)]

"""Which batch, and whether gradient checkpointing, so that training fits the card (or the computer's memory without one).

What `auto` becomes depends on the card's whole memory, not on what is free just now: the same profile must be the same run tomorrow.
What is free now is only held against the result. Not here: the formula itself (plan_costs.py).
"""

import math
from dataclasses import dataclass, field

from lorabake.hardware import Card
from lorabake.plan_costs import Load, batch_that_fits, memory_gib
from lorabake.settings import Train

USUAL_BATCH = 5
CARD_RESERVE_GIB = 0.9  # the desktop, the browser, and what the formula does not know
HOST_SHARE = 0.75  # of the computer's memory that training may take without a card
MOST_BATCH = 64  # where the search for what fits ends


@dataclass(frozen=True)
class Room:
    """Memory to train in, GiB; a total of 0 is unknown. `card` is None on the CPU, where `free_gib` is not asked."""

    card: Card | None
    total_gib: float
    free_gib: float

    @property
    def usable_gib(self) -> float:
        if not self.total_gib:
            return math.inf
        return self.total_gib - CARD_RESERVE_GIB if self.card else self.total_gib * HOST_SHARE

    @property
    def name(self) -> str:
        return self.card.name if self.card else "the computer's memory"


@dataclass(frozen=True)
class Fit:
    """What was chosen, what it is expected to need, and the sentences about it."""

    batch: int
    checkpointing: bool
    needed_gib: float
    reasons: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def fit(train: Train, load: Load, room: Room, *, most_looks: int) -> Fit:
    """`most_looks`: looks per epoch in the fullest bucket, beyond which an `auto` batch would never be full."""
    wanted = train.batch_size or max(1, min(USUAL_BATCH, most_looks))
    reasons = {}
    checkpointing = train.gradient_checkpointing
    if checkpointing is None:
        checkpointing = memory_gib(load, wanted, checkpointing=False) > room.usable_gib
        why = f"batch {wanted} would need {memory_gib(load, wanted, checkpointing=False):.1f} GiB without it"
        reasons["train.gradient_checkpointing"] = f"on, {why}" if checkpointing else "off, not needed"
    batch = train.batch_size or batch_that_fits(load, room.usable_gib, most=wanted, checkpointing=checkpointing) or 1
    if train.batch_size is None:
        reasons["train.batch_size"] = _batch_reason(batch, wanted, room)
    needed = memory_gib(load, batch, checkpointing=checkpointing)
    return Fit(batch, checkpointing, needed, reasons, _warnings(load, room, batch, needed, checkpointing))


def _batch_reason(batch: int, wanted: int, room: Room) -> str:
    if batch < wanted:
        return f"what fits {room.name}"
    if batch < USUAL_BATCH:
        return f"no bucket has more than {batch} looks per epoch"
    return "the usual one" if room.card else "the usual one; the CPU takes the same time per picture whatever the batch"


def _warnings(load: Load, room: Room, batch: int, needed: float, checkpointing: bool) -> tuple[str, ...]:
    """Sentences where it does not fit: the batch that does is named."""
    if needed <= room.usable_gib and (room.card is None or needed <= (room.free_gib or math.inf)):
        return ()
    if needed > room.usable_gib:
        remedy = _remedy(load, room.usable_gib, checkpointing)
        return (f"batch {batch} needs about {needed:.1f} GiB, {room.name} has {room.total_gib:.1f}: {remedy}",)
    free_batch = batch_that_fits(load, room.free_gib, most=batch, checkpointing=checkpointing)
    or_smaller = f", or set train.batch_size: {free_batch}" if free_batch else ""
    return (
        f"training needs about {needed:.1f} GiB, only {room.free_gib:.1f} of {room.total_gib:.1f} are free on {room.name}: "
        f"close what uses the card (web UI, game, browser){or_smaller}",
    )


def _remedy(load: Load, usable_gib: float, checkpointing: bool) -> str:
    plain = batch_that_fits(load, usable_gib, most=MOST_BATCH, checkpointing=checkpointing)
    saving = 0 if checkpointing else batch_that_fits(load, usable_gib, most=MOST_BATCH, checkpointing=True)
    ways = [f"train.batch_size: {plain} fits"] if plain else []
    if saving > plain:
        ways.append(f"train.gradient_checkpointing: true with batch {saving} fits")
    return "; or ".join(ways) or "not even batch 1 fits; lower data.resolution or network.rank"

"""Settings with every `auto` filled in, and why: network, model, device, and the rates that follow from the batch.

Not here: the pictures' settings (plan_data.py), batch and checkpointing (plan_fit.py). `reasons` is filled by dotted key.
"""

import re

from lorabake import hardware
from lorabake.errors import UserError
from lorabake.families import Base, Family
from lorabake.networks import NETWORKS
from lorabake.plan_costs import TEXT_PREFIXES, Shapes
from lorabake.plan_estimate import Machine
from lorabake.plan_fit import Fit, Room
from lorabake.profile import Loaded
from lorabake.settings import Model, Network, Train

MOST_CONV_RANK = 32  # what `auto` gives the 3x3 convolutions at most
EIGHT_BIT = "8bit"
EIGHT_BIT_OPTIONS = {"min_8bit_size", "percentile_clipping", "block_wise"}  # what bitsandbytes' optimizers have and torch's do not
LAYER = re.compile(r"\.(?:layers|resblocks)\.(\d+)\.")
Reasons = dict[str, str]


def network(asked: Network, reasons: Reasons) -> Network:
    """Ranks and alphas filled in; the conv ones stay None for a type without convolutions."""
    row = NETWORKS[asked.type]
    rank = asked.rank or row.default_rank
    if asked.rank is None:
        reasons["network.rank"] = f"the default for {row.name}"
    found = {"rank": rank, "alpha": asked.alpha or float(rank)}
    if row.has_conv:
        conv_rank = asked.conv_rank or min(rank, MOST_CONV_RANK)
        found |= {"conv_rank": conv_rank, "conv_alpha": asked.conv_alpha or float(conv_rank)}
    return asked.model_copy(update=found)


def trained_parts(asked: Network, train: Train) -> tuple[str, ...]:
    """Parts that get a LoRA: those aimed at whose rate is not 0."""
    rates = {"text_encoder": train.text_encoder_lr, "unet": train.unet_lr}
    return tuple(part for part, rate in rates.items() if asked.target in ("both", part) and rate > 0)


def num_text_layers(shapes: Shapes) -> int:
    """Layers of the (first) text encoder, 0 when the header does not tell."""
    numbers = [int(m[1]) for name in shapes if name.startswith(TEXT_PREFIXES) and (m := LAYER.search(name))]
    return max(numbers, default=-1) + 1


def model(loaded: Loaded, base: Base, row: Family, shapes: Shapes, reasons: Reasons) -> Model:
    """clip_skip as typed, else as the base model's file says, else by the look. Raises UserError when there are not so many layers."""
    asked = loaded.profile.model
    if asked.clip_skip is not None:
        value, why = asked.clip_skip, "typed"
    elif base.clip_skip is not None:
        value, why = base.clip_skip, "the base model's file says so"
    else:
        value = row.default_clip_skip[asked.look]
        others = ", ".join(f"model.look: {look} makes it {n}" for look, n in row.default_clip_skip.items() if look != asked.look)
        why = f"usual for {asked.look} base models; {others}"
    layers = num_text_layers(shapes)
    if layers and value > layers:
        raise UserError(
            f"model.clip_skip {value}, but the text encoder of this base model has {layers} layers",
            where=loaded.where("model.clip_skip"),
            allowed=f"1 to {layers}",
            todo="model.clip_skip: auto",
        )
    reasons["model.clip_skip"] = why
    return asked.model_copy(update={"clip_skip": value})


def machine(loaded: Loaded, seen: hardware.Seen, reasons: Reasons) -> tuple[Machine, str]:
    """Where to train: (memory and threads, "cpu" or "cuda:<n>"). `auto` is the card with the most free memory, else the CPU."""
    train, cards = loaded.profile.train, seen.cards
    threads = train.cpu_threads or hardware.cpu_threads()
    asked = train.device
    if asked == "cpu" or (asked is None and not cards):
        reasons["train.device"] = "typed" if asked else seen.problem or "no NVIDIA card was found"
        total = hardware.host_memory_gib()
        return Machine(Room(None, total, total), threads), "cpu"
    if asked is None:
        card = max(cards, key=lambda c: (c.free_gib, -c.index))
        reasons["train.device"] = "the card with the most free memory" if len(cards) > 1 else ""
    else:
        index = int(asked.partition(":")[2] or 0)
        match = [c for c in cards if c.index == index]
        if not match:
            raise UserError(
                f"train.device {asked}, but there is no such card",
                where=loaded.where("train.device"),
                allowed=", ".join(f"cuda:{c.index} ({c.name})" for c in cards) or f"cpu: {seen.problem or 'no NVIDIA card was found'}",
                todo="train.device: auto",
            )
        card = match[0]
        reasons["train.device"] = "typed"
    return Machine(Room(card, card.vram_gib, card.free_gib), threads), f"cuda:{card.index}"


def on_this_device(asked: Train, device: str, reasons: Reasons) -> Train:
    """An 8-bit optimizer becomes its plain form on the CPU, so that memory, disk and the LoRA's metadata tell what really ran."""
    if device != "cpu" or not asked.optimizer.endswith(EIGHT_BIT):
        return asked
    plain = asked.optimizer.removesuffix(EIGHT_BIT)
    reasons["train.optimizer"] = f"{asked.optimizer} needs an NVIDIA card"
    options = {name: value for name, value in asked.optimizer_args.items() if name not in EIGHT_BIT_OPTIONS}
    return asked.model_copy(update={"optimizer": plain, "optimizer_args": options})


def train_settings(asked: Train, chosen: Fit, precision: str, device: str) -> Train:
    """`asked` with batch, checkpointing, precision and device filled in. `steps` and `cpu_threads` keep None: counted, and all."""
    found = {
        "batch_size": chosen.batch,
        "gradient_checkpointing": chosen.checkpointing,
        "mixed_precision": precision,
        "device": device,
    }
    return asked.model_copy(update=found)


def rate_factor(train: Train) -> int:
    """What both rates are multiplied by: pictures per optimizer step. `train` is resolved."""
    return int(train.batch_size or 1) * train.accumulation * train.processes if train.scale_lr_by_batch else 1


def used_rate(typed: float, factor: int) -> float:
    """typed x factor, without the last digits that binary fractions add: 8e-5 x 5 is 4e-4."""
    return float(f"{typed * factor:.12g}")

"""Optimizers by their names in a profile. Not the learning rate over time: that is schedule.factor, which the trainer multiplies in.

Each group of parameters carries its full rate as `base_lr` and its part as `name`, so a schedule needs no state of its own.
"""

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from lorabake.errors import UserError

NAMES = ("AdamW", "AdamW8bit")
# Options of torch's or bitsandbytes' class that are ours to set, or that only other uses have.
OURS = {"self", "params", "lr", "foreach", "fused", "capturable", "differentiable", "maximize", "optim_bits", "args", "is_paged"}
# bitsandbytes' wheels have no kernels for Maxwell cards from 0.48 on (its installation guide): it loads, and fails at the first step.
EIGHT_BIT_COMPUTE, LAST_FOR_OLDER = (6, 0), (0, 47)
Group = dict[str, Any]


def make(train: Any, groups: list[Group], *, device: torch.device) -> tuple[torch.optim.Optimizer, str | None]:
    """The optimizer of `train.optimizer` with `train.optimizer_args`, and a sentence where it is not the one that was asked for.

    `groups`: {"params", "lr", "base_lr", "name"} each; those without parameters or with rate 0 are left out. Defaults are the
    libraries' own, which the reference trainer uses too: betas 0.9, 0.999, eps 1e-8, weight_decay 0.01. Raises UserError for an unknown
    option or value.
    """
    groups = [group for group in groups if group["params"] and group["base_lr"]]
    if not groups:
        raise UserError("nothing would be trained: all learning rates are 0", where="train.unet_lr, train.text_encoder_lr")
    asked = next((name for name in NAMES if name.lower() == train.optimizer.lower()), None)
    if asked is None:
        raise UserError(f'unknown optimizer "{train.optimizer}"', where="train.optimizer", allowed=", ".join(NAMES))
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in train.optimizer_args.items()}
    if asked == "AdamW8bit":
        kind, reason = eight_bit(device)
        if kind is not None:
            return _build(kind, groups, options), None
        kept = {key: value for key, value in options.items() if key in allowed_options(torch.optim.AdamW)}
        left_out = f" ({', '.join(options.keys() - kept.keys())} left out)" if kept != options else ""
        return adamw(groups, kept), f"AdamW8bit {reason}: AdamW in float32 is used instead{left_out}"
    return adamw(groups, options), None


def adamw(groups: list[Group], options: Mapping[str, Any]) -> torch.optim.Optimizer:
    """torch's AdamW (Loshchilov and Hutter 2019), all parameters in one fused pass: the quickest of its forms on cards and on the CPU."""
    return _build(torch.optim.AdamW, groups, options, fused=True)


def eight_bit(device: torch.device) -> tuple[Callable[..., torch.optim.Optimizer] | None, str]:
    """bitsandbytes' AdamW8bit (Dettmers et al. 2022), or None and why not, as the end of a sentence that begins with its name."""
    if device.type != "cuda":
        return None, "needs an NVIDIA card"
    try:
        library = importlib.import_module("bitsandbytes")
        kind: Callable[..., torch.optim.Optimizer] = library.optim.AdamW8bit
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # a missing CUDA library shows as any of these
        return None, f"does not load here ({str(error).splitlines()[0][:120] if str(error) else type(error).__name__})"
    compute = torch.cuda.get_device_capability(device)
    if compute < EIGHT_BIT_COMPUTE and tuple(int(part) for part in library.__version__.split(".")[:2]) > LAST_FOR_OLDER:
        return None, f"has no kernels for a card of compute {compute[0]}.{compute[1]} from bitsandbytes 0.48 on (the stack older has 0.47)"
    return kind, ""


def allowed_options(kind: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(kind).parameters if name not in OURS]


def _build(kind: Callable[..., Any], groups: list[Group], options: Mapping[str, Any], **fixed: Any) -> torch.optim.Optimizer:
    allowed = allowed_options(kind)
    if unknown := [key for key in options if key not in allowed]:
        near = difflib.get_close_matches(unknown[0], allowed, 1)
        raise UserError(
            f'unknown option "{unknown[0]}"' + (f', did you mean "{near[0]}"?' if near else ""),
            where="train.optimizer_args",
            allowed=", ".join(allowed),
        )
    try:
        return kind(groups, **options, **fixed)
    except (TypeError, ValueError) as error:
        shown = ", ".join(f"{key}: {value}" for key, value in options.items())
        raise UserError(f"the optimizer refused its options: {error}", where=f"train.optimizer_args: {shown}") from error

"""LoCon: LoRA that also sits on the 3x3 convolutions, with a rank of its own there. Everything else is LoRA's (lora.py)."""

import torch

from lorabake.networks import lora
from lorabake.networks.lora import TENSORS, TRAINED, Options, branch, delta, fit, forward, rank_of, scale_of

__all__ = ["TENSORS", "TRAINED", "branch", "delta", "fit", "forward", "init", "rank_of", "scale_of"]


def init(shape: tuple[int, ...], options: Options, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Like lora.init; kernels larger than 1x1 take conv_rank and conv_alpha, Linear and 1x1 layers rank and alpha."""
    if torch.Size(shape[2:]).numel() > 1:
        return lora.make_pair(shape, options.conv_rank or options.rank, options.conv_alpha, generator)
    return lora.init(shape, options, generator)

"""A look at every tensor of a model file, one at a time: NaN, infinite, all zero; of a LoRA the alphas and how much each layer adds.

Norms are Frobenius norms of alpha / rank * (what the tensors make), from small products where the type allows it; DoRA and the types that
turn weights (OFT, IA3, GLoRA) have none without their base. Not here: the words for it (lora_info_text.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from lorabake.families import lora_keys
from lorabake.networks import deltas, lowrank
from lorabake.tensor_files import Source

Tensors = Mapping[str, torch.Tensor]
NO_NORM = ("dora_scale", "oft_blocks", "oft_diag", "weight", "a1.weight")


@dataclass
class Look:
    """Names of tensors, and of layers without any effect; `alphas` and `norms` by layer, where they are known."""

    nan: list[str] = field(default_factory=list)
    infinite: list[str] = field(default_factory=list)
    zero: list[str] = field(default_factory=list)
    no_effect: list[str] = field(default_factory=list)
    alphas: dict[str, float] = field(default_factory=dict)
    norms: dict[str, float] = field(default_factory=dict)


def look(source: Source, keys: lora_keys.Keys | None, step: Callable[[int], None] = lambda done: None) -> Look:
    """Look at all of a file; `keys` where it is a LoRA. `step(number of tensors done)` is called on the way."""
    found, done = Look(), 0
    layers = keys.layers if keys else {}
    for name, parts in layers.items():
        tensors = {}
        for part, key in parts.items():
            with source.tensor(key) as tensor:
                tensors[part] = tensor.clone()
            _judge(found, key, tensors[part])
        _layer(found, name, tensors)
        done += len(parts)
        step(done)
    known = {key for parts in layers.values() for key in parts.values()}
    for key in source.names():
        if key not in known:
            with source.tensor(key) as tensor:
                _judge(found, key, tensor)
            done += 1
            step(done)
    return found


def _judge(found: Look, key: str, tensor: torch.Tensor) -> None:
    if not tensor.is_floating_point() or not tensor.numel():
        return
    low, high = torch.aminmax(tensor if tensor.itemsize > 1 else tensor.float())
    if bool(low.isnan()):
        found.nan.append(key)
    elif bool(low.isinf()) or bool(high.isinf()):
        found.infinite.append(key)
    elif tensor.dim() > 1 and not bool(low) and not bool(high):
        found.zero.append(key)


def _layer(found: Look, name: str, tensors: Tensors) -> None:
    alpha = tensors.get(lora_keys.ALPHA)
    if alpha is not None and alpha.numel() == 1:
        found.alphas[name] = alpha.item()
    size = delta_norm(tensors)
    if size is None:
        telling = [tensor for part, tensor in tensors.items() if part not in (lora_keys.ALPHA, "on_input", "dora_scale")]
        size = 0.0 if telling and not any(bool(tensor.any()) for tensor in telling) else None
    else:
        found.norms[name] = size
    if size == 0:
        found.no_effect.append(name)


def delta_norm(tensors: Tensors) -> float | None:
    """Frobenius norm of what a layer's tensors add to its weight; None for a type that has none by itself, or for odd shapes."""
    if any(part in tensors for part in NO_NORM):
        return None
    try:
        kind = deltas.kind_of(tensors)
        if kind == "lora":
            up, down = deltas.plain(tensors)
            return lowrank.norm_of_product(up, down.flatten(1)) * abs(deltas.scale_of(tensors))
        if kind == "lokr":  # the norm of a Kronecker product is the product of the norms
            sizes = [float(deltas.factor(tensors, number).norm()) for number in (1, 2)]
            return sizes[0] * sizes[1] * abs(deltas.scale_of(tensors))
        return float(deltas.formed(tensors).norm()) if kind else None
    except (RuntimeError, ValueError, IndexError, KeyError):
        return None

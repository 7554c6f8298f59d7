"""What a module of the LoRA family adds to its base weight: LoRA, LoCon (with Tucker's core too), LoHa, LoKr, full differences, DoRA.

Pure functions on the tensors of one layer, named as kohya's and LyCORIS's files name them. Not here: which layer that is (families/),
reading (lora_file.py), OFT, IA3 and GLoRA, which are refused by name there. LoRA: Hu et al. 2021; LoHa: Hyeon-Woo et al. 2021;
LoKr and the Tucker forms: Yeh et al. 2023 (LyCORIS); DoRA: Liu et al. 2024.
"""

from collections.abc import Mapping

import torch

from lorabake.networks.lora import ALPHA, DOWN, UP

MID, DORA = "lora_mid.weight", "dora_scale"
WHOLE = ("diff", "w_norm")  # a difference of a weight as it is; `w_norm` that of a norm
BIAS = ("diff_b", "b_norm")
# A tensor of each kind whose size `axis` is the rank, asked in this order.
_RANKS = ((DOWN, 0), ("hada_w1_b", 0), ("lokr_w1_b", 0), ("lokr_w2_b", 0))
# What must be there for a layer to be of a kind: one of the alternatives, whole.
_NEEDS = {
    "lora": ((DOWN, UP),),
    "loha": (("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),),
    "lokr": tuple((*w1, *w2) for w1 in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b")) for w2 in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))),
    "full": tuple((name,) for name in WHOLE),
}
_SIGNS = {"lora": "lora_", "loha": "hada_", "lokr": "lokr_"}
Tensors = Mapping[str, torch.Tensor]


def kind_of(names: Mapping[str, object]) -> str:
    """ "lora", "loha", "lokr", "full", or "" for a layer that changes no weight (a bias alone). Raises ValueError for half a module."""
    for kind, sign in _SIGNS.items():
        if any(name.startswith(sign) for name in names):
            if any(names.keys() >= set(needed) for needed in _NEEDS[kind]):
                return kind
            raise ValueError(f"only {', '.join(sorted(names))} of it are there")
    if any(name in names for name in WHOLE):
        return "full"
    if DORA in names:
        raise ValueError("a magnitude (dora_scale) without a direction")
    return ""


def rank_of(tensors: Mapping[str, torch.Tensor]) -> int:
    """The inner size; 0 for what has none (full differences, a LoKr of two full factors)."""
    return next((tensors[name].shape[axis] for name, axis in _RANKS if name in tensors), 0)


def scale_of(tensors: Tensors) -> float:
    """alpha / rank; 1 where alpha is missing or 0, and where there is no rank."""
    rank = rank_of(tensors)
    return (float(tensors[ALPHA]) or rank) / rank if rank and ALPHA in tensors else 1.0


def delta(tensors: Tensors, shape: tuple[int, ...]) -> torch.Tensor:
    """What is added to a base weight of `shape` (out, in, *kernel) at strength 1: float32, of that shape. A magnitude is not looked at.

    Files hold 1x1 layers as (out, in) or (out, in, 1, 1), either fits. Raises ValueError with both sizes for another layer's module.
    """
    return _shaped(formed(tensors), shape)


def formed(tensors: Tensors) -> torch.Tensor:
    """`delta` in the shape that the tensors themselves give, mostly (out, in, *kernel); a flat LoHa or LoKr gives (out, in * kernel)."""
    return {"lora": _lora, "loha": _loha, "lokr": _lokr, "full": _full}[kind_of(tensors)](tensors)


def _shaped(found: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    flat = found.dim() == 2 and tuple(found.shape) == (shape[0], torch.Size(shape[1:]).numel())
    if not flat and _no_ones(found.shape) != _no_ones(shape):
        raise ValueError(f"it changes a weight of {tuple(found.shape)}; this layer's is {tuple(shape)}")
    return found.reshape(shape)


def _no_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without a kernel of 1x1."""
    return tuple(shape[:2]) if torch.Size(shape[2:]).numel() == 1 else tuple(shape)


def plain(tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """(up (out, rank), down (rank, in, *kernel)) of a LoRA, float32 and without alpha; Tucker's core is multiplied into `down`.

    Raises ValueError where the two do not belong together.
    """
    down, up = tensors[DOWN].float(), tensors[UP].float()
    if MID in tensors:
        down = torch.einsum("mn...,ni->mi...", tensors[MID].float(), down.flatten(1))
    if torch.Size(up.shape[2:]).numel() != 1 or up.shape[1] != down.shape[0]:
        raise ValueError(f"down {tuple(down.shape)} and up {tuple(up.shape)} do not fit each other")
    return up.flatten(1), down


def _lora(tensors: Tensors) -> torch.Tensor:
    up, down = plain(tensors)
    return (up @ down.flatten(1)).mul_(scale_of(tensors)).reshape(up.shape[0], *down.shape[1:])


def _loha(tensors: Tensors) -> torch.Tensor:
    """(w1_a w1_b) times (w2_a w2_b), element by element; each with a core in the Tucker form, whose w*_a is (rank, out)."""
    made = []
    for number in (1, 2):
        outer, inner = tensors[f"hada_w{number}_a"].float(), tensors[f"hada_w{number}_b"].float()
        core = tensors.get(f"hada_t{number}")
        made.append(outer @ inner if core is None else _tucker(core, outer, inner))
    return made[0].mul_(made[1]).mul_(scale_of(tensors))


def _tucker(core: torch.Tensor, outer: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """(out, in, *kernel) of core (rank, rank, *kernel), outer (rank, out), inner (rank, in)."""
    return torch.einsum("mn...,mo,ni->oi...", core.float(), outer, inner)


def _lokr(tensors: Tensors) -> torch.Tensor:
    """Kronecker's product of w1 and w2, each whole or of two factors. Where both are whole nothing is scaled, whatever alpha says."""
    w1, w2 = (_factor(tensors, number) for number in (1, 2))
    w1 = w1.reshape(*w1.shape, *(1 for _ in w2.shape[2:]))
    return torch.kron(w1, w2.contiguous()).mul_(scale_of(tensors))


def _factor(tensors: Tensors, number: int) -> torch.Tensor:
    whole = tensors.get(f"lokr_w{number}")
    if whole is not None:
        return whole.float()
    outer, inner = tensors[f"lokr_w{number}_a"].float(), tensors[f"lokr_w{number}_b"].float()
    core = tensors.get(f"lokr_t{number}")
    return outer @ inner if core is None else _tucker(core, outer, inner)


def _full(tensors: Tensors) -> torch.Tensor:
    return next(tensors[name] for name in WHOLE if name in tensors).float()


def change(tensors: Tensors, base: torch.Tensor) -> torch.Tensor:
    """New weight minus `base` at strength 1, float32: `delta`, or with a magnitude DoRA's m * (W + delta) / norm(W + delta) - W.

    The shape of the magnitude says what it is of: (1, in, ...) of each input, (out, 1, ...) or (out,) of each output.
    """
    found = delta(tensors, tuple(base.shape))
    if DORA not in tensors:
        return found
    weight = base.float()
    moved = found.add_(weight)
    magnitude, axis = _magnitude(tensors[DORA].float(), tuple(base.shape))
    others = [dim for dim in range(moved.dim()) if dim != axis]
    norm = torch.linalg.vector_norm(moved, dim=others, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny)
    return moved.mul_(magnitude / norm).sub_(weight)


def _magnitude(scale: torch.Tensor, shape: tuple[int, ...]) -> tuple[torch.Tensor, int]:
    """(the magnitude in a shape that spreads over the weight, the axis that it counts along). Raises ValueError."""
    out, width = shape[0], shape[1]
    ones = (1,) * (len(shape) - 2)
    if scale.numel() == out and (scale.dim() == 1 or scale.shape[0] == out):
        return scale.reshape(out, 1, *ones), 0
    if scale.numel() == width and (scale.dim() == 1 or scale.shape[:2] == (1, width)):
        return scale.reshape(1, width, *ones), 1
    raise ValueError(f"its magnitude (dora_scale) is of {tuple(scale.shape)}; this layer's weight is {shape}")


def bias_delta(tensors: Tensors, shape: tuple[int, ...]) -> torch.Tensor | None:
    """What is added to the layer's bias, float32, of its `shape`; None where the module leaves it alone. Raises ValueError."""
    found = next((tensors[name] for name in BIAS if name in tensors), None)
    if found is None:
        return None
    if found.numel() != torch.Size(shape).numel():
        raise ValueError(f"it changes a bias of {tuple(found.shape)}; this layer's is {tuple(shape)}")
    return found.float().reshape(shape)

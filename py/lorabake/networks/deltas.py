"""What a module of the LoRA family adds to its base weight: LoRA, LoCon (with Tucker's core too), LoHa, LoKr, full differences, DoRA.

Pure functions on the tensors of one layer, named as kohya's and LyCORIS's files name them. Not here: which layer that is (families/),
reading (lora_file.py), OFT, IA3 and GLoRA, which are refused by name there. LoRA: Hu et al. 2021; LoHa: Hyeon-Woo et al. 2021;
LoKr and the Tucker forms: Yeh et al. 2023 (LyCORIS); DoRA: Liu et al. 2024.
"""

import math
from collections.abc import Mapping

import torch

from lorabake.families import lora_keys
from lorabake.networks.lora import ALPHA, DOWN, UP

MID, DORA = "lora_mid.weight", "dora_scale"
WHOLE = ("diff", "w_norm")  # a difference of a weight as it is; `w_norm` that of a norm
BIAS = ("diff_b", "b_norm")
# What must be there for a layer to be of a kind: one of the alternatives, whole.
_NEEDS = {
    "lora": ((DOWN, UP),),
    "loha": (("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),),
    "lokr": tuple((*w1, *w2) for w1 in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b")) for w2 in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))),
    "full": tuple((name,) for name in WHOLE),
}
_SIGNS = {"lora": "lora_", "loha": "hada_", "lokr": "lokr_"}
Tensors = Mapping[str, torch.Tensor]
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


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
    return next((tensors[name].shape[0] for name in lora_keys.RANKED if name in tensors), 0)


def scale_of(tensors: Tensors) -> float:
    """alpha / rank; 1 where alpha is missing or 0, and where there is no rank."""
    rank = rank_of(tensors)
    return (float(tensors[ALPHA]) or rank) / rank if rank and ALPHA in tensors else 1.0


def shape_of(shapes: Shapes) -> Shape:
    """What `formed` gives for tensors of these shapes; nothing is computed. Raises ValueError where they do not fit each other."""
    match kind_of(shapes):
        case "lora":
            down, up, mid = shapes[DOWN], shapes[UP], shapes.get(MID)
            inner = down if mid is None else (mid[0], down[1], *mid[2:])
            whole = len(down) >= 2 and len(up) >= 2 and math.prod(up[2:]) == 1
            _require(whole and up[1] == inner[0] and (mid is None or (mid[1], math.prod(down[2:])) == (down[0], 1)), shapes)
            return (up[0], *inner[1:])
        case "loha":
            first, second = (_product(shapes, f"hada_w{n}_a", f"hada_w{n}_b", f"hada_t{n}") for n in (1, 2))
            _require(first == second, shapes)
            return first
        case "lokr":
            first, second = (
                shapes[f"lokr_w{n}"] if f"lokr_w{n}" in shapes else _product(shapes, f"lokr_w{n}_a", f"lokr_w{n}_b", f"lokr_t{n}")
                for n in (1, 2)
            )
            _require(len(first) == 2 and len(second) >= 2, shapes)
            return (first[0] * second[0], first[1] * second[1], *second[2:])
        case "full":
            return next(shapes[name] for name in WHOLE if name in shapes)
    raise ValueError("it changes no weight")


def _product(shapes: Shapes, outer: str, inner: str, core: str) -> Shape:
    a, b, t = shapes[outer], shapes[inner], shapes.get(core)
    _require(len(a) == len(b) == 2 and (a[1] == b[0] if t is None else (a[0], b[0]) == t[:2]), shapes)
    return (a[0], b[1]) if t is None else (a[1], b[1], *t[2:])


def _require(fits: bool, shapes: Shapes) -> None:
    if not fits:
        sizes = ", ".join(f"{name} {tuple(shape)}" for name, shape in sorted(shapes.items()) if name != ALPHA)
        raise ValueError(f"its tensors do not fit each other: {sizes}")


def require_fits(shapes: Shapes, shape: Shape) -> None:
    """Raises ValueError, with both sizes, where tensors of these shapes are no change of a base weight of `shape` (out, in, *kernel).

    Files hold 1x1 layers as (out, in) or (out, in, 1, 1), either fits; flat LoHa and LoKr as (out, in * kernel).
    """
    found = shape_of(shapes)
    flat = len(found) == 2 and found == (shape[0], math.prod(shape[1:]))
    if not flat and _no_ones(found) != _no_ones(shape):
        raise ValueError(f"it changes a weight of {tuple(found)}; this layer's is {tuple(shape)}")
    if DORA in shapes:
        _axis(shapes[DORA], shape)


def _no_ones(shape: Shape) -> Shape:
    """Without a kernel of 1x1."""
    return tuple(shape[:2]) if math.prod(shape[2:]) == 1 else tuple(shape)


def delta(tensors: Tensors, shape: Shape) -> torch.Tensor:
    """What is added to a base weight of `shape` at strength 1: float32, of that shape. A magnitude is not looked at.

    Raises ValueError as `require_fits` does.
    """
    require_fits({name: tuple(tensor.shape) for name, tensor in tensors.items() if name != DORA}, shape)
    return formed(tensors).reshape(shape)


def formed(tensors: Tensors) -> torch.Tensor:
    """`delta` in the shape that the tensors themselves give, mostly (out, in, *kernel); a flat LoHa or LoKr gives (out, in * kernel)."""
    return {"lora": _lora, "loha": _loha, "lokr": _lokr, "full": _full}[kind_of(tensors)](tensors)


def plain(tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """(up (out, rank), down (rank, in, *kernel)) of a LoRA, float32 and without alpha; Tucker's core is multiplied into `down`."""
    down, up = tensors[DOWN].float(), tensors[UP].float()
    if MID in tensors:
        down = torch.einsum("mn...,ni->mi...", tensors[MID].float(), down.flatten(1))
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
    w1, w2 = (factor(tensors, number) for number in (1, 2))
    w1 = w1.reshape(*w1.shape, *(1 for _ in w2.shape[2:]))
    return torch.kron(w1, w2.contiguous()).mul_(scale_of(tensors))


def factor(tensors: Tensors, number: int) -> torch.Tensor:
    """The first or second matrix of a LoKr's Kronecker product, float32."""
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
    require_fits({name: tuple(tensor.shape) for name, tensor in tensors.items()}, tuple(base.shape))
    found = formed(tensors).reshape(base.shape)
    if DORA not in tensors:
        return found
    weight = base.float()
    moved = found.add_(weight)
    axis = _axis(tuple(tensors[DORA].shape), tuple(base.shape))
    others = [dim for dim in range(moved.dim()) if dim != axis]
    norm = torch.linalg.vector_norm(moved, dim=others, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny)
    return moved.mul_(tensors[DORA].float().reshape(norm.shape) / norm).sub_(weight)


def _axis(scale: Shape, shape: Shape) -> int:
    """What a magnitude of the shape `scale` counts along: 0 the outputs, 1 the inputs. Raises ValueError."""
    for axis in (0, 1):
        if math.prod(scale) == shape[axis] and (len(scale) == 1 or (len(scale) > axis and scale[axis] == shape[axis])):
            return axis
    raise ValueError(f"its magnitude (dora_scale) is of {tuple(scale)}; this layer's weight is {tuple(shape)}")


def bias_delta(tensors: Tensors, shape: Shape) -> torch.Tensor | None:
    """What is added to the layer's bias, float32, of its `shape`; None where the module leaves it alone."""
    found = next((tensors[name] for name in BIAS if name in tensors), None)
    return None if found is None else found.float().reshape(shape)


def require_bias_fits(shapes: Shapes, shape: Shape) -> None:
    """Raises ValueError, with both sizes, where the module's change of a bias is not for one of `shape`."""
    found = next((shapes[name] for name in BIAS if name in shapes), shape)
    if math.prod(found) != math.prod(shape):
        raise ValueError(f"it changes a bias of {tuple(found)}; this layer's is {tuple(shape)}")

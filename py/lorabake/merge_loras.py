"""LoRAs merged into one LoRA: exactly, one behind the other along the rank, or the best approximation of their sum at a smaller rank.

Exact: down and up are stacked, each with its weight and alpha / rank in it; alpha becomes the sum of the ranks, so that nothing is scaled
again. Layer by layer. Not here: weights and records (merge_parts.py), the arithmetic of ranks (networks/lowrank.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from lorabake import console, tensor_files
from lorabake.errors import UserError
from lorabake.families import layers, lora_keys, lora_names
from lorabake.merge_parts import Weighted
from lorabake.networks import deltas, lowrank
from lorabake.networks.lora import ALPHA, DOWN, UP

Shape = tuple[int, ...]
NOISE = 1e-6  # of the largest singular value: below it there is only what float32 rounds
# Convolutions that a LoRA may sit on outside of the scope of layers.py.
_KERNELS = dict.fromkeys(("conv_in", "conv_out", "input_blocks_0_0", "out_2"), (3, 3))


@dataclass(frozen=True)
class Wish:
    """`rank` None: exact. `conv_rank` is that of layers with a kernel, `rank` where it is None."""

    rank: int | None
    conv_rank: int | None
    dtype: torch.dtype
    device: torch.device

    def limit(self, shape: Shape) -> int | None:
        return self.conv_rank if self.conv_rank and lora_keys.has_kernel(shape) else self.rank


@dataclass
class Merged:
    """The tensors by their keys; `ranks` of the layers without and with a kernel; squared norms of the sum and of what is lost, by part."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    ranks: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    wanted: dict[str, float] = field(default_factory=dict)
    lost: dict[str, float] = field(default_factory=dict)

    def note(self, name: str, norm: float, share: float) -> None:
        """One layer's norm, and the share of it that is in the result."""
        part = lora_names.part_of(name)
        self.wanted[part] = self.wanted.get(part, 0.0) + norm**2
        self.lost[part] = self.lost.get(part, 0.0) + norm**2 * max(0.0, 1 - share**2)

    def kept(self, part: str) -> float:
        """Share of the norm of the sum that is in the result, 0 to 1."""
        wanted = self.wanted.get(part, 0.0)
        return math.sqrt(max(0.0, 1 - self.lost.get(part, 0.0) / wanted)) if wanted else 1.0


def merge(parts: Sequence[Weighted], family: str, wish: Wish) -> Merged:
    """Raises UserError for what no LoRA can hold, for layers of different sizes, and for types that need --rank."""
    shapes = shapes_of(parts, family, exact=wish.rank is None)
    made = Merged()
    with console.Bar(len(shapes), "layers") as bar:
        for number, (name, shape) in enumerate(shapes.items(), 1):
            pair = _layer([part for part in parts if name in part.lora.layers and part.weight(name)], name, shape, wish, made)
            if pair:
                _enter(made, name, shape, pair, wish.dtype)
            bar.update(number)
    if not made.tensors:
        raise UserError(
            "the merged LoRA would have no effect: all that is merged is zero", todo="look at the files with: lora.py info FILE"
        )
    return made


def shapes_of(parts: Sequence[Weighted], family: str, *, exact: bool) -> dict[str, Shape]:
    """Layer -> the shape of the weight it changes, of all layers of all files; from headers alone."""
    full = layers.full_size(family)
    found: dict[str, tuple[Shape, Weighted]] = {}
    four_sided: set[str] = set()
    for part in parts:
        for name, tensors in part.lora.layers.items():
            if not part.weight(name):
                continue
            _require_holdable(part, name, tensors, exact=exact)
            shape = _shape_of(part, name, layers_kernel(name, full))
            if name in found and squeezed(found[name][0]) != squeezed(shape):
                first, other = found[name]
                raise UserError(
                    f"{other.lora.path.name} and {part.lora.path.name} are for layers of different sizes: {first} and {shape}",
                    where=name,
                    todo="merge LoRAs of the same base model",
                )
            if len(shape) == 4 and deltas.kind_of(tensors) == "lora":
                four_sided.add(name)
            found.setdefault(name, (shape, part))
    return {name: _as_convolution(shape, name in four_sided or _is_4d(name, full)) for name, (shape, _) in found.items()}


def _require_holdable(part: Weighted, name: str, tensors: Mapping[str, str], *, exact: bool) -> None:
    where = f"{part.lora.path}: {name}"
    if deltas.DORA in tensors:
        raise UserError(
            f"{part.lora.path.name} is a DoRA, whose change depends on the base model",
            where=where,
            todo="merge it into its base: --into BASE.safetensors",
        )
    if deltas.kind_of(tensors) == "" or any(name in tensors for name in (*deltas.BIAS, "w_norm")):
        raise UserError(
            f"{part.lora.path.name} changes biases or norms, which a LoRA cannot hold",
            where=where,
            todo="merge it into its base: --into BASE.safetensors",
        )
    if exact and deltas.kind_of(tensors) != "lora":
        raise UserError(
            f"{part.lora.path.name} is no plain LoRA ({part.lora.kind.title()}): as one, it can only be approximated",
            where=where,
            todo="add a rank, as in --rank 32; or merge it into its base: --into BASE.safetensors",
        )


def layers_kernel(name: str, full: Mapping[str, layers.Layer]) -> Shape:
    """What a file of a flat LoHa or LoKr does not say."""
    if name in full:
        return full[name].shape[2:]
    return _KERNELS.get(name.removeprefix("lora_unet_"), ())


def _shape_of(part: Weighted, name: str, kernel: Shape) -> Shape:
    shapes = part.lora.shapes(name)
    try:
        shape = deltas.shape_of(shapes)
    except ValueError as error:
        raise UserError(f"this LoRA is damaged: {error}", where=f"{part.lora.path}: {name}") from error
    if len(shape) == 2 and torch.Size(kernel).numel() > 1 and deltas.kind_of(shapes) in ("loha", "lokr"):
        shape = (shape[0], shape[1] // torch.Size(kernel).numel(), *kernel)
    if len(shape) not in (2, 4):
        raise UserError(f"it changes a weight of {shape}, which a LoRA cannot", where=f"{part.lora.path}: {name}")
    return shape


def squeezed(shape: Shape) -> Shape:
    return shape if lora_keys.has_kernel(shape) else shape[:2]


def _is_4d(name: str, full: Mapping[str, layers.Layer]) -> bool:
    return name in full and len(full[name].shape) == 4


def _as_convolution(shape: Shape, convolution: bool) -> Shape:
    return (*shape[:2], 1, 1) if convolution and not lora_keys.has_kernel(shape) else squeezed(shape)


def _layer(parts: Sequence[Weighted], name: str, shape: Shape, wish: Wish, made: Merged) -> tuple[torch.Tensor, torch.Tensor] | None:
    """(up (out, rank), down (rank, in * kernel)) of one layer, scale included; None where all is zero."""
    limit = wish.limit(shape)
    factors, formed = [], None
    for part in parts:
        tensors = part.lora.tensors(name, wish.device)
        if deltas.kind_of(tensors) == "lora":
            up, down = deltas.plain(tensors)
            if up.any() and down.any():
                factors.append(lowrank.balanced(up, down.flatten(1), part.weight(name) * deltas.scale_of(tensors)))
        else:
            found = deltas.formed(tensors).reshape(shape[0], -1).mul_(part.weight(name))
            formed = found if formed is None else formed.add_(found)
    if formed is None and not factors:
        return None
    if formed is None:
        up, down = torch.cat([pair[0] for pair in factors], 1), torch.cat([pair[1] for pair in factors])
        if limit is None or up.shape[1] <= limit:
            made.note(name, lowrank.norm_of_product(up, down), 1.0)
            return up, down
        found_values = lowrank.of_factors(up, down)
        wanted = found_values.norm()
    else:
        assert limit is not None, "refused before"
        for up, down in factors:
            formed.addmm_(up, down)
        wanted = float(torch.linalg.vector_norm(formed.double()))
        found_values = lowrank.of_matrix(formed, limit)
    if not wanted:
        return None
    rank = min(limit, max(1, int((found_values.values > NOISE * found_values.values[0]).sum())))
    made.note(name, wanted, found_values.norm(rank) / wanted)
    return found_values.pair(rank)


def _enter(made: Merged, name: str, shape: Shape, pair: tuple[torch.Tensor, torch.Tensor], dtype: torch.dtype) -> None:
    up, down = pair
    rank = up.shape[1]
    made.ranks[lora_keys.has_kernel(shape)].append(rank)
    up, down = up.reshape(shape[0], rank, *(1 for _ in shape[2:])), down.reshape(rank, *shape[1:])
    for suffix, tensor in ((UP, up), (DOWN, down), (ALPHA, torch.tensor(float(rank)))):
        made.tensors[f"{name}.{suffix}"] = cast_or_refuse(tensor, dtype, f"{name}.{suffix}")


def cast_or_refuse(tensor: torch.Tensor, dtype: torch.dtype, key: str) -> torch.Tensor:
    """In `dtype` on the CPU. Raises UserError where it is too large for that."""
    cast = tensor.to("cpu", dtype).contiguous()
    tensor_files.require_fits(cast, tensor.cpu(), where=key, todo="add --precision fp32 (or bf16)")
    return cast


def require_effect(tensors: Mapping[str, torch.Tensor], precision: str) -> None:
    """Raises UserError where all that would be written is zero, as after numbers too small for the precision."""
    if not any(tensor.any() for key, tensor in tensors.items() if key.endswith((UP, *deltas.WHOLE, *deltas.BIAS))):
        raise UserError(
            "the new LoRA would have no effect: all its weights are zero",
            allowed=f"they were zero before, or are too small for {precision}",
            todo="look at the file with: lora.py info FILE; or add --precision fp32",
        )

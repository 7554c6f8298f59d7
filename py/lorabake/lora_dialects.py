"""LoRAs in other programs' names -> kohya's, which every program reads, and back to diffusers'.

Names and shapes: families/lora_names.py, families/lora_keys.py. Not here: other model files (convert_plan.py).
"""

import json
from functools import partial

import torch

from lorabake import lora_metadata
from lorabake.conversion import Conversion
from lorabake.errors import UserError
from lorabake.families import layers, lora_keys, lora_names
from lorabake.families.lora_keys import ALPHA, DOWN, UP, Keys
from lorabake.model_kinds import FAMILY_TITLES, FileKind
from lorabake.tensor_files import Source, Spec

_PEFT_SUFFIXES = {DOWN: "lora_A.weight", UP: "lora_B.weight", "dora_scale": "lora_magnitude_vector"}
_LYCORIS = ("loha", "lokr", "full", "ia3", "glora")


def plan(source: Source, kind: FileKind, dialect: str) -> Conversion:
    """What a LoRA becomes in `dialect` ("kohya", "diffusers", "keep"). Raises UserError for what the dialect has no names for."""
    keys = lora_keys.read(source.names())
    if dialect != "keep" and kind.family not in FAMILY_TITLES:
        found = _kept(source, keys)
        found.notes.append("its names are kept: lorabake knows those of SD 1, SD 2 and SDXL")
    elif dialect == "diffusers":
        found = _to_diffusers(source, keys, kind)
    elif dialect == "kohya":
        found = _to_kohya(source, keys, kind)
    else:
        found = _kept(source, keys)
    found.metadata |= _metadata(source, keys, kind)
    return found


def _spec(source: Source, name: str, shape: tuple[int, ...] | None = None) -> Spec:
    with source.tensor(name) as tensor:
        return Spec(tensor.dtype, tuple(tensor.shape) if shape is None else shape)


def _kept(source: Source, keys: Keys) -> Conversion:
    found = Conversion()
    for name in source.names():
        found.add(name, name, _spec(source, name))
    _float_alphas(found, {tensors[ALPHA] for tensors in keys.layers.values() if ALPHA in tensors}, source, keys)
    return found


def _float_alphas(found: Conversion, alphas: set[str], source: Source, keys: Keys) -> None:
    """An alpha that a trainer left at a whole number gets the precision of the weights: some readers multiply by it as it is."""
    kinds = [_spec(source, tensors[suffix]).dtype for tensors in keys.layers.values() for suffix in tensors if suffix != ALPHA]
    weights = next((dtype for dtype in kinds if dtype.is_floating_point), torch.float32)
    for name, spec in found.specs.items():
        if found.sources.get(name) in alphas and not spec.dtype.is_floating_point:
            found.specs[name] = Spec(weights, spec.shape)


def _to_kohya(source: Source, keys: Keys, kind: FileKind) -> Conversion:
    found = Conversion()
    renamed = 0
    for layer, tensors in keys.layers.items():
        name = _kohya_name(layer, kind, source)
        renamed += name != layer
        for suffix, key in tensors.items():
            shape = _spec(source, key).shape
            if suffix == "dora_scale" and len(shape) == 1:
                shape = (*shape, *(1 for _ in source.contents.shapes[tensors[DOWN]][1:]))
            found.add(f"{name}.{suffix}", key, _spec(source, key, shape))
        if ALPHA not in tensors and DOWN in tensors and keys.dialect != "kohya":
            rank = source.contents.shapes[tensors[DOWN]][0]
            alpha = lora_keys.adapter_alpha(source.contents.metadata.get(lora_keys.CONFIG, ""), layer, rank)
            found.constants[f"{name}.{ALPHA}"] = torch.tensor(alpha)
            found.specs[f"{name}.{ALPHA}"] = Spec(_spec(source, tensors[UP]).dtype, ())
    for key in keys.strange:
        found.add(key, key, _spec(source, key))
    if keys.strange:
        found.notes.append(f"{len(keys.strange)} tensors with unknown names ({keys.strange[0]} ...) are kept as they are")
    if renamed:
        found.notes.append(f"{renamed} of {len(keys.layers)} layers get the names that every program reads (--dialect keep leaves them)")
    _float_alphas(found, {tensors[ALPHA] for tensors in keys.layers.values() if ALPHA in tensors}, source, keys)
    return found


def _kohya_name(layer: str, kind: FileKind, source: Source) -> str:
    try:
        return lora_names.kohya_name(layer, kind.family)
    except KeyError as error:
        raise UserError(
            f'the layer "{layer[:80]}" has no name in {FAMILY_TITLES[kind.family]} LoRAs',
            where=str(source.path),
            todo="--dialect keep leaves all names as they are",
        ) from error


def _to_diffusers(source: Source, keys: Keys, kind: FileKind) -> Conversion:
    found = Conversion()
    sizes = layers.full_size(kind.family)
    for layer, tensors in keys.layers.items():
        wrong = [suffix for suffix in tensors if suffix not in (*_PEFT_SUFFIXES, ALPHA)]
        if wrong or not {DOWN, UP} <= {*tensors}:
            raise UserError(
                "diffusers has no names for this kind of LoRA",
                where=f"{source.path}: {tensors[wrong[0]] if wrong else layer}",
                allowed="LoRA, LoCon and DoRA without Tucker cores",
                todo="--dialect kohya",
            )
        try:
            name = lora_names.to_peft(_kohya_name(layer, kind, source))
        except KeyError as error:
            raise UserError("diffusers has no name for this layer", where=f"{source.path}: {layer}", todo="--dialect kohya") from error
        size = sizes.get(_kohya_name(layer, kind, source))
        for suffix, own in _PEFT_SUFFIXES.items():
            if suffix in tensors:
                spec = _spec(source, tensors[suffix])
                found.add(f"{name}.{own}", tensors[suffix], Spec(spec.dtype, _peft_shape(spec.shape, suffix, size)))
        scale = _scale(source, tensors)
        if scale != 1:
            # diffusers reads no alpha beside these names: it goes into the weights
            found.changes[f"{name}.{_PEFT_SUFFIXES[UP]}"] = partial(_scaled, scale)
    return found


def _scaled(factor: float, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() * factor


def _scale(source: Source, tensors: dict[str, str]) -> float:
    if ALPHA not in tensors:
        return 1.0
    with source.tensor(tensors[ALPHA]) as alpha:
        rank = source.contents.shapes[tensors[DOWN]][0]
        return (float(alpha.float().reshape(-1)[0]) or rank) / rank


def _peft_shape(shape: tuple[int, ...], suffix: str, size: layers.Layer | None) -> tuple[int, ...]:
    """PEFT wants four axes on a convolution and two on a Linear layer, where other programs take either."""
    if suffix == "dora_scale":
        return (torch.Size(shape).numel(),)
    if size and len(size.shape) == 2 and len(shape) == 4 and shape[2:] == (1, 1):
        return shape[:2]
    if size and len(size.shape) == 4 and len(shape) == 2:
        return (*shape, 1, 1)
    return shape


def _metadata(source: Source, keys: Keys, kind: FileKind) -> dict[str, str]:
    """What is there; where no trainer wrote any, the least that readers want."""
    found = {key: value for key, value in source.contents.metadata.items() if key != lora_keys.CONFIG}
    if "ss_network_module" in found or kind.family not in FAMILY_TITLES:
        return found
    plain: list[tuple[int, float]] = []
    conv: list[tuple[int, float]] = []
    for tensors in keys.layers.values():
        if DOWN in tensors:
            shape = source.contents.shapes[tensors[DOWN]]
            (conv if lora_keys.has_kernel(shape) else plain).append((shape[0], _scale(source, tensors) * shape[0]))
    both = plain or conv
    made = lora_metadata.of_tool(
        kind.family, source.path.stem, ranks=[rank for rank, _ in both], alphas=[alpha for _, alpha in both], conv=conv[0] if conv else None
    )
    if kind.kind in _LYCORIS:
        made |= {"ss_network_module": "lycoris.kohya", "ss_network_args": json.dumps({"algo": kind.kind})}
    return made | found

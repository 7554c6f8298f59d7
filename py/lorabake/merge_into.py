"""LoRAs baked into a checkpoint: each tensor is read, its changes are added in float32, and it is written in its own precision.

One tensor at a time, whatever the size of the file. Not here: Diffusers folders (merge_folder.py), weights and records (merge_parts.py).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lorabake import console, lora_file, model_kinds, modelfile, tensor_files, weights
from lorabake.errors import UserError
from lorabake.families import layers, layouts
from lorabake.families.layers import Layer
from lorabake.families.lora_targets import targets
from lorabake.merge_parts import Weighted, require_family
from lorabake.networks import deltas
from lorabake.tensor_files import Source, Spec
from lorabake.wording import counted, listed

EMA = "model_ema."


@dataclass(frozen=True)
class Use:
    """One module of one LoRA on one tensor."""

    part: Weighted
    name: str
    layer: Layer


@dataclass
class Changes:
    """What falls on which tensor of the base: on weights (or norms), and on biases."""

    weights: dict[str, list[Use]] = field(default_factory=dict)
    biases: dict[str, list[Use]] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.weights or name in self.biases

    def __len__(self) -> int:
        return len(self.weights) + len(self.biases)


@dataclass
class Merger:
    """Gives the new tensor of each name. `odd`: untouched tensors of the base that are not finite, met so far."""

    source: Source
    changes: Changes
    dtype: torch.dtype | None  # of every float; None keeps each one's own
    device: torch.device
    odd: list[str] = field(default_factory=list)

    def spec(self, name: str) -> Spec:
        with self.source.tensor(name) as tensor:
            if tensor.dtype not in tensor_files.NAMES:
                raise UserError(f"a tensor is of a kind that cannot be written ({tensor.dtype})", where=f"{self.source.path}: {name}")
            return Spec(self._dtype(tensor), tuple(tensor.shape))

    def _dtype(self, tensor: torch.Tensor) -> torch.dtype:
        return self.dtype if self.dtype and tensor.is_floating_point() else tensor.dtype

    def put(self, name: str, put: Callable[[torch.Tensor], None]) -> None:
        with self.source.tensor(name) as tensor:
            finite = tensor_files.is_finite(tensor)
            if name not in self.changes:
                if not finite:
                    self.odd.append(name)
                cast = tensor.to(self._dtype(tensor))
                if finite and cast is not tensor:
                    self._require_fits(name, cast, tensor)
                put(cast)
                return
            if not finite:
                lora_file.require_finite(tensor, self.source.path, name)
            changed = self._changed(name, tensor)
            cast = changed.to("cpu", self._dtype(tensor))
            self._require_fits(name, cast, changed)
            put(cast)

    def _require_fits(self, name: str, cast: torch.Tensor, exact: torch.Tensor) -> None:
        todo = "add --precision fp32 (or bf16), or merge with smaller weights"
        tensor_files.require_fits(cast, exact.cpu(), where=f"{self.source.path}: {name}", todo=todo)

    def _changed(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """In float32 (float64 where the base has it). Every change is computed from the base itself, so their order is all the same."""
        changed = tensor.to(self.device, torch.float64 if tensor.dtype == torch.float64 else torch.float32, copy=True)
        base = tensor.to(self.device)
        for use in self.changes.weights.get(name, []):
            rows = slice(*use.layer.rows) if use.layer.rows else slice(None)
            found = deltas.change(use.part.lora.tensors(use.name, self.device), base[rows])
            changed[rows].add_(found, alpha=use.part.weight(use.name))
        for use in self.changes.biases.get(name, []):
            rows = slice(*use.layer.rows) if use.layer.rows else slice(None)
            found_bias = deltas.bias_delta(use.part.lora.tensors(use.name, self.device), tuple(base[rows].shape))
            if found_bias is not None:
                changed[rows].add_(found_bias, alpha=use.part.weight(use.name))
        return changed


def require_base(source: Source) -> model_kinds.FileKind:
    """What the base is. Raises UserError for what is no checkpoint of a family that LoRAs are merged for."""
    kind = model_kinds.describe(source.contents)
    fits = kind.kind == "checkpoint" or (kind.kind == "unet" and any(name.startswith(layouts.UNET) for name in source.contents.shapes))
    if not fits or kind.family not in layers.FAMILIES:
        titles = ", ".join(model_kinds.FAMILY_TITLES[name] for name in layers.FAMILIES)
        raise UserError(
            f"nothing can be merged into this: {kind.title()}",
            where=str(source.path),
            allowed=f"a checkpoint of {titles}",
            todo="leave --into out to merge LoRAs into one LoRA" if kind.is_lora() else "",
        )
    return kind


def planned(source: Source, family: str, parts: Sequence[Weighted]) -> Changes:
    """What falls on what; says for each LoRA how much of it found its layer. Raises UserError where nothing did, or does not fit."""
    known = targets(source.contents.shapes, family)
    changes = Changes()
    for part in parts:
        require_family(part.lora, family, str(source.path))
        lacking = [missing for name in part.lora.layers if part.weight(name) for missing in _place(part, name, known, source, changes)]
        _tell(part, changes, lacking)
    return changes


def _place(part: Weighted, name: str, known: Mapping[str, Layer], source: Source, changes: Changes) -> list[str]:
    """Enter one module; what of it the base has no place for comes back."""
    layer = known.get(name)
    if layer is None:
        return [name]
    shapes = part.lora.shapes(name)
    use = Use(part, name, layer)
    bias = f"{layer.key.removesuffix('weight')}bias"
    try:
        if deltas.kind_of(shapes):
            deltas.require_fits(shapes, layer.shape)
            changes.weights.setdefault(layer.key, []).append(use)
        if not any(suffix in shapes for suffix in deltas.BIAS):
            return []
        if bias not in source:
            return [f"{name} (its bias)"]
        deltas.require_bias_fits(shapes, layer.shape[:1])
    except ValueError as error:
        raise UserError(
            f"this LoRA was made for a base model of other sizes: {error}",
            where=f"{part.lora.path}: {name}",
            todo="use a LoRA of the same family and size as the base model",
        ) from error
    changes.biases.setdefault(bias, []).append(use)
    return []


def _tell(part: Weighted, changes: Changes, lacking: list[str]) -> None:
    uses = [use for table in (changes.weights, changes.biases) for uses in table.values() for use in uses if use.part is part]
    num_found, num_all = len({use.name for use in uses}), len(part.lora.layers)
    if not num_found:
        raise UserError(
            "no layer of the base has a name that is in this LoRA",
            where=f"{part.lora.path}: {listed(lacking)}",
            todo="use a LoRA of the same family as the base model",
        )
    num_zero = sum(not part.weight(name) for name in part.lora.layers)
    words = [f"{num_found} of {counted(num_all, 'layer')} found in the base"]
    words += [f"{num_zero} of weight 0"] if num_zero else []
    console.say(f"{part.lora.path.name}: {', '.join(words)}")
    if lacking:
        console.say(f"  note: the base lacks {counted(len(lacking), 'layer')} of it: {listed(lacking)}")
    if any(deltas.DORA in part.lora.layers[use.name] for use in uses):
        console.say("  note: this is a DoRA: its magnitudes are those for the base alone, whatever else is merged with it")


def tell_ema(names: Iterable[str]) -> None:
    if any(name.startswith(EMA) for name in names):
        console.say("note: the averaged copy (EMA) in the base is left as it is; programs draw with the other one")


def write(merger: Merger, out: Path, names: Mapping[str, str], metadata: Mapping[str, str]) -> int:
    """Write the tensors `names` (name in the new file -> name in the base) and say how far it is; returns the size in bytes."""
    specs = {new: merger.spec(old) for new, old in names.items()}
    with console.Bar(len(specs), "tensors") as bar:
        num_done = 0

        def fill(name: str, put: Callable[[torch.Tensor], None]) -> None:
            nonlocal num_done
            merger.put(names[name], put)
            num_done += 1
            bar.update(num_done)

        tensor_files.write(out, specs, fill, metadata, _whole)
    return out.stat().st_size


def _whole(path: Path) -> None:
    modelfile.read_header(path)


def merger_of(source: Source, changes: Changes, precision: str, device: torch.device) -> Merger:
    return Merger(source, changes, None if precision == "keep" else weights.DTYPES[precision], device)

"""A LoRA file of any dialect, opened as layers: kohya's name of each layer -> its tensors, read when they are asked for.

Names of diffusers and PEFT become kohya's, those of an SDXL U-Net the original layout's, whichever they are written in. Not here: what the
tensors compute (networks/deltas.py), the trainer's own reading of its own files (attach.py).
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lorabake import console, hashes, model_kinds, modelfile, tensor_files
from lorabake.errors import UserError
from lorabake.families import layers, lora_keys, lora_names
from lorabake.networks import deltas
from lorabake.wording import counted, listed

REFUSED = ("oft", "ia3", "glora")
_ALONE_NOTHING = {lora_keys.ALPHA, "weight", "on_input"}


@dataclass(frozen=True)
class Lora:
    """An open file. `layers`: kohya's name -> what the tensor is -> key in the file. `strange`: keys that no dialect knows."""

    path: Path
    kind: model_kinds.FileKind
    layers: dict[str, dict[str, str]]
    strange: tuple[str, ...]
    source: tensor_files.Source
    _alphas: dict[str, float] = field(default_factory=dict)  # by layer, where the metadata has them

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.source.contents.metadata

    def shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        """Of the layer's tensors, as `tensors` gives them: PEFT's magnitude, which is of the outputs, as LyCORIS shapes such a one."""
        found = {suffix: self.source.contents.shapes[key] for suffix, key in self.layers[name].items()}
        if self.kind.dialect == "peft" and deltas.DORA in found:
            ones = len(found.get(lora_keys.DOWN, (0, 0))) - 1
            found[deltas.DORA] = (math.prod(found[deltas.DORA]), *(1 for _ in range(ones)))
        return found

    def tensors(self, name: str, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
        """The tensors of one layer, copied in float32. Raises UserError for what is not finite."""
        found, shapes = {}, self.shapes(name)
        for suffix, key in self.layers[name].items():
            with self.source.tensor(key) as tensor:
                found[suffix] = tensor.to(device, torch.float32, copy=True).reshape(shapes[suffix])
            require_finite(found[suffix], self.path, key)
        if name in self._alphas and lora_keys.ALPHA not in found:
            found[lora_keys.ALPHA] = torch.tensor(self._alphas[name])
        return found

    def precision(self) -> str:
        """That of most of its weights: "fp32", "fp16" or "bf16"; others (fp8, fp64) count as the next that a LoRA is saved in."""
        counts: dict[str, int] = {}
        for tensors in self.layers.values():
            for suffix, key in tensors.items():
                if suffix != lora_keys.ALPHA:
                    dtype = self.source.contents.dtypes.get(key, "F32")
                    counts[dtype] = counts.get(dtype, 0) + 1
        most = max(counts, key=lambda dtype: counts[dtype])
        return {"F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp16", "F8_E5M2": "fp16"}.get(most, "fp32")

    def digest(self) -> dict[str, str]:
        """A hash that finds the file again: sshs_model_hash, over the tensors alone; of a PyTorch file the SHA-256 of all of it."""
        if self.source.contents.format != "safetensors":
            return {"sha256": hashes.sha256_file(self.path)}
        return {"sshs_model_hash": hashes.sha256_file(self.path, skip=modelfile.read_header(self.path).data_start)}

    def tell_strange(self) -> None:
        """Say which tensors nothing is done with, because no program's names are like theirs."""
        if self.strange:
            console.say(f"  note: {counted(len(self.strange), 'tensor')} of unknown names left out: {listed(self.strange)}")


@contextmanager
def opened(path: Path) -> Iterator[Lora]:
    """Open a LoRA of SD 1, SD 2 or SDXL. Raises UserError, naming what it is, for everything else and for half a module."""
    with tensor_files.opened(path) as source:
        kind = model_kinds.describe(source.contents)
        _refuse_others(path, kind)
        keys = lora_keys.read(source.names())
        layers, strange = _by_name(keys, kind.family)
        for name, tensors in layers.items():
            try:
                deltas.kind_of(tensors)
            except ValueError as error:
                raise UserError(f"this LoRA is not whole: {error}", where=f"{path}: {name}", todo="download it again") from error
        if not layers:
            raise UserError("no key of this file names a layer", where=f"{path}: {listed(source.names())}")
        alphas = _alphas(keys, source.contents, kind.family) if lora_keys.CONFIG in source.contents.metadata else {}
        yield Lora(path, kind, layers, strange, source, alphas)


def _refuse_others(path: Path, kind: model_kinds.FileKind) -> None:
    if not kind.is_lora():
        raise UserError(f"this is no LoRA: {kind.title()}", where=str(path), allowed="LoRA, LoCon, LoHa, LoKr, DoRA, full differences")
    if kind.kind in REFUSED:
        raise UserError(f"this is {kind.title()}, which lorabake does not compute with", where=str(path))
    if kind.family not in layers.FAMILIES:
        titles = ", ".join(model_kinds.FAMILY_TITLES[name] for name in layers.FAMILIES)
        raise UserError(f"this is {kind.title()}", where=str(path), allowed=f"LoRAs for {titles}")


def _by_name(keys: lora_keys.Keys, family: str) -> tuple[dict[str, dict[str, str]], tuple[str, ...]]:
    """Layers by kohya's names, and the keys that cannot be named so."""
    layers: dict[str, dict[str, str]] = {}
    strange = list(keys.strange)
    for name, tensors in keys.layers.items():
        try:
            known = lora_names.kohya_name(name, family)
        except KeyError:
            strange += tensors.values()
            continue
        if set(tensors) <= _ALONE_NOTHING:
            strange += tensors.values()
            continue
        layers.setdefault(known, {}).update(tensors)
    return layers, tuple(strange)


def _alphas(keys: lora_keys.Keys, contents: modelfile.Contents, family: str) -> dict[str, float]:
    """Alpha by layer as diffusers' metadata has it, where the file has none in tensors."""
    found = {}
    for name, tensors in keys.layers.items():
        if "." in name and lora_keys.DOWN in tensors:
            rank = contents.shapes[tensors[lora_keys.DOWN]][0]
            with suppress(KeyError):
                known = lora_names.kohya_name(name, family)
                found[known] = lora_keys.adapter_alpha(contents.metadata[lora_keys.CONFIG], name, rank)
    return found


def require_finite(tensor: torch.Tensor, path: Path, key: str) -> None:
    """Raises UserError for NaN or infinity."""
    if not tensor_files.is_finite(tensor):
        raise UserError(
            "this file is damaged: a tensor holds NaN or infinity",
            where=f"{path}: {key}",
            todo="use an earlier save of it, or another file",
        )

"""One model file on its way to another: which tensors, from where, changed how. Made anew each time they are asked for, never kept.

Not here: what a file shall become (convert_plan.py, lora_dialects.py), telling about it (converter.py).
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lorabake import hashes, tensor_files
from lorabake.errors import UserError
from lorabake.tensor_files import Source, Spec

Change = Callable[[torch.Tensor], torch.Tensor]
Tick = Callable[[int], None]  # told the bytes that were done


@dataclass
class Conversion:
    """`sources`: new name -> name in the file; `changes`: what is done to a tensor beside its precision; `constants`: new tensors."""

    specs: dict[str, Spec] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    constants: dict[str, torch.Tensor] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, source: str, spec: Spec, change: Change | None = None) -> None:
        """Raises UserError where the name is taken: one of the two would be lost."""
        if name in self.specs:
            raise UserError(
                "two of its tensors would get one name", where=f"{self.sources[name]} and {source} as {name}", todo="--dialect keep"
            )
        self.specs[name], self.sources[name] = spec, source
        if change:
            self.changes[name] = change

    def num_bytes(self) -> int:
        return sum(spec.num_bytes() for spec in self.specs.values())

    def changes_nothing(self, source: Source) -> bool:
        """Whether the same names and precisions would be written again."""
        names = source.names()
        plain = not self.changes and not self.constants and {*self.specs} == {*names} and all(a == b for a, b in self.sources.items())
        return plain and all(tensor_files.NAMES[spec.dtype] == source.contents.dtypes.get(name) for name, spec in self.specs.items())

    @contextmanager
    def tensor(self, source: Source, name: str) -> Iterator[torch.Tensor]:
        """The tensor as it is to be written. Raises UserError for a value that the new precision cannot hold."""
        spec = self.specs[name]
        if name in self.constants:
            yield self.constants[name].to(spec.dtype)
            return
        with source.tensor(self.sources[name]) as given:
            changed = self.changes[name](given) if name in self.changes else given
            cast = changed.to(spec.dtype)
            where, todo = f"{source.path}: {name}", "--precision bf16, which takes as little room as fp16, or keep"
            if not tensor_files.is_finite(cast) and not torch.equal(cast.isfinite(), changed.isfinite()):  # infinite before may stay so
                tensor_files.require_fits(cast, changed, where=where, todo=todo)
            yield cast.reshape(spec.shape)


def add_hashes(conversion: Conversion, source: Source) -> None:
    """Put the two sshs hashes of the tensors that will be written into the metadata (lora-facts: hashes.lora_hashes, here streaming)."""
    ours = {key: value for key, value in conversion.metadata.items() if key.startswith("ss_")}
    head = tensor_files.header_bytes(conversion.specs, ours)
    digest, position = hashlib.sha256(), len(head)
    first, last = hashes.LEGACY_OFFSET, hashes.LEGACY_OFFSET + hashes.LEGACY_BYTES
    window = hashlib.sha256(head[first:last])
    for name in tensor_files.in_order(conversion.specs):
        with conversion.tensor(source, name) as tensor:
            data = tensor_files.raw(tensor)
            digest.update(data)
            window.update(data[max(0, first - position) : max(0, last - position)])
            position += len(data)
    conversion.metadata |= {"sshs_model_hash": digest.hexdigest(), "sshs_legacy_hash": window.hexdigest()[:8]}


def write(conversion: Conversion, source: Source, path: Path, *, tick: Tick) -> None:
    """Write the file and read it back; it gets its name when every tensor is the same. Raises as tensor_files.write does."""

    def fill(name: str, put: Callable[[torch.Tensor], None]) -> None:
        with conversion.tensor(source, name) as tensor:
            put(tensor)
        tick(conversion.specs[name].num_bytes())

    def check(aside: Path) -> None:
        if difference := compare(conversion, source, aside, tick=tick):
            what = f"what was written reads back differently: {difference}"
            raise UserError(what, where=str(path), todo="check the disk, then start again")

    tensor_files.write(path, conversion.specs, fill, conversion.metadata, check)


def compare(conversion: Conversion, source: Source, written: Path, *, tick: Tick) -> str:
    """The first thing in which a file differs from what the conversion makes now: a tensor's name, "metadata" or "names"; or ""."""
    with tensor_files.opened(written) as copy:
        if {*copy.names()} != {*conversion.specs}:
            return "names"
        if dict(copy.contents.metadata) != conversion.metadata:
            return "metadata"
        for name in copy.names():
            with copy.tensor(name) as read, conversion.tensor(source, name) as meant:
                if not same(read, meant):
                    return name
            tick(conversion.specs[name].num_bytes())
    return ""


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors are the same to the bit (a NaN equals itself)."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return torch.equal(*_as_whole_numbers(first, second))


def _as_whole_numbers(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """The bits of tensors, in words of 8 bytes where they allow it: nine times as fast to compare as halves are."""
    flat = [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in tensors]
    fits = all(tensor.numel() % 8 == 0 and int(tensor.storage_offset()) % 8 == 0 and tensor.data_ptr() % 8 == 0 for tensor in flat)
    return [tensor.view(torch.int64) for tensor in flat] if fits else flat

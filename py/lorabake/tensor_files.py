"""Model files read and written tensor by tensor, so that one of any size never sits in memory whole.

Inputs are mapped (safetensors, torch's zip files) and their pages are let go after use; outputs are written in order behind a header that
is known before. Not here: what the tensors mean (families/, networks/), LoRA files with their metadata (weights.py).
"""

import ctypes
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from lorabake import modelfile, paths, weights
from lorabake.errors import UserError

# safetensors' names of dtypes that torch has, in the order in which the library lays out the data area
TORCH_DTYPES: dict[str, torch.dtype] = {
    "I64": torch.int64,
    "F64": torch.float64,
    "F32": torch.float32,
    "I32": torch.int32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I16": torch.int16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in TORCH_DTYPES.items()}
_PLACES = {dtype: place for place, dtype in enumerate(TORCH_DTYPES.values())}
_MADV_DONTNEED = 4
_PAGE_BYTES = 4096
_LEAST_LET_GO_BYTES = 2**20


@dataclass(frozen=True)
class Spec:
    """What the header says of one tensor before it exists."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    def num_bytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize


@dataclass
class Source:
    """A model file or Diffusers folder that is open. Names of a folder begin with their part, `unet/`."""

    path: Path
    contents: modelfile.Contents
    _get: dict[str, Callable[[], torch.Tensor]] = field(default_factory=dict)
    _in_memory: set[str] = field(default_factory=set)  # tensors of torch's oldest format, which is read whole

    def names(self) -> list[str]:
        return list(self._get)

    def __contains__(self, name: str) -> bool:
        return name in self._get

    @contextmanager
    def tensor(self, name: str) -> Iterator[torch.Tensor]:
        """One tensor, on the CPU and in the file's precision; at the end of the block its pages are no longer in memory.

        It must not be written to, and what is to outlast the block must be copied.
        """
        found = self._get[name]()
        try:
            yield found
        finally:
            if name not in self._in_memory:
                let_go(found)


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """A file or folder, opened for reading tensor by tensor. Raises UserError for what is no whole model file and for unknown pickles."""
    contents = modelfile.read_contents(path)
    files = {"": path}
    if contents.format == "diffusers":
        files = {f"{part}/{file.name}": file for part in modelfile.ALL_PARTS for file in modelfile.part_files(path / part)}
    source = Source(path, contents)
    handles = []
    try:
        for label, file in files.items():
            prefix = f"{label.split('/')[0]}/" if label else ""
            if modelfile.file_format(file) == "ckpt":
                loaded = {prefix + name: _given(tensor) for name, tensor in weights.load_checkpoint(file).items()}
                source._get.update(loaded)
                source._in_memory.update(loaded if not zipfile.is_zipfile(file) else ())
                continue
            try:
                handle = safe_open(file, framework="pt")
            except SafetensorError as error:
                raise UserError(f"this .safetensors file is damaged ({error})", where=str(file), todo="download it again") from error
            handles.append(handle.__enter__())
            source._get.update({prefix + name: _read(handle, name) for name in handle.keys()})  # noqa: SIM118
        yield source
    finally:
        source._get.clear()
        for handle in handles:
            handle.__exit__(None, None, None)


def _given(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: tensor


def _read(handle: safe_open, name: str) -> Callable[[], torch.Tensor]:
    return lambda: handle.get_tensor(name)


def let_go(tensor: torch.Tensor) -> None:
    """Give the memory of a mapped tensor back to the system; the file has it, and it would be read again if it were asked for.

    Only for tensors that are mapped from a file and were not written to: of any other tensor this call destroys the values! Without it
    the pages of everything that was read count as memory of the process for as long as the file is open.
    """
    if tensor.numel() * tensor.element_size() < _LEAST_LET_GO_BYTES:
        return
    begin = -(-tensor.data_ptr() // _PAGE_BYTES) * _PAGE_BYTES
    length = (tensor.data_ptr() + tensor.numel() * tensor.element_size() - begin) // _PAGE_BYTES * _PAGE_BYTES
    if sys.platform == "win32":
        # Pages that are not locked leave the working set by this call, which then "fails".
        ctypes.windll.kernel32.VirtualUnlock(ctypes.c_void_p(begin), ctypes.c_size_t(length))
    elif sys.platform == "linux":
        ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(length), _MADV_DONTNEED)


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether there is no NaN and no infinity in it. (NaN shows in the extremes, which are found twenty times as fast as isfinite is.)"""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    low, high = (tensor.half() if tensor.dtype.itemsize == 1 else tensor).aminmax()  # fp8 has no order in torch
    return bool(low.isfinite() and high.isfinite())


def require_fits(cast: torch.Tensor, exact: torch.Tensor, *, where: str, todo: str) -> None:
    """Raises UserError for a number in `cast` (`exact` rounded to another precision) that is not finite."""
    if not is_finite(cast):
        name = next((name for name, dtype in weights.DTYPES.items() if dtype == cast.dtype), str(cast.dtype))
        finite = exact[exact.isfinite()].abs()
        largest = f" ({finite.max().item():.4g})" if finite.numel() else ""
        raise UserError(f"a weight{largest} is too large for {name}", where=where, todo=todo)


def in_order(specs: Mapping[str, Spec]) -> list[str]:
    """Names in the order of the data area as the safetensors library lays it out: by dtype, wide ones first, then by name."""
    return sorted(specs, key=lambda name: (_PLACES[specs[name].dtype], name.encode()))


def header_bytes(specs: Mapping[str, Spec], metadata: Mapping[str, str]) -> bytes:
    """Header of tensors that are laid out by `in_order`."""
    entries, position = {}, 0
    for name in in_order(specs):
        end = position + specs[name].num_bytes()
        entries[name] = modelfile.Entry(NAMES[specs[name].dtype], specs[name].shape, position, end)
        position = end
    return modelfile.header_bytes(entries, metadata)


def raw(tensor: torch.Tensor) -> memoryview:
    """The bytes of a CPU tensor, not copied where it is contiguous."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data


Fill = Callable[[str, Callable[[torch.Tensor], None]], None]


def write(path: Path, specs: Mapping[str, Spec], fill: Fill, metadata: Mapping[str, str], check: Callable[[Path], None]) -> None:
    """Write a .safetensors file: `fill(name, put)` is called for each tensor in order and hands it to `put`.

    `check(temporary file)` may raise; only then, flushed to the disk, the file gets its name. Raises DiskFull before anything is
    written where the disk cannot hold it, and leaves nothing behind on any error.
    """
    head = header_bytes(specs, metadata)
    total = len(head) + sum(spec.num_bytes() for spec in specs.values())
    paths.require_room(path, total)
    with paths.replacing(path) as aside:
        with aside.open("wb", buffering=0) as file:
            _write_all(file.fileno(), head)
            for name in in_order(specs):
                spec = specs[name]

                def put(tensor: torch.Tensor, name: str = name, spec: Spec = spec) -> None:
                    assert (tensor.dtype, tuple(tensor.shape)) == (spec.dtype, spec.shape), name
                    _write_all(file.fileno(), raw(tensor))

                fill(name, put)
            assert file.tell() == total, "a tensor was not written"
        check(aside)
        aside.chmod(0o644)


def _write_all(number: int, data: bytes | memoryview) -> None:
    """os.write may write less than it was given: Linux stops at 2 GiB."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(number, rest) :]

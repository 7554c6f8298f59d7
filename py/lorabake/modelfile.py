"""What a model file or a Diffusers folder holds, from its header: names, shapes, metadata. Standard library only, no tensors.

Every way in which a download goes wrong gets its own sentence here: empty, a web page, cut short, a header of absurd length.
Not a judge of families: that is families/layouts.py.
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorabake import pickles
from lorabake.errors import UserError

MAX_HEADER_BYTES = 25 * 2**20  # real headers stay under 2 MB; a LoRA with a thumbnail in its metadata under 10
BITS = dict.fromkeys(("F64", "I64", "U64", "C64"), 64) | dict.fromkeys(("F32", "I32", "U32"), 32)
BITS |= dict.fromkeys(("F16", "BF16", "I16", "U16"), 16) | {"F6_E2M3": 6, "F6_E3M2": 6, "F4": 4}
BITS |= dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8)
PARTS = ("unet", "vae", "text_encoder")
ALL_PARTS = (*PARTS, "text_encoder_2")  # SDXL has a second text encoder
_NOT_MODELS = {
    b"GGUF": "a GGUF file: weights rounded for drawing, which cannot be trained on",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive, not a model",
    b"Rar!": "a RAR archive, not a model",
    b"version https://git-lfs": "a Git LFS pointer: a few lines of text that stand for the real file",
    b"\x89PNG": "a PNG picture, not a model",
    b"\xff\xd8\xff": "a JPEG picture, not a model",
}


@dataclass(frozen=True)
class Entry:
    """One tensor of a safetensors header; `begin` and `end` count from the start of the data area."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    entries: dict[str, Entry]
    metadata: dict[str, str]
    data_start: int


@dataclass(frozen=True)
class Contents:
    """Names and shapes of a whole model. In a folder the names begin with their part, `unet/`, and `configs` has its JSON files."""

    format: str  # "safetensors", "ckpt" or "diffusers"
    shapes: dict[str, tuple[int, ...]]
    size_bytes: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)  # in safetensors' words

    def num_parameters(self) -> int:
        """Without the averaged second copy (model_ema.) that some checkpoints carry."""
        return sum(math.prod(shape) for name, shape in self.shapes.items() if not name.startswith("model_ema."))


def read_contents(path: Path) -> Contents:
    """Names and shapes of a file or Diffusers folder. Raises UserError, with the reason, for everything that is neither."""
    if path.is_dir():
        return _folder(path)
    form = file_format(path)
    size = path.stat().st_size
    if form == "safetensors":
        header = read_header(path)
        shapes = {name: entry.shape for name, entry in header.entries.items()}
        return Contents("safetensors", shapes, size, header.metadata, dtypes={name: e.dtype for name, e in header.entries.items()})
    found = pickles.outline(path)
    if found.unknown():
        raise pickles.refuse_unknown(path, found.unknown())
    return Contents("ckpt", found.shapes, size, dtypes=found.dtypes)


def file_format(path: Path) -> str:
    """Either "safetensors" or "ckpt", by content and not by name (both are often renamed). Raises UserError for anything else."""
    if not path.exists():
        raise UserError("there is no such file", where=str(path), todo="correct the name")
    size = path.stat().st_size
    if size == 0:
        raise UserError("this file is empty (0 bytes)", where=str(path), todo="download it again")
    with path.open("rb") as file:
        head = file.read(512)
    if pickles.is_torch_file(head):
        return "ckpt"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<body")):
        raise UserError(
            "this is a web page (HTML) that was saved under a model's name",
            where=str(path),
            allowed=f"it has {size} bytes; the site wanted a login or a click first",
            todo="open the download page in a browser, sign in if it asks, and download the file again",
        )
    for magic, meaning in _NOT_MODELS.items():
        if head.startswith(magic):
            raise UserError(f"this is {meaning}", where=str(path), todo="download the .safetensors of the model itself")
    return "safetensors"


def read_header(path: Path) -> Header:
    """Header of a .safetensors file, checked against the file's length before anything is believed. Raises UserError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= MAX_HEADER_BYTES:
            raise _damaged(path, f"its first 8 bytes claim a header of {length} bytes")
        if 8 + length > size:
            raise _truncated(path, 8 + length, size)
        raw = file.read(length)
    try:
        table = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except _Twice as error:
        raise _damaged(path, f"its header has two entries named {str(error)[:80]!r}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is not JSON") from error
    if not isinstance(table, dict):
        raise _damaged(path, "its header is not a table")
    metadata = table.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise _damaged(path, "its metadata is not a table")
    entries = {name: _entry(path, name, fields) for name, fields in table.items()}
    _require_gapless(path, entries)
    expected = 8 + length + max((entry.end for entry in entries.values()), default=0)
    if expected > size:
        raise _truncated(path, expected, size)
    if expected < size:
        raise _damaged(path, f"{size - expected} bytes too many follow its tensors")
    return Header(entries, {str(k): str(v) for k, v in metadata.items()}, 8 + length)


class _Twice(Exception):
    """A name that stands twice in one JSON table, of which readers would take the one or the other."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        raise _Twice(next(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]
    return table


def _require_gapless(path: Path, entries: Mapping[str, Entry]) -> None:
    """The format wants each byte of the data in one tensor: overlaps and holes are how a file hides something, or breaks."""
    position = 0
    for name, entry in sorted(entries.items(), key=lambda pair: (pair[1].begin, pair[1].end)):
        if entry.begin != position:
            what = "overlaps another" if entry.begin < position else "leaves a hole before it"
            raise _damaged(path, f"its tensor {name[:80]!r} {what}")
        position = entry.end


def _entry(path: Path, name: str, fields: Any) -> Entry:
    try:
        dtype, shape, (begin, end) = fields["dtype"], tuple(fields["shape"]), fields["data_offsets"]
        numbers_are_whole = all(type(n) is int and 0 <= n < 2**53 for n in (*shape, begin, end))
        if not numbers_are_whole or (end - begin) * 8 != math.prod(shape) * BITS.get(dtype, -1):
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"its entry for {name[:80]!r} makes no sense") from error
    return Entry(dtype, shape, begin, end)


def header_bytes(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> bytes:
    """Length and header of a .safetensors file, padded to 8 bytes; the same for the same contents. `entries` in the order of the data."""
    table: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    for name, entry in entries.items():
        table[name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [entry.begin, entry.end]}
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _truncated(path: Path, expected: int, size: int) -> UserError:
    return UserError(
        f"this file was cut short: its header says {expected} bytes, the file has {size}",
        where=str(path),
        todo="download it again",
    )


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(
        f"this is no .safetensors file, or it is damaged: {reason}",
        where=str(path),
        allowed="a .safetensors or .ckpt model file, or a Diffusers folder",
        todo="download it again, or give another file",
    )


def part_files(folder: Path) -> list[Path]:
    """The weight files of one part of a Diffusers folder: several when it is stored in shards, [] when there is none.

    The plain file wins over a variant (`.fp16.`), safetensors over .bin, the live weights over an average (`non_ema`).
    """
    if not folder.is_dir():
        return []
    for suffix in (".safetensors", ".bin"):
        indexes = sorted(folder.glob(f"*{suffix}.index*.json"), key=lambda p: (len(p.name), p.name))
        for index in indexes:
            names = sorted(set(read_json(index).get("weight_map", {}).values()))
            if names and all((folder / name).exists() for name in names):
                return [folder / name for name in names]
        found = [p for p in folder.glob(f"*{suffix}") if p.name.startswith(("diffusion_pytorch_model", "model", "pytorch_model"))]
        if found:
            return [min(found, key=lambda p: ("non_ema" in p.name, len(p.name), p.name))]
    return []


def read_json(path: Path) -> dict[str, Any]:
    """A JSON table from a model folder; {} when it is absent. Raises UserError when it is damaged."""
    if not path.exists():
        return {}
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError("this file of the model folder is not JSON", where=str(path), todo="download the folder again") from error
    return table if isinstance(table, dict) else {}


def _folder(path: Path) -> Contents:
    configs = {"model_index": read_json(path / "model_index.json")}
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, str] = {}
    size = 0
    for part in ALL_PARTS:
        configs[part] = read_json(path / part / "config.json")
        for file in part_files(path / part):
            contents = read_contents(file)
            size += contents.size_bytes
            shapes.update({f"{part}/{name}": shape for name, shape in contents.shapes.items()})
            dtypes.update({f"{part}/{name}": dtype for name, dtype in contents.dtypes.items()})
    if not shapes and not configs["model_index"]:
        models = sorted(p.name for p in path.iterdir() if p.suffix in (".safetensors", ".ckpt"))
        raise UserError(
            "this folder is not a Diffusers model (no unet/, vae/ and text_encoder/ in it)",
            where=str(path),
            todo=f"give the file inside: {path / models[0]}" if models else "give a .safetensors or .ckpt file, or a Diffusers folder",
        )
    return Contents("diffusers", shapes, size, {}, configs, dtypes)

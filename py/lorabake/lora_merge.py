"""What `py/lora.py merge` does: LoRAs into a checkpoint, or into one LoRA. Never over a file that is there.

Weight means weight: base + sum of weight * change, and the same for a merged LoRA. Not here: the arithmetic (merge_into.py,
merge_loras.py).
"""

import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from lorabake import (
    console,
    device,
    hashes,
    lora_metadata,
    merge_folder,
    merge_into,
    merge_loras,
    merge_parts,
    model_kinds,
    paths,
    tensor_files,
    weights,
)
from lorabake.errors import UsageError
from lorabake.families import locate
from lorabake.families.lora_names import PART_TITLES
from lorabake.merge_parts import OUR_KEY, Weighted
from lorabake.wording import counted, listed

# True of the base, not of what comes out.
_NO_LONGER_TRUE = ("modelspec.hash_sha256", "sshs_model_hash", "sshs_legacy_hash")


def main(options: Namespace) -> int:
    """Exit code of `lora.py merge`. Raises UsageError for words that do not go together, UserError for files that do not."""
    out = Path(options.out)
    if options.into and (options.rank or options.conv_rank):
        raise UsageError("--rank is of a merged LoRA; a checkpoint has none", where="--into", todo="leave --rank out, or --into")
    if options.conv_rank and not options.rank:
        raise UsageError("--conv-rank needs --rank", todo="add --rank, the rank of the other layers")
    base = locate(options.into) if options.into else None
    is_folder = base is not None and base.is_dir()
    if not is_folder:
        paths.require_safetensors(out)
    paths.refuse_existing(out)
    began = time.monotonic()
    with merge_parts.opened(options.lora) as parts:
        what = into_checkpoint(parts, base, out, options) if base else into_lora(parts, out, options)
    console.result(f"{out}: {what}, in {console.duration(time.monotonic() - began)}")
    return 0


def into_checkpoint(parts: Sequence[Weighted], base: Path, out: Path, options: Namespace) -> str:
    """Bake the LoRAs into a file or Diffusers folder; what came of it, in words."""
    with tensor_files.opened(base) as source:
        kind = merge_into.require_base(source)
        precision = model_kinds.precision_of(source.contents.dtypes)
        console.say(f"{base.name}: {kind.title()}, {', '.join(filter(None, (precision, console.size(source.contents.size_bytes))))}")
        changes = merge_into.planned(source, kind.family, parts)
        merge_into.tell_ema(source.contents.shapes)
        merger = merge_into.merger_of(source, changes, options.precision or "keep", device.for_tool(options.device))
        record = _record(parts, base, source)
        if base.is_dir():
            size = merge_folder.write(merger, out, record)
        else:
            size = merge_into.write(
                merger, out, {name: name for name in source.names()}, _checkpoint_metadata(parts, base, source, out) | record
            )
    if merger.odd:
        number = counted(len(merger.odd), "tensor")
        console.say(f"note: {number} of the base with NaN or infinity, copied as they are: {listed(merger.odd)}")
    rest = "the rest byte for byte" if merger.dtype is None else f"all in {options.precision}"
    return f"{console.size(size)}, {counted(len(changes), 'tensor')} changed, {rest}"


def _record(parts: Sequence[Weighted], base: Path, source: tensor_files.Source) -> dict[str, str]:
    hashed = {} if base.is_dir() else {"sha256": hashes.sha256_file(base)}
    return {OUR_KEY: merge_parts.record(parts, {"file": base.name, **hashed, **merge_parts.earlier(source.contents.metadata)})}


def _checkpoint_metadata(parts: Sequence[Weighted], base: Path, source: tensor_files.Source, out: Path) -> dict[str, str]:
    """The base's own, with a new title and what was merged. Without a date: the same input gives the same bytes."""
    kept = {key: text for key, text in source.contents.metadata.items() if key not in _NO_LONGER_TRUE}
    titles = [lora_metadata.title_of(base, source.contents.metadata), *merge_parts.titles(parts)]
    return kept | {"modelspec.title": out.stem, "modelspec.merged_from": ", ".join(titles)}


def into_lora(parts: Sequence[Weighted], out: Path, options: Namespace) -> str:
    """Write one LoRA, and say with --rank how much of the sum it holds; what came of it, in words."""
    family = merge_parts.require_same_family(parts)
    precision = options.precision or "fp16"
    if precision == "keep":
        found = {part.lora.precision() for part in parts}
        precision = found.pop() if len(found) == 1 else "fp32"
    wish = merge_loras.Wish(options.rank, options.conv_rank, weights.DTYPES[precision], device.for_tool(options.device))
    made = merge_loras.merge(parts, family, wish)
    merge_loras.require_effect(made.tensors, precision)
    plain, conv = made.ranks
    ranks = plain or conv
    one_conv = (conv[0], float(conv[0])) if plain and len(set(conv)) == 1 else None
    key = lora_metadata.family_key(family, parts[0].lora.metadata)
    metadata = lora_metadata.of_tool(key, out.stem, ranks=ranks, alphas=ranks, conv=one_conv)
    metadata |= merge_parts.kept_texts(parts) | {"modelspec.merged_from": ", ".join(merge_parts.titles(parts))}
    metadata |= {OUR_KEY: merge_parts.record(parts)}
    weights.save_lora(out, made.tensors, metadata=lora_metadata.dated(metadata), precision=precision)
    for part, words in PART_TITLES.items():
        if options.rank and part in made.wanted:
            console.say(f"{words}: {made.kept(part):.2%} of the norm of the sum is kept")
    return f"{console.size(out.stat().st_size)}, {counted(len(plain) + len(conv), 'layer')}, {_ranks(plain, conv)}, {precision}"


def _ranks(plain: list[int], conv: list[int]) -> str:
    words = [f"rank {_range(plain)}"] if plain else []
    return ", ".join([*words, *([f"rank {_range(conv)} of the 3x3 layers"] if conv else [])])


def _range(ranks: list[int]) -> str:
    low, high = min(ranks), max(ranks)
    return str(low) if low == high else f"{low} to {high}"

"""What `py/lora.py resize` does: a LoRA whose every layer is the best approximation of the old one at a new rank, or at one of its own.

By the SVD of the product of the two factors, which is never formed (networks/lowrank.py). alpha follows the rank, so the strength stays.
LoCon, Tucker's cores and DoRA (whose magnitudes stay) too; LoHa and LoKr have no rank to cut: `merge FILE --rank N` makes LoRAs of them.
"""

import math
import statistics
import time
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lorabake import console, device, lora_file, lora_metadata, merge_loras, paths, weights
from lorabake.errors import UsageError, UserError
from lorabake.families import lora_keys, lora_names
from lorabake.families.lora_names import PART_TITLES
from lorabake.lora_file import Lora
from lorabake.networks import deltas, lowrank
from lorabake.networks.lora import ALPHA, DOWN, UP
from lorabake.resize_metadata import resized_metadata
from lorabake.wording import counted, listed

SUFFIX = ".safetensors"
NOTHING = 1e-6  # a largest value of this or less is no change: rank 1


@dataclass(frozen=True)
class Wish:
    """`rank`, `conv_rank`: the largest for layers without and with a kernel, None: as now. `by`: (method, value), a rank for each layer."""

    rank: int | None
    conv_rank: int | None
    by: tuple[str, float] | None
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True)
class Cut:
    """One layer: its ranks before and after, its norm before, the share of it that is kept."""

    name: str
    old: int
    new: int
    norm: float
    share: float
    kernel: bool
    short: bool = False  # a larger rank was asked for than it has


@dataclass
class Resized:
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    cuts: list[Cut] = field(default_factory=list)


def main(options: Namespace) -> int:
    """Exit code of `lora.py resize`. Raises UsageError without a rank and a method, UserError for files that have no rank to cut."""
    if not (options.rank or options.conv_rank or options.by):
        raise UsageError("no size is given", where="resize", todo="add --rank 16, or --by sv_fro=0.95")
    path = Path(options.file)
    out = Path(options.out) if options.out else path.with_name(f"{path.stem}-{name_of(options)}{SUFFIX}")
    paths.require_safetensors(out)
    paths.refuse_existing(out)
    began = time.monotonic()
    with lora_file.opened(path) as lora:
        console.say(f"{path.name}: {lora.kind.title()}; {counted(len(lora.layers), 'layer')}")
        lora.tell_strange()
        if lora.kind.dialect != "kohya":
            console.say("  note: its names are those of diffusers; the new file has kohya's, which every program reads")
        precision = lora.precision() if options.precision == "keep" else options.precision
        wish = Wish(options.rank, options.conv_rank or options.rank, options.by, weights.DTYPES[precision], device.for_tool(options.device))
        made = resize(lora, wish)
        merge_loras.require_effect(made.tensors, precision)
        metadata = resized_metadata(lora.metadata, made.cuts, alphas_of(made), wish.by)
        weights.save_lora(out, made.tensors, metadata=lora_metadata.dated(metadata), precision=precision)
    tell(made, wish)
    before, after = path.stat().st_size, out.stat().st_size
    console.result(f"{out}: {console.size(before)} -> {console.size(after)}, {precision}, in {console.duration(time.monotonic() - began)}")
    return 0


def name_of(options: Namespace) -> str:
    """What stands behind the old name: `r16`, `r16-c8`, `c8`, `sv_fro_0.95`."""
    if options.by:
        return f"{options.by[0]}_{options.by[1]:g}"
    words = [f"r{options.rank}"] if options.rank else []
    return "-".join([*words, *([f"c{options.conv_rank}"] if options.conv_rank else [])])


def resize(lora: Lora, wish: Wish) -> Resized:
    """All layers; what is no LoRA of theirs (magnitudes, full differences, biases) stays. Raises UserError where there is no LoRA."""
    _require_ranks(lora)
    made = Resized()
    with console.Bar(len(lora.layers), "layers") as bar:
        for number, name in enumerate(lora.layers, 1):
            tensors = lora.tensors(name, wish.device)
            if DOWN in tensors:
                cut, changed = resized(name, tensors, wish)
                made.cuts.append(cut)
                tensors = {suffix: tensor for suffix, tensor in tensors.items() if suffix != deltas.MID} | changed
            for suffix, tensor in tensors.items():
                made.tensors[f"{name}.{suffix}"] = merge_loras.cast_or_refuse(tensor, wish.dtype, f"{lora.path}: {name}.{suffix}")
            bar.update(number)
    return made


def _require_ranks(lora: Lora) -> None:
    """Raises UserError for types without a rank, and for tensors that do not fit each other."""
    kinds = {name: deltas.kind_of(tensors) for name, tensors in lora.layers.items()}
    other = [name for name, kind in kinds.items() if kind in ("loha", "lokr")]
    if other or "lora" not in kinds.values():
        raise UserError(
            f"this is {lora.kind.title()}: it has no rank that could be cut",
            where=f"{lora.path}: {listed(other or list(kinds))}",
            todo=f'lora.py merge "{lora.path.name}" --rank 32 --out lora.safetensors makes the nearest LoRA of it',
        )
    for name, kind in kinds.items():
        try:
            _ = kind and deltas.shape_of(lora.shapes(name))
        except ValueError as error:
            raise UserError(f"this LoRA is damaged: {error}", where=f"{lora.path}: {name}") from error


def resized(name: str, tensors: Mapping[str, torch.Tensor], wish: Wish) -> tuple[Cut, dict[str, torch.Tensor]]:
    """What was cut of a layer, and its new up, down and alpha; unchanged where it is not cut."""
    up, down = deltas.plain(tensors)
    kernel = lora_keys.has_kernel(down.shape)
    limit = wish.conv_rank if kernel else wish.rank
    old, scale = up.shape[1], deltas.scale_of(tensors)
    found = lowrank.of_factors(up, down.flatten(1))
    wanted = old if limit is None else limit
    if wish.by:
        wanted = min(wanted, rank_by(found.values, *wish.by))
    # A small layer has fewer values than a large rank says: what is cut at all is cut to those.
    new = min(wanted, len(found.values)) if wanted < old else old
    norm = found.norm()
    cut = Cut(name, old, new, norm * abs(scale), found.norm(new) / norm if norm else 1.0, kernel, short=not wish.by and wanted > old)
    if new == old and deltas.MID not in tensors:
        return cut, {}
    new_up, new_down = found.pair(new) if new < old else (up, down.flatten(1))
    flat = (1,) * (down.dim() - 2)
    changed = {UP: new_up.reshape(*new_up.shape, *flat), DOWN: new_down.reshape(new, *down.shape[1:])}
    return cut, changed | {ALPHA: torch.tensor(scale * new)}


def rank_by(values: torch.Tensor, method: str, value: float) -> int:
    """A layer's rank from its singular values, falling; the rules of the reference's resizing, which leave one more than the bare minimum.

    sv_ratio: those larger than the largest / value; sv_cumulative: until their sum reaches that share of the whole; sv_fro: likewise
    with squares, and the share squared, so that it is one of the Frobenius norm. Then one more; 1 for a layer without any change.
    """
    exact = values.double().cpu()
    if exact[0] <= NOTHING:
        return 1
    if method == "sv_ratio":
        index = int((exact > exact[0] / value).sum())
    else:
        power, share = (1, value) if method == "sv_cumulative" else (2, value**2)
        sums = (exact**power).cumsum(0)
        index = int(torch.searchsorted(sums / sums[-1], torch.tensor(share, dtype=torch.float64))) + 1
    return min(len(exact), max(1, min(index, len(exact) - 1)) + 1)


def alphas_of(made: Resized) -> dict[str, float]:
    """Alpha by layer, as it is written; a missing one is the rank."""
    return {cut.name: float(made.tensors.get(f"{cut.name}.{ALPHA}", torch.tensor(float(cut.new)))) for cut in made.cuts}


def tell(made: Resized, wish: Wish) -> None:
    """Ranks before and after, and what is kept, for each part; to stderr."""
    for part, words in PART_TITLES.items():
        for kernel in (False, True):
            cuts = [cut for cut in made.cuts if lora_names.part_of(cut.name) == part and cut.kernel == kernel]
            if not cuts:
                continue
            old, new = _spread([cut.old for cut in cuts]), _spread([cut.new for cut in cuts])
            wanted = math.fsum(cut.norm**2 for cut in cuts)
            kept = math.sqrt(math.fsum((cut.norm * cut.share) ** 2 for cut in cuts) / wanted) if wanted else 1.0
            where = f"{words}{', 3x3' if kernel else ''}"
            console.say(f"{where}: {counted(len(cuts), 'layer')}, rank {old} -> {new}, {kept:.2%} of the norm is kept")
    short = [cut for cut in made.cuts if cut.short]
    if short:
        most = max(cut.old for cut in short)
        console.say(
            f"note: {counted(len(short), 'layer')} had no more than rank {most} and stay as they are: a larger rank would hold nothing"
        )


def _spread(ranks: list[int]) -> str:
    low, middle, high = min(ranks), round(statistics.median(ranks)), max(ranks)
    return str(low) if low == high else f"{low}/{middle}/{high} (least/median/most)"

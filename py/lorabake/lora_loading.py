"""Which tensors of a LoRA file the usual programs load, which they leave out, and where they stop: A1111, Forge, ComfyUI, diffusers.

Names and shapes are judged by rules that were read in the programs' sources (loads_*.py say which state of them), for the published
models of SD 1, SD 2 and SDXL. Not here: whether the numbers in the tensors are sound (lora_weights.py), names in general (families/).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from lorabake import loads_a1111, loads_comfy, loads_diffusers
from lorabake.families import layers, lora_keys, lora_names
from lorabake.families.lora_places import Refused, Shapes

PROGRAMS = ("A1111", "Forge", "ComfyUI", "diffusers")
FORGE_MOST_UNKNOWN = 12  # with more names that it does not know, Forge takes the file for another family's and applies nothing


@dataclass(frozen=True)
class Verdict:
    """What one program does with a file. `refused`: why it loads nothing at all; `left_out`: keys that it passes over, in file order."""

    program: str
    num_keys: int
    left_out: tuple[str, ...] = ()
    refused: str = ""

    @property
    def num_loaded(self) -> int:
        return 0 if self.refused else self.num_keys - len(self.left_out)


def judge(shapes: Shapes, family: str) -> list[Verdict]:
    """One verdict for each of PROGRAMS; [] for a family whose rules are not here."""
    if family not in layers.FAMILIES:
        return []
    return [
        _verdict("A1111", shapes, family, loads_a1111.loaded),
        _forge(shapes, family),
        _verdict("ComfyUI", shapes, family, loads_comfy.loaded),
        _verdict("diffusers", shapes, family, loads_diffusers.loaded),
    ]


def _verdict(program: str, shapes: Shapes, family: str, rule: Callable[[Shapes, str], set[str]]) -> Verdict:
    try:
        loaded = rule(shapes, family)
    except Refused as reason:
        return Verdict(program, len(shapes), refused=str(reason))
    return Verdict(program, len(shapes), tuple(key for key in shapes if key not in loaded))


def _forge(shapes: Shapes, family: str) -> Verdict:
    verdict = _verdict("Forge", shapes, family, lambda shapes, family: loads_comfy.loaded(shapes, family, forge=True))
    unknown = len(verdict.left_out)
    if verdict.refused or unknown <= FORGE_MOST_UNKNOWN:
        return verdict
    reason = (
        f"it does not know {unknown} of the names (first: {verdict.left_out[0]}); with more than {FORGE_MOST_UNKNOWN} it applies nothing"
    )
    return Verdict("Forge", verdict.num_keys, refused=reason)


def misfits(shapes: Shapes, family: str) -> tuple[list[str], bool]:
    """Layers whose sizes are not those of the published model, and whether they are those of a smaller one (such as pocket).

    Only layers whose tensors tell the size: LoRA pairs, LoHa without Tucker's cores, full differences.
    """
    if family not in layers.FAMILIES:
        return [], False
    wanted, found, smaller = _full_size(family), [], True
    for name, size in _sizes(lora_keys.read(shapes), shapes):
        layer = wanted.get(_kohya_name(name, family))
        if layer and size != (own := _flat(layer.shape)):
            found.append(name)
            smaller &= all(a <= b for a, b in zip(size, own, strict=True))
    return found, bool(found) and smaller


@cache
def _full_size(family: str) -> dict[str, layers.Layer]:
    return layers.full_size(family)


def _flat(shape: tuple[int, ...]) -> tuple[int, int]:
    size = shape[1]
    for side in shape[2:]:
        size *= side
    return shape[0], size


def _sizes(keys: lora_keys.Keys, shapes: Shapes) -> Iterator[tuple[str, tuple[int, int]]]:
    """(layer, (out, in x kernel)) of the weight that its tensors make."""
    for name, tensors in keys.layers.items():
        get = {part: shapes[key] for part, key in tensors.items()}
        up, down = get.get(lora_keys.UP, ()), get.get(lora_keys.DOWN, ())
        if "hada_t1" not in get and "hada_w1_a" in get and "hada_w1_b" in get:
            up, down = get["hada_w1_a"], get["hada_w1_b"]
        if lora_keys.MID not in get and len(up) >= 2 and len(down) >= 2:
            yield name, (up[0], _flat(down)[1])
        elif len(get.get("diff", ())) >= 2:
            yield name, _flat(get["diff"])


def _kohya_name(name: str, family: str) -> str:
    """A layer's name in any dialect as layers.full_size names it; as it is where that is not to be had."""
    if family == "sd1":
        name = name.replace("lora_te1_", "lora_te_", 1)
    try:
        return lora_names.kohya_name(name, family)
    except KeyError:
        return name

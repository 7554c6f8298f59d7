"""Keys of LoRA files in every dialect -> (name of the layer, what the tensor is), in kohya's words. Pure text.

Dialects: `kohya` (`lora_unet_....lora_down.weight`, LyCORIS's types too), `peft` (`unet....lora_A.weight`, what diffusers writes today) and
`diffusers` (`unet....to_q.lora.down.weight` or `...processor.to_q_lora.down.weight`, what it wrote before).
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lorabake.families import lora_names

CONFIG = "lora_adapter_metadata"  # where diffusers keeps the alpha of its LoRAs (0.34 on)
DOWN, UP, MID, ALPHA = "lora_down.weight", "lora_up.weight", "lora_mid.weight", "alpha"
# Everything that stands behind the layer's name in kohya's and LyCORIS's files, by the type of network it belongs to.
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "lora": (DOWN, UP, MID, ALPHA),
    "loha": ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    "lokr": ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t1", "lokr_t2"),
    "dora": ("dora_scale",),
    "full": ("diff", "diff_b", "w_norm", "b_norm"),
    "oft": ("oft_blocks", "oft_diag", "rescale", "constraint"),
    "ia3": ("weight", "on_input"),
    "glora": ("a1.weight", "a2.weight", "b1.weight", "b2.weight"),
}
RANKED = (DOWN, "hada_w1_b", "lokr_w1_b", "lokr_w2_b", "b1.weight")  # each one's first side is the rank; asked in this order
TYPE_OF = {suffix: kind for kind, suffixes in SUFFIXES.items() for suffix in suffixes}
_FOREIGN = (
    ("peft", re.compile(r"(.+)\.lora_(A|B)(?:\.\w+)?\.weight"), {"A": DOWN, "B": UP}),
    ("peft", re.compile(r"(.+)\.lora_(magnitude_vector)(?:\.\w+)?(?:\.weight)?"), {"magnitude_vector": "dora_scale"}),
    ("diffusers", re.compile(r"(.+)\.lora(?:_linear_layer)?\.(down|up)\.weight"), {"down": DOWN, "up": UP}),
)
_OLD_PROCESSOR = re.compile(r"(.+)\.processor\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight")
_ROOTS = ("unet.", "text_encoder.", "text_encoder_2.", "transformer.", "base_model.model.")


@dataclass(frozen=True)
class Keys:
    """Layers of a LoRA file in the file's order: name -> what the tensor is -> key in the file. `strange`: keys that no dialect knows."""

    dialect: str  # "kohya", "peft" or "diffusers"
    layers: dict[str, dict[str, str]]
    strange: tuple[str, ...] = field(default=())

    def types(self) -> set[str]:
        """Which of SUFFIXES occur; `lora` counts `alpha` alone for nothing."""
        found = {TYPE_OF[suffix] for tensors in self.layers.values() for suffix in tensors if suffix != ALPHA}
        return found or {"lora"}


def read(keys: Iterable[str]) -> Keys:
    """Sort the keys of a file. Foreign names stay as they are written (dotted); `lora_names.from_peft` gives kohya's."""
    layers: dict[str, dict[str, str]] = {}
    strange, dialects = [], {"kohya": 0, "peft": 0, "diffusers": 0}
    for key in keys:
        dialect, name, suffix = _one(key)
        if not dialect:
            strange.append(key)
            continue
        dialects[dialect] += suffix != ALPHA
        layers.setdefault(name, {})[suffix] = key
    return Keys(max(dialects, key=lambda name: dialects[name]), layers, tuple(strange))


def _one(key: str) -> tuple[str, str, str]:
    """(dialect, name of the layer, kohya's suffix), or three empty texts."""
    name, _, suffix = key.partition(".")
    if lora_names.prefix_of(name) or name.startswith(("lora_", "lycoris_", "oft_")):
        return ("kohya", name, suffix) if suffix in TYPE_OF else ("", "", "")
    if match := _OLD_PROCESSOR.fullmatch(key):
        tail = ".0" if match[2] == "to_out" else ""
        return "diffusers", f"{match[1]}.{match[2]}{tail}", DOWN if match[3] == "down" else UP
    for dialect, pattern, suffixes in _FOREIGN:
        if match := pattern.fullmatch(key):
            return dialect, match[1], suffixes[match[2]]
    if key.endswith(".alpha") and key.startswith(_ROOTS):
        return "peft", re.sub(r"\.lora(_linear_layer)?$", "", key.removesuffix(".alpha")), ALPHA
    return "", "", ""


def has_kernel(shape: tuple[int, ...]) -> bool:
    """Whether a tensor of this shape is of a convolution larger than 1x1, whose rank is one of its own in LoRA programs."""
    return math.prod(shape[2:]) > 1


def is_spatial(tensors: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """The same of a layer of a file; `tensors` as in Keys.layers."""
    return any(has_kernel(shapes[key]) for key in tensors.values())


def is_lora(keys: Iterable[str]) -> bool:
    """Whether a file's names are mostly those of a LoRA (of any type)."""
    keys = list(keys)
    found = read(keys)
    telling = [suffix for tensors in found.layers.values() for suffix in tensors if suffix not in (ALPHA, "weight")]
    return len(telling) * 4 > len(keys)


def adapter_alpha(config: str, layer: str, rank: int) -> float:
    """alpha of a PEFT layer, so that alpha / rank is the strength it was trained with; the rank itself where nothing is said.

    `config` is the JSON of diffusers' LoRA files (CONFIG): PEFT's LoraConfig, each key behind its part (`unet.lora_alpha`).
    """
    part, _, path = layer.removeprefix("base_model.model.").partition(".")
    table = _table(config)
    options = {key.removeprefix(f"{part}."): value for key, value in table.items() if key.startswith(f"{part}.")} or table
    alpha, own_rank = options.get("lora_alpha"), options.get("r") or rank
    patterns = options.get("alpha_pattern")
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        if path == pattern or path.endswith(f".{pattern}"):
            alpha, own_rank = value, rank
    if not isinstance(alpha, int | float) or not isinstance(own_rank, int | float) or own_rank <= 0:
        return float(rank)
    # "rslora" divides by the root of the rank (Kalajdzievski 2023)
    return float(alpha) * rank**0.5 if options.get("use_rslora") else float(alpha)


def _table(config: str) -> dict[str, Any]:
    try:
        table = json.loads(config) if config else {}
    except (ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}

"""The LoRAs that a merge takes, each with its weights: `FILE`, `FILE=0.8`, `FILE=0.8,0.5` (U-Net, text encoder), and what is kept of their
metadata. Not here: the merging (merge_into.py, merge_loras.py).
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorabake import __version__, console, lora_file, lora_metadata, model_kinds
from lorabake.errors import UsageError, UserError
from lorabake.families import lora_names
from lorabake.lora_file import Lora
from lorabake.wording import counted

OUR_KEY = "lorabake_merge"
# Texts of several LoRAs that are put one behind the other, and those that are kept where all agree.
_JOINED = ("modelspec.trigger_phrase", "modelspec.author")
_AGREED = ("ss_sd_model_name", "ss_sd_model_hash", "ss_new_sd_model_hash", "ss_clip_skip", "modelspec.encoder_layer", "modelspec.license")


@dataclass(frozen=True)
class Weighted:
    """One LoRA and what its change is multiplied by, in the U-Net and in the text encoders."""

    lora: Lora
    unet: float
    text: float

    def weight(self, name: str) -> float:
        return self.text if lora_names.part_of(name) == "text_encoder" else self.unet

    def words(self) -> str:
        if self.unet == self.text:
            return f"weight {self.unet:g}"
        return f"weight {self.unet:g} in the U-Net, {self.text:g} in the text encoder"


def parse(text: str) -> tuple[Path, float, float]:
    """(file, weight of the U-Net, of the text encoder). A file of the whole name wins: names may hold "=". Raises UsageError."""
    name, sign, numbers = text.rpartition("=")
    if Path(text).exists() or not sign or not name:
        return Path(text), 1.0, 1.0
    try:
        weights = [float(number) for number in numbers.split(",")]
    except ValueError:
        weights = []
    if not 1 <= len(weights) <= 2 or not all(map(math.isfinite, weights)):
        if not Path(name).exists():  # then it is rather a name with "=" in it that is wrong
            return Path(text), 1.0, 1.0
        raise UsageError(
            f'"{numbers}" is no weight',
            where=text,
            allowed=f"{name}=0.8 for all of it, {name}=0.8,0.5 for the U-Net and the text encoder; negative takes away",
        )
    return Path(name), weights[0], weights[-1]


@contextmanager
def opened(texts: Sequence[str]) -> Iterator[list[Weighted]]:
    """The LoRAs of a command line, open; those of weight 0 are left out, and that is said. Raises UserError where none is left."""
    wanted = [(given, *parse(given)) for given in texts]
    with ExitStack() as stack:
        parts = []
        for given, path, unet, text in wanted:
            part = Weighted(stack.enter_context(lora_file.opened(path)), unet, text)
            if not any(part.weight(name) for name in part.lora.layers):
                console.say(f"{path.name}: weight 0, left out")
                continue
            parts.append(part)
            console.say(f"{path.name}: {part.lora.kind.title()}; {counted(len(part.lora.layers), 'layer')}; {part.words()}")
            if _like_a_decimal(given):
                console.say("  note: a comma stands between U-Net and text encoder; decimals are written with a point, as in 0.8")
            part.lora.tell_strange()
        if not parts:
            raise UserError(
                "nothing is left to merge: every weight is 0", todo="give at least one weight other than 0, as in style.safetensors=0.8"
            )
        yield parts


def _like_a_decimal(given: str) -> bool:
    """`=0,8` may be meant as 0.8; `=1,0` and `=0,1` are what they say."""
    return re.search(r"=-?\d+,0*([2-9]|\d{2,})$", given) is not None


def require_same_family(parts: Sequence[Weighted]) -> str:
    """The family of all. Raises UserError naming two files and what they are for."""
    first = parts[0].lora
    for part in parts[1:]:
        require_family(part.lora, first.kind.family, str(first.path))
    return first.kind.family


def require_family(lora: Lora, family: str, other: str) -> None:
    if lora.kind.family != family:
        mine, theirs = model_kinds.FAMILY_TITLES[lora.kind.family], model_kinds.FAMILY_TITLES[family]
        raise UserError(
            f"{lora.path.name} is for {mine}, {Path(other).name} for {theirs}",
            where=f"{lora.path}, {other}",
            todo="merge what is made for the same family",
        )


def record(parts: Sequence[Weighted], base: Mapping[str, Any] | None = None) -> str:
    """Our own key: what went in, with weights and hashes, as JSON. File names, no paths. The same for the same input."""
    loras = [
        {"file": part.lora.path.name, "unet": part.unet, "text_encoder": part.text, **part.lora.digest(), **earlier(part.lora.metadata)}
        for part in parts
    ]
    return json.dumps({"version": __version__, **({"base": base} if base else {}), "loras": loras}, ensure_ascii=False, sort_keys=True)


def earlier(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The record of a file that is itself a merge."""
    try:
        return {OUR_KEY: json.loads(metadata[OUR_KEY])}
    except (KeyError, ValueError):
        return {}


def titles(parts: Sequence[Weighted]) -> list[str]:
    return [lora_metadata.title_of(part.lora.path, part.lora.metadata) for part in parts]


def kept_texts(parts: Sequence[Weighted]) -> dict[str, str]:
    """Trigger words and authors joined, each once; what all of them agree on, such as the base model, as it is."""
    found = {}
    for key in _JOINED:
        pieces = [piece.strip() for part in parts for piece in part.lora.metadata.get(key, "").split(",")]
        if text := ", ".join(dict.fromkeys(filter(None, pieces))):
            found[key] = text
    for key in _AGREED:
        values = {part.lora.metadata.get(key, "") for part in parts}
        if len(values) == 1 and (value := values.pop()):
            found[key] = value
    return found

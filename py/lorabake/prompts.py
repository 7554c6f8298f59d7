"""`<lora:name:weight>` inside prompts: taken out, and found as files.

As web UIs write it: `<lora:name>`, `<lora:name:0.8>`, and `<lora:name:0.8:0.5>` with the U-Net's weight first and the text encoder's second.
Not here: lines of a prompt file (plan_prompts.py), applying a LoRA (attach.py).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lorabake.errors import UserError

TAG = re.compile(r"<lora:([^:>]+)((?::[^:>]*)*)>")


@dataclass(frozen=True)
class Extra:
    """A further LoRA that a prompt asks for."""

    name: str
    unet_weight: float = 1.0
    te_weight: float = 1.0


def extract(prompt: str) -> tuple[str, tuple[Extra, ...]]:
    """(the prompt without the tags, the LoRAs). UserError for a weight that is no number."""
    extras = []
    for match in TAG.finditer(prompt):
        words = [word.strip() for word in match[2].split(":")[1:]]
        try:
            weights = [float(word) for word in words]
        except ValueError:
            raise UserError(f"{match[0]} has a weight that is no number", where=f"prompt {prompt!r}", allowed="<lora:name:0.8> or <lora:name:0.8:0.5>") from None
        if len(weights) > 2:
            raise UserError(f"{match[0]} has too many weights", where=f"prompt {prompt!r}", allowed="<lora:name:0.8> or <lora:name:0.8:0.5>")
        unet = weights[0] if weights else 1.0
        extras.append(Extra(match[1].strip(), unet, weights[1] if len(weights) == 2 else unet))
    text = re.sub(r"\s{2,}", " ", TAG.sub(" ", prompt)).strip(" ,") if extras else prompt
    return text, tuple(extras)


def find(extra: Extra, folders: Iterable[Path]) -> Path:
    """The file `name.safetensors` in one of the folders or below them. UserError naming the folders when it is in none."""
    folders = list(folders)
    for folder in folders:
        for path in [folder / f"{extra.name}.safetensors", *sorted(folder.rglob(f"{extra.name}.safetensors"))]:
            if path.is_file():
                return path
    raise UserError(
        f"the LoRA {extra.name} is not there", where=f"<lora:{extra.name}> in samples.prompts", allowed="a file in " + " or ".join(map(str, folders))
    )

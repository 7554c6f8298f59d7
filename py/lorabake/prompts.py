"""`<lora:name:weight>` inside prompts: taken out, and found as files.

As web UIs write it: `<lora:name>`, `<lora:name:0.8>`, `<lora:name:unet=1:te=0.5>`; with two plain weights, `<lora:name:1:0.5>`, the U-Net's
is first. Not here: lines of a prompt file (plan_prompts.py), applying a LoRA (attach.py).
"""

import difflib
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorabake.errors import UserError

TAG = re.compile(r"<(?:lora|lyco):([^<>]*)>", re.IGNORECASE)
FORMS = "<lora:name>, <lora:name:0.8>, or <lora:name:1:0.5> with the U-Net's weight first and the text encoder's second"
ENDING = ".safetensors"
UI_FOLDERS = ("Lora", "loras", "LyCORIS")  # where web UIs keep LoRAs, beside the folder of their base models


@dataclass(frozen=True)
class Extra:
    """A further LoRA that a prompt asks for. `name` is a file's name without its ending, maybe with a folder before it."""

    name: str
    unet_weight: float = 1.0
    te_weight: float = 1.0


def extract(prompt: str) -> tuple[str, tuple[Extra, ...]]:
    """(the prompt without the tags, what they ask for). Only the tags go, as in web UIs: commas around them are tokens and stay.

    Raises UserError for a tag without a name and for a weight that is no number.
    """
    extras = tuple(_extra(match[0], match[1].split(":")) for match in TAG.finditer(prompt))
    return (TAG.sub("", prompt).strip() if extras else prompt), extras


def _extra(tag: str, pieces: Sequence[str]) -> Extra:
    name, *words = (piece.strip() for piece in pieces)
    name = name.removesuffix(ENDING)
    if not name:
        raise UserError(f"{tag} names no LoRA", where="samples.prompts", allowed=FORMS)
    plain = [_weight(word, tag) for word in words if "=" not in word]
    named = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            named[key.strip().lower()] = _weight(value, tag)
    if len(plain) > 2 or not named.keys() <= {"unet", "te"}:
        raise UserError(f"{tag} says more than a LoRA has weights", where="samples.prompts", allowed=FORMS)
    unet = named.get("unet", plain[0] if plain else named.get("te", 1.0))
    return Extra(name, unet, named.get("te", plain[1] if len(plain) == 2 else unet))


def _weight(word: str, tag: str) -> float:
    try:
        weight = float(word)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise UserError(f'{tag}: "{word}" is not a number', where="samples.prompts", allowed=FORMS)
    return weight


def for_web_uis(prompt: str) -> str:
    """The prompt with its tags as a web UI understands them in the same way: there, two plain weights are in the other order."""

    def written(match: re.Match[str]) -> str:
        extra = _extra(match[0], match[1].split(":"))
        same = extra.unet_weight == extra.te_weight
        weights = f"{extra.unet_weight:g}" if same else f"te={extra.te_weight:g}:unet={extra.unet_weight:g}"
        return f"<lora:{extra.name}:{weights}>"

    return TAG.sub(written, prompt)


def folders(output: Path, base_model: Path, copy_to: str | None) -> list[Path]:
    """Where further LoRAs are looked for, in this order: output folder, `save.copy_to`, a web UI's own folders beside the base model."""
    near = [parent / name for parent in list(base_model.absolute().parents)[1:4] for name in UI_FOLDERS]
    wanted = [output, *([Path(copy_to)] if copy_to else []), *near]
    return [folder for index, folder in enumerate(wanted) if folder not in wanted[:index] and (index == 0 or folder.is_dir())]


def find(extra: Extra, folders: Iterable[Path]) -> Path:
    """The file of this name in one of the folders or below, upper ones first; upper and lower case count alike.

    Raises UserError naming the folders and the most similar name there.
    """
    folders = list(folders)
    wanted = extra.name.replace("\\", "/").rpartition("/")[2].casefold()
    names: list[str] = []
    for folder in folders:
        for path in _lora_files(folder):
            if path.stem.casefold() == wanted:
                return path
            names.append(path.stem)
    alike = difflib.get_close_matches(extra.name, names, n=1)
    raise UserError(
        f'there is no LoRA "{extra.name}"',
        where=f"samples.prompts: <lora:{extra.name}>",
        allowed=f"looked for {extra.name}{ENDING} in {', '.join(map(str, folders))}",
        todo=f"did you mean <lora:{alike[0]}>?" if alike else "copy the file there, correct the name, or take it out of the prompt",
    )


def _lora_files(folder: Path) -> Iterator[Path]:
    """Every .safetensors file, level by level in the order of names; not in run folders, nor under names that begin with _ or a dot."""
    level = [folder]
    while level:
        below: list[Path] = []
        for place in level:
            try:
                entries = sorted(os.scandir(place), key=lambda entry: entry.name.casefold())
            except OSError:
                continue  # it is not there, or may not be read: not being in it is all that matters
            for entry in entries:
                if entry.name[0] in "_." or entry.name.endswith(".runs"):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append(place / entry.name)
                elif entry.name.lower().endswith(ENDING):
                    yield place / entry.name
        level = below


def check(prompts: Iterable[tuple[str, str]], folders: Sequence[Path], *, own: str) -> None:
    """Every further LoRA of the (prompt, negative prompt) pairs is there. To be asked before hours of training, not after them.

    Raises UserError for one that is missing, for the LoRA that is being baked (`own`), and for a tag in a negative prompt.
    """
    for prompt, negative in prompts:
        for extra in extract(prompt)[1]:
            if extra.name.casefold() == own.casefold():
                raise UserError(
                    f"<lora:{extra.name}> is the LoRA that is being baked; it is on without being asked for",
                    where="samples.prompts",
                    todo="take it out of the prompt",
                )
            find(extra, folders)
        if tag := TAG.search(negative):
            raise UserError(
                f"{tag[0]} in a negative prompt has no effect",
                where="samples.prompts",
                todo="write it in the prompt, with a weight below 0",
            )

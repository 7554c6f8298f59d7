"""Which keys of a LoRA file diffusers' `load_lora_weights` loads, for the pipelines of SD 1, SD 2 and SDXL. No torch, no diffusers.

Facts read in diffusers 0.42.1 (loaders/lora_pipeline.py, lora_conversion_utils.py, lora_base.py, peft.py, utils/state_dict_utils.py) in
November 2026; tests/test_lora_loading.py compares with the installed package.
"""

import re
from collections.abc import Iterable
from functools import cache

from lorabake.families import lora_places
from lorabake.families.lora_places import Place, Refused, Shapes

_PREFIXES = ("lora_te_", "lora_unet_", "lora_te1_", "lora_te2_")
_SGM, _NOT_SGM = ("input_blocks", "middle_block", "output_blocks"), ("down_blocks", "mid_block", "up_blocks")
DOWN, UP = ".lora_down.weight", ".lora_up.weight"
_OLD = re.compile(r"(.+)\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight")
_TEXT_OLD = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}


def loaded(shapes: Shapes, family: str) -> set[str]:
    """The keys that reach a layer. Raises Refused where the file as a whole is turned away."""
    keys = [key for key in shapes if "dora_scale" not in key]  # taken out with a warning
    if all(key.startswith(_PREFIXES) for key in keys):
        return _of_kohya(keys, family)
    if strange := [key for key in keys if "lora" not in key]:
        raise Refused(
            f"every name must hold the word lora, and {strange[0]}{f' and {len(strange) - 1} more do' if strange[1:] else ' does'} not"
        )
    return _of_unet(keys, family) | _of_text(keys, "text_encoder.", "te1", family) | _of_text(keys, "text_encoder_2.", "te2", family)


@cache
def layer_names(family: str) -> dict[str, Place]:
    """kohya's names as diffusers turns them into its own; for SDXL in both countings of the blocks."""
    found = {}
    for place in _present(family):
        if place.part == "unet":
            found[f"lora_unet_{lora_places.underscored(place.diffusers)}"] = place
            if family == "sdxl":
                found[f"lora_unet_{lora_places.underscored(place.path)}"] = place
        else:
            prefixes = ("lora_te2",) if place.part == "te2" else ("lora_te", "lora_te1")
            found.update({f"{prefix}_{lora_places.underscored(place.path)}": place for prefix in prefixes})
    return found


def _present(family: str) -> list[Place]:
    """Places of diffusers' own models: SD 2's last text layer is not there, nor the first text encoder's projection."""
    gone = [place for place in lora_places.places(family) if lora_places.is_last_openclip(place)]
    return [p for p in lora_places.places(family) if p not in gone and not (p.part == "te1" and p.path == "text_projection")]


def _of_kohya(keys: list[str], family: str) -> set[str]:
    if family == "sdxl" and _any_of(keys, _SGM) and _any_of(keys, _NOT_SGM):
        keys = [key for key in keys if not _any_of([key], _SGM)]  # of a mixture it drops these
    names = {key.removesuffix(DOWN) for key in keys if key.endswith(DOWN)}
    for name in sorted(names):
        if name + UP not in keys:
            raise Refused(f"{name + DOWN} without its other half stops it")
    used = {name + part for name in names for part in (DOWN, UP, ".alpha")}
    if rest := [key for key in keys if key not in used]:
        raise Refused(f"it takes plain LoRAs only, and not {rest[0]}{f' and {len(rest) - 1} more' if len(rest) > 1 else ''}")
    known = layer_names(family)
    reached = {name: known[name] for name in names if name in known}
    _require_layers(reached.values())
    for part in ("te1", "te2"):
        reached = _kohya_text(reached, part)
    return {key for key in keys if key.partition(".")[0] in reached}


def _kohya_text(reached: dict[str, Place], part: str) -> dict[str, Place]:
    """Attentions of a text encoder are recognised by their output, the other layers by themselves."""
    texts = {name: place for name, place in reached.items() if place.part == part and place.path != "text_projection"}
    if not texts or any(place.path.endswith("out_proj") for place in texts.values()):
        return reached
    if not any(".mlp." in place.path for place in texts.values()):
        raise Refused("of the text encoder it wants out_proj or the MLPs among the layers")
    return {name: place for name, place in reached.items() if name not in texts or ".mlp." in place.path}


def _any_of(keys: Iterable[str], pieces: tuple[str, ...]) -> bool:
    return any(piece in key for key in keys for piece in pieces)


def _require_layers(found: Iterable[Place]) -> None:
    for place in found:
        if place.kind == "norm":
            raise Refused(f"a LoRA on {place.path}, a layer that it puts none on, stops it")


def _of_unet(keys: list[str], family: str) -> set[str]:
    mine = [key for key in keys if key.startswith("unet.")]
    if not mine:
        return set()
    peft = "lora_A" in mine[0]
    known = {place.diffusers: place for place in _present(family) if place.part == "unet"}
    found: dict[str, Place] = {}
    for key in mine:
        path = key.removeprefix("unet.")
        path = path if peft else _unet_module(path)
        match = re.fullmatch(r"(.+)\.lora_[AB]\.weight", path)
        if match and match[1] in known:
            found[key] = known[match[1]]
    _require_layers(found.values())
    return set(found)


def _unet_module(path: str) -> str:
    """A path of the older namings in today's."""
    path = path.replace(".processor.", ".")
    if match := _OLD.fullmatch(path):
        return f"{match[1]}.{match[2]}{'.0' if match[2] == 'to_out' else ''}.lora_{'A' if match[3] == 'down' else 'B'}.weight"
    return path.replace(".lora.up", ".lora_B").replace(".lora.down", ".lora_A")


def _of_text(keys: list[str], root: str, part: str, family: str) -> set[str]:
    mine = [key for key in keys if key.startswith(root)]
    known = {place.path: place for place in _present(family) if place.part == part}
    if not mine or not known:
        return set()
    old, linear = any("to_out_lora" in key for key in mine), any("lora_linear_layer" in key for key in mine)
    peft = any(".lora_A.weight" in key for key in mine)
    attends = any(re.search(r"\.[qkv]_proj\.|\.out_proj\.", key) for key in mine)
    if not (old or linear or (peft and attends)):
        raise Refused(f"it does not recognise the naming of {mine[0]}")
    found: dict[str, Place] = {}
    for key in mine:
        path = _text_module(key.removeprefix(root), old=old)
        match = re.fullmatch(r"(?:text_model\.)?(.+)\.lora_[AB]\.weight", path)
        if match and (place := known.get(f"text_model.{match[1]}") or known.get(match[1])):
            found[key] = place
    _require_layers(found.values())
    return set(found)


def _text_module(path: str, *, old: bool) -> str:
    path = path.replace(".processor.", ".")
    if old and (match := _OLD.fullmatch(path)):
        return f"{match[1]}.{_TEXT_OLD[match[2]]}.lora_{'A' if match[3] == 'down' else 'B'}.weight"
    return path.replace(".lora_linear_layer.up", ".lora_B").replace(".lora_linear_layer.down", ".lora_A")

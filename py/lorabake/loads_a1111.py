"""Which keys of a LoRA file A1111 loads: a name up to its first dot is a layer, and every layer must be of a type that it knows.

Facts read in November 2026: extensions-builtin/Lora/networks.py of AUTOMATIC1111/stable-diffusion-webui (commit 873edba4, and a stored copy
of the later state with SD 3 in it, whose repository was not named), network_*.py in the copy that Forge dfdcbab6 carries
(packages_3rdparty/webui_lora_collection). The program itself was not run. No torch.
"""

from collections.abc import Mapping
from functools import cache

from lorabake.families import lora_places
from lorabake.families.lora_places import Place, Refused, Shapes

_PAIR = ("lora_up.weight", "lora_down.weight")
_PEFT_PAIR = ("lora_A.weight", "lora_B.weight")
_LOHA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
_LOKR = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
_GLORA = ("a1.weight", "a2.weight", "b1.weight", "b2.weight")
_ALWAYS = ("alpha", "dora_scale", "scale", "bias")
Found = dict[Place, dict[str, str]]  # place -> what stands behind the layer's name -> key


@cache
def layer_names(family: str) -> dict[str, Place]:
    """Names of layers as A1111 resolves them, for SD 1 and 2 in Diffusers' counting and for SDXL in both."""
    found: dict[str, Place] = {}
    for place in lora_places.places(family):
        if place.part == "unet":
            found[f"lora_unet_{lora_places.underscored(place.path)}"] = place
            found[f"oft_unet_{lora_places.underscored(place.path)}"] = place
            # It computes the slot of SDXL's first upsampler as for SD 1, and knows no name for these two ends.
            wrong = family == "sdxl" and place.diffusers == "up_blocks.0.upsamplers.0.conv"
            if not wrong and not place.diffusers.startswith(("conv_norm_out", "add_embedding")):
                found[f"lora_unet_{lora_places.underscored(place.diffusers)}"] = place
        else:
            found.update(dict.fromkeys(_text_names(place, family), place))
    return found


def _text_names(place: Place, family: str) -> tuple[str, ...]:
    name = lora_places.underscored(place.path)
    in_layer = place.path.startswith("text_model.encoder.layers.")
    if family == "sd1":
        return (
            (f"lora_te_{name}", f"lora_te1_{name}") if in_layer else (f"lora_te1_{name}",) if place.path.startswith("text_model.") else ()
        )
    if place.openclip:
        number = "lora_te2" if family == "sdxl" else "lora_te"
        return (f"{number}_{name}",) if in_layer and place.kind == "linear" else ()
    return (f"lora_te1_{name}",) if place.path.startswith("text_model.") else ()


def loaded(shapes: Shapes, family: str) -> set[str]:
    names, layers = layer_names(family), Found()
    found = set()
    for key in shapes:
        name, _, part = key.partition(".")
        if name == "bundle_emb":
            found.add(key)
        elif place := names.get(name):
            layers.setdefault(place, {})[part] = key
    for place, parts in layers.items():
        used = _used_by_type(place, parts)
        found |= {parts[part] for part in used if part in parts}
    return found - _partial_openclip(layers)


def _used_by_type(place: Place, parts: Mapping[str, str]) -> tuple[str, ...]:
    """The parts of a layer that its type uses. Raises Refused where no type takes the layer: A1111 then gives up the whole file."""
    for needed, used in (
        (_PAIR, (*_PAIR, "lora_mid.weight", *_ALWAYS)),
        (_PEFT_PAIR, _PEFT_PAIR),
    ):
        if all(part in parts for part in needed):
            if place.kind in ("norm", "embedding"):
                raise Refused(f"a LoRA on {place.path}, which is no layer that A1111 puts one on, stops it")
            return used
    if all(part in parts for part in _LOHA):
        return (*_LOHA, "hada_t1", "hada_t2", *_ALWAYS)
    if "weight" in parts:
        if "on_input" not in parts:
            raise Refused(f"{parts['weight']} without on_input stops it")
        return ("weight", "on_input", *_ALWAYS)
    both = [name in parts or (f"{name}_a" in parts and f"{name}_b" in parts) for name in ("lokr_w1", "lokr_w2")]
    if all(both):
        return (*_LOKR, *_ALWAYS)
    if "diff" in parts:
        return ("diff", "diff_b", *_ALWAYS)
    if "w_norm" in parts and "b_norm" in parts:
        return ("w_norm", "b_norm", *_ALWAYS)
    if all(part in parts for part in (*_GLORA, "alpha")):
        return (*_GLORA, *_ALWAYS)
    if "oft_blocks" in parts or "oft_diag" in parts:
        return ("oft_blocks", "oft_diag", "rescale", *_ALWAYS)
    raise Refused(f"{next(iter(parts.values()))} is of no type that it knows, which stops it")


def _partial_openclip(layers: Found) -> set[str]:
    """Keys of OpenCLIP attentions of which one of q, k, v and out is missing: A1111 reads them and does not apply them."""
    blocks: dict[tuple[str, str], dict[str, set[str]]] = {}
    for place, parts in layers.items():
        head, _, tail = place.path.rpartition(".self_attn.")
        if place.openclip and head:
            blocks.setdefault((place.part, head), {})[tail] = set(parts.values())
    return {key for block in blocks.values() if len(block) < 4 for keys in block.values() for key in keys}

"""Which keys of a LoRA file ComfyUI loads, and Forge, which took over an older state of it: for each layer they ask for the keys they know.

Facts read in November 2026: Comfy-Org/ComfyUI 17358c8f (names, comfy/lora.py), comfyanonymous/ComfyUI's weight_adapter (lora.py 0323d874,
oft.py 3684cff3, the list of types 0bca89eb) and lllyasviel/stable-diffusion-webui-forge dfdcbab6 (sd_forge_lora, comfyui_lora_collection).
LoHa, LoKr and GLoRA go by Forge's older copy, BOFT by its place in the list alone. The programs themselves were not run. No torch.
"""

from functools import cache

from lorabake.families import lora_places
from lorabake.families.lora_places import Place, Refused, Shapes

_ALWAYS = ("alpha", "dora_scale")
_LOHA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
_LOKR = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
_GLORA = ("a1.weight", "a2.weight", "b1.weight", "b2.weight")


@cache
def layer_names(family: str, *, forge: bool) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for place in lora_places.places(family):
        if place.part != "unet":
            found.update(dict.fromkeys(_text_names(place, family, forge=forge), place))
            continue
        processor = place.diffusers.replace(".to_", ".processor.to_").removesuffix(".0")
        dotted = processor if processor.endswith(".to_out") else place.diffusers.replace(".to_", ".processor.to_")
        found[f"lora_unet_{lora_places.underscored(place.path)}"] = place
        found[f"diffusion_model.{place.path}"] = place
        found[f"lora_unet_{lora_places.underscored(place.diffusers)}"] = place
        found[f"lycoris_{lora_places.underscored(place.diffusers)}"] = place
        found[dotted] = place
        found[f"unet.{dotted}"] = place
    return found


def _text_names(place: Place, family: str, *, forge: bool) -> list[str]:
    number = "2" if place.part == "te2" else "1"
    own = {"sd1": "clip_l", "sd2": "clip_h", "sdxl": "clip_l"}[family] if number == "1" else "clip_g"
    names = [] if forge else [f"text_encoders.{own}.transformer.{place.path}"]
    if place.path == "text_projection":
        names.append(f"lora_te{number}_text_projection")
        if forge and number == "2":
            names.append("text_encoder.text_projection")
    elif place.kind == "linear":
        dotted = "text_encoder_2" if number == "2" else "text_encoder"
        names += [f"lora_te{number}_{lora_places.underscored(place.path)}", f"{dotted}.{place.path}"]
        names += [f"lora_te_{lora_places.underscored(place.path)}"] if number == "1" else []
    return names


# (key of the up side, of the down side), in the order in which they are asked for; the layer's name stands before
_PAIRS = (
    (".lora_up.weight", ".lora_down.weight"),
    ("_lora.up.weight", "_lora.down.weight"),
    (".lora_B.weight", ".lora_A.weight"),
    (".lora.up.weight", ".lora.down.weight"),
    (".lora_B", ".lora_A"),
    (".lora_linear_layer.up.weight", ".lora_linear_layer.down.weight"),
    (".lora_B.default.weight", ".lora_A.default.weight"),
)
# Whatever stands behind a layer's name; a look at those names alone is enough.
_ENDS = (
    *(end for pair in _PAIRS for end in pair),
    *(f".{part}" for part in (*_ALWAYS, *_LOHA, "hada_t1", "hada_t2", *_LOKR, *_GLORA, "oft_blocks", "rescale", "lora_mid.weight")),
    *(f".{part}" for part in ("w_norm", "b_norm", "diff", "diff_b", "set_weight", "reshape_weight")),
)
_NOT_IN_FORGE = {".lora_B", ".lora_B.default.weight"}


def loaded(shapes: Shapes, family: str, *, forge: bool = False) -> set[str]:
    found: set[str] = set()
    known = layer_names(family, forge=forge)
    stems = {key.removesuffix(end) for key in shapes for end in _ENDS if key.endswith(end)}
    for name in sorted(stems & known.keys()):
        found |= {key for part in _ALWAYS if (key := f"{name}.{part}") in shapes}
        found |= _pair(shapes, name, forge=forge)
        found |= _whole(shapes, name, ".", _LOHA, ("hada_t1", "hada_t2"))
        found |= {key for part in _LOKR if (key := f"{name}.{part}") in shapes}
        found |= _whole(shapes, name, ".", _GLORA, ())
        if not forge and len(shapes.get(f"{name}.oft_blocks", ())) in (3, 4):
            found |= {key for part in ("oft_blocks", "rescale") if (key := f"{name}.{part}") in shapes}
        found |= {key for part in ("w_norm", "diff", "diff_b", "set_weight") if (key := f"{name}.{part}") in shapes}
        if f"{name}.w_norm" in shapes and (key := f"{name}.b_norm") in shapes:
            found.add(key)
    return found


def _pair(shapes: Shapes, name: str, *, forge: bool) -> set[str]:
    for up, down in _PAIRS:
        if name + up in shapes and not (forge and up in _NOT_IN_FORGE):
            if name + down not in shapes:
                raise Refused(f"{name + up} without its other half stops it")
            optional = (".lora_mid.weight",) if up == ".lora_up.weight" else ()
            more = () if forge else (".reshape_weight",)
            return {name + up, name + down, *(name + part for part in (*optional, *more) if name + part in shapes)}
    return set()


def _whole(shapes: Shapes, name: str, dot: str, needed: tuple[str, ...], optional: tuple[str, ...]) -> set[str]:
    """The first of `needed` asks for the others, and one of `optional` for all of them."""
    if f"{name}{dot}{needed[0]}" not in shapes:
        return set()
    wanted = (*needed, *(optional if optional and f"{name}{dot}{optional[0]}" in shapes else ()))
    if missing := next((part for part in wanted if f"{name}{dot}{part}" not in shapes), None):
        raise Refused(f"{name}{dot}{missing} is missing, which stops it")
    return {f"{name}{dot}{part}" for part in wanted}

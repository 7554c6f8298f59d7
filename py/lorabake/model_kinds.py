"""What a model file is, from names and shapes: checkpoint, LoRA and its relatives, embedding, VAE, hypernetwork; and of which family.

Nothing is loaded. Not here: whether the trainer can bake on it (families/layouts.py), what a LoRA's metadata tells (lora_info.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lorabake.families import layouts, lora_keys, lora_names
from lorabake.modelfile import Contents

FAMILY_TITLES = {"sd1": "Stable Diffusion 1", "sd2": "Stable Diffusion 2", "sdxl": "Stable Diffusion XL"}
OTHER_TITLES = {"sd3": "Stable Diffusion 3", "flux": "Flux", "refiner": "the SDXL refiner", "": "an unknown family"}
KIND_TITLES = {
    "lora": "LoRA",
    "locon": "LoCon (LoRA with convolutions)",
    "loha": "LoHa",
    "lokr": "LoKr",
    "dora": "DoRA",
    "full": "full differences (LyCORIS)",
    "oft": "OFT",
    "ia3": "IA3",
    "glora": "GLoRA",
    "checkpoint": "checkpoint",
    "unet": "U-Net alone",
    "text_encoder": "text encoder alone",
    "vae": "VAE",
    "embedding": "textual-inversion embedding",
    "hypernetwork": "hypernetwork",
    "controlnet": "ControlNet",
    "upscaler": "upscaler",
    "other": "a model of an unknown kind",
}
PRECISION_NAMES = {"F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8 (e4m3)", "F8_E5M2": "fp8 (e5m2)"}
LORA_KINDS = ("lora", "locon", "loha", "lokr", "dora", "full", "oft", "ia3", "glora")
_CONTEXTS = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
_EMA = "model_ema."


@dataclass(frozen=True)
class FileKind:
    """`kind` is a key of KIND_TITLES, `family` "sd1", "sd2", "sdxl", or one of OTHER_TITLES; `ranks` and `dialect` of a LoRA alone."""

    kind: str
    family: str = ""
    ranks: tuple[int, ...] = ()
    dialect: str = ""
    traits: tuple[str, ...] = ()

    def is_lora(self) -> bool:
        return self.kind in LORA_KINDS

    def title(self) -> str:
        family = FAMILY_TITLES.get(self.family) or OTHER_TITLES.get(self.family, self.family)
        words = [KIND_TITLES[self.kind]]
        if self.family or self.is_lora() or self.kind == "checkpoint":
            words.append(f"for {family}" if self.is_lora() else f"of {family}")
        if self.ranks:
            low, high = min(self.ranks), max(self.ranks)
            words.append(f"rank {low}" if low == high else f"ranks {low} to {high}")
        return ", ".join([" ".join(words[:2]), *words[2:], *self.traits])


def precision_of(dtypes: Mapping[str, str]) -> str:
    """The precisions of the tensors that are floats, most frequent first: "fp16", "fp32 and fp16"; "" where no dtype is known."""
    counts: dict[str, int] = {}
    for dtype in dtypes.values():
        if dtype.startswith(("F", "BF")):
            counts[dtype] = counts.get(dtype, 0) + 1
    names = sorted(counts, key=lambda dtype: -counts[dtype])
    return " and ".join(PRECISION_NAMES.get(name, name) for name in names)


def describe(contents: Contents) -> FileKind:
    """What the file or folder is. Never raises: what no rule knows is "other"."""
    shapes = contents.shapes
    if lora_keys.is_lora(shapes):
        return _lora(shapes, contents.metadata)
    if any(name.startswith(layouts.UNET) for name in shapes) or contents.format == "diffusers":
        return _checkpoint(contents)
    if _is_hypernetwork(shapes):
        return FileKind("hypernetwork")
    return FileKind(*_part(shapes))


def _lora(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> FileKind:
    keys = lora_keys.read(shapes)
    types = keys.types()
    kind = next((name for name in ("dora", "loha", "lokr", "oft", "glora", "ia3") if name in types), "lora" if "lora" in types else "full")
    ranks, spatial = [], False
    for tensors in keys.layers.values():
        ranks += [shapes[tensors[suffix]][0] for suffix in lora_keys.RANKED if suffix in tensors and shapes[tensors[suffix]]]
        spatial |= lora_keys.is_spatial(tensors, shapes)
    traits = ["with full differences of some layers"] if "full" in types and kind != "full" else []
    kind = "locon" if kind == "lora" and spatial else kind
    return FileKind(kind, lora_family(keys, shapes, metadata), tuple(sorted(set(ranks))), keys.dialect, tuple(traits))


def lora_family(keys: lora_keys.Keys, shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> str:
    """By the width of the text that the U-Net reads; by names where no such layer is there, then by what the metadata says."""
    names = list(keys.layers)
    if any(piece in name for name in names for piece in ("double_blocks", "single_blocks", "single_transformer_blocks")):
        return "flux"
    if any("joint_blocks" in name or "joint_transformer" in name for name in names):
        return "sd3"
    for name, tensors in keys.layers.items():
        key = tensors.get("lora_down.weight") or tensors.get("hada_w1_b")
        if key and name.replace(".", "_").endswith(("attn2_to_k", "attn2_to_v")) and shapes[key][-1] in _CONTEXTS:
            return _CONTEXTS[shapes[key][-1]]
    for name, tensors in keys.layers.items():
        key = tensors.get("lora_down.weight") or tensors.get("hada_w1_b")
        if key and name.startswith(("lora_te_", "text_encoder.")) and name.replace(".", "_").endswith("_self_attn_q_proj"):
            if shapes[key][-1] == 1024:  # as wide as SD 2's text encoder alone
                return "sd2"
            break
    if any(lora_names.prefix_of(name) in (lora_names.TEXT_1, lora_names.TEXT_2) for name in names):
        return "sdxl"
    if any(name.startswith(("text_encoder_2.", "lora_unet_input_blocks", "lora_unet_output_blocks")) for name in names):
        return "sdxl"
    version = metadata.get("ss_base_model_version", "")
    for sign, family in (("sdxl", "sdxl"), ("sd_v2", "sd2"), ("sd_v1", "sd1")):
        if version.startswith(sign):
            return family
    known = any(name.replace(".", "_").startswith(("lora_unet_", "lora_te_", "unet_", "text_encoder_")) for name in names)
    return "sd1" if known else ""


def _checkpoint(contents: Contents) -> FileKind:
    shapes = contents.shapes
    names = tuple(shapes)
    traits = ["with an averaged copy (EMA)"] if any(name.startswith(_EMA) for name in names) else []
    first = shapes.get(f"{layouts.UNET}input_blocks.0.0.weight") or shapes.get("unet/conv_in.weight", (0, 0))
    if (channels := first[1] if len(first) > 1 else 0) in layouts.IN_CHANNELS:
        traits.append(layouts.IN_CHANNELS[channels])
    for pieces, family in (
        (("double_blocks.", "single_transformer_blocks."), "flux"),
        (("joint_blocks.", "attn.add_k_proj."), "sd3"),
        (("conditioner.embedders.1.", "text_encoder_2/"), "sdxl"),
        (("conditioner.embedders.0.model.",), "refiner"),
        (("cond_stage_model.model.transformer.",), "sd2"),
    ):
        if any(piece in name for name in names for piece in pieces):
            return FileKind("checkpoint", family, traits=tuple(traits))
    context = next((shape[1] for name, shape in shapes.items() if name.endswith(".attn2.to_k.weight") and len(shape) > 1), 0)
    texts = any(name.startswith(("cond_stage_model.transformer.", "text_encoder/")) for name in names)
    family = _CONTEXTS.get(context, "sd1" if texts else "")
    whole = texts or contents.format == "diffusers" or any(name.startswith(layouts.TEXT) for name in names)
    return FileKind("checkpoint" if whole else "unet", family, traits=tuple(traits))


def _is_hypernetwork(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Automatic1111's: a list of two small networks for each width of context, `768.0.linear.0.weight`."""
    return bool(shapes) and all(name.partition(".")[0].isdecimal() and ".linear" in name for name in shapes)


def _part(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, str]:
    """(kind, family) of files that hold one part of a model."""
    names = tuple(shapes)
    if any(piece in name for name in names for piece in ("control_model.", "controlnet_cond_embedding.")):
        return "controlnet", ""
    if _is_embedding(shapes):
        widths = {shape[-1] for shape in shapes.values() if shape}
        return "embedding", "sdxl" if 1280 in widths else _CONTEXTS.get(max(widths, default=0), "")
    if any(name.removeprefix(layouts.VAE).startswith("decoder.conv_in.") for name in names):
        return "vae", ""
    if any(name.startswith(("down_blocks.0.", "input_blocks.0.")) for name in names):
        context = next((shape[1] for name, shape in shapes.items() if name.endswith(".attn2.to_k.weight")), 0)
        return "unet", _CONTEXTS.get(context, "")
    if any("encoder.layers.0." in name or "resblocks.0." in name for name in names):
        return "text_encoder", ""
    if any(piece in name for name in names for piece in ("RRDB", "body.0.rdb1", "conv_body.", "body.0.weight", "model.1.sub.")):
        return "upscaler", ""
    return "other", ""


def _is_embedding(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    if any(name.startswith(("string_to_param.", "string_to_token.", "emb_params", "clip_l", "clip_g")) for name in shapes):
        return True
    return 0 < len(shapes) <= 4 and all(len(shape) in (1, 2) and shape[-1] in (768, 1024, 1280) for shape in shapes.values())

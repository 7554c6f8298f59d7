"""Every weight of a checkpoint by each name that a LoRA file may call it: beyond the scope of layers.py norms, conv_in, time embeddings.

Full differences (LyCORIS) and PEFT sit on those too. From names and shapes alone.
"""

from collections.abc import Iterator, Mapping

from lorabake.families import lora_names, sd1_keys
from lorabake.families.layers import CLIP_ROOTS, OPENCLIP_ROOTS, UNET, Layer, layers

Shapes = Mapping[str, tuple[int, ...]]
_OPENCLIP_NORMS = {"ln_1": "layer_norm1", "ln_2": "layer_norm2"}
_BLOCKS = "transformer.resblocks."


def targets(shapes: Shapes, family: str) -> dict[str, Layer]:
    """Name in LoRA files -> layer, of a checkpoint of `family` ("sd1", "sd2", "sdxl"). A layer may stand under several names."""
    found = {layer.name: layer for layer in layers(shapes, family)}
    known = {layer.key for layer in found.values()}
    num_layers = sd1_keys.num_layers(shapes)
    for key, shape in shapes.items():
        if key in known or not key.endswith(".weight"):
            continue
        for name in (*_unet_names(key.removesuffix(".weight"), family, num_layers), *_text_names(key.removesuffix(".weight"), family)):
            found.setdefault(name, Layer(name, lora_names.part_of(name), key, shape, "", conv=True))
    return found


def _unet_names(key: str, family: str, num_layers: int) -> Iterator[str]:
    """Both names, by the original layout and by diffusers': outside of the transformers programs do not agree."""
    original = key.removeprefix(UNET)
    diffusers = key.removeprefix("unet/")
    if original != key:
        yield lora_names.underscored("lora_unet", original)
        try:
            other = sd1_keys.unet_name(f"{original}.weight", num_layers).removesuffix(".weight")
        except KeyError:
            return
        yield lora_names.underscored("lora_unet", other)
    elif diffusers != key:
        yield lora_names.underscored("lora_unet", diffusers)
        if family == "sdxl":
            try:
                yield lora_names.underscored("lora_unet", lora_names.to_sgm(diffusers))
            except KeyError:
                return


def _text_names(key: str, family: str) -> Iterator[str]:
    for root, prefix in CLIP_ROOTS[family]:
        if key.startswith(root):
            path = key.removeprefix(root)
            yield lora_names.underscored(prefix, path if path.startswith("text_") else f"text_model.{path}")
    for root, prefix in OPENCLIP_ROOTS[family]:
        path = key.removeprefix(root)
        if path == key:
            continue
        number, _, inner = path.removeprefix(_BLOCKS).partition(".")
        if path.startswith(_BLOCKS) and inner in _OPENCLIP_NORMS:
            yield lora_names.underscored(prefix, f"text_model.encoder.layers.{number}.{_OPENCLIP_NORMS[inner]}")
        elif path == "ln_final":
            yield lora_names.underscored(prefix, "text_model.final_layer_norm")
        elif path == "token_embedding":
            yield lora_names.underscored(prefix, "text_model.embeddings.token_embedding")

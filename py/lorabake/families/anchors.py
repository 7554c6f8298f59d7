"""Tensors of a checkpoint that no LoRA sits on, by names that are the same in files and Diffusers folders: to compare two models by.

Fine-tuning leaves them alone (autoencoder, often the embeddings) or hardly changes them (norms, first layers). From names alone. Not here:
the layers that a LoRA sits on (layers.py).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lorabake.families import layers, layouts, sd1_keys

AUTOENCODER, EMBEDDINGS, TEXT_NORMS = "autoencoder", "embeddings", "norms"
TIME, ENDS, NORMS = "time embedding", "first and last layer", "norms and biases"
VAE = "vae"  # the part that is neither "text_encoder" nor "unet"
_TEXT_ROOTS = {
    "cond_stage_model.transformer.": "first",
    "cond_stage_model.model.": "first",
    "conditioner.embedders.0.transformer.": "first",
    "text_encoder/": "first",
    "conditioner.embedders.1.model.": "second",
    "text_encoder_2/": "second",
}
_OPENCLIP = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_OPENCLIP_NORM = re.compile(r"transformer\.resblocks\.(\d+)\.ln_([12])\.(weight|bias)")


@dataclass(frozen=True)
class Anchor:
    """`part`: "text_encoder", "unet" or VAE; `group`: what is told together."""

    key: str
    part: str
    group: str


def anchors(shapes: layers.Shapes, family: str) -> dict[str, Anchor]:
    """Common name -> where it is. What no rule knows is left out, and so are averaged copies."""
    return dict([*_autoencoder(shapes), *_text(shapes), *_unet(shapes, family)])


Found = Iterator[tuple[str, Anchor]]


def _autoencoder(shapes: Mapping[str, tuple[int, ...]]) -> Found:
    blocks = 1 + max((int(m[1]) for key in shapes if (m := re.match(rf"{layouts.VAE}decoder\.up\.(\d+)\.", key))), default=3)
    for key in shapes:
        if key.startswith(layouts.VAE):
            try:
                name = sd1_keys.vae_name(key.removeprefix(layouts.VAE), blocks)
            except KeyError:
                continue
            yield f"vae.{name}", Anchor(key, VAE, AUTOENCODER)
        elif key.startswith("vae/"):
            yield f"vae.{key.removeprefix('vae/')}", Anchor(key, VAE, AUTOENCODER)


def _text(shapes: Mapping[str, tuple[int, ...]]) -> Found:
    for key in shapes:
        for root, which in _TEXT_ROOTS.items():
            if key.startswith(root):
                name = _text_name(key.removeprefix(root))
                if name.startswith("embeddings.") and name.endswith(".weight"):
                    yield f"{which}.{name}", Anchor(key, "text_encoder", EMBEDDINGS)
                elif re.search(r"layer_?norm\d?\.(weight|bias)$", name):
                    yield f"{which}.{name}", Anchor(key, "text_encoder", TEXT_NORMS)


def _text_name(path: str) -> str:
    """CLIP's name of a tensor, from CLIP's own or OpenCLIP's."""
    if match := _OPENCLIP_NORM.fullmatch(path):
        return f"encoder.layers.{match[1]}.layer_norm{match[2]}.{match[3]}"
    return _OPENCLIP.get(path, sd1_keys.text_name(path))


def _unet(shapes: Mapping[str, tuple[int, ...]], family: str) -> Found:
    taken = {layer.key for layer in layers.layers(shapes, family) if layer.part == "unet"}
    num_layers = sd1_keys.num_layers(shapes)
    for key, shape in shapes.items():
        if key in taken or not key.startswith((layouts.UNET, "unet/")):
            continue
        name = key.removeprefix("unet/")
        if key.startswith(layouts.UNET):
            try:
                name = sd1_keys.unet_name(key.removeprefix(layouts.UNET), num_layers)
            except (KeyError, ValueError):
                continue
        if name.startswith(("time_embedding.", "add_embedding.")):
            yield f"unet.{name}", Anchor(key, "unet", TIME)
        elif name.startswith(("conv_in.", "conv_out.")):
            yield f"unet.{name}", Anchor(key, "unet", ENDS)
        elif len(shape) == 1:
            yield f"unet.{name}", Anchor(key, "unet", NORMS)

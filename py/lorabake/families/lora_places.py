"""Every layer that a LoRA file may name, for the published models of a family: what it is, and its names in both layouts.

Wider than layers.full_size, which has what LoRAs are trained on: also the norms and the layers at the ends, which LyCORIS's files name.
Names and shapes only. Not here: which program understands which name (lora_loading.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from lorabake.families import layers, lora_names, sd1_keys

Shapes = Mapping[str, tuple[int, ...]]
NUM_LAYERS = 2  # resnets per down block, in all three
_UNET_ENDS = (("time_embed.0", "linear"), ("time_embed.2", "linear"), ("input_blocks.0.0", "conv"), ("out.0", "norm"), ("out.2", "conv"))
_SDXL_ENDS = (("label_emb.0.0", "linear"), ("label_emb.0.2", "linear"))
_TEXT_ENDS = (("final_layer_norm", "norm"), ("embeddings.token_embedding", "embedding"), ("embeddings.position_embedding", "embedding"))
OPENCLIP_LAST = 23  # SD 2's text encoder has this layer too; it is not used, and some programs leave it out


class Refused(Exception):
    """A program that stops at a file and loads nothing of it; the text says why."""


@dataclass(frozen=True)
class Place:
    """`part` is "unet", "te1" or "te2"; `path` counts blocks as the original layout, `diffusers` as Diffusers (the same for texts)."""

    part: str
    path: str
    diffusers: str
    kind: str  # "linear", "conv", "norm" or "embedding"
    shape: tuple[int, ...] = ()  # of the weight, where a LoRA can sit on it
    openclip: bool = False  # the web UI keeps q, k and v of this text encoder in one tensor


def underscored(path: str) -> str:
    return path.replace(".", "_")


def is_last_openclip(place: Place) -> bool:
    return place.openclip and place.part == "te1" and f".layers.{OPENCLIP_LAST}." in place.path


@cache
def places(family: str) -> tuple[Place, ...]:
    """All places of "sd1", "sd2" or "sdxl"."""
    return (*_texts(family), *_unet(family))


def _unet(family: str) -> Iterator[Place]:
    for layer in layers.full_size(family).values():
        if layer.part != "unet":
            continue
        path = layer.key.removeprefix(layers.UNET).removesuffix(".weight")
        yield _in_unet(path, "conv" if len(layer.shape) == 4 else "linear", layer.shape)
        head, _, tail = path.rpartition(".")
        if path.endswith(".in_layers.2"):
            block = path.removesuffix(".in_layers.2")
            yield _in_unet(f"{block}.in_layers.0", "norm")
            yield _in_unet(f"{block}.out_layers.0", "norm")
        elif tail == "proj_in":
            yield _in_unet(f"{head}.norm", "norm")
        elif path.endswith(".ff.net.2"):
            for number in (1, 2, 3):
                yield _in_unet(f"{path.removesuffix('.ff.net.2')}.norm{number}", "norm")
    for path, kind in (*_UNET_ENDS, *(_SDXL_ENDS if family == "sdxl" else ())):
        yield _in_unet(path, kind)


def _in_unet(path: str, kind: str, shape: tuple[int, ...] = ()) -> Place:
    return Place("unet", path, sd1_keys.unet_name(f"{path}.weight", NUM_LAYERS).removesuffix(".weight"), kind, shape)


def _texts(family: str) -> Iterator[Place]:
    depth: dict[str, int] = {}
    for name, layer in layers.full_size(family).items():
        if layer.part != "text_encoder":
            continue
        part = "te2" if name.startswith("lora_te2_") else "te1"
        path = lora_names.dotted(name)
        depth[part] = max(depth.get(part, 0), int(path.split(".")[3]) + 1)
        yield _in_text(part, path, "linear", family, layer.shape)
        if path.endswith(".mlp.fc2"):
            yield from _norms(part, path.removesuffix(".mlp.fc2"), family)
        if family == "sd2" and path.startswith("text_model.encoder.layers.0."):
            last = path.replace(".0.", f".{OPENCLIP_LAST}.", 1)
            yield _in_text(part, last, "linear", family, layer.shape)
    for part in depth:
        for path, kind in _TEXT_ENDS:
            yield _in_text(part, f"text_model.{path}", kind, family)
        if family == "sdxl":
            yield _in_text(part, "text_projection", "linear", family)


def _norms(part: str, block: str, family: str) -> Iterator[Place]:
    for number in (1, 2):
        yield _in_text(part, f"{block}.layer_norm{number}", "norm", family)


def _in_text(part: str, path: str, kind: str, family: str, shape: tuple[int, ...] = ()) -> Place:
    return Place(part, path, path, kind, shape, openclip=family == "sd2" or part == "te2")

"""Model families as rows of plain facts, and `identify`, which reads a base model's header and says what it is.

Not a loader: no torch here. The functions of a family are in the module that its row names (families/sd1.py); what tensor
names say about a file is in families/layouts.py, what its bytes say in modelfile.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lorabake.families.layouts import judge, judge_folder
from lorabake.modelfile import Contents, read_contents
from lorabake.paths import MODELS

POCKET = "pocket"
POCKET_FILE = "pocket.safetensors"


@dataclass(frozen=True)
class Family:
    """What the plan, the trainer and the metadata must know about a family, without loading anything."""

    name: str
    title: str
    module: str
    resolution: int
    bucket_step: int
    pixels_per_latent: int
    latent_channels: int
    scaling_factor: float
    context_width: int
    prediction: str
    default_clip_skip: Mapping[str, int]  # by model.look
    lora_prefixes: Mapping[str, str]
    num_modules: Mapping[str, int]  # of a full-size model: text_encoder, unet, unet_conv (with a type that has conv)
    base_model_version: str
    architecture: str
    implementation: str


FAMILIES: dict[str, Family] = {
    "sd1": Family(
        name="sd1",
        title="Stable Diffusion 1.x",
        module="lorabake.families.sd1",
        resolution=512,
        bucket_step=64,
        pixels_per_latent=8,
        latent_channels=4,
        scaling_factor=0.18215,
        context_width=768,
        prediction="epsilon",
        default_clip_skip={"anime": 2, "realistic": 1},
        lora_prefixes={"text_encoder": "lora_te", "unet": "lora_unet"},
        num_modules={"text_encoder": 72, "unet": 192, "unet_conv": 278},
        base_model_version="sd_v1",
        architecture="stable-diffusion-v1",
        implementation="diffusers",
    ),
}


@dataclass(frozen=True)
class Base:
    """A recognised base model; everything is from its header. `why` is a sentence for the plan."""

    path: str
    kind: str  # "file" or "folder"
    family: str
    format: str  # "safetensors", "ckpt" or "diffusers"
    size_bytes: int
    resolution: int | None = None  # only where the file itself says it (modelspec.resolution)
    clip_skip: int | None = None  # likewise (modelspec.encoder_layer)
    metadata: Mapping[str, str] = field(default_factory=dict)
    num_parameters: int = 0
    why: str = ""


def locate(path: Path | str) -> Path:
    """The word `pocket` is the small model that ships in models/; anything else is a path."""
    return MODELS / POCKET_FILE if str(path) == POCKET else Path(path)


def identify(path: Path | str) -> Base:
    """What a base model is, from headers alone (under 0.1 s for a file of 4 GB).

    Raises UserError with the reason for what is not a whole checkpoint of a family in FAMILIES: another family, a LoRA, a VAE,
    an embedding, an inpainting model, a web page, an empty or truncated file.
    """
    path = locate(path)
    contents = read_contents(path)
    family, why = judge_folder(contents, path) if contents.format == "diffusers" else judge(contents.shapes, path)
    return Base(
        path=str(path),
        kind="folder" if contents.format == "diffusers" else "file",
        family=family,
        format=contents.format,
        size_bytes=contents.size_bytes,
        resolution=_resolution(contents),
        clip_skip=_clip_skip(contents),
        metadata=contents.metadata,
        num_parameters=contents.num_parameters(),
        why=why,
    )


def _resolution(contents: Contents) -> int | None:
    """`modelspec.resolution` is WxH or one number; the area's square root stands for both."""
    try:
        sides = [int(s) for s in contents.metadata.get("modelspec.resolution", "").lower().split("x")]
    except ValueError:
        return None
    if not 1 <= len(sides) <= 2 or not all(8 <= s <= 8192 for s in sides):
        return None
    return round((sides[0] * sides[-1]) ** 0.5)


def _clip_skip(contents: Contents) -> int | None:
    text = contents.metadata.get("modelspec.encoder_layer", "").strip()
    return int(text) if text.isascii() and text.isdigit() and 1 <= int(text) <= 32 else None

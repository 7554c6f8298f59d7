"""Which family a set of tensor names and shapes belongs to. Pure functions on names; nothing is read or loaded here.

The signs are those of the published checkpoints: each family has tensors that no other one has.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from lorabake.errors import UserError
from lorabake.modelfile import Contents

Shapes = Mapping[str, tuple[int, ...]]
UNET, TEXT, VAE = "model.diffusion_model.", "cond_stage_model.", "first_stage_model."
TEXT_WIDTH_KEYS = tuple(f"{TEXT}transformer.{inner}embeddings.token_embedding.weight" for inner in ("text_model.", ""))

# (a piece of a tensor name, what the file is), asked in this order: a LoRA first, because its names repeat those of its base.
SIGNS = (
    ((".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", ".hada_w1", ".lokr_w", ".lora.down.", "lora_unet_", "lora_te_"), "a LoRA file"),
    (("control_model.", "controlnet_cond_embedding."), "a ControlNet"),
    (("emb_params", "string_to_param.", "string_to_token."), "a textual-inversion embedding"),
    (("double_blocks.", "single_transformer_blocks."), "a Flux model"),
    (("joint_blocks.", "transformer_blocks.0.attn.add_k_proj."), "a Stable Diffusion 3 model"),
    (("conditioner.embedders.1.", f"{UNET}label_emb.", "add_embedding.linear_1."), "a Stable Diffusion XL model"),
    (("conditioner.embedders.0.",), "a Stable Diffusion XL refiner"),
    ((f"{TEXT}model.transformer.",), "a Stable Diffusion 2 model"),
)
PIPELINES = (
    ("StableDiffusionXL", "a Stable Diffusion XL model"),
    ("StableDiffusion3", "a Stable Diffusion 3 model"),
    ("Flux", "a Flux model"),
    ("StableDiffusionInpaint", "an inpainting model (9 input channels)"),
    ("StableDiffusionInstructPix2Pix", "an InstructPix2Pix model (8 input channels)"),
)
IN_CHANNELS = {
    9: "an inpainting model (9 input channels)",
    8: "an InstructPix2Pix model (8 input channels)",
    5: "a depth model (5 input channels)",
}
_CONTEXT = ".attn2.to_k.weight"


def judge(shapes: Shapes, path: Path) -> tuple[str, str]:
    """(family, why) of a single file by its tensor names. Raises UserError naming what it is when it is something else."""
    sign = _sign(shapes)
    if sign:
        raise _other(sign, path)
    if not any(name.startswith(UNET) for name in shapes):
        raise _other(_part(shapes), path)
    channels = shapes.get(f"{UNET}input_blocks.0.0.weight", (0, 0))[1]
    if channels in IN_CHANNELS:
        raise _other(IN_CHANNELS[channels], path)
    context = next((shape[1] for name, shape in shapes.items() if name.startswith(UNET) and name.endswith(_CONTEXT)), 0)
    if channels != 4 or not context:
        raise _other("a model of a family that lorabake does not know", path)
    if context == 1024:
        raise _other("a Stable Diffusion 2 model", path)
    missing = missing_parts(shapes)
    if missing:
        raise UserError(
            f"this checkpoint is not whole: it has no {' and no '.join(missing)}",
            where=str(path),
            todo="give the full checkpoint (often the larger file on the same page)",
        )
    width = next(shapes[name][1] for name in TEXT_WIDTH_KEYS if name in shapes)
    if width != context:
        raise UserError(f"the text encoder is {width} wide, the U-Net expects {context}: the parts do not fit", where=str(path))
    return "sd1", f"original layout, U-Net reads text {context} wide, 4 input channels"


def missing_parts(shapes: Iterable[str]) -> list[str]:
    """Which of the three parts of an SD 1.x file are absent, in words."""
    names = list(shapes)
    wanted = (
        (VAE + "decoder.", "autoencoder (VAE, first_stage_model.*)"),
        (TEXT + "transformer.", "text encoder (cond_stage_model.transformer.*)"),
    )
    return [words for prefix, words in wanted if not any(name.startswith(prefix) for name in names)]


def judge_folder(contents: Contents, path: Path) -> tuple[str, str]:
    """(family, why) of a Diffusers folder. Raises UserError naming what it is when it is something else."""
    pipeline = str(contents.configs["model_index"].get("_class_name", ""))
    for name, meaning in PIPELINES:
        if pipeline.startswith(name):
            raise _other(meaning, path)
    sign = _sign(contents.shapes)
    if sign:
        raise _other(sign, path)
    absent = [part for part in ("unet", "vae", "text_encoder") if not any(name.startswith(f"{part}/") for name in contents.shapes)]
    if absent:
        raise UserError(
            f"this Diffusers folder is not whole: no weights (.safetensors or .bin) in {', '.join(f'{part}/' for part in absent)}",
            where=str(path),
            todo="download the whole folder again",
        )
    channels = contents.shapes.get("unet/conv_in.weight", (0, 0))[1]
    context = next((shape[1] for name, shape in contents.shapes.items() if name.startswith("unet/") and name.endswith(_CONTEXT)), 0)
    if channels in IN_CHANNELS:
        raise _other(IN_CHANNELS[channels], path)
    if context == 1024:
        raise _other("a Stable Diffusion 2 model", path)
    if channels != 4 or not context:
        raise _other("a model of a family that lorabake does not know", path)
    return "sd1", f"Diffusers folder, U-Net reads text {context} wide, 4 input channels"


def _sign(shapes: Shapes) -> str | None:
    for pieces, meaning in SIGNS:
        if any(piece in name for name in shapes for piece in pieces):
            return meaning
    return None


def _part(shapes: Shapes) -> str:
    """Names for files that hold one part of a model, or none."""
    names = set(shapes)
    if not names:
        return "a file without any tensors"
    if len(names) <= 4 and all(len(shape) in (1, 2) and shape[-1] in (768, 1024, 1280) for shape in shapes.values()):
        return "a textual-inversion embedding"
    if any(name.removeprefix(VAE).startswith("decoder.conv_in.") for name in names):
        return "an autoencoder (VAE)"
    if any(name.startswith("down_blocks.0.") for name in names):
        return "the U-Net of a Diffusers folder; the folder above it is what lorabake takes"
    if any("text_model.encoder.layers.0." in name for name in names):
        return "a text encoder"
    return "a model of a family that lorabake does not know"


def _other(meaning: str, path: Path) -> UserError:
    return UserError(
        f"this is {meaning}, not a base model that lorabake can train on",
        where=str(path),
        allowed="a Stable Diffusion 1.x checkpoint (.safetensors or .ckpt), a Diffusers folder of one, or pocket",
        todo="set base_model to such a file",
    )

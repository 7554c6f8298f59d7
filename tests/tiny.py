"""Tiny random models in real layouts, for every test that needs one. Not trained: their pictures are noise.

`sd1_file(folder)` writes an SD 1.x checkpoint in the original layout: the real vocabulary, a text encoder 64 wide with 2 layers,
a U-Net of widths 32, 32, 64, 64 and a factor-8 autoencoder; about 6 M parameters, half of them the vocabulary.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lorabake.families import Base, identify, sd1

UNET = {
    "block_out_channels": (32, 32, 64, 64),
    "layers_per_block": 2,
    "cross_attention_dim": 64,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}
VAE = {
    "block_out_channels": (32, 32, 32, 32),
    "layers_per_block": 1,
    "norm_num_groups": 32,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
TEXT = {
    "vocab_size": 49408,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "projection_dim": 64,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}
METADATA = {"modelspec.resolution": "128x128", "modelspec.encoder_layer": "1"}


def sd1_models(seed: int = 0) -> sd1.Models:
    """Random models, float32, made by diffusers and transformers themselves; the same for the same seed."""
    torch.manual_seed(seed)
    unet = sd1.UNet2DConditionModel(**UNET)
    vae = sd1.AutoencoderKL(**VAE)
    text = sd1.CLIPTextModel(sd1.CLIPTextConfig(**TEXT))
    for model in (unet, vae, text):
        model.requires_grad_(False).eval()
    return sd1.Models(unet, text, vae)


@cache
def _tensors(seed: int) -> dict[str, torch.Tensor]:
    return {name: tensor.half().contiguous() for name, tensor in sd1.to_original_keys(sd1_models(seed)).items()}


def sd1_file(folder: Path, *, name: str = "tiny.safetensors", seed: int = 0, metadata: dict[str, str] | None = None) -> Path:
    """A tiny checkpoint, fp16, that says it is for 128 px and clip skip 1 (as the pocket model does); made once per process and seed."""
    path = Path(folder) / name
    save_file(_tensors(seed), path, METADATA if metadata is None else metadata)
    return path


def sd1_loaded(folder: Path, *, dtype: torch.dtype = torch.float32) -> tuple[Base, sd1.Models]:
    """The file above, written, recognised and loaded on the CPU."""
    base = identify(sd1_file(folder))
    return base, sd1.load(base, dtype=dtype, device="cpu")


def sd1_pipeline(models: sd1.Models, scheduler: Any = None) -> Any:
    """diffusers' own pipeline of these models, with DDIM where no other scheduler is given."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    from lorabake.families.tokenizer import clip_tokenizer

    ddim = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1)
    return StableDiffusionPipeline(
        vae=models.vae,
        text_encoder=models.text_encoder,
        tokenizer=clip_tokenizer(),
        unet=models.unet,
        scheduler=scheduler or ddim,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )

"""Small LoRA files of each type, for a given checkpoint; and small checkpoints of SD 2 and SDXL that are a few layers with real names."""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import save_file

from lorabake import modelfile
from lorabake.families import layers
from lorabake.families.layers import Layer

Tensors = dict[str, torch.Tensor]
METADATA = {"ss_base_model_version": "sd_v1", "ss_network_dim": "4", "ss_network_alpha": "2.0", "ss_network_module": "networks.lora"}
SDXL_UNET = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
SDXL_NAME = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
SDXL_PEFT = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
OPENCLIP = "conditioner.embedders.1.model.transformer.resblocks.0"
OPENCLIP_NAME = "lora_te2_text_model_encoder_layers_0"


def layers_of(base: Path, *, conv: bool = False) -> list[Layer]:
    return [layer for layer in layers.layers(modelfile.read_contents(base).shapes, "sd1") if conv or not layer.conv]


def module(kind: str, shape: tuple[int, ...], rank: int, draws: torch.Generator, size: float = 0.1) -> Tensors:
    """Random tensors of one layer: "lora", "tucker", "loha", "lokr", "full", "dora"."""

    def random(*sizes: int) -> torch.Tensor:
        return torch.randn(sizes, generator=draws) * size

    out, width, *kernel = shape
    ones, fan = [1 for _ in kernel], torch.Size(shape[1:]).numel()
    alpha = {"alpha": torch.tensor(rank / 2)}
    match kind:
        case "lora":
            return alpha | {"lora_down.weight": random(rank, width, *kernel), "lora_up.weight": random(out, rank, *ones)}
        case "dora":
            return module("lora", shape, rank, draws, size) | {"dora_scale": random(out, 1, *ones).abs() + 0.5}
        case "tucker":
            found = {"lora_down.weight": random(rank, width, *ones), "lora_up.weight": random(out, rank, *ones)}
            return alpha | found | ({"lora_mid.weight": random(rank, rank, *kernel)} if kernel else {})
        case "loha":
            return alpha | {f"hada_w{n}_{side}": random(*((out, rank) if side == "a" else (rank, fan))) for n in "12" for side in "ab"}
        case "lokr":
            return alpha | {"lokr_w1": random(2, 2), "lokr_w2_a": random(out // 2, rank), "lokr_w2_b": random(rank, fan // 2)}
    return {"diff": random(*shape)}


def write(path: Path, found: Iterable[Layer], kind: str = "lora", *, rank: int = 4, seed: int = 1, **options) -> Path:
    """`options`: size of the numbers, dtype (float32), metadata."""
    draws = torch.Generator().manual_seed(seed)
    tensors = {
        f"{layer.name}.{suffix}": tensor
        for layer in found
        for suffix, tensor in module(kind, layer.shape, rank, draws, options.get("size", 0.1)).items()
    }
    return save(path, tensors, **{key: value for key, value in options.items() if key != "size"})


def save(path: Path, tensors: Tensors, *, dtype: torch.dtype = torch.float32, metadata: dict[str, str] | None = None) -> Path:
    cast = {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
    save_file(cast, path, METADATA if metadata is None else metadata)
    return path


def sdxl_base(path: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """Enough of SDXL in the original layout to be known as that; widths of 8."""
    draws = torch.Generator().manual_seed(3)
    shapes = {
        SDXL_UNET: (8, 2048),
        "model.diffusion_model.input_blocks.4.0.in_layers.0.weight": (8,),
        "model.diffusion_model.label_emb.0.0.weight": (8, 16),
        "model.diffusion_model.label_emb.0.0.bias": (8,),
        "conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight": (16, 8),
        f"{OPENCLIP}.attn.in_proj_weight": (24, 8),
        f"{OPENCLIP}.attn.in_proj_bias": (24,),
        f"{OPENCLIP}.ln_1.weight": (8,),
        f"{OPENCLIP}.mlp.c_fc.weight": (16, 8),
        "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3),
    }
    save_file({name: torch.randn(shape, generator=draws).to(dtype) for name, shape in shapes.items()}, path)
    return path

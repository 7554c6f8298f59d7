"""Small checkpoints of SD 1, SD 2 and SDXL with the names of the published ones, as files and as Diffusers folders. Random, and no models
that would draw: for what reads names, shapes and weights.

`tensors(family)` is the file layout: U-Net with all blocks, a twentieth as wide; text encoders of three layers and tiny vocabularies; a
few tensors of the autoencoder. `folder(...)` writes the same weights as a Diffusers folder.
"""

import json
import re
from pathlib import Path

import torch
from safetensors.torch import save_file

from lorabake.families import layers, sd1_keys

UNET, NUM_TEXT_LAYERS = layers.UNET, 3
SHRINK = 20
Tensors = dict[str, torch.Tensor]


def _small(shape):
    """The width of SD 1's and SD 2's text stays: the families are told apart by it."""
    sizes = enumerate(shape)
    return tuple(max(4, size // SHRINK) if axis < 2 and size > 4 and size not in (768, 1024) else size for axis, size in sizes)


def _clip(root, width):
    found = {f"{root}embeddings.token_embedding.weight": (60, width), f"{root}embeddings.position_embedding.weight": (7, width)}
    for layer in range(NUM_TEXT_LAYERS):
        where = f"{root}encoder.layers.{layer}"
        for letter in ("q", "k", "v", "out"):
            found |= {f"{where}.self_attn.{letter}_proj.weight": (width, width), f"{where}.self_attn.{letter}_proj.bias": (width,)}
        found |= {f"{where}.mlp.fc1.weight": (2 * width, width), f"{where}.mlp.fc2.weight": (width, 2 * width)}
        found |= {f"{where}.layer_norm{number}.weight": (width,) for number in (1, 2)}
    return found | {f"{root}final_layer_norm.weight": (width,)}


def _openclip(root, width, num):
    found = {f"{root}token_embedding.weight": (60, width), f"{root}positional_embedding": (7, width), f"{root}ln_final.weight": (width,)}
    for layer in range(num):
        where = f"{root}transformer.resblocks.{layer}"
        found |= {f"{where}.attn.in_proj_weight": (3 * width, width), f"{where}.attn.out_proj.weight": (width, width)}
        found |= {f"{where}.mlp.c_fc.weight": (2 * width, width), f"{where}.mlp.c_proj.weight": (width, 2 * width)}
        found |= {f"{where}.ln_{number}.weight": (width,) for number in (1, 2)}
    return found


def shapes(family):
    """Of the file layout. SD 2 has a last text layer that neither its folders nor LoRAs know."""
    found = {layer.key: _small(layer.shape) for layer in layers.full_size(family).values() if layer.part == "unet"}
    found |= {f"{UNET}input_blocks.0.0.weight": (16, 4, 3, 3), f"{UNET}out.2.weight": (4, 16, 3, 3)}
    found |= {f"{UNET}time_embed.{number}.weight": (64, 64) for number in (0, 2)}
    found |= {f"{UNET}input_blocks.1.0.in_layers.0.weight": (16,), f"{UNET}middle_block.1.norm.bias": (64,)}
    found |= {f"first_stage_model.{name}.weight": (8, 8, 3, 3) for name in ("decoder.conv_in", "encoder.down.0.block.0.conv1")}
    found |= {"first_stage_model.decoder.mid.attn_1.q.weight": (8, 8, 1, 1), "first_stage_model.decoder.norm_out.weight": (8,)}
    if family == "sd1":
        return found | _clip("cond_stage_model.transformer.text_model.", 48)
    if family == "sd2":
        return found | _openclip("cond_stage_model.model.", 48, NUM_TEXT_LAYERS + 1)
    found |= {f"{UNET}label_emb.0.{number}.weight": (64, 64) for number in (0, 2)}
    found |= _clip("conditioner.embedders.0.transformer.text_model.", 36)
    return found | _openclip("conditioner.embedders.1.model.", 48, NUM_TEXT_LAYERS)


def tensors(family, *, seed=0) -> Tensors:
    """float32, of the size that weights have; norms about 1."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in shapes(family).items():
        found[name] = torch.randn(shape, generator=generator) * max(shape[-1], 4) ** -0.5 + (len(shape) == 1)
    return found


def tuned(base: Tensors, family, *, rank=4, seed=1, size=0.02, conv=False, parts=("unet", "text_encoder")):
    """(tensors, LoRA layer -> its exact change in float64) after a change of `rank` of all layers of a LoRA's scope."""
    generator = torch.Generator().manual_seed(seed)
    made, changes = dict(base), {}
    for layer in layers.layers({name: tuple(tensor.shape) for name, tensor in base.items()}, family):
        if layer.part not in parts or (layer.conv and not conv):
            continue
        fan = torch.Size(layer.shape[1:]).numel()
        up = torch.randn(layer.shape[0], rank, generator=generator)
        change = (up @ torch.randn(rank, fan, generator=generator)).mul_(size / rank**0.5 * fan**-0.5).reshape(layer.shape)
        changed = made[layer.key].clone()
        rows = slice(*layer.rows) if layer.rows else slice(None)
        changed[rows] += change
        changes[layer.name] = changed[rows].double() - made[layer.key][rows].double()
        made[layer.key] = changed
    return made, changes


def file(path: Path, found: Tensors, *, dtype=None) -> Path:
    """By the ending: .safetensors, .ckpt (torch's zip), .pt (torch's oldest format)."""
    cast = {name: tensor.to(dtype or tensor.dtype).contiguous() for name, tensor in found.items()}
    if path.suffix == ".safetensors":
        save_file(cast, path)
    else:
        torch.save({"state_dict": cast, "global_step": 7}, path, _use_new_zipfile_serialization=path.suffix == ".ckpt")
    return path


def folder(path: Path, found: Tensors, family, *, dtype=None) -> Path:
    """A Diffusers folder of the same weights, with its own names and its matrices where the file has 1x1 convolutions."""
    parts: dict[str, Tensors] = {"unet": {}, "vae": {}, "text_encoder": {}, "text_encoder_2": {}}
    for name, tensor in found.items():
        for part, own, value in _diffusers(name, tensor.to(dtype or tensor.dtype), family):
            parts[part][own] = value.contiguous()
    for part, content in parts.items():
        if content:
            (path / part).mkdir(parents=True)
            stem = "model" if part.startswith("text") else "diffusion_pytorch_model"
            save_file(content, path / part / f"{stem}.safetensors")
            (path / part / "config.json").write_text("{}", encoding="utf-8")
    kind = "StableDiffusionXLPipeline" if family == "sdxl" else "StableDiffusionPipeline"
    (path / "model_index.json").write_text(json.dumps({"_class_name": kind}), encoding="utf-8")
    return path


def _diffusers(name, tensor, family):
    if name.startswith(UNET):
        own = re.sub(r"^label_emb\.0\.([02])", lambda m: f"add_embedding.linear_{1 + int(m[1]) // 2}", name.removeprefix(UNET))
        yield "unet", own if own.startswith("add_") else sd1_keys.unet_name(own, 2), tensor
    elif name.startswith("first_stage_model."):
        own = sd1_keys.vae_name(name.removeprefix("first_stage_model."), 1)
        yield "vae", own, tensor.flatten(1) if sd1_keys.is_vae_attention(own) else tensor
    elif "text_model." in name:
        yield "text_encoder", name[name.index("text_model.") :], tensor
    else:
        part = "text_encoder_2" if family == "sdxl" else "text_encoder"
        yield from ((part, f"text_model.{own}", value) for own, value in _from_openclip(name.split(".model.")[1], tensor))


def _from_openclip(name, tensor):
    name = name.replace("token_embedding.", "embeddings.token_embedding.").replace("ln_final.", "final_layer_norm.")
    name = name.replace("positional_embedding", "embeddings.position_embedding.weight")
    name = re.sub(r"transformer\.resblocks\.(\d+)\.(ln_)?", lambda m: f"encoder.layers.{m[1]}.{'layer_norm' if m[2] else ''}", name)
    for old, new in (("attn.out_proj.", "self_attn.out_proj."), ("mlp.c_fc.", "mlp.fc1."), ("mlp.c_proj.", "mlp.fc2.")):
        name = name.replace(old, new)
    if name.startswith(f"encoder.layers.{NUM_TEXT_LAYERS}."):
        return
    if "in_proj_weight" in name:
        for letter, value in zip("qkv", tensor.chunk(3), strict=True):
            yield name.replace("attn.in_proj_weight", f"self_attn.{letter}_proj.weight"), value
    else:
        yield name, tensor

"""Tensor names of Stable Diffusion 1.x: the original layout (CompVis, every web UI) <-> Diffusers, for any number of layers and widths.

Pure text: the rules are positions in the lists of blocks, so nothing here is a table of one model's names, and nothing loads.
Sizes are read from shapes, in Diffusers names, by the `*_sizes` functions.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
NUM_HEADS = 8  # of every SD 1.x U-Net, whatever its widths
TEXT_HEAD_WIDTH = 64
NUM_GROUPS = 32

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_UNET_ENDS = {
    "label_emb.0.0": "add_embedding.linear_1",  # of SDXL
    "label_emb.0.2": "add_embedding.linear_2",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
UNET_ENDS_ORIGINAL = {diffusers: original for original, diffusers in _UNET_ENDS.items()}
_MIDDLE = {"0": "mid_block.resnets.0", "1": "mid_block.attentions.0", "2": "mid_block.resnets.1"}
_VAE_MIDDLE = {"block_1": "resnets.0", "attn_1": "attentions.0", "block_2": "resnets.1"}
_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_UNET_BLOCK = re.compile(r"(input|output)_blocks\.(\d+)\.(\d)\.(.+)")
_VAE_BLOCK = re.compile(r"(encoder|decoder)\.(down|up)\.(\d+)\.(?:block\.(\d+)\.(.+)|(downsample|upsample)\.conv\.(.+))")
_VAE_MID = re.compile(r"(encoder|decoder)\.mid\.(block_1|attn_1|block_2)\.(.+)")


def _resnet(rest: str) -> str:
    for original, name in _RESNET.items():
        if rest.startswith(f"{original}."):
            return name + rest[len(original) :]
    raise KeyError(rest)


def unet_name(original: str, num_layers: int) -> str:
    """Diffusers name of a U-Net tensor (without `model.diffusion_model.`); `num_layers` resnets per down block. Or KeyError."""
    head, _, leaf = original.rpartition(".")
    if head in _UNET_ENDS:
        return f"{_UNET_ENDS[head]}.{leaf}"
    if original.startswith("middle_block."):
        index, rest = original.removeprefix("middle_block.").split(".", 1)
        return f"{_MIDDLE[index]}.{rest if index == '1' else _resnet(rest)}"
    match = _UNET_BLOCK.fullmatch(original)
    if not match:
        raise KeyError(original)
    side, number, slot, rest = match[1], int(match[2]), match[3], match[4]
    block, layer = divmod(number - 1 if side == "input" else number, num_layers + 1)
    where = f"{'down' if side == 'input' else 'up'}_blocks.{block}"
    if rest.startswith("op."):
        return f"{where}.downsamplers.0.conv.{rest[3:]}"
    if rest.startswith("conv."):
        return f"{where}.upsamplers.0.{rest}"
    return f"{where}.resnets.{layer}.{_resnet(rest)}" if slot == "0" else f"{where}.attentions.{layer}.{rest}"


def vae_name(original: str, num_blocks: int) -> str:
    """Diffusers name of an autoencoder tensor (without `first_stage_model.`), whose original counts up blocks backwards. Or KeyError."""
    if original.startswith(("quant_conv.", "post_quant_conv.")):
        return original
    side, _, rest = original.partition(".")
    if side in ("encoder", "decoder") and rest.startswith(("conv_in.", "conv_out.", "norm_out.")):
        return f"{side}.{'conv_' if rest.startswith('norm_out.') else ''}{rest}"
    if match := _VAE_MID.fullmatch(original):
        side, slot, rest = match.groups()
        if slot == "attn_1":
            head, _, leaf = rest.rpartition(".")
            rest = f"{_VAE_ATTENTION[head]}.{leaf}"
        return f"{side}.mid_block.{_VAE_MIDDLE[slot]}.{rest}"
    match = _VAE_BLOCK.fullmatch(original)
    if not match:
        raise KeyError(original)
    side, way, number, layer, rest, sampler, leaf = match.groups()
    block = int(number) if way == "down" else num_blocks - 1 - int(number)
    where = f"{side}.{way}_blocks.{block}"
    return f"{where}.{sampler}rs.0.conv.{leaf}" if sampler else f"{where}.resnets.{layer}.{rest.replace('nin_shortcut', 'conv_shortcut')}"


def text_name(original: str) -> str:
    """Name inside the text encoder, without `text_model.`: old checkpoints and new transformers leave that out."""
    return original.removeprefix("text_model.")


def to_diffusers(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """original name -> (part, Diffusers name) for every tensor of the three parts; whatever else a checkpoint carries is left out.

    That is the averaged copy (`model_ema.`), the noise schedule's tables, optimizer states and `position_ids`. Names inside the
    three parts that no rule knows are left out too: the loader then says which ones it lacks.
    """
    names = list(names)
    layers, blocks = num_layers(names), _num_vae_blocks(names)
    found: dict[str, tuple[str, str]] = {}
    for name in names:
        try:
            if name.startswith(UNET):
                found[name] = "unet", unet_name(name[len(UNET) :], layers)
            elif name.startswith(VAE):
                found[name] = "vae", vae_name(name[len(VAE) :], blocks)
            elif name.startswith(TEXT) and not name.endswith("position_ids"):
                found[name] = "text_encoder", text_name(name[len(TEXT) :])
        except KeyError:
            continue
    return found


def num_layers(names: Iterable[str]) -> int:
    """Resnets per down block: the first downsampler sits right behind those of block 0."""
    samplers = [int(m[1]) for name in names if (m := re.fullmatch(rf"{re.escape(UNET)}input_blocks\.(\d+)\.0\.op\.weight", name))]
    return min(samplers, default=3) - 1


def _num_vae_blocks(names: Iterable[str]) -> int:
    return 1 + max((int(m[1]) for name in names if (m := re.match(rf"{re.escape(VAE)}decoder\.up\.(\d+)\.", name))), default=3)


def unet_original(name: str, num_layers: int, up_blocks_with_attention: frozenset[int]) -> str:
    """Inverse of unet_name. The slot of an upsampler depends on whether an attention stands before it."""
    head, _, leaf = name.rpartition(".")
    if head in UNET_ENDS_ORIGINAL:
        return f"{UNET_ENDS_ORIGINAL[head]}.{leaf}"
    kind, block_text, *rest = re.split(r"\.", name, maxsplit=4)
    if kind == "mid_block":
        list_name, index, tail = block_text, rest[0], ".".join(rest[1:])
        return f"middle_block.{1 if list_name == 'attentions' else 2 * int(index)}.{_unresnet(tail) if list_name == 'resnets' else tail}"
    block, (list_name, layer_text, tail) = int(block_text), rest
    first = (num_layers + 1) * block + (1 if kind == "down_blocks" else 0)
    side = "input_blocks" if kind == "down_blocks" else "output_blocks"
    if list_name == "downsamplers":
        return f"{side}.{first + num_layers}.0.op.{tail.removeprefix('conv.')}"
    if list_name == "upsamplers":
        return f"{side}.{first + num_layers}.{2 if block in up_blocks_with_attention else 1}.{tail}"
    slot, inner = (0, _unresnet(tail)) if list_name == "resnets" else (1, tail)
    return f"{side}.{first + int(layer_text)}.{slot}.{inner}"


def _unresnet(tail: str) -> str:
    head, _, leaf = tail.rpartition(".")
    return f"{next(original for original, name in _RESNET.items() if name == head)}.{leaf}"


def vae_original(name: str, num_blocks: int) -> str:
    """Inverse of vae_name."""
    side, _, rest = name.partition(".")
    if rest.startswith("conv_norm_out."):
        return f"{side}.{rest.removeprefix('conv_')}"
    pieces = name.split(".")
    if pieces[1] == "mid_block":
        slot = next(original for original, n in _VAE_MIDDLE.items() if n == ".".join(pieces[2:4]))
        inner, leaf = ".".join(pieces[4:-1]), pieces[-1]
        if slot == "attn_1":
            inner = next(original for original, n in _VAE_ATTENTION.items() if n == inner)
        return f"{side}.mid.{slot}.{inner}.{leaf}"
    if pieces[1] in ("down_blocks", "up_blocks"):
        way = pieces[1].removesuffix("_blocks")
        number = int(pieces[2]) if way == "down" else num_blocks - 1 - int(pieces[2])
        if pieces[3].endswith("samplers"):
            return f"{side}.{way}.{number}.{pieces[3].removesuffix('rs')}.conv.{pieces[-1]}"
        return f"{side}.{way}.{number}.block.{pieces[4]}.{'.'.join(pieces[5:]).replace('conv_shortcut', 'nin_shortcut')}"
    return name


def to_original(part: str, names: Iterable[str]) -> dict[str, str]:
    """Diffusers name -> original name with its prefix, for all tensors of one part ("unet", "vae" or "text_encoder")."""
    names = list(names)
    if part == "text_encoder":
        return {name: f"{TEXT}text_model.{text_name(name)}" for name in names if not name.endswith("position_ids")}
    if part == "vae":
        blocks = 1 + max(int(m[1]) for name in names if (m := re.match(r"decoder\.up_blocks\.(\d+)\.", name)))
        return {name: VAE + vae_original(name, blocks) for name in names}
    layers = 1 + max(int(m[1]) for name in names if (m := re.match(r"down_blocks\.0\.resnets\.(\d+)\.", name)))
    attending = frozenset(int(m[1]) for name in names if (m := re.match(r"up_blocks\.(\d+)\.attentions\.", name)))
    return {name: UNET + unet_original(name, layers, attending) for name in names}


def is_vae_attention(name: str) -> bool:
    """Whether a Diffusers VAE name is a matrix that the original keeps as a 1x1 convolution."""
    return re.fullmatch(r"(en|de)coder\.mid_block\.attentions\.0\.to_(q|k|v|out\.0)\.weight", name) is not None


def _count(shapes: Shapes, pattern: str) -> int:
    """One more than the highest number that `pattern` catches at the start of a name; 0 when it catches none."""
    return 1 + max((int(m[1]) for name in shapes if (m := re.match(pattern, name))), default=-1)


def unet_sizes(shapes: Shapes) -> dict[str, Any]:
    """Arguments of diffusers' UNet2DConditionModel, read from its tensors' shapes. KeyError names a tensor that is missing."""
    num_blocks = _count(shapes, r"down_blocks\.(\d+)\.")
    attends = [any(name.startswith(f"down_blocks.{b}.attentions.") for name in shapes) for b in range(num_blocks)]
    up_attends = [any(name.startswith(f"up_blocks.{b}.attentions.") for name in shapes) for b in range(num_blocks)]
    mid = "mid_block.attentions.0."
    return {
        "in_channels": shapes["conv_in.weight"][1],
        "out_channels": shapes["conv_out.weight"][0],
        "block_out_channels": tuple(shapes[f"down_blocks.{b}.resnets.0.conv1.weight"][0] for b in range(num_blocks)),
        "layers_per_block": _count(shapes, r"down_blocks\.0\.resnets\.(\d+)\."),
        "down_block_types": tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        "up_block_types": tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in up_attends),
        "transformer_layers_per_block": _count(shapes, re.escape(mid) + r"transformer_blocks\.(\d+)\."),
        "cross_attention_dim": shapes[f"{mid}transformer_blocks.0.attn2.to_k.weight"][1],
        "use_linear_projection": len(shapes[f"{mid}proj_in.weight"]) == 2,
        "attention_head_dim": NUM_HEADS,  # diffusers' name for the number of heads
        "norm_num_groups": NUM_GROUPS,
    }


def vae_sizes(shapes: Shapes) -> dict[str, Any]:
    """Arguments of diffusers' AutoencoderKL."""
    num_blocks = _count(shapes, r"encoder\.down_blocks\.(\d+)\.")
    return {
        "in_channels": shapes["encoder.conv_in.weight"][1],
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "latent_channels": shapes["post_quant_conv.weight"][1],
        "block_out_channels": tuple(shapes[f"encoder.down_blocks.{b}.resnets.0.conv1.weight"][0] for b in range(num_blocks)),
        "layers_per_block": _count(shapes, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        "down_block_types": ("DownEncoderBlock2D",) * num_blocks,
        "up_block_types": ("UpDecoderBlock2D",) * num_blocks,
        "norm_num_groups": NUM_GROUPS,
    }


def text_sizes(shapes: Shapes) -> dict[str, Any]:
    """Arguments of transformers' CLIPTextConfig; names without `text_model.`."""
    vocabulary, width = shapes["embeddings.token_embedding.weight"]
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": shapes["encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": _count(shapes, r"encoder\.layers\.(\d+)\."),
        "num_attention_heads": max(1, width // TEXT_HEAD_WIDTH),
        "max_position_embeddings": shapes["embeddings.position_embedding.weight"][0],
        "hidden_act": "quick_gelu",
        "projection_dim": width,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 49407,
    }

"""Which tensors of a checkpoint a LoRA can sit on, and under which name: for SD 1, SD 2 and SDXL, files and Diffusers folders.

From names and shapes alone, any number of layers and widths. The scope is the one that LoRA programs agree on: Linear and 1x1 layers of
the transformers and of the text encoders; the layers of resnets and samplers too with `conv`. Not here: reading, computing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lorabake.families import lora_names, sd1_keys

Shapes = Mapping[str, tuple[int, ...]]
UNET = "model.diffusion_model."
_BLOCK = re.compile(r"(input_blocks\.\d+|middle_block|output_blocks\.\d+)\.\d\.(.+)")
_DIFFUSERS_BLOCK = re.compile(r"((?:down|up)_blocks\.\d+|mid_block)\.(?:attentions|resnets|downsamplers|upsamplers)\.\d+\.(.+)")
_ATTENTION = ("proj_in", "proj_out", "transformer_blocks.")
_RESNET = ("in_layers.", "out_layers.", "emb_layers.", "skip_connection", "op", "conv", "conv1", "conv2", "time_emb_proj", "conv_shortcut")
_CLIP = re.compile(r"(?:text_model\.)?(encoder\.layers\.(\d+)\.(?:self_attn\.(?:q|k|v|out)_proj|mlp\.fc[12]))\.weight")
_OPENCLIP = re.compile(
    r"transformer\.resblocks\.(\d+)\.(attn\.in_proj_weight|attn\.out_proj\.weight|mlp\.c_fc\.weight|mlp\.c_proj\.weight)"
)
_OPENCLIP_NAMES = {"attn.out_proj.weight": "self_attn.out_proj", "mlp.c_fc.weight": "mlp.fc1", "mlp.c_proj.weight": "mlp.fc2"}
# (prefix of the tensors, prefix of the LoRA's names) of the text encoders, by family
CLIP_ROOTS = {
    "sd1": (("cond_stage_model.transformer.", "lora_te"), ("text_encoder/", "lora_te")),
    "sd2": (("text_encoder/", "lora_te"),),
    "sdxl": (("conditioner.embedders.0.transformer.", "lora_te1"), ("text_encoder/", "lora_te1"), ("text_encoder_2/", "lora_te2")),
}
OPENCLIP_ROOTS = {"sd1": (), "sd2": (("cond_stage_model.model.", "lora_te"),), "sdxl": (("conditioner.embedders.1.model.", "lora_te2"),)}


@dataclass(frozen=True)
class Layer:
    """One layer: `name` in LoRA files, `key` of its weight, `shape` of it; `rows` where the key joins several layers (OpenCLIP's q, k, v).

    `conv`: only in the wider scope. `block` is the name that tables of block weights use: BASE (text), IN04, MID, OUT08.
    """

    name: str
    part: str  # "text_encoder" or "unet"
    key: str
    shape: tuple[int, ...]
    block: str
    conv: bool = False
    rows: tuple[int, int] | None = None


def layers(shapes: Shapes, family: str) -> list[Layer]:
    """All layers of a checkpoint of `family` ("sd1", "sd2", "sdxl"), the text encoder first; [] where it holds none."""
    return [*_text(shapes, family), *_unet(shapes, family)]


def _unet(shapes: Shapes, family: str) -> Iterator[Layer]:
    num_layers = sd1_keys.num_layers(shapes)
    for key, shape in shapes.items():
        if len(shape) not in (2, 4) or not key.endswith(".weight"):
            continue
        if key.startswith(UNET):
            path, pattern = key.removeprefix(UNET).removesuffix(".weight"), _BLOCK
        elif key.startswith("unet/"):
            path, pattern = key.removeprefix("unet/").removesuffix(".weight"), _DIFFUSERS_BLOCK
        else:
            continue
        match = pattern.fullmatch(path)
        attends = match is not None and match[2].startswith(_ATTENTION)
        if match and (attends or match[2].startswith(_RESNET)):
            sgm = lora_names.to_sgm(path)
            own = sgm if family == "sdxl" else sd1_keys.unet_name(f"{sgm}.weight", num_layers).removesuffix(".weight")
            yield Layer(lora_names.underscored("lora_unet", own), "unet", key, shape, _label(sgm), conv=not attends)


def _label(path: str) -> str:
    side, number, *_ = path.split(".")
    return "MID" if side == "middle_block" else f"{'IN' if side == 'input_blocks' else 'OUT'}{int(number):02}"


def _text(shapes: Shapes, family: str) -> Iterator[Layer]:
    for root, prefix in CLIP_ROOTS[family]:
        for key, shape in shapes.items():
            if key.startswith(root) and (match := _CLIP.fullmatch(key.removeprefix(root))):
                yield Layer(lora_names.underscored(prefix, f"text_model.{match[1]}"), "text_encoder", key, shape, "BASE")
    for root, prefix in OPENCLIP_ROOTS[family]:
        found = [(key, match) for key in shapes if key.startswith(root) and (match := _OPENCLIP.fullmatch(key.removeprefix(root)))]
        # SD 2 reads the text before the last layer, and LoRA programs leave that layer out.
        last = max((int(match[1]) for _, match in found), default=0) if family == "sd2" else -1
        for key, match in found:
            if int(match[1]) != last:
                yield from _openclip(key, match, prefix, shapes[key])


def _openclip(key: str, match: re.Match[str], prefix: str, shape: tuple[int, ...]) -> Iterator[Layer]:
    where = f"text_model.encoder.layers.{match[1]}"
    if match[2] in _OPENCLIP_NAMES:
        yield Layer(lora_names.underscored(prefix, f"{where}.{_OPENCLIP_NAMES[match[2]]}"), "text_encoder", key, shape, "BASE")
        return
    width = shape[0] // 3
    for index, letter in enumerate("qkv"):
        name = lora_names.underscored(prefix, f"{where}.self_attn.{letter}_proj")
        rows = (index * width, (index + 1) * width)
        yield Layer(name, "text_encoder", key, (width, *shape[1:]), "BASE", rows=rows)


# (widths, transformer blocks at each level, in the middle, width of the text, 1x1 convolutions around transformers) as published
_SIZES = {
    "sd1": ((320, 640, 1280, 1280), (1, 1, 1, 0), 1, 768, True),
    "sd2": ((320, 640, 1280, 1280), (1, 1, 1, 0), 1, 1024, False),
    "sdxl": ((320, 640, 1280), (0, 2, 10), 10, 2048, False),
}
FAMILIES = tuple(_SIZES)
_TEXTS = {
    "sd1": (("cond_stage_model.transformer.text_model.", 768, 12),),
    "sd2": (("text_encoder/text_model.", 1024, 23),),
    "sdxl": (("conditioner.embedders.0.transformer.text_model.", 768, 12), ("text_encoder_2/text_model.", 1280, 32)),
}


def full_size(family: str) -> dict[str, Layer]:
    """The layers of the published model of a family by name: 72 + 278, 138 + 278 or 264 + 788 of them."""
    return {layer.name: layer for layer in layers(dict(_full_shapes(family)), family)}


def _full_shapes(family: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    widths, depths, mid_depth, context, convs = _SIZES[family]
    skips, width, number = [widths[0]], widths[0], 1
    for level, out in enumerate(widths):
        for _ in range(2):
            yield from _full_resnet(f"{UNET}input_blocks.{number}.0.", out, width, 4 * widths[0])
            yield from _full_transformer(f"{UNET}input_blocks.{number}.1.", out, context, depths[level], convs=convs)
            width, number = out, number + 1
            skips.append(out)
        if level < len(widths) - 1:
            yield f"{UNET}input_blocks.{number}.0.op.weight", (out, out, 3, 3)
            skips.append(out)
            number += 1
    yield from _full_resnet(f"{UNET}middle_block.0.", width, width, 4 * widths[0])
    yield from _full_transformer(f"{UNET}middle_block.1.", width, context, mid_depth, convs=convs)
    yield from _full_resnet(f"{UNET}middle_block.2.", width, width, 4 * widths[0])
    number = 0
    for level, out in reversed(list(enumerate(widths))):
        for layer in range(3):
            yield from _full_resnet(f"{UNET}output_blocks.{number}.0.", out, width + skips.pop(), 4 * widths[0])
            yield from _full_transformer(f"{UNET}output_blocks.{number}.1.", out, context, depths[level], convs=convs)
            width = out
            if layer == 2 and level:
                yield f"{UNET}output_blocks.{number}.{2 if depths[level] else 1}.conv.weight", (out, out, 3, 3)
            number += 1
    for root, inner, num in _TEXTS[family]:
        for index in range(num):
            for letter in ("q", "k", "v", "out"):
                yield f"{root}encoder.layers.{index}.self_attn.{letter}_proj.weight", (inner, inner)
            yield f"{root}encoder.layers.{index}.mlp.fc1.weight", (4 * inner, inner)
            yield f"{root}encoder.layers.{index}.mlp.fc2.weight", (inner, 4 * inner)


def _full_resnet(where: str, out: int, width: int, time: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{where}in_layers.2.weight", (out, width, 3, 3)
    yield f"{where}emb_layers.1.weight", (out, time)
    yield f"{where}out_layers.3.weight", (out, out, 3, 3)
    if out != width:
        yield f"{where}skip_connection.weight", (out, width, 1, 1)


def _full_transformer(where: str, width: int, context: int, depth: int, *, convs: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    projection = (width, width, 1, 1) if convs else (width, width)
    if depth:
        yield f"{where}proj_in.weight", projection
        yield f"{where}proj_out.weight", projection
    for index in range(depth):
        inner = f"{where}transformer_blocks.{index}."
        for attention, read in (("attn1", width), ("attn2", context)):
            for letter, source in (("q", width), ("k", read), ("v", read)):
                yield f"{inner}{attention}.to_{letter}.weight", (width, source)
            yield f"{inner}{attention}.to_out.0.weight", (width, width)
        yield f"{inner}ff.net.0.proj.weight", (8 * width, width)
        yield f"{inner}ff.net.2.weight", (width, 4 * width)

"""SD 1.x checkpoints that are headers only: real names and shapes in the original layout, no data. For tests that must not load torch.

`write(path)` makes a file whose length fits its header (sparse, so that a full-size one takes no room on Linux).
"""

import json
import math
import struct
from pathlib import Path

FULL = (320, 640, 1280, 1280)
SMALL = (32, 64, 128, 128)
Shapes = dict[str, tuple[int, ...]]


def _linear(found: Shapes, name: str, out: int, width: int, *, bias: bool = True) -> None:
    found[f"{name}.weight"] = (out, width)
    if bias:
        found[f"{name}.bias"] = (out,)


def _conv(found: Shapes, name: str, out: int, width: int, kernel: int = 3) -> None:
    found[f"{name}.weight"], found[f"{name}.bias"] = (out, width, kernel, kernel), (out,)


def _norm(found: Shapes, name: str, width: int) -> None:
    found[f"{name}.weight"], found[f"{name}.bias"] = (width,), (width,)


def _resnet(found: Shapes, name: str, out: int, width: int, time: int) -> None:
    _norm(found, f"{name}.in_layers.0", width)
    _conv(found, f"{name}.in_layers.2", out, width)
    _linear(found, f"{name}.emb_layers.1", out, time)
    _norm(found, f"{name}.out_layers.0", out)
    _conv(found, f"{name}.out_layers.3", out, out)
    if out != width:
        _conv(found, f"{name}.skip_connection", out, width, 1)


def _attention(found: Shapes, name: str, width: int, context: int) -> None:
    _norm(found, f"{name}.norm", width)
    _conv(found, f"{name}.proj_in", width, width, 1)
    block = f"{name}.transformer_blocks.0"
    for attn, read in (("attn1", width), ("attn2", context)):
        _linear(found, f"{block}.{attn}.to_q", width, width, bias=False)
        for part in ("to_k", "to_v"):
            _linear(found, f"{block}.{attn}.{part}", width, read, bias=False)
        _linear(found, f"{block}.{attn}.to_out.0", width, width)
    _linear(found, f"{block}.ff.net.0.proj", 8 * width, width)
    _linear(found, f"{block}.ff.net.2", width, 4 * width)
    for number in (1, 2, 3):
        _norm(found, f"{block}.norm{number}", width)
    _conv(found, f"{name}.proj_out", width, width, 1)


def unet(widths: tuple[int, ...], context: int) -> Shapes:
    found: Shapes = {}
    time, root = 4 * widths[0], "model.diffusion_model."
    _linear(found, f"{root}time_embed.0", time, widths[0])
    _linear(found, f"{root}time_embed.2", time, time)
    _conv(found, f"{root}input_blocks.0.0", widths[0], 4)
    skips, width, number = [widths[0]], widths[0], 1
    for level, out in enumerate(widths):
        for _ in range(2):
            _resnet(found, f"{root}input_blocks.{number}.0", out, width, time)
            if level < 3:
                _attention(found, f"{root}input_blocks.{number}.1", out, context)
            width, number = out, number + 1
            skips.append(out)
        if level < 3:
            _conv(found, f"{root}input_blocks.{number}.0.op", out, out)
            skips.append(out)
            number += 1
    _resnet(found, f"{root}middle_block.0", width, width, time)
    _attention(found, f"{root}middle_block.1", width, context)
    _resnet(found, f"{root}middle_block.2", width, width, time)
    number = 0
    for level, out in reversed(list(enumerate(widths))):
        for layer in range(3):
            _resnet(found, f"{root}output_blocks.{number}.0", out, width + skips.pop(), time)
            if level < 3:
                _attention(found, f"{root}output_blocks.{number}.1", out, context)
            width = out
            if layer == 2 and level:
                _conv(found, f"{root}output_blocks.{number}.{2 if level < 3 else 1}.conv", out, out)
            number += 1
    _norm(found, f"{root}out.0", widths[0])
    _conv(found, f"{root}out.2", 4, widths[0])
    return found


def text_encoder(width: int, layers: int) -> Shapes:
    found: Shapes = {}
    root = "cond_stage_model.transformer.text_model."
    found[f"{root}embeddings.token_embedding.weight"] = (49408, width)
    found[f"{root}embeddings.position_embedding.weight"] = (77, width)
    for layer in range(layers):
        name = f"{root}encoder.layers.{layer}"
        for part in ("q", "k", "v", "out"):
            _linear(found, f"{name}.self_attn.{part}_proj", width, width)
        _linear(found, f"{name}.mlp.fc1", 4 * width, width)
        _linear(found, f"{name}.mlp.fc2", width, 4 * width)
        for number in (1, 2):
            _norm(found, f"{name}.layer_norm{number}", width)
    _norm(found, f"{root}final_layer_norm", width)
    return found


def shapes(widths: tuple[int, ...] = FULL, *, context: int = 768, layers: int = 12) -> Shapes:
    """The autoencoder is one layer: enough to be recognised, since nobody loads it."""
    found = unet(widths, context) | text_encoder(context, layers)
    _conv(found, "first_stage_model.decoder.conv_in", 512, 4)
    return found


def small() -> Shapes:
    """The proportions of the pocket model: a tenth as wide, 4 text layers."""
    return shapes(SMALL, context=128, layers=4)


def write(path: Path, found: Shapes | None = None, metadata: dict[str, str] | None = None) -> Path:
    """A float16 checkpoint of these shapes; `small()` when none are given."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    begin = 0
    for name, shape in (found or small()).items():
        end = begin + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
        begin = end
    raw = json.dumps(header).encode("utf-8")
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + begin)
    return path


POCKET_METADATA = {"modelspec.resolution": "128x128", "modelspec.encoder_layer": "1"}

"""The two upscaling networks, under the names that their published weights have. Inference only.

RRDBNet: Wang et al. 2018 (ESRGAN), with the folding of the input of Real-ESRGAN (Wang et al. 2021). Compact: the SRVGG-style network of
Real-ESRGAN. Tensors are (batch, channels, height, width), RGB from 0 to 1. Not here: tiles and pictures (upscaler.py).
"""

from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from lorabake import upscale_layouts, weights
from lorabake.errors import UserError
from lorabake.upscale_layouts import Layout

SLOPE = 0.2  # of the leaky rectifiers
RESIDUAL = 0.2  # how much of each block is added


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all that came before it."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for number in range(5):
            self.add_module(f"conv{number + 1}", _conv(features + number * growth, features if number == 4 else growth))

    def forward(self, x_bchw: torch.Tensor) -> torch.Tensor:
        seen = [x_bchw]
        for number in range(5):
            made = self.get_submodule(f"conv{number + 1}")(torch.cat(seen, 1))
            seen.append(functional.leaky_relu(made, SLOPE) if number < 4 else made)
        return seen[-1] * RESIDUAL + x_bchw


class ResidualBlock(nn.Module):
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(features, growth) for _ in range(3))

    def forward(self, x_bchw: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.rdb3(self.rdb2(self.rdb1(x_bchw))) * RESIDUAL + x_bchw)


class RRDBNet(nn.Module):
    """Residual blocks at the size of the input (folded by `unshuffle`), then doublings, each by nearest neighbours and a convolution."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        features = layout.num_features
        self.unshuffle, self.num_ups = layout.unshuffle, layout.num_ups
        self.conv_first = _conv(3 * layout.unshuffle**2, features)
        self.body = nn.Sequential(*(ResidualBlock(features, layout.growth) for _ in range(layout.num_blocks)))
        self.conv_body = _conv(features, features)
        for number in range(layout.num_ups):
            self.add_module(f"conv_up{number + 1}", _conv(features, features))
        self.conv_hr, self.conv_last = _conv(features, features), _conv(features, 3)

    def forward(self, x_bchw: torch.Tensor) -> torch.Tensor:
        first = self.conv_first(functional.pixel_unshuffle(x_bchw, self.unshuffle))
        x = first + self.conv_body(self.body(first))
        for number in range(self.num_ups):
            x = self.get_submodule(f"conv_up{number + 1}")(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
            x = functional.leaky_relu(x, SLOPE)
        return cast(torch.Tensor, self.conv_last(functional.leaky_relu(self.conv_hr(x), SLOPE)))


class Compact(nn.Module):
    """Plain convolutions at the size of the input; what they draw is added to the input enlarged by nearest neighbours."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.scale, features = layout.scale, layout.num_features
        layers: list[nn.Module] = [_conv(3, features), nn.PReLU(features)]
        for _ in range(layout.num_blocks):
            layers += [_conv(features, features), nn.PReLU(features)]
        self.body = nn.Sequential(*layers, _conv(features, 3 * layout.scale**2))

    def forward(self, x_bchw: torch.Tensor) -> torch.Tensor:
        drawn = functional.pixel_shuffle(self.body(x_bchw), self.scale)
        return drawn + functional.interpolate(x_bchw, scale_factor=float(self.scale), mode="nearest")


def load(path: Path) -> tuple[nn.Module, Layout]:
    """The network of a .pth or .safetensors file, on the CPU in float32. Raises UserError for what is none, and for code in a pickle."""
    layout, names = upscale_layouts.read(path)
    with torch.device("meta"):
        network = RRDBNet(layout) if layout.kind == "rrdb" else Compact(layout)
    tensors = weights.load_checkpoint(path, only=names.__contains__)
    if not all(tensor.is_floating_point() and tensor.isfinite().all() for tensor in tensors.values()):
        what = "some weights of this model are no numbers, or rounded to whole ones"
        raise UserError(what, where=str(path), allowed="float32, float16 or bfloat16", todo="download it again")
    try:  # copies: the file must not stay open
        values = {ours: tensors[theirs].to(torch.float32, copy=True) for theirs, ours in names.items()}
        network.load_state_dict(values, assign=True)
    except (RuntimeError, KeyError) as error:
        what = "the tensors of this model do not fit together"
        raise UserError(what, where=str(path), allowed=str(error).splitlines()[-1].strip(), todo="download it again") from error
    return network.eval().requires_grad_(False), layout

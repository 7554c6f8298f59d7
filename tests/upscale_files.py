"""Small upscaling models as files, in each of the ways in which tensors have been named; weights are random, or do something known."""

import re
from pathlib import Path

import torch
from safetensors.torch import save_file

from lorabake.upscale_layouts import Layout
from lorabake.upscale_nets import Compact, RRDBNet

RRDB = Layout("rrdb", 4, 8, 2, growth=4, num_ups=2)
COMPACT = Layout("compact", 2, 8, 3)


def tensors(layout=RRDB, seed=0):
    draws = torch.Generator().manual_seed(seed)
    network = RRDBNet(layout) if layout.kind == "rrdb" else Compact(layout)
    return {name: torch.randn(tensor.shape, generator=draws) * 0.1 for name, tensor in network.state_dict().items()}


def nearest(scale=2):
    """A compact model that repeats each pixel: what its convolutions draw is nothing."""
    return {name: torch.zeros_like(tensor) for name, tensor in tensors(Layout("compact", scale, 8, 3)).items()}


def between(state):
    """The naming of ESRGAN's second release."""
    names = {"conv_body": "trunk_conv", "conv_hr": "HRconv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_up3": "upconv3"}
    found = {}
    for name, tensor in state.items():
        layer, _, part = name.rpartition(".")
        found[re.sub(r"^body\.(\d+)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2", f"{names.get(layer, layer)}.{part}")] = tensor
    return found


def old(state, num_ups, num_blocks):
    """The naming of ESRGAN's first release: places in a sequence."""
    ups = [3 * number for number in range(1, num_ups + 1)]
    last = (ups[-1] + 2 if ups else 2, ups[-1] + 4 if ups else 4)
    places = {"conv_first": 0, "conv_hr": last[0], "conv_last": last[1], **{f"conv_up{n}": place for n, place in enumerate(ups, 1)}}
    found = {}
    for name, tensor in state.items():
        layer, _, part = name.rpartition(".")
        block = re.match(r"body\.(\d+)\.rdb(\d)\.conv(\d)", name)
        if block:
            found[f"model.1.sub.{block[1]}.RDB{block[2]}.conv{block[3]}.0.{part}"] = tensor
        else:
            found[f"model.1.sub.{num_blocks}.{part}" if layer == "conv_body" else f"model.{places[layer]}.{part}"] = tensor
    return found


def write(path: Path, state, wrapper=""):
    """.safetensors, or a pickle with the state under `wrapper`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    else:
        torch.save({wrapper: state} if wrapper else state, path)
    return path

"""A picture enlarged by an upscaling network, in tiles, on the card where it works, else on the processor.

Not here: the networks (upscale_nets.py), which pictures (flattener.py).
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from lorabake import console, errors, upscale_layouts, upscale_nets
from lorabake.errors import OutOfMemory, Stopped, UserError
from lorabake.upscale_layouts import Layout

TILE_PX, CPU_TILE_PX, LEAST_TILE_PX = 256, 96, 32  # side of what is enlarged at a time; halved where the memory is too small for it
MARGIN_PX = 32  # seen around each tile and cut off afterwards: what is further away hardly changes a pixel
MOST_PASSES = 3


@dataclass
class Upscaler:
    """An opened model. One picture at a time: the threads that read and write pictures wait for each other here.

    `note` says where it is in a large picture; after `stop` it gives up before the next tile.
    """

    name: str
    network: nn.Module
    layout: Layout
    device: torch.device
    dtype: torch.dtype = torch.float32
    tile_px: int = TILE_PX
    note: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Whatever is being enlarged ends at its next tile, with Stopped."""
        self.stopped.set()

    def to_size(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        """RGB enlarged until it has that size; what the network makes larger than that is shrunk."""
        for _ in range(MOST_PASSES):
            if image.size < size:
                image = self.enlarged(image)
        return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)

    def enlarged(self, image: Image.Image) -> Image.Image:
        """RGB, `scale` times as large."""
        pixels_chw = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1)
        with self.lock:
            made_chw = self._in_tiles(pixels_chw)
        return Image.fromarray(made_chw.permute(1, 2, 0).contiguous().numpy())

    @torch.inference_mode()
    def _in_tiles(self, pixels_chw: torch.Tensor) -> torch.Tensor:
        """uint8 in, uint8 out."""
        scale, (_, height, width) = self.layout.scale, pixels_chw.shape
        made_chw = torch.empty((3, height * scale, width * scale), dtype=torch.uint8)
        corners = list(self._corners(height, width))
        for number, (top, left) in enumerate(corners, 1):
            if self.stopped.is_set():
                raise Stopped("stopped before the picture was done; it is as it was")
            self.note = f"tile {number} of {len(corners)}" if len(corners) > 1 else ""
            bottom, right = min(top + self.tile_px, height), min(left + self.tile_px, width)
            above, before = max(0, top - MARGIN_PX), max(0, left - MARGIN_PX)
            seen_chw = pixels_chw[:, above : bottom + MARGIN_PX, before : right + MARGIN_PX]
            tile_chw = self._tile(seen_chw)
            if tile_chw is None:
                return self._in_tiles(pixels_chw)  # smaller tiles now
            y, x = (top - above) * scale, (left - before) * scale
            inner_chw = tile_chw[:, y : y + (bottom - top) * scale, x : x + (right - left) * scale]
            made_chw[:, top * scale : bottom * scale, left * scale : right * scale] = inner_chw
        return made_chw

    def _corners(self, height: int, width: int) -> Iterator[tuple[int, int]]:
        yield from ((top, left) for top in range(0, height, self.tile_px) for left in range(0, width, self.tile_px))

    def _tile(self, seen_chw: torch.Tensor) -> torch.Tensor | None:
        """One tile enlarged, or None after the tiles have been made smaller. Raises UserError where not even small ones fit."""
        height, width = seen_chw.shape[1:]
        step = self.layout.unshuffle
        try:
            x_bchw = seen_chw[None].to(self.device, self.dtype) / 255
            made_bchw = self.network(functional.pad(x_bchw, (0, -width % step, 0, -height % step), mode="replicate"))
        except RuntimeError as error:  # torch.OutOfMemoryError is one; on the processor it is a plain one
            if not isinstance(errors.translate(error), OutOfMemory):
                what = f"this model fails: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
                raise UserError(what, where=self.name, todo="--device cpu, or another model") from error
            if self.tile_px <= LEAST_TILE_PX:
                todo = "close other programs; or --device cpu; or a smaller model"
                raise UserError("there is no room in memory even for small tiles", where=self.name, todo=todo) from error
            self.tile_px //= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            return None
        if not made_bchw.isfinite().all():
            if self.dtype == torch.float32:
                raise UserError("this model draws values that are no numbers", where=self.name, todo="download it again, or use another")
            console.say(f"{self.name} overflows in fp16: going on in fp32")
            self.network, self.dtype = self.network.float(), torch.float32
            return self._tile(seen_chw)
        scaled_chw = made_bchw[0, :, : height * self.layout.scale, : width * self.layout.scale]
        return (scaled_chw.float().clamp(0, 1) * 255).round().to("cpu", torch.uint8)


def opened(path: Path, *, device: str | None = None) -> Upscaler:
    """`device` cuda or cpu; None: the card where it really works. Raises UserError for what is no such model."""
    upscale_layouts.enlarging(path)
    network, layout = upscale_nets.load(path)
    has_card = torch.cuda.is_available()
    if device == "cuda" and not has_card:
        raise UserError("torch sees no NVIDIA card here", where="--device cuda", todo="python py/setup.py --check says why; --device cpu")
    if device == "cpu" or not has_card:
        return Upscaler(path.name, network, layout, torch.device("cpu"), tile_px=CPU_TILE_PX)
    made = Upscaler(path.name, network.to("cuda", torch.float16), layout, torch.device("cuda"), torch.float16)
    try:
        made.enlarged(Image.new("RGB", (16, 16), "gray"))
    except (RuntimeError, UserError) as error:
        if device == "cuda":
            raise UserError(f"the card cannot be used: {str(error).splitlines()[0]}", where=path.name, todo="--device cpu") from error
        console.say(f"the card cannot be used ({str(error).splitlines()[0]}): the processor is")
        return opened(path, device="cpu")
    return made


def say_device(upscaler: Upscaler) -> None:
    console.say(
        f"upscaling {upscaler.layout.scale} times with {upscaler.name}, on the {'card' if upscaler.device.type == 'cuda' else 'CPU'}"
    )

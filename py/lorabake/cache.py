"""Latents: pictures encoded once, kept on disk under a key that says all they depend on, checked when read, rebuilt when damaged.

One file per picture, bucket and orientation in `<output>/.cache/latents/`. What is stored is a posterior sample, unscaled, float32,
drawn with a seed from the picture's own hash, so that a rebuilt cache equals the lost one. Not here: captions and order (dataset.py).
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lorabake import buckets, images, paths, plan_data
from lorabake.dataset import Batch
from lorabake.families import FAMILIES
from lorabake.plan import Plan

VERSION = "1"  # of the pixels that a picture becomes; a change in images.py that alters them raises it
CHUNK = 8  # pictures encoded together
Item = tuple[int, bool]  # (index of the picture in the plan, mirrored)


@dataclass(frozen=True)
class Encoder:
    """What turns pixels into latents: the models, their family's module and where they live."""

    models: Any
    family: ModuleType
    device: torch.device
    vae_hash: str


def vae_hash(vae: torch.nn.Module) -> str:
    """SHA-256 over the autoencoder's tensors, names and precision included: latents of another VAE or precision never match."""
    digest = hashlib.sha256()
    for name, tensor in sorted(vae.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def digest_of(latents: torch.Tensor) -> str:
    return hashlib.sha256(latents.contiguous().numpy().tobytes()).hexdigest()


class Latents:
    """The latents of a plan's pictures. `batch()` gives (b, 4, h/8, w/8) float32, unscaled, on the encoder's device."""

    def __init__(self, plan: Plan, encoder: Encoder, folder: Path, content_hashes: Sequence[str]) -> None:
        self.plan, self.encoder, self.folder, self.content_hashes = plan, encoder, folder, content_hashes
        resolution = plan.data.resolution or 0
        self.grid = resolution, plan_data.bucket_step(resolution, FAMILIES[plan.family])
        self.held: dict[Item, torch.Tensor] = {}
        self.num_read = self.num_made = self.num_damaged = 0

    def key(self, item: Item) -> str:
        index, flipped = item
        picture = self.plan.pictures[index]
        data = self.plan.data
        how = (data.background, data.upscale_small, data.buckets)  # from the picture to the bucket's pixels
        parts = (VERSION, self.content_hashes[index], picture.bucket, self.encoder.vae_hash, how, flipped)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def file(self, item: Item) -> Path:
        key = self.key(item)
        return self.folder / key[:2] / f"{key}.safetensors"

    def items(self) -> list[Item]:
        """Everything that the run may ask for, pictures of one bucket next to each other so that they are encoded together."""
        flips = (False, True) if self.plan.data.flip else (False,)
        found = [(i, flipped) for i, p in enumerate(self.plan.pictures) for flipped in (flips if not p.holdout else (False,))]
        return sorted(found, key=lambda item: (self.plan.pictures[item[0]].bucket, item))

    def read(self, item: Item) -> torch.Tensor | None:
        """The stored latents, or None when there are none or they are not what they should be."""
        path = self.file(item)
        if not path.exists():
            return None
        width, height = self.plan.pictures[item[0]].bucket
        try:
            with safe_open(path, framework="pt") as file:
                latents = file.get_tensor("latents").clone()
                expected = (file.metadata() or {}).get("sha256")
        except (SafetensorError, OSError, ValueError):
            latents, expected = None, None
        if (
            latents is None
            or latents.shape[1:] != (height // 8, width // 8)
            or digest_of(latents) != expected
            or not latents.isfinite().all()
        ):
            self.num_damaged += 1
            return None
        return latents

    def write(self, item: Item, latents: torch.Tensor) -> None:
        path = self.file(item)
        path.parent.mkdir(parents=True, exist_ok=True)
        with paths.replacing(path) as aside:
            save_file({"latents": latents}, aside, metadata={"sha256": digest_of(latents)})

    def pixels(self, item: Item) -> torch.Tensor:
        """(3, h, w) float32 in [-1, 1], composited, rotated, cropped to its bucket as the trainer sees it."""
        picture = self.plan.pictures[item[0]]
        image = images.composite(Path(picture.path), self.plan.data.background)
        covers = self.plan.data.upscale_small or not self.plan.data.buckets
        placed = None if covers else buckets.placement_no_upscale(image.size, *self.grid)
        image = images.fit(image, picture.bucket, placed=placed)
        chw = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1
        return chw.flip(-1) if item[1] else chw

    def encode(self, items: Sequence[Item], pixels: Sequence[torch.Tensor]) -> torch.Tensor:
        """(b, 4, h/8, w/8) float32 on the CPU; a result that is not finite is made again in float32 (fp16 can overflow)."""
        encoder = self.encoder
        if encoder.device.type == "cpu" and len(items) > 1:
            # Sums depend on the batch in their last bits. One by one, what is rebuilt after a kill or damage is the same to the bit.
            return torch.cat([self.encode([item], [chw]) for item, chw in zip(items, pixels, strict=True)])
        seeds = [int(self.content_hashes[index][:15], 16) + flipped for index, flipped in items]
        batch = torch.stack(list(pixels)).to(encoder.device)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        latents = encoder.family.encode_image(encoder.models, batch, generators).float().cpu()
        if not latents.isfinite().all():
            vae, before = encoder.models.vae, encoder.models.vae.dtype
            vae.float()
            generators = [torch.Generator().manual_seed(seed) for seed in seeds]
            latents = encoder.family.encode_image(encoder.models, batch, generators).float().cpu()
            vae.to(before)
        return latents

    def make(self, items: Sequence[Item], *, on_disk: bool) -> Iterator[Item]:
        """Encode `items` while the next ones are being decoded on threads and finished ones written."""
        chunks = list(self.chunks(items))
        with ThreadPoolExecutor(max_workers=3) as pool:

            def decode(chunk: Sequence[Item]) -> list[Future[torch.Tensor]]:
                return [pool.submit(self.pixels, item) for item in chunk]

            ahead = deque(decode(chunk) for chunk in chunks[:2])
            writes: list[Future[None]] = []
            written: set[Path] = set()  # two copies of one picture have one file, which two threads must not write at once
            for number, chunk in enumerate(chunks):
                pixels = [future.result() for future in ahead.popleft()]
                if number + 2 < len(chunks):
                    ahead.append(decode(chunks[number + 2]))
                for item, latents in zip(chunk, self.encode(chunk, pixels), strict=True):
                    self.held[item] = latents.contiguous().clone(memory_format=torch.contiguous_format)
                    self.num_made += 1
                    if on_disk and self.file(item) not in written:
                        written.add(self.file(item))
                        writes.append(pool.submit(self.write, item, self.held[item]))
                    yield item
            for write in writes:
                write.result()

    def chunks(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        """Items of one bucket in groups of at most CHUNK pictures of 512 x 512 px, fewer where they are larger."""
        chunk: list[Item] = []
        for item in items:
            bucket = self.plan.pictures[item[0]].bucket
            room = max(1, CHUNK * 512 * 512 // max(bucket[0] * bucket[1], 512 * 512))
            if chunk and (len(chunk) >= room or self.plan.pictures[chunk[0][0]].bucket != bucket):
                yield chunk
                chunk = []
            chunk.append(item)
        if chunk:
            yield chunk

    def prepare(self, progress: Callable[[int, int], None]) -> None:
        """Read what is cached, make the rest. With data.cache `off` nothing is held and batches are encoded as they come."""
        if self.plan.data.cache == "off":
            return
        on_disk = self.plan.data.cache == "disk"
        items = self.items()
        missing = []
        for item in items:
            latents = self.read(item) if on_disk else None
            if latents is None:
                missing.append(item)
            else:
                self.held[item] = latents
                self.num_read += 1
        for _ in self.make(missing, on_disk=on_disk):
            progress(len(self.held), len(items))

    def of(self, items: Sequence[Item]) -> torch.Tensor:
        if self.plan.data.cache == "off":
            return self.encode(items, [self.pixels(item) for item in items]).to(self.encoder.device)
        return torch.stack([self.held[item] for item in items]).to(self.encoder.device)

    def batch(self, batch: Batch) -> torch.Tensor:
        return self.of([(look.picture, look.flipped) for look in batch.looks])

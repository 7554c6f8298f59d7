"""What the tests of cache, trainer and bake share: a few coloured pictures, a tiny base model, a plan on top, and its parts laid out."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import tiny
from lorabake import bake, hardware, plan, profile, trainer
from lorabake.plan import Plan

QUICK = {
    "network.rank": "4",
    "train.epochs": "2",
    "train.batch_size": "2",
    "train.mixed_precision": "fp32",
    "train.optimizer": "AdamW",
    "train.device": "cpu",
    "train.unet_lr": "1e-3",
    "data.resolution": "64",
    "data.holdout": "0",
    "samples.every_epochs": "0",
    "samples.prompts": "[blocks]",
    "samples.seeds": "[1]",
    "samples.steps": "2",
    "samples.size": "64",
}


def draw(path: Path, seed: int, *, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> Path:
    """A picture of coloured blocks, its caption beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 4 if mode == "RGBA" else 3), np.uint8)
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(path)
    path.with_suffix(".txt").write_text(f"blocks, number {seed}", encoding="utf-8")
    return path


def profile_file(folder: Path, *, count: int = 4) -> Path:
    """A folder of `count` pictures (every third one wide), a base model and a profile; made once, then only found."""
    path = folder / "style.yaml"
    if not path.exists():
        for number in range(count):
            draw(folder / f"set/1_blocks/{number}.png", number, size=(96, 40) if number % 3 == 2 else (64, 64))
        base = tiny.sd1_file(folder)
        path.write_text(f"name: style\nbase_model: {base.name}\nimages: set\noutput: out\n", encoding="utf-8")
    return path


def make(folder: Path, settings: Mapping[str, str] | None = None, *, count: int = 4) -> Plan:
    path = profile_file(folder, count=count)
    return plan.make(profile.load(path, [f"{key}={value}" for key, value in {**QUICK, **(settings or {})}.items()]), hardware.Seen(()))


def content_hashes(made: Plan) -> list[str]:
    return [hashlib.sha256(Path(picture.path).read_bytes()).hexdigest() for picture in made.pictures]


def laid_out(made: Plan) -> trainer.Kit:
    return bake.lay_out(made, content_hashes(made))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, as a machine with another load may divide them otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

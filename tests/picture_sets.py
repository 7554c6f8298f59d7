"""Folders of tiny pictures and a loaded profile on top, for the tests of scan and plan. The base model is a header only (sd1_header.py)."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

import sd1_header
from lorabake import hardware, plan, profile

CARD_12 = hardware.Card(
    index=0, name="NVIDIA GeForce RTX 3060", vram_gib=12.0, free_gib=11.2, compute=(8, 6), driver=(560, 94), uuid="GPU-1"
)
CARD_6 = hardware.Card(index=0, name="NVIDIA GeForce GTX 1060", vram_gib=6.0, free_gib=5.4, compute=(6, 1), driver=(560, 94), uuid="GPU-2")


def picture(path: Path, caption: str | None = None, *, size: tuple[int, int] = (128, 128), mode: str = "1") -> Path:
    """A plain picture; its caption beside it unless None. Mode "1" is the quickest to write at any size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def pictures(folder: Path, count: int, *, size: tuple[int, int] = (128, 128), caption: str | None = "a drawing of number {}") -> Path:
    """`count` pictures named 000.png and on, by copying one file."""
    first = picture(folder / "000.png", size=size)
    for number in range(count):
        path = folder / f"{number:03}.png"
        if number:
            path.write_bytes(first.read_bytes())
        if caption is not None:
            path.with_suffix(".txt").write_text(caption.format(number), encoding="utf-8")
    return folder


def load(folder: Path, images: Path, settings: Mapping[str, str] | None = None, *, base: Path | None = None) -> profile.Loaded:
    """A profile on `images`; `settings` by dotted key as typed."""
    folder.mkdir(parents=True, exist_ok=True)
    base = base or sd1_header.write(folder / "base.safetensors", metadata=sd1_header.POCKET_METADATA)
    lines = ["name: style", f"base_model: '{base}'", f"images: '{images}'", f"output: '{folder / 'out'}'"]
    path = folder / "style.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return profile.load(path, [f"{key}={value}" for key, value in (settings or {}).items()])


def make(tmp_path: Path, images: Path, settings: Mapping[str, str] | None = None, *, full: bool = False, cards: tuple = ()) -> plan.Plan:
    """The plan of `load(...)`; on the pocket-sized base, or on a full-size one."""
    base = None
    if full:
        base = tmp_path / "full.safetensors"
        base = base if base.exists() else sd1_header.write(base, sd1_header.shapes())
    return plan.make(load(tmp_path / "p", images, settings, base=base), hardware.Seen(tuple(cards)))

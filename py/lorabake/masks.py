"""Masks: which places of a picture count in the loss. `_masks/<stem>.png` beside the picture, grey, of the upright picture's size.

White is learned, black is left out, as the masked loss of other trainers reads it. Not here: the loss itself, and
writing the file, which the caller does through the journal.
"""

import io
from pathlib import Path

from PIL import Image

from lorabake import images, paths
from lorabake.damage import reading
from lorabake.errors import UserError
from lorabake.repaint import Box

FOLDER = "_masks"
LEARNED, LEFT_OUT = 255, 0


def path_of(picture: Path) -> Path:
    return picture.parent / FOLDER / f"{picture.stem}.png"


def read(picture: Path, size: tuple[int, int]) -> Image.Image | None:
    """The picture's mask in mode L and at `size`, None without one. Raises ImageError for a damaged file."""
    path = path_of(picture)
    if not path.exists():
        return None
    mask = images.layers(path).colour.convert("L")
    with reading(path):
        return mask if mask.size == size else mask.resize(size, Image.Resampling.NEAREST)


def without(mask: Image.Image | None, size: tuple[int, int], box: Box) -> Image.Image:
    """The mask, or a new one that learns everything, with the rectangle left out too."""
    found = Image.new("L", size, LEARNED) if mask is None else mask.copy()
    left, top, width, height = box
    found.paste(LEFT_OUT, (left, top, left + width, top + height))
    return found


def after_crop(picture: Path, size: tuple[int, int], box: Box) -> dict[Path, bytes | None]:
    """What is written with a picture of `size` cropped to `box`: its mask's part, None where that learns everything; {} without a mask.

    Raises ImageError for a damaged mask.
    """
    mask = read(picture, size)
    if mask is None:
        return {}
    part = cropped(mask, box)
    return {path_of(picture): packed(part) if part else None}


def cropped(mask: Image.Image, box: Box) -> Image.Image | None:
    """The part that belongs to a cropped picture; None where all of it is learned."""
    left, top, width, height = box
    part = mask.crop((left, top, left + width, top + height))
    return None if part.getextrema() == (LEARNED, LEARNED) else part


def packed(mask: Image.Image) -> bytes:
    """The file's bytes."""
    buffer = io.BytesIO()
    mask.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def share_left_out(mask: Image.Image) -> float:
    """How much of the picture does not count, 0 to 1."""
    return 1 - sum(level * count for level, count in enumerate(mask.histogram())) / (255 * mask.width * mask.height)


def overlay(mask: Image.Image) -> bytes:
    """A PNG that is opaque where the mask leaves out and clear elsewhere, for a page to hatch."""
    shown = Image.new("LA", mask.size)
    shown.putalpha(mask.point([255 - level for level in range(256)]))
    buffer = io.BytesIO()
    shown.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def check_alone(picture: Path) -> None:
    """Raises UserError where another picture of the folder has this one's name but for the ending: both would have this mask."""
    twins = [path.name for path in paths.visible(picture.parent) if path.stem == picture.stem and path != picture]
    twins = [name for name in twins if Path(name).suffix.lower() in images.EXTENSIONS]
    if twins:
        what = f"{twins[0]} and {picture.name} would share one mask, which is found by the name before the ending"
        raise UserError(what, where=str(picture.parent), todo="give one of them another name, its caption too")

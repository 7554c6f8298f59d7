"""Pictures: headers without decoding, one compositor for everything that looks at pixels, and fitting into a bucket.

Pillow does the work. Not here: which bucket (buckets.py), rewriting users' files (flattener.py), latents (cache.py).
"""

import io
import os
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageColor, ImageOps, UnidentifiedImageError, features

from lorabake.buckets import placement
from lorabake.errors import UserError

EXTENSIONS = frozenset(
    [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", *([".avif"] if features.check("avif") else [])]
)
MAX_PIXELS = 300_000_000  # 17 000 px square; more is a mistake or an attack, and would take gigabytes
SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")
ORIENTATION = 0x0112
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
CHECKER_PX = 8
CHECKER_GREYS = (255, 204)
# What Pillow's decoders raise on damaged files, found by fuzzing; anything else is our bug.
DAMAGE = (OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, EOFError, OverflowError, struct.error, MemoryError, ZeroDivisionError, RuntimeError)


class ImageError(UserError):
    """A picture that cannot be used; the text names the file."""


@dataclass(frozen=True)
class Header:
    """`width`, `height` in px as seen, EXIF rotation applied. `has_alpha`: it may have transparency; only pixels tell whether it has."""

    width: int
    height: int
    mode: str
    format: str
    has_alpha: bool
    frames: int


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The file opened by Pillow, whatever its extension; ImageError for what is no readable picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about oddities in metadata; pixels are what counts here
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError(f"{path.name} has {image.width} x {image.height} px, more than can be read", where=str(path), todo="make it smaller")
                yield image
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path.name} is not there (any more)", where=str(path)) from error
    except PermissionError as error:
        raise ImageError(f"{path.name} may not be read", where=str(path), todo="close the program that has it open, or check its permissions") from error
    except UnidentifiedImageError as error:
        empty = path.stat().st_size == 0
        raise ImageError(f"{path.name} is {'empty (0 bytes)' if empty else 'no picture that can be read'}", where=str(path)) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path.name} is far too large", where=str(path), allowed=str(error), todo="make it smaller") from error
    except DAMAGE as error:
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise ImageError(f"{path.name} is damaged or cut off ({reason})", where=str(path)) from error


def header(path: Path) -> Header:
    """Size and kind of a picture from its header; nothing is decoded. Raises ImageError."""
    with opened(path) as image:
        width, height = image.size
        if image.getexif().get(ORIENTATION) in TURNED:
            width, height = height, width
        return Header(width, height, image.mode, image.format or "?", image.has_transparency_data, getattr(image, "n_frames", 1))


def composite(path: Path, background: str = "white") -> Image.Image:
    """The picture as everything here sees it: RGB in sRGB, upright, first frame, transparency laid on `background`.

    `background`: #rgb, #rrggbb, a CSS name, `dominant` (the most frequent visible colour) or `checker`. Colours hidden under full
    transparency never show. Raises ImageError naming the file.
    """
    with opened(path) as image:
        image.seek(0) if getattr(image, "n_frames", 1) > 1 else None
        image.load()
        profile = image.info.get("icc_profile")
        upright = ImageOps.exif_transpose(image)
        if not upright.has_transparency_data:
            return to_srgb(depth_8(upright), profile)
        with_alpha = depth_8(upright)
        alpha = with_alpha.convert("RGBA").getchannel("A")
        colours = to_srgb(with_alpha.convert("LA").getchannel("L") if with_alpha.mode == "LA" else with_alpha.convert("RGBA").convert("RGB"), profile)
        canvas = backdrop(background, colours, alpha)
        canvas.paste(colours, (0, 0), alpha)
        return canvas


def depth_8(image: Image.Image) -> Image.Image:
    """16-bit and float greys scaled to 8 bits (Pillow's own conversion would clip them), everything else as it is."""
    if image.mode in SIXTEEN_BIT:
        return Image.fromarray((np.asarray(image).astype(np.uint32) * 255 // 65535).astype(np.uint8))
    if image.mode == "I":
        values = np.asarray(image)
        top = 65535 if values.max(initial=0) > 255 else 255
        return Image.fromarray((values.clip(0, top).astype(np.int64) * 255 // top).astype(np.uint8))
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        top = 1.0 if values.max(initial=0) <= 1.0 else 65535.0 if values.max() > 255 else 255.0
        return Image.fromarray((values.clip(0, top) * (255 / top) + 0.5).astype(np.uint8))
    return image


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB in sRGB: through the embedded profile where there is a usable one for this mode, else by Pillow's plain conversion."""
    if profile and image.mode in ("RGB", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None  # a damaged profile, or one of another colour model; the picture itself is fine
        if converted is not None:
            return converted
    return image.convert("RGB")


def backdrop(background: str, colours: Image.Image, alpha: Image.Image) -> Image.Image:
    """An RGB canvas of the size of `colours`."""
    if background == "checker":
        x, y = np.meshgrid(np.arange(colours.width) // CHECKER_PX, np.arange(colours.height) // CHECKER_PX)
        return Image.fromarray(np.choose((x + y) % 2, CHECKER_GREYS).astype(np.uint8)).convert("RGB")
    colour = dominant(colours, alpha) if background == "dominant" else ImageColor.getrgb(background)[:3]
    return Image.new("RGB", colours.size, colour)


def dominant(colours: Image.Image, alpha: Image.Image) -> tuple[int, int, int]:
    """The mean of the most frequent of 4096 colour cells among visible pixels; white where nothing is visible."""
    visible = np.asarray(colours)[np.asarray(alpha) >= 128]
    if not len(visible):
        return 255, 255, 255
    cells = (visible >> 4).astype(np.int32) @ np.array([256, 16, 1], dtype=np.int32)
    chosen = visible[cells == np.bincount(cells).argmax()]
    red, green, blue = (int(value) for value in chosen.mean(0).round())
    return red, green, blue


def fit(image: Image.Image, bucket: tuple[int, int]) -> Image.Image:
    """Exactly bucket-sized: scaled to cover it, then the middle cropped (buckets.placement).

    Lanczos both ways: when it shrinks, Pillow widens the filter by the scale, so every source pixel counts as with an area mean,
    and lines stay crisper than with the mean itself.
    """
    place = placement(image.size, bucket)
    if image.size != place.resized:
        image = image.resize(place.resized, Image.Resampling.LANCZOS)
    return image.crop((place.left, place.top, place.left + bucket[0], place.top + bucket[1]))


def decode_all(paths: Sequence[Path], progress: Callable[[int], None]) -> list[ImageError]:
    """Read every picture to its last pixel, on threads; all that cannot be, in order."""

    def attempt(path: Path) -> ImageError | None:
        try:
            composite(path)
        except ImageError as error:
            return error
        return None

    found = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for done, error in enumerate(pool.map(partial(attempt), paths), start=1):
            progress(done)
            if error:
                found.append(error)
    return found

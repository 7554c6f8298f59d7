"""Picture files: their headers, and their pixels as the trainer, the tagger and the pages all see them.

What a file is, its content decides, never its name. Everything that can be wrong with a file becomes an ImageError, whose one line begins
with the path. Not here: colours and transparency in memory (pixels.py), which bucket a picture goes to (buckets.py).
"""

import os
import warnings
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

# The readers are imported by name: Image.open would import all of Pillow's fifty when asked for one that is not there yet.
from PIL import (  # noqa: F401
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from lorabake import buckets, paths, pixels, webp
from lorabake.damage import DAMAGE, ImageError, reading

HAS_AVIF = bool(features.check("avif"))
SUFFIXES = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
}
EXTENSIONS = frozenset((".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", *((".avif",) if HAS_AVIF else ())))
READERS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", *(("AVIF",) if HAS_AVIF else ()))
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TAIL_BYTES = 65536  # where a PNG's EXIF may lie behind its pixels
MOST_THREADS = 4  # each holds one picture in memory
# What a PNG's raw data is read as, and by what its transparent level must be multiplied to be one of the pixels that Pillow gives.
LEVEL_SCALES = {"L;2": 85, "L;4": 17}
# Readers warn about odd files on stderr, into the progress bar. What matters is raised, and said by name here.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class Header:
    """Size in px as seen, after EXIF rotation. `mode` and `format` are Pillow's names ("RGBA", "PNG").

    `frames` over 1: only the first is used; those of GIF and WebP are not counted beyond 2. `note` says what is odd, such as a wrong
    extension, else "".
    """

    width: int
    height: int
    mode: str
    format: str
    has_alpha: bool
    frames: int
    note: str = ""


def header(path: Path) -> Header:
    """What the file's header says; no pixel is decoded. Raises ImageError."""
    with reading(path), open(paths.long_path(path), "rb") as file:  # noqa: PTH123  (long_path is text)
        found = _webp_header(file) or _any_header(file)
    note = "" if path.suffix.lower() in SUFFIXES[found.format] else f"is a {found.format} picture in spite of its name"
    return replace(found, note=note)


def _any_header(file: BinaryIO) -> Header:
    image, orientation = _opened(file)
    width, height = image.size if orientation < 5 else image.size[::-1]
    return Header(width, height, image.mode, _kind(image), image.has_transparency_data, _frames(image))


def _webp_header(file: BinaryIO) -> Header | None:
    found = webp.read(file)
    if found is None or found.width * found.height > 2 * (Image.MAX_IMAGE_PIXELS or 0):
        return None
    width, height = (found.width, found.height) if _orientation(found.info) < 5 else (found.height, found.width)
    return Header(width, height, "RGBA" if found.has_alpha else "RGB", "WEBP", found.has_alpha, 1 + found.animated)


def composite(path: Path, background: str, *, near_px: int = 0) -> Image.Image:
    """The picture in RGB: first frame, upright, sRGB, transparency laid on `background`.

    `background` is "#rrggbb", "#rgb", a CSS colour's name, `dominant` or `checker`. With `near_px` a JPEG may come in a half, a quarter or
    an eighth of its size, no side below that: for thumbnails. Raises ImageError; UserError for another background.
    """
    found = layers(path, near_px=near_px)
    with reading(path):
        rgb = pixels.to_srgb(found.colour, found.info.get("icc_profile"))
    return found.upright(rgb if found.alpha is None else pixels.flatten(rgb, found.alpha, background))


@dataclass(frozen=True)
class Layers:
    """A decoded first frame as the file stores it, neither turned nor converted.

    `colour` is 8-bit L, RGB, CMYK or LAB; `alpha` is L, None where everything is opaque; `info` is what else Pillow read (profile, dpi).
    """

    colour: Image.Image
    alpha: Image.Image | None
    orientation: int
    info: dict[Any, Any]
    mode: str
    format: str

    def upright(self, image: Image.Image) -> Image.Image:
        """`image`, made of these layers, turned as EXIF says."""
        return image.transpose(TURNS[self.orientation]) if self.orientation in TURNS else image


def layers(path: Path, *, near_px: int = 0) -> Layers:
    """Decode the file; `near_px` as in `composite`. Raises ImageError."""
    image, orientation = _loaded(path, near_px)
    with reading(path):
        colour, alpha = pixels.split(image)
    kind = _kind(image)
    if alpha is not None and (alpha.getextrema() == (255, 255) or (kind == "BMP" and alpha.getextrema() == (0, 0))):
        alpha = None  # BMP: many programs leave its fourth byte at 0 and mean nothing by it
    return Layers(colour, alpha, orientation, image.info, image.mode, kind)


def decode_all(files: Iterable[Path], progress: Callable[[int], object] | None = None) -> list[ImageError]:
    """Decode every file and return what is wrong, in the order of `files`. `progress` gets how many are done."""
    found = []
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        for done, problem in enumerate(pool.map(_problem, files), 1):
            if problem:
                found.append(problem)
            if progress:
                progress(done)
    return found


def fit(image: Image.Image, bucket: tuple[int, int], *, placed: buckets.Placement | None = None) -> Image.Image:
    """The picture at exactly the bucket's size: scaled to cover it, then cropped in the centre (or as `placed` says).

    Shrinking uses Pillow's HAMMING, enlarging LANCZOS. The reference shrinks with OpenCV's area average, enlarges with Pillow's LANCZOS.
    Of Pillow's filters HAMMING is nearest to the true area average where the ratio is no whole number (BOX leaves out or repeats whole
    pixels there, with twice the moire), it lets less moire through than the area average itself, and unlike LANCZOS and BICUBIC it has
    no overshoot, so that black outlines get no bright rims that would be learned. tests/test_images.py measures all three.
    """
    if placed is None or placed.left + bucket[0] > placed.resized[0] or placed.top + bucket[1] > placed.resized[1]:
        placed = buckets.placement(image.size, bucket)  # also where `placed` was made for another bucket and would leave a black rim
    left, top, (width, height) = placed.left, placed.top, placed.resized
    if placed.resized == image.size:
        return image.crop((left, top, left + bucket[0], top + bucket[1]))
    across, down = image.width / width, image.height / height
    kept = (left * across, top * down, (left + bucket[0]) * across, (top + bucket[1]) * down)  # only what the crop keeps is computed
    within = (kept[0], kept[1], min(kept[2], image.width), min(kept[3], image.height))
    return image.resize(bucket, Image.Resampling.LANCZOS if across < 1 or down < 1 else Image.Resampling.HAMMING, box=within)


def _problem(path: Path) -> ImageError | None:
    try:
        _loaded(path)
    except ImageError as error:
        return error
    return None


def _loaded(path: Path, near_px: int = 0) -> tuple[Image.Image, int]:
    """The decoded first frame as the file stores it, and its EXIF orientation. Raises ImageError."""
    with reading(path), open(paths.long_path(path), "rb") as file:  # noqa: PTH123
        image, orientation = _opened(file)
        if image.mode not in pixels.MODES:
            raise ValueError(f"pixels of the kind {image.mode}")
        if image.format == "PNG":
            _verify(file)
        if near_px and image.format == "JPEG":
            image.draft(None, (near_px, near_px))
        image.load()
        return image, orientation


def _verify(file: BinaryIO) -> None:
    """Check every chunk's sum: Pillow skips those of the pixels, and a flipped bit can decode to a wrong picture."""
    here = file.tell()
    file.seek(0)
    Image.open(file, formats=("PNG",)).verify()
    file.seek(here)


def _opened(file: BinaryIO) -> tuple[Image.Image, int]:
    """The image with only its header read, and its orientation."""
    image = Image.open(file, formats=READERS)
    if min(image.size) < 1:
        raise ValueError("a size of 0 px")
    if image.format == "PNG":
        _scale_transparent_level(image)
        if "exif" not in image.info and (late := _late_exif(file)):
            image.info["exif"] = late
    # TIFF is turned by Pillow itself, size included
    return image, 1 if image.format == "TIFF" else _orientation(image.info)


def _kind(image: Image.Image) -> str:
    """The file's format; a JPEG with further pictures in it (MPO) is a JPEG."""
    return "JPEG" if image.format in ("JPEG", "MPO") else "BMP" if image.format == "DIB" else str(image.format)


def _frames(image: Image.Image) -> int:
    """Further pictures in a JPEG are previews or depth maps. A GIF would have to be read as a whole; that it loops says enough."""
    if image.format == "MPO":
        return 1
    if image.format == "GIF":
        return 1 + ("loop" in image.info)
    return int(getattr(image, "n_frames", 1))


def num_frames(path: Path) -> int:
    """How many pictures the file holds, all counted, which for GIF reads the whole file. Raises ImageError."""
    with reading(path), open(paths.long_path(path), "rb") as file:  # noqa: PTH123
        image, _ = _opened(file)
        return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))


def _scale_transparent_level(image: Image.Image) -> None:
    """PNG writes its transparent level in the file's own bits; Pillow keeps it so, though it gives pixels of 8 bits."""
    clear = image.info.get("transparency")
    tiles = getattr(image, "tile", None)
    raw = tiles[0][3] if tiles else None
    if isinstance(clear, int) and raw == "1":
        image.info["transparency"] = 255 if clear else 0  # newer Pillows do this themselves
    elif isinstance(clear, int) and raw in LEVEL_SCALES:
        image.info["transparency"] = clear * LEVEL_SCALES[raw]
    elif isinstance(clear, tuple) and raw == "RGB;16B":
        image.info["transparency"] = tuple(level >> 8 for level in clear)


def _orientation(info: dict[Any, Any]) -> int:
    """EXIF orientation 1 to 8 from what a header holds; damaged EXIF says nothing."""
    stub = Image.Image()  # PngImageFile's own getexif would decode all pixels
    stub.info = info
    try:
        found = stub.getexif().get(ORIENTATION, 1)
    except DAMAGE:
        return 1
    return found if isinstance(found, int) and found in TURNS else 1


def _late_exif(file: BinaryIO) -> bytes | None:
    """The eXIf chunk of a PNG that has it behind its pixels."""
    here = file.tell()
    try:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        tail = file.read()
    finally:
        file.seek(here)
    at = tail.rfind(b"eXIf")
    if at < 4:
        return None
    end = at + 4 + int.from_bytes(tail[at - 4 : at], "big")
    whole = zlib.crc32(tail[at:end]) == int.from_bytes(tail[end : end + 4], "big")
    return b"Exif\0\0" + tail[at + 4 : end] if whole else None

"""One picture file made anew in its own format: transparency laid on a colour, covered in places, cropped, shrunk. ImageMagick or Pillow.

ImageMagick (wand) keeps what Pillow cannot hold, 16 bits a channel above all; where it is not installed Pillow does the same work and the
caller is told what was lost. Not here: which pictures need it, and keeping the originals (flattener.py).
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, JpegImagePlugin

from lorabake import images, magick, pixels
from lorabake.damage import reading
from lorabake.journal import ORIGINALS

PNG_LEVEL = 3  # of zlib: a third of the time of ImageMagick's own choice at the same size, with a filter chosen per row
WAND_PNG = PNG_LEVEL * 10 + 5  # ImageMagick's way of writing that: tens are the level, 5 the adaptive filter
WAND_FORMATS = {"PNG", "WEBP", "GIF", "TIFF", "BMP"}
SEVERAL_FRAMES = {"PNG", "WEBP", "GIF", "TIFF", "AVIF"}
DEPTH_LOST = "16 bits a channel became 8"  # where Pillow did ImageMagick's work
BEST_LOSSY = 95
LONGEST_UPSCALED_PX = 8192  # of strips: WebP ends at 16383 px, and a bake crops what is much longer than wide
ORIENTATION = 0x0112
BITS_PER_SAMPLE = 258  # TIFF's tag
Box = tuple[int, int, int, int]  # x, y, width, height in px of the upright picture


@dataclass(frozen=True)
class Upscale:
    """Pictures whose shorter side is under `side_px` are enlarged to it. `enlarge` takes an RGB picture and the size that it shall have.

    `note` says at any time what it is at; after `stop` it gives up soon. Neither has anything to do in a dry run.
    """

    side_px: int
    model: str
    enlarge: Callable[[Image.Image, tuple[int, int]], Image.Image]
    note: Callable[[], str] = str
    stop: Callable[[], object] = str


@dataclass(frozen=True)
class Wish:
    """What is to be done to one picture. `crop` and `blanks` in px of the upright picture; `max_side_px` shrinks, and limits upscaling.

    Each of `blanks` is covered with `fill`: a colour, or `edge` for the most common one around it (pixels.cover).
    """

    background: str = "white"
    blanks: tuple[Box, ...] = ()
    fill: str = "edge"
    crop: Box | None = None
    upscale: Upscale | None = None
    max_side_px: int | None = None


@cache
def imagemagick() -> str | None:
    """ImageMagick's version line, None where wand does not find it."""
    magick.prepare()
    try:
        from wand.resource import limits
        from wand.version import MAGICK_VERSION
    except (ImportError, OSError):
        return None
    limits["thread"] = 1  # the pictures are shared among threads, not each picture
    return str(MAGICK_VERSION)


def needed(found: images.Layers, wish: Wish) -> list[str]:
    """Which of "flatten", "blank", "crop", "upscale", "shrink" change this picture; none: the file can stay as it is."""
    size = found.upright(Image.new("1", found.colour.size)).size
    if wish.crop:
        size = wish.crop[2:]
    steps = ["flatten"] if found.alpha is not None else []
    steps += ["blank"] if wish.blanks else []
    steps += ["crop"] if wish.crop else []
    wanted = sized(size, wish)
    return steps + (["upscale"] if wanted > size else ["shrink"] if wanted < size else [])


def sized(size: tuple[int, int], wish: Wish) -> tuple[int, int]:
    """The size in px that a picture of this one, already cropped, shall have: larger, smaller or the same. A second time it is the same."""
    share = 1.0
    if wish.upscale and min(size) < wish.upscale.side_px:
        share = max(1.0, min(wish.upscale.side_px / min(size), LONGEST_UPSCALED_PX / max(size)))
    if wish.max_side_px and max(size) * share > wish.max_side_px:
        share = wish.max_side_px / max(size)
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def write(path: Path, aside: Path, found: images.Layers, wish: Wish) -> str:
    """Write the new picture to `aside`. Returns what was lost on the way, "" when nothing was. Raises ImageError, OSError."""
    steps, frames = needed(found, wish), frames_lost(path, found)
    only_flat = steps == ["flatten"]
    upscale = wish.upscale if "upscale" in steps else None
    with reading(path):
        if upscale and found.colour.mode not in ("L", "RGB"):
            rgb = pixels.to_srgb(found.colour, found.info.get("icc_profile"))
            found = replace(found, colour=rgb, info={key: value for key, value in found.info.items() if key != "icc_profile"})
        data = _with_wand(path, found, wish.background) if only_flat and found.format in WAND_FORMATS and imagemagick() else None
        lost = [DEPTH_LOST] if data is None and _has_16_bits(path, found.format) else []
        image = None if data else _with_pillow(found, wish)
    if image and upscale:  # not among `reading`: what fails there is no damage of the file
        image = upscale.enlarge(image.convert("RGB"), sized(image.size, wish)).convert(image.mode)
    if image:
        with reading(path):
            data = _encoded(path, image, found, is_new=upscale is not None)
    assert data is not None
    try:
        aside.write_bytes(data)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    return "; ".join(lost + [frames] * bool(frames))


def frames_lost(path: Path, found: images.Layers) -> str:
    """What goes with the further frames of an animation, or pages of a TIFF, "" where there is one. Only the first is trained on anyhow."""
    if found.format not in SEVERAL_FRAMES:
        return ""
    try:
        count = images.num_frames(path)
    except images.ImageError:  # the first is whole, and what is behind it is no frame
        return ""
    if count < 2:
        return ""
    if found.format == "TIFF":
        return f"the first page of {count} is kept; the others are in {ORIGINALS}"
    return f"the first frame of {count} is kept; the animation is in {ORIGINALS}"


def _with_wand(path: Path, found: images.Layers, background: str) -> bytes | None:
    """None for an odd file that Pillow reads and ImageMagick does not."""
    from wand.exceptions import WandException

    try:
        return _magick(path, found, background)
    except WandException:
        return None


def _magick(path: Path, found: images.Layers, background: str) -> bytes:
    from wand.color import Color
    from wand.image import Image as Magick

    assert found.alpha is not None
    with Magick(blob=path.read_bytes()) as whole, Magick(whole.sequence[0]) if len(whole.sequence) > 1 else whole.clone() as image:
        if background == "checker":
            under = Magick(blob=_png(pixels.checker(found.colour.size)))
            under.composite(image, left=0, top=0)
        else:
            colour = pixels.background_colour(background, found.colour.convert("RGB"), found.alpha)
            under = image.clone()
            under.background_color = Color("#{:02x}{:02x}{:02x}".format(*colour))
            under.merge_layers("flatten")
        with under:
            _turn(under, found)
            under.format = image.format
            under.alpha_channel = False
            if found.format == "PNG":
                under.compression_quality = WAND_PNG
            if found.format == "WEBP":
                under.options["webp:lossless"] = "true"
            return bytes(under.make_blob())


def _turn(image: Any, found: images.Layers) -> None:
    """Upright, as EXIF says; ImageMagick 6 does not see what a PNG says."""
    if found.format == "TIFF":
        image.auto_orient()
        return
    turns = {2: "flop", 3: "rotate 180", 4: "flip", 5: "transpose", 6: "rotate 90", 7: "transverse", 8: "rotate 270"}
    if found.orientation in turns:
        name, *degrees = turns[found.orientation].split()
        getattr(image, name)(*map(int, degrees))
        image.orientation = "top_left"
        image.profiles["exif"] = _upright_exif(found.info)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _with_pillow(found: images.Layers, wish: Wish) -> Image.Image:
    """All but the upscaling."""
    image = found.colour
    if found.alpha is not None:
        grey = image.mode == "L"
        image = pixels.flatten(image.convert("RGB"), found.alpha, wish.background)
        bands = image.split()
        if grey and bands[0].tobytes() == bands[1].tobytes() == bands[2].tobytes():
            image = bands[0]
    image = found.upright(image)
    for box in wish.blanks:
        image = pixels.cover(image, box, wish.fill)
    if wish.crop:
        left, top, width, height = wish.crop
        image = image.crop((left, top, left + width, top + height))
    wanted = sized(image.size, wish)
    return image.resize(wanted, Image.Resampling.LANCZOS) if wanted < image.size else image


def _encoded(path: Path, image: Image.Image, found: images.Layers, *, is_new: bool) -> bytes:
    """The picture in the file's format, without loss where the format can; profile, resolution and EXIF go with it.

    `is_new`: its detail is not the file's own, so that a JPEG is not packed as strongly as that one was.
    """
    options: dict[str, Any] = {key: found.info[key] for key in ("icc_profile", "dpi") if found.info.get(key)}
    if exif := _upright_exif(found.info):
        options["exif"] = exif
    if found.format == "PNG":
        options["compress_level"] = PNG_LEVEL
    elif found.format == "JPEG":
        options |= {"quality": BEST_LOSSY, "subsampling": "4:4:4"} if is_new else _jpeg_as_before(path)
    elif found.format == "WEBP":
        options |= {"lossless": True, "exact": True}
    elif found.format == "AVIF":
        options |= {"quality": BEST_LOSSY, "subsampling": "4:4:4"}
    elif found.format == "TIFF":
        options["compression"] = found.info.get("compression", "raw")
        options.pop("exif", None)  # TIFF's EXIF is its own tags
    elif found.format == "GIF":
        image = _palette(image)
    buffer = io.BytesIO()
    image.save(buffer, found.format, **options)
    return buffer.getvalue()


def _jpeg_as_before(path: Path) -> dict[str, Any]:
    """The same tables and sampling, so that writing it again loses as little as it can."""
    with Image.open(path, formats=("JPEG", "MPO")) as before:
        sampling = JpegImagePlugin.get_sampling(before)
        tables = getattr(before, "quantization", None)
    if not tables:
        return {"quality": BEST_LOSSY}
    return {"qtables": list(tables.values()), "subsampling": sampling} if sampling >= 0 else {"qtables": list(tables.values())}


def _palette(image: Image.Image) -> Image.Image:
    """GIF's 256 colours: exactly those of the picture where it has no more."""
    import numpy as np

    rgb = image.convert("RGB")
    colours, index = np.unique(np.asarray(rgb).reshape(-1, 3), axis=0, return_inverse=True)
    if len(colours) > 256:
        return rgb.quantize(256)
    exact = Image.fromarray(index.reshape(rgb.height, rgb.width).astype(np.uint8), "P")
    exact.putpalette(colours.tobytes())
    return exact


def _upright_exif(info: dict[Any, Any]) -> bytes:
    """The file's EXIF without its orientation, which is now in the pixels."""
    stub = Image.Image()
    stub.info = info
    exif = stub.getexif()
    if ORIENTATION in exif:
        exif[ORIENTATION] = 1
    return exif.tobytes() if len(exif) else b""


def _has_16_bits(path: Path, kind: str) -> bool:
    with path.open("rb") as file:
        if kind == "PNG":
            return file.read(25)[24:] == b"\x10"
        if kind != "TIFF":
            return False
        with Image.open(file, formats=("TIFF",)) as image:
            return max(getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))) > 8

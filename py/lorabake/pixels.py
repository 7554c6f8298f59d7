"""Pixels of any kind as 8-bit sRGB, and what is put under transparent ones. Pillow's images in memory, no files.

Not here: reading files, rotation and size (images.py).
"""

import io
from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageChops, ImageCms, ImageColor, ImageStat

from lorabake.errors import UserError

SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
TO_RGBA = {"RGBa": "RGBA", "La": "LA", "PA": "RGBA"}
MODES = frozenset(
    ("1", "L", "P", "RGB", "RGBX", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", *SIXTEEN_BITS, *TO_RGBA),
)
SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # colour space of a profile: the mode that it describes
UNIT_RANGE_TO = 16.0  # floats up to here are shares of white (with highlights above 1), larger ones are 8- or 16-bit numbers
LEVELS = 256 * 256
SOLID_FROM = 128  # alpha from which a pixel counts for `dominant`
SAMPLE_PX = 512  # `dominant` looks at so many pixels a side
CELL = 0xF0  # the high bits that make two colours "the same" for `dominant`
RIM_PX = 4  # of the surroundings whose colour covers a rectangle, at least
CHECKER = ((255, 255, 255), (204, 204, 204))
SQUARES = 16  # of the checker, on the shorter side


def split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """(colour in L, RGB, CMYK or LAB with 8 bits, alpha in L or None). `image` is loaded; its mode is one of MODES."""
    clear = image.info.get("transparency")
    if image.mode in SIXTEEN_BITS or image.mode in "IF":
        return _eight_bits(image), _alpha_of_level(image, clear)
    if image.mode in ("1", "L"):
        grey = image.convert("L")
        return grey, _alpha_of_level(grey, clear)
    if image.mode in ("CMYK", "LAB"):
        return image, None
    if image.has_transparency_data:
        image = image.convert(TO_RGBA.get(image.mode, image.mode if image.mode == "LA" else "RGBA"))
        alpha = image.getchannel("A")
        return (image.getchannel("L") if image.mode == "LA" else image.convert("RGB")), alpha
    return image.convert("RGB"), None


def _alpha_of_level(image: Image.Image, clear: object) -> Image.Image | None:
    """PNG can declare one grey level as transparent."""
    if not isinstance(clear, int) or image.mode == "F":
        return None
    if image.mode == "L":
        return image.point([0 if level == clear else 255 for level in range(256)])
    return image.convert("I").point([0 if level == clear else 255 for level in range(LEVELS)], "L")


def _eight_bits(image: Image.Image) -> Image.Image:
    """More than 8 bits of grey as 8, rounded. (Pillow's own convert("L") clips at 255 instead, which makes them white.)"""
    if image.mode == "F":
        return _float_levels(image)
    whole = image.convert("I")
    if image.mode in SIXTEEN_BITS:
        return whole.point(_sixteen_to_eight(), "L")
    highest = int(whole.getextrema()[1])  # type: ignore[arg-type]
    if highest < 256:
        return whole.point([min(level, 255) for level in range(LEVELS)], "L")
    if highest >= LEVELS:
        whole = whole.point(lambda level: level * ((LEVELS - 1) / highest) + 0.5)
    return whole.point(_sixteen_to_eight(), "L")


@cache
def _sixteen_to_eight() -> Sequence[int]:
    return tuple((level * 255 + 32767) // 65535 for level in range(LEVELS))


def _float_levels(image: Image.Image) -> Image.Image:
    """Floats as L: NaN is black. The file does not say what white is, so the highest value decides between 1, 255, 65535 and itself."""
    import numpy as np  # here, because it costs a plan, which reads only headers, a tenth of a second

    levels = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    highest = float(levels.max())
    white = 1.0 if highest <= UNIT_RANGE_TO else next((top for top in (255.0, 65535.0) if highest <= top), highest)
    return Image.fromarray((levels / white * 255).round().clip(0, 255).astype(np.uint8))


def to_srgb(colour: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB in sRGB. `colour` is as `split` gives it; a profile that is damaged or of another colour space is as good as none.

    Relative colorimetric with black point compensation, as picture editors do by default.
    """
    if colour.mode == "LAB":
        return _transform(colour, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))) or colour.getchannel("L").convert("RGB")
    found = _profile(profile) if profile else None
    described = SPACES.get(found.profile.xcolor_space.strip()) if found else None
    if found and described == "RGB" and colour.mode in ("L", "RGB"):
        rgb = colour.convert("RGB")
        return rgb if _is_srgb(found) else _transform(rgb, found) or rgb
    if found and described == colour.mode:
        return _transform(colour, found) or colour.convert("RGB")
    return colour.convert("RGB")


def _profile(data: bytes) -> ImageCms.ImageCmsProfile | None:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(data))
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return None


def _transform(colour: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image | None:
    """None where the profile turns out to be damaged."""
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    try:
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(profile, srgb, colour.mode, "RGB", renderingIntent=intent, flags=flags).apply(colour)
    except (OSError, ValueError, ImageCms.PyCMSError):
        return None


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    """Whether the profile changes nothing but roundings, on a grid of colours: its name is no proof, and untouched pixels are exact."""
    side = range(0, 256, 51)
    colours = [(red, green, blue) for red in side for green in side for blue in side]
    probe = Image.new("RGB", (len(colours), 1))
    probe.putdata(colours)
    changed = _transform(probe, profile)
    return changed is None or max(high for _low, high in ImageChops.difference(probe, changed).getextrema()) <= 2  # type: ignore[misc]


def flatten(rgb: Image.Image, alpha: Image.Image, background: str) -> Image.Image:
    """`rgb` laid on `background`: a colour as CSS writes it, `dominant`, or `checker`. Colours under alpha 0 leave no trace."""
    under = checker(rgb.size) if background == "checker" else Image.new("RGB", rgb.size, background_colour(background, rgb, alpha))
    under.paste(rgb, mask=alpha)
    return under


def background_colour(background: str, rgb: Image.Image, alpha: Image.Image) -> tuple[int, ...]:
    """Red, green and blue of everything but `checker`. Raises UserError for what is no colour."""
    if background == "dominant":
        return dominant(rgb, alpha)
    try:
        colour = ImageColor.getrgb(background)
    except ValueError as error:
        raise UserError(
            f'"{background}" is not a colour', where="data.background", allowed='"#ff8800", a name such as white, dominant, checker'
        ) from error
    return colour[:3]


def dominant(rgb: Image.Image, alpha: Image.Image) -> tuple[int, ...]:
    """The mean of the most common colours among pixels that are more solid than not; white where there are none."""
    shrink = max(1, *(-(-side // SAMPLE_PX) for side in rgb.size))
    size = (-(-rgb.width // shrink), -(-rgb.height // shrink))
    rgb = rgb.resize(size, Image.Resampling.NEAREST)  # nearest: an average would mix hidden colours in
    solid = alpha.resize(size, Image.Resampling.NEAREST).point([255 * (level >= SOLID_FROM) for level in range(256)])
    cells = Image.new("RGBA", size)
    cells.paste(Image.merge("RGBA", [*rgb.point([level & CELL for level in range(256)] * 3).split(), solid]), mask=solid)
    counted = [(count, cell) for count, cell in cells.getcolors(size[0] * size[1]) or () if cell[3]]  # type: ignore[index]
    if not counted:
        return 255, 255, 255
    wanted = max(counted)[1]
    for band, value in zip(rgb.split(), wanted[:3], strict=True):  # type: ignore[index]
        solid = ImageChops.darker(solid, band.point([255 * (level & CELL == value) for level in range(256)]))
    return tuple(round(mean) for mean in ImageStat.Stat(rgb, solid).mean)


def cover(image: Image.Image, box: tuple[int, int, int, int], fill: str) -> Image.Image:
    """`image` (as `split` gives colours) with the rectangle x, y, width, height in one colour.

    `fill` is a colour as CSS writes it, or `edge`: the most common one in a rim around it. Raises UserError for what is no colour.
    """
    left, top, width, height = box
    inner = (left, top, left + width, top + height)
    rim = max(RIM_PX, min(width, height) // 8)
    outer = (max(0, left - rim), max(0, top - rim), min(image.width, inner[2] + rim), min(image.height, inner[3] + rim))
    around = image.crop(outer)
    solid = Image.new("L", around.size, 255)
    solid.paste(0, (left - outer[0], top - outer[1], inner[2] - outer[0], inner[3] - outer[1]))
    covered = image.copy()
    if fill == "edge" and image.mode in ("CMYK", "LAB") and solid.getextrema() != (0, 0):
        covered.paste(tuple(round(level) for level in ImageStat.Stat(around, solid).median), inner)
        return covered
    colour = background_colour("dominant" if fill == "edge" else fill, around.convert("RGB"), solid)
    patch = Image.new("RGB", (width, height), colour)
    covered.paste(patch if image.mode == "RGB" else patch.convert("L").convert(image.mode), inner)
    return covered


def checker(size: tuple[int, int]) -> Image.Image:
    square = max(1, min(size) // SQUARES)
    columns, rows = -(-size[0] // square), -(-size[1] // square)
    board = Image.new("RGB", (columns, rows))
    board.putdata([CHECKER[(column + row) % 2] for row in range(rows) for column in range(columns)])
    return board.resize((columns * square, rows * square), Image.Resampling.NEAREST).crop((0, 0, *size))

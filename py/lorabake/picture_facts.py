"""What one look at a picture tells, whatever bake it is for: its content's hash, size, transparency, bars, detail, JPEG blocks, likeness.

Not here: keeping it (picture_memory.py), what is good or bad about it (picture_checks.py). The measures were set on 150 photos, paintings,
drawings and screenshots, each enlarged, blurred and compressed in a dozen ways; bench/check.py tells how many of them are found.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from math import gcd
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lorabake import images, pixels
from lorabake.damage import ImageError, reading

LOOKED_AT_PX = 512  # longer side at which borders, colours and likeness are judged
FLAT_LEVELS = 3  # of 255: darker and lighter than this is not told apart in one colour
BAR_LEVELS = 24  # of 255: JPEG's ripples beside an edge stay under this
BAR_EXCEPT, EDGE_FROM = 0.02, 0.6  # shares of a line that differ from the bar: within it at most, right after it at least
WINDOW_PX, TILE_PX, LEAST_WINDOW_PX = 512, 64, 32  # detail is measured in the window with most edges: what is in focus counts
EDGES = 0.02  # share of the window's places, those with the steepest edges
FAINTEST_EDGE = 4.0  # levels a px: without any steeper one nothing can be said
# By how much a window is shrunk: what is lost at its steepest edges at least where there was detail of that size.
DETAIL = {1.5: 0.08, 2.0: 0.11, 3.0: 0.13, 4.0: 0.15}
BLURRED_FROM = 3.0
# Enlarged twice by a sharp filter: little is lost at 1.25, and at 3 six times as much.
FINEST, FINEST_LOSS, NEXT_LOSS, CLIFF = 1.25, 0.06, 0.115, 6.0
BLOCK_PX, STEP_MOST = 8, 12.0  # JPEG's blocks; steeper steps are the picture's own edges
EVERY_SECOND = 0.25  # of the excess: where every second line stands out it is no grid of eight
HASH_SIDE = 16  # of 16 x 16 bits
MOST_REPEATED = 64
# The luminance table of JPEG's standard (ITU-T T.81, table K.1), which is quality 50; others follow the formula of libjpeg.
MEAN_AT_50, LEAST_AT_50 = 57.625, 10


@dataclass(frozen=True)
class Facts:
    """One file. `problem`: why it cannot be decoded, "" when it can; all that follows is empty then, but for the digest.

    `width`, `height` in px as seen. `bars`: shares of it that bars take, above, below, left, right. `detail`: by how much it could be
    shrunk without losing any, 1.0 for a sharp picture; `blurred`: its detail ends slowly, as out of focus. `repeated`: each pixel stands
    there so many times in a row, 1 for once. `blocks`: steps at JPEG's grid against those beside it, 0 for none. `quality`: of a JPEG,
    1 to 100, 0 for other files. `hash`, `mirrored`: perceptual hashes of it and its mirror image in hex, "" for one colour.
    """

    problem: str
    digest: str
    width: int = 0
    height: int = 0
    transparent: bool = False
    one_colour: bool = False
    bars: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    detail: float = 1.0
    blurred: bool = False
    repeated: int = 1
    blocks: float = 0.0
    quality: int = 0
    hash: str = ""
    mirrored: str = ""


def look(path: Path) -> Facts:
    """Decode the file once and measure it. What is wrong with it is a fact, never an error."""
    digest = ""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found = images.layers(path)
        with reading(path):
            rgb = pixels.to_srgb(found.colour, found.info.get("icc_profile"))
        whole = found.upright(rgb if found.alpha is None else pixels.flatten(rgb, found.alpha, "white"))
        quality = quality_of(path) if found.format == "JPEG" else 0
    except (ImageError, OSError) as error:
        return Facts(str(error).removeprefix(f"{path}: "), digest)
    small = whole.copy()
    small.thumbnail((LOOKED_AT_PX, LOOKED_AT_PX), reducing_gap=2.0)
    small_hwc = np.asarray(small)
    size = {"width": whole.width, "height": whole.height, "transparent": found.alpha is not None, "quality": quality}
    if is_one_colour(small_hwc):
        return Facts("", digest, one_colour=True, **size)  # type: ignore[arg-type]
    luma_hw = np.asarray(whole.convert("L"), dtype=np.float32)
    detail, blurred = detail_of(luma_hw)
    return Facts(
        "",
        digest,
        bars=(*bars(small_hwc, 0), *bars(small_hwc, 1)),
        detail=detail,
        blurred=blurred,
        repeated=repeated(luma_hw),
        blocks=round(blocks(luma_hw), 3),
        hash=likeness(small),
        mirrored=likeness(ImageOps.mirror(small)),
        **size,  # type: ignore[arg-type]
    )


def is_one_colour(pixels_hwc: np.ndarray) -> bool:
    """(h, w, 3) uint8."""
    return bool(np.ptp(pixels_hwc, axis=(0, 1)).max() <= FLAT_LEVELS)


def bars(pixels_hwc: np.ndarray, axis: int) -> tuple[float, float]:
    """Shares of the picture that bars at the beginning and the end of an axis take; 0 where there is none.

    A bar is of one colour and ends at a straight edge: the line after it is of other colours nearly all along, which a plain
    background behind a figure is not.
    """
    lines = pixels_hwc if axis == 0 else pixels_hwc.transpose(1, 0, 2)
    return _bar(lines), _bar(lines[::-1])


def _bar(lines: np.ndarray) -> float:
    half = lines[: len(lines) // 2 + 3].astype(np.int16)  # more than half is no bar
    differs = (np.abs(half - half[0, 0]) > BAR_LEVELS).any(2).mean(1)
    inside = np.flatnonzero(differs > BAR_EXCEPT)
    if not len(inside) or not inside[0]:
        return 0.0
    edge = differs[inside[0] : inside[0] + 3].max()  # the edge itself may be blurred over a line or two
    return round(float(inside[0] / len(lines)), 4) if edge > EDGE_FROM else 0.0


def detail_of(luma_hw: np.ndarray) -> tuple[float, bool]:
    """By how much the picture could be shrunk without losing detail, and whether its detail ends slowly.

    The window with most edges is shrunk and enlarged again. Where there is detail of that size the steepest edges come back changed, in
    a share of their steepness; a picture that was enlarged, or is out of focus, comes back as it was.
    """
    left, top, right, bottom = busiest(luma_hw, WINDOW_PX)
    window = np.ascontiguousarray(luma_hw[top:bottom, left:right])
    if min(window.shape) < LEAST_WINDOW_PX:
        return 1.0, False
    down, across = np.gradient(window)
    steepness = np.hypot(down, across)
    rim = 4  # filters know nothing beyond it
    steepness[:rim] = steepness[-rim:] = steepness[:, :rim] = steepness[:, -rim:] = 0
    steep = steepness >= max(FAINTEST_EDGE, float(np.quantile(steepness, 1 - EDGES)))
    if not steep.any():
        return 1.0, False
    image, mean = Image.fromarray(window), float(steepness[steep].mean())

    def lost(factor: float) -> float:
        size = max(1, round(image.width / factor)), max(1, round(image.height / factor))
        again = image.resize(size, Image.Resampling.LANCZOS).resize(image.size, Image.Resampling.LANCZOS)
        return float(np.abs(np.asarray(again) - window)[steep].mean()) / mean

    losses = {factor: lost(factor) for factor in (FINEST, 1.5, 2.0)}
    if losses[FINEST] >= FINEST_LOSS and all(losses[factor] >= DETAIL[factor] for factor in (1.5, 2.0)):
        return 1.0, False  # most pictures: what is lost further on cannot change it
    limit = limit_of(losses | {factor: lost(factor) for factor in (3.0, 4.0)})
    return limit, limit >= BLURRED_FROM


def limit_of(losses: Mapping[float, float]) -> float:
    """The largest factor at which nothing worth mentioning is lost, 1.0 for none. Losses by factor, FINEST and those of DETAIL."""
    limit = 1.0
    for factor, least in DETAIL.items():
        if losses[factor] < least:
            limit = factor
        elif factor > 1.5:  # linear filters leave kinks that count as detail at the finest
            break
    if limit == 1 and losses[FINEST] < FINEST_LOSS and losses[1.5] < NEXT_LOSS and losses[3.0] > CLIFF * losses[FINEST]:
        return 2.0
    return limit


def busiest(luma_hw: np.ndarray, side_px: int) -> tuple[int, int, int, int]:
    """The part of at most `side_px` squared with most edges, in whole tiles: left, top, right, bottom in px."""
    rows, columns = (side // TILE_PX for side in luma_hw.shape)
    if max(luma_hw.shape) <= side_px or not rows or not columns:
        return 0, 0, min(luma_hw.shape[1], side_px), min(luma_hw.shape[0], side_px)
    cut = luma_hw[: rows * TILE_PX, : columns * TILE_PX]
    steps = np.zeros_like(cut)
    steps[1:] += np.abs(np.diff(cut, axis=0))
    steps[:, 1:] += np.abs(np.diff(cut, axis=1))
    tiles = np.square(steps).reshape(rows, TILE_PX, columns, TILE_PX).sum((1, 3))
    sums = np.pad(tiles.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    high, wide = min(rows, side_px // TILE_PX), min(columns, side_px // TILE_PX)
    windows = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    top, left = (int(place) * TILE_PX for place in np.unravel_index(int(windows.argmax()), windows.shape))
    return left, top, left + wide * TILE_PX, top + high * TILE_PX


def repeated(luma_hw: np.ndarray) -> int:
    """How often each pixel stands there in a row, across and down alike: 2 and more after enlarging without a filter."""
    found = []
    for lines in (luma_hw, luma_hw.T):
        steps = np.flatnonzero((lines[1:] != lines[:-1]).any(1)) + 1
        if not len(steps):
            return 1
        found.append(reduce(gcd, (int(step) for step in steps), len(lines)))
    both = gcd(*found)
    return both if both <= MOST_REPEATED else 1


def blocks(luma_hw: np.ndarray) -> float:
    """How much larger the steps at every eighth line are than those between, wherever the grid begins; the smaller of both directions.

    A step is what a line differs from its neighbours' own slopes; steep ones are the picture's edges and count as STEP_MOST.
    """
    if min(luma_hw.shape) < 8 * BLOCK_PX:
        return 0.0
    found = []
    for lines in (luma_hw, luma_hw.T):
        slopes = np.diff(lines, axis=1)
        steps = np.minimum(np.abs(slopes[:, 1:-1] - (slopes[:, :-2] + slopes[:, 2:]) / 2), STEP_MOST).mean(0)
        phases = np.median(steps[: len(steps) // BLOCK_PX * BLOCK_PX].reshape(-1, BLOCK_PX), axis=0)
        largest = int(phases.argmax())
        excess = float(phases[largest] - (usual := np.median(np.delete(phases, largest))))
        others = np.roll(phases, -largest)
        every_second = float(np.median(others[2::2]) - np.median(others[1::2]))  # of pictures that were enlarged twice
        found.append(excess / (float(usual) + 0.25) if every_second < EVERY_SECOND * excess else 0.0)
    return max(0.0, min(found))


def quality_of(path: Path) -> int:
    """A JPEG's quality from its luminance table, by libjpeg's scaling of the standard's: 1 to 100. 0 where it has none."""
    with reading(path), Image.open(path, formats=("JPEG", "MPO")) as image:
        tables = getattr(image, "quantization", None)
    if not tables:
        return 0
    table = tables[min(tables)]
    least = min(table)  # where the table reaches its ends its mean says nothing
    percent = 100 * least / LEAST_AT_50 if least > LEAST_AT_50 else 100 * sum(table) / len(table) / MEAN_AT_50
    return max(1, min(100, round(5000 / percent if percent > 100 else (200 - percent) / 2)))


def likeness(image: Image.Image) -> str:
    """A perceptual hash (pHash on a cosine transform) in hex, 256 bits."""
    import imagehash  # only now: it brings scipy

    return str(imagehash.phash(image, hash_size=HASH_SIDE))

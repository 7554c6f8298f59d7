"""What is odd in a picture that is to be trained on: broken, the same file twice, enlarged, cut off, one colour, with borders, transparent.

Verdicts on single pictures and on the set; nothing is changed. Not here: captions (caption_checks.py), a bake's buckets (plan_data.py).
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lorabake import buckets, images, pixels
from lorabake.damage import ImageError

ENLARGED_FROM = 1.25  # times a side: what a bake enlarges more than this is learned as blur
CUT_FROM = 0.15  # of the picture's pixels outside the nearest bucket
FLAT_LEVELS = 3  # of 255: darker and lighter than this is not told apart in one colour
BAR_LEVELS = 24  # of 255: JPEG's ripples beside an edge stay under this
BAR_EXCEPT, EDGE_FROM = 0.02, 0.6  # shares of a line that differ from the bar: within it at most, right after it at least
BORDER_FROM = 0.04  # of a side, on both of two opposite sides: bars of a film or a screenshot, not a plain background
LOOKED_AT_PX = 512  # longer side at which borders and colours are judged


@dataclass(frozen=True)
class Verdict:
    """What was found on one picture: short names with their sentences, in the order of looking; `digest` is the file's SHA-256."""

    path: Path
    digest: str
    found: tuple[tuple[str, str], ...]


def look_at_all(
    files: Sequence[Path], resolution: int, sizes: Sequence[buckets.Size], progress: Callable[[int], object] | None = None
) -> list[Verdict]:
    """A verdict per file, in order, decoded on several threads. `sizes` are the buckets of the resolution."""
    found = []
    with ThreadPoolExecutor(min(images.MOST_THREADS, os.cpu_count() or 1)) as pool:
        for verdict in pool.map(lambda path: look_at(path, resolution, sizes), files):
            found.append(verdict)
            if progress:
                progress(len(found))
    return found


def look_at(path: Path, resolution: int, sizes: Sequence[buckets.Size]) -> Verdict:
    """Everything about one picture that needs no other."""
    try:
        layers = images.layers(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (ImageError, OSError) as error:
        return Verdict(path, "", (("broken", str(error).removeprefix(f"{path}: ")),))
    upright = layers.upright(layers.colour)
    found = list(of_size(upright.size, resolution, sizes))
    if layers.alpha is not None:
        found.append(("transparent", "has transparent places: py/flatten.py lays them on a colour of your choice"))
    small = upright.convert("RGB")
    if layers.alpha is not None:
        small = layers.upright(pixels.flatten(layers.colour.convert("RGB"), layers.alpha, "white"))
    small.thumbnail((LOOKED_AT_PX, LOOKED_AT_PX), reducing_gap=2.0)
    found += of_pixels(np.asarray(small))
    return Verdict(path, digest, tuple(found))


def of_size(size: buckets.Size, resolution: int, sizes: Sequence[buckets.Size]) -> Iterable[tuple[str, str]]:
    """Enlarged to its bucket, or much of it cut off there. `size` is (width, height) in px."""
    bucket = buckets.assign(size, sizes)
    placed = buckets.placement(size, bucket)
    scale = max(placed.resized[0] / size[0], placed.resized[1] / size[1])
    if scale > ENLARGED_FROM:
        yield "small", f"{size[0]}x{size[1]} px, will be enlarged {scale:.1f} times for {resolution} px"
    cut = 1 - bucket[0] * bucket[1] / (placed.resized[0] * placed.resized[1])
    if cut > CUT_FROM:
        yield "cut off", f"{size[0]}x{size[1]} px, {100 * cut:.0f} % is cut off to fit {bucket[0]}x{bucket[1]}: crop it as you like it"


def of_pixels(pixels_hwc: np.ndarray) -> list[tuple[str, str]]:
    """One colour everywhere, or bars of one colour on two opposite sides. (h, w, 3) uint8."""
    if np.ptp(pixels_hwc, axis=(0, 1)).max() <= FLAT_LEVELS:
        return [("one colour", "one colour everywhere")]
    found = []
    for axis, names in ((0, "above and below"), (1, "left and right")):
        first, last = bars(pixels_hwc, axis)
        if min(first, last) >= BORDER_FROM:
            found.append(("border", f"bars {names} ({100 * (first + last):.0f} % of the picture): crop them off"))
    return found


def bars(pixels_hwc: np.ndarray, axis: int) -> tuple[float, float]:
    """Shares of the picture that bars at the beginning and the end of an axis take; 0 where there is none.

    A bar is of one colour and ends at a straight edge: the line after it is of other colours nearly all along, which a plain
    background behind a figure is not.
    """
    lines = pixels_hwc if axis == 0 else pixels_hwc.transpose(1, 0, 2)
    return _bar(lines), _bar(lines[::-1])


def _bar(lines: np.ndarray) -> float:
    colour = lines[0, 0].astype(int)
    differs = (np.abs(lines.astype(int) - colour) > BAR_LEVELS).any(2).mean(1)
    inside = np.flatnonzero(differs > BAR_EXCEPT)
    if not len(inside) or not inside[0]:
        return 0.0
    edge = differs[inside[0] : inside[0] + 3].max()  # the edge itself may be blurred over a line or two
    return float(inside[0] / len(lines)) if edge > EDGE_FROM else 0.0


def twice(verdicts: Sequence[Verdict]) -> list[tuple[Path, ...]]:
    """Groups of files with the very same bytes."""
    same: dict[str, list[Path]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.digest:
            same[verdict.digest].append(verdict.path)
    return [tuple(group) for group in same.values() if len(group) > 1]

"""Aspect-ratio buckets: which sizes there are, which one a picture goes to, and how it is scaled and cropped to it.

The rules are those of the reference trainer (lora-facts.md 3.5), so that the same pictures land in the same buckets. All sizes are
(width, height) in px. Not here: pixels (images.fit), and the choice of resolution and limits (plan_data.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Size = tuple[int, int]


@dataclass(frozen=True)
class Placement:
    """Scale the picture to `resized`, then cut the bucket out of it at (left, top)."""

    resized: Size
    left: int
    top: int


def resolutions(resolution: int, minimum: int, maximum: int, step: int) -> list[Size]:
    """All bucket sizes of about resolution x resolution pixels with sides from `minimum` to `maximum`, sorted.

    Sides are multiples of `step`; `minimum` is rounded down to one, `maximum` up. The largest square is always among them.
    """
    low, high = max(step, minimum // step * step), -(-maximum // step) * step
    area = resolution * resolution
    square = max(step, resolution // step * step)
    found = {(square, square)}
    for width in range(low, high + 1, step):
        height = min(high, area // width // step * step)
        if height >= low:
            found |= {(width, height), (height, width)}
    return sorted(found)


def assign(size: Size, buckets: Sequence[Size]) -> Size:
    """The bucket of exactly this size, else the one nearest in width / height, the first of equally near ones."""
    if size in buckets:
        return size
    ratio = size[0] / size[1]
    return min(buckets, key=lambda bucket: abs(bucket[0] / bucket[1] - ratio))


def placement(size: Size, bucket: Size) -> Placement:
    """Cover the bucket, keep the shape, cut off what is over, the same on both sides."""
    width, height = size
    fits_height = width / height > bucket[0] / bucket[1]
    scale = bucket[1] / height if fits_height else bucket[0] / width
    resized = max(bucket[0], int(width * scale + 0.5)), max(bucket[1], int(height * scale + 0.5))
    return _centred(resized, bucket)


def assign_no_upscale(size: Size, resolution: int, step: int) -> Size:
    """The bucket of a picture that is never enlarged: its size, shrunk to resolution x resolution pixels if it has more, floored to `step`.

    A side shorter than one step becomes one step: the one case that enlarges, because nothing smaller can be trained.
    """
    width, height = _shrunk(size, resolution, step)
    return max(step, width // step * step), max(step, height // step * step)


def placement_no_upscale(size: Size, resolution: int, step: int) -> Placement:
    """How the picture gets to `assign_no_upscale`: shrunk only if it has too many pixels, then cropped."""
    bucket = assign_no_upscale(size, resolution, step)
    resized = _shrunk(size, resolution, step)
    if resized[0] < bucket[0] or resized[1] < bucket[1]:
        return placement(size, bucket)
    return _centred(resized, bucket)


def _shrunk(size: Size, resolution: int, step: int) -> Size:
    """The size itself, or, over resolution x resolution pixels, the one with that many whose one side is a multiple of `step`."""
    area, ratio = resolution * resolution, size[0] / size[1]
    if size[0] * size[1] <= area:
        return size
    width = math.sqrt(area * ratio)
    by_width, by_height = _rounded(width, step), _rounded(area / width, step)
    width_error = abs(by_width / _rounded(by_width / ratio, step) - ratio)
    height_error = abs(_rounded(by_height * ratio, step) / by_height - ratio)
    if width_error < height_error:
        return by_width, max(1, int(by_width / ratio + 0.5))
    return max(1, int(by_height * ratio + 0.5)), by_height


def _rounded(side: float, step: int) -> int:
    """To whole px, then down to a multiple of `step`, at least one."""
    return max(step, int(side + 0.5) // step * step)


def _centred(resized: Size, bucket: Size) -> Placement:
    return Placement(resized, (resized[0] - bucket[0]) // 2, (resized[1] - bucket[1]) // 2)

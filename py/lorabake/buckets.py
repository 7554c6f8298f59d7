"""Aspect-ratio buckets: which sizes there are, which one a picture goes to, and how it is scaled and cropped into it.

Pure arithmetic on (width, height), the reference trainer's formulas (lora-facts 3.5). Not here: touching pixels (images.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Size = tuple[int, int]  # (width, height) in px


@dataclass(frozen=True)
class Placement:
    """How a picture becomes bucket-sized: resized to `resized`, then cropped from (left, top)."""

    resized: Size
    left: int
    top: int


def resolutions(resolution: int, minimum: int, maximum: int, step: int) -> list[Size]:
    """All bucket sizes of at most resolution^2 px with sides from `minimum` to `maximum`, multiples of `step`, sorted.

    512 with 256 to 1024 gives the 17 well-known ones. The minimum is floored and the maximum ceiled to the step, as there.
    """
    minimum, maximum = minimum // step * step, -(-maximum // step) * step
    area = resolution * resolution
    square = math.isqrt(area) // step * step
    found = {(square, square)}
    for width in range(minimum, maximum + 1, step):
        height = min(maximum, area // width // step * step)
        if height >= minimum:
            found |= {(width, height), (height, width)}
    return sorted(found)


def assign(size: Size, sizes: Sequence[Size]) -> Size:
    """The bucket of a picture: its own size where that is one, else the nearest ratio, the first in order of those equally near."""
    if size in sizes:
        return size
    ratio = size[0] / size[1]
    return min(sizes, key=lambda bucket: abs(bucket[0] / bucket[1] - ratio))


def assign_no_upscale(size: Size, resolution: int, step: int) -> Size:
    """The bucket of a picture that is never enlarged: its own size, or its ratio at resolution^2 px, floored to the step.

    A larger picture is tried with either side rounded down to the step; the one that keeps the ratio better wins. Sides under
    one step are one step.
    """
    width, height = size
    area = resolution * resolution
    if width * height > area:
        ratio = width / height
        exact_width = math.sqrt(area * ratio)
        exact_height = area / exact_width
        by_width = (int(exact_width + 0.5) // step * step, int(int(exact_width + 0.5) // step * step / ratio + 0.5))
        by_height = (int(int(exact_height + 0.5) // step * step * ratio + 0.5), int(exact_height + 0.5) // step * step)
        tried = [s for s in (by_width, by_height) if min(s) > 0]
        if tried:
            width, height = min(tried, key=lambda s: abs(s[0] / s[1] - ratio))
    return max(step, width // step * step), max(step, height // step * step)


def placement(size: Size, bucket: Size) -> Placement:
    """Scale so that the picture covers the bucket, then crop its middle: wider pictures fit the height, others the width."""
    width, height = size
    scale = bucket[1] / height if width / height > bucket[0] / bucket[1] else bucket[0] / width
    resized = (max(bucket[0], int(width * scale + 0.5)), max(bucket[1], int(height * scale + 0.5)))
    return Placement(resized, (resized[0] - bucket[0]) // 2, (resized[1] - bucket[1]) // 2)

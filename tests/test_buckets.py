"""Buckets agree with the reference trainer: its bucket lists, its choice, its scaling, its way without enlarging."""

import math
import random

import pytest

from lorabake import buckets

# The 17 that lora-facts.md 3.5 names for 512 with the reference's defaults
NAMED = [(256, 832), (256, 896), (256, 960), (256, 1024), (320, 704), (320, 768), (384, 640), (448, 576)]
ALL_512 = sorted([*NAMED, (512, 512), *[(height, width) for width, height in NAMED]])


def reference_resolutions(area: int, low: int, high: int, step: int) -> list[tuple[int, int]]:
    """lora-facts.md 3.5, word for word: the square, then for each width the largest height."""
    found = set()
    side = int(math.sqrt(area) // step) * step
    found.add((side, side))
    width = low
    while width <= high:
        height = min(high, int((area // width) // step) * step)
        if height >= low:
            found.add((width, height))
            found.add((height, width))
        width += step
    return sorted(found)


def reference_choice(size, sizes):
    """Bucket and scaled size."""
    width, height = size
    ratio = width / height
    if size in sizes:
        chosen = size
    else:
        errors = [abs(ratio - w / h) for w, h in sizes]
        chosen = sizes[errors.index(min(errors))]
    scale = chosen[1] / height if ratio > chosen[0] / chosen[1] else chosen[0] / width
    return chosen, (int(width * scale + 0.5), int(height * scale + 0.5))


def reference_no_upscale(size, area: int, step: int):
    width, height = size
    ratio = width / height

    def rounded(value: float) -> int:
        whole = int(value + 0.5)
        return whole - whole % step

    if width * height > area:
        new_width = math.sqrt(area * ratio)
        new_height = area / new_width
        by_width = rounded(new_width)
        ratio_by_width = by_width / rounded(by_width / ratio)
        by_height = rounded(new_height)
        ratio_by_height = rounded(by_height * ratio) / by_height
        if abs(ratio_by_width - ratio) < abs(ratio_by_height - ratio):
            scaled = (by_width, int(by_width / ratio + 0.5))
        else:
            scaled = (int(by_height * ratio + 0.5), by_height)
    else:
        scaled = size
    return (scaled[0] - scaled[0] % step, scaled[1] - scaled[1] % step), scaled


def test_512_with_the_reference_defaults_is_the_17_that_are_named():
    assert len(ALL_512) == 17
    assert buckets.resolutions(512, 256, 1024, 64) == ALL_512


def test_512_as_the_guide_has_it():
    wide = [(320, 704), (320, 768), (384, 640), (448, 576)]
    assert buckets.resolutions(512, 320, 960, 64) == sorted([*wide, (512, 512), *[(h, w) for w, h in wide]])


@pytest.mark.parametrize(("maximum", "count"), [(1024, 25), (2048, 41)])
def test_1024(maximum, count):
    found = buckets.resolutions(1024, 256, maximum, 64)
    assert len(found) == count and (1024, 1024) in found


def test_128_for_the_pocket_model():
    found = buckets.resolutions(128, 64, 256, 8)
    assert found == reference_resolutions(128 * 128, 64, 256, 8)
    assert len(found) == 33
    assert {(64, 256), (256, 64), (128, 128), (112, 144), (104, 152)} <= set(found)
    assert all(width % 8 == 0 == height % 8 and 64 <= width <= 256 and width * height <= 128 * 128 for width, height in found)


@pytest.mark.parametrize("resolution", [128, 200, 256, 448, 512, 513, 576, 640, 768, 1000, 1024, 1536])
@pytest.mark.parametrize("step", [8, 32, 64])
def test_many_lists_are_the_reference_ones(resolution, step):
    for low, high in ((64, resolution), (64, 2 * resolution), (resolution // 2, 2 * resolution), (resolution // 3, 3 * resolution)):
        low, high = max(step, low // step * step), -(-high // step) * step
        assert buckets.resolutions(resolution, low, high, step) == reference_resolutions(resolution**2, low, high, step)


def test_limits_are_rounded_to_the_step():
    assert buckets.resolutions(512, 300, 900, 64) == buckets.resolutions(512, 256, 960, 64)
    assert buckets.resolutions(512, 1, 900, 64) == buckets.resolutions(512, 64, 960, 64)


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((512, 512), (512, 512)),
        ((1, 1), (512, 512)),
        ((4000, 4000), (512, 512)),
        ((768, 320), (768, 320)),  # exact
        ((576, 448), (576, 448)),
        ((1920, 1080), (640, 384)),
        ((1000, 1500), (384, 640)),
        ((1080, 1920), (384, 640)),
        ((10000, 100), (768, 320)),  # wider than any
        ((100, 10000), (320, 768)),
        ((850, 1200), (448, 576)),
    ],
)
def test_assignment_at_512(size, bucket):
    sizes = buckets.resolutions(512, 320, 960, 64)
    assert reference_choice(size, sizes)[0] == buckets.assign(size, sizes)
    assert buckets.assign(size, sizes) == bucket


def test_of_equally_near_buckets_the_first():
    assert buckets.assign((3, 2), [(100, 100), (200, 100)]) == (100, 100)
    assert buckets.assign((1, 1), [(50, 100), (150, 100)]) == (50, 100)


def test_assignment_and_scaling_of_many_sizes_are_the_reference_ones():
    rng = random.Random(4)
    for resolution, low, high, step in ((512, 320, 960, 64), (512, 256, 1024, 64), (128, 64, 256, 8), (1024, 512, 2048, 64)):
        sizes = buckets.resolutions(resolution, low, high, step)
        for _ in range(1500):
            size = rng.randint(1, 5000), rng.randint(1, 5000)
            chosen, scaled = reference_choice(size, sizes)
            assert buckets.assign(size, sizes) == chosen
            placed = buckets.placement(size, chosen)
            assert placed.resized == scaled
            assert placed.left == (scaled[0] - chosen[0]) // 2 >= 0
            assert placed.top == (scaled[1] - chosen[1]) // 2 >= 0


@pytest.mark.parametrize(
    ("size", "bucket", "expected"),
    [
        ((1000, 700), (640, 448), buckets.Placement((640, 448), 0, 0)),
        ((1000, 700), (512, 512), buckets.Placement((731, 512), 109, 0)),
        ((700, 1000), (512, 512), buckets.Placement((512, 731), 0, 109)),
        ((100, 100), (512, 512), buckets.Placement((512, 512), 0, 0)),
        ((301, 200), (256, 128), buckets.Placement((256, 170), 0, 21)),
    ],
)
def test_placement(size, bucket, expected):
    assert buckets.placement(size, bucket) == expected


@pytest.mark.parametrize(
    ("size", "bucket", "resized"),
    [
        ((300, 500), (256, 448), (300, 500)),  # small enough: only cropped
        ((512, 512), (512, 512), (512, 512)),
        ((64, 64), (64, 64), (64, 64)),
        ((2000, 2000), (512, 512), (512, 512)),
        ((1000, 1500), (384, 576), (384, 576)),
        ((1920, 1080), (640, 384), (683, 384)),
    ],
)
def test_without_enlarging(size, bucket, resized):
    expected, scaled = reference_no_upscale(size, 512 * 512, 64)
    assert buckets.assign_no_upscale(size, 512, 64) == expected
    assert buckets.placement_no_upscale(size, 512, 64).resized == scaled
    assert (expected, scaled) == (bucket, resized)


def test_without_enlarging_many_sizes_are_the_reference_ones():
    rng = random.Random(5)
    for resolution, step in ((512, 64), (1024, 64), (128, 8)):
        for _ in range(1500):
            size = rng.randint(step, 3000), rng.randint(step, 3000)
            if not 1 / 6 < size[0] / size[1] < 6:
                continue  # the reference fails on very long pictures
            bucket, scaled = reference_no_upscale(size, resolution**2, step)
            assert buckets.assign_no_upscale(size, resolution, step) == bucket
            placed = buckets.placement_no_upscale(size, resolution, step)
            assert placed == buckets.Placement(scaled, (scaled[0] - bucket[0]) // 2, (scaled[1] - bucket[1]) // 2)


@pytest.mark.parametrize("size", [(1, 1), (10, 700), (63, 63), (1, 5000), (100000, 3), (30000, 30)])
def test_without_enlarging_nothing_is_smaller_than_a_step(size):
    bucket = buckets.assign_no_upscale(size, 512, 64)
    placed = buckets.placement_no_upscale(size, 512, 64)
    assert min(bucket) >= 64 and bucket[0] % 64 == 0 == bucket[1] % 64
    assert placed.resized[0] >= bucket[0] and placed.resized[1] >= bucket[1] and placed.left >= 0 <= placed.top

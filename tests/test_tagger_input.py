"""Pictures as a tagger sees them: padding, scaling and the order of colours, against plainer ways to the same numbers."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from lorabake.tagger_input import area_average, square


def noise(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def padded(image):
    """The centred white square, an odd pixel right or below, by numpy."""
    pixels = np.asarray(image)
    side = max(pixels.shape[:2])
    down, across = side - pixels.shape[0], side - pixels.shape[1]
    rims = ((down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0))
    return np.pad(pixels, rims, constant_values=255)


def true_means(pixels_hwc, side_px):
    """Each pixel as side_px small ones a side, of which blocks make the new pixels: exact, and slow."""
    side = len(pixels_hwc)
    fine = pixels_hwc.astype(float).repeat(side_px, 0).repeat(side_px, 1)
    return fine.reshape(side_px, side, side_px, side, 3).mean((1, 3))


SIZES = [(32, 32), (48, 48), (64, 64), (33, 33), (37, 37), (63, 63), (47, 20), (20, 47), (40, 39), (39, 40), (17, 18), (100, 7), (1, 50)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("side_px", [16, 15])
def test_shrinking_is_the_mean_of_what_each_pixel_covers(width, height, side_px):
    image = noise(width, height, seed=width * height)
    found = square(image, side_px)[:, :, ::-1].astype(float)
    assert np.abs(found - true_means(padded(image), side_px)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(("width", "height"), [(896, 896), (1000, 700), (449, 449), (640, 1201)])
def test_at_the_size_of_real_taggers(width, height):
    """Against means by summed areas, in float64."""
    pixels = padded(noise(width, height)).astype(np.float64)
    for axis in (0, 1):
        values = np.moveaxis(pixels, axis, 0)
        sums = np.concatenate([np.zeros_like(values[:1]), values.cumsum(0)])
        edges = np.linspace(0, len(values), 449)
        whole = np.minimum(edges.astype(int), len(values) - 1)
        at = sums[whole] + (sums[whole + 1] - sums[whole]) * (edges - whole).reshape(-1, 1, 1)
        pixels = np.moveaxis((at[1:] - at[:-1]) * 448 / len(values), 0, axis)
    found = square(noise(width, height), 448)
    assert found.shape == (448, 448, 3) and found.dtype == np.uint8 and found.flags.c_contiguous
    assert np.abs(found[:, :, ::-1] - pixels).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(("width", "height", "corner"), [(8, 8, (0, 0)), (5, 8, (1, 0)), (8, 5, (0, 1)), (7, 8, (0, 0)), (1, 8, (3, 0))])
def test_a_picture_of_the_right_size_is_only_padded(width, height, corner):
    image = noise(width, height)
    found = square(image, 8)[:, :, ::-1]
    assert np.array_equal(found, padded(image))
    left, top = corner
    assert np.array_equal(found[top : top + height, left : left + width], np.asarray(image))


@pytest.mark.parametrize(("width", "height"), [(5, 5), (4, 7), (7, 3), (1, 1)])
def test_a_small_picture_is_padded_and_then_enlarged_by_lanczos(width, height):
    image = noise(width, height)
    expected = Image.fromarray(padded(image)).resize((16, 16), Image.Resampling.LANCZOS)
    assert np.array_equal(square(image, 16)[:, :, ::-1], np.asarray(expected))


@pytest.mark.parametrize("side", [4, 16, 40])
def test_blue_comes_first(side):
    assert square(Image.new("RGB", (side, side), (10, 20, 30)), 16).reshape(-1, 3).tolist() == [[30, 20, 10]] * 256


def test_one_colour_stays_itself_at_every_ratio():
    for side in range(17, 120):
        assert (area_average(np.full((side, side, 3), 137, np.uint8), 16) == 137).all(), side
        assert (area_average(np.full((side, side // 2, 3), 255, np.uint8), 16) == 255).all(), side


def test_a_long_strip_takes_no_more_memory_than_itself():
    """A webtoon of 700 x 12000 px: as a square it would be 432 MB, and four times that in float32."""
    strip = Image.new("RGB", (700, 12000), (0, 0, 0))
    tracemalloc.start()
    found = square(strip, 64)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found[:, 30:34] < 40).all() and (found[:, :28] == 255).all() and (found[:, 36:] == 255).all()
    assert peak < 400e6

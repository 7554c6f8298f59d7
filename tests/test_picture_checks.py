"""What is odd in a picture, each kind by itself, and good pictures that nothing is said of."""

import re

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lorabake import buckets, picture_checks

SIZES = buckets.resolutions(512, 256, 1024, 64)


def scene(size, seed=0):
    """Something like a photograph: soft blobs with grain."""
    random = np.random.default_rng(seed)
    soft = Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return Image.fromarray(np.clip(np.asarray(soft).astype(int) + random.integers(-4, 5, (size[1], size[0], 3)), 0, 255).astype(np.uint8))


def figure(size=(600, 600)):
    """A drawing in the middle of a plain background, as most are."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((150, 90, 450, 520), fill="red", outline="black", width=6)
    return image


def kinds(tmp_path, image, name="x.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return dict(picture_checks.look_at(path, 512, SIZES).found)


@pytest.mark.parametrize("size", [(512, 512), (640, 448), (1024, 1536), (480, 640)])
def test_nothing_is_said_of_good_pictures(tmp_path, size):
    assert kinds(tmp_path, scene(size)) == {}
    assert kinds(tmp_path, scene(size), "x.jpg", quality=90) == {}


def test_a_plain_background_is_no_border(tmp_path):
    assert kinds(tmp_path, figure()) == {}
    box = Image.new("RGB", (600, 600), "white")
    box.paste("blue", (200, 200, 400, 400))
    assert kinds(tmp_path, box) == {}


def test_small_ones_are_told_with_how_much(tmp_path):
    assert "enlarged 2.0 times" in kinds(tmp_path, scene((256, 256)))["small"]
    assert "small" not in kinds(tmp_path, scene((440, 440)))


def test_long_ones_lose_their_ends(tmp_path):
    assert "is cut off" in kinds(tmp_path, scene((3000, 500)))["cut off"]
    assert "cut off" not in kinds(tmp_path, scene((900, 500)))


@pytest.mark.parametrize("level", [0, 7, 255])
def test_one_colour(tmp_path, level):
    flat = Image.new("RGB", (600, 600), (level, level, level))
    assert "one colour" in kinds(tmp_path, flat) and "one colour" in kinds(tmp_path, flat, "x.jpg")


@pytest.mark.parametrize("colour", ["black", "white", "#204060"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_bars_on_two_sides(tmp_path, colour, suffix):
    wide = Image.new("RGB", (800, 600), colour)
    wide.paste(scene((800, 480)), (0, 60))
    assert re.match(r"bars above and below \((19|20) %", kinds(tmp_path, wide, f"x.{suffix}")["border"])
    tall = Image.new("RGB", (800, 600), colour)
    tall.paste(scene((640, 600)), (80, 0))
    assert re.match(r"bars left and right \((19|20) %", kinds(tmp_path, tall, f"x.{suffix}")["border"])


def test_transparent_and_broken_and_twice(tmp_path):
    clear = scene((600, 600)).convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 50, 50))
    assert "flatten" in kinds(tmp_path, clear, "clear.png")["transparent"]
    assert "transparent" not in kinds(tmp_path, scene((600, 600)).convert("RGBA"), "solid.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "again.png").write_bytes((tmp_path / "clear.png").read_bytes())
    files = sorted(tmp_path.iterdir())
    verdicts = picture_checks.look_at_all(files, 512, SIZES)
    assert [verdict.path for verdict in verdicts] == files
    assert dict(verdicts[1].found)["broken"].startswith("is damaged")
    assert picture_checks.twice(verdicts) == [(tmp_path / "again.png", tmp_path / "clear.png")]

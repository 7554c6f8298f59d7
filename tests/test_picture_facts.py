"""What is measured on a picture: what was done to it is found, and nothing is found on pictures to which nothing was done."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from lorabake import picture_checks, picture_facts
from photos import figure, scene

EXAMPLES = Path(__file__).parents[1] / "examples" / "openmoji" / "10_openmoji"
FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def look(tmp_path, image, name="x.png", **options):
    image.save(tmp_path / name, **options)
    return picture_facts.look(tmp_path / name)


def enlarged(image, times, method):
    return image.resize((round(image.width * times), round(image.height * times)), method)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_found_on_a_sharp_picture(tmp_path, seed):
    for name, options in (("x.png", {}), ("x.jpg", {"quality": 90})):
        seen = look(tmp_path, scene((700, 520), seed), name, **options)
        assert (seen.problem, seen.detail, seen.blurred, seen.repeated, seen.one_colour) == ("", 1.0, False, 1, False)
        assert seen.blocks < picture_checks.BLOCKS_FROM and seen.bars == (0, 0, 0, 0) and (seen.width, seen.height) == (700, 520)


def test_nothing_is_found_on_real_drawings():
    for path in sorted(EXAMPLES.glob("*.png")):
        seen = picture_facts.look(path)
        assert (seen.problem, seen.detail, seen.repeated, seen.one_colour) == ("", 1.0, 1, False), path
        assert seen.blocks < picture_checks.BLOCKS_FROM and not min(seen.bars[:2]) and not min(seen.bars[2:]), path


@pytest.mark.parametrize("method", FILTERS, ids=lambda method: method.name)
@pytest.mark.parametrize("times", [2, 3, 4])
def test_enlarged_pictures_are_found(tmp_path, times, method):
    drawing = Image.open(EXAMPLES / "dog-face.png").convert("RGBA")
    drawing = Image.alpha_composite(Image.new("RGBA", drawing.size, "white"), drawing).convert("RGB")
    found = [look(tmp_path, enlarged(image, times, method)).detail for image in (scene((400, 400)), scene((400, 300), 5), drawing)]
    assert all(detail > 1 for detail in found), found


@pytest.mark.parametrize("radius", [2, 3, 5])
def test_blurred_pictures_are_found(tmp_path, radius):
    seen = look(tmp_path, scene().filter(ImageFilter.GaussianBlur(radius)))
    assert seen.detail >= 3 and seen.blurred


def test_a_blurred_background_is_no_blurred_picture(tmp_path):
    image = scene((1200, 900)).filter(ImageFilter.GaussianBlur(8))
    image.paste(scene((300, 300), 3), (500, 300))
    assert look(tmp_path, image).detail == 1.0


@pytest.mark.parametrize("times", [2, 3, 8])
def test_repeated_pixels(tmp_path, times):
    small = figure((60, 60))
    seen = look(tmp_path, enlarged(small, times * 2, Image.Resampling.NEAREST))
    assert seen.repeated == times * 2
    assert look(tmp_path, scene((60 * times, 60 * times))).repeated == 1


@pytest.mark.parametrize("offset", [0, 3, 5])
def test_blocks_are_found_wherever_the_grid_begins(tmp_path, offset):
    scene((640, 640)).save(tmp_path / "packed.jpg", quality=10)
    again = Image.open(tmp_path / "packed.jpg").convert("RGB").crop((offset, offset, 640, 640))
    packed = look(tmp_path, again)
    assert packed.blocks > picture_checks.BLOCKS_FROM and packed.quality == 0
    assert look(tmp_path, scene((640, 640)), "fine.jpg", quality=92).blocks < 0.5


@pytest.mark.parametrize("method", FILTERS, ids=lambda method: method.name)
@pytest.mark.parametrize("seed", range(4))
def test_an_enlarged_picture_has_no_blocks(tmp_path, method, seed):
    assert look(tmp_path, enlarged(scene((300, 300), seed), 2, method)).blocks < picture_checks.BLOCKS_FROM


@pytest.mark.parametrize("quality", [5, 20, 39, 41, 75, 95])
def test_the_quality_of_a_jpeg(tmp_path, quality):
    assert abs(look(tmp_path, scene((64, 64)), "x.jpg", quality=quality).quality - quality) <= 1


@pytest.mark.parametrize("level", [0, 7, 255])
def test_one_colour(tmp_path, level):
    flat = Image.new("RGB", (600, 600), (level, level, level))
    for name in ("x.png", "x.jpg"):
        seen = look(tmp_path, flat, name)
        assert seen.one_colour and seen.hash == "" and seen.detail == 1.0


@pytest.mark.parametrize("colour", ["black", "white", "#204060"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_bars_on_two_sides(tmp_path, colour, suffix):
    wide = Image.new("RGB", (800, 600), colour)
    wide.paste(scene((800, 480)), (0, 60))
    assert look(tmp_path, wide, f"x.{suffix}").bars[:2] == pytest.approx((0.1, 0.1), abs=0.005)
    tall = Image.new("RGB", (800, 600), colour)
    tall.paste(scene((640, 600)), (80, 0))
    assert look(tmp_path, tall, f"x.{suffix}").bars[2:] == pytest.approx((0.1, 0.1), abs=0.005)


def test_a_plain_background_is_no_bar(tmp_path):
    assert look(tmp_path, figure()).bars == (0, 0, 0, 0)
    box = Image.new("RGB", (600, 600), "white")
    box.paste("blue", (200, 200, 400, 400))
    assert look(tmp_path, box).bars == (0, 0, 0, 0)


def test_transparent(tmp_path):
    clear = scene((600, 600)).convert("RGBA")
    assert not look(tmp_path, clear).transparent
    clear.paste((0, 0, 0, 0), (0, 0, 50, 50))
    assert look(tmp_path, clear).transparent


def likeness(tmp_path, image, name="x.png", **options):
    return look(tmp_path, image, name, **options).hash


def test_the_same_picture_saved_otherwise_is_alike_and_others_are_not(tmp_path):
    image = scene((640, 480))
    own = likeness(tmp_path, image)
    again = {
        "half": likeness(tmp_path, image.resize((320, 240), Image.Resampling.LANCZOS)),
        "jpeg": likeness(tmp_path, image, "x.jpg", quality=40),
        "cropped": likeness(tmp_path, image.crop((4, 3, 637, 478))),
        "brighter": likeness(tmp_path, ImageEnhance.Brightness(image).enhance(1.15)),
    }
    assert {name: picture_checks.bits(own, other) <= picture_checks.ALIKE_BITS for name, other in again.items()} == dict.fromkeys(
        again, True
    )
    turned = look(tmp_path, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert picture_checks.bits(turned.mirrored, own) <= picture_checks.ALIKE_BITS < picture_checks.bits(turned.hash, own)
    assert picture_checks.bits(own, likeness(tmp_path, scene((640, 480), 1))) > 2 * picture_checks.ALIKE_BITS


def test_no_two_of_the_example_drawings_are_alike():
    seen = [picture_facts.look(path) for path in sorted(EXAMPLES.glob("*.png"))]
    assert picture_checks.groups([one.hash for one in seen], [one.mirrored for one in seen]) == []


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 4000), (70, 31), (513, 64)])
def test_every_kind_and_size_has_facts(tmp_path, mode, size):
    random = np.random.default_rng(5)
    grey = Image.fromarray(random.integers(0, 256, size[::-1], dtype=np.uint8))
    image = Image.fromarray(random.integers(0, 65536, size[::-1], dtype=np.uint16)) if mode == "I;16" else grey.convert(mode)
    seen = look(tmp_path, image, "x.tif" if mode == "CMYK" else "x.png")
    assert seen.problem == "" and (seen.width, seen.height) == size and re.fullmatch("[0-9a-f]{64}", seen.digest)


def test_what_is_broken_or_gone_is_a_fact(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    seen = picture_facts.look(tmp_path / "broken.png")
    assert seen.problem.startswith("is damaged") and seen.digest and not seen.hash
    assert picture_facts.look(tmp_path / "gone.png").problem
    assert picture_facts.look(tmp_path).problem

"""One picture made anew: the same pixels as ImageMagick's own `mogrify -flatten`, and what must survive."""

import io
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image, features

import icc
import png
from lorabake import images, repaint
from lorabake.damage import ImageError
from lorabake.repaint import Upscale, Wish
from photos import scene

MAGICK = [shutil.which("magick"), "mogrify"] if shutil.which("magick") else [shutil.which("mogrify")]
needs_magick = pytest.mark.skipif(not MAGICK[0] or not repaint.imagemagick(), reason="ImageMagick is not installed")
ENGINES = [pytest.param("wand", marks=pytest.mark.skipif(not repaint.imagemagick(), reason="ImageMagick is not installed")), "pillow"]


@pytest.fixture
def engine(request, monkeypatch):
    if request.param == "pillow":
        monkeypatch.setattr(repaint, "imagemagick", lambda: None)
    return request.param


PROFILE = icc.rgb()


def random_picture(number, mode):
    """Blocks of colour, of each kind of alpha: clear, solid, soft; hidden colours under the clear ones."""
    random = np.random.default_rng(number)
    size = tuple(int(side) for side in random.integers(1, 40, 2))
    bands = {"RGBA": 4, "LA": 2}[mode]
    cells = random.integers(0, 256, (int(random.integers(1, 9)), int(random.integers(1, 9)), bands), np.uint8)
    image = Image.fromarray(cells, mode).resize(size, Image.Resampling(int(random.choice([0, 2]))))
    alpha = image.getchannel("A").point([0 if a < 60 else 255 if a > 200 else a for a in range(256)])
    image.putalpha(alpha)
    return image


def written(path, wish=None):
    """(the new picture's pixels, what was lost) of a file."""
    aside = path.with_name("_tmp" + path.suffix)
    lost = repaint.write(path, aside, images.layers(path), wish or Wish())
    with Image.open(aside) as image:
        image.load()
        return image, lost


def mogrified(path, background="white"):
    """What ImageMagick itself makes of it; GIF and the like by their first frame."""
    copy = path.with_name("magick" + path.suffix)
    shutil.copy(path, copy)
    subprocess.run([*MAGICK, "-background", background, "-flatten", str(copy)], check=True)
    with Image.open(copy) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@needs_magick
@pytest.mark.parametrize("engine", ENGINES, indirect=True)
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("number", range(12))
def test_the_same_pixels_as_imagemagick(tmp_path, engine, mode, number):
    """ImageMagick 6 cuts the last digit off where Pillow rounds: one level of 256, and none where wand does it."""
    path = tmp_path / "x.png"
    random_picture(number, mode).save(path)
    background = ["white", "#804020", "black"][number % 3]
    if images.layers(path).alpha is None:
        return
    ours, _ = written(path, Wish(background))
    difference = np.abs(np.asarray(ours.convert("RGB")).astype(int) - mogrified(path, background)).max()
    assert difference <= (0 if engine == "wand" else 1)


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".gif", *([".avif"] if features.check("avif") else [])])
def test_every_format_stays_what_it_is(tmp_path, engine, suffix):
    """And agrees with what the trainer sees of the transparent file."""
    picture = Image.new("RGBA", (40, 24), (200, 30, 60, 255))
    picture.paste((0, 255, 0, 0), (0, 0, 10, 24))
    if suffix == ".gif":
        picture = picture.quantize(8)
    path = tmp_path / f"x{suffix}"
    options = {".webp": {"lossless": True}, ".avif": {"quality": 100}}.get(suffix, {})
    picture.save(path, **options)
    expected = np.asarray(images.composite(path, "#0000ff")).astype(int)
    ours, lost = written(path, Wish("#0000ff"))
    assert images.header(path.with_name("_tmp" + suffix)).format == images.header(path).format
    assert not images.header(path.with_name("_tmp" + suffix)).has_alpha
    assert np.abs(np.asarray(ours.convert("RGB")).astype(int) - expected).max() <= (4 if suffix == ".avif" else 1) and lost == ""


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
@pytest.mark.parametrize("background", ["checker", "dominant", "rebeccapurple"])
def test_every_background(tmp_path, engine, background):
    path = tmp_path / "x.png"
    random_picture(3, "RGBA").resize((64, 48), Image.Resampling.NEAREST).save(path)
    ours, _ = written(path, Wish(background))
    assert np.abs(np.asarray(ours.convert("RGB")).astype(int) - np.asarray(images.composite(path, background)).astype(int)).max() <= 1


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_turned_upright_with_profile_and_resolution_kept(tmp_path, engine):
    path = tmp_path / "x.png"
    picture = Image.new("RGBA", (40, 24), (200, 30, 60, 255))
    picture.putpixel((0, 0), (0, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "by hand"
    picture.save(path, exif=exif, icc_profile=PROFILE, dpi=(300, 300))
    ours, _ = written(path)
    assert ours.size == (24, 40) and ours.convert("RGB").getpixel((23, 0)) == (255, 255, 255)
    assert ours.getexif().get(0x0112, 1) == 1
    assert ours.info["icc_profile"] == PROFILE
    assert ours.info["dpi"][0] == pytest.approx(300, abs=1)


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_sixteen_bits_stay_or_are_told(tmp_path, engine):
    path = tmp_path / "x.png"
    row = [level for pixel in range(8) for level in (pixel * 8000 + 1, 300, 65535, 65535 - pixel * 9000)]
    path.write_bytes(png.write([row] * 4, 16, png.RGBA))
    _, lost = written(path)
    bits = path.with_name("_tmp.png").read_bytes()[24]
    assert (bits, lost) == ((16, "") if engine == "wand" else (8, "16 bits a channel became 8"))


def test_jpegs_are_cropped_with_the_tables_they_had(tmp_path):
    path = tmp_path / "x.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (16, 12, 3), np.uint8)
    Image.fromarray(noise).resize((120, 160)).save(path, quality=83, subsampling=0)
    ours, _ = written(path, Wish(crop=(8, 16, 64, 48)))
    with Image.open(path) as before:
        assert ours.size == (64, 48) and ours.quantization == before.quantization
        assert np.abs(np.asarray(ours).astype(int) - np.asarray(before)[16:64, 8:72].astype(int)).mean() < 1


def test_shrinking_never_enlarges(tmp_path):
    path = tmp_path / "x.png"
    Image.new("RGB", (300, 100)).save(path)
    found = images.layers(path)
    assert repaint.needed(found, Wish(max_side_px=300)) == []
    assert repaint.needed(found, Wish(max_side_px=150)) == ["shrink"]
    assert written(path, Wish(max_side_px=150))[0].size == (150, 50)


def upscale(side_px, **options):
    """By repeating pixels, which is known."""
    return Upscale(side_px, "model.pth", lambda image, size: image.resize(size, Image.Resampling.NEAREST), **options)


@pytest.mark.parametrize(
    ("size", "wish", "wanted"),
    [
        ((100, 80), Wish(upscale=upscale(160)), (200, 160)),
        ((100, 80), Wish(upscale=upscale(300)), (375, 300)),
        ((30, 90), Wish(upscale=upscale(100)), (100, 300)),
        ((100, 80), Wish(upscale=upscale(80)), (100, 80)),
        ((100, 80), Wish(upscale=upscale(160), max_side_px=150), (150, 120)),
        ((120, 480), Wish(upscale=upscale(200), max_side_px=400), (100, 400)),
        ((400, 100), Wish(upscale=upscale(200), max_side_px=400), (400, 100)),
        ((1000, 4), Wish(upscale=upscale(100)), (8192, 33)),
        ((9000, 4), Wish(upscale=upscale(100)), (9000, 4)),
        ((1, 300), Wish(max_side_px=100), (1, 100)),
    ],
)
def test_the_size_that_a_picture_gets_and_keeps(size, wish, wanted):
    """The shorter side grows, the longer one has its limit; what has its size is not done a second time."""
    assert repaint.sized(size, wish) == wanted
    assert repaint.sized(wanted, wish) == wanted


def test_a_poor_jpeg_does_not_get_its_blocks_back(tmp_path):
    path = tmp_path / "x.jpg"
    scene((120, 100), 1).save(path, quality=20)
    with Image.open(path) as before:
        wanted = np.asarray(before).repeat(2, 0).repeat(2, 1).astype(int)
    ours, _ = written(path, Wish(upscale=upscale(200)))
    assert ours.format == "JPEG" and np.abs(np.asarray(ours).astype(int) - wanted).mean() < 2


def test_grey_stays_grey_when_upscaled(tmp_path):
    path = tmp_path / "x.png"
    scene((40, 30), 1).convert("L").save(path)
    with Image.open(path) as before:
        wanted = np.asarray(before).repeat(2, 0).repeat(2, 1)
    ours, _ = written(path, Wish(upscale=upscale(60)))
    assert ours.mode == "L" and np.array_equal(np.asarray(ours), wanted)


def test_a_model_that_fails_is_no_damage_of_the_picture(tmp_path):
    path = tmp_path / "x.png"
    scene((40, 30), 1).save(path)

    def fails(image, size):
        raise RuntimeError("CUDA error: unspecified launch failure")

    with pytest.raises(RuntimeError, match="launch failure"):
        written(path, Wish(upscale=Upscale(60, "model.pth", fails)))
    assert not path.with_name("_tmp.png").exists()


def test_a_gif_of_256_colours_keeps_them(tmp_path):
    path = tmp_path / "x.gif"
    random = np.random.default_rng(1)
    palette = random.integers(0, 256, (255, 3), np.uint8)
    index = random.integers(0, 256, (32, 32)).astype(np.uint8)
    picture = Image.fromarray(index, "P")
    picture.putpalette(palette.tobytes() + b"\x01\x02\x03")
    picture.save(path, transparency=255)
    expected = np.asarray(images.composite(path, "white"))
    ours = repaint._palette(images.composite(path, "white"))
    assert np.array_equal(np.asarray(ours.convert("RGB")), expected)


def test_damage_is_an_image_error(tmp_path):
    path = tmp_path / "x.png"
    buffer = io.BytesIO()
    random_picture(1, "RGBA").save(buffer, "PNG")
    path.write_bytes(buffer.getvalue()[:-30])
    with pytest.raises(ImageError, match=r"x\.png"):
        written(path)


def test_places_are_covered_before_the_crop_and_after_the_turn(tmp_path):
    image = Image.new("RGB", (60, 40), (10, 200, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.png", exif=exif)
    wish = Wish(blanks=((0, 0, 5, 5), (30, 50, 10, 10)), fill="#0000ff", crop=(2, 2, 38, 58))
    found = images.layers(tmp_path / "x.png")
    assert repaint.needed(found, wish) == ["blank", "crop"]
    assert repaint.write(tmp_path / "x.png", tmp_path / "y.png", found, wish) == ""
    made = Image.open(tmp_path / "y.png")
    assert made.size == (38, 58)
    assert [made.getpixel(at) for at in ((0, 0), (2, 2), (3, 3), (27, 47), (28, 48), (37, 57))] == [
        *((0, 0, 255), (0, 0, 255), (10, 200, 30)),
        *((10, 200, 30), (0, 0, 255), (0, 0, 255)),
    ]

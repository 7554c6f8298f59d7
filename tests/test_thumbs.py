"""Thumbnails: what they show, and that each is made once and never shown for another picture."""

import io
import os

import pytest
from PIL import Image

from lorabake import images, thumbs
from lorabake.damage import ImageError
from picture_files import FORMATS, corners, encoded, exif


def opened(data):
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return image


@pytest.mark.parametrize(("name", "options"), FORMATS, ids=[name for name, _ in FORMATS])
def test_every_format_shows_its_four_colours(tmp_path, name, options):
    path = tmp_path / f"bücher & {name}"
    path.write_bytes(encoded(name, corners((960, 640)), **options))
    image = opened(thumbs.of(path, 96))
    assert image.size == (96, 64)
    for at, colour in {(20, 16): (255, 0, 0), (70, 16): (0, 160, 0), (20, 48): (0, 0, 255), (70, 48): (255, 255, 0)}.items():
        assert max(abs(one - two) for one, two in zip(image.getpixel(at), colour, strict=True)) < 16


def test_upright_and_never_larger_than_the_picture(tmp_path):
    (tmp_path / "x.jpg").write_bytes(encoded("x.jpg", corners((48, 32)), exif=exif(6)))
    image = opened(thumbs.of(tmp_path / "x.jpg", 256))
    assert image.size == (32, 48)
    assert image.getpixel((24, 10))[0] > 200 and image.getpixel((24, 10))[2] < 60, "red is at the upper right now"


def test_a_jpeg_decoded_small_looks_like_one_decoded_whole(tmp_path):
    gradient = Image.merge(
        "RGB",
        [
            Image.linear_gradient("L").resize((1600, 1200)),
            Image.radial_gradient("L").resize((1600, 1200)),
            Image.new("L", (1600, 1200), 90),
        ],
    )
    gradient.save(tmp_path / "x.jpg", quality=95)
    assert images.layers(tmp_path / "x.jpg", near_px=128).colour.size < (1600, 1200), "the reader does shrink"
    whole = images.composite(tmp_path / "x.jpg", "white")
    whole.thumbnail((128, 128), Image.Resampling.HAMMING)
    small = opened(thumbs.of(tmp_path / "x.jpg", 128))
    assert small.size == whole.size
    worst = max(abs(one - two) for one, two in zip(small.tobytes(), whole.tobytes(), strict=True))
    assert worst < 20


def test_transparency_lies_on_the_background(tmp_path):
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(tmp_path / "x.png")
    assert min(opened(thumbs.of(tmp_path / "x.png", 20, background="#ff0000")).getpixel((5, 5))[:1]) > 240


def test_what_is_no_picture_is_told(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no")
    with pytest.raises(ImageError, match=r"x\.png"):
        thumbs.of(tmp_path / "x.png", 20)
    with pytest.raises(ImageError, match=r"y\.png"):
        thumbs.Cache(tmp_path).get(tmp_path / "y.png", 128)


@pytest.fixture
def made(monkeypatch):
    """The pictures that a thumbnail was really made of."""
    found = []
    real = thumbs.of
    monkeypatch.setattr(thumbs, "of", lambda path, side, **options: (found.append(path.name), real(path, side, **options))[1])
    return found


def test_each_is_made_once_even_over_restarts(tmp_path, made):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "x.png")
    cache = thumbs.Cache(tmp_path)
    first = cache.get(tmp_path / "x.png", 128)
    assert cache.get(tmp_path / "x.png", 128) is first
    assert thumbs.Cache(tmp_path).get(tmp_path / "x.png", 128) == first
    assert made == ["x.png"]
    cache.get(tmp_path / "x.png", 256)
    thumbs.Cache(tmp_path, background="black").get(tmp_path / "x.png", 128)
    assert made == ["x.png"] * 3, "another size, another background"


def test_a_picture_that_was_changed_gets_a_new_one(tmp_path, made):
    path = tmp_path / "x.png"
    Image.new("RGB", (40, 40), "red").save(path)
    cache = thumbs.Cache(tmp_path)
    cache.get(path, 128)
    Image.new("RGB", (40, 40), "blue").save(path)
    os.utime(path, ns=(1, 1))
    assert opened(cache.get(path, 128)).getpixel((5, 5))[2] > 200
    assert opened(thumbs.Cache(tmp_path).get(path, 128)).getpixel((5, 5))[2] > 200
    assert len(made) == 2
    assert len(list((tmp_path / thumbs.FOLDER).iterdir())) == 1, "the old one's place was taken"


def test_a_torn_file_of_the_cache_is_made_again(tmp_path, made):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "x.png")
    cache = thumbs.Cache(tmp_path)
    data = cache.get(tmp_path / "x.png", 128)
    place = cache.place(tmp_path / "x.png", 128)
    place.write_bytes(place.read_bytes()[:-1])
    assert thumbs.Cache(tmp_path).get(tmp_path / "x.png", 128) == data
    assert len(made) == 2


def test_where_nothing_can_be_written_memory_serves(tmp_path, made):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "x.png")
    (tmp_path / "_checks").write_text("a file where the folder would be", encoding="utf-8")
    cache = thumbs.Cache(tmp_path)
    assert cache.get(tmp_path / "x.png", 128) == cache.get(tmp_path / "x.png", 128)
    assert made == ["x.png"]


def test_memory_has_an_end(tmp_path, made):
    for name in "abc":
        Image.effect_noise((200, 200), 90).save(tmp_path / f"{name}.png")
    size = len(thumbs.of(tmp_path / "a.png", 1600))
    cache = thumbs.Cache(tmp_path, most_bytes=int(2.5 * size))
    made.clear()
    for name in "abab":
        cache.get(tmp_path / f"{name}.png", 1600)
    assert made == ["a.png", "b.png"]
    cache.get(tmp_path / "c.png", 1600)
    assert cache.num_bytes <= cache.most_bytes
    assert cache.num_bytes == sum(map(len, cache.kept.values()))
    cache.get(tmp_path / "b.png", 1600)
    assert made == ["a.png", "b.png", "c.png"], "the longest unused went"


def test_large_ones_are_not_written(tmp_path):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "x.png")
    thumbs.Cache(tmp_path).get(tmp_path / "x.png", 1600)
    assert not (tmp_path / "_checks").exists()

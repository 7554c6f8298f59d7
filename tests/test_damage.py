"""Whatever is wrong with a picture file becomes one line that begins with its path, and never anything else."""

import random
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import png
from lorabake import damage, images
from picture_files import FORMATS, corners, encoded, exif

# Pillow's warnings are silenced in images.py; pytest turns them on again
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("UserWarning", "PIL.Image.DecompressionBombWarning")]


def problem(path) -> str:
    with pytest.raises(images.ImageError) as caught:
        images.composite(path, "white")
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    assert [str(error) for error in images.decode_all([path])] == [text]
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (bytes(5000), "only zeros"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"<svg xmlns='x'>", "SVG"),
        (b"8BPS\0\1", "a Photoshop file: save it as PNG or JPEG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
        (b"\0\0\0\x20ftypisom", "a video"),
        (b"\xff\x0a\1\2", "JPEG XL"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PK\3\4xxx", "zip"),
        (b"just some words", "no picture of a format that is read here"),
        (b"\x89PNG\r\n\x1a\n", "is damaged, its header cannot be read"),
    ],
)
def test_files_that_are_no_pictures(tmp_path, content, words):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    assert words in problem(path)
    with pytest.raises(images.ImageError):
        images.header(path)


@pytest.mark.parametrize(("name", "options"), FORMATS)
def test_half_a_file_is_refused(tmp_path, name, options):
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(name, image, **options)
    path = tmp_path / name
    for share in (0.3, 0.5, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        assert any(word in problem(path) for word in ("cut off", "damaged"))


def test_a_png_with_one_wrong_bit_is_refused(tmp_path):
    data = bytearray(encoded("x.png", Image.effect_noise((64, 64), 50), compress_level=0))
    data[-300] ^= 1  # an uncompressed pixel: it would decode to a slightly wrong picture
    (tmp_path / "x.png").write_bytes(data)
    assert "damaged" in problem(tmp_path / "x.png")


def test_paths_that_cannot_be_opened(tmp_path):
    assert "cannot be opened: No such file" in problem(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    assert "cannot be opened" in problem(tmp_path / "folder.png")


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tif", "x.webp"])
def test_a_decompression_bomb_is_a_sentence_and_takes_no_memory(tmp_path, name):
    if name == "x.png":
        row = png.write([[0]], 8)
        data = row[:8] + png.chunk(b"IHDR", (30000).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0") + row[8 + 25 :]
    elif name == "x.bmp":
        small = bytearray(encoded(name))
        small[18:26] = (30000).to_bytes(4, "little") * 2
        data = bytes(small)
    elif name == "x.tif":
        small = bytearray(encoded(name, Image.new("L", (4, 4))))
        for tag in (256, 257):
            at = small.index(tag.to_bytes(2, "little") + b"\4\0\1\0\0\0")
            small[at + 8 : at + 12] = (30000).to_bytes(4, "little")
        data = bytes(small)
    else:
        small = bytearray(encoded(name, exif=exif(1)))
        at = small.index(b"VP8X") + 12
        small[at : at + 6] = (16000).to_bytes(3, "little") * 2
        data = bytes(small)
    path = tmp_path / name
    path.write_bytes(data)
    tracemalloc.start()
    text = problem(path)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "over 178 million pixels, too large: shrink it" in text
    assert peak < 20e6
    with pytest.raises(images.ImageError, match="178 million"):
        images.header(path)


def test_no_memory_is_a_sentence_too():
    with pytest.raises(images.ImageError, match="too large for this computer's memory"), damage.reading(images.Path("x.png")):
        raise MemoryError


def test_decode_all_lists_every_bad_file_in_order(tmp_path):
    files = []
    for number in range(60):
        path = tmp_path / f"{number:02}.png"
        path.write_bytes(b"" if number % 7 == 3 else encoded("x.png")[: 90 if number % 11 == 5 else None])
        files.append(path)
    bad = [path for number, path in enumerate(files) if number % 7 == 3 or number % 11 == 5]
    told = []
    found = images.decode_all(files, told.append)
    assert [str(error).split(": ")[0] for error in found] == [str(path) for path in bad]
    assert told == list(range(1, 61))
    assert images.decode_all([]) == []


def test_names_with_spaces_and_other_letters(tmp_path):
    path = tmp_path / "\u732b und B\u00fccher 1.png"
    corners().save(path)
    assert images.header(path).width == 48
    path.write_bytes(b"")
    assert "the file is empty" in problem(path)


FUZZED = [(*kind, mode) for kind in FORMATS for mode in ("RGB", "RGBA") if mode == "RGB" or kind[0] in ("x.png", "x.webp", "x.gif")]


@pytest.mark.parametrize(("name", "options", "mode"), FUZZED)
def test_damaged_files_give_a_picture_or_an_image_error_and_nothing_else(tmp_path, name, options, mode):
    """Random cuts and flips, the same ones each time. Neither another exception, nor a header that differs from the picture."""
    rng = random.Random(f"{name} {mode}")
    image = Image.effect_noise((24, 18), 60).convert(mode)
    extra = {} if name in ("x.bmp", "x.gif") else {"exif": exif(6)}
    whole = encoded(name, image, **options, **extra)
    path = tmp_path / name
    num_refused = 0
    for _ in range(50):
        data = bytearray(whole)
        if rng.random() < 0.4:
            del data[rng.randrange(len(data)) :]
        for _flip in range(rng.choice((0, 1, 1, 2, 8))):
            if data:
                at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), 120))
                data[at] = rng.randrange(256)
        path.write_bytes(data)
        try:
            header = images.header(path)
            found = images.composite(path, "dominant")
            assert found.mode == "RGB" and found.size == (header.width, header.height)
        except images.ImageError as error:
            num_refused += 1
            assert str(error).startswith(f"{path}: ") and str(error).isascii()
    assert num_refused > 5

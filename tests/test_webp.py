"""WebP headers as Pillow reads them, without the reading of the whole file."""

import io

import pytest
from PIL import Image

from lorabake import images, webp
from picture_files import corners, encoded, exif


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize(
    "extra", [{}, {"exif": exif(6)}, {"xmp": b'<x tiff:Orientation="8"/>'}, {"icc_profile": b"x" * 301, "exif": exif(3)}]
)
def test_webp_headers_agree_with_pillow(tmp_path, lossless, mode, extra):
    image = corners((301, 97)).convert(mode)
    if mode == "RGBA":
        image.putpixel((0, 0), (1, 2, 3, 40))
    path = tmp_path / "x.webp"
    image.save(path, lossless=lossless, **extra)
    with path.open("rb") as file:
        ours = webp.read(file)
        assert file.tell() == 0
    assert ours is not None
    with Image.open(path) as theirs:
        assert (ours.width, ours.height, ours.has_alpha) == (*theirs.size, theirs.mode == "RGBA")
        for name in ours.info:
            assert ours.info[name] == theirs.info[name]
    header = images.header(path)
    assert (header.width, header.height) == images.composite(path, "white").size
    assert header == images._any_header(path.open("rb"))


def test_webp_that_is_cut_off_is_left_to_pillow(tmp_path):
    data = encoded("x.webp")
    for size in range(0, len(data), 7):
        assert webp.read(io.BytesIO(data[:size])) is None
    assert webp.read(io.BytesIO(encoded("x.png"))) is None

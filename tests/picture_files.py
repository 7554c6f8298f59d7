"""One small picture as a file of every format that is read, for the tests of images, damage and webp."""

import io

from PIL import Image

from lorabake import images

FORMATS = [
    ("x.png", {}),
    ("x.jpg", {"quality": 95, "subsampling": 0}),
    ("x.jpeg", {"quality": 95, "subsampling": 0, "progressive": True}),
    ("x.webp", {"quality": 95}),
    ("x.bmp", {}),
    ("x.gif", {}),
    ("x.tif", {}),
    ("x.tiff", {"compression": "tiff_lzw"}),
    *([("x.avif", {"quality": 95, "speed": 10})] if images.HAS_AVIF else []),
]


def corners(size=(48, 32)) -> Image.Image:
    """Four colours in four corners, so that every turn is another picture."""
    image = Image.new("RGB", size, (255, 0, 0))
    width, height = size[0] // 2, size[1] // 2
    image.paste((0, 160, 0), (width, 0, *size))
    image.paste((0, 0, 255), (0, height, width, size[1]))
    image.paste((255, 255, 0), (width, height, *size))
    return image


def encoded(name: str, image: Image.Image | None = None, **options) -> bytes:
    buffer = io.BytesIO()
    (image or corners()).save(buffer, Image.registered_extensions()["." + name.rpartition(".")[2]], **options)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    found = Image.Exif()
    found[0x0112] = orientation
    return found.tobytes()

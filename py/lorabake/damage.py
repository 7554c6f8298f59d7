"""What is wrong with a picture file, in one line that begins with its path.

Not here: reading pictures (images.py).
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError, features

from lorabake import paths
from lorabake.errors import UserError

# Pillow's readers run into damaged bytes and raise whatever Python raises there.
DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, EOFError),
    *(MemoryError, RuntimeError, struct.error, zlib.error, Image.DecompressionBombError),
)
# First bytes of what people take for pictures, or save under a picture's name.
STRANGERS = (
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip archive (or a Krita or Office file)"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"gimp xcf", "a GIMP file"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"version https://git-lfs", "a Git LFS pointer, not the picture itself (git lfs pull gets it)"),
    (b"\x1aE\xdf\xa3", "a video"),
)
# First bytes of the formats that are read
OWN = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"}


class ImageError(UserError):
    """A picture file that cannot be read; the text is one line that begins with its path."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a reader raises inside becomes an ImageError about `path`."""
    try:
        yield
    except DAMAGE as error:
        raise ImageError(f"{path}: {_reason(path, error)}") from error


def _reason(path: Path, error: BaseException) -> str:
    """One line: what is wrong with the file, and what to do where that is known."""
    if isinstance(error, Image.DecompressionBombError):
        return f"over {2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000} million pixels, too large: shrink it"
    if isinstance(error, MemoryError):
        return "too large for this computer's memory: shrink it"
    if isinstance(error, OSError) and error.errno:
        return f"cannot be opened: {error.strerror}"
    start = _start(path)
    if not start:
        return "the file is empty (0 bytes)"
    if isinstance(error, UnidentifiedImageError):
        stranger = _stranger(start)
        if stranger:
            return f"is {stranger}: save it as PNG or JPEG"
        known = start.startswith(OWN) or start[8:11] == b"avi"
        return "is damaged, its header cannot be read: get it again" if known else "is no picture of a format that is read here"
    text = " ".join(str(error).split())
    if "truncated" in text.lower() or "incomplete" in text.lower():
        return "is cut off, the end of the picture is missing: get it again"
    detail = f" ({text})" if any(letter.isalpha() for letter in text) else ""  # libtiff's errors are mere numbers
    return f"is damaged{detail}: get it again, or open and save it in a picture editor"


def _start(path: Path) -> bytes:
    try:
        with open(paths.long_path(path), "rb") as file:  # noqa: PTH123
            return file.read(512)
    except OSError:
        return b"?"


def _stranger(start: bytes) -> str | None:
    """What a file that is no picture here is, by its first bytes."""
    for mark, name in STRANGERS:
        if start.startswith(mark):
            return name
    if start[4:8] == b"ftyp":
        if start[8:11] == b"avi":
            return None if features.check("avif") else "an AVIF picture, which this Pillow cannot read"
        return "a HEIC picture (of an iPhone)" if start[8:12] in HEIF_BRANDS else "a video"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page, not the picture itself"
    if text.startswith((b"<svg", b"<?xml")):
        return "an SVG or other XML file"
    if not start.strip(b"\0"):
        return "only zeros (a download or copy that failed)"
    return None

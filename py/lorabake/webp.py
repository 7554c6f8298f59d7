"""The header of a WebP file. Pillow reads the whole file and sets up a decoder to say how large a picture is; a plan asks that of hundreds.

Not here: pixels, and what is wrong with a file: where anything is unusual the answer is None, and Pillow is asked after all.
Source: RFC 9649 (WebP image format).
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

ALPHA, EXIF, XMP, ANIMATION = 0x10, 0x08, 0x04, 0x02  # flags of VP8X
HEAD_BYTES = 16  # of a chunk; all that has to be read but for metadata
METADATA = {b"EXIF": "exif", b"XMP ": "xmp"}  # by the names of Pillow's image.info
MOST_METADATA_BYTES = 2**24


@dataclass(frozen=True)
class WebpHeader:
    """Size in px as stored; `info` holds EXIF and XMP as Pillow names them."""

    width: int
    height: int
    has_alpha: bool
    animated: bool
    info: dict[str, Any]


def read(file: BinaryIO) -> WebpHeader | None:
    """The header of `file`, or None when it is no ordinary, whole WebP. The file's position is where it was."""
    here = file.tell()
    try:
        return _read(file, file.seek(0, os.SEEK_END))
    except (struct.error, IndexError):
        return None
    finally:
        file.seek(here)


def _read(file: BinaryIO, num_bytes: int) -> WebpHeader | None:
    file.seek(0)
    riff, riff_bytes, webp = struct.unpack("<4sI4s", file.read(12))
    if riff != b"RIFF" or webp != b"WEBP" or riff_bytes + 8 > num_bytes:
        return None
    chunks = _chunks(file, 12, riff_bytes + 8)
    name, head, _size, _start = next(chunks, (b"", b"", 0, 0))
    if name == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", head[6:10]))
        return WebpHeader(width, height, False, False, {}) if width and height else None
    if name == b"VP8L" and head[0] == 0x2F:
        bits = int.from_bytes(head[1:5], "little")
        return WebpHeader((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1), False, {})
    if name != b"VP8X" or len(head) < 10:
        return None
    width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (4, 7))
    info: dict[str, Any] = {}
    if head[0] & (EXIF | XMP):
        for name, _head, size, start in chunks:
            if name in METADATA and size <= MOST_METADATA_BYTES:
                file.seek(start)
                info[METADATA[name]] = file.read(size)
    return WebpHeader(width, height, bool(head[0] & ALPHA), bool(head[0] & ANIMATION), info)


def _chunks(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, bytes, int, int]]:
    """(name, first bytes, size, where its bytes start) of each chunk; sizes are padded to even."""
    while at + 8 <= end:
        file.seek(at)
        name, size = struct.unpack("<4sI", file.read(8))
        yield name, file.read(min(size, HEAD_BYTES)), size, at + 8
        at += 8 + size + size % 2

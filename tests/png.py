"""PNG files byte by byte, for what Pillow cannot write: every bit depth with a transparent level, chunks behind the pixels, wrong sums."""

import struct
import zlib

GREY, RGB, RGBA = 0, 2, 6
NUM_CHANNELS = {GREY: 1, RGB: 3, RGBA: 4}


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def write(rows: list[list[int]], bits: int, kind: int = GREY, *, before: bytes = b"", behind: bytes = b"") -> bytes:
    """`rows` hold all samples of one line after another, each of `bits`; `before` and `behind` are chunks around the pixels."""
    width = len(rows[0]) // NUM_CHANNELS[kind]
    lines = b""
    for row in rows:
        text = "".join(f"{sample:0{bits}b}" for sample in row)
        text += "0" * (-len(text) % 8)
        lines += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + before + chunk(b"IDAT", zlib.compress(lines)) + behind + chunk(b"IEND", b"")

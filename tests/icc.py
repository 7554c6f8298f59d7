"""Small colour profiles for the tests, built byte by byte (ICC.1:2001-04): RGB by primaries, grey by a gamma, CMYK by a table."""

import struct

D50 = (0.9642, 1.0, 0.8249)
# Display P3's primaries adapted to D50, one (X, Y, Z) per channel
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    name = b"test"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + b"\0" + bytes(4 + 4 + 2 + 1 + 67)
    tags = {b"desc": described, b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(D50), **tags}
    at = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for tag, value in tags.items():
        value += bytes(-len(value) % 4)
        table += struct.pack(">4sII", tag, at + len(data), len(value))
        data += value
    head = struct.pack(">I4sI4s4s4s", at + len(data), bytes(4), 0x02400000, kind, space, connection)
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(*D50)
    return head.ljust(128, b"\0") + table + data


def rgb(primaries: tuple[tuple[float, ...], ...] = P3, gamma: float = 2.2) -> bytes:
    """An RGB profile with one gamma for all channels."""
    tags = {name: _xyz(value) for name, value in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _gamma(gamma)))


def grey(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma(gamma)})


def cmyk(inks: tuple[tuple[int, int, int], ...]) -> bytes:
    """A printer's profile. `inks` are L*, a*, b* of cyan, magenta and yellow alone; mixtures are dark greys, black is black."""
    paper = (100, 0, 0)
    table = b""
    for corner in range(16):  # cyan is the slowest to change, black the fastest
        on = [bool(corner & bit) for bit in (8, 4, 2, 1)]
        lab = (0, 0, 0) if on[3] else paper if not any(on) else inks[on.index(True)] if sum(on) == 1 else (30, 0, 0)
        table += bytes((round(lab[0] * 2.55), lab[1] + 128, lab[2] + 128))
    ramp = bytes(range(256))
    identity = _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + ramp * 4 + table + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})

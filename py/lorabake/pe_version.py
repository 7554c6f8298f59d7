"""The version resource of a Windows DLL or program, read from its bytes: its number, product, copyright. On any system.

Formats: Microsoft's "PE Format" (headers, sections, .rsrc) and VS_VERSIONINFO (learn.microsoft.com, menurc). Only the headers and the
resource are read, so a DLL of 500 MB takes as long as a small one. Not here: judging it (dll_needs.py). Standard library only.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

RT_VERSION = 16
FIXED_MARK = 0xFEEF04BD  # dwSignature of VS_FIXEDFILEINFO
IS_FOLDER = 0x80000000  # of an entry in the tree of resources
MOST_SECTIONS, MOST_ENTRIES, MOST_BYTES = 96, 4096, 1 << 20  # Windows' own limit; a version resource has 1 KB
OPTIONAL_32, OPTIONAL_64 = 0x10B, 0x20B


@dataclass(frozen=True)
class Version:
    """`numbers` are the file's (9, 20, 0, 48); `texts` what stands in its first table of strings, such as ProductName."""

    numbers: tuple[int, ...]
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """'9.20.0.48'."""
        return ".".join(map(str, self.numbers))


class NoVersion(ValueError):
    """The file says nothing of its version."""


class Damaged(NoVersion):
    """It is no Windows program or library, or not whole."""


def read(path: Path) -> Version:
    """The version of the file. Raises NoVersion (Damaged) with the reason, OSError where it cannot be read."""
    with Path(path).open("rb") as file:
        return read_from(file)


def read_from(file: BinaryIO) -> Version:
    """The same of an open file."""
    try:
        return parse(version_resource(file))
    except struct.error as error:
        raise Damaged("the file is cut off or damaged") from error


def version_resource(file: BinaryIO) -> bytes:
    """The bytes of the first version resource. Raises NoVersion, struct.error."""
    header = _at(file, 0, 64)
    if header[:2] != b"MZ":
        raise Damaged("no Windows program or library")
    (start,) = struct.unpack_from("<I", header, 60)
    coff = _at(file, start, 24)
    if coff[:4] != b"PE\0\0":
        raise Damaged("no Windows program or library")
    num_sections, optional_size = struct.unpack_from("<H12xH", coff, 6)
    optional = _at(file, start + 24, min(optional_size, 240))
    (magic,) = struct.unpack_from("<H", optional)
    if magic not in {OPTIONAL_32, OPTIONAL_64} or num_sections > MOST_SECTIONS:
        raise Damaged("no Windows program or library")
    first = 112 if magic == OPTIONAL_64 else 96
    (num_folders,) = struct.unpack_from("<I", optional, first - 4)
    address, _ = struct.unpack_from("<II", optional, first + 16) if num_folders > 2 else (0, 0)
    if not address:
        raise NoVersion("it holds no resources")
    table = _at(file, start + 24 + optional_size, 40 * num_sections)
    sections = [struct.unpack_from("<III", table, 40 * number + 12) for number in range(num_sections)]
    root = _offset(sections, address)
    entry = root
    for level in range(3):  # type, name, language
        entry = root + _child(file, entry, RT_VERSION if level == 0 else None, folder=level < 2)
    where, size = struct.unpack("<II", _at(file, entry, 8))
    if size > MOST_BYTES:
        raise NoVersion("its version is too long to be one")
    return _at(file, _offset(sections, where), size)


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    found = file.read(size)
    if len(found) < size:
        raise Damaged("the file is cut off or damaged")
    return found


def _offset(sections: list[tuple[int, ...]], address: int) -> int:
    """Where in the file the bytes are that lie at `address` when it is loaded."""
    for begin, size, offset in ((section[0], section[1], section[2]) for section in sections):
        if begin <= address < begin + size:
            return offset + address - begin
    raise Damaged("the file is cut off or damaged")


def _child(file: BinaryIO, folder_at: int, wanted: int | None, *, folder: bool) -> int:
    """Where (from the root) the entry `wanted`, or the first one, of a folder of resources is."""
    num_named, num_numbered = struct.unpack("<12xHH", _at(file, folder_at, 16))
    count = num_named + num_numbered
    if count > MOST_ENTRIES:
        raise Damaged("the file is cut off or damaged")
    entries = list(struct.iter_unpack("<II", _at(file, folder_at + 16, 8 * count)))
    found = next((where for number, where in entries if wanted is None or number == wanted), None)
    if found is None:
        raise NoVersion("it holds no version")
    if bool(found & IS_FOLDER) != folder:
        raise Damaged("the file is cut off or damaged")
    return found & ~IS_FOLDER


def parse(resource: bytes) -> Version:
    """A VS_VERSIONINFO as numbers and texts. Raises NoVersion, struct.error."""
    length, value_length, _, key, begin = _block(resource, 0)
    if key != "VS_VERSION_INFO" or value_length < 52:
        raise NoVersion("it holds no version")
    mark, _, high, low = struct.unpack_from("<IIII", resource, begin)
    if mark != FIXED_MARK:
        raise NoVersion("it holds no version")
    numbers = (high >> 16, high & 0xFFFF, low >> 16, low & 0xFFFF)
    texts: dict[str, str] = {}
    for info, info_end in _blocks(resource, begin + value_length, length):
        if _block(resource, info)[3] != "StringFileInfo":
            continue
        for table, table_end in _blocks(resource, _block(resource, info)[4], info_end):
            for entry, entry_end in _blocks(resource, _block(resource, table)[4], table_end):
                _, _, _, name, at = _block(resource, entry)
                value = resource[at:entry_end].decode("utf-16-le", "replace").split("\0")[0].strip()
                texts.setdefault(name, value)
    return Version(numbers, texts)


def _block(resource: bytes, at: int) -> tuple[int, int, int, str, int]:
    """(end, bytes of the value, kind, key, where the value begins) of the block at `at`."""
    length, value_length, kind = struct.unpack_from("<HHH", resource, at)
    end = at + 6
    while resource[end : end + 2] != b"\0\0":
        if end >= len(resource):
            raise Damaged("the file is cut off or damaged")
        end += 2
    return at + length, value_length, kind, resource[at + 6 : end].decode("utf-16-le", "replace"), _aligned(end + 2)


def _blocks(resource: bytes, begin: int, end: int) -> list[tuple[int, int]]:
    """(begin, end) of the blocks that stand between two places; ends at the first that has no room."""
    found: list[tuple[int, int]] = []
    at = _aligned(begin)
    end = min(end, len(resource))
    while at + 6 <= end and len(found) < MOST_ENTRIES:
        stop = _block(resource, at)[0]
        if stop <= at + 6 or stop > end:
            break
        found.append((at, stop))
        at = _aligned(stop)
    return found


def _aligned(offset: int) -> int:
    return (offset + 3) & ~3

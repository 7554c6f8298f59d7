"""Small files that are Windows DLLs as far as their headers and their version resource go, made byte by byte. Not here: code that runs."""

import struct

NVIDIA = {
    "CompanyName": "Windows (R) Win 7 DDK provider",  # so say NVIDIA's own since 9.10
    "FileDescription": "NVIDIA cuDNN Library",
    "LegalCopyright": "Copyright (c) 2014-2023 NVIDIA CORPORATION & AFFILIATES. All rights reserved.",
    "ProductName": "NVIDIA cuDNN Library",
}
RSRC_AT, RSRC_OFFSET = 0x2000, 0x400


def block(key, value=b"", children=b"", *, text=False):
    """One block of a version resource: lengths, kind, key, value, children, each at a multiple of four bytes."""
    head = key.encode("utf-16-le") + b"\0\0"
    head += b"\0" * (-(6 + len(head)) % 4)
    body = head + value
    if children:
        body += b"\0" * (-(6 + len(body)) % 4) + children
    return struct.pack("<HHH", 6 + len(body), len(value) // (2 if text else 1), int(text)) + body


def joined(blocks):
    whole = b""
    for one in blocks:
        whole += b"\0" * (-len(whole) % 4) + one
    return whole


def version_info(numbers, texts):
    """A VS_VERSIONINFO."""
    a, b, c, d = numbers
    fixed = struct.pack("<13I", 0xFEEF04BD, 0x10000, a << 16 | b, c << 16 | d, a << 16 | b, c << 16 | d, 0x3F, 0, 0x40004, 2, 0, 0, 0)
    strings = joined(block(key, (value + "\0").encode("utf-16-le"), text=True) for key, value in texts.items())
    table = block("040904b0", children=strings, text=True)
    var = block("VarFileInfo", children=block("Translation", struct.pack("<HH", 0x409, 0x4B0)), text=True)
    return block("VS_VERSION_INFO", fixed, joined([block("StringFileInfo", children=table, text=True), var]))


def dll(numbers=(9, 20, 0, 48), texts=None, *, kind=16, wide=True, tail=b""):
    """The bytes of a DLL with that version; `kind` 16 is a version resource, `tail` comes after everything."""
    info = version_info(numbers, NVIDIA if texts is None else texts)
    folders = b"".join(
        struct.pack("<IIHHHHII", 0, 0, 0, 0, 0, 1, number, where) for number, where in ((kind, 0x80000018), (1, 0x80000030), (0x409, 0x48))
    )
    rsrc = folders + struct.pack("<IIII", RSRC_AT + 0x58, len(info), 0, 0) + info
    rsrc += b"\0" * (-len(rsrc) % 0x200)
    optional = struct.pack("<H", 0x20B if wide else 0x10B) + b"\0" * (106 if wide else 90)
    folder_rows = b"\0" * 16 + struct.pack("<II", RSRC_AT, len(rsrc)) + b"\0" * (13 * 8)
    optional += struct.pack("<I", 16) + folder_rows
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, len(optional), 0x2022)
    section = b".rsrc\0\0\0" + struct.pack("<IIIIIIHHI", len(rsrc), RSRC_AT, len(rsrc), RSRC_OFFSET, 0, 0, 0, 0, 0x40000040)
    head = b"MZ" + b"\0" * 58 + struct.pack("<I", 64) + coff + optional + section
    return head.ljust(RSRC_OFFSET, b"\0") + rsrc + tail

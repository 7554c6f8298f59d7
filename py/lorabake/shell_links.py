"""Shortcut files (.lnk): written and read by Windows itself, through IShellLinkW. Not here: which ones there are (shortcuts.py).

Source: https://learn.microsoft.com/windows/win32/api/shobjidl_core/nn-shobjidl_core-ishelllinkw; the numbers are the methods' places in
the interface. Standard library only, Windows only.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHELL_LINK = "00021401-0000-0000-C000-000000000046"
I_SHELL_LINK, I_PERSIST_FILE = "000214F9-0000-0000-C000-000000000046", "0000010B-0000-0000-C000-000000000046"
DESKTOP = "B4BFCC3A-DB2C-424C-B029-7FE99A87C641"
QUERY, RELEASE = 0, 2
GET_PATH, GET_TEXT, SET_TEXT, SET_FOLDER, GET_ARGUMENTS, SET_ARGUMENTS, SET_PATH = 3, 6, 7, 9, 10, 11, 20
LOAD, SAVE = 5, 6
LONGEST = 32768  # characters that a command line may have
IN_PROCESS, APARTMENT = 1, 2


@dataclass(frozen=True)
class Link:
    """`target` is a program, `arguments` what stands behind it; what is dropped on the shortcut comes after that."""

    target: str
    arguments: str
    folder: str = ""
    text: str = ""


def desktop() -> Path | None:
    """This user's desktop, wherever OneDrive or the user has put it; None where there is none."""
    if sys.platform != "win32":
        return None
    import ctypes

    found = ctypes.c_wchar_p()
    if ctypes.windll.shell32.SHGetKnownFolderPath(_id(DESKTOP), 0, None, ctypes.byref(found)):
        return None
    text = found.value
    ctypes.windll.ole32.CoTaskMemFree(found)
    return Path(text) if text else None


def write(path: Path, link: Link) -> None:
    """Write the shortcut `path`, over one that is there. Raises OSError."""
    if sys.platform != "win32":
        raise OSError("shortcuts are Windows'")
    from ctypes import c_int, c_wchar_p

    with _shell_link() as (call, file):
        for number, value in ((SET_PATH, link.target), (SET_ARGUMENTS, link.arguments), (SET_FOLDER, link.folder), (SET_TEXT, link.text)):
            call(number, (c_wchar_p, value))
        file(SAVE, (c_wchar_p, str(path)), (c_int, 1))


def read(path: Path) -> Link | None:
    """What a shortcut starts; None where it cannot be read."""
    if sys.platform != "win32":
        return None
    import ctypes
    from ctypes import c_int, c_uint, c_void_p, c_wchar_p

    buffer = ctypes.create_unicode_buffer(LONGEST)
    try:
        with _shell_link() as (call, file):
            file(LOAD, (c_wchar_p, str(path)), (c_uint, 0))
            values = []
            for number in (GET_PATH, GET_ARGUMENTS, GET_TEXT):
                find_data = ((c_void_p, None), (c_uint, 0)) if number == GET_PATH else ()
                buffer.value = ""
                call(number, (c_wchar_p, buffer), (c_int, LONGEST), *find_data)
                values.append(buffer.value)
    except OSError:
        return None
    return Link(values[0], values[1], text=values[2])


def _id(text: str) -> Any:
    import ctypes

    return (ctypes.c_byte * 16)(*((byte + 128) % 256 - 128 for byte in uuid.UUID(text).bytes_le))


Call = Callable[..., None]


@contextmanager
def _shell_link() -> Iterator[tuple[Call, Call]]:
    """Two functions that call methods by number: of a new IShellLinkW, and of its IPersistFile. They raise OSError."""
    import ctypes

    if sys.platform != "win32":
        raise OSError("shortcuts are Windows'")
    pointers: list[ctypes.c_void_p] = []

    def caller(pointer: ctypes.c_void_p) -> Call:
        pointers.append(pointer)
        return lambda number, *given: _method(number, given)(pointer, *(value for _, value in given))

    def _method(number: int, given: Any) -> Any:
        return ctypes.WINFUNCTYPE(ctypes.HRESULT, *(kind for kind, _ in given))(number, "method")

    ole = ctypes.oledll.ole32
    ole.CoInitializeEx(None, APARTMENT)
    try:
        link, file = ctypes.c_void_p(), ctypes.c_void_p()
        ole.CoCreateInstance(_id(SHELL_LINK), None, IN_PROCESS, _id(I_SHELL_LINK), ctypes.byref(link))
        call = caller(link)
        wanted = _id(I_PERSIST_FILE)
        call(QUERY, (ctypes.c_void_p, ctypes.addressof(wanted)), (ctypes.c_void_p, ctypes.addressof(file)))
        yield call, caller(file)
    finally:
        for pointer in reversed(pointers):
            if pointer:
                ctypes.WINFUNCTYPE(ctypes.c_ulong)(RELEASE, "Release")(pointer)
        ctypes.windll.ole32.CoUninitialize()

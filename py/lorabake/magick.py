"""Where ImageMagick's DLLs are on Windows. No wheel brings them; wand looks for them at MAGICK_HOME, else where one registry value points.

Pillow does the same work without them, but for pictures of 16 bits a channel (repaint.py). Elsewhere the system's loader finds ImageMagick.
Source: wand/api.py, library_paths; https://docs.wand-py.org/en/latest/guide/install.html
Standard library only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

HOME = "MAGICK_HOME"
DLLS = ("CORE_RL_MagickWand_.dll", "CORE_RL_wand_.dll")  # of ImageMagick 7 and 6
KEY, VALUES = r"SOFTWARE\ImageMagick\Current", ("LibPath", "BinPath")
MACHINE_64 = b"\x64\x86"  # https://learn.microsoft.com/windows/win32/debug/pe-format, Machine Types
INSTALL = "winget install --exact --id ImageMagick.ImageMagick --source winget"
LOST = "pictures of 16 bits a channel become 8 when they are flattened"


def found(registry: Callable[[str], list[str]], variables: Mapping[str, str], *, path: str = "") -> Path | None:
    """The folder of an ImageMagick whose 64-bit DLLs wand can load: named by MAGICK_HOME, the registry, or on PATH; else None.

    `registry` gives what a value's name says in HKLM and HKCU, `path` is PATH with this system's separator.
    """
    for folder in _places(registry, variables, path):
        if any(_is_64(folder / name) for name in DLLS):
            return folder
    return None


def _places(registry: Callable[[str], list[str]], variables: Mapping[str, str], path: str) -> Iterator[Path]:
    named = [variables.get(HOME, ""), *(text for name in VALUES for text in registry(name)), *path.split(os.pathsep)]
    yield from (Path(text.strip('"')) for text in named if text)


def _is_64(dll: Path) -> bool:
    """Whether a file is a DLL for 64-bit programs."""
    with suppress(OSError), dll.open("rb") as file:
        file.seek(0x3C)
        file.seek(int.from_bytes(file.read(4), "little"))
        return file.read(6) == b"PE\0\0" + MACHINE_64
    return False


def here() -> Path | None:
    """`found` on this PC; None on other systems than Windows."""
    return found(_registry, os.environ, path=os.environ.get("PATH", "")) if sys.platform == "win32" else None


def prepare() -> None:
    """Before wand is imported: let it see the ImageMagick that is there. For this process only."""
    folder = here()
    if folder:
        os.environ[HOME] = str(folder)


def lost() -> str:
    """What cannot be done without ImageMagick, '' where it is there or where the system looks for it itself."""
    return "" if sys.platform != "win32" or here() else LOST


def _registry(name: str) -> list[str]:
    values: list[str] = []
    if sys.platform == "win32":
        import winreg

        for hive in (winreg.HKEY_LOCAL_MACHINE, winreg.HKEY_CURRENT_USER):
            with suppress(OSError), winreg.OpenKey(hive, KEY) as key:
                values.append(str(winreg.QueryValueEx(key, name)[0]))
    return values

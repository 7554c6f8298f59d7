"""Pictures inside the report: as data URIs, so that it is one file, and together small enough to open at once.

Small PNGs go in as they are, to the pixel; others as WebP, which every browser of today shows. Not here: where they stand
(report_sheets.py).
"""

import base64
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

BUDGET_BYTES = 10_500_000  # of encoded pictures; in base64 four thirds of it, under 15 MB with the rest of the page
SIDES_PX = (1024, 768, 512, 384, 256, 192, 128, 96)  # the longer side is at most the first of these with which all fit
AS_IT_IS_BYTES = 48_000
QUALITY = 86


@dataclass(frozen=True)
class Embedded:
    """A picture ready for `src`, with the size it is shown at when it is enlarged."""

    uri: str
    width: int
    height: int


def embed(paths: Iterable[Path], *, budget: int = BUDGET_BYTES) -> dict[Path, Embedded]:
    """Each picture that can be read, all of them within `budget` bytes where the smallest of SIDES_PX allows it."""
    wanted = list(dict.fromkeys(paths))
    found: dict[Path, Embedded] = {}
    limit = math.inf
    for side in SIDES_PX:
        if side > limit and side != SIDES_PX[-1]:
            continue
        found, total, largest = {}, 0, 1
        for number, path in enumerate(wanted, 1):
            encoded = _encoded(str(path), _changed(path), side)
            if encoded:
                kind, data, size = encoded
                total, largest = total + len(data), max(largest, *size)
                found[path] = Embedded(f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}", *size)
            if total > budget and side != SIDES_PX[-1]:
                limit = largest * math.sqrt(number / len(wanted))  # bytes go with the area: nothing larger is worth trying
                break
        else:
            break
    return found


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=1024)  # the report is written again at each save, with one column more
def _encoded(path: str, _mtime_ns: int, side: int) -> tuple[str, bytes, tuple[int, int]] | None:
    """(format, bytes, size) with the longer side at most `side` px; None for what cannot be read."""
    try:
        data = Path(path).read_bytes()
        with Image.open(io.BytesIO(data)) as picture:
            if picture.format == "PNG" and max(picture.size) <= side and len(data) <= AS_IT_IS_BYTES:
                picture.load()
                return "png", data, picture.size
            small = picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=QUALITY, method=4)
    return "webp", buffer.getvalue(), small.size

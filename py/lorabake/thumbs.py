"""Small pictures of pictures, as JPEG files in memory: made when somebody looks, kept for whoever looks again.

Not here: how pictures are read (images.py), who shows them (review.py, the sheet of a check).
"""

import hashlib
import io
import os
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from PIL import Image

from lorabake import images, paths, picture_memory

FOLDER = Path(picture_memory.FOLDER) / "thumbs"  # in a dataset; may be deleted at any time
QUALITY, LARGE_QUALITY, LARGE_FROM_PX = 84, 92, 1024
MEMORY_BYTES = 96 << 20


def of(path: Path, side_px: int, *, background: str = "white") -> bytes:
    """The picture as the trainer sees it, its longer side `side_px` at most, as a JPEG. Raises ImageError, UserError for the background."""
    image = images.composite(path, background, near_px=side_px)
    image.thumbnail((side_px, side_px), Image.Resampling.HAMMING)
    buffer = io.BytesIO()
    large = side_px >= LARGE_FROM_PX
    image.save(buffer, "JPEG", quality=LARGE_QUALITY if large else QUALITY, subsampling=0 if large else 2)
    return buffer.getvalue()


class Cache:
    """Thumbnails of one dataset: in memory up to `most_bytes`, the longest unused goes first, and on the disk where that can be written.

    A thumbnail belongs to its picture's size and time stamp, so that no old one is shown for a picture that was changed.
    """

    def __init__(self, folder: Path, *, background: str = "white", most_bytes: int = MEMORY_BYTES) -> None:
        self.folder, self.background, self.most_bytes = folder, background, most_bytes
        self.kept: OrderedDict[tuple[Path, str], bytes] = OrderedDict()
        self.num_bytes = 0
        self.lock = threading.Lock()
        self.at_work = threading.Semaphore(max(2, os.cpu_count() or 1))  # more would only hold more pictures in memory

    def get(self, path: Path, side_px: int) -> bytes:
        """`of` the picture, from where it is kept. Raises ImageError, UserError."""
        stamp = f"{stamp_of(path)}-{side_px}-{self.background}"
        with self.lock:
            if found := self.kept.get((path, stamp)):
                self.kept.move_to_end((path, stamp))
                return found
        place = self.place(path, side_px)
        data = _from_disk(place, stamp)
        if data is None:
            with self.at_work:
                data = of(path, side_px, background=self.background)
            _to_disk(place, stamp, data)
        self._keep((path, stamp), data)
        return data

    def place(self, path: Path, side_px: int) -> Path | None:
        """Where on the disk; None for large ones, which nobody looks at twice."""
        if side_px >= LARGE_FROM_PX:
            return None
        name = hashlib.sha256(path.relative_to(self.folder).as_posix().encode("utf-8", "surrogateescape")).hexdigest()[:24]
        return self.folder / FOLDER / f"{name}-{side_px}.thumb"

    def _keep(self, key: tuple[Path, str], data: bytes) -> None:
        with self.lock:
            self.num_bytes += len(data) - len(self.kept.pop(key, b""))
            self.kept[key] = data
            while self.num_bytes > self.most_bytes and len(self.kept) > 1:
                self.num_bytes -= len(self.kept.popitem(last=False)[1])


def stamp_of(file: Path | os.DirEntry[str]) -> str:
    """Size and time of a file as text, "" without one."""
    try:
        status = file.stat() if isinstance(file, os.DirEntry) else os.stat(paths.long_path(file))  # noqa: PTH116  (long_path is text)
    except OSError:
        return ""
    return f"{status.st_size:x}-{status.st_mtime_ns:x}"


def _from_disk(place: Path | None, stamp: str) -> bytes | None:
    """What is kept under this stamp, whole; else None."""
    if place is None:
        return None
    try:
        head, _, data = place.read_bytes().partition(b"\n")
    except OSError:
        return None
    return data if head == f"{stamp} {len(data)}".encode() else None


def _to_disk(place: Path | None, stamp: str, data: bytes) -> None:
    """Keep it; a folder that cannot be written is no fault, the next start makes it again."""
    if place is None:
        return
    aside = place.with_name(f"_tmp-{os.getpid()}-{threading.get_ident()}-{place.name}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(f"{stamp} {len(data)}\n".encode() + data)
        aside.replace(place)
    except OSError:
        with suppress(OSError):
            aside.unlink()

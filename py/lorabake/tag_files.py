"""A dataset's captions as files: which there are, the pictures that share them, and what a file holds after an edit. Nothing is written.

Not here: what is read from one file (captions.py), what py/tag.py does with them (tag_job.py).
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorabake import captions, images, paths, tag_query
from lorabake.errors import UserError

EXTENSION = ".txt"


@dataclass(frozen=True)
class Captioned:
    """One caption and the pictures that share it. `file` is where it is, or would be; `text` is None without one."""

    file: Path
    pictures: tuple[Path, ...]
    text: str | None
    problem: str

    @property
    def tags(self) -> list[str]:
        return captions.split_tags(self.text or "")


Reader = Callable[[], list[Captioned]]


def read_all(folder: Path, extension: str = EXTENSION) -> list[Captioned]:
    """Every caption below the folder, names with _ or . left out. Raises UserError when there are no pictures."""
    found: dict[Path, Captioned] = {}
    for picture in pictures_below(folder):
        read = captions.read(picture, extension)
        file = read.path or picture.with_suffix(extension)
        before = found.get(file)
        pictures = (*(before.pictures if before else ()), picture)
        found[file] = Captioned(file, pictures, read.text, read.problem)
    if not found:
        raise UserError("no pictures here", where=str(folder), allowed=", ".join(sorted(images.EXTENSIONS)))
    return list(found.values())


def pictures_below(folder: Path) -> list[Path]:
    found = []
    for path in paths.visible(folder):
        if path.is_dir():
            found += pictures_below(path)
        elif path.suffix.lower() in images.EXTENSIONS:
            found.append(path)
    return found


def tag_counts(found: Sequence[Captioned]) -> Counter[str]:
    """How many pictures carry each tag, by its plain spelling."""
    counts: Counter[str] = Counter()
    for one in found:
        for tag in tag_query.plain_tags(one.text or ""):
            counts[tag] += len(one.pictures)
    return counts


def whole(one: Captioned, after: str) -> bytes | None:
    """The file with its new caption, in UTF-8; lines that hold no caption (only the first with text is one) stay.

    None where the caption is another by now than the one that was read. Raises OSError.
    """
    fresh = f"{after}\n".encode()
    try:
        data = one.file.read_bytes()
    except FileNotFoundError:
        return None if one.text else fresh
    text, _ = captions.decode(data)
    if text is None or one.text is None:
        empty = text is not None and not text.strip("\ufeff \r\n\t")
        return fresh if empty or (one.problem and one.text is None) else None  # what is no text is replaced by who read it as that
    lines = re.split(r"(\r\n|\r|\n)", text.removeprefix("\ufeff"))
    for index, line in enumerate(lines):
        if stripped := line.strip().strip("\ufeff").strip():
            lines[index] = after
            return "".join(lines).encode() if stripped == one.text else None
    return None if one.text else fresh

"""Caption files and captions: finding and reading the text beside a picture, tags, and the token windows of CLIP.

The rules are those of the reference trainer (lora-facts.md 3.3 and 3.7), but a file that is empty, begins with a byte order mark, or is
not UTF-8 is read and told rather than a crash. Not here: tokens themselves (families/tokenizer.py), and captions that come from a
folder's name (scan.py).
"""

import codecs
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lorabake import paths

NEXT_EXTENSION = ".caption"  # tried where a picture has no file of the extension asked for
MOST_BYTES = 1_000_000  # a caption is a line; what is larger is something else
WINDOW = 75  # tokens between begin and end in one window of CLIP
FACE_CROP = re.compile(r"(.+?)(?:_\d+){4}")  # name_cx_cy_w_h: such crops share the caption of `name`
CYRILLIC = re.compile("[\u0430-\u044f\u0451]{3}")  # in a row, in small letters: accents of Western languages stand alone
KANA, SEVERAL_KANJI = re.compile(r"[\u3040-\u30ff]"), re.compile(r"[\u3400-\u9fff]{2,}")
MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class CaptionFile:
    """`path` is the file found, None without one. `text` is one line, "" for a file without text, None where there is none to use.
    `problem` says what the user should know, else ""."""

    path: Path | None
    text: str | None
    problem: str = ""


def read(picture: Path, extension: str) -> CaptionFile:
    """The caption beside `picture`: the first line with text. Where there is no file of `extension`, .caption is tried; the path tells."""
    for path in _candidates(picture, extension):
        try:
            with open(paths.long_path(path), "rb") as file:  # noqa: PTH123  (long_path is text)
                data = file.read(MOST_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            if path.is_symlink():
                return CaptionFile(path, None, "is a link to a file that is not there")
            continue
        except OSError as error:
            if path.is_dir():
                continue
            return CaptionFile(path, None, f"cannot be read: {error.strerror or error}")
        return _understood(path, data)
    return CaptionFile(None, None)


def _candidates(picture: Path, extension: str) -> Iterator[Path]:
    """Where a caption may lie, best first. Capital letters in the extension count on Linux only, so both spellings are tried."""
    crop = FACE_CROP.fullmatch(picture.stem)
    stems = [picture.stem, crop.group(1)] if crop else [picture.stem]
    for ending in dict.fromkeys((extension, NEXT_EXTENSION)):
        for stem in stems:
            for spelled in dict.fromkeys((ending, ending.upper())):
                yield picture.with_name(stem + spelled)


def _understood(path: Path, data: bytes) -> CaptionFile:
    if len(data) > MOST_BYTES:
        return CaptionFile(path, None, f"is over {MOST_BYTES // 1_000_000} MB, which is no caption")
    text, problem = decode(data)
    if text is None:
        return CaptionFile(path, None, problem)
    lines = [stripped for line in re.split(r"\r\n|\r|\n", text) if (stripped := line.strip().strip("\ufeff").strip())]
    if len(lines) > 1:
        more = f"has {len(lines)} lines, only the first is used: put all of it on one line"
        problem = f"{problem}; {more}" if problem else more
    return CaptionFile(path, lines[0] if lines else "", problem)


def decode(data: bytes) -> tuple[str | None, str]:
    """Text and what to say about its encoding; None for what is no text in any encoding that is tried here."""
    refused = "is not text that can be read here: save it as UTF-8"
    for mark, encoding in MARKS:
        if data.startswith(mark):
            try:
                text = data.removeprefix(codecs.BOM_UTF8).decode(encoding)
            except UnicodeDecodeError:
                return None, refused
            return text, "" if encoding == "utf-8" else f"is {encoding.upper()} and was read as that; other trainers want UTF-8"
    if b"\0" in data:
        return None, refused
    for encoding, language in (("utf-8", ""), ("cp1251", "Cyrillic"), ("cp932", "Japanese"), ("cp1252", "Western")):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8":
            return text, ""
        if encoding == "cp1252" or (_is_japanese(text) if encoding == "cp932" else CYRILLIC.search(text)):
            return text, f"is not UTF-8 and was read as {language} ({encoding}): look whether that is right, then save it as UTF-8"
    return None, refused


def _is_japanese(text: str) -> bool:
    """Whether text that came out of cp932 was that. Western accents also decode, as single kanji that swallow the letter behind them."""
    several = "".join(SEVERAL_KANJI.findall(text))
    return bool(KANA.search(text)) or any(kanji.encode("cp932")[1] >= 0x80 for kanji in several)


def split_tags(caption: str) -> list[str]:
    """The tags between commas, trimmed; empty ones are left out."""
    return [stripped for tag in caption.split(",") if (stripped := tag.strip())]


def join_tags(tags: Iterable[str]) -> str:
    return ", ".join(tags)


def process(caption: str, *, keep_tokens: int, shuffle: bool, rng: random.Random) -> str:
    """The caption as trained this time: as it is, or with its tags shuffled behind the first `keep_tokens`. `rng` alone decides."""
    if not shuffle:
        return caption
    tags = split_tags(caption)
    kept, loose = tags[:keep_tokens], tags[keep_tokens:]
    rng.shuffle(loose)
    return join_tags(kept + loose)


def tag_frequency(captions: Iterable[str]) -> dict[str, int]:
    """How often each tag stands in `captions`, one caption per picture: lower case, split at commas. In order of first appearance."""
    return dict(Counter(tag.lower() for caption in captions for tag in split_tags(caption)))


def windows(ids: list[int], num_windows: int, *, bos: int, eos: int, pad: int) -> list[list[int]]:
    """Token ids of one caption, without begin and end, as `num_windows` windows of 77; what does not fit is cut.

    Every window begins with `bos`. With pad == eos (SD 1) each also ends with it; with another pad a window that is full ends with `eos`,
    and one without tokens has `eos` at its first place, which is where pooled output is read.
    """
    room = num_windows * WINDOW
    inner = ids[:room]
    row = [*inner, eos, *[pad] * (room - len(inner))]
    last = row[-1]
    found = []
    for start in range(0, room, WINDOW):
        window = [bos, *row[start : start + WINDOW], last]
        if window[-2] not in (eos, pad):
            window[-1] = eos
        if window[1] == pad:
            window[1] = eos
        found.append(window)
    return found

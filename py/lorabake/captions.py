"""Caption files and what becomes of a caption: reading in any encoding, tags, shuffling, token windows.

As the reference trainer does it (lora-facts 3.3, 3.7), pure and without torch. Not here: the tokenizer (families/tokenizer.py).
"""

import codecs
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SECOND_EXTENSION = ".caption"
WINDOW = 77  # tokens of one pass through CLIP: begin, 75, end
INNER = WINDOW - 2
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class CaptionFile:
    """`path` None: there is no file. `text` None: missing or unreadable; "" : an empty file. `problem`: a sentence for the plan, or ""."""

    path: Path | None
    text: str | None
    problem: str = ""


def read(picture: Path, extension: str) -> CaptionFile:
    """The caption beside a picture: its stem with `extension`, else with .caption. The first line that is not blank counts."""
    extension = extension if extension.startswith(".") else f".{extension}"
    for suffix in dict.fromkeys((extension, SECOND_EXTENSION)):
        path = picture.with_name(picture.stem + suffix)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            return CaptionFile(path, None, f"{path.name} cannot be read ({error.strerror or error})")
        text, problem = decode(data)
        if text is None:
            return CaptionFile(path, None, f"{path.name}: {problem}")
        return CaptionFile(path, first_line(text), f"{path.name}: {problem}" if problem else "")
    return CaptionFile(None, None)


def decode(data: bytes) -> tuple[str | None, str]:
    """(text, problem): UTF-8, with or without a byte order mark, UTF-16 with one, else what Windows editors of Japan and the West write.

    A guess is said, because a wrong one would be learned; bytes that are no text at all give None.
    """
    for mark, encoding in BOMS:
        if data.startswith(mark):
            try:
                return data.decode(encoding), ""
            except UnicodeDecodeError:
                return None, "is damaged; save it again as UTF-8"
    if b"\0" in data:
        return None, "holds no text; write it anew as UTF-8"
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        pass
    for encoding, name in (("cp932", "Japanese (Shift-JIS)"), ("cp1252", "Western (Windows-1252)")):
        try:
            return data.decode(encoding), f"is not UTF-8, read as {name}; save it as UTF-8 to be sure"
        except UnicodeDecodeError:
            continue
    return None, "is in an unknown encoding; save it as UTF-8"


def first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def tags_of(caption: str) -> list[str]:
    """The tags between commas, trimmed, empty ones left out."""
    return [tag for tag in (part.strip() for part in caption.split(",")) if tag]


def process(caption: str, *, keep_tokens: int, shuffle: bool, rng: random.Random) -> str:
    """One look's caption. Shuffled: the first `keep_tokens` tags stay in front, the others change places, all joined with ", "."""
    if not shuffle:
        return caption
    tags = [part.strip() for part in caption.split(",")]
    tail = tags[keep_tokens:]
    rng.shuffle(tail)
    return ", ".join([*tags[:keep_tokens], *tail])


def windows(ids: Sequence[int], num_windows: int, *, bos: int, eos: int, pad: int) -> list[list[int]]:
    """Token ids (without begin and end) as `num_windows` rows of 77: begin, 75 of them, end, the last filled with `pad`.

    What does not fit is cut. With a pad other than the end token (SD2, SDXL's second encoder) a row that is not full ends its text
    with the end token, and a row's last place is the end token only where its 75th is text (lora-facts 3.7).
    """
    rows = []
    for number in range(num_windows):
        inner = list(ids[number * INNER : (number + 1) * INNER])
        if pad == eos:
            rows.append([bos, *inner, *[eos] * (WINDOW - 1 - len(inner))])
        elif len(inner) == INNER:
            rows.append([bos, *inner, eos])
        else:
            rows.append([bos, *inner, eos, *[pad] * (WINDOW - 2 - len(inner))])
    return rows


def tag_frequency(captions: Iterable[str]) -> dict[str, int]:
    """How many pictures carry each tag (lower case, once per picture), the most frequent first."""
    count = Counter(tag for caption in captions for tag in dict.fromkeys(t.lower() for t in tags_of(caption)))
    return dict(count.most_common())

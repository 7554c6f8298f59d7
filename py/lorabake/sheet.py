"""Contact sheets: pictures in rows and columns with labels, drawn with Pillow alone.

Pillow's own font has ASCII letters only; for others a font of the system is looked for, and without one accents are dropped.
Not here: which pictures (gallery.py).
"""

import unicodedata
from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageDraw, ImageFont

CELL_PX = 192  # smaller pictures are enlarged to this, so that a person sees them; larger ones are shrunk to at most LARGEST_PX
LARGEST_PX = 384
ENLARGED_UNDER = 96  # px: pixel by pixel, below it a smooth enlargement is only a blur
GAP_PX, MARGIN_PX, LABEL_PX = 8, 24, 170
TITLE_SIZE, HEAD_SIZE, LABEL_SIZE, SMALL_SIZE = 22, 16, 15, 13
LEADING = 1.3  # height of a line in sizes of its letters
MOST_LINES = 9
PAPER, INK, FAINT, LINE = (250, 250, 248), (30, 30, 34), (112, 112, 120), (224, 224, 220)
# Fonts of Windows, Linux and macOS by file name, those with the most scripts last; Pillow finds them where the system keeps them.
SYSTEM_FONTS = (
    "segoeui.ttf",
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "YuGothM.ttc",
    "msgothic.ttc",
    "malgun.ttf",
    "msyh.ttc",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def sheet(rows: Sequence[str], columns: Sequence[tuple[str, Sequence[Image.Image]]], *, title: str) -> Image.Image:
    """A row per text in `rows` ("label\\nsmall print"), a column per (heading, pictures), each with as many pictures as there are rows.

    RGB. Pictures of one sheet may differ in size; all are scaled by the same rule.
    """
    cells = [[fitted(picture) for picture in pictures] for _, pictures in columns]
    assert rows and columns and all(len(column) == len(rows) for column in cells)
    width = max(cell.width for column in cells for cell in column)
    labels = [_label(text) for text in rows]
    heights = [max(_height(labels[row]), *(column[row].height for column in cells)) for row in range(len(rows))]
    left = MARGIN_PX + LABEL_PX + GAP_PX
    full_width = left + len(columns) * (width + GAP_PX) - GAP_PX + MARGIN_PX
    titles = [(line, TITLE_SIZE, INK) for line in wrapped(title, TITLE_SIZE, full_width - 2 * MARGIN_PX)]
    heads = [[(line, HEAD_SIZE, INK) for line in wrapped(heading, HEAD_SIZE, width)] for heading, _ in columns]
    top_heads = MARGIN_PX + (_height(titles) + GAP_PX if title else 0)
    top = top_heads + max(map(_height, heads)) + GAP_PX
    canvas = Image.new("RGB", (full_width, top + sum(heights) + 2 * GAP_PX * (len(rows) - 1) + MARGIN_PX), PAPER)
    pen = ImageDraw.Draw(canvas)
    _write(pen, titles, (MARGIN_PX, MARGIN_PX))
    for number, head in enumerate(heads):
        _write(pen, head, (left + number * (width + GAP_PX) + width // 2, top_heads), middle=True)
    for row, height in enumerate(heights):
        if row:
            pen.line((MARGIN_PX, top - GAP_PX, full_width - MARGIN_PX, top - GAP_PX), fill=LINE)
        _write(pen, labels[row], (MARGIN_PX, top))
        for number, column in enumerate(cells):
            cell = column[row]
            canvas.paste(cell, (left + number * (width + GAP_PX) + (width - cell.width) // 2, top))
        top += height + 2 * GAP_PX
    return canvas


Line = tuple[str, int, tuple[int, int, int]]  # text, size, colour


def _label(text: str) -> list[Line]:
    caption, _, below = text.partition("\n")
    lines = [(line, LABEL_SIZE, INK) for line in wrapped(caption, LABEL_SIZE, LABEL_PX)]
    return lines + [(line, SMALL_SIZE, FAINT) for line in wrapped(below, SMALL_SIZE, LABEL_PX)]


def _height(lines: Sequence[Line]) -> int:
    return sum(round(size * LEADING) for _, size, _ in lines)


def _write(pen: ImageDraw.ImageDraw, lines: Sequence[Line], place: tuple[int, int], *, middle: bool = False) -> None:
    x, y = place
    for text, size, colour in lines:
        shown, face = lettering(text, size)
        pen.text((x - face.getlength(shown) / 2 if middle else x, y), shown, colour, font=face)
        y += round(size * LEADING)


def fitted(picture: Image.Image) -> Image.Image:
    """RGB; enlarged to CELL_PX or shrunk to LARGEST_PX by the longer side, else as it is."""
    longest = max(picture.size)
    wanted = min(max(longest, CELL_PX), LARGEST_PX)
    if wanted == longest:
        return picture.convert("RGB")
    size = (max(1, round(picture.width * wanted / longest)), max(1, round(picture.height * wanted / longest)))
    how = Image.Resampling.NEAREST if longest < ENLARGED_UNDER else Image.Resampling.LANCZOS
    return picture.convert("RGB").resize(size, how)


def wrapped(text: str, size: int, width: int) -> list[str]:
    """Lines of at most `width` px, broken at spaces and, where a word is longer, within it; beyond MOST_LINES it ends in three dots."""
    lines: list[str] = []
    for word in text.split():
        if lines and _fits(f"{lines[-1]} {word}", size, width):
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and not _fits(lines[-1] + letter, size, width):
                lines.append("")
            lines[-1] += letter
    if len(lines) > MOST_LINES:
        last = lines[MOST_LINES - 1]
        while last and not _fits(f"{last}...", size, width):
            last = last[:-1]
        lines[MOST_LINES - 1 :] = [f"{last}..."]
    return lines


def _fits(text: str, size: int, width: int) -> bool:
    shown, face = lettering(text, size)
    return face.getlength(shown) <= width


def lettering(text: str, size: int) -> tuple[str, Font]:
    """(what is to be written, in which font): Pillow's own for ASCII, else the font of the system that has most of its letters.

    What that one lacks loses its accents, or becomes a question mark.
    """
    letters = frozenset(letter for letter in text if not letter.isascii())
    name, missing = _system_font(letters) if letters else (None, letters)
    shown = "".join(_plain(letter) if letter in missing else letter for letter in text)
    return shown, ImageFont.truetype(name, size) if name else ImageFont.load_default(size)


def _plain(letter: str) -> str:
    """A letter in ASCII: without its accents, or a question mark; an accent that stands alone is dropped."""
    if unicodedata.combining(letter):
        return ""
    bare = unicodedata.normalize("NFKD", "ss" if letter == "\u00df" else letter)
    return "".join(piece for piece in bare if piece.isascii()) or "?"


@cache
def _system_font(letters: frozenset[str]) -> tuple[str | None, frozenset[str]]:
    """The font that lacks the fewest of the letters (None: Pillow's own), and which those are."""
    lacking = {name: found for name in SYSTEM_FONTS if (found := _lacking(name, letters)) is not None}
    best = min(lacking, key=lambda name: len(lacking[name]), default=None)
    return (best, lacking[best]) if best and len(lacking[best]) < len(letters) else (None, letters)


@cache
def _lacking(name: str, letters: frozenset[str]) -> frozenset[str] | None:
    """The letters that a font draws as its sign for missing ones; None where the font is not there."""
    try:
        face = ImageFont.truetype(name, 20)
    except OSError:
        return None
    missing = _drawn(face, "\U0010fffe")
    return frozenset(letter for letter in letters if _drawn(face, letter) == missing)


def _drawn(face: ImageFont.FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = face.getmask(letter)
    return mask.size, bytes(mask)

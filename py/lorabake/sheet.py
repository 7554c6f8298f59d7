"""Contact sheets: pictures in rows and columns with labels, drawn with Pillow alone.

Not here: which pictures (gallery.py).
"""

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

CELL_PX = 192  # smaller pictures are enlarged to this, so that a person sees them; larger ones are shrunk to at most LARGEST_PX
LARGEST_PX = 320
GAP_PX, MARGIN_PX, LABEL_PX, HEAD_PX, TITLE_PX = 8, 16, 150, 30, 34
PAPER, INK, FAINT = (250, 250, 248), (30, 30, 34), (110, 110, 118)


def sheet(rows: Sequence[str], columns: Sequence[tuple[str, Sequence[Image.Image]]], *, title: str) -> Image.Image:
    """A row per text in `rows`, a column per (heading, pictures); every column has as many pictures as there are rows."""
    cells = [[fitted(picture) for picture in pictures] for _, pictures in columns]
    width = max(cell.width for column in cells for cell in column)
    heights = [max(column[row].height for column in cells) for row in range(len(rows))]
    full_width = 2 * MARGIN_PX + LABEL_PX + len(columns) * (width + GAP_PX)
    canvas = Image.new("RGB", (full_width, 2 * MARGIN_PX + TITLE_PX + HEAD_PX + sum(h + GAP_PX for h in heights)), PAPER)
    pen = ImageDraw.Draw(canvas)
    pen.text((MARGIN_PX, MARGIN_PX - 4), title, INK, font=font(20))
    for number, (heading, _) in enumerate(columns):
        left = MARGIN_PX + LABEL_PX + number * (width + GAP_PX)
        pen.text((left + width / 2, MARGIN_PX + TITLE_PX + 6), heading, INK, font=font(15), anchor="ma")
    top = MARGIN_PX + TITLE_PX + HEAD_PX
    for row, text in enumerate(rows):
        caption, _, below = text.partition("\n")
        lines = textwrap.wrap(caption, 19)[:6] or [""]
        pen.multiline_text((MARGIN_PX, top + 4), "\n".join(lines), INK, font=font(15), spacing=4)
        pen.text((MARGIN_PX, top + 8 + 20 * len(lines)), below, FAINT, font=font(12))
        for number, column in enumerate(cells):
            canvas.paste(column[row], (MARGIN_PX + LABEL_PX + number * (width + GAP_PX), top))
        top += heights[row] + GAP_PX
    return canvas


def fitted(picture: Image.Image) -> Image.Image:
    """Enlarged to CELL_PX or shrunk to LARGEST_PX by the longer side, else as it is."""
    longest = max(picture.size)
    wanted = min(max(longest, CELL_PX), LARGEST_PX)
    if wanted == longest:
        return picture.convert("RGB")
    size = (max(1, round(picture.width * wanted / longest)), max(1, round(picture.height * wanted / longest)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)

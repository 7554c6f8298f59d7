"""Every upscaling model of a folder, and plain Lanczos, on one picture, side by side in one sheet: so that one can be chosen.

Not here: the enlarging (upscaler.py), how sheets are drawn (sheet.py).
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from lorabake import console, images, journal, paths, picture_facts, sheet, upscaler
from lorabake.errors import UserError
from lorabake.picture_memory import FOLDER
from lorabake.wording import counted

SUFFIXES = (".pth", ".pt", ".safetensors", ".bin", ".ckpt")
PER_BAND = 4  # models beside each other, Lanczos in front; more go below
DETAIL_PX = 384  # of the enlarged picture, shown as it is


def models(folder: Path) -> list[Path]:
    """The model files in a folder, by name. Raises UserError where there are none."""
    if not folder.is_dir():
        raise UserError("there is no such folder of models", where=str(folder), todo="--upscale-try MODELS PICTURE")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise UserError("no models here", where=str(folder), allowed=", ".join(SUFFIXES))
    return found


def run(folder: Path, picture: Path, *, background: str = "white", device: str | None = None) -> int:
    """Draw the sheet and say where it is; 1 when no model could be used. One that could not has its reason in its place."""
    found = models(folder)
    image = images.composite(picture, background)
    columns: list[tuple[str, Image.Image | str]] = []
    for path in found:
        try:
            opened = upscaler.opened(path, device=device)
            upscaler.say_device(opened)
            columns.append((f"{path.stem} ({opened.layout.scale}x)", opened.enlarged(image)))
        except UserError as error:
            console.say(f"{path.name}: {error.what}")
            columns.append((path.name, error.what))
    made = [one for _, one in columns if isinstance(one, Image.Image)]
    if not made:
        return 1
    size = max((one.size for one in made), key=lambda size: size[0])
    lanczos = ("Lanczos, no model", image.resize(size, Image.Resampling.LANCZOS))
    place = journal.free_place(picture.parent / FOLDER / f"{picture.stem}.upscale-try.png")
    with paths.replacing(place) as aside:
        drawn(lanczos, columns, title=f"{picture.name}, {image.width}x{image.height} px").save(aside, "PNG")
    console.result(f"{counted(len(made), 'model')} and Lanczos on {picture.name}: {place}")
    return 0


def drawn(first: tuple[str, Image.Image], columns: Sequence[tuple[str, Image.Image | str]], *, title: str) -> Image.Image:
    """The sheet: each picture whole, and at 100 % of the largest where `first` has most detail; bands of `first` and PER_BAND others."""
    size, box = first[1].size, picture_facts.busiest(np.asarray(first[1].convert("L"), dtype=np.float32), DETAIL_PX)
    rows = ["the whole picture", f"a part\nas it is: {box[2] - box[0]}x{box[3] - box[1]} px of {size[0]}x{size[1]}"]
    bands = []
    for begin in range(0, len(columns), PER_BAND):
        cells = [(name, _cells(made, size, box)) for name, made in (first, *columns[begin : begin + PER_BAND])]
        bands.append(sheet.sheet(rows, cells, title="" if begin else title))
    whole = Image.new("RGB", (max(band.width for band in bands), sum(band.height for band in bands)), sheet.PAPER)
    tops = itertools.accumulate((band.height for band in bands), initial=0)
    for top, band in zip(tops, bands, strict=False):  # the last is where the sheet ends
        whole.paste(band, (0, top))
    return whole


def _cells(made: Image.Image | str, size: tuple[int, int], box: tuple[int, int, int, int]) -> list[Image.Image]:
    """The picture and its detail, or why there is none."""
    if isinstance(made, str):
        return [_words(made), _words("")]
    same = made if made.size == size else made.resize(size, Image.Resampling.LANCZOS)
    return [same, same.crop(box)]


def _words(text: str) -> Image.Image:
    """An empty cell with a text in it."""
    cell = Image.new("RGB", (sheet.CELL_PX, sheet.CELL_PX), sheet.LINE)
    pen = ImageDraw.Draw(cell)
    for number, line in enumerate(sheet.wrapped(text, sheet.SMALL_SIZE, sheet.CELL_PX - 2 * sheet.GAP_PX)):
        shown, face = sheet.lettering(line, sheet.SMALL_SIZE)
        pen.text((sheet.GAP_PX, sheet.GAP_PX + round(number * sheet.SMALL_SIZE * sheet.LEADING)), shown, sheet.INK, font=face)
    return cell

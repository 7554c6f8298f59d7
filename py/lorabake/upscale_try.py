"""Every upscaling model of a folder, and plain Lanczos, on one picture, side by side in one sheet: so that one can be chosen.

Not here: the enlarging (upscaler.py), how sheets are drawn (sheet.py).
"""

from pathlib import Path

import numpy as np
from PIL import Image

from lorabake import console, images, journal, sheet, upscaler
from lorabake.errors import UserError
from lorabake.wording import counted

SUFFIXES = (".pth", ".pt", ".safetensors", ".bin", ".ckpt")
FOLDER = "_checks"  # beside the picture, where no scan looks
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
    """Draw the sheet and say where it is; 1 when no model could be used."""
    found = models(folder)
    image = images.composite(picture, background)
    columns: list[tuple[str, Image.Image]] = []
    problems: list[str] = []
    for path in found:
        try:
            opened = upscaler.opened(path, device=device)
            upscaler.say_device(opened)
            columns.append((f"{path.stem} ({opened.layout.scale}x)", opened.enlarged(image)))
        except UserError as error:
            problems.append(f"{path.name}: {error.what}")
    for problem in problems:
        console.say(problem)
    if not columns:
        return 1
    largest = max((made for _, made in columns), key=lambda made: made.width)
    columns.insert(0, ("Lanczos, no model", image.resize(largest.size, Image.Resampling.LANCZOS)))
    place = journal.free_place(picture.parent / FOLDER / f"{picture.stem}.upscale-try.png")
    place.parent.mkdir(exist_ok=True)
    drawn(columns, title=f"{picture.name}, {image.width}x{image.height} px").save(place)
    console.result(f"{counted(len(columns) - 1, 'model')} and Lanczos on {picture.name}: {place}")
    return 0


def drawn(columns: list[tuple[str, Image.Image]], *, title: str) -> Image.Image:
    """The sheet: each picture whole, and at 100 % of the largest where the first has most detail."""
    widest = max(made.width for _, made in columns)
    size = next(made.size for _, made in columns if made.width == widest)
    same = [(name, made if made.size == size else made.resize(size, Image.Resampling.LANCZOS)) for name, made in columns]
    box = busiest(same[0][1])
    rows = ["the whole picture", f"a part\nas it is: {box[2] - box[0]}x{box[3] - box[1]} px of {size[0]}x{size[1]}"]
    return sheet.sheet(rows, [(name, [made, made.crop(box)]) for name, made in same], title=title)


def busiest(image: Image.Image) -> tuple[int, int, int, int]:
    """The part of DETAIL_PX squared with most edges: left, top, right, bottom."""
    width, height = min(DETAIL_PX, image.width), min(DETAIL_PX, image.height)
    luma_hw = np.asarray(image.convert("L"), dtype=np.float64)
    edges = np.zeros_like(luma_hw)
    edges[1:] += np.abs(np.diff(luma_hw, axis=0))
    edges[:, 1:] += np.abs(np.diff(luma_hw, axis=1))
    sums = np.pad(edges.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    windows = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(left), int(top), int(left) + width, int(top) + height

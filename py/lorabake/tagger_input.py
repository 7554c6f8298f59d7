"""A picture as WD taggers were trained to see it: padded with white to a square, at the model's size, blue before red.

Source: reference/lora-facts.md 5.5. Not here: decoding and transparency (images.composite), the model's number format (tagger.py).
"""

from functools import cache

import numpy as np
from PIL import Image
from scipy import sparse

WHITE = 255


def square(rgb: Image.Image, side_px: int) -> np.ndarray:
    """(side, side, 3) uint8 in BGR: centred on white, an odd pixel right or below. Shrunk by area average, enlarged by Lanczos."""
    longer = max(rgb.size)
    padded = Image.new("RGB", (longer, longer), (WHITE,) * 3)
    padded.paste(rgb, ((longer - rgb.width) // 2, (longer - rgb.height) // 2))
    if longer < side_px:
        padded = padded.resize((side_px, side_px), Image.Resampling.LANCZOS)
    found = np.asarray(padded)
    return np.ascontiguousarray((area_average(found, side_px) if longer > side_px else found)[:, :, ::-1])


def area_average(pixels_hwc: np.ndarray, side_px: int) -> np.ndarray:
    """A square shrunk so that each new pixel is the mean of the area that it covers, parts of pixels by their share. uint8 to uint8.

    The same numbers as OpenCV's INTER_AREA, which the reference tagger uses; Pillow's filters weigh whole pixels only.
    """
    side = pixels_hwc.shape[0]
    weights = _shares(side, side_px)
    rows = (weights @ pixels_hwc.reshape(side, side * 3).astype(np.float32)).reshape(side_px, side, 3)
    both = weights @ np.ascontiguousarray(rows.transpose(1, 0, 2)).reshape(side, side_px * 3)
    return np.rint(both.reshape(side_px, side_px, 3).transpose(1, 0, 2)).astype(np.uint8)


@cache
def _shares(side: int, side_px: int) -> sparse.csr_matrix:
    """(side_px, side): how much of each old pixel goes into each new one; rows sum to 1."""
    edges = np.linspace(0, side, side_px + 1)
    first, last = np.floor(edges[:-1]).astype(int), np.minimum(np.ceil(edges[1:]).astype(int), side)
    rows = np.repeat(np.arange(side_px), last - first)
    columns = np.concatenate([np.arange(begin, end) for begin, end in zip(first, last, strict=True)])
    covered = np.minimum(edges[rows + 1], columns + 1) - np.maximum(edges[rows], columns)
    return sparse.csr_matrix(((covered * side_px / side).astype(np.float32), (rows, columns)), shape=(side_px, side))

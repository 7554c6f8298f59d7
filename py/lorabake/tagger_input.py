"""A picture as WD taggers were trained to see it: padded with white to a square, at the model's size, blue before red.

Source: reference/lora-facts.md 5.5. Not here: decoding and transparency (images.composite), the model's number format (tagger.py).
"""

from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import sparse

WHITE = 255


def square(rgb: Image.Image, side_px: int) -> np.ndarray:
    """(side, side, 3) uint8 in BGR: centred on white, an odd pixel right or below. Shrunk by area average, enlarged by Lanczos."""
    longer = max(rgb.size)
    if longer > side_px:
        return np.ascontiguousarray(area_average(np.asarray(rgb), side_px)[:, :, ::-1])
    padded = Image.new("RGB", (longer, longer), (WHITE,) * 3)
    padded.paste(rgb, ((longer - rgb.width) // 2, (longer - rgb.height) // 2))
    if longer < side_px:
        padded = padded.resize((side_px, side_px), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(padded)[:, :, ::-1])


def area_average(pixels_hwc: np.ndarray, side_px: int) -> np.ndarray:
    """A picture centred on a white square and shrunk so that each new pixel is the mean of the area that it covers, parts of pixels by
    their share. (h, w, 3) uint8 to (side, side, 3) uint8.

    The same numbers as OpenCV's INTER_AREA, which the reference tagger uses; Pillow's filters weigh whole pixels only. Counted from white,
    the rim is 0 and need not be there: squares of long strips, such as webtoons, would take gigabytes.
    """
    height, width = pixels_hwc.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    weights = _shares(side, side_px)
    darker = (pixels_hwc.astype(np.float32) - WHITE).reshape(height, width * 3)
    rows = (weights[:, top : top + height] @ darker).reshape(side_px, width, 3)
    both = weights[:, left : left + width] @ np.ascontiguousarray(rows.transpose(1, 0, 2)).reshape(width, side_px * 3)
    return np.rint(both.reshape(side_px, side_px, 3).transpose(1, 0, 2) + WHITE).astype(np.uint8)


@lru_cache(maxsize=64)
def _shares(side: int, side_px: int) -> sparse.csr_matrix:
    """(side_px, side): how much of each old pixel goes into each new one; rows sum to 1."""
    edges = np.linspace(0, side, side_px + 1)
    first, last = np.floor(edges[:-1]).astype(int), np.minimum(np.ceil(edges[1:]).astype(int), side)
    rows = np.repeat(np.arange(side_px), last - first)
    columns = np.concatenate([np.arange(begin, end) for begin, end in zip(first, last, strict=True)])
    covered = np.minimum(edges[rows + 1], columns + 1) - np.maximum(edges[rows], columns)
    return sparse.csr_matrix(((covered * side_px / side).astype(np.float32), (rows, columns)), shape=(side_px, side))

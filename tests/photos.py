"""Pictures for tests of what is measured on pictures: a drawing, and something with edges and grain at every size like a photograph."""

import numpy as np
from PIL import Image, ImageDraw


def scene(size=(640, 640), seed=0):
    """(width, height) in px. Shapes over shapes, with grain: sharp to the pixel."""
    random = np.random.default_rng(seed)
    width, height = size
    image = Image.fromarray(random.integers(40, 216, (7, 7, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(120):
        x, y, side = random.integers(0, width), random.integers(0, height), random.integers(4, max(6, min(size) // 5))
        colour = tuple(int(level) for level in random.integers(0, 256, 3))
        shape = [(int(x + side * np.cos(turn)), int(y + side * np.sin(turn))) for turn in np.sort(random.uniform(0, 2 * np.pi, 5))]
        draw.polygon(shape, fill=colour)
    grain = random.normal(0, 3, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def figure(size=(600, 600)):
    """A drawing in the middle of a plain background, as most are."""
    image = Image.new("RGB", size, "white")
    across, down = size
    ImageDraw.Draw(image).ellipse((across // 4, down // 6, across * 3 // 4, down * 5 // 6), fill="red", outline="black", width=6)
    return image

"""Draw the grid of docs/pocket.png: asked names by the finished pocket file, through lorabake's own sampler. See README.md here."""

import argparse
import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "py"), str(Path(__file__).parent)]
from unet import ASKED

from lorabake import sampler
from lorabake.device import Device
from lorabake.families import FAMILIES, identify, sd1
from lorabake.plan_prompts import Prompt

MORE = "strawberry,hamburger,dog face,turtle,umbrella,alarm clock,tulip,sun".split(",")
SIDE_PX, COLUMNS, LABEL_PX = 128, 8, 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    base = identify(options.model)
    models = sd1.load(base, dtype=torch.float32, device="cpu")
    painter = sampler.Painter(models, FAMILIES["sd1"], sd1, Device(torch.device("cpu"), "fp32"), 1)
    names = ASKED + MORE
    pictures = sampler.sample(painter, [Prompt(name, "", SIDE_PX, SIDE_PX, options.seed, 20, 7.0, "dpm++_2m") for name in names])
    rows = -(-len(names) // COLUMNS)
    grid = Image.new("RGB", (COLUMNS * SIDE_PX, rows * (SIDE_PX + LABEL_PX)), "white")
    pen, font = ImageDraw.Draw(grid), ImageFont.load_default(13)
    for number, (name, picture) in enumerate(zip(names, pictures, strict=True)):
        x, y = number % COLUMNS * SIDE_PX, number // COLUMNS * (SIDE_PX + LABEL_PX)
        grid.paste(picture, (x, y))
        pen.text((x + SIDE_PX // 2, y + SIDE_PX + 4), name, fill="black", font=font, anchor="ma")
    grid.save(options.out, optimize=True)


if __name__ == "__main__":
    main()

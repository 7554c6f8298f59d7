"""The words that py/flatten.py takes. Standard library only: they are read before anything is installed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

UPSCALE_TO_PX = 768


def parse(description: str | None, words: Sequence[str] | None = None) -> argparse.Namespace:
    """What was typed (or `words`). Ends the program for --help and for wrong words, as argparse does."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="*", metavar="FOLDER", help="folders of pictures")
    parser.add_argument("--background", default="white", metavar="COLOUR", help='"#rrggbb", a CSS name, dominant or checker (white)')
    parser.add_argument("--recursive", action="store_true", help="the folders inside too; those that begin with _ or . never")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
    parser.add_argument("--undo", action="store_true", help="bring the originals back, byte for byte")
    parser.add_argument("--crop", action="append", default=[], metavar="FILE=x,y,w,h", help="cut one picture to this rectangle, in px")
    parser.add_argument("--max-side", type=_positive, metavar="PX", help="shrink pictures whose longer side is more than this")
    group = parser.add_argument_group("upscaling, with ESRGAN-type models (.pth, .safetensors)")
    group.add_argument("--upscale", metavar="MODEL", help="enlarge pictures whose shorter side is less than --upscale-to")
    group.add_argument("--upscale-to", type=_positive, metavar="PX", help=f"shorter side that they get ({UPSCALE_TO_PX})")
    group.add_argument("--upscale-try", nargs=2, metavar=("MODELS", "PICTURE"), help="each model of a folder on one picture, in one sheet")
    group.add_argument("--device", choices=("cuda", "cpu"), help="where the model runs (the card, where it works)")
    options = parser.parse_args(words)
    if bool(options.folder) == bool(options.upscale_try):
        parser.error("give the folders of pictures, or --upscale-try MODELS PICTURE alone")
    if options.upscale_to and not options.upscale:
        parser.error("--upscale-to goes with --upscale MODEL")
    return options


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no size in px')
    return int(text)

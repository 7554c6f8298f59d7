"""The words that py/extract.py takes. Standard library only: they are read before anything is installed."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

PRECISIONS = ("fp16", "bf16", "fp32")
TARGETS = ("both", "unet", "text_encoder")
RANK = 32


def parse(description: str | None, words: Sequence[str] | None = None) -> argparse.Namespace:
    """What was typed (or `words`); what was not is None, `tuned` []. Ends the program for --help and for wrong words, as argparse does."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", metavar="MODEL", help="the checkpoint that the others were made from: a file or a Diffusers folder")
    parser.add_argument("--tuned", nargs="+", action="extend", default=[], metavar="MODEL", help="made from it; several: a LoRA each")
    parser.add_argument("--out", metavar="FILE.safetensors", help="the LoRA; where there are several, a folder")
    parser.add_argument("--rank", type=positive, help=f"of each layer ({RANK}); with --share the largest that a layer may have")
    parser.add_argument("--conv-rank", type=positive, help="take the 3x3 convolutions and the rest of the resnets too, at this rank")
    parser.add_argument("--share", type=_share, metavar="0.95", help="a rank for each layer, such that so much of its change is captured")
    parser.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0], help="of the LoRA (fp16)")
    parser.add_argument("--min-diff", type=_least, default=0.0, metavar="X", help="leave out layers where no weight changed by more (0)")
    parser.add_argument("--target", choices=TARGETS, default=TARGETS[0], help="which part of the models (both)")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="where it is computed (the card, where there is one)")
    parser.add_argument("--compare", action="store_true", help="say how far the models are from one another, write nothing")
    return parser.parse_args(words)


def positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no rank: a whole number from 1 on')
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _share(text: str) -> float:
    number = _number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no share: between 0 and 1 (0.95), or in percent (95%)')
    return number


def _least(text: str) -> float:
    if not 0 <= (number := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f'"{text}" is no difference: a number from 0 on (0.01)')
    return number

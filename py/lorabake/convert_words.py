"""The words that py/convert.py takes. Standard library only: they are read before anything is installed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

PRECISIONS = ("keep", "fp16", "bf16", "fp32")
DIALECTS = ("kohya", "diffusers", "keep")


def parse(description: str | None, words: Sequence[str] | None = None) -> argparse.Namespace:
    """What was typed (or `words`); `precision` is None where it was not. Ends the program as argparse does."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="*", metavar="PATH", help="model files, or folders of them; without any, it is asked for")
    parser.add_argument("--precision", choices=PRECISIONS, help="of the weights; whole numbers and schedules stay as they are (keep)")
    parser.add_argument("--out", metavar="PLACE", help="a folder, or for one file a name ending in .safetensors (beside the original)")
    parser.add_argument("--recursive", action="store_true", help="the folders inside too; those that begin with _ or . never")
    parser.add_argument("--dry-run", action="store_true", help="say what each file is and what would be written, write nothing")
    parser.add_argument("--keep-ema", action="store_true", help="keep the averaged second copy of the weights that a checkpoint carries")
    parser.add_argument("--dialect", choices=DIALECTS, default="kohya", help="names in LoRA files: those that every program reads (kohya)")
    return parser.parse_args(words)

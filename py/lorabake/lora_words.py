"""The words that py/lora.py takes. Standard library only: they are read before anything is installed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

PRECISIONS = ("fp16", "bf16", "fp32")
METHODS = ("sv_ratio", "sv_fro", "sv_cumulative")


def parse(description: str | None, words: Sequence[str] | None = None) -> argparse.Namespace:
    """What was typed (or `words`); `command` is one of info, merge, resize, scrub, profile, import. Ends the program as argparse does."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _info(commands.add_parser("info", help="what a LoRA, checkpoint or other model file is, and who can load it"))
    _merge(commands.add_parser("merge", help="LoRAs into a checkpoint, or into one LoRA"))
    _resize(commands.add_parser("resize", help="a LoRA to another rank"))
    scrub = commands.add_parser("scrub", help="a copy without private paths and folder names")
    _one_file(scrub, "CLEAN.safetensors")
    scrub.add_argument("--tags", action="store_true", help="leave out the tags and their counts too")
    profile = commands.add_parser("profile", help="the profile that bakes it again")
    _one_file(profile, "AGAIN.yaml")
    _one_file(commands.add_parser("import", help="a profile from what another trainer wrote into a LoRA"), "PROFILE.yaml")
    return parser.parse_args(words)


def _one_file(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--out", metavar=out, help="where the result goes (beside the file)")


def _info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="+", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="for machines; several files give a list")
    parser.add_argument("--fast", action="store_true", help="from the header alone: no hashes, no look at the weights")


def _merge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lora", nargs="+", metavar="FILE[=WEIGHT[,TEXT]]", help="weight 1 unless given; TEXT: the text encoder's own")
    parser.add_argument("--into", metavar="BASE", help="bake them into this checkpoint (file or Diffusers folder) instead of one LoRA")
    parser.add_argument("--out", required=True, metavar="FILE.safetensors")
    parser.add_argument("--rank", type=_positive, help="of the merged LoRA, by SVD; without it nothing is lost and the ranks add up")
    parser.add_argument("--conv-rank", type=_positive, help="of the 3x3 layers (--rank)")
    parser.add_argument("--precision", choices=(*PRECISIONS, "keep"), help="keep for a checkpoint, fp16 for a LoRA")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="where it is computed (the card, where there is one)")


def _resize(parser: argparse.ArgumentParser) -> None:
    _one_file(parser, "SMALLER.safetensors")
    parser.add_argument("--rank", type=_positive, help="new rank; with --by the largest that a layer may have")
    parser.add_argument("--conv-rank", type=_positive, help="of the 3x3 layers (--rank)")
    parser.add_argument("--by", type=_method, metavar="METHOD=VALUE", help=f"a rank for each layer: {', '.join(METHODS)}")
    parser.add_argument("--precision", choices=(*PRECISIONS, "keep"), default="keep", help="keep")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="where it is computed (the card, where there is one)")


def _method(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if name not in METHODS or not 0 < number < float("inf") or (name == "sv_ratio" and number < 1) or (name != "sv_ratio" and number > 1):
        raise argparse.ArgumentTypeError(f'"{text}" is none of sv_ratio=10 (1 or more), sv_fro=0.95, sv_cumulative=0.9 (1 at most)')
    return name, number


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no rank: a whole number from 1 on')
    return int(text)

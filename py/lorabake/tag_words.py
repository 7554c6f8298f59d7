"""The words that py/tag.py takes. Standard library only: they are read before anything is installed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

# Words that only a tagging understands: naming one of them is asking for it.
TAGGING = (
    *("model", "preset", "threshold", "character_threshold", "exclude", "underscores", "character_first", "character_expand"),
    *("rating", "existing", "order", "background", "batch_size", "device", "refresh_model"),
)
MOST_PORT = 65535
PRESETS = ("none", "style", "character", "concept")


def parse(description: str | None, words: Sequence[str] | None = None) -> argparse.Namespace:
    """What was typed (or `words`). Ends the program for --help and for wrong words, as argparse does."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", metavar="FOLDER|PROFILE", help="a folder of pictures with their captions, or a profile")
    _tagging(parser.add_argument_group("tagging (what is done when nothing else is asked for)"))
    _looking(parser.add_argument_group("looking"))
    _checking(parser.add_argument_group("checking (with a profile: for its bake)"))
    _editing(parser.add_argument_group("editing"))
    return parser.parse_args(words)


def _tagging(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--tag", action="store_true", help="tag also where edits are named: those are made to what is written")
    group.add_argument("--model", metavar="NAME", help="a tagger by name, owner/name, or a folder with model.onnx (wd-swinv2-tagger-v3)")
    group.add_argument("--preset", choices=PRESETS, help="what captions leave to the LoRA itself: style, character or concept (none)")
    group.add_argument("--trigger", action="append", default=[], metavar="WORD", help="word in front; auto; FOLDER=WORD for each folder")
    group.add_argument("--existing", choices=("keep", "merge", "overwrite"), help="captions that are there already (keep)")
    group.add_argument("--threshold", metavar="SHARE", help="lower: more tags, more of them wrong (0.35)")
    group.add_argument("--character-threshold", metavar="SHARE", help="the same for names of characters")
    group.add_argument("--exclude", action="append", default=[], metavar="TAGS", help="tags that are not written, * for anything")
    group.add_argument("--underscores", action="store_true", help="long_hair instead of long hair")
    group.add_argument("--character-first", action="store_true", help="names of characters before the other tags")
    group.add_argument("--character-expand", action="store_true", help="name_(series) as two tags")
    group.add_argument("--rating", choices=("no", "first", "last"), help="write the rating tag (no)")
    group.add_argument("--order", choices=("file", "score"), help="order of the tags: the tagger's list, or the surest first (file)")
    group.add_argument("--background", metavar="COLOUR", help="under transparent places, as in the bake (white)")
    group.add_argument("--batch-size", metavar="N", help="pictures at a time (16 on a card, else 4)")
    group.add_argument("--device", choices=("cuda", "cpu"), help="where the tagger runs (the card, where it works)")
    group.add_argument("--refresh-model", action="store_true", help="ask for a newer tagger than the one that is here")


def _looking(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--stats", action="store_true", help="all tags with their counts")
    group.add_argument("--tag-list", metavar="FILE", help="write all tags with their counts into a text file")
    group.add_argument("--find", metavar="EXPR", help="only pictures whose tags fit: tags, and, or, not, brackets, * for anything")
    group.add_argument("--review", action="store_true", help="look at all pictures and edit their tags on a page in the browser")
    group.add_argument("--port", type=_port, default=0, help="with --review: where on this computer the page is (a free one)")
    group.add_argument("--no-browser", action="store_true", help="with --review: do not open a browser, only say the address")


def _checking(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--check", action="store_true", help="what is odd in pictures and captions, and a sheet of all of them")
    group.add_argument("--tokens", type=int, choices=(75, 150, 225), help="how many of a caption the bake will read (150)")
    group.add_argument("--resolution", type=int, metavar="PX", help="that of the bake, in px (512)")
    group.add_argument(
        "--reject",
        nargs="*",
        action="extend",
        metavar="WHAT",
        help="move what --check rejects to _rejected; or kinds of findings, pictures' names, all with --find",
    )
    group.add_argument(
        "--demote",
        nargs="+",
        action="extend",
        metavar="N WHAT",
        help="move what --check calls poor, or WHAT, to N_<concept>: seen N times an epoch",
    )


def _port(text: str) -> int:
    """waitress would take a larger number for what is left of it in 16 bits."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PORT:
        raise argparse.ArgumentTypeError(f'"{text}" is no port: 1024 to {MOST_PORT}, or leave it out to get a free one')
    return int(text)


def _editing(group: argparse._ArgumentGroup) -> None:
    for name, text in {
        "add": "put at the end, where missing",
        "add-first": "put at the front",
        "remove": "take away, * for anything",
    }.items():
        group.add_argument(f"--{name}", action="append", default=[], metavar="TAGS", help=text)
    group.add_argument("--replace", action="append", default=[], metavar="OLD=NEW", help="one tag by another, or by several")
    group.add_argument("--dedupe", action="store_true", help="keep the first of tags that stand there twice")
    group.add_argument("--sort", choices=("name", "count"), help="by name, or by how many pictures carry a tag")
    group.add_argument("--rules", action="store_true", help="apply the profile's tag.rules to the captions that are there")
    group.add_argument("--dry-run", action="store_true", help="show what would be changed")
    group.add_argument("--undo", nargs="?", type=int, const=0, metavar="NUMBER", help="take back the newest change, or that of --history")
    group.add_argument("--history", action="store_true", help="what was changed here, newest first")
    group.add_argument("--diff", type=int, metavar="NUMBER", help="what that entry of --history changed; 0 is the newest")

"""The words that py/tag.py takes. Standard library only: they are read before anything is installed."""

from __future__ import annotations

import argparse


def parse(description: str | None) -> argparse.Namespace:
    """What was typed. Ends the program for --help and for wrong words, as argparse does."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", metavar="FOLDER|PROFILE", help="a folder of pictures with their captions, or a profile")
    look = parser.add_argument_group("looking")
    look.add_argument("--stats", action="store_true", help="all tags with their counts")
    look.add_argument("--find", metavar="EXPR", help="only pictures whose tags fit: tags, and, or, not, brackets, * for anything")
    look.add_argument("--check", action="store_true", help="what is odd in pictures and captions")
    look.add_argument("--trigger", metavar="WORD", help="with --check: the word that every caption should have")
    look.add_argument("--tokens", type=int, choices=(75, 150, 225), default=150, help="with --check: how many the bake will read (150)")
    look.add_argument("--resolution", type=int, default=512, metavar="PX", help="with --check: that of the bake, in px (512)")
    edit = parser.add_argument_group("editing")
    for name, text in {
        "add": "put at the end, where missing",
        "add-first": "put at the front",
        "remove": "take away, * for anything",
    }.items():
        edit.add_argument(f"--{name}", action="append", default=[], metavar="TAGS", help=text)
    edit.add_argument("--replace", action="append", default=[], metavar="OLD=NEW", help="one tag by another, or by several")
    edit.add_argument("--dedupe", action="store_true", help="keep the first of tags that stand there twice")
    edit.add_argument("--sort", choices=("name", "count"), help="by name, or by how many pictures carry a tag")
    edit.add_argument("--dry-run", action="store_true", help="show what an edit would change")
    edit.add_argument("--undo", nargs="?", type=int, const=0, metavar="NUMBER", help="take back the newest edit, or that of --history")
    edit.add_argument("--history", action="store_true", help="what was changed here, newest first")
    return parser.parse_args()

"""Captions of a dataset: count tags, find pictures by them, edit all at once, undo days later.

  python py/tag.py D:\\Datasets\\junwool --stats
  python py/tag.py FOLDER --check --trigger junwool
  python py/tag.py FOLDER --find "1girl and not (solo or red eyes)"
  python py/tag.py FOLDER --find "1boy" --replace 1boy=1girl --remove signature --add-first junwool
  python py/tag.py FOLDER --undo                                    the newest edit; --history lists them all

FOLDER is searched with the folders inside, except those that begin with _ or . ; a profile stands for its folder of pictures.
Exit codes: 0 done, 1 you can fix it, 2 wrong arguments.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lorabake import environment, errors


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", metavar="FOLDER|PROFILE", help="a folder of pictures with their captions, or a profile")
    parser.add_argument("--stats", action="store_true", help="all tags with their counts")
    parser.add_argument("--check", action="store_true", help="what is odd in pictures and captions")
    parser.add_argument("--trigger", metavar="WORD", help="with --check: the word that every caption should have")
    parser.add_argument("--tokens", type=int, choices=(75, 150, 225), default=150, help="with --check: how many the bake will read (150)")
    parser.add_argument("--resolution", type=int, default=512, metavar="PX", help="with --check: that of the bake, in px (512)")
    parser.add_argument("--find", metavar="EXPR", help="only pictures whose tags fit: tags, and, or, not, brackets, * for anything")
    for name, text in {
        "add": "put at the end, where missing",
        "add-first": "put at the front",
        "remove": "take away, * for anything",
    }.items():
        parser.add_argument(f"--{name}", action="append", default=[], metavar="TAGS", help=text)
    parser.add_argument("--replace", action="append", default=[], metavar="OLD=NEW", help="one tag by another, or by several")
    parser.add_argument("--dedupe", action="store_true", help="keep the first of tags that stand there twice")
    parser.add_argument("--sort", choices=("name", "count"), help="by name, or by how many pictures carry a tag")
    parser.add_argument("--dry-run", action="store_true", help="show what an edit would change")
    parser.add_argument("--undo", nargs="?", type=int, const=0, metavar="NUMBER", help="take back the newest edit, or that of --history")
    parser.add_argument("--history", action="store_true", help="what was changed here, newest first")
    return parser.parse_args()


def main() -> int:
    options = parse()
    environment.ensure(__file__)
    from lorabake import tag_job

    return tag_job.main(options)


if __name__ == "__main__":
    errors.run(main)

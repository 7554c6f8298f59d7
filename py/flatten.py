"""Lay transparent pictures on a colour, in place. The originals are kept in _originals beside them; --undo brings them back.

  python py/flatten.py D:\\Datasets\\junwool --recursive          white, like the trainer's own default
  python py/flatten.py FOLDER --background "#ff8800" --dry-run    CSS names too, `dominant` (of each picture) and `checker`
  python py/flatten.py FOLDER --crop desktop.png=0,0,1920,1040

Pictures without real transparency are not touched. Exit codes: 0 done, 1 some pictures could not be done (the others are),
2 wrong arguments, 12 disk full.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lorabake import environment, errors


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="+", metavar="FOLDER", help="folders of pictures")
    parser.add_argument("--background", default="white", metavar="COLOUR", help='"#rrggbb", a CSS name, dominant or checker (white)')
    parser.add_argument("--recursive", action="store_true", help="the folders inside too; those that begin with _ or . never")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
    parser.add_argument("--undo", action="store_true", help="bring the originals back, byte for byte")
    parser.add_argument("--crop", action="append", default=[], metavar="FILE=x,y,w,h", help="cut one picture to this rectangle, in px")
    parser.add_argument("--max-side", type=positive, metavar="PX", help="shrink pictures whose longer side is more than this")
    return parser.parse_args()


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no size in px')
    return int(text)


def main() -> int:
    options = parse()
    environment.ensure(__file__)
    from lorabake import flattener

    return flattener.main(options)


if __name__ == "__main__":
    errors.run(main)

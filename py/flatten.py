"""Lay transparent pictures on a colour, in place. The originals are kept in _originals beside them; --undo brings them back.

  python py/flatten.py D:\\Datasets\\junwool --recursive          white, like the trainer's own default
  python py/flatten.py FOLDER --background "#ff8800" --dry-run    CSS names too, `dominant` (of each picture) and `checker`
  python py/flatten.py FOLDER --crop desktop.png=0,0,1920,1040
  python py/flatten.py FOLDER --upscale 4x-model.pth              small pictures enlarged, until their shorter side has 768 px
  python py/flatten.py --upscale-try D:\\Upscalers picture.png     every model of a folder on one picture, in one sheet

Pictures without real transparency are not touched. Exit codes: 0 done, 1 some pictures could not be done (the others are),
2 wrong arguments, 12 disk full.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lorabake import environment, errors, flatten_words


def main() -> int:
    options = flatten_words.parse(__doc__)
    environment.ensure(__file__)
    from lorabake import flattener

    return flattener.main(options)


if __name__ == "__main__":
    errors.run(main)

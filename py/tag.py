"""Captions of a dataset: count tags, find pictures by them, edit all at once, undo days later.

  python py/tag.py D:\\Datasets\\junwool --stats
  python py/tag.py FOLDER --check --trigger junwool
  python py/tag.py FOLDER --find "1girl and not (solo or red eyes)"
  python py/tag.py FOLDER --find "1boy" --replace 1boy=1girl --remove signature --add-first junwool
  python py/tag.py FOLDER --undo                                    the newest edit; --history lists them all

FOLDER is searched with the folders inside, except those that begin with _ or . ; a profile stands for its folder of pictures.
Exit codes: 0 done, 1 you can fix it, 2 wrong arguments.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lorabake import environment, errors, tag_words


def main() -> int:
    options = tag_words.parse(__doc__)
    environment.ensure(__file__)
    from lorabake import tag_job

    return tag_job.main(options)


if __name__ == "__main__":
    errors.run(main)

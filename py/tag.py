"""Tag the pictures of a dataset by a model, check them, edit and review their captions. Every change can be undone days later.

  python py/tag.py D:\\Datasets\\junwool --preset style               captions for the pictures that have none
  python py/tag.py FOLDER --check                                   what is odd, and a sheet of all pictures
  python py/tag.py FOLDER --reject                                  what is hopeless to _rejected; --demote 1 is milder
  python py/tag.py FOLDER --review                                  a page in the browser, on this computer only
  python py/tag.py FOLDER --find "1boy" --replace 1boy=1girl --remove signature --add-first junwool
  python py/tag.py FOLDER --undo                                    the newest change; --history lists them all

FOLDER is searched with the folders inside, except those that begin with _ or . ; a profile stands for its folder of pictures.
Exit codes: 0 done, 1 you can fix it, 2 wrong arguments, 12 disk full, 13 stopped (the next start goes on).
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

"""Make or repair lorabake's environment (other scripts do the same by themselves), or check this machine.

  python py/setup.py               make or repair
  python py/setup.py --check       a row per check: OK, WARN or FAIL, with cause and fix
  python py/setup.py --torch cpu   that build of torch instead of the one that suits the card (auto: back to that one)
  python py/setup.py --repair      look at each file of an environment that seems whole, and mend it
  python py/setup.py --shortcuts   Windows: shortcuts on the desktop that take drops; --no-shortcuts takes them away
  python py/setup.py --allow-scripts   Windows: .ps1 files may be typed by this user; --undo-allow-scripts

Exit codes: 0 done (--check: no FAIL), 1 you can fix it, 2 wrong arguments, 3 our bug, 12 disk full, 13 stopped.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lorabake import errors, setup_words


def main() -> int:
    options = setup_words.parse(__doc__)
    from lorabake import setup_job

    return setup_job.main(options)


if __name__ == "__main__":
    errors.run(main)

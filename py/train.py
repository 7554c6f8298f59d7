"""Bake LoRAs: check and plan every profile, then train each, then a summary.

  python py/train.py profiles/my-style.yaml            one profile (or several, or folders of them)
  python py/train.py profiles/my-style.yaml --plan-only
  python py/train.py --new                             asks for everything and writes the profile
  python py/train.py a.yaml b.yaml --at 23:30 --stop-by 07:00 --when-done sleep

Exit codes: 0 done, 1 you can fix it, 2 wrong arguments, 3 our bug, 10 out of memory, 11 diverged, 12 disk full,
13 stopped with its state saved, 20 some jobs failed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lorabake import environment, errors, train_words


def main() -> int:
    options = train_words.parse(__doc__)
    environment.ensure(__file__)
    from lorabake import nights

    return nights.main(options)


if __name__ == "__main__":
    errors.run(main)

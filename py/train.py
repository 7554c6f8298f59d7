"""Bake LoRAs: check and plan every profile, then train each, then a summary.

  python py/train.py profiles/my-style.yaml            one profile (or several, or folders of them)
  python py/train.py profiles/my-style.yaml --plan-only
  python py/train.py --new                             asks for everything and writes the profile

Exit codes: 0 done, 1 you can fix it, 2 wrong arguments, 3 our bug, 10 out of memory, 11 diverged, 12 disk full,
13 stopped with its state saved, 20 some jobs failed.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lorabake import environment, errors


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "profile_path", nargs="*", metavar="PROFILE", help="profile files or folders of them; without any, a list is shown to choose from"
    )
    parser.add_argument("--plan-only", "--plan", action="store_true", help="show the plan, train nothing")
    parser.add_argument("--json", action="store_true", help="with --plan-only: the plan for machines")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a profile key, for example train.epochs=3"
    )
    parser.add_argument("--fresh", action="store_true", help="start anew instead of continuing; the earlier run is kept")
    parser.add_argument("--skip-bad", action="store_true", help="with several profiles: go on without those that have mistakes")
    parser.add_argument("--new", action="store_true", help="make a new profile by questions and answers; PROFILE is then its name")
    parser.add_argument("--answers", metavar="FILE", help="with --new: the answers from a file (key: value a line), nobody is asked")
    parser.add_argument("--clear-cache", action="store_true", help="empty the output folder's cache of latents and pictures")
    return parser.parse_args()


def main() -> int:
    options = parse()
    environment.ensure(__file__)
    from lorabake import jobs

    return jobs.main(options)


if __name__ == "__main__":
    errors.run(main)

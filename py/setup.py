"""Make or repair lorabake's environment (other scripts do the same by themselves), or check this machine.

  python py/setup.py               make or repair
  python py/setup.py --check       a row per check: OK, WARN or FAIL, with cause and fix
  python py/setup.py --torch cpu   that build of torch instead of the one that suits the card (auto: back to that one)

Exit codes: 0 done (--check: no FAIL), 1 you can fix it, 2 wrong arguments, 3 our bug, 12 disk full, 13 stopped.
"""

import argparse
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lorabake import console, environment, errors


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="look, change nothing")
    parser.add_argument("--json", action="store_true", help="the answer for machines")
    parser.add_argument("--torch", metavar="BUILD", help="a row of stacks/current/torch.json, cpu for example, or auto")
    parser.add_argument("--no-pause", action="store_true", help="for setup.bat: do not wait for a key at the end")
    return parser.parse_args([as_option(word) for word in sys.argv[1:]])


def as_option(word: str) -> str:
    """PowerShell's spelling, which setup.bat takes too, as ours: -NoPause is --no-pause."""
    return "-" + re.sub("(?<=[a-z])(?=[A-Z])", "-", word).lower() if re.fullmatch("-[A-Za-z]{2,}", word) else word


def main() -> int:
    options = parse()
    if options.check:
        from lorabake import doctor

        checks = doctor.checks()
        console.result(doctor.to_json(checks) if options.json else doctor.to_text(checks))
        return doctor.exit_code(checks)
    env = environment.build(torch=options.torch)
    python = str(environment.python_of(env))
    console.result(json.dumps({"environment": str(env), "python": python}) if options.json else f"the environment {env} is ready")
    return 0


if __name__ == "__main__":
    errors.run(main)

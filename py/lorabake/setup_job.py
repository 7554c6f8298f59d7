"""What py/setup.py does with its words: make the environment, check this machine, and the rest. A function for each.

Not here: the words (setup_words.py), making the environment (builder.py). Standard library only, any Python 3.8 or newer.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lorabake import console, environment


def main(options: argparse.Namespace) -> int:
    """Do what was asked; the exit code."""
    if options.check:
        return check(options)
    if options.update or options.version or options.rollback or options.forget_previous:
        return other_release(options)
    return make(options)


def check(options: argparse.Namespace) -> int:
    """A row per check; 1 when one says FAIL."""
    from lorabake import doctor

    checks = doctor.checks()
    console.result(doctor.to_json(checks) if options.json else doctor.to_text(checks))
    return doctor.exit_code(checks)


def other_release(options: argparse.Namespace) -> int:
    """Another release or environment in place of this one, or the room of the kept ones free."""
    from lorabake import releases

    if options.update:
        code = releases.update(Path(options.update).expanduser().absolute())
    elif options.version:
        code = releases.to_version(options.version)
    else:
        code = releases.roll_back() if options.rollback else releases.forget_previous()
    if options.json:
        console.result(json.dumps(releases.told()))
    return code


def make(options: argparse.Namespace) -> int:
    """Make or repair the environment."""
    env = environment.build(torch=options.torch, name=options.stack)
    if options.json:
        from lorabake import releases

        console.result(json.dumps({"environment": str(env), "python": str(environment.python_of(env)), **releases.told()}))
    else:
        console.result(f"the environment {env} is ready")
    return 0

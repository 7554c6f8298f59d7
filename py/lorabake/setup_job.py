"""What py/setup.py does with its words: make the environment, check this machine, and the rest. A function for each.

Not here: the words (setup_words.py), making the environment (builder.py). Standard library only, any Python 3.8 or newer.
"""

from __future__ import annotations

import argparse
import json

from lorabake import console, environment


def main(options: argparse.Namespace) -> int:
    """Do what was asked; the exit code."""
    if options.check or options.fix:
        return check(options)
    return make(options)


def check(options: argparse.Namespace) -> int:
    """A row per check; 1 when one says FAIL. With --fix: do what that row says, then look at it again."""
    from lorabake import doctor, doctor_fixes, doctor_table

    console.say("looking at this machine, which takes some seconds")
    found = doctor.checks()
    if options.fix:
        if doctor_fixes.fix(options.fix, found):
            found = doctor.checks()
        found = doctor_fixes.rows_of(options.fix, found)
    if options.json:
        console.result(doctor_table.to_json(found))
    elif found:
        console.result(doctor_table.to_text(found, setup=doctor.STARTED, width=doctor_table.columns()))
    return doctor_table.exit_code(found)


def make(options: argparse.Namespace) -> int:
    """Make or repair the environment."""
    env = environment.build(torch=options.torch)
    python = str(environment.python_of(env))
    console.result(json.dumps({"environment": str(env), "python": python}) if options.json else f"the environment {env} is ready")
    return 0

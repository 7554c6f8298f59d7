"""What py/setup.py does with its words: make the environment, check this machine, and the rest. A function for each.

Not here: the words (setup_words.py), making the environment (builder.py). Standard library only, any Python 3.8 or newer.
"""

from __future__ import annotations

import argparse
import json

from lorabake import console, environment


def main(options: argparse.Namespace) -> int:
    """Do what was asked; the exit code."""
    if options.check:
        return check(options)
    return make(options)


def check(options: argparse.Namespace) -> int:
    """A row per check; 1 when one says FAIL."""
    from lorabake import doctor

    checks = doctor.checks()
    console.result(doctor.to_json(checks) if options.json else doctor.to_text(checks))
    return doctor.exit_code(checks)


def make(options: argparse.Namespace) -> int:
    """Make or repair the environment."""
    env = environment.build(torch=options.torch)
    python = str(environment.python_of(env))
    console.result(json.dumps({"environment": str(env), "python": python}) if options.json else f"the environment {env} is ready")
    return 0

"""The words that py/setup.py and setup.bat take, in both spellings. Standard library only: they are read before anything is installed."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence


def parse(description: str | None, words: Sequence[str] | None = None) -> argparse.Namespace:
    """What was typed (or `words`). Ends the program for --help and for wrong words, as argparse does."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="look, change nothing")
    parser.add_argument("--json", action="store_true", help="the answer for machines")
    parser.add_argument("--torch", metavar="BUILD", help="a row of stacks/current/torch.json, cpu for example, or auto")
    parser.add_argument("--undo-dlls", action="store_true", help="put back every DLL that setup replaced in the environment")
    parser.add_argument("--repair", action="store_true", help="look at each file of an environment that seems whole, and mend it")
    front = parser.add_argument_group("Windows, for this user only")
    front.add_argument("--shortcuts", action="store_true", help="put shortcuts that take drops on the desktop")
    front.add_argument("--no-shortcuts", action="store_true", help="take them away")
    front.add_argument("--allow-scripts", action="store_true", help="let PowerShell run scripts of this PC (RemoteSigned)")
    front.add_argument("--undo-allow-scripts", action="store_true", help="bring back the policy before")
    parser.add_argument("--no-pause", action="store_true", help="for setup.bat: do not wait for a key at the end, ask nothing")
    return parser.parse_args([as_option(word) for word in (sys.argv[1:] if words is None else words)])


def as_option(word: str) -> str:
    """PowerShell's spelling, which setup.bat takes too, as ours: -NoPause is --no-pause."""
    return "-" + re.sub("(?<=[a-z])(?=[A-Z])", "-", word).lower() if re.fullmatch("-[A-Za-z]{2,}", word) else word

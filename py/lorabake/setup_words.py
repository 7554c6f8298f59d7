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
    parser.add_argument("--fix", metavar="N", help="do what row N of --check says (its number or its name), then look at it again")
    parser.add_argument("--json", action="store_true", help="the answer for machines")
    parser.add_argument("--torch", metavar="BUILD", help="a row of stacks/current/torch.json, cpu for example, or auto")
    parser.add_argument("--undo-dlls", action="store_true", help="put back every DLL that setup replaced in the environment")
    parser.add_argument("--repair", action="store_true", help="look at each file of an environment that seems whole, and mend it")
    front = parser.add_argument_group("Windows, for this user only")
    front.add_argument("--shortcuts", action="store_true", help="put shortcuts that take drops on the desktop")
    front.add_argument("--no-shortcuts", action="store_true", help="take them away")
    front.add_argument("--allow-scripts", action="store_true", help="let PowerShell run scripts of this PC (RemoteSigned)")
    front.add_argument("--undo-allow-scripts", action="store_true", help="bring back the policy before")
    others = parser.add_argument_group("stacks and releases")
    others.add_argument("--stack", metavar="NAME", help="make, or go to, the environment of that pinned set (a folder of stacks/)")
    others.add_argument("--update", metavar="FOLDER-OR-ZIP", help="put that release of lorabake in the place of this one")
    others.add_argument("--version", metavar="X", help="put release X in place: a kept one, a tag or commit of git, else the published one")
    others.add_argument("--rollback", action="store_true", help="go back to the release or environment before; again: forward")
    others.add_argument("--forget-previous", action="store_true", help="free the room of what --rollback would go back to")
    away = parser.add_argument_group("a PC without network")
    away.add_argument("--make-offline", metavar="FOLDER", help="fill FOLDER with all that setup needs, and with the taggers that are here")
    away.add_argument("--offline", metavar="FOLDER", help="set up from such a folder")
    away.add_argument("--for", dest="system", metavar="SYSTEM", help="with --make-offline: windows or linux (default: this one)")
    away.add_argument("--python", metavar="3.X", help="with --make-offline: the other PC's Python (default: this one)")
    away.add_argument("--tagger", action="append", default=[], metavar="NAME", help="with --make-offline: load that tagger, take it along")
    parser.add_argument("--no-pause", action="store_true", help="for setup.bat: do not wait for a key at the end, ask nothing")
    return parser.parse_args([as_option(word) for word in (sys.argv[1:] if words is None else words)])


def as_option(word: str) -> str:
    """PowerShell's spelling, which setup.bat takes too, as ours: -NoPause is --no-pause."""
    return "-" + re.sub("(?<=[a-z])(?=[A-Z])", "-", word).lower() if re.fullmatch("-[A-Za-z]{2,}", word) else word

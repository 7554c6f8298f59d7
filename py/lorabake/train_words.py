"""The words that py/train.py takes. Standard library only: they are read before anything is installed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

WHEN_DONE = ("nothing", "sleep", "hibernate", "shutdown")
REPEATS = ("once", "daily", "weekdays", "weekly")
NEXT_KEY = re.compile(r",(?=[a-z_]+(?:\.[a-z0-9_]+)*=)")  # powershell.exe -File hands -Set a=1,b.c=2 over as one word


def parse(description: str | None, words: Sequence[str] | None = None) -> argparse.Namespace:
    """What was typed (or `words`). Ends the program for --help and for wrong words, as argparse does."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    parser.add_argument("--clear-cache", action="store_true", help="empty the output folder's cache of latents and pictures")
    parser.add_argument("--new", action="store_true", help="make a new profile by questions; PROFILE is then its name")
    parser.add_argument("--answers", metavar="FILE", help="with --new: the answers from a file (key: value a line), nobody is asked")
    _overnight(parser)
    options = parser.parse_args(words)
    options.set = [part for word in options.set for part in NEXT_KEY.split(word)]
    _refuse_contradictions(parser, options)
    return options


def _overnight(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("overnight")
    group.add_argument("--at", metavar="TIME", help='start then, by the Task Scheduler: 23:30 or "2026-12-01 23:30"')
    group.add_argument(
        "--repeat", type=str.lower, choices=REPEATS, help="with --at: once (as without this word), daily, weekdays or weekly"
    )
    group.add_argument("--stop-by", metavar="TIME", help="stop then with the state saved, exit code 13: 07:00")
    group.add_argument("--when-done", type=str.lower, choices=WHEN_DONE, help="what the PC does at the end, after a count-down")
    group.add_argument("--list", action="store_true", help="the scheduled tasks, and how their last runs ended")
    group.add_argument("--remove", action="append", default=[], metavar="NAME", help="take a scheduled task away")
    group.add_argument("--scheduled", metavar="TIME", help="written into the task's own command: when it was to start")


def _more_than_new(options: argparse.Namespace) -> bool:
    return any(value for name, value in vars(options).items() if name not in ("new", "answers", "profile_path"))


def _refuse_contradictions(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.answers and not options.new:
        parser.error("--answers goes with --new")
    if options.new and (len(options.profile_path) > 1 or _more_than_new(options)):
        parser.error("--new takes one name at most, and --answers; no other words")
    if options.repeat and not options.at:
        parser.error("--repeat goes with --at TIME")
    if options.at and options.scheduled:
        parser.error("--at does not go with --scheduled")
    if (options.plan_only or options.clear_cache) and (options.at or options.scheduled or options.when_done):
        parser.error("--plan-only and --clear-cache do not go with --at, --when-done or --scheduled")
    if (options.list or options.remove) and (options.profile_path or options.at):
        parser.error("--list and --remove take no profiles and no --at")

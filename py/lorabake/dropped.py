"""What a shortcut on the desktop does: a job with the files and folders that were dropped on it, in a window that waits at the end.

Not here: the shortcuts (shortcuts.py), the jobs. Standard library only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lorabake import asking, console, environment, paths
from lorabake.errors import QueueFailed, UsageError
from lorabake.shortcuts import NAMES

PROFILE_KINDS = {".yaml", ".yml"}
SEVERAL_FAILED = QueueFailed.exit_code


def main(words: Sequence[str]) -> int:
    """Run the job that `words` begin with; the rest are paths. Its exit code; of several runs 20 where some failed."""
    if not words or words[0] not in NAMES:
        raise UsageError(f'"{" ".join(words[:1])}" is no job of a shortcut', allowed=", ".join(NAMES))
    job = words[0]
    codes = [run(job, more) for more in plan(job, [Path(word) for word in words[1:]])]
    return codes[0] if len(codes) == 1 else SEVERAL_FAILED if any(codes) else 0


def plan(job: str, given: Sequence[Path], *, choose: Callable[[Sequence[Path]], Path] | None = None) -> list[list[str]]:
    """The words of each run of the job's script for what was dropped; without anything it asks by itself.

    Tagging takes a folder or a profile, so pictures stand for their folder; of models to extract from, `choose` says which is the base.
    """
    if not given:
        return [[]]
    if job == "tag":
        datasets = [path if path.is_dir() or path.suffix.lower() in PROFILE_KINDS else path.parent for path in given]
        return [["--", str(path)] for path in dict.fromkeys(datasets)]
    if job == "extract":
        base = (choose or ask_base)(given) if len(given) > 1 else None
        tuned = [f"--tuned={path}" for path in given if path != base]
        return [[*([f"--base={base}"] if base else []), *tuned]]
    return [["--", *map(str, given)]]


def ask_base(given: Sequence[Path]) -> Path:
    """Which of the dropped models is the base. Raises UsageError for no answer, or one that is none of them."""
    for number, path in enumerate(given, start=1):
        console.say(f"  {number}  {path.name}")
    answer = asking.required(
        "Which of them is the base, that the others were made from? Type its number, then Enter. Empty: stop.",
        lacking="no base was chosen",
        todo="drop the models again",
    )
    if not (answer.isascii() and answer.isdecimal() and 1 <= int(answer) <= len(given)):
        raise UsageError(f'"{answer}" is none of the numbers', allowed=f"1 to {len(given)}")
    return given[int(answer) - 1]


def run(job: str, words: Sequence[str]) -> int:
    """The job's script in a child, in our environment where there is one (else it makes one). Its exit code."""
    env = environment.ready() if os.environ.get(environment.CHOICE) is None else None
    script = str(paths.ROOT / "py" / f"{job}.py")
    python = str(environment.python_of(env)) if env else sys.executable
    variables = environment.inner_variables(env or Path(sys.prefix))
    if not env:
        del variables[environment.GUARD]
    return environment.run_child([python, script, *words], variables)


def wait() -> None:
    """Keep the window open until it has been read, where somebody is there."""
    if asking.at_console():
        asking.answer("Press Enter to close this window.")

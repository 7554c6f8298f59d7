"""A new profile in the making: the answers so far, taking one more, what is offered where nothing was typed.

Looks at the disk, asks nobody. Not here: the console (interview.py), answers from a file (answers_file.py), the written profile
(profile_writing.py).
"""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorabake import answer_checks, paths
from lorabake.answer_checks import Found
from lorabake.errors import UserError
from lorabake.kinds import Raw, Wrong
from lorabake.questions import Question, Sheet, all_questions, as_raw, conflicts, idle, to_ask, understood


@dataclass
class Making:
    """`folder`: relative paths count from it; `more`: groups that are asked too; `offered`: values of an earlier profile to begin with;
    `settled`: answers that were typed with the command, so that their questions come only to who goes back."""

    folder: Path
    known: dict[str, Question] = field(default_factory=all_questions)
    sheet: Sheet = field(default_factory=Sheet)
    more: list[str] = field(default_factory=list)
    offered: dict[str, Any] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    looks: int = 0
    concept: str = ""
    file_says_clip_skip: bool = False
    draft: Path | None = None


@dataclass(frozen=True)
class Taken:
    """What there is to say about an answer that was taken. `instead`: a value that was probably meant; `again`: other keys whose answers
    no longer fit, which are taken out."""

    told: tuple[str, ...] = ()
    instead: str = ""
    again: tuple[str, ...] = ()


def asked(making: Making) -> list[Question]:
    """The questions that make sense now, in order."""
    left_out = {"model.look"} if making.file_says_clip_skip else set()
    return [question for question in to_ask(making.known, making.sheet, making.more) if question.key.dotted not in left_out]


def take(making: Making, dotted: str, raw: Raw) -> Taken:
    """Check an answer as far as that can be done now, and keep it. Raises Wrong or UserError, and then nothing is changed."""
    sheet = making.sheet
    value = understood(making.known[dotted], raw, making.folder)
    trial = Sheet({**sheet.values, dotted: value})
    before = {(finding.key, finding.what) for finding in conflicts(sheet)}
    new = [finding for finding in conflicts(trial) if (finding.key, finding.what) not in before]
    for finding in new:
        if finding.key == dotted or finding.key not in sheet.values:
            raise Wrong(finding.what, finding.todo or finding.allowed)
    found = answer_checks.check(dotted, value, trial.values)
    remember(making, dotted, value, found)
    sheet.values[dotted] = value
    again = tuple(dict.fromkeys(finding.key for finding in new))
    for key in again:
        del sheet.values[key]
    told = [*found.told, *(f"{finding.what}; it is asked again" for finding in new)]
    told += [finding.what for finding in idle(sheet) if finding.key == dotted]
    return Taken(tuple(told), found.instead, again)


def remember(making: Making, dotted: str, value: Any, found: Found) -> None:
    if dotted == "images":
        making.looks, making.concept = found.looks, found.concept
    if dotted == "base_model":
        making.file_says_clip_skip = answer_checks.says_clip_skip(value)


def look_again(making: Making) -> None:
    """The facts of answers that come from a draft; what is gone since is told by the plan."""
    for dotted in ("base_model", "images"):
        if dotted in making.sheet.values:
            value = making.sheet.values[dotted]
            try:
                remember(making, dotted, value, answer_checks.check(dotted, value, making.sheet.values))
            except (UserError, OSError):
                continue


def proposed(making: Making, dotted: str) -> Any:
    """What Enter alone takes: the present answer, an earlier profile's, one that follows from the others, the default. None: nothing."""
    if dotted in making.sheet.values:
        return making.sheet.values[dotted]
    if dotted in making.offered:
        return making.offered[dotted]
    if dotted == "output":
        return str(paths.ROOT / "baked")
    if dotted == "name" and making.concept:
        return answer_checks.free_name(making.concept)
    return making.known[dotted].key.default


def take_rest(making: Making) -> None:
    """What is offered for every question that was not answered; where there is nothing, or it does not fit, the question stays open."""
    for question in asked(making):
        dotted = question.key.dotted
        offered = proposed(making, dotted)
        if dotted not in making.sheet.values and not (question.key.required and offered is None):
            with suppress(Wrong, UserError):
                take(making, dotted, as_raw(offered))


def missing(making: Making) -> list[str]:
    """Required keys that have no answer yet."""
    return [dotted for dotted, question in making.known.items() if question.key.required and dotted not in making.sheet.values]

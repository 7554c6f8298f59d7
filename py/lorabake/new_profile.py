"""A finished sheet of answers as profile and plan: what --new shows before anything is written, and the same from a file of answers.

Not here: the text of the profile (profile_writing.py), asking (interview.py).
"""

from argparse import Namespace
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lorabake import answer_checks, answers_file, console, hardware, new_answers, plan, plan_text, profile_writing
from lorabake.answers_file import Given
from lorabake.errors import LorabakeError, UserError
from lorabake.kinds import Wrong
from lorabake.new_answers import Making
from lorabake.plan_types import Plan
from lorabake.profile import Mistake, ProfileErrors


@dataclass(frozen=True)
class NewProfile:
    """Text, place, and the plan of it, or the `trouble` that stands in the way of one."""

    path: Path
    text: str
    plan: Plan | None
    trouble: LorabakeError | None

    def page(self, width: int) -> str:
        if self.plan is None:
            return f"These answers cannot be baked as they are:\n  {self.trouble}"
        return plan_text.render(self.plan, width=max(60, width))

    def is_free(self) -> bool:
        return not self.path.exists()

    def write(self) -> Path:
        """Raises UserError where a file of this name is there."""
        profile_writing.save(self.text, self.path)
        return self.path


_seen = cache(hardware.look)  # asks a program of the card's driver: once


def prepared(making: Making) -> NewProfile:
    """Everything but writing it. All required keys must be answered."""
    path = answer_checks.profile_path(making.sheet.values["name"])
    kept = [question.key.dotted for question in new_answers.asked(making) if question.ask.kept]
    text = profile_writing.text(making.sheet, making.known, kept)
    try:
        loaded = profile_writing.load(text, path)
        return NewProfile(path, text, plan.make(loaded, _seen()), None)
    except LorabakeError as error:
        return NewProfile(path, text, None, error)


def from_file(options: Namespace) -> Path:
    """Write the profile that the answers in a file make; its path is printed, its plan shown. Raises ProfileErrors with all mistakes."""
    file = Path(options.answers)
    making = Making(file.absolute().parent)
    given, mistakes = answers_file.read(file, making.known)
    if options.profile_path:
        given = [Given("name", options.profile_path[0], None), *(one for one in given if one.dotted != "name")]
    order = list(making.known)
    mistakes += [mistake for one in sorted(given, key=lambda one: order.index(one.dotted)) if (mistake := _take(making, one))]
    mistakes += _fill(making, {one.dotted for one in given})
    if mistakes:
        raise ProfileErrors(file, mistakes)
    ready = prepared(making)
    if ready.trouble:
        raise ready.trouble
    console.say(ready.page(plan_text.WIDTH))
    path = ready.write()
    console.result(str(path))
    return path


def _take(making: Making, one: Given) -> Mistake | None:
    try:
        taken = new_answers.take(making, one.dotted, one.raw)
    except Wrong as wrong:
        return Mistake(f"{one.dotted}: {wrong.what}", one.line, making.known[one.dotted].key.kind.allowed, wrong.todo)
    except UserError as error:
        return Mistake(f"{one.dotted}: {error.what}", one.line, error.allowed, ": ".join(filter(None, (error.where, error.todo))))
    for sentence in taken.told:
        console.say(f"{one.dotted}: {sentence}")
    return None


def _fill(making: Making, given: Collection[str]) -> list[Mistake]:
    """What follows from the others is taken for required keys that were not given; a Mistake for those that do not follow."""
    mistakes = []
    for dotted in new_answers.missing(making):
        if dotted in given:
            continue  # it was refused, which is told
        offered = new_answers.proposed(making, dotted)
        if offered is not None:
            new_answers.take(making, dotted, offered)
        elif dotted != "name":  # which follows from the pictures
            mistakes.append(Mistake(f"{dotted} is missing", None, making.known[dotted].key.kind.allowed))
    return mistakes

"""`train.ps1 -New`: asks a person the questions of a new profile, shows the plan, writes the profile, and gives back what is to be baked.

Not here: which questions there are (questions.py), how they look (question_screens.py), what an answer means (new_answers.py).
"""

import os
import re
import shlex
import shutil
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from lorabake import answer_checks, asking, console, drafts, new_answers, pickers, question_screens
from lorabake.errors import LorabakeError, Stopped, UsageError
from lorabake.kinds import Wrong, shown
from lorabake.new_answers import Making
from lorabake.new_profile import NewProfile, prepared
from lorabake.profile_names import advice
from lorabake.questions import Question, as_raw, groups, raw_of
from lorabake.settings_asked import FOLDER, MODEL, TEXT_FILE

BACK = re.compile(r"b(?:ack)?\s*(\d{1,3})?", re.IGNORECASE)
WRITE, BAKE, CHANGE, MORE = "1", "2", "3", "4"
FILTERS = {MODEL: pickers.MODELS, TEXT_FILE: pickers.TEXTS}
CARRIED = ("base_model", "output", "model.look")  # an earlier profile's answers that the next one is offered


@dataclass(frozen=True)
class Step:
    """Where to go from a question: so many questions on (or back), or to the end with `enough`."""

    by: int = 1
    enough: bool = False


def run(options: Namespace) -> list[Path]:
    """Profiles that are to be baked now, often none. Raises UsageError where nobody can be asked, Stopped when the person stops."""
    if not asking.at_console():
        raise UsageError("the questions of a new profile need a person at a console", todo="python py/train.py --new --answers FILE")
    written: list[Path] = []
    console.say(question_screens.WELCOME)
    making = _begin(options.profile_path)
    try:
        while True:
            ready, bake = _one(making)
            written.append(ready.write())
            console.say("\nThe profile is written:")
            console.result(str(written[-1]))
            if making.draft:
                making.draft.unlink(missing_ok=True)
            if bake:
                return written
            values = making.sheet.values
            making = Making(Path.cwd(), offered={key: values[key] for key in CARRIED if key in values})
            if not _yes("\nAnother LoRA? y: ask again for the next one. Enter: no"):
                break
    except (KeyboardInterrupt, EOFError):
        raise _stopped(making) from None
    if len(written) > 1 and _yes(f"\nBake all {len(written)} now, one after the other? y, or Enter: no"):
        return written
    names = ",".join(f'"{path}"' for path in written) if os.name == "nt" else " ".join(map(shlex.quote, map(str, written)))
    console.say(f"to bake: {'.' + chr(92) + 'train.ps1' if os.name == 'nt' else 'python3 py/train.py'} {names}")
    return []


def _stopped(making: Making) -> Stopped:
    if not making.sheet.values:
        return Stopped("no answers yet, so nothing is kept")
    path = drafts.save(making.sheet, making.draft)
    return Stopped("the answers so far are kept", where=str(path), todo="train.ps1 -New goes on with them")


def _begin(given: list[str]) -> Making:
    """With the name that was typed behind --new, or with a draft of before."""
    making = Making(Path.cwd())
    if given:
        try:
            new_answers.take(making, "name", given[0])
            making.settled.add("name")
        except Wrong as wrong:
            raise UsageError(wrong.what, where="--new", todo=wrong.todo) from None
        return making
    offered = drafts.found()
    if not offered:
        return making
    rows = [(draft.name, draft.saved, len(draft.answers)) for draft in offered]
    while True:
        console.say(question_screens.found_draft(rows, _width()))
        typed = _line().lower()
        if typed in ("n", "no"):
            return making
        number = 1 if typed in ("", "y", "yes") else int(typed) if typed.isascii() and typed.isdigit() else 0
        if 1 <= number <= len(offered):
            chosen = offered[number - 1]
            making.sheet, making.draft = drafts.sheet_of(chosen, making.known), chosen.path
            new_answers.look_again(making)
            return making
        console.say(question_screens.refusal(f"{shown(typed)} is none of them", "", _width()))


def _one(making: Making) -> tuple[NewProfile, bool]:
    """Ask until the person wants the profile written: (it, whether to bake now)."""
    at = _first_open(making)
    while True:
        _ask_all(making, at)
        while (ready := _shown(making)) and (choice := _choice(ready)) == CHANGE:
            _change(making)
        if choice in (WRITE, BAKE) and ready.is_free():
            return ready, choice == BAKE
        if choice in (WRITE, BAKE):
            console.say(question_screens.refusal("there is a profile of this name by now", "another name", _width()))
            del making.sheet.values["name"]
            at = _first_open(making)
        else:
            at = len(new_answers.asked(making)) if choice == MORE else len(new_answers.asked(making)) - 1


def _first_open(making: Making) -> int:
    questions = new_answers.asked(making)
    return next((i for i, q in enumerate(questions) if q.key.dotted not in making.sheet.values), len(questions))


def _ask_all(making: Making, at: int) -> None:
    """From the question `at` on to the end, and the further groups that are wished for."""
    enough = False
    while True:
        if enough:
            new_answers.take_rest(making)
            at = _first_open(making)
        questions = new_answers.asked(making)
        if at >= len(questions):
            wished = [] if enough else _wished_groups(making)
            if wished is None:
                at = len(questions) - 1
                continue
            if not wished:
                return
            making.more += wished
            continue
        step, dotted = _ask(making, questions[at], f"{at + 1} of {len(questions)}"), questions[at].key.dotted
        enough = enough or step.enough
        now = [question.key.dotted for question in new_answers.asked(making)]
        at = (now.index(dotted) if dotted in now else at) + step.by
        if at < 0:
            at = 0
            console.say(question_screens.refusal("this is the first question", "Ctrl-C stops", _width()))
        opened = [i for i, key in enumerate(now[:at]) if key not in making.sheet.values and step.by > 0]
        at = min([at, *opened])
        while step.by > 0 and at < len(now) and now[at] in making.settled and now[at] in making.sheet.values:
            at += 1


def _wished_groups(making: Making) -> list[str] | None:
    """Groups to ask too; [] for none, None to go back."""
    counts = groups(making.known.values())
    left = [name for name in counts if name not in making.more]
    while text := question_screens.more(counts, making.more, _width()):
        console.say(text)
        typed = _line().lower()
        if typed in ("", "n", "no", "e"):
            return []
        if BACK.fullmatch(typed):
            return None
        if typed in ("all", "y", "yes"):
            return left
        words = typed.replace(",", " ").split()
        if words and all(word in left for word in words):
            return words
        console.say(question_screens.refusal(f"{shown(typed)} is none of the groups", f"{', '.join(left)}, all", _width()))
    return []


def _ask(making: Making, question: Question, number: str) -> Step:
    """One question until it is answered or left."""
    dotted, values = question.key.dotted, making.sheet.values
    offered = new_answers.proposed(making, dotted)
    text = question_screens.question(question, number, offered, answered=dotted in values, width=_width())
    console.say(text if pickers.screen() else question_screens.without_screen(text))
    if dotted == "train.epochs" and (hint := answer_checks.epochs_hint(making.looks)):
        console.say(question_screens.told([hint], _width()))
    while True:
        typed = _line()
        if back := BACK.fullmatch(typed):
            return Step(-max(1, int(back[1] or 1)))
        if typed == "?":
            console.say(question_screens.explanation(question, _width()))
            continue
        if typed.lower() == "e":
            return Step(enough=True)
        if _answered(making, question, typed, offered):
            return Step()


def _answered(making: Making, question: Question, typed: str, offered: object) -> bool:
    """Take what was typed, picked or offered. False where it is refused, which was said."""
    dotted = question.key.dotted
    try:
        if typed == "" and not (question.key.required and offered is None):
            raw = as_raw(offered)
        elif question.picks and (typed == "" or typed.lower() == "w"):
            raw = _picked(question)
        else:
            raw = None if typed == "-" else raw_of(question, typed)
        taken = new_answers.take(making, dotted, raw)
        if taken.instead and _yes(
            f"  This is one of the numbered folders itself.\n  Take the folder above, {taken.instead}? Enter: yes, n: no", "yes"
        ):
            taken = new_answers.take(making, dotted, taken.instead)
    except Wrong as wrong:
        more = wrong.todo or f"allowed: {question.key.kind.allowed}"
        console.say(question_screens.refusal(wrong.what, more, _width()))
        return False
    except LorabakeError as error:
        more = "\n".join(part for part in (error.where, error.allowed, error.todo) if part)
        console.say(question_screens.refusal(error.what, more, _width()))
        return False
    if taken.told:
        console.say(question_screens.told(taken.told, _width()))
    return True


def _picked(question: Question) -> str | None:
    """A path out of a window. Raises Wrong where none was chosen."""
    folder = question.picks == FOLDER
    found = pickers.folder(question.title) if folder else pickers.files(question.title, FILTERS.get(question.picks, ()), several=False)
    if found is None:
        raise Wrong("no window can be opened here", "drag it into this window, or type it")
    if not found:
        raise Wrong("nothing was chosen", "Enter opens the window again; or drag it here, or type it")
    console.say(f"  {found[0]}")
    return found[0]


def _shown(making: Making) -> NewProfile:
    ready = prepared(making)
    console.say("\n" + ready.page(_width()))
    return ready


def _choice(ready: NewProfile) -> str:
    enter = CHANGE if ready.trouble else WRITE
    while True:
        console.say("\n" + question_screens.MENU.format(enter=enter))
        typed = _line().lower() or enter
        if BACK.fullmatch(typed):
            return "b"
        if typed in (WRITE, BAKE, CHANGE, MORE):
            return typed
        console.say(question_screens.refusal(f"{shown(typed)} is none of the choices", "1, 2, 3, 4 or b", _width()))


def _change(making: Making) -> None:
    """Ask one question again, and those whose answers then no longer fit."""
    text, listed = question_screens.answers(making.known, making.sheet, _width())
    while True:
        console.say(text)
        typed = _line()
        if typed == "" or BACK.fullmatch(typed):
            return
        number = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 4 else 0
        dotted = listed[number - 1] if 1 <= number <= len(listed) else typed.lower()
        if dotted not in making.known and len(places := [key for key in making.known if key.rpartition(".")[2] == dotted]) == 1:
            dotted = places[0]
        if dotted in making.known:
            break
        console.say(question_screens.refusal(f"{shown(typed)} is none of them", advice(dotted, making.known)[0], _width()))
    step = _ask(making, making.known[dotted], "again")
    if step.by > 0:
        for key in new_answers.missing(making):
            _ask(making, making.known[key], "again")


def _yes(question: str, otherwise: str = "no") -> bool:
    while True:
        console.say(question_screens.yes_or_no(question, _width()))
        typed = _line().lower() or otherwise
        if typed in ("y", "yes", "n", "no"):
            return typed[0] == "y"
        console.say(question_screens.refusal(f"{shown(typed)} is neither y nor n", "", _width()))


def _line() -> str:
    """What is typed. Raises EOFError where the input was closed."""
    typed = asking.line()
    if typed is None:
        raise EOFError
    return typed


def _width() -> int:
    return min(96, max(40, shutil.get_terminal_size((96, 24)).columns - 1))

"""The end of a setup: our scripts freed from the mark of the web, what is offered (each once), what to do next.

Nothing outside lorabake's folder is changed without a yes, and each change has a word that undoes it. Not here: the changes themselves
(shortcuts.py, policies.py, web_mark.py). Standard library only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lorabake import asking, console, magick, paths, policies, shortcuts, web_mark

ASK = "LORABAKE_ASK"  # set by setup.bat where a person started it
ANSWERS = "offers.json"
NEXT = """
What now:
  right-click train.ps1, "Run with PowerShell", and choose demo: a LoRA of emoji, in minutes
  or in a console:   .\\train.ps1 profiles\\demo.yaml -PlanOnly      (only looks)
  your own pictures: copy a profile from the folder profiles, or drop a folder of pictures on tag.ps1's window
  what is wrong?     setup.bat -Check"""


@dataclass(frozen=True)
class Offer:
    """`name` is how the answer is remembered; `does` is run after a yes, `word` does the same later, `undo` takes it back."""

    name: str
    question: str
    does: Callable[[], str]
    word: str
    undo: str = ""


def finish(root: Path, python: str, *, made: bool, quiet: bool = False) -> None:
    """After a setup that went well: free our scripts; where a person is there, offer each thing once.

    `made`: something was set up just now; `quiet`: a launcher did that on its way to its own work.
    """
    freed = [path for path in web_mark.marked(root) if web_mark.clear(path)]
    if freed:
        console.say(f"{len(freed)} of our scripts carried the mark of the web (Windows blocks such scripts): taken away")
    if made:
        shortcuts.refresh(root, python)
    offered = offers(root, python)
    if somebody_asked():
        ask(offered, paths.VENV / ANSWERS)
    elif made and not quiet:
        for offer in offered:
            console.say(f"not done, because nobody could be asked: {offer.question}\n  {offer.word}")
    if made and not quiet and sys.platform == "win32":
        console.say(NEXT)


def somebody_asked() -> bool:
    """Whether a person started this by setup.bat and can answer."""
    return os.environ.get(ASK) == "1" and asking.at_console()


def offers(root: Path, python: str) -> list[Offer]:
    """What would help on this PC; nothing on other systems than Windows."""
    if sys.platform != "win32":
        return []
    found = []
    verdict = policies.judge(policies.read())
    if verdict.offer:
        question = f"{policies.sentence(verdict)}. Let this user (nobody else) start scripts that are on this PC (RemoteSigned)?"
        found.append(Offer("scripts", question, allow_scripts, "setup.bat -AllowScripts", "setup.bat -UndoAllowScripts"))
    elif verdict.by_group and policies.sentence(verdict):
        console.say(policies.sentence(verdict))
    question = f"Put shortcuts on your desktop that take drops ({', '.join(shortcuts.NAMES.values())})?"
    found.append(Offer("shortcuts", question, lambda: make_shortcuts(root, python), "setup.bat -Shortcuts", "setup.bat -NoShortcuts"))
    if magick.lost():
        question = f"Install ImageMagick (it asks for an administrator)? Without it {magick.LOST}."
        found.append(Offer("magick", question, install_magick, magick.INSTALL, "Windows' settings, Apps"))
    return found


def ask(offered: list[Offer], file: Path) -> None:
    """Ask for each offer that has not been answered yet; a yes is done at once, any answer is remembered."""
    answers = read_answers(file)
    for offer in offered:
        if offer.name in answers:
            continue
        answer = asking.answer(f"\n{offer.question}\nType y and Enter for yes, Enter alone for no.").lower()
        yes = answer[:1] == "y"
        answers[offer.name] = "yes" if yes else "no"
        paths.write_json(file, answers)  # at once: a window may be closed at the next question
        console.say(offer.does() + (f" (undone by {offer.undo})" if offer.undo else "") if yes else f"  later: {offer.word}")


def read_answers(file: Path) -> dict[str, str]:
    """What was answered before."""
    try:
        answers = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return answers if isinstance(answers, dict) else {}


def make_shortcuts(root: Path, python: str) -> str:
    """Put them on the desktop; a sentence."""
    made = shortcuts.make(root, python)
    return f"  on {made[0].parent}: {', '.join(path.stem for path in made)}"


def drop_shortcuts(root: Path) -> str:
    """Take ours away; a sentence."""
    gone = shortcuts.remove(root)
    return f"taken away: {', '.join(path.stem for path in gone)}" if gone else "there are no shortcuts of this lorabake on the desktop"


def allow_scripts() -> str:
    """This user's own execution policy; a sentence."""
    if sys.platform != "win32":
        return "there is no execution policy on this system: nothing to do"
    verdict = policies.judge(policies.read())
    if verdict.by_group:
        return policies.sentence(verdict) or f"group policy allows our scripts ({verdict.policy}): nothing to do"
    if not verdict.offer:
        return f"the execution policy ({verdict.policy}) lets our scripts run: nothing to do"
    policies.allow()
    return f"  the execution policy of this user is now {policies.OFFERED}; it was {verdict.policy}"


def undo_allow_scripts() -> str:
    """Bring back the policy before; a sentence."""
    before = policies.undo()
    if before is None:
        return "the execution policy was not changed by lorabake: nothing to undo"
    return f"this user's execution policy is again {before or 'not set'}"


def install_magick() -> str:
    """Run winget in this window; a sentence."""
    program = shutil.which("winget")
    if program is None:
        return "  winget is not there; get the file that ends in x64-dll.exe: https://imagemagick.org/script/download.php#windows"
    code = subprocess.run([program, *magick.INSTALL.split()[1:]], check=False).returncode
    folder = magick.here()
    return f"  ImageMagick is in {folder}" if folder else f"  winget ended with code {code}, and ImageMagick is not found: setup.bat -Check"

"""New captions for many pictures at once: shown, and written as one entry of the journal.

Not here: what the new captions are (tag_edits.py, tag_writing.py); the caller holds the folder's lock.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lorabake import captions, console, journal
from lorabake.tag_files import Captioned, whole

NAME = "tags"  # of the entries in the journal
SHOWN = 5


def differing(found: Sequence[Captioned], new: Mapping[Path, str]) -> list[tuple[Captioned, str]]:
    """The captions whose tags change, with their new texts; one that is told to be empty stays as it is where it has no file."""
    return [(one, new[one.file]) for one in found if one.file in new and new[one.file] != captions.join_tags(one.tags)]


def show(folder: Path, changes: Sequence[tuple[Captioned, str]]) -> None:
    """The first few, before and after; and all whose text was guessed at."""
    say_guessed(changes)
    for one, after in changes[:SHOWN]:
        console.say(f"{one.file.relative_to(folder)}\n  - {one.text or ''}\n  + {after}")
    if len(changes) > SHOWN:
        console.say(f"... and {len(changes) - SHOWN} more")


def write(folder: Path, changes: Sequence[tuple[Captioned, str]], title: str, *, name: str = NAME) -> list[str]:
    """One entry of the journal. Returns a line for each caption that could not be written. Raises DiskFull as an OSError."""
    problems: list[str] = []
    texts: dict[Path, bytes | None] = {}
    for one, after in changes:
        try:
            text = whole(one, after)
        except OSError as error:
            problems.append(f"{one.file}: {journal.why_not(error)}, left as it is")
            continue
        if text is None:
            problems.append(f"{one.file}: it was changed while the job ran, left as it is; start again for it")
        else:
            texts[one.file] = text
    with journal.Recorder(folder, name, title) as recorder:
        return problems + recorder.write_texts(texts)


def say_guessed(changes: Sequence[tuple[Captioned, str]]) -> None:
    """Captions in another encoding, or of several lines: what a change makes of them should be looked at."""
    for one, _ in changes:
        if one.problem and one.text:
            console.say(f"{one.file}: {one.problem}")

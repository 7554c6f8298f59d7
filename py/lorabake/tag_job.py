"""What py/tag.py does with captions that are there: show, find, edit many at once, undo. Every edit is one entry of the journal.

Not here: what an edit or an expression means (tag_edits.py, tag_query.py), files of captions (tag_files.py), how changes are kept and
undone (journal.py), what --check looks at (checks.py).
"""

import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from lorabake import captions, checks, console, journal, profile, tag_edits, tag_query
from lorabake.errors import UsageError, UserError
from lorabake.locks import Lock
from lorabake.tag_edits import Edits
from lorabake.tag_files import Captioned, read_all, tag_counts, whole
from lorabake.wording import counted

NAME = "tags"  # of the entries in the journal
BUSY = "another job is at work in this folder"
LOCK = "_lock.json"
SHOWN_CHANGES = 5


def main(options: Namespace) -> int:
    """Exit code of py/tag.py."""
    folder = dataset_of(Path(options.dataset or asked()))
    if options.undo is not None:
        return undo(folder, options.undo)
    if options.history:
        return show_history(folder)
    wish = tag_edits.edits(
        add=options.add,
        add_first=options.add_first,
        remove=options.remove,
        replace=options.replace,
        others={"dedupe": options.dedupe, "sort": options.sort},
    )
    query = tag_query.parse(options.find) if options.find is not None else None
    found = read_all(folder)
    chosen = [one for one in found if query is None or query(tag_query.plain_tags(one.text or ""))]
    for one in found:
        if one.problem:
            console.say(f"{one.file}: {one.problem}")
    if wish:
        return edit(folder, chosen, wish, dry_run=options.dry_run, counts=tag_counts(found))
    if options.stats:
        return show_stats(chosen)
    if options.check:
        return checks.show(folder, chosen, trigger=options.trigger, most_tokens=options.tokens, resolution=options.resolution)
    if query:
        for one in chosen:
            for picture in one.pictures:
                console.result(f"{picture.relative_to(folder)}  {one.text or ''}")
        console.say(f"{counted(sum(len(one.pictures) for one in chosen), 'picture')} of {sum(len(one.pictures) for one in found)}")
        return 0
    if sys.stdin and sys.stdin.isatty() and not options.dataset:  # a right-click names nothing: the look that changes nothing
        return checks.show(folder, chosen, trigger=options.trigger, most_tokens=options.tokens, resolution=options.resolution)
    raise UsageError(
        "nothing to do was named",
        allowed="--stats, --check, --find, --add, --remove, --replace and others: see --help",
        todo="python py/tag.py FOLDER --stats",
    )


def asked() -> str:
    """The folder that a person at a console names or drags into the window, as after a right-click. Raises UsageError without one."""
    answer = ""
    if sys.stdin and sys.stdin.isatty():
        console.say("Which dataset? Drag its folder or a profile here, then Enter. Empty: stop.")
        try:
            answer = input("> ").strip().strip("\"'")
        except EOFError:  # Windows calls NUL a console
            answer = ""
    if not answer:
        raise UsageError("no dataset was named", todo="python py/tag.py FOLDER --stats")
    return answer


def dataset_of(given: Path) -> Path:
    """The folder of pictures that a folder or a profile names."""
    if given.is_file():
        return Path(profile.load(given, ()).profile.images)
    if not given.is_dir():
        raise UserError("there is no such folder or profile", where=str(given), todo='write it in "quotes" where it has spaces')
    return given


def edit(folder: Path, chosen: Sequence[Captioned], wish: Edits, *, dry_run: bool, counts: Mapping[str, int]) -> int:
    """Apply the edits to every chosen caption; those that stay the same are not written."""
    changes: list[tuple[Captioned, str]] = []
    unread = [one for one in chosen if one.text is None and one.file.exists()]
    for one in chosen:
        after = captions.join_tags(tag_edits.apply(one.tags, wish, counts))
        if one not in unread and after != captions.join_tags(one.tags):
            changes.append((one, after))
    for one, after in changes[:SHOWN_CHANGES]:
        console.say(f"{one.file.relative_to(folder)}\n  - {one.text or ''}\n  + {after}")
    if len(changes) > SHOWN_CHANGES:
        console.say(f"... and {len(changes) - SHOWN_CHANGES} more")
    if not dry_run and changes:
        with Lock(folder, BUSY, name=LOCK), journal.Recorder(folder, NAME, wish.title()) as recorder:
            recorder.write_texts({one.file: whole(one.file, one.text, after) for one, after in changes})
    verb = "would be changed" if dry_run else "changed"
    console.result(f"{counted(len(changes), 'caption')} of {len(chosen)} {verb}")
    if changes and not dry_run:
        console.say("--undo takes it back")
    return 1 if unread else 0


def show_stats(chosen: Sequence[Captioned]) -> int:
    """All tags with their counts, most frequent first, in the spelling that is most common."""
    spellings: dict[str, Counter[str]] = {}
    for one in chosen:
        for tag in one.tags:
            spellings.setdefault(tag_query.plain(tag), Counter())[tag] += 1
    counts = tag_counts(chosen)
    for tag, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        console.result(f"{count:>6}  {spellings[tag].most_common(1)[0][0]}")
    without = sum(len(one.pictures) for one in chosen if not one.text)
    total = sum(len(one.pictures) for one in chosen)
    console.say(f"{counted(len(counts), 'tag')} on {counted(total, 'picture')}; {without} without a caption")
    return 0


def show_history(folder: Path) -> int:
    """The journal's entries, newest first, with the numbers that --undo takes."""
    jobs = journal.jobs(folder)
    for job in reversed(jobs):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.time))
        console.result(f"{job.number:>4}  {when}  {job.state:<11}  {counted(len(job.changes), 'file'):<10}  {job.name}: {job.title}")
    if not jobs:
        console.say("nothing was changed here yet")
    return 0


def undo(folder: Path, number: int) -> int:
    """Take back entry `number`, or with 0 the newest that still stands."""
    standing = [job for job in journal.jobs(folder) if job.state != "undone" and number in (0, job.number)]
    if not standing:
        what = f"there is no entry {number} that still stands" if number else "there is nothing to undo"
        raise UserError(what, where=str(folder), todo="--history lists what was done")
    job = standing[-1]
    with Lock(folder, BUSY, name=LOCK):
        undone = journal.undo(folder, job)
    for problem in undone.problems:
        console.say(problem)
    console.result(f"undone: {job.title} ({counted(undone.num_files, 'file')} as before)")
    return 1 if undone.problems else 0

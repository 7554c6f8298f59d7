"""What py/tag.py does: show, find, check, tag by a model, edit many captions at once, undo. Every change is one entry of the journal.

Not here: what an edit or an expression means (tag_edits.py, tag_query.py), tagging (tagging.py), files of captions (tag_files.py), how
changes are kept and undone (journal.py), what --check looks at (checks.py).
"""

import time
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lorabake import (
    asking,
    captions,
    checks,
    checks_asked,
    console,
    journal,
    locks,
    paths,
    pickers,
    profile,
    settings,
    tag_changes,
    tag_edits,
    tag_query,
    tag_wish,
    tag_writing,
    tagging,
)
from lorabake.errors import UsageError, UserError
from lorabake.profile import Loaded
from lorabake.tag_edits import Edits
from lorabake.tag_files import EXTENSION, Captioned, Reader, read_all, tag_counts
from lorabake.tag_kinds import Rule
from lorabake.tag_query import Query
from lorabake.tag_words import TAGGING
from lorabake.wording import counted

PLACES = ("dataset", "model", "tag_list", "reject", "demote")  # words that name files
CHOICES = {"1": "check", "2": "tag", "3": "review", "": "check"}
WHICH = "Which dataset? Its folder of pictures, or a profile."
MENU = """What shall be done with it? (Enter: 1)
  1  check pictures and captions, change nothing
  2  tag the pictures that have no caption yet
  3  look at them and edit their tags in the browser"""


@dataclass(frozen=True)
class Dataset:
    """The folder of pictures that was named, and the profile that named it, if one did."""

    folder: Path
    loaded: Loaded | None

    def read(self) -> list[Captioned]:
        return read_all(self.folder, self.loaded.profile.data.caption_extension if self.loaded else EXTENSION)


@dataclass(frozen=True)
class Change:
    """What is to be done to captions that are there: rules first, then edits, on those that `only` fits."""

    rules: tuple[Rule, ...]
    edits: Edits
    only: Query | None


def main(options: Namespace) -> int:
    """Exit code of py/tag.py."""
    check_words(options)
    dataset = dataset_of(Path(options.dataset or asked_dataset()))
    if not options.dataset and not _anything(options):
        setattr(options, chosen_from_menu(), True)
    if options.undo is not None:
        return undo(dataset.folder, options.undo)
    if options.history:
        return show_history(dataset.folder)
    if options.diff is not None:
        return show_diff(dataset.folder, options.diff)
    edits = tag_edits.edits(
        add=options.add,
        add_first=options.add_first,
        remove=options.remove,
        replace=options.replace,
        others={"dedupe": options.dedupe, "sort": options.sort},
    )
    only = tag_query.parse(options.find) if options.find is not None else None
    if options.review:
        return review_page(dataset, options)
    if options.check or options.reject is not None or options.demote is not None:
        return check(dataset, options, edits, only)
    if options.tag or any(getattr(options, name) for name in TAGGING):
        return tag(dataset, options, edits, only)
    if edits or options.rules:
        change = Change(rules_of(dataset) if options.rules else (), edits, only)
        return edit(dataset.folder, dataset.read, change, dry_run=options.dry_run)
    if options.stats or options.tag_list or only:
        return look(dataset, options, only)
    return tag(dataset, options, edits, only)


def check_words(options: Namespace) -> None:
    """Raises UsageError for a word that no caption could hold: Linux gives programs any bytes. Names of files may be of any bytes."""
    for name, value in vars(options).items():
        for word in value if isinstance(value, list) else [value]:
            if isinstance(word, str) and name not in PLACES and (not is_unicode(word) or len(word.splitlines()) > 1):
                what = "not Unicode text" if not is_unicode(word) else "more than one line"
                raise UsageError(f"--{name.replace('_', '-')} {word!a} is {what}", todo="type it anew, in UTF-8 and on one line")


def is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def asked_dataset() -> str:
    """Where nothing was typed, as after a right-click. Raises UsageError where nobody answers."""
    pick = partial(pickers.folder, "Folder of pictures")
    return asking.required_path(WHICH, lacking="no dataset was named", todo="python py/tag.py FOLDER", pick=pick)


def _anything(options: Namespace) -> bool:
    """Whether anything but a dataset was typed."""
    return any(value not in (None, False, []) for name, value in vars(options).items() if name != "dataset")


def chosen_from_menu() -> str:
    """What a person who right-clicked wants: the name of an option. Raises UsageError for an answer that is none."""
    answer = asking.answer(MENU)
    if answer not in CHOICES:
        raise UsageError(f'"{answer}" is none of the choices', allowed=", ".join(filter(None, CHOICES)))
    return CHOICES[answer]


def dataset_of(given: Path) -> Dataset:
    """The folder of pictures that a folder or a profile names."""
    loaded = profile.load(given, ()) if given.is_file() else None
    folder = Path(loaded.profile.images) if loaded else given
    if not folder.is_dir():
        what = "there is no such folder" if loaded else "there is no such folder or profile"
        raise UserError(what, where=str(folder), todo='write it in "quotes" where it has spaces')
    return Dataset(folder, loaded)


def tag(dataset: Dataset, options: Namespace, edits: Edits, only: Query | None) -> int:
    """Let a tagger write captions. Raises UsageError for words that a tagging does not take."""
    if options.rules:
        raise UsageError("--rules are applied by each tagging of a profile anyhow", todo="leave --rules out, or use it without tagging")
    wish = tag_wish.of(options, dataset.loaded, edits, only)
    run = tagging.Run(dataset.folder, wish, dry_run=options.dry_run, device=options.device, refresh=options.refresh_model)
    return tagging.tag(run, dataset.read)


def check(dataset: Dataset, options: Namespace, edits: Edits, only: Query | None) -> int:
    """--check, --reject, --demote. Raises UsageError for words of another job beside them."""
    asked_for = [word for word in ("check", "reject", "demote") if getattr(options, word) not in (None, False)]
    others = [name for name in ("tag", *TAGGING, "rules", "stats", "tag_list") if name != "preset" and getattr(options, name)]
    strange = others[:1] or asked_for[1:] or (["an edit"] if edits else [])
    if strange:
        word = strange[0] if " " in strange[0] else f"--{strange[0].replace('_', '-')}"
        raise UsageError(f"--{asked_for[0]} and {word} are two jobs", todo="start one after the other")
    wanted = checks_asked.of(dataset.folder, dataset.loaded, options)
    if options.check:
        return checks.show(wanted, dataset.read(), only)
    return checks.move_away(wanted, dataset.read, only, options)


def review_page(dataset: Dataset, options: Namespace) -> int:
    """The page in the browser, until Ctrl-C. Raises UsageError for words of another job beside it."""
    others = [name for name, value in vars(options).items() if value not in (None, False, [], 0)]
    strange = [name for name in others if name not in ("dataset", "review", "port", "no_browser", "background")]
    if strange:
        raise UsageError(f"--review and --{strange[0].replace('_', '-')} are two jobs", todo="the page does all of it by hand")
    from lorabake import review  # only now: the others need no server

    data = dataset.loaded.profile.data if dataset.loaded else settings.Data()
    return review.serve(
        dataset.folder,
        port=options.port,
        open_browser=not options.no_browser,
        extension=data.caption_extension,
        background=options.background or data.background,
    )


def rules_of(dataset: Dataset) -> tuple[Rule, ...]:
    """The profile's tag.rules. Raises UsageError where there are none."""
    rules = dataset.loaded.profile.tag.rules if dataset.loaded else ()
    if not rules:
        where = str(dataset.loaded.path) if dataset.loaded else "a folder has no rules: name a profile"
        raise UsageError("there are no tag.rules", where=where, todo="tag: {rules: [{remove: signature}]} in the profile")
    return rules


def edit(folder: Path, read: Reader, change: Change, *, dry_run: bool) -> int:
    """Change every caption that is meant; those that stay the same are not written."""
    failed: list[str] = []
    if dry_run:
        changes, unread, num_meant = changed(read(), change)
    else:
        with locks.dataset(folder):  # before reading: what another job is just writing must not be lost
            changes, unread, num_meant = changed(read(), change)
            title = " ".join(["the profile's rules"] * bool(change.rules) + [change.edits.title()] * bool(change.edits))
            failed = tag_changes.write(folder, changes, title) if changes else []
    for problem in unread + failed:
        console.say(problem)
    tag_changes.show(folder, changes)
    verb = "would be changed" if dry_run else "changed"
    console.result(f"{counted(len(changes) - len(failed), 'caption')} of {num_meant} {verb}")
    if len(changes) > len(failed) and not dry_run:
        console.say("--undo takes it back")
    return 1 if unread or failed else 0


def changed(found: Sequence[Captioned], change: Change) -> tuple[list[tuple[Captioned, str]], list[str], int]:
    """(captions that change, with their new texts; a line for each that cannot be read; how many were meant)."""
    chosen = [one for one in found if change.only is None or change.only(tag_query.plain_tags(one.text or ""))]
    unread = [f"{one.file}: {one.problem}, left as it is" for one in chosen if one.text is None and one.problem]
    new = {one.file: one.tags for one in chosen if not (one.text is None and one.problem)}
    for rule in change.rules:
        new = tag_writing.ruled(new, rule, found)
    counts = tag_writing.counts_with(new, found)
    texts = {file: captions.join_tags(tag_edits.apply(tags, change.edits, counts)) for file, tags in new.items()}
    return tag_changes.differing(chosen, texts), unread, len(chosen)


def look(dataset: Dataset, options: Namespace, only: Query | None) -> int:
    """Everything that changes nothing."""
    found = dataset.read()
    chosen = [one for one in found if only is None or only(tag_query.plain_tags(one.text or ""))]
    for one in found:
        if one.problem:
            console.say(f"{one.file}: {one.problem}")
    if options.stats or options.tag_list:
        return show_stats(chosen, Path(options.tag_list) if options.tag_list else None)
    for one in chosen:
        for picture in one.pictures:
            console.result(f"{picture.relative_to(dataset.folder)}  {one.text or ''}")
    console.say(f"{counted(sum(len(one.pictures) for one in chosen), 'picture')} of {sum(len(one.pictures) for one in found)}")
    return 0


def show_stats(chosen: Sequence[Captioned], file: Path | None) -> int:
    """All tags with their counts, most frequent first, in the spelling that is most common; into `file` where one is named."""
    if file and file.exists():
        raise UserError("there is a file of this name already", where=str(file), todo="name another one, or move that one away")
    spellings: dict[str, Counter[str]] = {}
    for one in chosen:
        for tag in one.tags:
            spellings.setdefault(tag_query.plain(tag), Counter())[tag] += 1
    counts = tag_counts(chosen)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"{count:>6}  {spellings[tag].most_common(1)[0][0]}" for tag, count in ordered]
    if file:
        paths.write_text(file, "".join(f"{line}\n" for line in lines))
    else:
        for line in lines:
            console.result(line)
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


def show_diff(folder: Path, number: int) -> int:
    """What entry `number` changed, or with 0 the newest: captions before and after, pictures with the place of their originals."""
    jobs = [job for job in journal.jobs(folder) if number in (0, job.number)]
    if not jobs:
        what = f"there is no entry {number}" if number else "nothing was changed here yet"
        raise UserError(what, where=str(folder), todo="--history lists what was done")
    job = jobs[-1]
    console.say(f"{job.number}, {job.state}: {job.name}: {job.title}")
    for change in job.changes:
        if change.kind != "text":
            console.result(f"{change.path}{' -> ' if change.kind == 'move' else ', its original: '}{change.other}")
            continue
        console.result(f"{change.path}\n  - {shown(change.before)}\n  + {shown(change.after)}")
    return 0


def shown(packed: str | None) -> str:
    """A file of the journal in a line: its text, or that it is none, as a mask is."""
    data = journal.unpacked(packed) or b""
    text, _ = captions.decode(data)
    return text.strip() if text is not None else f"({len(data)} bytes that are no text)"


def undo(folder: Path, number: int) -> int:
    """Take back entry `number`, or with 0 the newest that still stands."""
    with locks.dataset(folder):
        standing = [job for job in journal.jobs(folder) if job.state != "undone" and number in (0, job.number)]
        if not standing:
            what = f"there is no entry {number} that still stands" if number else "there is nothing to undo"
            raise UserError(what, where=str(folder), todo="--history lists what was done")
        job = standing[-1]
        undone = journal.undo(folder, job)
    for problem in undone.problems:
        console.say(problem)
    console.result(f"undone: {job.title} ({counted(undone.num_files, 'file')} as before)")
    return 1 if undone.problems else 0

"""Tagging a dataset: every picture is scored by a tagger, then all captions are written at once, as one entry of the journal.

Scores are kept as they come, so an interrupted tagging goes on where it stopped, and other thresholds need no second look. Nothing is
written before every picture was looked at. Not here: the tagger (tagger.py), the captions (tag_writing.py).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lorabake import console, locks, tag_changes, tag_choice, tag_labels, tag_models, tag_writing, tagger, triggers
from lorabake.errors import Stopped
from lorabake.paths import Stamp, stamp_of
from lorabake.stopper import Stopper
from lorabake.tag_files import Captioned, Reader, tag_counts
from lorabake.tag_scores import Scores, Store
from lorabake.tag_wish import Wish
from lorabake.wording import counted, listed

STOP_FILE = "_stop"
SHOWN_TAGS = 15


@dataclass
class Run:
    """One tagging: the dataset's folder, what is wished, and what went wrong so far."""

    folder: Path
    wish: Wish
    dry_run: bool = False
    device: str | None = None
    refresh: bool = False
    problems: list[str] = field(default_factory=list)


def tag(run: Run, read: Reader) -> int:
    """Tag what `read` finds. Exit code: 0, or 1 when a picture or caption could not be done; the others are done all the same.

    Raises UserError, UsageError, DiskFull, and Stopped when asked to stop between two batches.
    """
    found = read()
    _check_triggers(run, found)
    todo = _to_write(run, found)
    if not todo:
        console.result(f"nothing to do: {counted(len(found), 'caption')} there already")
        console.say("--existing merge adds the tags that they lack, --existing overwrite writes them anew; both can be undone")
        return _told(run)
    model = tag_models.folder_of(run.wish.model, refresh=run.refresh)
    with locks.dataset(run.folder), Stopper((run.folder / STOP_FILE,)).listening() as stopper:
        with Store(run.folder, model=tag_labels.layout(model)[0], background=run.wish.background) as store:
            looked_at = _score(run, model, todo, store, stopper)
            found = read()  # it was hours ago: captions and pictures may have changed
            tags = _tags(run, model, found, store, looked_at)
        changes = tag_changes.differing(found, tag_writing.captions_of(run.folder, found, tags, run.wish))
        changes = [(one, text) for one, text in changes if text]
        failed: list[str] = []
        if not run.dry_run and changes:
            failed = tag_changes.write(run.folder, changes, f"tagged with {model.name}")
            run.problems += failed
            tag_changes.say_guessed(changes)
    if run.dry_run:
        tag_changes.show(run.folder, changes)
    _sum_up(run, found, tags, changes)
    verb = "would be written" if run.dry_run else "written"
    console.result(f"{counted(len(changes) - len(failed), 'caption')} of {len(found)} {verb}")
    if len(changes) > len(failed) and not run.dry_run:
        console.say("--undo takes it back")
    return _told(run)


def _check_triggers(run: Run, found: Sequence[Captioned]) -> None:
    """Before the hours, not after: a trigger word for a folder that is not there."""
    folders = [tag_writing.concept_folder(run.folder, path) for one in found for path in one.pictures]
    words = triggers.by_folder(run.wish.trigger, folders, preset=run.wish.tag.preset)
    if said := [f'"{word}" for {folder}' for folder, word in words.items() if word]:
        console.say(f"trigger words: {listed(said, most=SHOWN_TAGS)}")


def _to_write(run: Run, found: Sequence[Captioned]) -> list[Path]:
    """The pictures whose captions are to be written. What cannot be is told."""
    todo = []
    for one in found:
        if one.text is None and one.problem and run.wish.tag.existing != "overwrite":
            run.problems.append(f"{one.file}: {one.problem}; left as it is, --existing overwrite writes it anew")
        if not tag_writing.is_written(one, run.wish):
            continue
        for path in one.pictures:
            if str(path).isascii() or _is_unicode(path):
                todo.append(path)
            else:
                run.problems.append(f"{str(path).encode('utf-8', 'replace').decode()}: its name is not Unicode: rename it")
    return todo


def _is_unicode(path: Path) -> bool:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:  # Linux takes any bytes for a name
        return False
    return True


def _score(run: Run, model: Path, todo: Sequence[Path], store: Store, stopper: Stopper) -> set[Path]:
    """Look at every picture whose scores are not known yet; returns those whose scores are there. Raises Stopped, with all so far kept."""
    missing = [path for path in todo if store.find(path) is None]
    if len(missing) < len(todo):
        console.say(f"{counted(len(todo) - len(missing), 'picture')} looked at before, {len(missing)} to do")
    if not missing:
        return set(todo)
    opened = tagger.opened(model, device=run.device, batch=run.wish.tag.batch_size)
    tagger.say_device(opened)
    rows: list[tuple[Path, Stamp, Scores]] = []
    failed = set()
    with console.Bar(len(missing), "tagging") as bar:
        for number, one in enumerate(tagger.score_all(opened, missing, background=run.wish.background), 1):
            if one.problem or one.stamp is None:
                run.problems.append(one.problem or f"{one.path}: it is gone")
                failed.add(one.path)
            else:
                rows.append((one.path, one.stamp, one.scores))
            bar.update(number)
            if number % opened.batch and number < len(missing):
                continue
            store.add(rows)
            rows = []
            if number < len(missing) and (why := stopper.reason()):
                raise Stopped(
                    f"tagging stopped by {why} after {number} of {counted(len(missing), 'picture')}; no caption was written",
                    where=str(run.folder),
                    todo="start it again: it goes on from here",
                )
    return set(todo) - failed


def _tags(run: Run, model: Path, found: Sequence[Captioned], store: Store, looked_at: set[Path]) -> dict[Path, list[str]]:
    """Every picture that was looked at, now or before, with its tags. One that changed since is told and left out.

    Those with captions that stay count too: which clothes a character usually wears is seen on all pictures.
    """
    labels, choice = tag_labels.read(model), run.wish.choice
    tags = {}
    for one in found:
        for path in one.pictures:
            scores = store.find(path)
            if scores is not None:
                tags[path] = tag_choice.tags_of(scores, labels, choice)
            elif path in looked_at and stamp_of(path):
                run.problems.append(f"{path}: it was changed while the job ran; start again for its tags")
    return tags


def _sum_up(run: Run, found: Sequence[Captioned], tags: Mapping[Path, list[str]], changes: Sequence[tuple[Captioned, str]]) -> None:
    for folder, gone in tag_writing.left_out(run.folder, tags, run.wish.tag.preset).items():
        console.say(
            f"{folder}: not written, so that the LoRA learns it as its own ({run.wish.tag.preset}): {listed(gone, most=SHOWN_TAGS)}"
        )
    new = {one.file: text for one, text in changes}
    counts: Counter[str] = tag_counts([Captioned(one.file, one.pictures, new.get(one.file, one.text), one.problem) for one in found])
    if counts:
        most = listed([f"{tag} ({count})" for tag, count in counts.most_common(SHOWN_TAGS)], most=SHOWN_TAGS)
        console.say(f"{counted(len(counts), 'tag')}, most often {most}; --stats lists all")
    bare = [one for one in found if not new.get(one.file, one.text) and all(path in tags for path in one.pictures)]
    if bare:
        names = listed([str(one.pictures[0].relative_to(run.folder)) for one in bare])
        console.say(f"no tag was found for {counted(len(bare), 'picture')}: {names}; --threshold lower than {run.wish.tag.threshold:g}")


def _told(run: Run) -> int:
    for problem in run.problems:
        console.say(problem)
    return 1 if run.problems else 0

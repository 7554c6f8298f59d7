"""What the reviewing page may do to a dataset: captions, crops, covered places, masks, undo. Each change is one entry of the journal.

An edit is made to what the file holds at that moment, under the folder's lock. Not here: HTTP (review.py), what is in memory
(review_state.py), what an edit of tags means (tag_edits.py).
"""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from lorabake import captions, images, journal, masks, paths, repaint, tag_changes, tag_choice, tag_edits, tag_files, tag_labels, tag_query
from lorabake.errors import UserError
from lorabake.repaint import Box, Wish
from lorabake.review_state import Shown, Stale, State
from lorabake.tag_edits import Edits
from lorabake.wording import counted, listed

NAME = "review"  # of the entries in the journal
KINDS = ("crop", "blank", "mask")
SMALLEST_CROP_PX = 16
HISTORY = 200  # entries that the page lists


@dataclass(frozen=True)
class Done:
    """`said` is one line about what was done, `problems` one for each file that was left as it was."""

    said: str
    problems: tuple[str, ...] = ()


def find(state: State, expression: str) -> list[int]:
    """The pictures that fit. Raises UsageError for an expression that cannot be understood."""
    query = tag_query.parse(expression)
    return [number for number, one in state.shown.items() if query(tag_query.plain_tags(one.text or ""))]


def write_caption(state: State, number: int, base: str, text: str) -> Done:
    """One caption as it was typed. Raises Stale when the file no longer holds `base`."""
    text = " ".join(text.split())
    with state.changing([number]) as (one,):
        check_readable(one)
        if (one.text or "") != base:
            raise Stale(f"the caption of {one.path.name} was changed meanwhile", where=str(one.file), todo="look at it and edit it again")
        if text == base:
            return Done("nothing to change")
        what = f"{one.path.name}: caption edited"
        problems = tag_changes.write(state.folder, [(state.captioned(one), text)], what, name=NAME)
        return Done(what + told_shared(state, one), tuple(problems))


def edit_tags(state: State, numbers: Sequence[int], edits: Edits, exactly: Sequence[str] = ()) -> Done:
    """The same edit to many captions. `exactly` are tags to take out in which `*` is a star."""
    out = {tag_query.plain(tag) for tag in exactly}
    with state.changing(numbers) as chosen:
        found = {one.file: state.captioned(one) for one in chosen}
        problems = [f"{one.file.name}: {one.problem}, left as it is" for one in found.values() if one.text is None and one.problem]
        counts = tag_files.tag_counts([state.captioned(one) for one in owners(state)]) if edits.sort == "count" else {}
        new = {
            file: captions.join_tags(tag_edits.apply([tag for tag in one.tags if tag_query.plain(tag) not in out], edits, counts))
            for file, one in found.items()
            if not (one.text is None and one.problem)
        }
        changes = tag_changes.differing(list(found.values()), new)
        what = worded(edits, exactly)
        if not changes:
            return Done(f"{what}: nothing to change in {counted(len(found), 'caption')}", tuple(problems))
        what += f" in {counted(len(changes), 'caption')}"
        problems += tag_changes.write(state.folder, changes, what, name=NAME)
        return Done(what, tuple(problems))


def owners(state: State) -> list[Shown]:
    """One picture for each caption."""
    return list({one.file: one for one in state.shown.values()}.values())


def worded(edits: Edits, exactly: Sequence[str]) -> str:
    """`smile added, solo removed`."""
    parts = [f"{listed(edits.add_first)} put first"] * bool(edits.add_first) + [f"{listed(edits.add)} added"] * bool(edits.add)
    parts += [f"{listed([*edits.remove, *exactly])} removed"] * bool(edits.remove or exactly)
    parts += [f"{old} replaced by {', '.join(new) or 'nothing'}" for old, new in edits.replace]
    parts += ["doubled tags removed"] * edits.dedupe + [f"sorted by {edits.sort}"] * bool(edits.sort)
    return ", ".join(parts) or "no edit"


def check_readable(one: Shown) -> None:
    if one.text is None and one.problem:
        raise UserError(f"{one.file.name} {one.problem}", where=str(one.file), todo="it is left as it is")


def told_shared(state: State, one: Shown) -> str:
    names = [state.shown[other].path.name for other in one.shared]
    return f"; {listed(names)} {'has' if len(names) == 1 else 'have'} the same one" if names else ""


def write(state: State, files: dict[Path, bytes | None], title: str) -> list[str]:
    with journal.Recorder(state.folder, NAME, title) as recorder:
        return recorder.write_texts(files)


@dataclass(frozen=True)
class Rectangle:
    """Drawn on a picture that had this `stamp`; `box` in px of the upright picture. `fill`: `edge` or a colour."""

    number: int
    kind: str
    box: Box
    stamp: str
    fill: str = "edge"


def draw(state: State, rectangle: Rectangle, background: str) -> Done:
    """Crop the picture to the rectangle, cover that place, or leave it out of the loss. Raises Stale, UserError, ImageError."""
    with state.changing([rectangle.number]) as (one,):
        if one.stamp != rectangle.stamp:
            raise Stale(f"{one.path.name} was changed meanwhile", where=str(one.path), todo="look at it and draw again")
        header = images.header(one.path)
        size, box = (header.width, header.height), rectangle.box
        check_box(one.path, box, size, least=SMALLEST_CROP_PX if rectangle.kind == "crop" else 1)
        if rectangle.kind == "mask":
            return _mask(state, one, size, box)
        if rectangle.kind == "crop":
            return _crop(state, one, size, box, background)
        return _repaint(state, one, Wish(background, blanks=(box,), fill=rectangle.fill), f"{one.path.name}: {size_of(box)} covered")


def check_box(picture: Path, box: Box, size: tuple[int, int], *, least: int) -> None:
    left, top, width, height = box
    inside = left >= 0 and top >= 0 and left + width <= size[0] and top + height <= size[1]
    if not inside or width < least or height < least:
        allowed = f"inside {size[0]}x{size[1]} px, {least} px a side at least"
        raise UserError(f"{width}x{height} px at {left},{top} is no rectangle for this", where=str(picture), allowed=allowed)


def size_of(box: Box) -> str:
    return f"{box[2]}x{box[3]} px at {box[0]},{box[1]}"


def _mask(state: State, one: Shown, size: tuple[int, int], box: Box) -> Done:
    masks.check_alone(one.path)
    mask = masks.without(masks.read(one.path, size), size, box)
    share = masks.share_left_out(mask)
    if share == 1:
        raise UserError(
            f"nothing of {one.path.name} would be learned", where=str(one.path), todo="take the picture out of the dataset instead"
        )
    what = f"{one.path.name}: {size_of(box)} left out of the loss"
    problems = write(state, {masks.path_of(one.path): masks.packed(mask)}, what)
    return Done(f"{what}, {share:.0%} of it in all", tuple(problems))


def _crop(state: State, one: Shown, size: tuple[int, int], box: Box, background: str) -> Done:
    if box == (0, 0, *size):
        raise UserError("this is the whole picture", where=str(one.path), todo="draw a smaller rectangle")
    return _repaint(state, one, Wish(background, crop=box), f"{one.path.name}: cropped to {size_of(box)}", size=size)


def _repaint(state: State, one: Shown, wish: Wish, what: str, *, size: tuple[int, int] = (0, 0)) -> Done:
    """The picture made anew; with a crop its mask too, in the same entry. The original is kept."""
    found = images.layers(one.path)
    texts = masks.after_crop(one.path, size, wish.crop) if wish.crop else {}
    aside = paths.aside_of(one.path)
    problems: list[str] = []
    try:
        lost = repaint.write(one.path, aside, found, wish)
        with journal.Recorder(state.folder, NAME, what) as recorder:
            recorder.replace_picture(one.path, aside)
            problems = recorder.write_texts(texts)
    finally:
        aside.unlink(missing_ok=True)
    notes = [lost] * bool(lost) + [f"transparency laid on {wish.background}"] * (found.alpha is not None)
    return Done("; ".join([what, *notes]), tuple(problems))


def remove_masks(state: State, numbers: Sequence[int]) -> Done:
    """Everything of these pictures counts again."""
    with state.changing(numbers) as chosen:
        files: dict[Path, bytes | None] = {masks.path_of(one.path): None for one in chosen if one.mask}
        if not files:
            return Done("no masks here")
        what = f"{counted(len(files), 'mask')} removed"
        return Done(what, tuple(write(state, files, what)))


def undo(state: State, number: int = 0) -> Done:
    """Take entry `number` of the journal back, or with 0 the newest of this page that still stands. Raises UserError without one."""
    with state.changing():
        standing = [job for job in journal.jobs(state.folder) if job.state != "undone"]
        chosen = [job for job in standing if job.number == number or (number == 0 and job.name == NAME)]
        if not chosen:
            raise UserError("there is nothing to undo" if number == 0 else f"there is no entry {number} that still stands")
        job = chosen[-1]
        undone = journal.undo(state.folder, job)
    state.refresh()
    how = "undone" if not undone.problems else "not all could be undone"
    return Done(f"{how}: {job.title}", undone.problems)


def history(state: State) -> list[dict[str, Any]]:
    """The journal's entries as JSON, newest first."""
    jobs = journal.jobs(state.folder)[-HISTORY:]
    return [
        {
            "number": job.number,
            "when": time.strftime("%Y-%m-%d %H:%M", time.localtime(job.time)),
            "name": job.name,
            "title": job.title,
            "files": len(job.changes),
            "state": job.state,
        }
        for job in reversed(jobs)
    ]


def facts(state: State, number: int) -> dict[str, Any]:
    """What the header of a picture says, and how much of it is masked. Raises ImageError, Gone."""
    one = state.of(number)
    header = images.header(one.path)
    mask = masks.read(one.path, (header.width, header.height))
    return {
        "width": header.width,
        "height": header.height,
        "format": header.format,
        "alpha": header.has_alpha,
        "frames": header.frames,
        "note": header.note,
        "left_out": masks.share_left_out(mask) if mask else 0,
        "originals": kept_originals(one.path),
    }


def kept_originals(picture: Path) -> int:
    """How many earlier versions of the picture are kept."""
    folder = picture.parent / journal.ORIGINALS
    if not folder.is_dir():
        return 0
    name = re.compile(rf"{re.escape(picture.stem)}(\.\d+)?{re.escape(picture.suffix)}")  # as journal.free_place numbers them
    return sum(name.fullmatch(path.name) is not None for path in folder.iterdir())


def overlay(state: State, number: int) -> bytes | None:
    """The mask as masks.overlay draws it."""
    one = state.of(number)
    if not one.mask:
        return None
    with Image.open(masks.path_of(one.path), formats=("PNG",)) as found:
        size = found.size
    mask = masks.read(one.path, size)
    return masks.overlay(mask) if mask else None


def known_tags(stores: Iterable[Path], *, underscores: bool) -> list[str]:
    """The tags of the first tagger that is on the disk already, for completing what is typed; [] without one."""
    for folder in sorted(found for store in stores if store.is_dir() for found in store.iterdir() if found.is_dir()):
        try:
            labels = tag_labels.read(folder)
        except UserError:  # a download that is not finished
            continue
        names = [name for name, kind in zip(labels.names, labels.kinds, strict=True) if kind != "rating"]
        return names if underscores else [tag_choice.spaced(name) for name in names]
    return []


def writes_underscores(state: State) -> bool:
    """Whether this dataset's tags are written long_hair rather than long hair."""
    tags = [tag for one in owners(state) for tag in captions.split_tags(one.text or "") if len(tag) > tag_choice.SHORT]
    return sum("_" in tag for tag in tags) > sum(" " in tag for tag in tags)

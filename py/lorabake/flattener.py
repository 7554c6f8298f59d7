"""What py/flatten.py does: transparent pictures laid on a colour, in place; odd ones cropped, large ones shrunk; all of it undoable.

Pictures are made on every processor and take their places one by one. A file that needs nothing is not touched. Not here: how one picture
is made (repaint.py), how originals are kept and brought back (journal.py).
"""

import os
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from lorabake import console, images, journal, locks, masks, paths, pixels, repaint, upscale_layouts, upscaled
from lorabake.damage import ImageError
from lorabake.errors import UsageError, UserError
from lorabake.flatten_words import UPSCALE_TO_PX
from lorabake.repaint import Box, Upscale, Wish
from lorabake.wording import counted

NAME = "flatten"  # of the entries in the journal
TICK_S = 0.5  # so often a slow upscaling shows where it is
STEPS = {"flatten": "flattened", "crop": "cropped", "upscale": "upscaled", "shrink": "shrunk"}


@dataclass(frozen=True)
class Made:
    """One picture seen: `steps` that it needed, the finished file `aside` (None in a dry run), what was `lost`, or what is wrong.
    `texts`: what else is written, the mask of a cropped picture."""

    path: Path
    stamp: paths.Stamp | None  # of what was read
    steps: tuple[str, ...] = ()
    aside: Path | None = None
    lost: str = ""
    problem: str = ""
    texts: dict[Path, bytes | None] = field(default_factory=dict)


@dataclass
class Tally:
    """What came of one folder."""

    folder: Path
    num_pictures: int = 0
    done: Counter[str] = field(default_factory=Counter)
    num_untouched: int = 0
    lost: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def main(options: Namespace) -> int:
    """Exit code of py/flatten.py: 0, or 1 when a picture could not be done; the others are done all the same."""
    if options.upscale_try:
        models, picture = map(Path, options.upscale_try)
        return try_out(models, picture, options)
    folders = list(dict.fromkeys(folder for given in options.folder for folder in folders_of(Path(given), recursive=options.recursive)))
    if options.undo:
        return undo(folders)
    pixels.background_colour("white" if options.background == "checker" else options.background, *blank())
    wish = Wish(options.background, upscale=upscale_of(options) if options.upscale else None, max_side_px=options.max_side)
    crops = crops_of(options.crop, folders)
    tallies = [flatten(folder, wish, crops, dry_run=options.dry_run) for folder in folders]
    tell(tallies, dry_run=options.dry_run)
    return 1 if any(tally.problems for tally in tallies) else 0


def try_out(models: Path, picture: Path, options: Namespace) -> int:
    """Every model of a folder on one picture."""
    if not picture.is_file():
        raise UserError("there is no such picture", where=str(picture), todo='write it in "quotes" where it has spaces')
    from lorabake import upscale_try  # only now: torch takes seconds

    return upscale_try.run(models, picture, background=options.background, device=options.device)


def upscale_of(options: Namespace) -> Upscale:
    """What is to be enlarged, and the opened model; in a dry run its header was read. Raises UserError for a file that is none."""
    side_px, model = options.upscale_to or UPSCALE_TO_PX, Path(options.upscale)
    if options.dry_run:
        console.say(f"{model.name} enlarges {upscale_layouts.enlarging(model).scale} times")
        return Upscale(side_px, model.name, Image.Image.resize)
    from lorabake import upscaler  # only now: torch takes seconds

    opened = upscaler.opened(model, device=options.device)
    upscaler.say_device(opened)
    return Upscale(side_px, model.name, opened.to_size, lambda: opened.note, opened.stop)


def blank() -> tuple[Image.Image, Image.Image]:
    return Image.new("RGB", (1, 1)), Image.new("L", (1, 1))


def folders_of(folder: Path, *, recursive: bool) -> list[Path]:
    """The folder, with `recursive` also those in it that hold pictures. Raises UserError where there is none."""
    if not folder.is_dir():
        what = "this is a file, not a folder" if folder.exists() else "there is no such folder"
        raise UserError(what, where=str(folder), todo='give the folder that holds the pictures, in "quotes" where it has spaces')
    inside = [path for path in paths.visible(folder) if path.is_dir()]
    found = [folder] if pictures(folder) or (folder / journal.FOLDER).is_dir() else []
    if recursive:
        for sub in inside:
            with suppress(UserError):
                found += folders_of(sub, recursive=True)
    if not found:
        deeper = [sub for sub in inside if pictures(sub)]
        hint = (
            f"the pictures are in {deeper[0].name} and others in it: add --recursive"
            if deeper
            else "give the folder that holds the pictures"
        )
        raise UserError("no pictures here", where=str(folder), allowed=", ".join(sorted(images.EXTENSIONS)), todo=hint)
    return found


def pictures(folder: Path) -> list[Path]:
    return [path for path in paths.visible(folder) if path.suffix.lower() in images.EXTENSIONS and path.is_file()]


def crops_of(words: Sequence[str], folders: Sequence[Path]) -> dict[Path, Box]:
    """`FILE=x,y,w,h` each; the file by its path or by its name in one of the folders."""
    found: dict[Path, Box] = {}
    for word in words:
        name, _, numbers = word.rpartition("=")
        parts = numbers.split(",")
        if not name or len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
            raise UsageError(f'"{word}" is not FILE=x,y,width,height', allowed="whole numbers in px", todo="--crop cat.png=10,20,512,512")
        places = [place for folder in folders for place in (folder / name,) if place.is_file()] or [Path(name)]
        if not places[0].is_file():
            raise UserError(f'no picture "{name}"', where=", ".join(map(str, folders)))
        if places[0].parent not in folders:
            raise UserError("this picture is in none of the folders that were given", where=str(places[0]))
        left, top, width, height = map(int, parts)
        seen = images.header(places[0])
        if width < 1 or height < 1 or left + width > seen.width or top + height > seen.height:
            raise UserError(f"{numbers} is not inside the picture", where=str(places[0]), allowed=f"it has {seen.width}x{seen.height} px")
        found[places[0]] = (left, top, width, height)
    return found


def flatten(folder: Path, wish: Wish, crops: dict[Path, Box], *, dry_run: bool = False) -> Tally:
    """Do one folder. Raises UserError when another job is at work there or nothing can be written, DiskFull."""
    tally = Tally(folder)
    files = pictures(folder)
    todo = [replace(wish, crop=crops.get(path)) for path in files]
    if dry_run:
        take(tally, make_all(files, todo, dry_run=True), None)
        return tally
    with locks.dataset(folder):
        journal.sweep((folder, folder / journal.ORIGINALS))
        title = f"on {wish.background}"
        if wish.upscale:
            title += f", {upscaled.NOTE}{wish.upscale.model} to {wish.upscale.side_px} px"
        with journal.Recorder(folder, NAME, title) as recorder:
            take(tally, make_all(files, todo, dry_run=False), recorder, model=wish.upscale.model if wish.upscale else "")
    return tally


def take(tally: Tally, made: Iterator[Made | str], recorder: journal.Recorder | None, *, model: str = "") -> None:
    """Put each finished picture in its place, in order, and count. `model` is what enlarges."""
    total = len(pictures(tally.folder))
    with console.Bar(total, tally.folder.name) as bar:
        for one in made:
            if isinstance(one, str):
                bar.update(tally.num_pictures, one)
                continue
            tally.num_pictures += 1
            problem = one.problem
            if not problem and one.aside and recorder:
                problem = place(one, recorder, note=f"{upscaled.NOTE}{model}" if "upscale" in one.steps else "")
            if problem:
                tally.problems.append(problem)
            elif one.steps:
                tally.done.update(one.steps)
                tally.lost += [f"{one.path}: {one.lost}"] if one.lost else []
            else:
                tally.num_untouched += 1
            bar.update(tally.num_pictures)


def place(one: Made, recorder: journal.Recorder, *, note: str = "") -> str:
    """The new file takes its place; returns why it did not, "" when it did."""
    assert one.aside
    try:
        if paths.stamp_of(one.path) != one.stamp:
            return f"{one.path}: it was changed or taken away while the job ran, left as it is"
        recorder.replace_picture(one.path, one.aside, note=note)
        return "; ".join(recorder.write_texts(one.texts))
    except UserError as error:
        return f"{error.where or one.path}: {error.what}; {error.todo}"
    except OSError as error:
        return f"{one.path}: {journal.why_not(error)}, left as it is"
    finally:
        with suppress(OSError):  # the next job sweeps it away
            one.aside.unlink(missing_ok=True)
    return ""


def make_all(files: Sequence[Path], wishes: Sequence[Wish], *, dry_run: bool) -> Iterator[Made | str]:
    """Every picture made, in order, a few ahead of the one that is taken; on any end no unfinished file stays.

    While one is waited for, now and then a text: where its upscaling is.
    """
    upscale = wishes[0].upscale if wishes else None
    num_threads = os.cpu_count() or 1
    waiting = list(zip(files, wishes, strict=True))[::-1]
    ahead: list[Future[Made]] = []
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            while waiting or ahead:
                while waiting and len(ahead) < 2 * num_threads:
                    ahead.append(pool.submit(make, *waiting.pop(), dry_run=dry_run))
                while upscale and not wait(ahead[:1], TICK_S).done:
                    yield upscale.note()
                yield ahead.pop(0).result()
        finally:
            if upscale and ahead:
                upscale.stop()  # after Ctrl-C: a large picture takes minutes on a processor
            for future in ahead:
                if not future.cancel() and not future.exception() and (aside := future.result().aside):
                    aside.unlink(missing_ok=True)


def make(path: Path, wish: Wish, *, dry_run: bool) -> Made:
    """One picture beside its place, or what is wrong with it."""
    stamp = paths.stamp_of(path)
    try:
        if not (wish.crop or wish.max_side_px or wish.upscale) and not images.header(path).has_alpha:
            return Made(path, stamp)
        found = images.layers(path)
        steps = tuple(repaint.needed(found, wish))
        if not steps or dry_run:
            return Made(path, stamp, steps, lost=repaint.frames_lost(path, found) if steps else "")
        aside = paths.aside_of(path)
        seen = images.header(path)
        texts = masks.after_crop(path, (seen.width, seen.height), wish.crop) if wish.crop else {}
        return Made(path, stamp, steps, aside, repaint.write(path, aside, found, wish), texts=texts)
    except ImageError as error:
        return Made(path, stamp, problem=str(error))
    except OSError as error:
        return Made(path, stamp, problem=f"{path}: {journal.why_not(error)}, left as it is")


def undo(folders: Sequence[Path]) -> int:
    """Bring all originals of flatten back, the last job first."""
    num_files = 0
    problems: list[str] = []
    for folder in folders:
        with locks.dataset(folder):
            for job in reversed(journal.jobs(folder)):
                if job.name == NAME and job.state != "undone":
                    undone = journal.undo(folder, job)
                    num_files += undone.num_files
                    problems += undone.problems
    for problem in problems:
        console.say(problem)
    console.result(f"{counted(num_files, 'picture')} as before")
    return 1 if problems else 0


def tell(tallies: Sequence[Tally], *, dry_run: bool) -> None:
    """A table with a row per folder, then what went wrong."""
    steps = [step for step in STEPS if any(tally.done[step] for tally in tallies)] or ["flatten"]
    heads = ["pictures", *(f"to {step}" if dry_run else STEPS[step] for step in steps), "untouched", "failed"]
    width = max(len("folder"), *(len(tally.folder.name) for tally in tallies))
    console.result("  ".join([f"{'folder':<{width}}", *heads]))
    for tally in tallies:
        numbers = [tally.num_pictures, *(tally.done[step] for step in steps), tally.num_untouched, len(tally.problems)]
        cells = [f"{number:>{len(head)}}" for number, head in zip(numbers, heads, strict=True)]
        console.result("  ".join([f"{tally.folder.name:<{width}}", *cells]))
    for tally in tallies:
        for line in tally.problems + tally.lost:
            console.say(line)
    if any(repaint.DEPTH_LOST in line for tally in tallies for line in tally.lost):
        console.say("ImageMagick keeps all of it: install it (https://imagemagick.org), --undo, and flatten again")
    if not dry_run and any(tally.done for tally in tallies):
        console.say(f"the originals are in {journal.ORIGINALS} beside the pictures; --undo brings them back")

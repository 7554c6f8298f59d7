"""What py/convert.py does: find model files, say what each is, and write those that need it as .safetensors beside the originals.

Not here: what a file becomes (convert_plan.py), writing and comparing (conversion.py).
"""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lorabake import asking, console, conversion, convert_plan, convert_words, images, model_kinds, modelfile, paths, pickers, tensor_files
from lorabake.errors import UsageError, UserError
from lorabake.flatten_words import parse as flatten_words
from lorabake.model_kinds import FileKind

EXTENSIONS = (".pt", ".ckpt", ".bin", ".pth", ".safetensors")
PROPOSED = "fp16"
WHICH = "Which model files? One or several, or a folder of them."
LEAST_SHOWN_BYTES = 200 * 2**20  # less takes a second or two: no progress is shown
# The parts of a Diffusers folder have fixed names in each format.
FIXED_NAMES = {"pytorch_model": "model"}


@dataclass(frozen=True)
class Wish:
    """What is asked for, of every file alike."""

    precision: str
    dialect: str
    keep_ema: bool
    out: Path | None
    dry_run: bool


@dataclass(frozen=True)
class Found:
    """A file, and the folder that was named for it, if one was: results in --out stand as deep below it."""

    path: Path
    folder: Path | None = None


def main(options: Namespace) -> int:
    """Exit code of py/convert.py: 0, or 1 when a file could not be converted; the others are all the same."""
    given = options.path or asked_paths()
    precision = options.precision or (asked_precision() if not options.path else "keep")
    found, pictures = find([Path(path) for path in given], recursive=options.recursive)
    code = flatten(pictures, dry_run=options.dry_run) if pictures else 0
    if not found:
        return code
    wish = Wish(precision, options.dialect, options.keep_ema, Path(options.out) if options.out else None, options.dry_run)
    if wish.out and wish.out.suffix.lower() == ".safetensors" and len(found) > 1:
        raise UsageError(f"--out names one file, and there are {len(found)} to convert", todo="give a folder: --out D:\\Converted")
    tally: dict[str, int] = {}
    for one in found:
        outcome = convert(one, wish)
        tally[outcome] = tally.get(outcome, 0) + 1
    console.result(", ".join(f"{number} {words}" for words, number in tally.items()))
    return 1 if "refused" in tally else code


def asked_paths() -> list[str]:
    """Where nothing was typed, as after a right-click. Raises UsageError where nobody answers."""
    pick = partial(pickers.files, "Model files", pickers.MODELS)
    return asking.required_paths(WHICH, lacking="no file was named", todo="python py/convert.py FILE", pick=pick)


def asked_precision() -> str:
    """The precision that a person chooses after the file; fp16 by Enter alone. Raises UsageError for an answer that is none."""
    others = ", ".join(name for name in convert_words.PRECISIONS if name != PROPOSED)
    answer = (
        asking.answer(f"Which precision? Enter: {PROPOSED}, which halves fp32 files and is enough to draw with. Or {others}.").lower()
        or PROPOSED
    )
    if answer not in convert_words.PRECISIONS:
        raise UsageError(f'"{answer}" is none of the precisions', allowed=", ".join(convert_words.PRECISIONS))
    return answer


def find(given: Sequence[Path], *, recursive: bool) -> tuple[list[Found], list[Path]]:
    """(model files, folders that hold pictures and no model). Raises UserError for a name that is nothing, and for an empty folder."""
    found: dict[Path, Found] = {}
    pictures: list[Path] = []
    for path in given:
        if path.is_file():
            found.setdefault(path, Found(path))
        elif path.is_dir():
            inside = [file for file in _files(path, recursive=recursive) if file.suffix.lower() in EXTENSIONS]
            found |= {file: Found(file, path) for file in inside if file not in found}
            if not inside:
                _require_pictures(path)
                pictures.append(path)
        else:
            raise UserError("there is no such file or folder", where=str(path), todo='write it in "quotes" where it has spaces')
    return list(found.values()), pictures


def _files(folder: Path, *, recursive: bool) -> Iterator[Path]:
    for entry in paths.visible(folder):
        if entry.is_file():
            yield entry
        elif recursive and entry.is_dir():
            yield from _files(entry, recursive=True)


def _require_pictures(folder: Path) -> None:
    if any(entry.suffix.lower() in images.EXTENSIONS for entry in paths.visible(folder)):
        return
    inside = [entry.name for entry in paths.visible(folder) if entry.is_dir()]
    raise UserError(
        f"there is no model file in this folder ({', '.join(EXTENSIONS)})",
        where=str(folder),
        todo="--recursive looks into the folders inside" if inside else "name another folder, or a file",
    )


def flatten(folders: Sequence[Path], *, dry_run: bool) -> int:
    """A folder of pictures is not for converting, but what people drop here: its transparent ones are flattened."""
    from lorabake import flattener

    console.say("these are pictures, not models: transparent ones are laid on white, as py/flatten.py does it")
    return flattener.main(flatten_words(None, [*map(str, folders), *(["--dry-run"] if dry_run else [])]))


def convert(one: Found, wish: Wish) -> str:
    """One file, told on the console: "converted", "would be converted", "already fine", "already there" or "refused"."""
    try:
        with tensor_files.opened(one.path) as source:
            kind = model_kinds.describe(source.contents)
            console.result(f"{one.path}: {told(source.contents, kind)}")
            return _convert(one, source, kind, wish)
    except UserError as error:
        console.say(f"refused: {error}")
        return "refused"


def told(contents: modelfile.Contents, kind: FileKind) -> str:
    """LoRA for Stable Diffusion 1, rank 32, fp16, 36.1 MB"""
    names = {"peft": "names of PEFT", "diffusers": "old names of diffusers"}
    parts = [kind.title(), model_kinds.precision_of(contents.dtypes), names.get(kind.dialect, ""), console.size(contents.size_bytes)]
    return ", ".join(part for part in parts if part)


def _convert(one: Found, source: tensor_files.Source, kind: FileKind, wish: Wish) -> str:
    as_it_is = source.contents.format == "safetensors" and wish.precision == "keep"  # an averaged copy alone is no reason for a second file
    made = convert_plan.plan(source, kind, precision=wish.precision, dialect=wish.dialect, keep_ema=wish.keep_ema or as_it_is)
    if source.contents.format == "safetensors" and made.changes_nothing(source):
        console.result("  it is so already: nothing to do")
        return "already fine"
    for note in made.notes:
        console.result(f"  {note}")
    out = place(one, source, made, wish)
    if out.exists():
        return _judge_existing(made, source, out)
    console.result(f"  {'would become' if wish.dry_run else 'becomes'} {out} ({console.size(made.num_bytes())})")
    if wish.dry_run:
        return "would be converted"
    total, done = 2 * made.num_bytes(), 0
    with console.Bar(max(1, total >> 20), "written and compared, MB", "MB") as bar:

        def tick(num_bytes: int) -> None:
            nonlocal done
            done += num_bytes
            if total > LEAST_SHOWN_BYTES:
                bar.update(done >> 20)

        conversion.write(made, source, out, tick=tick)
    return "converted"


def _judge_existing(made: conversion.Conversion, source: tensor_files.Source, out: Path) -> str:
    """An earlier run's result is found again; any other file of the name is left alone."""
    try:
        difference = conversion.compare(made, source, out, tick=lambda _: None).replace("metadata", "")
    except UserError:
        difference = "it is no whole .safetensors file"
    if difference:
        raise UserError(
            "there is another file of the name that this one would get",
            where=f"{out} (differs in: {difference})",
            todo="give --out another folder or name, or move that file away",
        )
    console.result(f"  {out} is there already, the same")
    return "already there"


def place(one: Found, source: tensor_files.Source, made: conversion.Conversion, wish: Wish) -> Path:
    """Where the result goes: the original's name with .safetensors; where that is the original itself, with what was changed."""
    if wish.out and wish.out.suffix.lower() == ".safetensors":
        out = wish.out
    else:
        folder = one.path.parent
        if wish.out:
            folder = wish.out / (one.path.parent.relative_to(one.folder) if one.folder else "")
        stem = one.path.stem
        beside_diffusers = (one.path.parent / "config.json").is_file()
        out = folder / f"{FIXED_NAMES.get(stem, stem) if beside_diffusers else stem}.safetensors"
        if out.exists() and out.samefile(one.path):
            out = folder / f"{stem}-{_change(source, made, wish)}.safetensors"
    if out.exists() and out.samefile(one.path):
        raise UserError("the result would take the original's place", where=str(out), todo="give --out another name")
    return out


def _change(source: tensor_files.Source, made: conversion.Conversion, wish: Wish) -> str:
    """The word for the name of a result that stands beside its original."""
    if wish.precision != "keep":
        return wish.precision
    if any(new != old for new, old in made.sources.items()):
        return "pruned" if {*made.specs} < {*source.names()} else wish.dialect
    return "pruned"

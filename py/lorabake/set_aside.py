"""Pictures moved away with their captions: to `_rejected`, where nothing looks, or to a folder of fewer repeats. Nothing is deleted.

One entry of the journal each time, so `tag.py --undo` brings them back. Not here: which pictures those are (checks.py).
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lorabake import journal, masks
from lorabake.errors import UserError
from lorabake.folder_names import repeats_of
from lorabake.tag_files import Captioned

REJECTED = "_rejected"
Place = Callable[[Path], Path]  # picture -> the folder that it goes to


@dataclass
class Moves:
    """`groups`: files that go together, from -> to, a picture first. `texts`: captions to be written, None for one to be taken away."""

    groups: list[dict[Path, Path]] = field(default_factory=list)
    texts: dict[Path, bytes | None] = field(default_factory=dict)


def rejected(folder: Path) -> Place:
    """`_rejected` in the dataset, with the folders that pictures are in now."""
    return lambda picture: folder / REJECTED / picture.parent.relative_to(folder)


def demoted(folder: Path, repeats: int, pictures: Sequence[Path]) -> Place:
    """`<repeats>_<concept>` beside the `N_<concept>` that a picture is in. Raises UserError where there are no such folders."""
    for picture in pictures:
        inside = picture.parent.relative_to(folder).parts
        if inside and repeats_of(picture.parent.name):
            continue
        if not inside and repeats_of(folder.absolute().name):
            what, todo = (
                "this is one concept's folder; the one that it goes to lies beside it",
                f'name the folder above: "{folder.absolute().parent}"',
            )
        else:
            what = "only pictures in folders such as 5_junwool have repeats that could be fewer"
            todo = f"put them into {folder / f'5_{folder.absolute().name}'} first, or use --reject"
        raise UserError(what, where=str(picture), todo=todo)
    return lambda picture: picture.parent.with_name(f"{repeats}_{_named(picture)[1]}")


def seen_less(pictures: Sequence[Path], repeats: int) -> list[Path]:
    """Those that `repeats` would show less often than now."""
    return [picture for picture in pictures if repeats < _named(picture)[0]]


def _named(picture: Path) -> tuple[int, str]:
    return repeats_of(picture.parent.name) or (1, picture.parent.name)


def moves(chosen: Collection[Path], found: Sequence[Captioned], place: Place) -> Moves:
    """What has to be moved so that each chosen picture has its caption and mask with it, under a name that is free there.

    A caption that other pictures share stays with them, and the ones that go get a copy.
    """
    made, taken = Moves(), set[Path]()
    for one in found:
        going = [picture for picture in one.pictures if picture in chosen]
        all_go = len(going) == len(one.pictures)
        alone = all_go and all(picture.stem == one.file.stem for picture in going)
        suffix = _free_suffix(going, one.file, place, taken) if going else ""
        for index, picture in enumerate(going):
            target = place(picture) / f"{picture.stem}{suffix}{picture.suffix}"
            group = {picture: target}
            mask = masks.path_of(picture)
            if all_go and index == 0 and mask.is_file():
                group[mask] = masks.path_of(target)
            if one.file.is_file() and alone and index == 0:
                group[one.file] = target.with_suffix(one.file.suffix)
            elif one.file.is_file() and not alone:
                made.texts[target.with_name(target.stem + one.file.suffix)] = one.file.read_bytes()
            made.groups.append(group)
        if going and all_go and not alone and one.file.is_file():
            made.texts[one.file] = None
    return made


def _free_suffix(going: Sequence[Path], caption: Path, place: Place, taken: set[Path]) -> str:
    """ "", or ".2" and so on: with it the names of these pictures and of their captions are free where they go."""

    def names(suffix: str) -> Iterator[Path]:
        for picture in going:
            yield place(picture) / f"{picture.stem}{suffix}{picture.suffix}"
            yield place(picture) / f"{picture.stem}{suffix}{caption.suffix}"
            yield masks.path_of(place(picture) / f"{picture.stem}{suffix}.png")

    suffix, number = "", 1
    while any(name in taken or name.exists() for name in names(suffix)):
        number += 1
        suffix = f".{number}"
    taken.update(names(suffix))
    return suffix


def carry_out(folder: Path, made: Moves, title: str) -> list[str]:
    """One entry of the journal. Returns a line for each picture that could not be moved. The caller holds the folder's lock."""
    with journal.Recorder(folder, "check", title) as recorder:
        problems = recorder.move_together(made.groups)
        return problems + recorder.write_texts(made.texts)

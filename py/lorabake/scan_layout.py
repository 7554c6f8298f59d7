"""Which folders are training folders: `<repeats>_<concept>` folders, one of them picked by itself, or a flat folder; and what lies beside.

The rules are those of the trainer that people come from (the number in front is the repeats; other subfolders and deeper ones are never
seen), but nothing is left out silently. Not here: pictures' sizes and captions (scan.py).
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lorabake import images, paths
from lorabake.errors import UserError
from lorabake.folder_names import repeats_of
from lorabake.settings import Profile
from lorabake.wording import counted, listed

MANY_REPEATS = 100  # a larger number in front of a name is more likely a year or a date
FOUND_MOST, DEPTH_MOST = 5000, 3  # where a search for pictures in deeper folders gives up
NEARLY = re.compile(r"\s*([0-9]{1,4})\s*[xX]?[\s\-.]*(\D.*)", re.DOTALL)
# Files that somebody may take for training pictures, of formats that are not read here.
LIKE_PICTURES = frozenset(
    f".{name}"
    for name in (
        *("psd", "psb", "kra", "clip", "xcf", "svg", "heic", "heif", "jxl", "avif", "jfif", "tga", "dds", "exr", "hdr"),
        *("cr2", "nef", "arw", "dng", "pdf", "mp4", "webm", "zip", "rar", "7z"),
    )
)


@dataclass(frozen=True)
class Chosen:
    """A folder to read, and what its name or place makes of it."""

    path: Path
    name: str
    repeats: int
    concept: str
    regularization: bool = False


@dataclass(frozen=True)
class Listing:
    """What lies directly in one folder; names that begin with "_" or "." left out, natural order."""

    folders: tuple[Path, ...]
    pictures: tuple[Path, ...]
    others: tuple[Path, ...]


@dataclass
class Remarks:
    """Sentences gathered on the way."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def tell_case_clashes(self, names: Iterable[str]) -> None:
        """Names that differ only in capitals are two files on Linux and one on Windows."""
        seen: dict[str, list[str]] = {}
        for name in names:
            seen.setdefault(name.lower(), []).append(Path(name).name)
        for clash in [group for group in seen.values() if len(group) > 1][:3]:
            self.warn(f"{' and '.join(clash)} differ only in capital letters: Windows keeps one of them; rename the other")


def listing(folder: Path) -> Listing:
    """Raises UserError when the folder cannot be read."""
    try:
        with os.scandir(paths.long_path(folder)) as entries:
            names = {entry.name for entry in entries if entry.is_dir()}
        visible = paths.visible(folder)
    except OSError as error:
        raise UserError(
            f"this folder cannot be read: {error.strerror or error}", where=str(folder), todo="allow reading it, or name another"
        ) from error
    folders = tuple(p for p in visible if p.name in names)
    pictures = tuple(p for p in visible if p.name not in names and p.suffix.lower() in images.EXTENSIONS)
    return Listing(folders, pictures, tuple(p for p in visible if p.name not in names and p.suffix.lower() not in images.EXTENSIONS))


def num_pictures_below(folder: Path, depth: int = DEPTH_MOST) -> int:
    """Pictures in a folder and those under it; gives up after FOUND_MOST, or DEPTH_MOST levels down."""
    count = 0
    for _root, folders, files in os.walk(folder):
        depth_here = len(Path(_root).relative_to(folder).parts)
        folders[:] = [name for name in folders if not name.startswith(("_", "."))] if depth_here < depth else []
        count += sum(Path(name).suffix.lower() in images.EXTENSIONS and not name.startswith(("_", ".")) for name in files)
        if count >= FOUND_MOST:
            break
    return count


def choose(profile: Profile, remarks: Remarks) -> list[Chosen]:
    """Training folders, then regularisation folders. Raises UserError when nothing can be trained on."""
    root = Path(profile.images)
    if not root.exists():
        raise UserError("the folder of pictures does not exist", where=f"images: {root}", todo=_nearest(root))
    if not root.is_dir():
        raise UserError("images is a file, a folder is wanted", where=f"images: {root}", todo=f"images: {root.parent}")
    regular = _regularization(profile, remarks)
    here = listing(root)
    beside = tuple(folder for folder in here.folders if not any(_same(folder, place) for place in _origins(profile)))
    chosen = _numbered(beside, remarks) or _single(root, here.pictures, profile.data.repeats, remarks)
    if not chosen:
        raise _nothing(root, here)
    if len(chosen) > 1 or chosen[0].path != root:
        _tell_loose(here, chosen, remarks)
    _tell_skipped(beside, chosen, remarks)
    for place in chosen:
        _tell_deeper(place, root, remarks)
        _tell_formats(place, remarks)
    return [*chosen, *regular]


def _origins(profile: Profile) -> list[Path]:
    """The regularisation folder, which may lie among the training folders and is then not one of them."""
    return [Path(profile.data.regularization)] if profile.data.regularization else []


def _same(one: Path, other: Path) -> bool:
    return os.path.normcase(one.absolute()) == os.path.normcase(other.absolute())


def _numbered(folders: Sequence[Path], remarks: Remarks) -> list[Chosen]:
    """The `<repeats>_<concept>` folders that hold pictures."""
    chosen = []
    for folder in folders:
        found = repeats_of(folder.name)
        if not found:
            continue
        repeats, concept = found
        num_pictures = len(listing(folder).pictures)
        if repeats < 1:
            remarks.note(f"{folder.name}: not used, its name says {repeats} repeats ({counted(num_pictures, 'picture')})")
        elif not num_pictures:
            remarks.warn(f"{folder.name}: holds no pictures, so it is not used")
        else:
            chosen.append(Chosen(folder, folder.name, repeats, concept))
            if repeats > MANY_REPEATS:
                remarks.warn(
                    f"{folder.name}: the number in front is read as {repeats} repeats of each picture in every epoch; "
                    f"if it is a date, rename the folder to 5_{folder.name}"
                )
    return chosen


def _single(root: Path, pictures: Sequence[Path], repeats: int, remarks: Remarks) -> list[Chosen]:
    """The folder itself holds the pictures: one of the numbered folders picked by itself, or a flat folder."""
    if not pictures:
        return []
    name = root.absolute().name
    numbered = repeats_of(name)
    if numbered and 1 <= numbered[0] <= MANY_REPEATS:
        siblings = (
            [p.name for p in listing(root.parent).folders if p != root and (repeats_of(p.name) or (0,))[0] > 0]
            if root.parent != root
            else []
        )
        text = f"images is the inner folder {name} itself: it is used as the concept {_quoted(numbered[1])} with {numbered[0]} repeats"
        if siblings:
            remarks.warn(f"{text}; its neighbours {listed(siblings)} are not used. To use all of them: images: {root.parent}")
        else:
            remarks.note(text)
        return [Chosen(root, name, *numbered)]
    why = f" (the {numbered[0]} in front of its name is not taken for repeats)" if numbered else ""
    remarks.note(
        f"{name} is a flat folder, without <repeats>_<concept> folders: each picture is seen {repeats} times per epoch (data.repeats){why}"
    )
    return [Chosen(root, name, repeats, name)]


def _quoted(concept: str) -> str:
    return f'"{concept}"'


def _regularization(profile: Profile, remarks: Remarks) -> list[Chosen]:
    """Folders of regularisation pictures: numbered ones, else the folder itself with 1 repeat; whatever is wrong with it, it is none."""
    if not profile.data.regularization:
        return []
    root = Path(profile.data.regularization)
    if _same(root, Path(profile.images)):
        remarks.warn("data.regularization is the training folder itself: no regularisation pictures are used")
        return []
    if not root.is_dir():
        remarks.warn(f"there is no regularisation folder {root}: none are used")
        return []
    here = listing(root)
    numbered = [(p, repeats_of(p.name)) for p in here.folders]
    found = [Chosen(p, p.name, n[0], n[1], True) for p, n in numbered if n and n[0] > 0 and listing(p).pictures]
    if not found and here.pictures:
        repeats, concept = repeats_of(root.name) or (1, root.name)
        found = [Chosen(root, root.name, max(1, repeats) if repeats <= MANY_REPEATS else 1, concept, True)]
    if not found:
        remarks.note(f"the regularisation folder {root.name} holds no pictures: none are used")
    return found


def _tell_loose(here: Listing, chosen: Sequence[Chosen], remarks: Remarks) -> None:
    if here.pictures:
        many, names = counted(len(here.pictures), "picture"), listed([p.name for p in here.pictures])
        remarks.warn(f"{many} beside the numbered folders not used ({names}); to use them move them into {chosen[0].name}")


def _tell_skipped(folders: Sequence[Path], chosen: Sequence[Chosen], remarks: Remarks) -> None:
    """Subfolders without a number that hold pictures. Others are nobody's loss."""
    is_single = all(place.path not in folders for place in chosen)
    for folder in folders:
        count = 0 if repeats_of(folder.name) else num_pictures_below(folder)
        if not count:
            continue
        many = f"{count} or more pictures" if count >= FOUND_MOST else counted(count, "picture")
        todo = f"move them up into {chosen[0].name}" if is_single else f"rename it to {_better_name(folder.name)}"
        remarks.warn(f"subfolder {folder.name}: not used ({many}){'' if is_single else ', it has no number in front'}; to use it {todo}")


def _better_name(name: str) -> str:
    """`5 cats`, `5-cats`, `5xcats` -> `5_cats`; `cats` -> `5_cats`."""
    match = NEARLY.fullmatch(name)
    return f"{int(match[1])}_{match[2].strip()}" if match and 1 <= int(match[1]) <= MANY_REPEATS else f"5_{name}"


def _tell_deeper(place: Chosen, root: Path, remarks: Remarks) -> None:
    """Pictures in folders inside a training folder. For a flat root these are its subfolders, told by _tell_skipped."""
    if place.path == root:
        return
    counts = [(folder.name, num_pictures_below(folder)) for folder in listing(place.path).folders]
    deeper = [f"{place.name}/{name} ({counted(count, 'picture')})" for name, count in counts if count]
    if deeper:
        remarks.warn(f"deeper folders are not used: {listed(deeper)}; move the pictures up into {place.name}")


def _tell_formats(place: Chosen, remarks: Remarks) -> None:
    files = [p.name for p in listing(place.path).others if p.suffix.lower() in LIKE_PICTURES - set(images.EXTENSIONS)]
    if files:
        remarks.note(f"{place.name}: {counted(len(files), 'file')} of formats that are not read here: {listed(files)}")


def _nearest(path: Path) -> str:
    """The part of a missing path that does exist, to see where it went wrong."""
    existing = next((parent for parent in path.absolute().parents if parent.is_dir()), None)
    if existing is None:
        return "correct the path (is the drive connected?)"
    try:
        names = [p.name for p in paths.visible(existing) if p.is_dir()]
    except OSError:
        names = []
    return f"correct the path; {existing} exists" + (f" and holds {listed(names, most=6)}" if names else "")


def _nothing(root: Path, here: Listing) -> UserError:
    """Why there is nothing to train on, by what does lie there."""
    kinds = f"{' '.join(sorted(images.EXTENSIONS))}"
    for folder in here.folders:
        if any((repeats_of(p.name) or (0,))[0] > 0 and listing(p).pictures for p in listing(folder).folders):
            return UserError("the numbered folders lie one level deeper", where=str(root), todo=f"images: {folder}")
    off = [p.name for p in here.folders if (repeats_of(p.name) or (1,))[0] < 1 and listing(p).pictures]
    if off:
        return UserError(
            f"all folders here have 0 repeats: {listed(off)}", where=str(root), todo=f"rename {off[0]} to 5_{off[0].partition('_')[2]}"
        )
    filled = [(p, count) for p in here.folders if not repeats_of(p.name) and (count := num_pictures_below(p))]
    if filled:
        names = listed([f"{p.name} ({counted(count, 'picture')})" for p, count in filled])
        first = filled[0][0]
        return UserError(
            f"no pictures here, and no subfolder has its repeats in front of its name: {names}",
            where=str(root),
            allowed="<repeats>_<concept>; 5 repeats = every picture is seen 5 times per epoch",
            todo=f"rename {first.name} to {_better_name(first.name)}, or set images: {first}",
        )
    deeper = [p for p in here.folders if repeats_of(p.name) and num_pictures_below(p)]
    if deeper:
        return UserError(
            f"the pictures lie too deep: {deeper[0].name} holds only folders",
            where=str(root),
            todo=f"move the pictures up into {deeper[0].name}",
        )
    others = [p.name for p in here.others if p.suffix.lower() in LIKE_PICTURES] or [p.name for p in here.others]
    what = "there are no pictures in this folder" + (f", only {listed(others)}" if others else "; it is empty" if not here.folders else "")
    return UserError(
        what,
        where=str(root),
        allowed=f"pictures are {kinds}",
        todo="set images to the folder that holds your pictures or your 5_name folders",
    )

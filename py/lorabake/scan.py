"""What lies in the pictures' folder: which folders count, their repeats, pictures with sizes and captions. Headers and caption files only.

Every layout that people really have is recognised, said, and used or refused with what to do. Nothing is decoded here, and nothing is
judged that needs the profile's other settings (plan_data.py). The layout rules are those of scan_layout.py.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lorabake import captions, images, paths
from lorabake.scan_layout import Chosen, Listing, Remarks, choose, listing
from lorabake.settings import Profile
from lorabake.wording import counted, listed

NUM_THREADS = 8  # headers lie on slow disks and shares; waiting for them is shared


@dataclass(frozen=True)
class Found:
    """One picture. Width and height are after EXIF rotation, in px, 0 when `unreadable` says why the header could not be read.

    `caption` is what training will use: the file's text, or the concept's name where there is none.
    """

    path: str
    width: int
    height: int
    caption: str
    caption_path: str | None
    size: int
    mtime_ns: int
    unreadable: str | None
    has_alpha: bool = False
    frames: int = 1
    note: str = ""  # what is odd about the file, such as a wrong extension


@dataclass(frozen=True)
class Folder:
    """`missing` and `empty` are the names of the pictures without a caption file, and of those whose file holds no text."""

    path: str
    name: str
    repeats: int
    concept: str
    regularization: bool
    pictures: tuple[Found, ...]
    missing: tuple[str, ...]
    empty: tuple[str, ...]


@dataclass(frozen=True)
class Scan:
    """Training folders first, then regularisation. `notes` tell what was made of the layout, `warnings` what is probably a mistake."""

    folders: tuple[Folder, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def walk(profile: Profile) -> Scan:
    """Read all folders that the profile trains on. Raises UserError when there is no picture to train on; a regularisation folder
    that is missing or empty counts as none."""
    remarks = Remarks()
    chosen = choose(profile, remarks)
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        folders = tuple(_read(place, profile.data.caption_extension, pool, remarks) for place in chosen)
    remarks.tell_case_clashes([folder.path for folder in folders])
    return Scan(folders, tuple(remarks.notes), tuple(remarks.warnings))


def _read(place: Chosen, extension: str, pool: ThreadPoolExecutor, remarks: Remarks) -> Folder:
    files = listing(place.path)
    read = list(pool.map(lambda path: _found(path, place.concept, extension), files.pictures))
    pictures = tuple(found for found, _caption in read)
    missing = tuple(Path(f.path).name for f, c in read if c.text is None)
    empty = tuple(Path(f.path).name for f, c in read if c.text is not None and not c.text.strip())
    folder = Folder(str(place.path), place.name, place.repeats, place.concept, place.regularization, pictures, missing, empty)
    remarks.tell_case_clashes(f.path for f in pictures)
    _tell_captions(folder, [caption for _found_, caption in read], extension, remarks)
    _tell_lone_captions(files, folder, extension, remarks)
    _tell_shared_stems(files, folder, remarks)
    odd = [f"{Path(f.path).name} {f.note}" for f in pictures if f.note]
    if odd:
        remarks.note(f"{folder.name}: {listed(odd, separator='; ')}")
    return folder


def _found(path: Path, concept: str, extension: str) -> tuple[Found, captions.CaptionFile]:
    caption = captions.read(path, extension)
    text = (caption.text or "").strip() or concept
    if not _is_text(str(path)):
        return Found(str(path), 0, 0, text, None, 0, 0, f"{path.name!a}: its name is not Unicode text; rename it"), caption
    try:
        state = paths.status_of(path)
        header = images.header(path)
    except (images.ImageError, OSError) as error:
        return Found(str(path), 0, 0, text, _text_of(caption.path), 0, 0, str(error)), caption
    found = Found(
        path=str(path),
        width=header.width,
        height=header.height,
        caption=text,
        caption_path=_text_of(caption.path),
        size=state.st_size,
        mtime_ns=state.st_mtime_ns,
        unreadable=None,
        has_alpha=header.has_alpha,
        frames=header.frames,
        note=header.note,
    )
    return found, caption


def _is_text(name: str) -> bool:
    """Linux names can hold bytes that are no text, which no JSON file and no LoRA's metadata could carry."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _text_of(path: Path | str | None) -> str | None:
    return None if path is None else str(path)


def _tell_captions(folder: Folder, read: Sequence[captions.CaptionFile], extension: str, remarks: Remarks) -> None:
    """Captions that are missing, empty, of another extension, or in another encoding than UTF-8."""
    fallback = f'the caption "{folder.concept}"' if folder.concept else "an empty caption (the folder's name has no concept)"
    kind = "missing" if not folder.empty else "empty" if not folder.missing else "missing or empty"
    without = len(folder.missing) + len(folder.empty)
    if len(folder.missing) == len(folder.pictures):
        remarks.note(f"{folder.name}: no caption files, every picture gets {fallback}")
        _tell_other_captions(folder, extension, remarks)
    elif without:
        names = listed(folder.missing + folder.empty)
        text = f"{folder.name}: {without} of {len(folder.pictures)} captions {kind} ({names}): these pictures get {fallback}"
        (remarks.note if folder.regularization else remarks.warn)(text)
    others = Counter(Path(c.path).suffix for c in read if c.path is not None and Path(c.path).suffix.lower() != extension.lower())
    for suffix, count in sorted(others.items()):
        remarks.note(
            f"{folder.name}: {counted(count, 'caption')} from {suffix} files, because there is no {extension} file beside the picture"
        )
    problems = [f"{Path(c.path).name}: {c.problem}" for c in read if c.path is not None and c.problem]
    if problems:
        remarks.warn(f"{folder.name}: {listed(problems, separator='; ')}")


def _tell_other_captions(folder: Folder, extension: str, remarks: Remarks) -> None:
    """No captions at all: text files beside the pictures under another extension are probably meant as captions."""
    stems = {Path(f.path).stem for f in folder.pictures}
    beside = Counter(
        p.suffix
        for p in listing(Path(folder.path)).others
        if p.stem in stems and p.suffix in (".tags", ".cap", ".captions", ".tag", ".text")
    )
    if beside:
        suffix, count = beside.most_common(1)[0]
        remarks.warn(
            f"{folder.name}: {count} {suffix} files lie beside the pictures; to use them as captions: data.caption_extension: {suffix}"
        )


def _tell_lone_captions(files: Listing, folder: Folder, extension: str, remarks: Remarks) -> None:
    """Caption files whose picture is gone, or is called otherwise."""
    used = {f.caption_path for f in folder.pictures}
    stems = {Path(f.path).stem for f in folder.pictures}
    lone = [p.name for p in files.others if p.suffix.lower() == extension.lower() and str(p) not in used and p.stem not in stems]
    if lone:
        remarks.note(f"{folder.name}: {counted(len(lone), f'{extension} file')} without a picture of that name: {listed(lone)}")


def _tell_shared_stems(files: Listing, folder: Folder, remarks: Remarks) -> None:
    """a.png and a.jpg are two pictures with one caption file."""
    counts = Counter(path.stem for path in files.pictures)
    for stem in sorted(stem for stem, count in counts.items() if count > 1)[:3]:
        names = [path.name for path in files.pictures if path.stem == stem]
        share = (
            "share one caption" if any(f.caption_path for f in folder.pictures if Path(f.path).stem == stem) else "would share one caption"
        )
        remarks.note(f"{folder.name}: {' and '.join(names)} {share}; both are used")
    more = sum(count > 1 for count in counts.values()) - 3
    if more > 0:
        remarks.note(f"{folder.name}: {more} further names stand for two pictures each")


def unreadable(folders: Iterable[Folder]) -> list[str]:
    """What is wrong with each picture whose header could not be read."""
    return [found.unreadable for folder in folders for found in folder.pictures if found.unreadable]

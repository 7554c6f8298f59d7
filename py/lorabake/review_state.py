"""The dataset as the reviewing page knows it: every picture with a number, its caption and its mask, held in memory and kept fresh.

Other programs may change files meanwhile: `refresh` looks at names, sizes and times, and reads again what differs. Not here: changes
(review_api.py), HTTP (review.py).
"""

import os
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lorabake import captions, images, locks, masks, paths
from lorabake.errors import UserError
from lorabake.tag_files import Captioned
from lorabake.thumbs import stamp_of

Stamps = dict[str, str]  # what thumbs.stamp_of says of each file, by its path as text


class Busy(UserError):
    """Another job holds the folder; the same can be asked again."""


class Stale(UserError):
    """What was to be changed is no longer what the page showed."""


class Gone(UserError):
    """There is no such picture any more."""


@dataclass(frozen=True)
class Shown:
    """One picture. `file` is where its caption is or would be, `shared` are the other pictures of that caption, by number.

    `text` is None without a caption, or with one that cannot be read, of which `problem` tells. `stamp` and `mask` are of the files, ""
    without one. `revision` is that of the dataset when any of this changed last.
    """

    number: int
    path: Path
    file: Path
    text: str | None
    problem: str
    stamp: str
    mask: str = ""
    shared: tuple[int, ...] = ()
    revision: int = 0


class State:
    """All pictures below `folder`. Held by `lock` while it changes; looking one picture up needs no lock."""

    def __init__(self, folder: Path, extension: str) -> None:
        self.folder, self.extension = folder, extension
        self.lock = threading.RLock()
        self.shown: dict[int, Shown] = {}
        self.numbers: dict[Path, int] = {}
        self.gone: dict[int, int] = {}  # number: the revision since which
        self.files: Stamps = {}
        self.revision = 0
        self.refresh()

    def of(self, number: int) -> Shown:
        """Raises Gone."""
        found = self.shown.get(number)
        if found is None:
            raise Gone("this picture is no longer there", where=str(self.folder), todo="it was moved, renamed or deleted")
        return found

    def captioned(self, one: Shown) -> Captioned:
        pictures = [one.path, *(self.shown[other].path for other in one.shared)]
        return Captioned(one.file, tuple(pictures), one.text, one.problem)

    @contextmanager
    def changing(self, numbers: Collection[int] = ()) -> Iterator[list[Shown]]:
        """Hold the dataset alone, with these pictures and their captions read anew; afterwards what was written is read again.

        Raises Busy while another job is at work, Gone.
        """
        with self.lock, ExitStack() as stack:
            try:
                stack.enter_context(locks.dataset(self.folder))
            except UserError as error:
                raise Busy(error.what, where=error.where, todo=error.todo) from error
            self.look_again(numbers)
            try:
                yield [self.of(number) for number in numbers]
            finally:
                self.look_again(numbers)

    def look_again(self, numbers: Collection[int]) -> None:
        """Read these pictures' captions anew and look whether the files are there, without a look at the others."""
        with self.lock:
            known = {number for number in numbers if number in self.shown}
            known |= {other for number in known for other in self.shown[number].shared}
            pictures = [self.shown[number].path for number in known]
            now = dict(self.files)
            for number in known:
                one = self.shown[number]
                for path in (one.path, one.file, masks.path_of(one.path)):
                    now.pop(str(path), None)
                    if stamp := stamp_of(path):
                        now[str(path)] = stamp
            self._take(now, pictures)

    def refresh(self) -> None:
        """Take in whatever changed on the disk. Raises UserError without the folder."""
        with self.lock:
            now = scan(self.folder)
            differing = {Path(path) for path in now.keys() | self.files.keys() if now.get(path) != self.files.get(path)}
            if differing:
                self._take(now, affected(now, differing, {str(one.path): one.file for one in self.shown.values()}))

    def _take(self, now: Stamps, pictures: Iterable[Path]) -> None:
        """`now` is how the files stand; `pictures` are read again."""
        before = dict(self.shown)
        self.files = now
        self._read((path for path in pictures if str(path) in now), now)
        for number in [number for number, one in self.shown.items() if str(one.path) not in now]:
            del self.shown[number]
        self._share()
        changed = [number for number, one in self.shown.items() if one is not before.get(number) and one != before.get(number)]
        removed = before.keys() - self.shown.keys()
        if changed or removed:
            self.revision += 1
            self.gone |= dict.fromkeys(removed, self.revision)
            for number in changed:
                self.shown[number] = replace(self.shown[number], revision=self.revision)

    def _read(self, pictures: Iterable[Path], now: Stamps) -> None:
        for picture in sorted(pictures, key=lambda path: place_in(self.folder, path)):
            read = captions.read(picture, self.extension)
            number = self.numbers.setdefault(picture, len(self.numbers))
            self.gone.pop(number, None)
            before = self.shown.get(number)
            self.shown[number] = Shown(
                number=number,
                path=picture,
                file=read.path or picture.with_suffix(self.extension),
                text=read.text,
                problem=read.problem,
                stamp=now[str(picture)],
                mask=now.get(str(masks.path_of(picture)), ""),
                shared=before.shared if before else (),
                revision=before.revision if before else 0,
            )

    def _share(self) -> None:
        """Who has whose caption."""
        by_file: dict[Path, list[int]] = defaultdict(list)
        for number, one in self.shown.items():
            by_file[one.file].append(number)
        for number, one in self.shown.items():
            shared = tuple(other for other in by_file[one.file] if other != number) if len(by_file[one.file]) > 1 else ()
            if shared != one.shared:
                self.shown[number] = replace(one, shared=shared)

    def since(self, revision: int) -> dict[str, Any]:
        """What a page that knows `revision` (-1: nothing) has to learn."""
        with self.lock:
            items = [self.told(one) for one in self.shown.values() if one.revision > revision]
            gone = [number for number, when in self.gone.items() if when > revision]
            return {"revision": self.revision, "items": items, "gone": gone}

    def told(self, one: Shown) -> dict[str, Any]:
        """A picture as JSON."""
        return {
            "id": one.number,
            "name": place_of(self.folder, one.path),
            "file": place_of(self.folder, one.file),
            "text": one.text,
            "problem": one.problem,
            "stamp": one.stamp,
            "mask": one.mask,
            "shared": list(one.shared),
        }


def scan(folder: Path) -> Stamps:
    """The stamps of all visible files below `folder` and of the masks in it. Raises UserError where it cannot be listed."""
    found: Stamps = {}
    waiting = [str(folder)]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(paths.long_path(here)) as entries:
                for entry in entries:
                    place = os.path.join(here, entry.name)  # noqa: PTH118  (text: 10000 Paths take a tenth of a second)
                    if entry.name == masks.FOLDER:
                        found |= {str(mask): stamp_of(mask) for mask in Path(place).glob("*.png")}
                    elif entry.name[0] in "_.":
                        continue
                    elif entry.is_dir():
                        waiting.append(place)
                    else:
                        found[place] = stamp_of(entry)
        except OSError as error:
            if here == str(folder):
                raise UserError(f"the dataset cannot be listed: {error.strerror or error}", where=here) from error
    return {place: stamp for place, stamp in found.items() if stamp}


def affected(now: Stamps, differing: Collection[Path], files: dict[str, Path]) -> list[Path]:
    """The pictures that `differing` files may concern; `files` says where each known picture's caption is."""
    stems = {(str(path.parent.parent if path.parent.name == masks.FOLDER else path.parent), path.stem) for path in differing}
    found = []
    for place in now:
        folder, name = os.path.split(place)
        stem, suffix = os.path.splitext(name)  # noqa: PTH122
        if suffix.lower() not in images.EXTENSIONS or folder.endswith(os.sep + masks.FOLDER):
            continue
        crop = captions.FACE_CROP.fullmatch(stem)
        mine = {(folder, stem), (folder, crop.group(1) if crop else stem)}
        if place not in files or mine & stems or files[place] in differing:
            found.append(Path(place))
    return found


def place_of(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def place_in(folder: Path, path: Path) -> list[tuple[list[tuple[int, int, str]], str]]:
    """Sort key: as the folder's pictures are listed everywhere."""
    return [(paths.natural_key(part), part) for part in path.relative_to(folder).parts]

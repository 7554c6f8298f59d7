"""What is good or bad about a dataset's pictures for a bake: a verdict on each, from what was measured. In memory; nothing is read.

Not here: the measures (picture_facts.py), captions (caption_checks.py), a bake's buckets (plan_data.py).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lorabake import buckets
from lorabake.picture_facts import Facts

ENLARGED_FROM = 1.25  # times a side: what a bake enlarges more than this is learned as blur
CUT_FROM = 0.15  # of the picture's pixels outside the nearest bucket
BORDER_FROM = 0.04  # of a side, on both of two opposite sides: bars of a film or a screenshot, not a plain background
BLOCKS_FROM, QUALITY_UNDER = 1.1, 40  # steps twice as large at JPEG's grid as between; a JPEG's own quality
BLOCKS_GONE_UNDER = 0.5  # shrunk to under half, blocks are no longer seen
ALIKE_BITS = 32  # of 256: pictures that differ in less are one picture, saved again, resized or a little cropped
COMPARED_AT_ONCE = 256
# What can be found, the worst first. "reject": of no use to any bake; "poor": does harm where many are so; "note": worth a look.
GRADES = {
    **dict.fromkeys(("broken", "twice", "one-colour"), "reject"),
    **dict.fromkeys(("near-twice", "blurred", "upscaled", "jpeg-blocks", "small", "border"), "poor"),
    **dict.fromkeys(("cut-off", "transparent", "pixels"), "note"),
}
KINDS = tuple(GRADES)
Placed = Callable[[buckets.Size], tuple[buckets.Size, buckets.Placement]]


@dataclass(frozen=True)
class Finding:
    """`kind` is one of KINDS; `grade` "reject", "poor" or "note"."""

    kind: str
    text: str
    grade: str


@dataclass(frozen=True)
class Verdict:
    """What was found on one picture, the worst first."""

    path: Path
    facts: Facts
    found: tuple[Finding, ...]

    @property
    def grade(self) -> str:
        """The worst of what was found: "reject", "poor" or "good"."""
        grades = {finding.grade for finding in self.found}
        return "reject" if "reject" in grades else "poor" if "poor" in grades else "good"


def judge(facts: Mapping[Path, Facts], placed: Placed, captioned: Collection[Path] = ()) -> list[Verdict]:
    """A verdict on each picture, in order. `placed` tells the bucket of a size in px, and how a picture gets there.

    Of equal pictures one that is `captioned` is kept.
    """
    twins = duplicates(facts, captioned)
    verdicts = []
    for path, seen in facts.items():
        found = [*twins.get(path, ()), *of_one(seen, placed)]
        found.sort(key=lambda finding: KINDS.index(finding.kind))
        verdicts.append(Verdict(path, seen, tuple(found)))
    return verdicts


def finding(kind: str, text: str, *, grade: str = "") -> Finding:
    return Finding(kind, text, grade or GRADES[kind])


def of_one(seen: Facts, placed: Placed) -> Iterator[Finding]:
    """What is to be said of one picture that needs no other."""
    if seen.problem:
        yield finding("broken", seen.problem)
        return
    size = seen.width, seen.height
    bucket, place = placed(size)
    scale = max(place.resized[0] / size[0], place.resized[1] / size[1])
    if seen.one_colour:
        yield finding("one-colour", "one colour everywhere")
    elif seen.repeated > 1:
        yield finding("pixels", f"each pixel stands there {seen.repeated} times: pixel art, or enlarged without a filter")
    elif seen.detail > 1:
        yield of_detail(seen, scale)
    if seen.blocks > BLOCKS_FROM or 0 < seen.quality < QUALITY_UNDER:
        how = f"JPEG of quality {seen.quality}" if 0 < seen.quality < QUALITY_UNDER else "it was a strongly packed JPEG"
        gone = scale < BLOCKS_GONE_UNDER
        text = f"{how}: shrunk for this bake, its blocks hardly show" if gone else f"{how}: its blocks are learned too"
        yield finding("jpeg-blocks", text, grade="note" if gone else "")
    if scale > ENLARGED_FROM:
        yield finding("small", f"{size[0]}x{size[1]} px, enlarged {scale:.1f} times for {bucket[0]}x{bucket[1]}")
    for names, (first, last) in {"above and below": seen.bars[:2], "left and right": seen.bars[2:]}.items():
        if min(first, last) >= BORDER_FROM:
            yield finding("border", f"bars {names} ({100 * (first + last):.0f} % of the picture): crop them off")
    cut = 1 - bucket[0] * bucket[1] / (place.resized[0] * place.resized[1])
    if cut > CUT_FROM:
        yield finding("cut-off", f"{100 * cut:.0f} % is cut off to fit {bucket[0]}x{bucket[1]}: crop it as you like it")
    if seen.transparent:
        yield finding("transparent", "has transparent places: py/flatten.py lays them on a colour of your choice")


def of_detail(seen: Facts, scale: float) -> Finding:
    """A picture with less detail than pixels; where the bake shrinks it by as much, that does no harm."""
    size = f"{round(seen.width / seen.detail)}x{round(seen.height / seen.detail)}"
    kind = "blurred" if seen.blurred else "upscaled"
    words = "out of focus, or enlarged several times" if seen.blurred else f"looks enlarged {seen.detail:g} times, or a little out of focus"
    if scale * seen.detail <= ENLARGED_FROM:
        return finding(kind, f"{words}: the detail of {size} px, which is enough for this bake", grade="note")
    return finding(kind, f"{words}: only the detail of {size} px")


def duplicates(facts: Mapping[Path, Facts], captioned: Collection[Path] = ()) -> dict[Path, list[Finding]]:
    """On all but the best of each group of equal or nearly equal pictures, which one is kept."""
    found: dict[Path, list[Finding]] = defaultdict(list)
    same: dict[str, list[Path]] = defaultdict(list)
    for path, seen in facts.items():
        if seen.digest and not seen.problem:
            same[seen.digest].append(path)
    for group in same.values():
        group.sort(key=lambda path: path not in captioned)  # stable: else the first
        for path in group[1:]:
            found[path].append(finding("twice", f"the same file as {group[0].name}"))
    first = [group[0] for group in same.values() if facts[group[0]].hash]
    for alike in groups([facts[path].hash for path in first], [facts[path].mirrored for path in first]):
        members = [first[index] for index in alike]
        best = max(members, key=lambda path: (*_worth(facts[path], path), path in captioned))
        for path in members:
            if path != best:
                how = "mirrored, nearly" if bits(facts[path].hash, facts[best].hash) > ALIKE_BITS else "nearly"
                found[path].append(finding("near-twice", f"{how} the same as {best.name}, which is the better one"))
    return found


def _worth(seen: Facts, path: Path) -> tuple[float, ...]:
    """Which of several alike is the best: most detail, then fewest blocks."""
    pixels = seen.width * seen.height / (max(seen.detail, float(seen.repeated)) ** 2)
    return pixels, -seen.blocks, float(seen.quality or 100), float(path.suffix.lower() == ".png")


def bits(one: str, other: str) -> int:
    """In how many bits two hashes in hex differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def _signs(hashes: list[str]) -> np.ndarray:
    """Each bit as 1 or -1, (number, bits) float32: a product of two rows is their bits less twice those that differ."""
    return np.unpackbits(np.array([list(bytes.fromhex(text)) for text in hashes], dtype=np.uint8), axis=1).astype(np.float32) * 2 - 1


def groups(hashes: list[str], mirrored: list[str]) -> list[list[int]]:
    """Indices of pictures that are alike, directly or through others, in order; each group has two and more."""
    if len(hashes) < 2:
        return []
    plain, turned = (_signs(row) for row in (hashes, mirrored))
    parent = list(range(len(hashes)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for start in range(0, len(plain), COMPARED_AT_ONCE):
        for others in (plain, turned):
            near = plain[start : start + COMPARED_AT_ONCE] @ others[start:].T >= others.shape[1] - 2 * ALIKE_BITS
            for one, other in np.argwhere(near):
                parent[root(start + int(other))] = root(start + int(one))
    together: dict[int, list[int]] = defaultdict(list)
    for index in range(len(hashes)):
        together[root(index)].append(index)
    return [group for group in together.values() if len(group) > 1]

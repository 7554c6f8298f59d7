"""The pictures' part of a plan: resolution and buckets resolved, each picture placed, held-out ones chosen, looks and batches counted.

Pure arithmetic on what scan.py found. Not here: finding pictures (scan.py), the order of looks (dataset.py).
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorabake import buckets
from lorabake.errors import UserError
from lorabake.families import Base, Family
from lorabake.scan import Folder, Scan, unreadable
from lorabake.settings import Data

# (resolution, shortest, longest side of a bucket) in px; straight lines between, half and double outside.
BUCKET_RANGES = ((128, 64, 256), (512, 320, 960), (1024, 512, 2048))
SMALL_STEP_UNDER_PX = 256  # models of such sizes (the pocket model) have buckets in steps of 8
HOLDOUT_FROM, HOLDOUT_SHARE, HOLDOUT_LEAST, HOLDOUT_MOST = 40, 0.05, 2, 16


@dataclass(frozen=True)
class Picture:
    """One picture as it will be seen. `folder` is its index in Plan.folders; width and height are after EXIF rotation, in px."""

    path: str
    folder: int
    width: int
    height: int
    bucket: tuple[int, int]
    repeats: int
    caption: str
    caption_path: str | None
    regularization: bool
    holdout: bool


@dataclass(frozen=True)
class PlannedFolder:
    """One folder of pictures in counts; `num_missing` and `num_empty` count captions."""

    path: str
    name: str
    concept: str
    repeats: int
    regularization: bool
    num_pictures: int
    num_captions: int
    num_missing: int
    num_empty: int


def bucket_step(resolution: int, row: Family) -> int:
    return row.bucket_step if resolution >= SMALL_STEP_UNDER_PX else 8


def bucket_range(resolution: int, step: int) -> tuple[int, int]:
    """Shortest and longest side for a resolution, both multiples of `step` with the resolution between them."""
    first, last = BUCKET_RANGES[0], BUCKET_RANGES[-1]
    if not first[0] <= resolution <= last[0]:
        low, high = resolution / 2, resolution * 2.0
    else:
        left, right = next((a, b) for a, b in itertools.pairwise(BUCKET_RANGES) if resolution <= b[0])
        share = (resolution - left[0]) / (right[0] - left[0])
        low, high = (left[i] + share * (right[i] - left[i]) for i in (1, 2))
    return max(step, int(low // step) * step), int(-(-high // step)) * step


def resolve(data: Data, base: Base, row: Family, *, has_trigger: bool = False) -> tuple[Data, dict[str, str]]:
    """`data` with resolution, bucket sides and keep_tokens filled in, and why. Raises UserError when typed sides do not fit together."""
    reasons = {}
    resolution = data.resolution or base.resolution or row.resolution
    if data.resolution is None:
        reasons["data.resolution"] = "the base model's own" if base.resolution else f"usual for {row.title}"
    resolved = sides(data.model_copy(update={"resolution": resolution}), row)
    for key, typed, used in (
        ("data.min_bucket", data.min_bucket, resolved.min_bucket),
        ("data.max_bucket", data.max_bucket, resolved.max_bucket),
    ):
        if typed not in (None, used):
            reasons[key] = f"typed {typed}, used {used}: buckets go in steps of {bucket_step(resolution, row)}"
    keep = data.keep_tokens if data.keep_tokens is not None else int(has_trigger)
    return resolved.model_copy(update={"keep_tokens": keep}), reasons


def sides(data: Data, row: Family) -> Data:
    """`data`, whose resolution is known, with the shortest and longest side of its buckets. Raises UserError when they do not fit."""
    resolution = int(data.resolution or 0)
    step = bucket_step(resolution, row)
    low, high = bucket_range(resolution, step)
    if data.min_bucket is not None:
        low = max(step, data.min_bucket // step * step)
    if data.max_bucket is not None:
        high = -(-data.max_bucket // step) * step
    if data.buckets and not low <= resolution <= high:
        key = "data.min_bucket" if low > resolution else "data.max_bucket"
        raise UserError(
            f"{key} {low if low > resolution else high} does not go with data.resolution {resolution}",
            allowed="min_bucket <= resolution <= max_bucket",
            todo=f"{key.partition('.')[2]}: auto, or a data.resolution between {low} and {high}",
        )
    return data.model_copy(update={"min_bucket": low, "max_bucket": high})


def sizes(data: Data, row: Family) -> list[buckets.Size]:
    """All buckets of resolved settings; one square where they are turned off."""
    resolution = int(data.resolution or 0)
    if not data.buckets:
        return [(resolution, resolution)]
    return buckets.resolutions(resolution, int(data.min_bucket or 0), int(data.max_bucket or 0), bucket_step(resolution, row))


def bucket_of(size: buckets.Size, data: Data, row: Family, known: Sequence[buckets.Size]) -> buckets.Size:
    """The bucket of a picture; `known` are the `sizes` of the same settings."""
    if data.buckets and not data.upscale_small:
        return buckets.assign_no_upscale(size, int(data.resolution or 0), bucket_step(int(data.resolution or 0), row))
    return buckets.assign(size, known)


def placed(size: buckets.Size, data: Data, row: Family, known: Sequence[buckets.Size]) -> tuple[buckets.Size, buckets.Placement]:
    """The bucket of a picture, and how it is scaled and cut to get there."""
    bucket = bucket_of(size, data, row, known)
    if data.buckets and not data.upscale_small:
        return bucket, buckets.placement_no_upscale(size, int(data.resolution or 0), bucket_step(int(data.resolution or 0), row))
    return bucket, buckets.placement(size, bucket)


def place(found: Scan, data: Data, row: Family) -> tuple[Picture, ...]:
    """All pictures with their buckets, none held out yet. `data` is resolved. Raises UserError listing every unreadable picture."""
    bad = unreadable(found.folders)
    if bad:
        total = sum(len(folder.pictures) for folder in found.folders)
        listing = "\n".join(f"  {reason}" for reason in bad)
        raise UserError(
            f"{len(bad)} of {total} pictures cannot be read:\n{listing}", todo="repair them or move them away, then start again"
        )
    known = sizes(data, row)
    pictures = []
    for index, folder in enumerate(found.folders):
        for f in folder.pictures:
            place_ = bucket_of((f.width, f.height), data, row, known)
            pictures.append(
                Picture(f.path, index, f.width, f.height, place_, folder.repeats, f.caption, f.caption_path, folder.regularization, False)
            )
    return tuple(pictures)


def holdout_count(asked: int | float | None, num_pictures: int) -> int:
    """How many to hold out of the training pictures. Raises UserError when none would be left."""
    if asked is None:
        share = round(num_pictures * HOLDOUT_SHARE)
        return 0 if num_pictures < HOLDOUT_FROM else min(max(share, HOLDOUT_LEAST), HOLDOUT_MOST)
    count = int(asked) if asked >= 1 or asked == 0 else max(1, round(num_pictures * asked))
    if count >= num_pictures > 0:
        raise UserError(
            f"data.holdout: {asked} keeps all {num_pictures} pictures from training",
            allowed=f"at most {num_pictures - 1}",
            todo="data.holdout: 0 trains on all of them",
        )
    return count


def hold_out(pictures: Sequence[Picture], count: int) -> tuple[Picture, ...]:
    """`count` training pictures flagged, chosen by a hash of their file names: the same ones on every machine, whatever else is there."""

    def rank(index: int) -> tuple[str, str]:
        path = Path(pictures[index].path)
        return hashlib.sha256(path.name.encode("utf-8", "surrogatepass")).hexdigest(), str(path.parent.name)

    training = [i for i, picture in enumerate(pictures) if not picture.regularization]
    chosen = set(sorted(training, key=rank)[:count])
    return tuple(replace(picture, holdout=i in chosen) for i, picture in enumerate(pictures))


def planned_folders(folders: Iterable[Folder]) -> tuple[PlannedFolder, ...]:
    return tuple(
        PlannedFolder(
            path=f.path,
            name=f.name,
            concept=f.concept,
            repeats=f.repeats,
            regularization=f.regularization,
            num_pictures=len(f.pictures),
            num_captions=len(f.pictures) - len(f.missing) - len(f.empty),
            num_missing=len(f.missing),
            num_empty=len(f.empty),
        )
        for f in folders
    )


def training_looks(pictures: Iterable[Picture]) -> int:
    """Looks per epoch at training pictures: pictures x repeats, without held-out and regularisation pictures."""
    return sum(p.repeats for p in pictures if not p.holdout and not p.regularization)


def looks_by_bucket(pictures: Sequence[Picture]) -> dict[tuple[int, int], int]:
    """Looks per epoch in each bucket, regularisation included.

    Regularisation pictures are taken in order, each with its repeats, until they are as many looks as the training pictures have;
    when they run out, the list goes round again one look at a time (lora-facts 3.2; dataset.looks_per_epoch does the same by index).
    """
    wanted = training_looks(pictures)
    counts: Counter[tuple[int, int]] = Counter()
    for p in pictures:
        if not p.regularization and not p.holdout:
            counts[p.bucket] += p.repeats
    regular = [p for p in pictures if p.regularization]
    filled = [p.bucket for p in regular for _ in range(p.repeats)][:wanted]
    while regular and len(filled) < wanted:
        filled += [p.bucket for p in regular][: wanted - len(filled)]
    counts.update(filled)
    return dict(sorted(counts.items()))


def enlarged(picture: Picture) -> float:
    """By how much a picture is enlarged to cover its bucket; under 1 it shrinks."""
    return max(picture.bucket[0] / picture.width, picture.bucket[1] / picture.height)


def cropped(picture: Picture) -> float:
    """Share of the picture's area that falls outside its bucket."""
    scale = enlarged(picture)
    return 1 - picture.bucket[0] * picture.bucket[1] / (picture.width * scale * picture.height * scale)

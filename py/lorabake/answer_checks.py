"""What can be told of an answer at once by looking at the disk: a base model's family, the pictures in a folder, whether a name is free.

Not here: what a value may be (settings.py), rules between keys (profile_checks.py), the whole plan (plan.py).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lorabake import paths, scan_layout
from lorabake.console import size
from lorabake.errors import UserError
from lorabake.families import FAMILIES, POCKET, identify
from lorabake.folder_names import repeats_of
from lorabake.plan_advice import LEAST_STEPS, MOST_STEPS
from lorabake.scan_layout import Chosen, Remarks
from lorabake.settings import Data, Profile
from lorabake.wording import counted, listed

MANY_EPOCHS = 20  # more than any guide wants


@dataclass(frozen=True)
class Found:
    """`told`: sentences for the person; `instead`: the value that was probably meant; `looks`: pictures x repeats; `concept`: a name."""

    told: tuple[str, ...] = ()
    instead: str = ""
    looks: int = 0
    concept: str = ""


def check(dotted: str, value: Any, values: Mapping[str, Any]) -> Found:
    """Look at the answer to `dotted`; `values` are the others. Raises UserError for what cannot be baked with."""
    look = LOOKS.get(dotted)
    return look(value, values) if look and value is not None else Found()


def _name(value: str, _: Mapping[str, Any]) -> Found:
    if value[0] in "_.":
        raise UserError(f'lists of profiles leave out names that begin with "{value[0]}"', todo="another first letter")
    if (there := profile_path(value)).exists():
        raise UserError(
            "there is already a profile of this name, which is left alone", where=str(there), todo=f"another name: {free_name(value)}"
        )
    return Found()


def profile_path(name: str) -> Path:
    return paths.PROFILES / f"{name}.yaml"


def free_name(name: str) -> str:
    """`name`, or with the first number behind it that is free; made fit for a file where it is not."""
    name = "".join("_" if c in paths.FORBIDDEN or not c.isprintable() else c for c in name).strip(" ._")[:100].rstrip(" .") or "my-lora"
    name = name if paths.check_name(name) is None else f"lora-{name}"
    tries = (name, *(f"{name}-{number}" for number in range(2, 1000)))
    return next((one for one in tries if not profile_path(one).exists()), name)


def _base(value: str, _: Mapping[str, Any]) -> Found:
    base = identify(value)
    says = [f"for {base.resolution} px"] if base.resolution else []
    says += [f"clip skip {base.clip_skip}"] if base.clip_skip else []
    told = f"{FAMILIES[base.family].title}, {size(base.size_bytes)}"
    return Found((told + (f"; the file itself says: {', '.join(says)}" if says else ""),))


def says_clip_skip(value: Any) -> bool:
    """Whether the base model's own file decides the clip skip, so that the look of it need not be asked for."""
    try:
        return isinstance(value, str) and identify(value).clip_skip is not None
    except (UserError, OSError):
        return False


def _images(value: str, values: Mapping[str, Any]) -> Found:
    data = Data(repeats=values.get("data.repeats", Data().repeats), regularization=values.get("data.regularization"))
    remarks = Remarks()
    chosen = scan_layout.choose(Profile(name="-", base_model=POCKET, images=value, output="-", data=data), remarks)
    counts = [(place, len(scan_layout.listing(place.path).pictures)) for place in chosen if not place.regularization]
    total = sum(count for _, count in counts)
    names = listed([f"{place.name} ({count})" for place, count in counts], most=6)
    told = [f"{counted(total, 'picture')} in {counted(len(counts), 'folder')}: {names}"]
    captions = sum(_num_captions(place) for place, _ in counts)
    if not captions:
        told.append("no caption files yet: tag.ps1 writes them; without, the folder's name is the only caption")
    concept = counts[0][0].concept if len(counts) == 1 else Path(value).name
    found = Found(tuple(told), looks=sum(place.repeats * count for place, count in counts), concept=concept)
    if above := _folder_above(Path(value), chosen):
        return replace(found, instead=above)
    return replace(found, told=(*found.told, *remarks.warnings[:3]))


def _num_captions(place: Chosen) -> int:
    return sum(path.suffix.lower() in (".txt", ".caption") for path in scan_layout.listing(place.path).others)


def _folder_above(root: Path, chosen: list[Chosen]) -> str:
    """The classic slip: the inner 5_name folder was picked. "" where it was not."""
    if len(chosen) != 1 or chosen[0].path != root or not repeats_of(root.name) or root.parent == root:
        return ""
    return str(root.parent)


def _output(value: str, _: Mapping[str, Any]) -> Found:
    place = Path(value)
    existing = next((p for p in (place, *place.parents) if p.exists()), None)
    if existing is not None and not existing.is_dir():
        raise UserError("this is a file, a folder is wanted", where=str(existing), todo=str(existing.parent))
    if existing is None:
        raise UserError("there is no such drive", where=value, todo="another folder (or connect the drive)")
    return Found(() if place.is_dir() else ("it is not there yet and will be made",))


def _regularization(value: str, _: Mapping[str, Any]) -> Found:
    if not Path(value).is_dir():
        raise UserError("there is no such folder", where=value, todo="another one, or - for none")
    return Found()


LOOKS: Mapping[str, Callable[[Any, Mapping[str, Any]], Found]] = {
    "name": _name,
    "base_model": _base,
    "images": _images,
    "output": _output,
    "data.regularization": _regularization,
}


def epochs_hint(looks: int) -> str:
    """How many epochs bring these looks into the guides' band; "" where that cannot be told."""
    if not looks:
        return ""
    least, most = math.ceil(LEAST_STEPS / looks), MOST_STEPS // looks
    if most < 1:
        return f"your pictures are seen {looks} times an epoch: 1 epoch is over the guides' {MOST_STEPS} already"
    if least > MANY_EPOCHS:
        return f"your pictures are seen only {looks} times an epoch: more pictures, or more repeats (10_name), are better than many epochs"
    band = f"{least} to {most} epochs" if most > least else counted(most, "epoch")
    return f"your pictures are seen {looks} times an epoch: {band} make {LEAST_STEPS} to {MOST_STEPS} steps, as the guides want"

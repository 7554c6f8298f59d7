"""What a dataset is checked for: the bake that a profile describes, or the usual one, with what was typed on top.

Not here: looking (checks.py).
"""

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lorabake import buckets, caption_checks, plan_data, settings, tag_wish, triggers
from lorabake.errors import UsageError, UserError
from lorabake.families import FAMILIES, Family, identify
from lorabake.profile import Loaded
from lorabake.settings import Data
from lorabake.tag_writing import concept_folder

MOST_RESOLUTION_PX, LEAST_RESOLUTION_PX = 8192, 64


@dataclass(frozen=True)
class Asked:
    """`data` has its resolution and bucket sides filled in; `trigger` and `preset` are the tag block's."""

    folder: Path
    data: Data
    row: Family
    trigger: triggers.Wish
    preset: str
    most_tokens: int

    @property
    def resolution(self) -> int:
        return int(self.data.resolution or 0)

    @cached_property
    def sizes(self) -> list[buckets.Size]:
        return plan_data.sizes(self.data, self.row)

    def placed(self, size: buckets.Size) -> tuple[buckets.Size, buckets.Placement]:
        """The bucket of a picture and how it gets there."""
        return plan_data.placed(size, self.data, self.row, self.sizes)

    def of_captions(self, names: Mapping[Path, str], count_tokens: Callable[[str], int]) -> caption_checks.Ask:
        """`names`: the pictures with the names by which remarks tell of them. Raises UsageError for a trigger of a folder that is gone."""
        folders = {picture: concept_folder(self.folder, picture) for picture in names}
        words = triggers.by_folder(self.trigger, folders.values(), preset=self.preset)
        of_names = {name: words[folders[picture]] for picture, name in names.items()}
        return caption_checks.Ask(of_names, count_tokens, self.most_tokens, named=self.preset == "character")


def of(folder: Path, loaded: Loaded | None, options: Namespace) -> Asked:
    """Raises UsageError for a resolution that no bake has."""
    typed = options.resolution
    if typed is not None and not LEAST_RESOLUTION_PX <= typed <= MOST_RESOLUTION_PX:
        allowed = f"{LEAST_RESOLUTION_PX} to {MOST_RESOLUTION_PX} px"
        raise UsageError(f"--resolution {typed} is no resolution of a bake", allowed=allowed, todo="--resolution 512")
    data, row = (loaded.profile.data if loaded else Data()), FAMILIES["sd1"]
    native = None
    if loaded:
        try:
            base = identify(loaded.profile.base_model)
            row, native = FAMILIES[base.family], base.resolution
        except UserError:
            pass  # captions and pictures can be looked at before the base model is there; the plan tells of it
    asked = data.model_copy(update={"resolution": typed or data.resolution or native or row.resolution})
    resolved = plan_data.sides(asked, row)
    tag = loaded.profile.tag if loaded else settings.Tag()
    most_tokens = options.tokens or (loaded.profile.model if loaded else settings.Model()).max_token_length
    return Asked(folder, resolved, row, tag_wish.trigger_of(options, loaded), options.preset or tag.preset, most_tokens)

"""Folders, trigger words and tags that a LoRA's metadata tells of: the trainer's own keys in folder mode and in config mode.

Counts are those of the metadata: a tag once per picture, repeats not counted. Not here: single values (said.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lorabake import said
from lorabake.folder_names import repeats_of

MOST_SHARE = 0.8  # a tag on so many of the pictures is taken for one that belongs to the LoRA


@dataclass(frozen=True)
class Folder:
    """`name` as the trainer wrote it; `repeats` and `count` are None where it does not say."""

    name: str
    repeats: int | None
    count: int | None
    regularization: bool = False

    @property
    def concept(self) -> str:
        found = repeats_of(self.name)
        return (found[1] if found and found[1] else self.name).strip()


def folders(metadata: Mapping[str, str]) -> list[Folder]:
    found = []
    for key, regularization in (("ss_dataset_dirs", False), ("ss_reg_dataset_dirs", True)):
        for name, facts in said.table(metadata.get(key, "")).items():
            facts = facts if isinstance(facts, dict) else {}
            found.append(Folder(name, said.whole(facts.get("n_repeats")), said.whole(facts.get("img_count")), regularization))
    return found or [folder for data in said.datasets(metadata) for folder in _of_set(data)]


def _of_set(data: Mapping[str, object]) -> list[Folder]:
    found = []
    for subset in said.rows(data.get("subsets")):
        name = subset.get("image_dir") or subset.get("metadata_file") or subset.get("class_tokens")
        if isinstance(name, str):
            repeats, count = said.whole(subset.get("num_repeats")), said.whole(subset.get("img_count"))
            found.append(Folder(name, repeats, count, subset.get("is_reg") is True))
    return found


def counts(metadata: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Folder -> tag -> pictures. Tables that are no counts are passed over."""
    tables = [said.table(metadata.get("ss_tag_frequency", ""))]
    if not tables[0]:
        tables = [said.table(data.get("tag_frequency")) for data in said.datasets(metadata)]
    found: dict[str, dict[str, int]] = {}
    for table in tables:
        for folder, tags in table.items():
            own = found.setdefault(folder, {})
            for tag, count in said.table(tags).items():
                if (times := said.whole(count)) and tag.strip():
                    own[tag.strip()] = own.get(tag.strip(), 0) + times
    return found


def most_frequent(metadata: Mapping[str, str]) -> list[tuple[str, int]]:
    """All tags of the trained folders (regularisation left out), the most frequent first, in the metadata's order where equal."""
    left_out = {folder.name for folder in folders(metadata) if folder.regularization}
    total: dict[str, int] = {}
    for folder, tags in counts(metadata).items():
        if folder not in left_out:
            for tag, count in tags.items():
                total[tag] = total.get(tag, 0) + count
    return sorted(total.items(), key=lambda pair: -pair[1])


def num_pictures(metadata: Mapping[str, str]) -> int | None:
    """Different pictures that were trained on, None where it is not said."""
    known = [folder.count for folder in folders(metadata) if not folder.regularization]
    return sum(count for count in known if count) if known and all(count is not None for count in known) else None


def on_most(metadata: Mapping[str, str]) -> list[tuple[str, int]]:
    """Tags on at least MOST_SHARE of the pictures: of those of a folder, where there are several."""
    sizes = {folder.name: folder.count for folder in folders(metadata) if not folder.regularization}
    found: dict[str, int] = {}
    for folder, tags in counts(metadata).items():
        least = MOST_SHARE * (sizes.get(folder) or 0)
        found |= {tag: max(count, found.get(tag, 0)) for tag, count in tags.items() if least and count >= least}
    return sorted(found.items(), key=lambda pair: -pair[1])


def triggers(metadata: Mapping[str, str]) -> list[str]:
    """What the author calls the trigger words, else the concepts that the trained folders are named after."""
    if phrase := said.text(metadata, "modelspec.trigger_phrase"):
        return [phrase]
    named = [folder.concept for folder in folders(metadata) if not folder.regularization and repeats_of(folder.name)]
    return list(dict.fromkeys(said.clean(word, 100) for word in named if word))

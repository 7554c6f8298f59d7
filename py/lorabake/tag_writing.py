"""From the tags of each picture to the captions of a whole dataset: presets, what is there already, rules, trigger words. In memory.

Not here: which tags a picture gets by its scores (tag_choice.py), reading and writing files (tagging.py).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from lorabake import captions, tag_edits, tag_kinds, tag_presets, tag_query, triggers
from lorabake.tag_edits import Edits
from lorabake.tag_files import Captioned, tag_counts
from lorabake.tag_query import plain, plain_tags
from lorabake.tag_wish import Wish

Tags = list[str]


def is_written(one: Captioned, wish: Wish) -> bool:
    """Whether the caption is this tagging's to write: all that were asked for, with `keep` only the missing and the empty ones.

    What cannot be read has no tags that could be kept or added to: only `overwrite` writes it.
    """
    if wish.only and not wish.only(plain_tags(one.text or "")):
        return False
    if one.text is None and one.problem:
        return wish.tag.existing == "overwrite"
    return wish.tag.existing != "keep" or not one.text


def captions_of(folder: Path, found: Sequence[Captioned], tags: Mapping[Path, Tags], wish: Wish) -> dict[Path, str]:
    """Caption's file -> its new text, "" where no tag was found. `tags` of every picture that was scored, also of ones whose captions stay.

    `found` is the whole dataset as it is now. Raises UsageError for a trigger word of a folder that is not there.
    """
    words = triggers.by_folder(
        wish.trigger, [concept_folder(folder, path) for one in found for path in one.pictures], preset=wish.tag.preset
    )
    left = _left_to_write(folder, tags, wish.tag.preset)
    new: dict[Path, Tags] = {}
    for one in found:
        if is_written(one, wish) and all(path in left for path in one.pictures):
            before = one.tags if wish.tag.existing == "merge" else []
            new[one.file] = united([before, *(left[path] for path in one.pictures)])
    frame = Edits(add=wish.tag.append, add_first=wish.tag.first)
    new = {file: tag_edits.apply(own, frame, {}) if own else [] for file, own in new.items()}
    for rule in wish.tag.rules:
        new = ruled(new, rule, found)
    counts = counts_with(new, found)
    written = {}
    for one in found:
        if one.file in new:
            own = tag_edits.apply(new[one.file], wish.edits, counts)
            written[one.file] = captions.join_tags(with_trigger(own, words[concept_folder(folder, one.pictures[0])]))
    return written


def _left_to_write(folder: Path, tags: Mapping[Path, Tags], preset: str) -> dict[Path, Tags]:
    """The tags that a preset leaves, which it decides for each concept folder by all its pictures."""
    groups: dict[str, list[Path]] = {}
    for path in tags:
        groups.setdefault(concept_folder(folder, path), []).append(path)
    left: dict[Path, Tags] = {}
    for group in groups.values():
        left |= zip(group, tag_presets.reduced([tags[path] for path in group], preset), strict=True)
    return left


def left_out(folder: Path, tags: Mapping[Path, Tags], preset: str) -> dict[str, list[str]]:
    """Concept folder -> the tags that the preset leaves to the LoRA itself, those of most pictures first."""
    left, gone = _left_to_write(folder, tags, preset), dict[str, Counter[str]]()
    for path, own in tags.items():
        kept = set(left[path])
        gone.setdefault(concept_folder(folder, path), Counter()).update(tag for tag in own if tag not in kept)
    return {name: [tag for tag, _ in counts.most_common()] for name, counts in gone.items() if counts}


def concept_folder(folder: Path, picture: Path) -> str:
    """The name of the folder directly in the dataset that a picture is in; the dataset's own for a picture directly in it."""
    parts = picture.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else folder.absolute().name


def united(lists: Sequence[Sequence[str]]) -> Tags:
    """All tags in order, each in the spelling in which it comes first."""
    once: dict[str, str] = {}
    for own in lists:
        for tag in own:
            once.setdefault(plain(tag), tag)
    return list(once.values())


def with_trigger(tags: Sequence[str], word: str) -> Tags:
    """The word at the very front, where trainers' keep_tokens holds it; nothing for a caption without a tag and without a word."""
    return [word, *(tag for tag in tags if plain(tag) != plain(word))] if word else list(tags)


def ruled(new: Mapping[Path, Tags], rule: tag_kinds.Rule, found: Sequence[Captioned]) -> dict[Path, Tags]:
    """One rule of a profile applied to the captions that its `find` fits."""
    query = tag_query.parse(rule["find"]) if "find" in rule else None
    edits, counts = tag_kinds.edits_of(rule), counts_with(new, found)
    return {
        file: tag_edits.apply(own, edits, counts) if query is None or query(frozenset(map(plain, own))) else own
        for file, own in new.items()
    }


def counts_with(new: Mapping[Path, Tags], found: Sequence[Captioned]) -> Mapping[str, int]:
    """How many pictures carry each tag, once `new` is written."""
    texts = {file: captions.join_tags(own) for file, own in new.items()}
    return tag_counts([Captioned(one.file, one.pictures, texts.get(one.file, one.text), one.problem) for one in found])

"""Which tags a picture gets: from the scores of a tagger to names in their order. Pure functions, one picture at a time.

Order of steps and comparisons as in reference/lora-facts.md 5.5, but where that reverses a list of tags, the list's own order is kept.
Not here: what goes before and behind (tagging.py), whole-set rules (tag_presets.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lorabake.captions import split_tags
from lorabake.tag_labels import Labels
from lorabake.tag_query import matches, plain

SHORT = 3  # characters: up to here underscores belong to a face, such as ^_^
WORD = re.compile(r"[^\W_]{2}")  # a tag without two letters in a row is a face too, such as (o)_(o)
NO_TAGS = ("rating", "quality")  # of these one is always the likeliest, which says little about a picture
SERIES = re.compile(r"(.+)_\(([^()]+)\)")


@dataclass(frozen=True)
class Choice:
    """`threshold` for general tags and all kinds but characters; `order` file or score; `rating` no, first or last."""

    threshold: float = 0.35
    character_threshold: float = 0.35
    exclude: tuple[str, ...] = ()
    replace: tuple[tuple[str, str], ...] = ()
    kinds_out: tuple[str, ...] = ()
    underscores: bool = False
    character_first: bool = False
    character_expand: bool = False
    rating: str = "no"
    order: str = "file"


def tags_of(scores: Mapping[int, float], labels: Labels, choice: Choice) -> list[str]:
    """The tags of one picture. `scores`: number of the output -> probability; outputs that are left out count as 0."""
    general: list[tuple[float, str]] = []
    characters: list[tuple[float, str]] = []
    for number, score in sorted(scores.items()):
        kind = labels.kinds[number]
        if kind in NO_TAGS or kind in choice.kinds_out:
            continue
        is_character = kind == "character"
        if score >= (choice.character_threshold if is_character else choice.threshold):
            (characters if is_character else general).append((score, labels.names[number]))
    if choice.order == "score":
        general.sort(key=lambda pair: -pair[0])
        characters.sort(key=lambda pair: -pair[0])
    people = [name for _, tag in characters for name in _expanded(tag, choice)]
    things = [tag for _, tag in general]
    found = [name for tag in (people + things if choice.character_first else things + people) for name in _renamed(tag, choice)]
    found = [tag for tag in found if not any(matches(tag, pattern) for pattern in choice.exclude)]
    once: dict[str, str] = {}
    for tag in _with_rating(found, scores, labels, choice):
        once.setdefault(plain(tag), tag)
    return list(once.values())


def _expanded(tag: str, choice: Choice) -> list[str]:
    """`name_(series)` as two tags, where that is wanted."""
    match = SERIES.fullmatch(tag) if choice.character_expand else None
    return [match[1], match[2]] if match else [tag]


def _renamed(tag: str, choice: Choice) -> list[str]:
    """What is written for a tag: itself, or what takes its place, which may be several or nothing."""
    for old, new in choice.replace:
        if matches(tag, old):
            return split_tags(new)
    return [tag if choice.underscores else spaced(tag)]


def spaced(tag: str) -> str:
    """Spaces for underscores, but not in faces."""
    return tag if len(tag) <= SHORT or not WORD.search(tag) else tag.replace("_", " ")


def _with_rating(tags: list[str], scores: Mapping[int, float], labels: Labels, choice: Choice) -> list[str]:
    ratings = [(score, number) for number, score in scores.items() if labels.kinds[number] == "rating"]
    if choice.rating == "no" or not ratings:
        return tags
    best = labels.names[max(ratings, key=lambda pair: (pair[0], -pair[1]))[1]]
    return [best, *tags] if choice.rating == "first" else [*tags, best]

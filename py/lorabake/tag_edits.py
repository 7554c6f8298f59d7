"""Edits of one caption's tags, in memory: add, remove, replace, sort, and taking out what stands there twice.

A tag that stays keeps its spelling. Compared as tag_query.plain does: capitals do not count, an underscore is a space. Not here: files
(tag_job.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lorabake import captions
from lorabake.errors import UsageError
from lorabake.tag_query import matches, plain

SORTS = ("name", "count")


@dataclass(frozen=True)
class Edits:
    """What to do to every caption, in the order of the fields. `replace` maps a pattern to the tags that take its place."""

    remove: tuple[str, ...] = ()
    replace: tuple[tuple[str, tuple[str, ...]], ...] = ()
    add: tuple[str, ...] = ()
    add_first: tuple[str, ...] = ()
    dedupe: bool = False
    sort: str = ""

    def __bool__(self) -> bool:
        return self != Edits()

    def title(self) -> str:
        """As it was typed, for the journal."""
        words = [f"--remove {tag}" for tag in self.remove]
        words += [f"--replace {old}={','.join(new)}" for old, new in self.replace]
        words += [f"--add {tag}" for tag in self.add] + [f"--add-first {tag}" for tag in self.add_first]
        return " ".join(words + ["--dedupe"] * self.dedupe + [f"--sort {self.sort}"] * bool(self.sort))


NONE = Edits()


def edits(
    *, add: Iterable[str], add_first: Iterable[str], remove: Iterable[str], replace: Iterable[str], others: Mapping[str, object]
) -> Edits:
    """From typed words, each of them one tag or several between commas. Raises UsageError for a replacement without "="."""
    pairs = []
    for word in replace:
        old, equals, new = word.partition("=")
        if not equals or not old.strip():
            raise UsageError(f'"{word}" is no replacement', allowed="old=new; old= takes the tag out", todo="--replace 1boy=1girl")
        pairs.append((old.strip(), tuple(captions.split_tags(new))))
    lists = {"remove": _tags(remove), "add": _tags(add), "add_first": _tags(add_first)}
    return Edits(replace=tuple(pairs), dedupe=bool(others.get("dedupe")), sort=str(others.get("sort") or ""), **lists)


def _tags(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(tag for word in words for tag in captions.split_tags(word))


def apply(tags: Sequence[str], wish: Edits, counts: Mapping[str, int]) -> list[str]:
    """The tags after all edits. `counts` says how many pictures carry a tag (by its plain spelling), for sorting by count."""
    found = [tag for tag in tags if not any(matches(tag, pattern) for pattern in wish.remove)]
    for pattern, new in wish.replace:
        found = _replaced(found, pattern, new)
    found += [tag for tag in wish.add if plain(tag) not in {plain(other) for other in found}]
    if wish.add_first:
        first = {plain(tag) for tag in wish.add_first}
        found = [*wish.add_first, *(tag for tag in found if plain(tag) not in first)]
    if wish.dedupe:
        once: dict[str, str] = {}
        for tag in found:
            once.setdefault(plain(tag), tag)
        found = list(once.values())
    if wish.sort == "name":
        found.sort(key=plain)
    if wish.sort == "count":
        found.sort(key=lambda tag: (-counts.get(plain(tag), 0), plain(tag)))
    return found


def _replaced(tags: Sequence[str], pattern: str, new: Sequence[str]) -> list[str]:
    """Each tag that is meant gives way to `new`, of which what stands elsewhere already is not written twice."""
    staying = {plain(tag) for tag in tags if not matches(tag, pattern)}
    found: list[str] = []
    for tag in tags:
        if not matches(tag, pattern):
            found.append(tag)
            continue
        fresh = [one for one in new if plain(one) not in staying]
        staying |= {plain(one) for one in fresh}
        found += fresh
    return found

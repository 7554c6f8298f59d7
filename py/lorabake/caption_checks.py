"""What is odd in the captions of a dataset, in sentences that name the pictures. Texts in memory; nothing is changed.

Not here: pictures themselves, how many tokens a text has (that is asked of `count_tokens`).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lorabake import captions
from lorabake.tag_query import plain
from lorabake.wording import counted, listed

EVERY_FROM = 5  # pictures; in fewer a tag on all of them says nothing
MOST_SHARE = 0.6  # of the pictures: from here a face, pose or person is what the LoRA will always draw
SHOWN = 8
# At most one of each group can be true of a picture.
COUNTS = (
    ("1girl", "2girls", "3girls", "4girls", "5girls", "6+girls", "multiple girls"),
    ("1boy", "2boys", "3boys", "4boys", "5boys", "6+boys", "multiple boys"),
    ("day", "night"),
    ("open eyes", "closed eyes"),
    ("open mouth", "closed mouth"),
    ("indoors", "outdoors"),
    ("standing", "sitting", "lying"),
    ("full body", "upper body", "portrait"),
)
SEVERAL = {tag for group in COUNTS[:2] for tag in group[1:]}
ALONE = {"solo", "solo focus"}
PEOPLE = {tag for group in COUNTS[:2] for tag in group}
FACES = {
    *("smile", "grin", "frown", "blush", "open mouth", "closed mouth", "closed eyes", "angry", "crying", "surprised", "expressionless"),
    *("looking at viewer", "looking away", "looking back", "standing", "sitting", "lying", "upper body", "portrait", "full body"),
    *("cowboy shot", "from side", "from behind", "from above", "from below", "profile", "arms behind back", "hand on hip"),
}


@dataclass(frozen=True)
class Remark:
    """One finding: a short name, a sentence, and the pictures (or files) that it is about; none means the whole set."""

    kind: str
    text: str
    names: tuple[str, ...] = ()


def check(texts: Mapping[str, str], *, trigger: str | None, count_tokens: Callable[[str], int], most_tokens: int) -> list[Remark]:
    """`texts`: picture's name -> caption, "" for none. `most_tokens` is what the windows hold (75, 150 or 225)."""
    tags = {name: captions.split_tags(text) for name, text in texts.items()}
    return [
        *empty(texts),
        *cut_off(tags, count_tokens, most_tokens),
        *without_trigger(tags, trigger),
        *contradictions(tags),
        *on_every(tags, trigger),
        *sameface(tags),
        *two_spellings(tags),
    ]


def empty(texts: Mapping[str, str]) -> list[Remark]:
    names = tuple(name for name, text in texts.items() if not text.strip())
    return [Remark("empty", f"{counted(len(names), 'picture')} without a caption", names)] if names else []


def cut_off(tags: Mapping[str, Sequence[str]], count_tokens: Callable[[str], int], most_tokens: int) -> list[Remark]:
    """Captions that do not fit the windows, with the very tags that are never read. A comma is a token of its own."""
    found = []
    for name, own in tags.items():
        total, lost = 0, []
        for tag in own:
            total += count_tokens(tag)
            if total > most_tokens:
                lost.append(tag)
            total += 1
        if lost:
            text = f"{total - 1} tokens, {most_tokens} are read; never read: {listed(lost, most=SHOWN)}"
            found.append(Remark("cut off", text, (name,)))
    return found


def without_trigger(tags: Mapping[str, Sequence[str]], trigger: str | None) -> list[Remark]:
    if not trigger:
        return []
    names = tuple(name for name, own in tags.items() if plain(trigger) not in map(plain, own))
    return [Remark("trigger", f'{counted(len(names), "picture")} without the trigger word "{trigger}"', names)] if names else []


def contradictions(tags: Mapping[str, Sequence[str]]) -> list[Remark]:
    """Tags that cannot both be true of one picture; one remark for each such set of tags."""
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, own in tags.items():
        has = {plain(tag) for tag in own}
        for group in COUNTS:
            both = tuple(tag for tag in group if tag in has)
            if len(both) > 1:
                found[both].append(name)
        alone, people = has & ALONE, sorted(has & PEOPLE)
        if "solo" in alone and (has & SEVERAL or len(people) > 1):
            found[("solo", *people)].append(name)
        if "no humans" in has and people:
            found[("no humans", *people)].append(name)
    return [Remark("contradiction", f"{listed(both, most=SHOWN)} on the same picture", tuple(names)) for both, names in found.items()]


def on_every(tags: Mapping[str, Sequence[str]], trigger: str | None) -> list[Remark]:
    """What stands on all pictures is learned as part of the LoRA's meaning, as the trigger is."""
    counts = counted_tags(tags)
    every = [tag for tag, count in counts.items() if count == len(tags) and tag != plain(trigger or "")]
    if len(tags) < EVERY_FROM or not every:
        return []
    return [Remark("on every picture", f"on every picture: {listed(every, most=SHOWN)}; wanted for a trigger word, else remove it")]


def sameface(tags: Mapping[str, Sequence[str]]) -> list[Remark]:
    """Faces, poses and named characters that most pictures share: the LoRA will draw them unasked."""
    counts = counted_tags(tags)
    often = [tag for tag, count in counts.items() if count >= MOST_SHARE * len(tags)]
    usual = [tag for tag in often if tag in FACES or (tag.endswith(")") and "(" in tag)]
    if len(tags) < EVERY_FROM or not usual:
        return []
    shares = listed([f"{tag} ({100 * counts[tag] // len(tags)} %)" for tag in usual], most=SHOWN)
    return [Remark("sameface", f"most pictures share {shares}: for a style, add pictures with other faces and poses")]


def two_spellings(tags: Mapping[str, Sequence[str]]) -> list[Remark]:
    """One tag with underscores here and spaces there is two tags for the text encoder."""
    seen: dict[str, set[str]] = defaultdict(set)
    for own in tags.values():
        for tag in own:
            seen[plain(tag)].add(tag.lower())
    mixed = sorted(tag for tag, spellings in seen.items() if len(spellings) > 1 and any("_" in one for one in spellings))
    if not mixed:
        return []
    return [Remark("spelling", f"with underscores and with spaces: {listed(mixed, most=SHOWN)}; --replace joins them")]


def counted_tags(tags: Mapping[str, Sequence[str]]) -> Counter[str]:
    """On how many pictures each tag stands, by its plain spelling."""
    return Counter(tag for own in tags.values() for tag in dict.fromkeys(map(plain, own)))

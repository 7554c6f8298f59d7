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
KINDS = ("no-caption", "too-long", "no-trigger", "contradiction", "watermark", "file")  # of remarks that are about single pictures
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
    *("smile", "grin", "smirk", "frown", "pout", "blush", "open mouth", "closed mouth", "parted lips", "closed eyes", "half-closed eyes"),
    *("one eye closed", "angry", "sad", "happy", "crying", "tears", "surprised", "scared", "embarrassed", "serious", "expressionless"),
    *("tongue out", ":d", ":o", ":3", "^ ^", "^_^", "looking at viewer", "looking away", "looking back", "looking to the side"),
    *("looking up", "looking down", "standing", "sitting", "kneeling", "squatting", "lying", "on back", "on side", "on stomach", "walking"),
    *("running", "jumping", "leaning forward", "head tilt", "hand on own hip", "hand up", "hands up", "arm up", "arms up", "waving"),
    *("arms behind back", "arms at sides", "crossed arms", "crossed legs", "v", "peace sign", "upper body", "portrait", "full body"),
    *("cowboy shot", "close-up", "from side", "from behind", "from above", "from below", "profile", "facing viewer", "solo focus"),
}
# What taggers see where somebody has written on a picture: it will be drawn, misspelt, by the LoRA.
WRITTEN = {
    *("signature", "watermark", "artist name", "artist logo", "web address", "twitter username", "pixiv username", "patreon username"),
    *("instagram username", "patreon logo", "copyright name", "copyright notice", "logo", "sample watermark", "dated", "username"),
}


@dataclass(frozen=True)
class Remark:
    """One finding: a short name, a sentence, and the pictures (or files) that it is about; none means the whole set."""

    kind: str
    text: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ask:
    """What captions are held against. `triggers`: picture's name -> its trigger word, "" for none. `most_tokens` is what the windows
    hold (75, 150 or 225). `named`: the LoRA is to draw one character, so that its name belongs on every picture."""

    triggers: Mapping[str, str]
    count_tokens: Callable[[str], int]
    most_tokens: int
    named: bool = False


@dataclass(frozen=True)
class Length:
    """A caption in tokens, and how many of its tags are read; what is behind them never is."""

    num_tokens: int
    num_read: int


def check(texts: Mapping[str, str], ask: Ask) -> list[Remark]:
    """`texts`: picture's name -> caption, "" for none."""
    tags = {name: captions.split_tags(text) for name, text in texts.items()}
    return [
        *empty(texts),
        *too_long(tags, ask),
        *without_trigger(tags, ask.triggers),
        *contradictions(tags),
        *written_on(tags),
        *on_every(tags, ask.triggers),
        *sameface(tags, ask),
        *two_spellings(tags),
    ]


def empty(texts: Mapping[str, str]) -> list[Remark]:
    names = tuple(name for name, text in texts.items() if not text.strip())
    return [Remark("no-caption", f"{counted(len(names), 'picture')} without a caption", names)] if names else []


def length(tags: Sequence[str], ask: Ask) -> Length:
    """A comma is a token of its own; a tag of which only a part is read counts as not read."""
    total, num_read = 0, 0
    for number, tag in enumerate(tags, 1):
        total += ask.count_tokens(tag)
        if total <= ask.most_tokens:
            num_read = number
        total += 1
    return Length(max(0, total - 1), num_read)


def too_long(tags: Mapping[str, Sequence[str]], ask: Ask) -> list[Remark]:
    """Captions that do not fit the windows, with the very tags that are never read."""
    found = []
    for name, own in tags.items():
        read = length(own, ask)
        if lost := own[read.num_read :]:
            text = f"{read.num_tokens} tokens, {ask.most_tokens} are read; never read: {listed(lost, most=SHOWN)}"
            found.append(Remark("too-long", text, (name,)))
    return found


def without_trigger(tags: Mapping[str, Sequence[str]], triggers: Mapping[str, str]) -> list[Remark]:
    """Captions without their own trigger word; a picture without any caption is told of elsewhere."""
    bare: dict[str, list[str]] = defaultdict(list)
    for name, own in tags.items():
        word = triggers.get(name, "")
        if word and own and plain(word) not in map(plain, own):
            bare[word].append(name)
    return [
        Remark("no-trigger", f'without the trigger word "{word}": --add-first "{word}" puts it in front', tuple(names))
        for word, names in bare.items()
    ]


def written_on(tags: Mapping[str, Sequence[str]]) -> list[Remark]:
    names = tuple(name for name, own in tags.items() if WRITTEN & set(map(plain, own)))
    if not names:
        return []
    many = f"{counted(len(names), 'picture')} tagged as signed or watermarked"
    return [Remark("watermark", f"{many}: blank or crop it off (--review); keep the tag where it stays, to be negative-prompted", names)]


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


def on_every(tags: Mapping[str, Sequence[str]], triggers: Mapping[str, str]) -> list[Remark]:
    """What stands on all pictures is learned as part of the LoRA's meaning, as the trigger is."""
    counts, words = counted_tags(tags), set(map(plain, triggers.values()))
    every = [tag for tag, count in counts.items() if count == len(tags) and tag not in words]
    if len(tags) < EVERY_FROM or not every:
        return []
    return [Remark("on-every-picture", f"on every picture: {listed(every, most=SHOWN)}; wanted for a trigger word, else remove it")]


def sameface(tags: Mapping[str, Sequence[str]], ask: Ask) -> list[Remark]:
    """Faces, poses and named characters that most pictures share: the LoRA will draw them unasked."""
    counts, words = counted_tags(tags), set(map(plain, ask.triggers.values()))
    often = [tag for tag, count in counts.items() if count >= MOST_SHARE * len(tags) and tag not in words]
    usual = [tag for tag in often if tag in FACES or (not ask.named and tag.endswith(")") and "(" in tag)]
    if len(tags) < EVERY_FROM or not usual:
        return []
    shares = listed([f"{tag} ({100 * counts[tag] // len(tags)} %)" for tag in usual], most=SHOWN)
    return [Remark("sameface", f"most pictures share {shares}: the LoRA will draw that unasked; add pictures with other faces and poses")]


def two_spellings(tags: Mapping[str, Sequence[str]]) -> list[Remark]:
    """One tag with underscores here and spaces there is two tags for the text encoder."""
    seen: dict[str, set[str]] = defaultdict(set)
    for own in tags.values():
        for tag in own:
            seen[plain(tag)].add(tag.lower())
    mixed = sorted(tag for tag, spellings in seen.items() if len(spellings) > 1 and any("_" in one for one in spellings))
    if not mixed:
        return []
    return [Remark("spelling", f"with underscores and with spaces: {listed(mixed, most=SHOWN)}; --replace makes them one")]


def counted_tags(tags: Mapping[str, Sequence[str]]) -> Counter[str]:
    """On how many pictures each tag stands, by its plain spelling."""
    return Counter(tag for own in tags.values() for tag in dict.fromkeys(map(plain, own)))

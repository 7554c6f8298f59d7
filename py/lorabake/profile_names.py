"""What someone may have meant who typed a key that is not there: our key elsewhere, kohya's name, or a near miss.

Not here: keys that are "not yet" (settings_later.py).
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from lorabake import kohya
from lorabake.settings import BLOCKS
from lorabake.settings_later import topic_of

CLOSE, CLOSER = 0.6, 0.75


def advice(dotted: str, known: Iterable[str]) -> tuple[str, set[str]]:
    """(what to type, the keys it names) for an unknown key; ("", empty) when nothing comes near."""
    known = list(known)
    if dotted in known:
        return "", set()
    block, _, typed = dotted.rpartition(".")
    if ":" in typed:
        return f"a space after the colon: {typed.partition(':')[0]}: ...", set()
    if "." in block:
        return f"keys have at most one dot: {'.'.join(dotted.split('.')[-2:])}", set()
    name = _plain(typed)
    places = [key for key in known if key.rpartition(".")[2] == name]
    if f"{block}.{name}" in places:
        places = [f"{block}.{name}"]
    if places:
        # The same word may be kohya's for one of them (seed, resolution): that is the one meant most often.
        return f"here it is {' or '.join(places)}", set(places)
    if name in BLOCKS:
        return f"{name}: at the left edge, its keys below it", set()
    if reason := kohya.NOTHING_TO_SET.get(name):
        return f"leave it out: {reason}", set()
    if meant := kohya.names().get(name):
        return _here(meant), {word for word in re.findall(r"[\w.]+", meant) if word in known}
    return _near(block, name, known)


def _plain(name: str) -> str:
    """`--Network-Dim` and `networkDim` as network_dim."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip().lstrip("-$"))
    return name.lower().replace("-", "_").replace(" ", "_")


def _here(meant: str) -> str:
    later = topic_of(meant.partition(":")[0])
    return f"here it is {meant}" + (f" (not yet: {later})" if later else "")


def _near(block: str, name: str, known: list[str]) -> tuple[str, set[str]]:
    """Near misses: in the same group first, then anywhere, then among kohya's names."""
    siblings: Mapping[str, str] = {key.rpartition(".")[2]: key for key in known if key.rpartition(".")[0] == block}
    if found := get_close_matches(name, siblings, 1, CLOSE):
        return f"did you mean {siblings[found[0]]}?", {siblings[found[0]]}
    if not block and (group := get_close_matches(name, BLOCKS, 1, CLOSER)):
        return f"did you mean {group[0]}?", set()
    last: dict[str, list[str]] = {}
    for key in known:
        last.setdefault(key.rpartition(".")[2], []).append(key)
    if found := get_close_matches(name, last, 1, CLOSER) or get_close_matches(f"{block}.{name}", known, 1, CLOSER):
        meant = last.get(found[0], [found[0]])
        return f"did you mean {' or '.join(meant)}?", set(meant)
    foreign = kohya.names()
    if found := get_close_matches(name, foreign, 1, 0.8):
        return f"did you mean {found[0]}? {_here(foreign[found[0]])}", set()
    return "docs/profile-reference.md has every key", set()

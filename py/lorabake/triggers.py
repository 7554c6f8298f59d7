"""Trigger words: one for all pictures, one for each concept folder, or the folders' own concept names.

`auto` takes the concept's name (`junwool` of `5_junwool`). A style needs no trigger while it is alone, so with the preset `style` auto
gives one only where there are several folders. Names in memory; nothing is read.
"""

from collections.abc import Iterable, Mapping, Sequence

from lorabake.errors import UsageError
from lorabake.folder_names import repeats_of

AUTO = "auto"
Wish = str | Mapping[str, str] | None


def typed(words: Sequence[str]) -> Wish:
    """What --trigger said: `junwool`, `auto`, or `5_anna=anna` once for each folder. Raises UsageError for a mixture."""
    pairs = dict(word.partition("=")[::2] for word in words if "=" in word)
    alone = [word.strip() for word in words if "=" not in word and word.strip()]
    if (pairs and alone) or len(alone) > 1:
        raise UsageError(
            f"these trigger words do not go together: {', '.join(words)}",
            allowed="one word for all pictures, or FOLDER=WORD for each folder",
            todo="--trigger 5_anna=anna --trigger 5_bob=bob",
        )
    if pairs:
        return {folder.strip(): word.strip() for folder, word in pairs.items()}
    return "".join(alone) if words else None  # an empty word: no trigger, whatever the preset


def by_folder(wish: Wish, folders: Iterable[str], *, preset: str = "none") -> dict[str, str]:
    """Folder's name -> its trigger word, "" for none. A map names a folder, or a concept with all its folders.

    Raises UsageError for a map that names a folder which is not there: a slip would leave its pictures without a trigger.
    """
    names = list(dict.fromkeys(folders))
    if wish is None:
        wish = AUTO if preset in ("character", "concept") or (preset == "style" and len(names) > 1) else ""
    if isinstance(wish, str):
        return {name: concept(name) if wish == AUTO else wish for name in names}
    known = {key.casefold() for name in names for key in (concept(name), name)}
    strange = [key for key in wish if key.casefold() not in known]
    if strange:
        raise UsageError(
            f'no folder "{strange[0]}" for a trigger word', allowed=", ".join(names), todo=f"--trigger {names[0]}=WORD" if names else ""
        )
    words = {key.casefold(): word for key, word in wish.items()}
    return {name: words.get(name.casefold(), words.get(concept(name).casefold(), "")) for name in names}


def concept(folder: str) -> str:
    """The concept of a folder's name: without the repeats in front, underscores as they are."""
    found = repeats_of(folder)
    return (found[1] if found and found[1] else folder).strip()

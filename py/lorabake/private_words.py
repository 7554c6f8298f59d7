"""Private things in the metadata of a model file: paths, names of folders, the session's number; and, if asked, the tags.

Pure: metadata in, clean metadata and a list of what was taken out. Repeats stay in the neutral names of folders, so that counts keep their
meaning. A path in a sentence goes with the rest of its line: where it ends cannot be known. Not here: files (lora_scrub.py).
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lorabake import said
from lorabake.folder_names import repeats_of
from lorabake.said import OUR_KEY

SESSION = "ss_session_id"
PATH = "(path)"
FOLDER_TABLES = ("ss_dataset_dirs", "ss_reg_dataset_dirs", "ss_tag_frequency")
REGULARIZATION = "regularization "  # stands before a folder's name in our own record
DEEPEST = 8
_HEAD = (
    r"(?:file:[\\/]+)?"
    r"(?:[A-Za-z]:[\\/]|\\{2,}[^\\/\s\"']+[\\/]|~[\\/]|%\w+%[\\/]|\$\{?\w+\}?[\\/]"
    r"|/(?:home|Users|root|mnt|media|Volumes)(?=[\\/]|$)|/[^\\/\s\"'<>|*?,;]+/[^\s\"'<>|*?,;]|file:[\\/]+)"
)
_FREE = r"(?<![\w:/\\.~%$])"  # not inside a word or a web address
# A quote ends a path only where something of a list follows it: names hold apostrophes.
_QUOTED = re.compile(rf"(?P<quote>[\"'])(?P<path>{_HEAD}(?:(?!(?P=quote)\s*(?:[,\])}};:]|$)).)*)", re.DOTALL)
_OPEN = re.compile(rf"{_FREE}{_HEAD}[^\r\n]*")
_MODEL = re.compile(r"[^\\/]+\.(?:safetensors|ckpt|pt|pth|bin)", re.IGNORECASE)
_USER = re.compile(r"(?:[\\/](?:Users|home|Documents and Settings)[\\/])([^\\/\"'\r\n]{3,40})(?=[\\/])", re.IGNORECASE)
_NOBODY = {"public", "user", "users", "admin", "default", "ubuntu", "administrator"}


@dataclass(frozen=True)
class Taken:
    """One thing that was taken out of `key`; `was` and `now` as they look, clean and cut. `now` is "" where nothing is left."""

    key: str
    was: str
    now: str = ""


def scrubbed(metadata: Mapping[str, str], *, tags: bool = False) -> tuple[dict[str, str], list[Taken]]:
    """The metadata without paths and names of folders, and each thing that went; with `tags` also without tags and sample prompts.

    A table of folders that cannot be read goes whole: nobody could tell what is in it.
    """
    names = neutral_names(metadata)
    found: dict[str, str] = {}
    taken: dict[Taken, None] = {}
    for key, value in metadata.items():
        if key == SESSION or (tags and key == "ss_tag_frequency") or _unreadable(key, value):
            taken[Taken(key, said.clean(value, 60))] = None
            continue
        new = _by_key(key, value, names, tags=tags)
        new = without_paths(new)
        if new != value:
            taken |= dict.fromkeys(_differences(key, value, new))
        found[key] = new
    return found, list(taken)


def _unreadable(key: str, value: str) -> bool:
    if value.strip().lower() in said.NOTHING:
        return False
    if key == "ss_datasets":
        found = said.parsed(value)
        return not isinstance(found, list) or not all(isinstance(row, dict) for row in found)
    return key in (*FOLDER_TABLES, OUR_KEY) and not isinstance(said.parsed(value), dict)


def neutral_names(metadata: Mapping[str, str]) -> dict[str, str]:
    """Every name of a folder that the metadata tells -> `5_concept 1`, `concept 2`, in their order."""
    seen: dict[str, None] = {}
    for key in FOLDER_TABLES:
        seen |= dict.fromkeys(said.table(metadata.get(key, "")))
    for data in said.datasets(metadata):
        seen |= dict.fromkeys(said.table(data.get("tag_frequency")))
        for subset in said.rows(data.get("subsets")):
            seen |= {name: None for place in ("image_dir", "metadata_file") if isinstance(name := subset.get(place), str) and name}
    seen |= {name.removeprefix(REGULARIZATION): None for name in said.table(said.table(metadata.get(OUR_KEY, "")).get("pictures"))}
    found: dict[str, str] = {}
    for number, name in enumerate(seen, start=1):
        repeats = repeats_of(name)
        found[name] = f"{repeats[0]}_concept {number}" if repeats else f"concept {number}"
    return found


def _by_key(key: str, value: str, names: Mapping[str, str], *, tags: bool) -> str:
    """A value whose table is known, with neutral names; any other as it is."""
    if key in FOLDER_TABLES and (table := said.table(value)):
        return _again(value, table, _renamed(table, names))
    if key == "ss_datasets" and (rows := said.parsed(value)):
        return _again(value, rows, [_of_set(row, names, tags=tags) for row in rows] if isinstance(rows, list) else rows)
    if key == OUR_KEY and (record := said.table(value)):
        return _again(value, record, _record(record, names, tags=tags))
    return value


def _again(text: str, before: Any, after: Any) -> str:
    return text if before == after else json.dumps(after)


def _renamed(table: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in table.items()}


def _of_set(data: Any, names: Mapping[str, str], *, tags: bool) -> Any:
    """One of `ss_datasets`: folders inside it, and the concepts that are named like them."""
    if not isinstance(data, dict):
        return data
    data = {key: value for key, value in data.items() if not (tags and key == "tag_frequency")}
    if isinstance(data.get("tag_frequency"), dict):
        data["tag_frequency"] = _renamed(data["tag_frequency"], names)
    if isinstance(data.get("subsets"), list):
        data["subsets"] = [_of_subset(subset, names) if isinstance(subset, dict) else subset for subset in data["subsets"]]
    return data


def _of_subset(subset: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    found = dict(subset)
    for place in ("image_dir", "metadata_file"):
        if isinstance(name := found.get(place), str):
            found[place] = names.get(name, name)
    named = repeats_of(str(subset.get("image_dir", "")))
    if named and found.get("class_tokens") == named[1]:
        found["class_tokens"] = str(found["image_dir"]).partition("_")[2]
    return found


def _record(record: Mapping[str, Any], names: Mapping[str, str], *, tags: bool) -> dict[str, Any]:
    """Our own record, which holds last names of folders."""
    found = dict(record)
    if isinstance(pictures := found.get("pictures"), dict):
        marks = {name: REGULARIZATION if name.startswith(REGULARIZATION) else "" for name in pictures}
        found["pictures"] = {
            f"{mark}{names.get(name.removeprefix(mark), name.removeprefix(mark))}": pictures[name] for name, mark in marks.items()
        }
    profile = dict(found["profile"]) if isinstance(found.get("profile"), dict) else {}
    for key in ("images", "output"):
        if profile.get(key):
            profile[key] = key
    for block, key, neutral in (("data", "regularization", "regularization"), ("samples", "prompts", "prompts.txt")):
        group = dict(profile[block]) if isinstance(profile.get(block), dict) else {}
        if isinstance(group.get(key), str) and group[key]:
            group[key] = neutral
        if tags and key == "prompts" and group.get(key):
            group[key] = None
        if group:
            profile[block] = group
    return {**found, "profile": profile} if profile else found


def without_paths(value: str, depth: int = DEEPEST) -> str:
    """Text with every path in it gone, also inside JSON; the name of a model file stays. A data: address (a thumbnail) stays whole."""
    if value.startswith("data:"):
        return value
    if depth and value.lstrip()[:1] in ("{", "[") and (found := said.parsed(value)) is not None:
        return _again(value, found, _inside(found, depth - 1))
    value = _QUOTED.sub(lambda match: match["quote"] + _last_name(match["path"]), value)
    return _OPEN.sub(lambda match: _last_name(match[0]), value)


def _inside(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return without_paths(value, depth)
    if depth and isinstance(value, list):
        return [_inside(entry, depth - 1) for entry in value]
    if depth and isinstance(value, dict):
        return {without_paths(key, 0): _inside(entry, depth - 1) for key, entry in value.items()}
    return value if not isinstance(value, dict | list) else PATH


def _last_name(path: str) -> str:
    last = re.split(r"[\\/]", path.strip().rstrip("\\/"))[-1]
    return last if _MODEL.fullmatch(last) and ":" not in last else PATH


def _differences(key: str, before: str, after: str) -> Iterable[Taken]:
    """What went out of a value: piece by piece where it is JSON, else the paths in it."""
    old, new = said.parsed(before), said.parsed(after)
    if isinstance(old, dict | list) and isinstance(new, dict | list):
        gone, came = _strings(old), _strings(new)
        pairs = [(was, now) for was, now in zip(gone, came, strict=False) if was != now] if len(gone) == len(came) else []
        if pairs:
            return [Taken(key, said.clean(was, 80), said.clean(now, 80)) for was, now in pairs]
    return [Taken(key, said.clean(before, 80), said.clean(after, 80))]


def _strings(value: Any) -> list[str]:
    """All texts of a JSON value, keys too, in its order."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for entry in value for text in _strings(entry)]
    if isinstance(value, dict):
        return [text for key, entry in value.items() for text in (key, *_strings(entry))]
    return []


def user_names(metadata: Mapping[str, str]) -> set[str]:
    """Names of people's accounts in the paths of the metadata."""
    return {name for value in metadata.values() for name in _USER.findall(value.replace("\\\\", "\\")) if name.lower() not in _NOBODY}


def still_named(metadata: Mapping[str, str], names: Iterable[str]) -> list[Taken]:
    """Values in which such a name still stands as a word: for the owner to judge."""
    return [
        Taken(key, name, said.clean(value, 80))
        for name in sorted(names)
        for key, value in metadata.items()
        if not value.startswith("data:") and re.search(rf"\b{re.escape(name)}\b", value, re.IGNORECASE)
    ]

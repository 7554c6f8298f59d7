"""What the metadata of anybody's file says, read without trust: numbers, JSON, dates and sizes out of text that may hold anything.

Nothing here raises for bad values: they read as None. Not here: what our own trainer writes (metadata.py), what it means (lora_facts.py).
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

OUR_KEY = "lorabake"  # of the metadata of our own files
NOTHING = ("", "none", "null")
LARGEST_NUMBER = 1e15
FIRST_YEAR_S, LAST_YEAR_S = 946_684_800, 4_102_444_800  # 2000 to 2100
MOST_DIGITS = 40


def clean(text: object, most: int = 2000) -> str:
    """One printable line: line ends become spaces, every other character that a console would obey is written out, long text is cut."""
    line = re.sub(r"\s*[\r\n]+\s*", " ", str(text)[: 4 * most]).strip()
    shown = "".join(
        c if c.isprintable() else " " if c == "\t" else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" for c in line
    )
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def text(metadata: Mapping[str, str], *keys: str) -> str:
    """The first of these keys that says something, clean; "" where none does."""
    for key in keys:
        found = metadata.get(key, "")
        if found.strip().lower() not in NOTHING:
            return clean(found)
    return ""


def number(value: object) -> int | float | None:
    """A finite number of ordinary size out of text or JSON; whole ones as int. Lists count by their first entry, as rates are written."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        digits = value.strip().strip("[]()").partition(",")[0].strip().strip("'\"")
        if not re.fullmatch(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?", digits) or len(digits) > MOST_DIGITS:
            return None
        try:
            value = float(digits)
        except ValueError:
            return None
    if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > LARGEST_NUMBER:
        return None
    return int(value) if value == int(value) else float(value)


def whole(value: object) -> int | None:
    """A whole number from 0 on."""
    found = number(value)
    return found if isinstance(found, int) and found >= 0 else None


def flag(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False, "1": True, "0": False}.get(str(value).strip().lower())


def parsed(value: object) -> Any:
    """JSON out of text, or None."""
    if not isinstance(value, str):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def table(value: object) -> dict[str, Any]:
    """A JSON table out of text or JSON, else {}."""
    found = parsed(value) if isinstance(value, str) else value
    return found if isinstance(found, dict) else {}


def rows(value: object) -> list[dict[str, Any]]:
    """The tables of a JSON list, else []."""
    found = parsed(value) if isinstance(value, str) else value
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def moment(value: str) -> datetime | None:
    """A time that is written as seconds since 1970 or as ISO, in local time and without a zone."""
    seconds = number(value)
    if seconds is not None:
        return datetime.fromtimestamp(seconds) if FIRST_YEAR_S <= seconds <= LAST_YEAR_S else None
    try:
        found = datetime.fromisoformat(value.strip())
        return found.astimezone().replace(tzinfo=None) if found.tzinfo else found
    except (ValueError, OverflowError, OSError):
        return None


def size_px(value: object) -> tuple[int, int] | None:
    """Width and height of "512", "512x768", "(512, 768)", [512, 768]; one number is both."""
    pieces = value if isinstance(value, list) else re.findall(r"\d{1,6}", str(value)[:100])
    sides = [side for piece in pieces if (side := whole(piece))]
    if not 1 <= len(sides) <= 2 or len(sides) != len(pieces):
        return None
    return sides[0], sides[-1]


def datasets(metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    """The sets of pictures of a training that was configured by file (`ss_datasets`), else []."""
    return rows(metadata.get("ss_datasets", ""))


def setting(metadata: Mapping[str, str], key: str, in_set: str = "") -> str:
    """`ss_<key>`, else what the first of `ss_datasets` says of it (there under `in_set`, or under the same name), as text."""
    own = metadata.get(f"ss_{key}", "")
    if own.strip().lower() not in NOTHING:
        return own.strip()
    for data in datasets(metadata)[:1]:
        found = data.get(in_set or key)
        if found is None:
            found = next((row.get(in_set or key) for row in rows(data.get("subsets")) if row.get(in_set or key) is not None), None)
        if found is not None and not isinstance(found, dict):
            return str(found)
    return ""

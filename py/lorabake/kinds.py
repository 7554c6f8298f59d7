"""Kinds of values a profile key can hold: how typed text becomes a value, what is allowed in words, and the same as JSON Schema.

Not here: which key is of which kind (settings.py), YAML (yaml_nodes.py), rules between keys (profile_checks.py).

Values arrive as plain text, lists and dicts of text (`Raw`), never as YAML's own guesses: `8e-5` is a number where a number is
declared, `no` and `0777` are text where text is declared.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeAlias

Raw: TypeAlias = "str | list[Raw] | dict[str, Raw] | None"

ANY_TEXT = {"type": ["string", "number", "boolean"]}  # editors see 0777 as a number; we take it as text
TRUE = ("true", "yes", "on")
FALSE = ("false", "no", "off")


class Wrong(ValueError):
    """A value that does not fit its kind: what is wrong, and what to type where that is known."""

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(what)
        self.what, self.todo = what, todo


@dataclass(frozen=True)
class Kind:
    """`parse` makes a value of Raw or raises Wrong; `fits` says whether a finished value is allowed; `allowed` says it in words."""

    allowed: str
    parse: Callable[[Raw], Any]
    fits: Callable[[Any], bool]
    schema: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    is_path: bool = False
    is_text: bool = False


def shown(value: Raw) -> str:
    """A typed value in quotes, on one line, cut where it is long, control characters visible."""
    if value is None:
        return "an empty value"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a group of keys"
    text = value if len(value) <= 80 else value[:77] + "..."
    return '"' + "".join(c if c.isprintable() else {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(c, f"\\x{ord(c):02x}") for c in text) + '"'


def plain(number: float) -> str:
    """A number as people write it: 1024, 0.5, 8e-5."""
    if isinstance(number, int) or (float(number).is_integer() and abs(number) < 1e15):
        return str(int(number))
    return re.sub(r"e([+-])0*(\d)", lambda m: f"e{m[1].replace('+', '')}{m[2]}", repr(float(number)))


def text_of(value: Raw, noun: str) -> str:
    """The text of a single value. Raises Wrong for a list or a group."""
    if not isinstance(value, str):
        colon = isinstance(value, dict) and noun in ("a prompt", "text", "a name")
        raise Wrong(f"{shown(value)} is not {noun}", "quotes around it, if the colon belongs to the text" if colon else "")
    return value.strip()


def _float(value: Raw, noun: str) -> float:
    text = text_of(value, noun)
    try:
        number = float(text)
    except ValueError:
        point = text.replace(",", ".")
        swapped = re.fullmatch(r"[-+]?\d*,\d+(e[-+]?\d+)?", text, re.IGNORECASE)
        raise Wrong(f"{shown(value)} is not {noun}", f"a decimal point, not a comma: {point}" if swapped else "") from None
    if not math.isfinite(number):
        raise Wrong(f"{shown(value)} is not {noun}")
    return number


def _in_range(number: float, low: float, high: float, value: Raw) -> None:
    if low <= number <= high:
        return
    # 8e5 for 8e-5 is the slip that everybody makes with rates.
    forgotten = re.sub(r"(?i)e\+?(?=\d)", "e-", str(value).strip())
    todo = f"did you mean {forgotten}?" if forgotten != str(value).strip() and low <= float(forgotten) <= high else ""
    raise Wrong(f"{shown(value)} is too {'small' if number < low else 'large'}", todo)


def whole(low: int, high: int, *, note: str = "", step: int = 1) -> Kind:
    """Whole numbers low..high; `note` explains a special one; `step`: only multiples of it."""
    noun = "a whole number" if step == 1 else f"a multiple of {step}"

    def parse(value: Raw) -> int:
        text = text_of(value, "a whole number")
        if re.fullmatch(r"\d+ *[x,] *\d+", text, re.IGNORECASE):
            raise Wrong(f"{shown(value)} is not a whole number", "one number")
        number = int(text) if re.fullmatch(r"[-+]?\d{1,20}", text) else _float(value, "a whole number")
        if number != int(number):
            raise Wrong(f"{shown(value)} is not a whole number")
        _in_range(number, low, high, value)
        if number % step:
            raise Wrong(f"{shown(value)} is not a multiple of {step}", f"{max(low, round(number / step) * step)} is the nearest")
        return int(number)

    def fits(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high and value % step == 0

    schema = {"type": "integer", "minimum": low, "maximum": high} | ({"multipleOf": step} if step > 1 else {})
    return Kind(f"{noun} from {low} to {high}{note and f' ({note})'}", parse, fits, schema)


def number(low: float, high: float, *, over: bool = False, note: str = "") -> Kind:
    """Numbers low..high; with `over` the low end itself is left out."""

    def parse(value: Raw) -> float:
        found = _float(value, "a number")
        _in_range(found, low, high, value)
        if over and found <= low:
            raise Wrong(f"{shown(value)} is too small")
        return found

    def fits(value: Any) -> bool:
        return isinstance(value, float | int) and not isinstance(value, bool) and low <= value <= high and not (over and value <= low)

    words = f"a number {'over' if over else 'from'} {plain(low)} to {plain(high)}{note and f' ({note})'}"
    # Editors that read YAML 1.1 take 8e-5 for text, so that text of that form is allowed too.
    forms = [
        {"type": "number", "exclusiveMinimum" if over else "minimum": low, "maximum": high},
        {"type": "string", "pattern": NUMBER_TEXT},
    ]
    return Kind(words, parse, fits, {"anyOf": forms})


NUMBER_TEXT = r"^[0-9]*\.?[0-9]*[eE][-+]?[0-9]+$"


def flag() -> Kind:
    def parse(value: Raw) -> bool:
        text = text_of(value, "true or false").lower()
        if text not in TRUE + FALSE:
            raise Wrong(f"{shown(value)} is not true or false")
        return text in TRUE

    return Kind("true or false", parse, lambda value: isinstance(value, bool), {"type": "boolean"})


def choice(names: Iterable[str], *, aliases: Mapping[str, str] | None = None, note: str = "") -> Kind:
    """One of the names, in any case. `aliases` (lower case) are other programs' words for them: not taken, but answered."""
    names = tuple(names)
    by_lower = {name.lower(): name for name in names}

    def parse(value: Raw) -> str:
        text = text_of(value, "one of the names")
        if text.lower() in by_lower:
            return by_lower[text.lower()]
        meant = (aliases or {}).get(text.lower()) or next((by_lower[n] for n in get_close_matches(text.lower(), by_lower, 1, 0.6)), None)
        raise Wrong(f"{shown(value)} is not one of the names", f"did you mean {meant}?" if meant else "")

    return Kind(", ".join(names) + (note and f" ({note})"), parse, lambda value: value in names, {"enum": list(names)}, choices=names)


def one_number_of(numbers: Iterable[int]) -> Kind:
    numbers = tuple(numbers)

    def parse(value: Raw) -> int:
        text = text_of(value, "one of the numbers")
        if text not in map(str, numbers):
            raise Wrong(f"{shown(value)} is not one of the numbers")
        return int(text)

    return Kind(", ".join(map(str, numbers)), parse, lambda value: value in numbers, {"enum": list(numbers)})


def text(allowed: str = "text") -> Kind:
    """Text as it was typed; a list of texts is joined by commas."""

    def parse(value: Raw) -> str:
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            return ", ".join(str(entry).strip() for entry in value)
        return text_of(value, "text")

    return Kind(allowed, parse, lambda value: isinstance(value, str), ANY_TEXT, is_text=True)


def pattern(regex: str, allowed: str, *, lower: bool = True, check: Callable[[str], str | None] | None = None) -> Kind:
    """Text of a form, as lower case where `lower`; `check` gives the reason why one of that form is still wrong."""

    def parse(value: Raw) -> str:
        typed = text_of(value, "text")
        typed = typed.lower() if lower else typed
        if not re.fullmatch(regex, typed):
            raise Wrong(f"{shown(value)} is not understood")
        if check and (reason := check(typed)):
            raise Wrong(f"{shown(value)} {reason}")
        return typed

    return Kind(allowed, parse, lambda value: isinstance(value, str), {"type": "string"})


def path(allowed: str, *, words: tuple[str, ...] = ()) -> Kind:
    """A path as typed; profile.py makes it absolute. `words` are not paths but have a meaning of their own."""

    def parse(value: Raw) -> str:
        typed = text_of(value, "a path")
        if not typed:
            raise Wrong("the path is empty")
        if any(ord(c) < 32 for c in typed):
            raise Wrong(f"{shown(value)} holds a line break or another control character")
        return typed

    return Kind(allowed, parse, lambda value: isinstance(value, str), {"type": "string"}, choices=words, is_path=True, is_text=True)

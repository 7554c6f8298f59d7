"""Kinds of values with a form of their own: warmup, holdout, sample size, seeds, prompts, colours, options of an optimizer.

Not here: the ordinary kinds (kinds.py).
"""

import re
from difflib import get_close_matches
from typing import Any

from PIL import ImageColor

from lorabake import paths, venvs
from lorabake.kinds import ANY_TEXT, Kind, Raw, Wrong, number, pattern, shown, text_of, whole

PROMPT_FILES = (".txt",)
SEED = whole(0, 2**32 - 1)


def file_name() -> Kind:
    """A file name that every system takes, without its extension."""

    def parse(value: Raw) -> str:
        typed = text_of(value, "a name")
        if typed.lower().endswith(".safetensors"):
            raise Wrong(f"{shown(value)} has the extension in it", f"{typed[: -len('.safetensors')]}; .safetensors is added")
        if reason := paths.check_name(typed):
            raise Wrong(f"{shown(value)} cannot be a file name: {reason}")
        return typed

    allowed = 'a file name without \\ / : * ? " < > |'
    return Kind(allowed, parse, lambda value: isinstance(value, str) and not paths.check_name(value), ANY_TEXT, is_text=True)


def stack() -> Kind:
    """A named pinned set: a folder of stacks/."""

    def parse(value: Raw) -> str:
        typed = text_of(value, "a name")
        found = {name.lower(): name for name in venvs.stacks(paths.STACK.parent)}
        if typed.lower() in found:
            return found[typed.lower()]
        close = get_close_matches(typed.lower(), found, 1)
        raise Wrong(
            f"{shown(value)} is none of the stacks here: {', '.join(found.values())}", f"did you mean {found[close[0]]}?" if close else ""
        )

    allowed = "current, or another folder of stacks/"
    return Kind(allowed, parse, lambda value: isinstance(value, str) and value != "", {"type": "string"}, is_text=True)


def share_or_count(noun: str, *, keep_percent: bool) -> Kind:
    """A whole number, a share below 1, or a percentage: as text with `keep_percent`, else as its share."""
    allowed = f"a whole number of {noun}, a share below 1 (0.05), or a percentage (5%)"

    def parse(value: Raw) -> int | float | str:
        typed = text_of(value, "a number").replace(" ", "")
        if typed.endswith("%"):
            try:
                percent = number(0, 99).parse(typed[:-1])
            except Wrong as wrong:
                raise Wrong(f"{shown(value)} is not a percentage below 100") from wrong
            return f"{percent:g}%" if keep_percent else percent / 100
        found = number(0, 10_000_000).parse(typed)
        if found != int(found) and found >= 1:
            raise Wrong(f"{shown(value)} is neither a whole number nor below 1")
        return int(found) if found == int(found) else found

    def fits(value: Any) -> bool:
        if isinstance(value, str):
            return keep_percent and re.fullmatch(r"\d+(\.\d+)?%", value) is not None
        return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and (value < 1 or value == int(value))

    return Kind(allowed, parse, fits, {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[0-9.]+ *%$"}]})


def size() -> Kind:
    """Sides of a sample picture in px: 512, 512x768 or [512, 768]."""
    side = whole(64, 4096, step=8)

    def parse(value: Raw) -> int | tuple[int, int]:
        sides = value if isinstance(value, list) else re.split(r"[x,]", text_of(value, "a size").lower())
        if not 1 <= len(sides) <= 2:
            raise Wrong(f"{shown(value)} is not a size")
        numbers = [side.parse(entry) for entry in sides]
        return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])

    def fits(value: Any) -> bool:
        return side.fits(value) if isinstance(value, int) else len(value) == 2 and all(side.fits(v) for v in value)

    pair = {"type": "array", "items": side.schema, "minItems": 2, "maxItems": 2}
    return Kind(
        "one side in px or WIDTHxHEIGHT, multiples of 8 from 64 to 4096",
        parse,
        fits,
        {"anyOf": [side.schema, {"type": "string", "pattern": "^[0-9]+ *x *[0-9]+$"}, pair]},
    )


def seeds() -> Kind:
    def parse(value: Raw) -> tuple[int, ...]:
        found = tuple(SEED.parse(entry) for entry in (value if isinstance(value, list) else [value]))
        if not found:
            raise Wrong("the list is empty")
        return found

    many = {"type": "array", "items": SEED.schema, "minItems": 1}
    return Kind(
        f"a list of whole numbers from 0 to {2**32 - 1}, for example [1, 2]",
        parse,
        lambda v: len(v) > 0 and all(map(SEED.fits, v)),
        {"anyOf": [SEED.schema, many]},
    )


def prompts() -> Kind:
    """A list of prompts, or the path of a kohya prompt file."""
    allowed = "a list of prompts, [] for no pictures, or the path of a prompt file (.txt, a prompt a line)"

    def parse(value: Raw) -> tuple[str, ...] | str:
        if isinstance(value, str):
            if not value.strip().lower().endswith(PROMPT_FILES):
                raise Wrong(f"{shown(value)} is neither a list nor a .txt file", f"for one prompt: [{shown(value)}]")
            return value.strip()
        if not isinstance(value, list):
            raise Wrong(f"{shown(value)} is not a list of prompts")
        found = tuple(text_of(entry, "a prompt") for entry in value)
        if not all(found):
            raise Wrong("a prompt in the list is empty", "leave the key out for prompts from the captions, or write [] for no pictures")
        return found

    def fits(value: Any) -> bool:
        return isinstance(value, str) or all(isinstance(entry, str) and entry for entry in value)

    schema = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string", "pattern": r"\.[tT][xX][tT]$"}]}
    return Kind(allowed, parse, fits, schema, is_path=True)


def colour() -> Kind:
    """What lies under transparent places: a colour as CSS names it, `dominant` or `checker`."""

    def check(typed: str) -> str | None:
        if typed in ("dominant", "checker"):
            return None
        try:
            return None if len(ImageColor.getrgb(typed)) == 3 else "has transparency of its own"
        except ValueError:
            return "is not a colour"

    allowed = 'a colour ("#ff8800" in quotes, or a name such as white), dominant, checker'
    return pattern(r".+", allowed, check=check)


def extension() -> Kind:
    plain = pattern(r"\.?[A-Za-z0-9_.-]+", "a file extension such as .txt", lower=False)

    def parse(value: Raw) -> str:
        return "." + str(plain.parse(value)).lstrip(".")

    return Kind(plain.allowed, parse, plain.fits, plain.schema)


def options() -> Kind:
    """Options of an optimizer: names with numbers, texts, true or false, or lists of numbers. A list of `name=value` is kohya's form."""

    def parse(value: Raw) -> dict[str, Any]:
        if isinstance(value, list):
            pairs = [text_of(entry, "name=value").partition("=") for entry in value]
            value = {name.strip(): setting.strip().strip("()") for name, _, setting in pairs}
        if not isinstance(value, dict):
            raise Wrong(f"{shown(value)} is not a group of options", "{weight_decay: 0.01}")
        return {name: _option(name, setting) for name, setting in value.items()}

    return Kind(
        "options by name, for example {weight_decay: 0.01, betas: [0.9, 0.99]}",
        parse,
        lambda v: isinstance(v, dict),
        {"type": ["object", "array"]},
    )


def _option(name: str, value: Raw) -> Any:
    if isinstance(value, str) and "," in value:
        value = [*value.split(",")]
    if isinstance(value, list):
        return tuple(float(number(-1e9, 1e9).parse(entry)) for entry in value)
    if not isinstance(value, str):
        raise Wrong(f"option {name} has {shown(value)}")
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value

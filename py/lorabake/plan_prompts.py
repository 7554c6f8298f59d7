"""What sample pictures are drawn of: prompts typed in the profile, lines of a kohya prompt file, or three typical captions.

Not here: `<lora:name:weight>` inside a prompt (the sampler reads it), drawing (sampler.py).
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorabake.errors import UserError
from lorabake.settings import KOHYA_SAMPLERS, SAMPLERS, Samples

NUM_AUTO = 3
LEAST_SIDE_PX, SIDE_STEP_PX = 64, 8
OTHER_CAPTION_WEIGHT = 0.7  # how much a caption loses for being like one that is already chosen
OPTION = re.compile(r"([a-z]+)(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)
NUMBERS = {"w": "width", "h": "height", "d": "seed", "s": "steps"}
NO_MEANING = {"g": "distilled guidance", "cn": "control picture", "ctr": "renewed guidance", "rcfg": "renewed guidance", "fs": "flow shift"}


@dataclass(frozen=True)
class Prompt:
    """One sample picture to draw; sizes in px."""

    prompt: str
    negative: str
    width: int
    height: int
    seed: int
    steps: int
    cfg: float
    sampler: str


def tags_of(caption: str) -> list[str]:
    """The pieces that captions have in common: tags by commas, else words."""
    pieces = caption.split(",") if "," in caption else caption.split()
    return list(dict.fromkeys(piece.strip().lower() for piece in pieces if piece.strip()))


def typical(captions: Sequence[str], count: int = NUM_AUTO) -> tuple[str, ...]:
    """The captions that stand best for all: nearest to the mean of all (cosine over their tags), each unlike those before it.

    Deterministic: equal ones go by their text.
    """
    distinct = sorted({caption.strip() for caption in captions if caption.strip()})
    tags = {caption: tags_of(caption) for caption in distinct}
    times = Counter(caption.strip() for caption in captions)
    frequency: Counter[str] = Counter()
    for caption in distinct:
        frequency.update(dict.fromkeys(tags[caption], times[caption]))
    total = math.sqrt(sum(n * n for n in frequency.values())) or 1.0
    fit = {c: sum(frequency[t] for t in tags[c]) / (math.sqrt(len(tags[c]) or 1) * total) for c in distinct}
    chosen: list[str] = []
    while len(chosen) < min(count, len(distinct)):
        likeness = {c: max((_alike(tags[c], tags[other]) for other in chosen), default=0.0) for c in distinct}
        chosen.append(max((c for c in distinct if c not in chosen), key=lambda c: fit[c] - OTHER_CAPTION_WEIGHT * likeness[c]))
    return tuple(chosen)


def _alike(one: Sequence[str], other: Sequence[str]) -> float:
    """Share of common tags (Jaccard)."""
    union = len({*one, *other})
    return len({*one} & {*other}) / union if union else 0.0


def size_of(samples: Samples, resolution: int) -> tuple[int, int]:
    """Width and height of sample pictures; auto is the family's, or the base model's own."""
    if samples.size is None:
        return resolution, resolution
    return (samples.size, samples.size) if isinstance(samples.size, int) else samples.size


def make(samples: Samples, captions: Sequence[str], *, fallback: str, resolution: int) -> tuple[tuple[Prompt, ...], list[str]]:
    """(a Prompt per text and seed, remarks). `fallback` is drawn when no caption says anything.

    Raises UserError for a prompt file that is missing or empty, and for an option that cannot be read, with its line.
    """
    if samples.prompts is None:
        lines = [("", text) for text in typical(captions) or (fallback,)]
    elif isinstance(samples.prompts, str):
        lines = read_file(Path(samples.prompts))
    else:
        lines = [("samples.prompts", text) for text in samples.prompts]
    width, height = size_of(samples, resolution)
    remarks: list[str] = []
    found: list[Prompt] = []
    for where, line in lines:
        plain = Prompt("", samples.negative, width, height, -1, samples.steps, samples.cfg, samples.sampler)
        # A caption is no line of options: whatever dashes it holds are its own.
        prompt = parse(line, plain, where=where, remarks=remarks) if where else replace(plain, prompt=line)
        seeds = samples.seeds if prompt.seed < 0 else (prompt.seed,)
        found += [replace(prompt, seed=seed) for seed in seeds]
    return tuple(found), remarks


def read_file(path: Path) -> list[tuple[str, str]]:
    """(file and line, text) of each prompt of a .txt file; lines that are empty or begin with # are left out."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(
            "there is no such prompt file", where=f"samples.prompts: {path}", todo="correct the path, or list the prompts there"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"this prompt file is not UTF-8 (byte {error.start})", where=str(path), todo="save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"this prompt file cannot be read: {error.strerror}", where=str(path), todo="allow reading it") from error
    lines = [(f"{path.name}:{number}", line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(where, line) for where, line in lines if line and not line.startswith("#")]
    if not lines:
        raise UserError(
            "this prompt file holds no prompts", where=str(path), todo="write one prompt per line, or leave samples.prompts out"
        )
    return lines


def parse(line: str, defaults: Prompt, *, where: str, remarks: list[str]) -> Prompt:
    """A prompt with kohya's options behind it: ` --n negative --w 512 --h 768 --d seed --l cfg --s steps --ss sampler`."""
    text, *options = re.split(r"\s+--(?=[A-Za-z]+(?:\s|$))", f" {line}")
    changes: dict[str, str | int | float] = {"prompt": text.strip()}
    for option in options:
        match = OPTION.fullmatch(option.strip())
        assert match, "the split leaves letters first"
        name, value = match[1].lower(), (match[2] or "").strip()
        if name == "n":
            changes["negative"] = value
        elif name == "l":
            changes["cfg"] = _number(value, name, where)
        elif name in NUMBERS:
            changes[NUMBERS[name]] = _whole(value, name, where)
        elif name == "ss":
            changes["sampler"] = _sampler(value, defaults.sampler, where, remarks)
        else:
            remarks.append(f"{where}: --{name} {value} has no effect here" + (f" ({NO_MEANING[name]})" if name in NO_MEANING else ""))
    return replace(defaults, **changes)  # type: ignore[arg-type]


def _number(value: str, name: str, where: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 100:
        raise UserError(f'--{name} "{value}" is not a number from 0 to 100', where=where, todo=f"--{name} 7.5")
    return number


def _whole(value: str, name: str, where: str) -> int:
    """Sizes are rounded down to multiples of 8, at least 64, as the reference does."""
    limits = {"w": (1, 4096), "h": (1, 4096), "d": (0, 2**32 - 1), "s": (1, 1000)}
    low, high = limits[name]
    if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
        raise UserError(
            f'--{name} "{value}" is not a whole number from {low} to {high}', where=where, todo=f"--{name} {512 if name in 'wh' else 20}"
        )
    return max(LEAST_SIDE_PX, int(value) // SIDE_STEP_PX * SIDE_STEP_PX) if name in "wh" else int(value)


def _sampler(value: str, default: str, where: str, remarks: list[str]) -> str:
    known = value.lower() if value.lower() in SAMPLERS else KOHYA_SAMPLERS.get(value.lower())
    if known is None:
        remarks.append(f"{where}: sampler {value} is not known here, {default} draws instead")
    return known or default

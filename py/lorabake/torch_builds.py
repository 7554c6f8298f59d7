"""Which build of torch suits the NVIDIA card: the rows of stacks/current/torch.json, chosen by driver and compute capability.

Not here: asking the cards (hardware.py) and installing (installer.py). Standard library only.
"""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from lorabake import paths
from lorabake.errors import UsageError
from lorabake.hardware import Card, Seen

TABLE = paths.STACK / "torch.json"
PROBE_TIMEOUT_S = 5
OWN_INDEX = "own index"  # the row after all others: whatever pip is set to use
UPDATE_DRIVER = "update the driver (nvidia.com/drivers; Windows: the NVIDIA app), restart, then run setup again"
MEANWHILE = f"{UPDATE_DRIVER}; torch's CPU build meanwhile"


@dataclass(frozen=True)
class Build:
    """One row: `compute` is the served range, ends included, None for the CPU; `driver` the oldest one; `index` '' is pip's own index."""

    name: str
    version: str
    index: str
    compute: tuple[tuple[int, int], tuple[int, int]] | None
    driver: tuple[int, ...]
    own_driver: tuple[int, ...]
    onnxruntime: str = ""  # the one that suits this CUDA release, in place of the pinned one

    @property
    def requirement(self) -> str:
        """What pip is asked for: 'torch==2.13.0+cu130', or without the part after + where pip's own index decides."""
        return f"torch=={self.version}+{self.name}" if self.index else f"torch=={self.version}"


@dataclass(frozen=True)
class Choice:
    """Builds in the order to try them, why, and a warning for the person ('' for none)."""

    builds: tuple[Build, ...]
    reason: str
    warning: str = ""
    asked: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(build.name for build in self.builds)


def rows(*, windows: bool = os.name == "nt", table: Path = TABLE) -> tuple[Build, ...]:
    """The table as builds for Windows or Linux."""
    data = json.loads(table.read_text(encoding="utf-8"))
    system = "windows" if windows else "linux"
    return tuple(
        Build(
            name=row["name"],
            version=data["version"],
            index=row["index"],
            compute=(_pair(row["compute"][0]), _pair(row["compute"][1])) if row["compute"] else None,
            driver=_numbers(row["driver"][system]) if row["driver"] else (),
            own_driver=_numbers(row["own_driver"][system]) if row["own_driver"] else (),
            onnxruntime=row.get("onnxruntime", ""),
        )
        for row in data["builds"]
    )


def line_of(table: Path) -> str:
    """A stack in one line: its torch, and the cards it is "for", where its table says so."""
    data = json.loads(table.read_text(encoding="utf-8"))
    return f"torch {data['version']}" + (f", {data['for']}" if data.get("for") else "")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _pair(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def version_text(numbers: tuple[int, ...]) -> str:
    """(560, 28, 3) -> '560.28.03'."""
    return ".".join([str(numbers[0]), *(f"{part:02}" for part in numbers[1:])])


def choose(seen: Seen, table: tuple[Build, ...], *, asked: str | None = None) -> Choice:
    """The builds to try for what nvidia-smi answered, the CPU's last; `asked` (--torch) names one row. Raises UsageError."""
    processor = tuple(build for build in table if build.compute is None)
    own = Build(OWN_INDEX, table[0].version, "", None, (), ())
    if asked and asked != "auto":
        named = tuple(build for build in table if build.name == asked)
        if not named:
            raise UsageError(f'no torch build "{asked}"', allowed=f"--torch takes auto, {', '.join(build.name for build in table)}")
        return Choice(named + ((own,) if asked == "cpu" else ()), f"{asked} was asked for", asked=True)
    if not seen.cards:
        warning = f"{seen.problem}\n  {MEANWHILE}" if seen.problem else ""
        return Choice((*processor, own), "no NVIDIA card", warning)
    card = max(seen.cards, key=lambda one: (one.vram_gib, -one.index))
    fitting = [build for build in table if _serves(build, card) and card.driver >= build.driver]
    fitting.sort(key=lambda build: not all(_serves(build, other) for other in seen.cards))  # one build for all cards where there is one
    what = f"{card.name}, compute {card.compute_text}, driver {card.driver_text}"
    if not fitting:
        return Choice((*processor, own), f"{what}: no CUDA build fits", why_none(card, table))
    first = fitting[0]
    warning = ""
    if card.driver < first.own_driver:
        own_driver = version_text(first.own_driver)
        warning = (
            f"driver {card.driver_text} is older than the one {first.name} came with ({own_driver}); if it gives trouble: {UPDATE_DRIVER}"
        )
    return Choice((*fitting, *processor, own), what, warning)


def _serves(build: Build, card: Card) -> bool:
    return build.compute is not None and build.compute[0] <= card.compute <= build.compute[1]


def why_none(card: Card, table: tuple[Build, ...]) -> str:
    """The sentence for a card that no CUDA build fits: its driver is too old, or it is too old (or too new) itself."""
    serving = [build for build in table if _serves(build, card)]
    if serving:
        needed = version_text(min(build.driver for build in serving))
        return f"driver {card.driver_text} of the {card.name} is too old: {needed} or newer is needed\n  {MEANWHILE}"
    if card.compute == (0, 0):
        return f"the {card.name} is not known, and its driver {card.driver_text} is old\n  {MEANWHILE}"
    oldest = min(build.compute[0] for build in table if build.compute)
    if card.compute < oldest:
        generation = f"compute {card.compute_text}; {'.'.join(map(str, oldest))} (GTX 750, GTX 9xx) is the oldest"
        return f"the {card.name} is too old for torch {table[0].version} ({generation}): this bakes on the CPU"
    return f"the {card.name} is newer than torch {table[0].version} knows (compute {card.compute_text}): this bakes on the CPU for now"


def probe(build: Build) -> str | None:
    """None when the build's index answers within five seconds, else why not. pip's own index is not asked: pip's settings are its own."""
    if not build.index:
        return None
    if os.environ.get("PIP_NO_INDEX", "").strip().lower() not in {"", "0", "false", "no", "off"}:
        return "pip is set to use no index"
    certificates = os.environ.get("PIP_CERT") or None
    request = urllib.request.Request(f"{build.index}/torch/", method="HEAD", headers={"User-Agent": "lorabake-setup"})
    try:
        context = ssl.create_default_context(cafile=certificates)
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S, context=context):
            return None
    except urllib.error.HTTPError as error:
        return f"it answers {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return str(reason) or type(error).__name__

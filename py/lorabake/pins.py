"""Which versions are installed in an environment, and which of them are not those of the pinned set.

Not here: whether a package's files are whole (installer.py) and whether they load (doctor_probe.py). Standard library only.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lorabake import torch_builds, venvs

PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)\s*(?:;\s*(.+))?$")
ONLY_WINDOWS = 'sys_platform == "win32"'
ONNXRUNTIME = "onnxruntime"


@dataclass(frozen=True)
class Difference:
    """One package that is not as pinned; `found` is '' where it is missing."""

    name: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.name} {self.found} in place of {self.wanted}" if self.found else f"{self.name} {self.wanted} is missing"


def plain(name: str) -> str:
    """A package's name as pip compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(library: Path) -> dict[str, str]:
    """{plain name: version} of a site-packages folder, read as files: nothing is imported. A damaged entry is left out."""
    found = {}
    for one in importlib.metadata.distributions(path=[str(library)]):
        name = one.metadata["Name"] if one.metadata else None
        version = one.metadata["Version"] if one.metadata else None
        if name and version:
            found[plain(name)] = version
    return found


def wanted(stack: Path, *, row: str = "", windows: bool = sys.platform == "win32") -> dict[str, str]:
    """{plain name: version} of the pinned set on this system, with torch and, for the row of torch.json, its onnxruntime."""
    pinned = {}
    for line in (stack / venvs.REQUIREMENTS).read_text(encoding="utf-8").splitlines():
        found = PIN.match(line.split("#")[0].strip())
        if found and (not found[3] or (found[3].strip() == ONLY_WINDOWS and windows)):  # any other marker is pip's to judge
            pinned[plain(found[1])] = found[2]
    pinned["torch"] = str(json.loads((stack / venvs.TORCH).read_text(encoding="utf-8"))["version"])
    for build in torch_builds.rows(windows=windows, table=stack / venvs.TORCH):
        if build.name == row and build.onnxruntime:
            name, _, version = build.onnxruntime.partition("==")
            pinned.pop(ONNXRUNTIME, None)
            pinned[plain(name)] = version
    return pinned


def differences(found: dict[str, str], pinned: dict[str, str]) -> list[Difference]:
    """What is missing or of another version; the part after + is the build's, and torch's is chosen for the card."""
    wrong = []
    for name, version in sorted(pinned.items()):
        here = found.get(name, "")
        if name.startswith(ONNXRUNTIME) and not here:
            # the card's onnxruntime gives way to the plain one where it does not load, and nothing else is amiss then
            other = next((one for one in (ONNXRUNTIME, "onnxruntime-gpu") if one in found), "")
            if other:
                continue
        if here.split("+")[0] != version.split("+")[0]:
            wrong.append(Difference(name, version, here))
    return wrong

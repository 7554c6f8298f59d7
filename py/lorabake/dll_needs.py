"""What a build of torch needs on Windows (stacks/NAME/dlls.json), whether the DLLs that are there fit, and what to put in their place.

cuDNN is the one that goes wrong: old guides have people copy one over torch's own. NVIDIA's recent DLLs name a foreign company in their
version resource, so product and copyright tell whose they are. Not here: reading and writing the DLLs (dll_files.py).
Standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "dlls.json"
WHERE = "torch/lib"
CUDNN = re.compile(r"cudnn(_\w+?)?64_(\d+)\.dll", re.IGNORECASE)
PRODUCT, MAKER = "cudnn", "nvidia"


@dataclass(frozen=True)
class Wheel:
    """A wheel of NVIDIA's on PyPI; `dlls` maps each DLL in its `folder` to (size in bytes, SHA-256)."""

    package: str
    version: str
    file: str
    size: int
    sha256: str
    folder: str
    dlls: dict[str, tuple[int, str]]

    @property
    def requirement(self) -> str:
        """A line for pip's --require-hashes."""
        return f"{self.package}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class Need:
    """A row: `oldest` is the cuDNN torch was compiled with, `below` the first too new one (() for none); `wheel` None without cuDNN."""

    build: str
    cuda: str
    wheel: Wheel | None
    oldest: tuple[int, ...]
    below: tuple[int, ...]
    bitsandbytes: str
    onnxruntime_cuda: int

    @property
    def generation(self) -> str:
        """'9' of cudnn64_9.dll."""
        return str(self.oldest[0]) if self.oldest else ""


@dataclass(frozen=True)
class Found:
    """A DLL in torch/lib. `own`: torch's wheel brought this very file, by its RECORD; `put`: we did; `trouble`: why it is unreadable."""

    name: str
    size: int
    numbers: tuple[int, ...] = ()
    whose: str = ""
    own: bool = False
    put: bool = False
    trouble: str = ""

    @property
    def text(self) -> str:
        """'9.20.0.48'."""
        return ".".join(map(str, self.numbers)) or "of no version"


@dataclass(frozen=True)
class Problem:
    """What is wrong; `fatal`: torch cannot load it, or refuses it, so setup mends it. Else it may load, and is only named."""

    text: str
    fatal: bool = True


@dataclass(frozen=True)
class Change:
    """One step: `name` is taken from the wheel, or set aside where the wheel has none of that name."""

    name: str
    take: bool


def read(stack: Path) -> dict[str, Need]:
    """The rows of a stack by the build's name; {} for a stack without the file."""
    path = stack / MANIFEST
    if not path.is_file():
        return {}
    data = json.loads(path.read_text(encoding="utf-8"))
    wheels = {name: _wheel(row) for name, row in data["cudnn"].items()}
    return {name: _need(name, row, wheels) for name, row in data["builds"].items()}


def _wheel(row: dict[str, Any]) -> Wheel:
    dlls = {name: (facts["size"], facts["sha256"]) for name, facts in row["dlls"].items()}
    return Wheel(row["package"], row["version"], row["wheel"], row["size"], row["sha256"], row["folder"], dlls)


def _need(name: str, row: dict[str, Any], wheels: dict[str, Wheel]) -> Need:
    return Need(
        build=name,
        cuda=row["cuda"] or "",
        wheel=wheels[row["cudnn"]] if row["cudnn"] else None,
        oldest=numbers(row["from"] or ""),
        below=numbers(row["below"] or ""),
        bitsandbytes=row["bitsandbytes"],
        onnxruntime_cuda=row["onnxruntime_cuda"] or 0,
    )


def numbers(text: str) -> tuple[int, ...]:
    """'9.20.0' -> (9, 20, 0)."""
    return tuple(int(part) for part in text.split(".")) if text else ()


def build_of(version_py: str) -> str:
    """The build's name by the text of torch/version.py: 'cu130', or 'cpu' where torch was built without CUDA."""
    found = re.search(r"^cuda\b[^=]*=\s*'(\d+)\.(\d+)'", version_py, re.MULTILINE)
    return f"cu{found[1]}{found[2]}" if found else "cpu"


def whose(texts: dict[str, str]) -> str:
    """'' for NVIDIA's cuDNN, else what its version resource says. Not by CompanyName: NVIDIA's own name another's since 9.10."""
    product = texts.get("ProductName") or texts.get("FileDescription") or ""
    copyright_ = texts.get("LegalCopyright", "")
    if PRODUCT in product.casefold() and MAKER in copyright_.casefold():
        return ""
    return " / ".join(filter(None, (product, copyright_))) or "nobody's"


def judge(need: Need, found: Sequence[Found]) -> list[Problem]:
    """What is wrong with the cuDNN in torch/lib, [] when it fits. Relics of other generations (cudnn64_8.dll) do no harm."""
    if need.wheel is None:
        return []
    ours = [dll for dll in found if generation_of(dll.name) == need.generation]
    problems = [Problem(f"{WHERE}/{dll.name} {dll.trouble}") for dll in ours if dll.trouble]
    sound = [dll for dll in ours if not dll.trouble]
    foreign = [dll for dll in sound if dll.whose and not (dll.own or dll.put)]
    problems += [Problem(f"{WHERE}/{dll.name} is not NVIDIA's: {dll.whose}", fatal=False) for dll in foreign]
    lacking = sorted(set(need.wheel.dlls) - {dll.name.lower() for dll in ours})
    if lacking and not any(dll.own for dll in ours):  # a torch that brings its own knows best which there are
        others = sorted({generation_of(dll.name) for dll in found} - {need.generation})
        beside = f"; there is generation {', '.join(others)}, which this torch cannot use" if others and not ours else ""
        problems.append(Problem(f"{WHERE} lacks {listed(lacking)}{beside}"))
    return problems + _by_version(need, [dll for dll in sound if dll.numbers and dll not in foreign])


def _by_version(need: Need, found: Sequence[Found]) -> list[Problem]:
    older = [dll for dll in found if dll.numbers[: len(need.oldest)] < need.oldest]
    newer = [dll for dll in found if need.below and dll.numbers >= need.below]
    wanted = ".".join(map(str, need.oldest))
    if older:
        named = listed([dll.name for dll in older])
        return [Problem(f"{named}: version {older[0].text} is older than {wanted}, which this torch was made with")]
    if newer:
        first = ".".join(map(str, need.below))
        named = listed([dll.name for dll in newer])
        return [Problem(f"{named}: version {newer[0].text} leaves out cards that this torch serves (from {first} on)", fatal=False)]
    versions = sorted({dll.numbers for dll in found})
    if len(versions) > 1:
        told = " and ".join(".".join(map(str, version)) for version in versions)
        return [Problem(f"{WHERE} mixes cuDNN {told}: they only work as one set")]
    return []


def generation_of(name: str) -> str:
    """'9' of cudnn_ops64_9.dll, '8' of cudnn_ops_infer64_8.dll, '' for another library."""
    found = CUDNN.fullmatch(name)
    return found[2] if found else ""


def listed(names: Sequence[str]) -> str:
    """Three names at most, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def plan(need: Need, found: Sequence[Found]) -> list[Change]:
    """What makes torch/lib hold the wheel's cuDNN and no other of its generation; [] when all of it is there already."""
    if need.wheel is None:
        return []
    there = {dll.name.lower(): dll for dll in found if generation_of(dll.name) == need.generation}
    same = {name for name, (size, _) in need.wheel.dlls.items() if name in there and there[name].put and there[name].size == size}
    take = [Change(name, True) for name in sorted(need.wheel.dlls) if name not in same]
    aside = [Change(there[name].name, False) for name in sorted(there) if name not in need.wheel.dlls]
    return [*take, *aside]

"""Training states: everything a run needs to go on in the same weights, written aside, checksummed, then renamed.

A state is a folder `state/<step>` with the LoRA in fp32, the optimizer's tensors and `state.json` (progress and the checksums of the
other files). The two newest whole ones are kept; a damaged one is passed over. Not here: when a state is due (bake.py).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save_file

from lorabake import paths

KEPT = 2


@dataclass(frozen=True)
class State:
    """`progress`: JSON-able counters; `tensors`: the LoRA in fp32 by full key; `optimizer`: its state_dict()."""

    progress: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    optimizer: dict[str, Any]


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def flush(path: Path) -> None:
    """Ask the system to put the file on the disk before the rename makes it count."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def save(folder: Path, state: State) -> Path:
    """Write `<folder>/<step>`; older states beyond the two newest go afterwards, never before."""
    step = int(state.progress["step"])
    final, aside = folder / f"{step:08d}", folder / f"_tmp-{os.getpid()}-{step:08d}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    save_file({k: v.detach().cpu().contiguous() for k, v in state.tensors.items()}, aside / "lora.safetensors")
    torch.save(state.optimizer, aside / "optimizer.pt")
    files = {}
    for name in ("lora.safetensors", "optimizer.pt"):
        flush(aside / name)
        files[name] = checksum(aside / name)
    record = {"progress": state.progress, "files": files}
    (aside / "state.json").write_text(json.dumps({**record, "sha256": record_digest(record)}, indent=1), encoding="utf-8")
    flush(aside / "state.json")
    if final.exists():
        # Made by this run before it was interrupted. The new one is whole; swap by way of a name that is never read.
        old = folder / f"_old-{os.getpid()}-{step:08d}"
        paths.move(final, old)
        paths.move(aside, final)
        shutil.rmtree(old, ignore_errors=True)
    else:
        paths.move(aside, final)
    sweep(folder)
    return final


def steps(folder: Path) -> list[int]:
    """Steps of the states that stand under a final name, newest first; they may still be damaged."""
    if not folder.is_dir():
        return []
    return sorted((int(p.name) for p in folder.iterdir() if p.is_dir() and p.name.isdigit()), reverse=True)


def sweep(folder: Path) -> None:
    """Drop states beyond the two newest and what a kill left half made. One that another program looks into goes next time, whole."""
    for step in steps(folder)[KEPT:]:
        with suppress(OSError):
            (folder / f"{step:08d}").replace(folder / f"_old-{os.getpid()}-{step:08d}")
    for leftover in folder.iterdir():
        if leftover.name.startswith(("_tmp-", "_old-")):
            shutil.rmtree(leftover, ignore_errors=True)


def load(folder: Path) -> State:
    """Read one state folder; ValueError when it is not whole."""
    try:
        record = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if record_digest({key: record[key] for key in ("progress", "files")}) != record["sha256"]:
            raise ValueError("state.json does not match its checksum")
        for name, expected in record["files"].items():
            if checksum(folder / name) != expected:
                raise ValueError(f"{name} does not match its checksum")
        tensors = read_tensors((folder / "lora.safetensors").read_bytes())  # a mapped file Windows could not delete
        optimizer = torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True)
        return State(record["progress"], tensors, optimizer)
    except (OSError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(str(error)) from error


def newest(folder: Path, complain: Callable[[str], None]) -> State | None:
    """The newest whole state, or None. Each damaged one is reported through `complain` and passed over."""
    for step in steps(folder):
        try:
            return load(folder / f"{step:08d}")
        except ValueError as error:
            complain(f"the state of step {step} is damaged ({error}); going back to the one before")
    return None


def to_device(optimizer_state: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an optimizer's state_dict with its tensors on the CPU, so that any machine can read it."""

    def move(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.detach().cpu().clone()
        if isinstance(value, Mapping):
            return {k: move(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [move(v) for v in value]
        return value

    return {key: move(value) for key, value in optimizer_state.items()}

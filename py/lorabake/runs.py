"""Run folders: which one a bake continues, what a run is, and how an earlier run's files make room.

A run IS the hash of the plan's training-relevant fields and of the content of pictures and captions (design.md, "A run"). Not here:
the training state (states.py) and what happens inside a run (bake.py).
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorabake import paths
from lorabake.errors import UserError

LENGTH_KEYS = ("total_steps", "epochs")  # raising these continues a run instead of starting another


@dataclass(frozen=True)
class Decision:
    """What to do: `new`, `continue` or `done`, in which folder, and what differs from the run before (key -> (then, now))."""

    kind: str
    folder: Path
    differences: dict[str, tuple[Any, Any]]


def runs_folder(output: str | Path, name: str) -> Path:
    return Path(output) / f"{name}.runs"


def run_folders(output: str | Path, name: str) -> list[Path]:
    """Existing run folders, oldest first."""
    folder = runs_folder(output, name)
    found = [p for p in paths.visible(folder) if p.is_dir() and p.name.isdigit()] if folder.is_dir() else []
    return sorted(found, key=lambda p: int(p.name))


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"seed": 1}} -> {"train.seed": 1}, for comparing and showing."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = value
    return out


def read_json(path: Path) -> dict[str, Any]:
    """The file's object, or {} where it is missing or damaged (a power cut may leave it so)."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def decide(output: str, name: str, identity: Mapping[str, Any], *, fresh: bool = False) -> Decision:
    """Compare with the newest run. `identity` is what the plan and the pictures' content give, JSON-able."""
    existing = run_folders(output, name)
    new = runs_folder(output, name) / f"{int(existing[-1].name) + 1 if existing else 1:03d}"
    if not existing:
        return Decision("new", new, {})
    latest = existing[-1]
    before = flat(read_json(latest / "run.json").get("identity", {}))
    now = flat(json.loads(json.dumps(identity)))
    changed = {key: (before.get(key), now.get(key)) for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)}
    finished = read_json(latest / "result.json").get("status") == "done"
    longer = all(key in LENGTH_KEYS and int(then or 0) < int(value or 0) for key, (then, value) in changed.items())
    if fresh or not longer:
        return Decision("new", new, changed)
    if finished and not changed:
        return Decision("done", latest, {})
    return Decision("continue", latest, changed)


def content_identity(files: Mapping[str, str], captions: Mapping[str, str]) -> str:
    """One hash over the pictures' content hashes and captions, by position-independent name."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{files[name]}\0{captions[name]}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def begin(decision: Decision, identity: Mapping[str, Any], output: str, name: str) -> None:
    """Make the run folder and its run.json; a new run first moves what stands under its names out of the way."""
    if decision.kind == "new":
        make_room(Path(output), name, decision.folder)
        decision.folder.mkdir(parents=True)
    record = {"identity": identity, "name": name, "started_at": time.time()}
    before = read_json(decision.folder / "run.json")
    record["started_at"] = before.get("started_at", record["started_at"])
    paths.write_json(decision.folder / "run.json", record)


def own_files(output: Path, name: str) -> list[Path]:
    """The LoRA files and pictures in the output folder that carry this name: name, name-000001, name-step00000001."""
    if not output.is_dir():
        return []
    found = []
    for path in paths.visible(output):
        stem = path.name.removesuffix(".safetensors").removesuffix(".preview.png")
        tail = stem.removeprefix(name)
        is_ours = stem == name or (
            stem.startswith(name) and (tail[1:].isdigit() or tail.removeprefix("-step").isdigit()) and tail[0] == "-"
        )
        if path.is_file() and stem != path.name and is_ours:
            found.append(path)
    return found


def make_room(output: Path, name: str, new_folder: Path) -> None:
    """Move files of this name into the run they came from, or, where no run of ours made them, into `earlier-<time>`: never lost."""
    files = own_files(output, name)
    if not files:
        return
    runs = run_folders(output, name)
    target = runs[-1] if runs else new_folder.parent / f"earlier-{time.strftime('%Y%m%d-%H%M%S')}"
    target.mkdir(parents=True, exist_ok=True)
    moved: list[tuple[Path, Path]] = []
    for file in files:
        place = target / file.name
        if place.exists():
            place = target / f"{file.stem}-{time.time_ns()}{file.suffix}"
        try:
            paths.move(file, place)
        except PermissionError as error:
            for before, after in moved:  # all or none: half a set would look as if the rest was never baked
                paths.move(after, before)
            raise UserError(
                f"{file.name} cannot be moved, another program has it open",
                where=str(file),
                todo="close the web UI or unload the LoRA, then start again",
            ) from error
        moved.append((file, place))

"""LoRAs baked into a Diffusers folder: a copy of the folder in which the parts that the LoRAs change are new.

Made under a temporary name beside it, which becomes the final one at the end. Each changed part comes out as one .safetensors file.
"""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lorabake import merge_into, modelfile, paths
from lorabake.merge_into import Merger

WEIGHTS = (".safetensors", ".bin", ".ckpt", ".msgpack", ".h5", ".onnx", ".pb")
NAMES = {"unet": "diffusion_pytorch_model.safetensors"}
TEXT_NAME = "model.safetensors"
METADATA = {"format": "pt"}  # transformers refuses a file without it


def write(merger: Merger, out: Path, record: Mapping[str, str]) -> int:
    """The folder `out`, complete or not at all; returns its size in bytes. Raises DiskFull before anything is written."""
    source = merger.source
    changed = sorted({name.partition("/")[0] for name in source.names() if name in merger.changes})
    copied = [path for path in _files(source.path) if _is_copied(path.relative_to(source.path), source.path, changed)]
    specs = {name: merger.spec(name) for name in source.names() if name.partition("/")[0] in changed}
    need = sum(path.stat().st_size for path in copied) + sum(spec.num_bytes() for spec in specs.values())
    paths.require_room(out, need)
    aside = paths.aside_of(out)
    try:
        for path in copied:
            target = aside / path.relative_to(source.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            paths.flush(target)
        for part in changed:
            names = {name.partition("/")[2]: name for name in specs if name.startswith(f"{part}/")}
            merge_into.write(merger, aside / part / NAMES.get(part, TEXT_NAME), names, {**METADATA, **record})
        os.rename(aside, out)  # noqa: PTH104  (never over a folder that is there)
    finally:
        with suppress(OSError):
            shutil.rmtree(aside)
    paths.flush_folder(out.parent)
    return need


def _files(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and not any(name.startswith(".") for name in path.parts[len(folder.parts) :])
    )


def _is_copied(path: Path, folder: Path, changed: list[str]) -> bool:
    """All that is no weight, and the weights that are used of parts that stay. Not other variants (fp16, EMA): they would be the old ones.

    Nor whole checkpoints that lie beside the parts.
    """
    is_index = ".index." in path.name
    if not path.name.endswith(WEIGHTS) and not is_index:
        return True
    part = path.parts[0]
    if len(path.parts) == 1 or part in changed:
        return False
    return part not in modelfile.ALL_PARTS or is_index or folder / path in modelfile.part_files(folder / part)

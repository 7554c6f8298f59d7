"""Model files in and LoRA files out: safetensors mapped into memory, old checkpoints through torch's weights-only loader.

Not here: headers and the sentences for broken downloads (modelfile.py), names and families (families/), metadata (metadata.py).
"""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file

from lorabake import hashes, modelfile, pickles
from lorabake.errors import Diverged, UserError
from lorabake.paths import replacing

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def read_header(path: Path) -> tuple[dict[str, modelfile.Entry], dict[str, str]]:
    """(tensor name -> dtype, shape, place; metadata) of a .safetensors file. Raises UserError for anything else."""
    header = modelfile.read_header(path)
    return header.entries, header.metadata


def load_checkpoint(path: Path, *, only: Callable[[str], bool] | None = None) -> dict[str, torch.Tensor]:
    """Tensors by name, on the CPU and still in the file: bytes are read when a tensor is used, so convert and drop them.

    `only` chooses names. Raises UserError for everything that is no whole model file, and for a pickle that asks for more than
    tensors and the short list of training bookkeeping in pickles.py.
    """
    if modelfile.file_format(path) == "ckpt":
        return _load_pickle(path, only)
    modelfile.read_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if only is None or only(name)}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"this .safetensors file is damaged ({error})", where=str(path), todo="download it again") from error


def _load_pickle(path: Path, only: Callable[[str], bool] | None) -> dict[str, torch.Tensor]:
    unknown = pickles.outline(path).unknown()
    if unknown:
        raise pickles.refuse_unknown(path, unknown)
    stand_ins: list[Any] = [(pickles.Inert, name) for name in sorted(pickles.BOOKKEEPING)]
    stand_ins.append((pickles.Parameters, pickles.PARAMETERS))
    try:
        with torch.serialization.safe_globals(stand_ins):
            loaded = torch.load(str(path), map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)
    except (*pickles.MALFORMED, RuntimeError, MemoryError) as error:
        raise UserError(
            f"torch's weights-only loader refused this file ({str(error)[:160].splitlines()[0] if str(error) else type(error).__name__})",
            where=str(path),
            todo="look for a .safetensors of the same model",
        ) from error
    return {name: tensor.detach() for name, tensor in pickles.named(loaded, torch.Tensor) if only is None or only(name)}


def save_lora(path: Path, tensors: Mapping[str, torch.Tensor], *, metadata: Mapping[str, str], precision: str) -> dict[str, str]:
    """Write a LoRA in `precision` (fp32, fp16, bf16) under its final name, or not at all; returns its two sshs hashes.

    Every tensor is cast, `alpha` too (a float; the reference writes an integer when it was left at its default). The file is read
    back and compared before it gets its name. Raises Diverged for weights that are not finite, before or after the cast, and for a
    LoRA without any effect.
    """
    cast = {name: tensor.detach().to("cpu", DTYPES[precision]).contiguous() for name, tensor in sorted(tensors.items())}
    _require_sound(tensors, cast, precision)
    found = hashes.lora_hashes(save(cast, {key: value for key, value in metadata.items() if key.startswith("ss_")}))
    with replacing(path) as aside:
        save_file(cast, aside, {**metadata, **found})
        aside.chmod(0o644)  # safetensors makes it readable for its owner alone; a web UI may run as another user
        header = modelfile.read_header(aside)
        if hashes.sha256_file(aside, skip=header.data_start) != found["sshs_model_hash"]:
            raise UserError(
                "what was written reads back differently", where=str(path), todo="check the disk, then start again: the run continues"
            )
    return found


def _require_sound(tensors: Mapping[str, torch.Tensor], cast: Mapping[str, torch.Tensor], precision: str) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise Diverged("a weight of the LoRA is NaN or infinite", where=name, todo="lower train.unet_lr; the last good file is kept")
        if not cast[name].isfinite().all():
            largest = tensor.abs().max().item()
            raise Diverged(f"a weight ({largest:.3g}) is too large for {precision}", where=name, todo="set save.precision to bf16 or fp32")
    ups = [tensor for name, tensor in cast.items() if name.endswith(".lora_up.weight")]
    weights = ups or [tensor for name, tensor in cast.items() if not name.endswith(".alpha")]
    if not any(tensor.any() for tensor in weights):
        raise Diverged(
            "this LoRA has no effect: all its weights are zero",
            allowed="it has not learned, or its changes are too small for the precision it is saved in",
            todo="raise train.unet_lr, or set save.precision to fp32",
        )

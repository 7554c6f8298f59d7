"""`lora.py profile`: writes the profile that bakes a LoRA again. Not here: what stands in it (profile_again.py)."""

import argparse
import struct
from pathlib import Path

from lorabake import console, model_kinds, modelfile, paths, profile_again, said
from lorabake.errors import UserError
from lorabake.families import lora_keys

# safetensors' name of a dtype -> how struct reads one number of it; BF16 is the upper half of a float
FORMATS = {"F64": "<d", "F32": "<f", "F16": "<e", "I64": "<q", "I32": "<i"}


def main(options: argparse.Namespace) -> int:
    """Writes <stem>.yaml beside the file, or --out. Exit code 0."""
    path = Path(options.file)
    out = Path(options.out) if options.out else path.with_suffix(".yaml")
    write(path, out)
    console.say("next: set base_model, images and output in it, then: python py/train.py " + str(out))
    console.result(str(out))
    return 0


def write(path: Path, out: Path) -> None:
    """Raises UserError for what is no LoRA, and where `out` is there already."""
    contents = modelfile.read_contents(path)
    kind = model_kinds.describe(contents)
    if not kind.is_lora():
        raise UserError(f"this is a {kind.title()}, and only a LoRA has a profile", where=str(path), todo="give a LoRA file")
    paths.refuse_existing(out)
    paths.write_text(out, profile_again.text(path, contents, alphas(path, contents)))


def alphas(path: Path, contents: modelfile.Contents) -> dict[str, list[float]]:
    """The alphas of the layers ("alpha") and of the 3x3 ones ("conv_alpha"): a few bytes each, without torch; {} for a pickle."""
    if contents.format != "safetensors":
        return {}
    header, found = modelfile.read_header(path), {"alpha": set[float](), "conv_alpha": set[float]()}
    with path.open("rb") as file:
        for tensors in lora_keys.read(contents.shapes).layers.values():
            entry = header.entries.get(tensors.get(lora_keys.ALPHA, ""))
            if entry is None or not 2 <= entry.end - entry.begin <= 8:
                continue
            file.seek(header.data_start + entry.begin)
            value = _number(entry.dtype, file.read(entry.end - entry.begin))
            spatial = lora_keys.is_spatial(tensors, contents.shapes)
            if said.number(value):
                found["conv_alpha" if spatial else "alpha"].add(round(value, 4))
    return {key: sorted(values) for key, values in found.items() if values}


def _number(dtype: str, data: bytes) -> float:
    if dtype == "BF16":
        dtype, data = "F32", b"\0\0" + data
    form = FORMATS.get(dtype)
    return float(struct.unpack(form, data)[0]) if form and struct.calcsize(form) == len(data) else 0.0

"""`lora.py import`: a profile from what another trainer wrote. Read so far: the metadata in LoRA files.

Not here: what becomes of the settings (profile_again.py).
"""

import argparse
from pathlib import Path

from lorabake import lora_profile
from lorabake.errors import UserError

SUFFIXES = (".safetensors", ".pt", ".bin", ".ckpt")


def main(options: argparse.Namespace) -> int:
    """Writes <stem>.yaml beside the file, or --out. Raises UserError for what is no LoRA. Exit code 0."""
    path = Path(options.file)
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"a {path.suffix or 'file without an ending'} cannot be imported",
            where=str(path),
            allowed="a LoRA file: trainers write their settings into it",
            todo=f"python py/lora.py import {path.stem}.safetensors",
        )
    return lora_profile.main(options)

"""accelerate's configuration, written into the project without questions: this machine, one process, its card where there is one.

The answers are those of the guides: not distributed, no dynamo, no DeepSpeed, the precision that suits the card. It is for
`accelerate launch --config_file`; nothing here starts that, and accelerate's own default file in the user's home is left alone.
Format: accelerate's ClusterConfig (huggingface.co/docs/accelerate, "accelerate config"). Standard library only.
"""

from __future__ import annotations

from pathlib import Path

from lorabake import console, hardware, paths
from lorabake.hardware import Seen

NAME = "accelerate.yaml"
PRECISIONS = {"fp32": "no", "fp16": "fp16", "bf16": "bf16"}  # ours: accelerate's
# 'NO' and 'no' without quotes would be read as false
TEXT = """# Written by lorabake's setup, which keeps it up to date; changed by hand, it is left alone.
compute_environment: LOCAL_MACHINE
debug: false
distributed_type: 'NO'
downcast_bf16: 'no'
enable_cpu_affinity: false
gpu_ids: all
machine_rank: 0
main_training_function: main
mixed_precision: '{precision}'
num_machines: 1
num_processes: 1
rdzv_backend: static
same_network: true
use_cpu: {use_cpu}
"""


def text(seen: Seen) -> str:
    """The file for what nvidia-smi tells: the card with the most memory decides on the precision."""
    card = max(seen.cards, key=lambda one: (one.vram_gib, -one.index)) if seen.cards else None
    return _text(hardware.precision(card, None)[0], use_cpu=card is None)


def _text(precision: str, *, use_cpu: bool) -> str:
    return TEXT.format(precision=PRECISIONS[precision], use_cpu="true" if use_cpu else "false")


def written_by_us(content: str) -> bool:
    """Whether the file is one of the few that `text` can give."""
    return content in {_text(precision, use_cpu=use_cpu) for precision in PRECISIONS for use_cpu in (True, False)}


def write(root: Path, seen: Seen) -> None:
    """Write it into the project's folder, or bring it up to date; one that was changed by hand is left alone, and that is said."""
    path, wanted = root / NAME, text(seen)
    try:
        there = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        there = ""
    except (OSError, ValueError):
        there = "not ours"
    if there == wanted:
        return
    if there and not written_by_us(there):
        console.say(f"{path} was changed by hand and is left as it is (deleted, it is written anew)")
        return
    paths.write_text(path, wanted)

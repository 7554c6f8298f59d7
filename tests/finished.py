"""A finished LoRA of ours without a training: the plan of a tiny bake, its metadata at fixed times, random weights."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch

import baking
from lorabake import metadata, modelfile, weights
from lorabake.families import layers
from lorabake.hashes import Hashes
from lorabake.networks import lora
from lorabake.plan import Plan
from lorabake.said import OUR_KEY

STARTED_AT = 1_700_000_000.0
FIXED = {"ss_training_finished_at": str(STARTED_AT + 754), "ss_session_id": "77", "modelspec.date": "2024-05-06T07:08:09"}


def make(folder: Path, settings: Mapping[str, str] | None = None) -> tuple[Path, Plan]:
    """(file, plan); the weights are random, the same each time."""
    plan = baking.make(folder, settings)
    told = metadata.training_metadata(
        plan, step=plan.total_steps, epoch=plan.epochs, started_at=STARTED_AT, base_hashes=Hashes("ab" * 32, "1234abcd")
    )
    told |= FIXED | {"modelspec.implementation_version": "lorabake/0.1.0"}
    record = json.loads(told[OUR_KEY])
    record |= {"release": {"kind": "commit", "mark": "0123456789abcdef"}, "stack": "current", "versions": {"torch": "2.13.0+cpu"}}
    told[OUR_KEY] = json.dumps(record, sort_keys=True)
    generator, tensors = torch.Generator().manual_seed(1), {}
    for layer in layers.layers(modelfile.read_contents(Path(plan.base.path)).shapes, "sd1"):
        if not layer.conv:
            pair = lora.make_pair(layer.shape, plan.network.rank, plan.network.alpha, generator)
            pair[lora.UP] = torch.randn(pair[lora.UP].shape, generator=generator) / 100
            tensors |= {f"{layer.name}.{part}": tensor for part, tensor in pair.items()}
    path = folder / f"{plan.name}.safetensors"
    weights.save_lora(path, tensors, metadata=told, precision="fp16")
    return path, plan

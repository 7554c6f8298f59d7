"""Metadata of LoRA files that no training wrote: extracted, merged, resized, converted. Only what readers need and what is true.

Not here: the metadata of a training (metadata.py), the two sshs hashes (weights.save_lora adds them).
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lorabake import __version__

SDXL_IMPLEMENTATION = "https://github.com/Stability-AI/generative-models"
# family -> ss_base_model_version, ss_v2, modelspec's architecture, implementation, resolution
FACTS = {
    "sd1": ("sd_v1", "False", "stable-diffusion-v1/lora", "diffusers", "512x512"),
    "sd2": ("sd_v2", "True", "stable-diffusion-v2-512/lora", "diffusers", "512x512"),
    "sd2_v": ("sd_v2_v", "True", "stable-diffusion-v2-768-v/lora", "diffusers", "768x768"),
    "sdxl": ("sdxl_base_v1-0", "False", "stable-diffusion-xl-v1-base/lora", SDXL_IMPLEMENTATION, "1024x1024"),
}
DYNAMIC = "Dynamic"  # what readers find as ss_network_dim where the layers differ


def of_tool(
    family: str, title: str, *, ranks: Iterable[int], alphas: Iterable[float], conv: tuple[int, float] | None = None
) -> dict[str, str]:
    """The least that every reader wants: what base, which network, which rank; and a modelspec with `title`.

    `family` is a key of FACTS; another one leaves out what depends on it. `ranks` and `alphas` of all layers but the 3x3 ones, whose common
    rank and alpha are `conv`.
    """
    args = {"conv_dim": str(conv[0]), "conv_alpha": str(float(conv[1]))} if conv else {}
    found = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": one_or_dynamic(ranks),
        "ss_network_alpha": one_or_dynamic(map(float, alphas)),
        "ss_network_args": json.dumps(args),
        "ss_output_name": title,
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": title,
        "modelspec.implementation_version": f"lorabake/{__version__}",
    }
    if family in FACTS:
        version, v2, architecture, implementation, resolution = FACTS[family]
        found |= {"ss_base_model_version": version, "ss_v2": v2, "modelspec.architecture": architecture}
        found |= {"modelspec.implementation": implementation, "modelspec.resolution": resolution}
        found["modelspec.prediction_type"] = "v" if family == "sd2_v" else "epsilon"
    return found


def one_or_dynamic(values: Iterable[Any]) -> str:
    """The one value as text, or "Dynamic" where there are several."""
    found = sorted(set(values))
    return str(found[0]) if len(found) == 1 else DYNAMIC


def family_key(family: str, metadata: Mapping[str, str]) -> str:
    """The key of FACTS: "sd2_v" for an SD 2 whose metadata says that it predicts v."""
    says_v = metadata.get("modelspec.prediction_type") == "v" or metadata.get("ss_base_model_version") == "sd_v2_v"
    return "sd2_v" if family == "sd2" and says_v else family


def dated(metadata: Mapping[str, str], day: datetime | None = None) -> dict[str, str]:
    """With modelspec.date, now by default: for what was computed. Not for conversions: they repeat to the byte."""
    return {**metadata, "modelspec.date": (day or datetime.now()).isoformat(timespec="seconds")}


def title_of(path: Path, metadata: Mapping[str, str]) -> str:
    """What a file calls itself, else its name."""
    return metadata.get("modelspec.title") or metadata.get("ss_output_name") or path.stem

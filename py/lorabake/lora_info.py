"""`lora.py info`: what a LoRA, checkpoint, embedding or VAE is, who can load it, and whether it is sound.

With --fast from the header alone, without torch. Not here: the facts (model_facts.py), their words (lora_info_text.py).
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorabake import console, errors, hashes, lora_info_text, model_facts, modelfile, said
from lorabake.families import lora_keys

BAR_FROM_BYTES = 500 * 2**20
FIRST = 5


def main(options: argparse.Namespace) -> int:
    """Prints a report for each file, or JSON; a file that cannot be read is told and the others are done. Exit code 0 or 1."""
    reports, code = [], 0
    for name in options.file:
        try:
            reports.append(facts_of(Path(name), fast=options.fast))
        except errors.UserError as error:
            if len(options.file) == 1:
                raise
            reports.append({"file": name, "error": error.what})
            console.say(f"error: {error}")
            code = error.exit_code
    if options.json:
        console.result(json.dumps(as_json(reports if len(options.file) > 1 else reports[0]), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        console.result("\n\n".join(lora_info_text.text(report) for report in reports if "error" not in report))
    return code


def facts_of(path: Path, *, fast: bool = False) -> dict[str, Any]:
    """Everything about one file or Diffusers folder. Raises UserError for what is no model file, or not whole."""
    contents = modelfile.read_contents(path)
    facts = model_facts.of_file(path, contents)
    if not fast:
        facts["weights"] = weights(path, contents, facts)
        if path.is_file():
            facts["hashes"] = file_hashes(path, contents)
    facts["warnings"] = warnings(facts)
    return facts


def weights(path: Path, contents: modelfile.Contents, facts: dict[str, Any]) -> dict[str, Any]:
    """A look at each tensor. Fills the alphas into facts["network"], since they are tensors."""
    from lorabake import lora_weights, tensor_files  # torch: not for --fast

    keys = lora_keys.read(contents.shapes) if "network" in facts else None
    with tensor_files.opened(path) as source:
        if contents.size_bytes < BAR_FROM_BYTES:
            look = lora_weights.look(source, keys)
        else:
            with console.Bar(len(source.names()), "looking at the weights") as bar:
                look = lora_weights.look(source, keys, bar.update)
    if keys:
        spatial = {name for name, tensors in keys.layers.items() if lora_keys.is_spatial(tensors, contents.shapes)}
        for key, own in (("alpha", look.alphas.keys() - spatial), ("conv_alpha", look.alphas.keys() & spatial)):
            if values := sorted({round(look.alphas[name], 4) for name in own if said.number(look.alphas[name]) is not None}):
                facts["network"][key] = values
    lists = {"nan": look.nan, "infinite": look.infinite, "zero": look.zero, "no_effect": look.no_effect}
    found: dict[str, Any] = {"sound": not look.nan and not look.infinite}
    found |= {name: {"count": len(names), "first": names[:FIRST]} for name, names in lists.items() if names}
    if means := _means(look.norms):
        found["mean_norm"] = means
    return found


def _means(norms: Mapping[str, float]) -> dict[str, float]:
    """Mean norm by part, of the layers where it is a number."""
    sides: dict[str, list[float]] = {}
    for name, size in norms.items():
        if said.number(size) is not None:
            sides.setdefault(model_facts.side_of(name), []).append(size)
    return {side: sum(sizes) / len(sizes) for side, sizes in sides.items()}


def file_hashes(path: Path, contents: modelfile.Contents) -> dict[str, Any]:
    """Full SHA-256 and its short forms; the hash that the file itself holds, and whether it is still true."""
    if contents.size_bytes >= BAR_FROM_BYTES:
        console.say("computing the hashes")
    start = modelfile.read_header(path).data_start if contents.format == "safetensors" else 0
    found = hashes.web_hashes(path, start)
    told: dict[str, Any] = {"sha256": found.sha256, "auto_v1": hashes.legacy_hash(path), "auto_v2": found.auto_v2}
    if start:
        told["auto_v3"] = found.auto_v3
    if stored := said.text(contents.metadata, "sshs_model_hash"):
        told |= {"sshs_model_hash": stored, "agrees": stored.lower() == found.data_sha256}
    return told


def warnings(facts: Mapping[str, Any]) -> list[str]:
    """What spoils a file, in a sentence each."""
    weights, found = facts.get("weights", {}), []
    for key, words in (("nan", "hold NaN: pictures will be black or noise"), ("infinite", "hold infinite numbers")):
        if weights.get(key):
            found.append(f"{weights[key]['count']} of {facts['num_tensors']} tensors {words}")
    network = facts.get("network", {})
    if dead := (weights.get("no_effect") or {}).get("count", 0):
        num_layers = sum(network.get("layers", {}).values())
        found.append(
            "it has no effect at all: every layer adds nothing" if dead == num_layers else f"{dead} of {num_layers} layers add nothing"
        )
    if facts.get("hashes", {}).get("agrees") is False:
        found.append("the stored hash is not that of the weights: they were changed after training, or by a careless tool")
    if network and max(network.get("alpha", [0])) > max(network.get("rank", [0])) > 0:
        found.append("alpha is over the rank: at weight 1 it counts more than once; try less")
    programs = facts.get("loads", {}).get("programs", {})
    if programs and not any(verdict["loaded"] for verdict in programs.values()):
        found.append("none of the usual programs loads it")
    return found


def as_json(value: Any) -> Any:
    """The same with every text printable and every number JSON's own; numbers that are none become null."""
    if isinstance(value, dict):
        return {said.clean(key, 500): as_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(entry) for entry in value]
    if isinstance(value, str):
        return said.clean(value, 20_000)
    if isinstance(value, float) and said.number(value) is None:
        return None
    return value

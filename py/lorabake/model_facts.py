"""What there is to tell about a model file, as JSON-able tables: of any file its parts and precision, of a LoRA also its metadata.

From the header alone. Not here: hashes and a look at the weights (lora_info.py adds them), the words for the console (lora_info_text.py).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorabake import lora_loading, model_kinds, modelfile, said, said_tags
from lorabake.families import lora_keys, lora_names
from lorabake.modelfile import Contents
from lorabake.said import OUR_KEY

FIRST = 5  # so many names stand for a longer list
MOST_TAGS = 200
UNET, VAE, EMA = "U-Net", "VAE", "EMA copy"
_PARTS = (
    (UNET, ("model.diffusion_model.", "unet/")),
    ("text encoder", ("cond_stage_model.", "conditioner.embedders.0.", "text_encoder/")),
    ("second text encoder", ("conditioner.embedders.1.", "text_encoder_2/")),
    (VAE, ("first_stage_model.", "vae/")),
    (EMA, ("model_ema.",)),
    ("ControlNet", ("control_model.",)),
)
# The noise schedule and other small tables that every training program of checkpoints leaves in them.
_SCHEDULE = ("betas", "alphas_cumprod", "sqrt_", "log_one_minus", "posterior_", "logvar", "lvlb_weights", "denoiser.sigmas")
_MARKS = ("v_pred", "ztsnr")
_SIDES = ("unet", "text_encoder", "text_encoder_2")
_ROOTS = {lora_names.UNET: "unet", lora_names.TEXT: "text_encoder", lora_names.TEXT_1: "text_encoder", lora_names.TEXT_2: "text_encoder_2"}


def of_file(path: Path, contents: Contents) -> dict[str, Any]:
    """Everything that the header tells. Values that are not known are left out."""
    kind = model_kinds.describe(contents)
    facts: dict[str, Any] = {
        "file": str(path),
        "format": contents.format,
        "kind": kind.kind,
        "family": kind.family,
        "title": kind.title(),
        "precision": model_kinds.precision_of(contents.dtypes),
        "size_bytes": contents.size_bytes,
        "num_tensors": len(contents.shapes),
        "num_parameters": contents.num_parameters(),
    }
    if kind.is_lora():
        keys = lora_keys.read(contents.shapes)
        facts["network"] = network(keys, contents)
        facts["loads"] = loads(contents, kind.family)
    else:
        facts["parts"] = parts(contents)
        facts["prediction"] = prediction(path, contents)
        facts |= special(kind.kind, contents.shapes)
    told = {"about": about, "base": base, "training": training, "pictures": pictures, "words": words}
    facts |= {name: found for name, read in told.items() if (found := read(contents.metadata))}
    return facts


def network(keys: lora_keys.Keys, contents: Contents) -> dict[str, Any]:
    """Ranks by kind of layer, layers by part, and what the metadata says of the network."""
    ranks: dict[str, set[int]] = {"rank": set(), "conv_rank": set()}
    sides = dict.fromkeys(_SIDES, 0)
    num_conv = 0
    for name, tensors in keys.layers.items():
        side = side_of(name)
        sides[side] = sides.get(side, 0) + 1
        spatial = lora_keys.is_spatial(tensors, contents.shapes)
        num_conv += spatial
        ranks["conv_rank" if spatial else "rank"] |= ranks_of({part: contents.shapes[key] for part, key in tensors.items()})
    meta = contents.metadata
    told: dict[str, Any] = {"module": said.text(meta, "ss_network_module"), "args": said.table(meta.get("ss_network_args", ""))}
    told |= {"alpha_said": said.text(meta, "ss_network_alpha"), "dropout": said.number(meta.get("ss_network_dropout", ""))}
    found = {
        "dialect": keys.dialect,
        **{key: sorted(values) for key, values in ranks.items() if values},
        "layers": {side: count for side, count in sides.items() if count},
        "conv_layers": num_conv,
        "strange": list(keys.strange),
    }
    return found | {key: value for key, value in told.items() if value}


def side_of(name: str) -> str:
    """The part that a layer of a LoRA belongs to: one of "unet", "text_encoder", "text_encoder_2", or "other"."""
    if prefix := lora_names.prefix_of(name):
        return _ROOTS[prefix]
    root = name.removeprefix("base_model.model.").partition(".")[0]
    known = {"oft_unet": "unet", "lycoris": "unet"}
    return root if root in _SIDES else next((side for sign, side in known.items() if root.startswith(sign)), "other")


def ranks_of(shapes: Mapping[str, tuple[int, ...]]) -> set[int]:
    return {shape[0] for part in lora_keys.RANKED if (shape := shapes.get(part))}


def loads(contents: Contents, family: str) -> dict[str, Any]:
    """Who loads what, for the console and for machines; {} for a family without rules."""
    verdicts = lora_loading.judge(contents.shapes, family)
    if not verdicts:
        return {}
    misfits, small = lora_loading.misfits(contents.shapes, family)
    programs = {
        verdict.program: {
            "loaded": verdict.num_loaded,
            "of": verdict.num_keys,
            **({"refused": verdict.refused} if verdict.refused else {}),
            **({"left_out": len(verdict.left_out), "first": list(verdict.left_out[:FIRST])} if verdict.left_out else {}),
        }
        for verdict in verdicts
    }
    found: dict[str, Any] = {"programs": programs}
    if misfits:
        found["other_sizes"] = {"layers": len(misfits), "first": misfits[:FIRST], "smaller_model": small}
    return found


def parts(contents: Contents) -> dict[str, Any]:
    """Parts of a checkpoint with tensors, parameters and precision; `other` has the names that belong to none."""
    found: dict[str, dict[str, Any]] = {}
    names: dict[str, list[str]] = {}
    for name in contents.shapes:
        part = next((title for title, roots in _PARTS if name.startswith(roots)), "")
        if not part:
            part = "schedule" if name.startswith(_SCHEDULE) else "marks" if name in _MARKS else "other"
        names.setdefault(part, []).append(name)
    for part, own in names.items():
        dtypes = {name: contents.dtypes[name] for name in own if name in contents.dtypes}
        size = sum(math.prod(contents.shapes[name]) * modelfile.BITS.get(dtypes.get(name, ""), 0) // 8 for name in own)
        numbers = sum(math.prod(contents.shapes[name]) for name in own)
        found[part] = {"tensors": len(own), "parameters": numbers, "precision": model_kinds.precision_of(dtypes), "size_bytes": size}
    if "other" in found:
        found["other"]["first"] = names["other"][:FIRST]
    return found


def prediction(path: Path, contents: Contents) -> str:
    """What a checkpoint predicts, "v" or "epsilon", where the file says it; else ""."""
    told = contents.metadata.get("modelspec.prediction_type", "").strip().lower()
    if contents.format == "diffusers":
        told = str(modelfile.read_json(path / "scheduler" / "scheduler_config.json").get("prediction_type", told))
    if "v_pred" in contents.shapes or told.startswith("v"):
        return "v"
    return "epsilon" if told.startswith("eps") else ""


def special(kind: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Of an embedding its vectors, of a VAE its channels."""
    if kind == "embedding":
        flat = {name: shape for name, shape in shapes.items() if shape and name.startswith(("string_to_param", "emb_params", "clip_", "<"))}
        sizes = [shape if len(shape) == 2 else (1, shape[-1]) for shape in (flat or shapes).values() if shape]
        return {"vectors": [{"count": shape[0], "width": shape[1]} for shape in sizes]}
    if kind == "vae":
        found = next((shape for name, shape in shapes.items() if name.endswith("decoder.conv_in.weight") and len(shape) == 4), None)
        whole = any("encoder.conv_in." in name for name in shapes)
        return {"latent_channels": found[1] if found else None, "encoder": whole}
    return {}


def about(meta: Mapping[str, str]) -> dict[str, Any]:
    """Who made it and what they say of it."""
    keys = {
        "title": ("modelspec.title", "ss_output_name"),
        "author": ("modelspec.author",),
        "license": ("modelspec.license",),
        "description": ("modelspec.description",),
        "comment": ("ss_training_comment",),
        "usage_hint": ("modelspec.usage_hint",),
        "tags": ("modelspec.tags",),
        "merged_from": ("modelspec.merged_from",),
    }
    found: dict[str, Any] = {name: value for name, candidates in keys.items() if (value := said.text(meta, *candidates))}
    if "lorabake_merge" in meta:
        found.pop("merged_from", None)  # made_from says it, with the weights
    if found.get("comment") == found.get("description"):
        found.pop("comment", None)
    if day := said.moment(meta.get("modelspec.date", "")) or said.moment(meta.get("ss_training_finished_at", "")):
        found["date"] = day.isoformat(sep=" ", timespec="minutes")
    if origin := made_from(meta):
        found["made_from"] = origin
    if made_by := maker(meta):
        found["made_with"] = made_by
    if meta.get("modelspec.thumbnail", "").startswith("data:"):
        found["thumbnail"] = True
    return found


def made_from(meta: Mapping[str, str]) -> str:
    """What our own tools made the file of, in words; "" for a trained one."""
    extracted, merged = said.table(meta.get("lorabake_extract", "")), said.table(meta.get("lorabake_merge", ""))
    if extracted:
        tuned, base = (said.clean(said.table(extracted.get(name)).get("name", ""), 80) for name in ("tuned", "base"))
        return f"the difference of {tuned} and {base}"
    pieces = []
    for row in said.rows(merged.get("loras")):
        weights = dict.fromkeys(said.clean(row.get(part, ""), 12) for part in ("unet", "text_encoder"))
        pieces.append(f"{said.clean(row.get('file', ''), 80)} at {' and '.join(weights)}")
    base = said.clean(said.table(merged.get("base")).get("file", ""), 80)
    return ", ".join([base] * bool(base) + pieces)


def maker(meta: Mapping[str, str]) -> str:
    """The program that wrote the file, by the signs that it leaves."""
    version = said.text(meta, "modelspec.implementation_version")
    if OUR_KEY in meta:
        return _ours(said.table(meta[OUR_KEY]))
    if version.startswith("lorabake/"):
        return version.replace("/", " ", 1)
    if any(key.startswith("ot_") for key in meta):
        return "OneTrainer"
    software = said.table(meta.get("software", ""))
    if isinstance(software.get("name"), str):
        return said.clean(f"{software['name']} {software.get('version', '')}", 80)
    if version.startswith("sd-scripts") or "ss_sd_scripts_commit_hash" in meta or "ss_network_module" in meta:
        return f"kohya's sd-scripts ({version})" if version else "kohya's sd-scripts"
    return version


def _ours(record: Mapping[str, Any]) -> str:
    """lorabake 0.1.0 (commit 0123456789ab), stack current, torch 2.13.0+cpu"""
    made_by = said.table(record.get("release"))
    mark, kind = said.clean(made_by.get("mark", ""), 64)[:12], said.clean(made_by.get("kind", ""), 10)
    stack, torch = said.clean(record.get("stack", ""), 40), said.clean(said.table(record.get("versions")).get("torch", ""), 40)
    words = f"lorabake {said.clean(record.get('version', ''), 40)}".strip() + (f" ({kind} {mark})" if mark else "")
    return ", ".join([words, *([f"stack {stack}"] if stack else []), *([f"torch {torch}"] if torch else [])])


def base(meta: Mapping[str, str]) -> dict[str, Any]:
    """The checkpoint that a LoRA was trained on; the name's last piece only, as foreign files may hold whole paths."""
    found = {
        "name": said.text(meta, "ss_sd_model_name").replace("\\", "/").rpartition("/")[2],
        "sha256": said.text(meta, "ss_new_sd_model_hash"),
        "legacy_hash": said.text(meta, "ss_sd_model_hash"),
        "vae": said.text(meta, "ss_vae_name").replace("\\", "/").rpartition("/")[2],
        "version": said.text(meta, "ss_base_model_version"),
        "architecture": said.text(meta, "modelspec.architecture"),
        "prediction": said.text(meta, "modelspec.prediction_type"),
    }
    return {key: value for key, value in found.items() if value}


def training(meta: Mapping[str, str]) -> dict[str, Any]:
    """Steps, rates and settings, as far as they are said."""
    found: dict[str, Any] = {name: said.number(said.setting(meta, key, inside)) for name, key, inside in _NUMBERS}
    found |= {name: said.text(meta, f"ss_{key}") for name, key in _TEXTS}
    if size := said.size_px(said.setting(meta, "resolution") or meta.get("modelspec.resolution", "")):
        found["resolution"] = list(size)
    if said.flag(said.setting(meta, "enable_bucket")):
        found["buckets"] = [said.whole(said.setting(meta, f"{end}_bucket_reso")) for end in ("min", "max")]
    begun, done = said.moment(meta.get("ss_training_started_at", "")), said.moment(meta.get("ss_training_finished_at", ""))
    if begun:
        found["started"] = begun.isoformat(sep=" ", timespec="minutes")
    if begun and done and done > begun:
        found["duration_s"] = round((done - begun).total_seconds())
    return {name: value for name, value in found.items() if value not in (None, "")}


# (our word, ss_ key, name inside ss_datasets)
_NUMBERS = (
    *((name, name, "") for name in ("steps", "max_train_steps", "epoch", "num_epochs", "num_batches_per_epoch")),
    *((name, name, "") for name in ("learning_rate", "unet_lr", "text_encoder_lr", "seed", "clip_skip", "max_token_length")),
    ("batch_size", "batch_size_per_device", ""),
    ("accumulation", "gradient_accumulation_steps", ""),
    *((name, name, "") for name in ("min_snr_gamma", "noise_offset", "max_grad_norm", "prior_loss_weight")),
    ("warmup", "lr_warmup_steps", ""),
)
_TEXTS = (("optimizer", "optimizer"), ("scheduler", "lr_scheduler"), ("mixed_precision", "mixed_precision"))


def pictures(meta: Mapping[str, str]) -> dict[str, Any]:
    """Counts of pictures and their folders."""
    numbers = (("seen_per_epoch", "num_train_images"), ("regularization", "num_reg_images"), ("different", ""))
    found: dict[str, Any] = {name: said.whole(said.setting(meta, key)) for name, key in numbers if key}
    found["different"] = said_tags.num_pictures(meta)
    folders = [
        {"name": said.clean(f.name, 200), "repeats": f.repeats, "pictures": f.count, "regularization": f.regularization}
        for f in said_tags.folders(meta)
    ]
    return {name: value for name, value in {**found, "folders": folders}.items() if value}


def words(meta: Mapping[str, str]) -> dict[str, Any]:
    """Trigger words, tags on most pictures, and the most frequent tags with their counts."""
    tags = [[said.clean(tag, 200), count] for tag, count in said_tags.most_frequent(meta)]
    found = {
        "trigger": said_tags.triggers(meta),
        "trigger_is_said": bool(said.text(meta, "modelspec.trigger_phrase")),
        "on_most": [[said.clean(tag, 200), count] for tag, count in said_tags.on_most(meta)],
        "tags": tags[:MOST_TAGS],
        "num_tags": len(tags),
    }
    return found if found["trigger"] or tags else {}

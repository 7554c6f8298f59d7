"""What a LoRA file says about itself: the `ss_*` keys that UIs show, `modelspec.*`, and one key of our own that can bake it again.

All values are text, Python's str() of the value; JSON only for the few keys where readers expect it. No path of the user's machine
is written: base model, pictures and output appear by their last name, and by hash. Not here: hashes (hashes.py), writing (weights.py).
"""

import hashlib
import json
import platform
import re
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from lorabake import __version__, captions, release
from lorabake.families import FAMILIES
from lorabake.hashes import Hashes
from lorabake.networks import NETWORKS
from lorabake.plan_data import Picture, PlannedFolder
from lorabake.plan_types import Plan
from lorabake.said import OUR_KEY

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "bitsandbytes")
PRECISIONS = {"fp32": "no", "fp16": "fp16", "bf16": "bf16"}
OPTIMIZERS = {"adamw": "torch.optim.adamw.AdamW", "adamw8bit": "bitsandbytes.optim.adamw.AdamW8bit"}
# What the reference trainer writes for settings that lorabake does not have, at its defaults: readers look for the keys.
DEFAULTS = {
    "ss_network_dropout": None,
    "ss_full_fp16": False,
    "ss_fp8_base": False,
    "ss_fp8_base_unet": False,
    "ss_lowram": False,
    "ss_v2": False,
    "ss_noise_offset_random_strength": False,
    "ss_adaptive_noise_scale": None,
    "ss_multires_noise_iterations": None,
    "ss_multires_noise_discount": 0.3,
    "ss_ip_noise_gamma": None,
    "ss_ip_noise_gamma_random_strength": False,
    "ss_zero_terminal_snr": False,
    "ss_debiased_estimation": False,
    "ss_scale_weight_norms": None,
    "ss_loss_type": "l2",
    "ss_huber_schedule": "snr",
    "ss_huber_scale": 1.0,
    "ss_huber_c": 0.1,
    "ss_caption_dropout_rate": 0.0,
    "ss_caption_dropout_every_n_epochs": 0,
    "ss_caption_tag_dropout_rate": 0.0,
    "ss_face_crop_aug_range": None,
    "ss_resize_interpolation": None,
    "ss_validation_seed": None,
    "ss_validation_split": 0.0,
    "ss_max_validation_steps": None,
    "ss_validate_every_n_epochs": None,
    "ss_validate_every_n_steps": None,
    "ss_color_aug": False,
    "ss_random_crop": False,
    "ss_sd_scripts_commit_hash": "(unknown)",
}


def training_metadata(plan: Plan, *, step: int, epoch: int, started_at: float, base_hashes: Hashes) -> dict[str, str]:
    """The whole metadata of a LoRA saved at `step` (of `epoch`, from 1), but for the sshs hashes, which weights.save_lora adds."""
    values = DEFAULTS | _progress(plan, step, epoch, started_at) | _settings(plan) | _dataset(plan) | _base(plan, base_hashes)
    texts = {key: str(value) for key, value in values.items()}
    return texts | model_spec(plan) | {OUR_KEY: json.dumps(own_record(plan, base_hashes), sort_keys=True)}


def _progress(plan: Plan, step: int, epoch: int, started_at: float) -> dict[str, Any]:
    return {
        # One number for all files of a run: which of them belong together.
        "ss_session_id": int(hashlib.sha256(f"{plan.name}/{started_at}".encode()).hexdigest()[:8], 16),
        "ss_training_started_at": started_at,
        "ss_training_finished_at": time.time(),
        "ss_output_name": plan.name,
        "ss_training_comment": plan.save.comment or None,
        "ss_num_batches_per_epoch": plan.batches_per_epoch,
        "ss_num_epochs": plan.epochs,
        "ss_max_train_steps": plan.total_steps,
        "ss_steps": step,
        "ss_epoch": epoch,
    }


def _settings(plan: Plan) -> dict[str, Any]:
    train, network = plan.train, plan.network
    return {
        "ss_learning_rate": plan.unet_lr_used,
        "ss_unet_lr": plan.unet_lr_used if network.target != "text_encoder" else None,
        "ss_text_encoder_lr": plan.text_encoder_lr_used if network.target != "unet" else None,
        "ss_gradient_checkpointing": train.gradient_checkpointing,
        "ss_gradient_accumulation_steps": train.accumulation,
        "ss_lr_warmup_steps": train.warmup,
        "ss_lr_scheduler": train.scheduler,
        "ss_optimizer": optimizer_text(train.optimizer, train.optimizer_args),
        "ss_max_grad_norm": train.max_grad_norm,
        "ss_mixed_precision": PRECISIONS[plan.precision],
        "ss_network_module": NETWORKS[network.type].kohya_module,
        "ss_network_dim": network.rank,
        "ss_network_alpha": float(network.alpha or network.rank or 1),
        "ss_network_args": json.dumps(network_args(plan)),
        "ss_clip_skip": plan.model.clip_skip,
        "ss_max_token_length": plan.model.max_token_length if plan.model.max_token_length > 75 else None,
        "ss_seed": train.seed,
        "ss_noise_offset": train.noise_offset or None,
        "ss_min_snr_gamma": train.min_snr_gamma,
        "ss_prior_loss_weight": train.prior_loss_weight,
        "ss_batch_size_per_device": train.batch_size,
        "ss_total_batch_size": (train.batch_size or 1) * train.accumulation * train.processes,
    }


def optimizer_text(name: str, options: Mapping[str, Any]) -> str:
    """As the reference writes it: dotted class name, then `(k=v,...)` when there are options."""
    text = OPTIMIZERS.get(name.lower(), name)
    return f"{text}({','.join(f'{key}={value}' for key, value in options.items())})" if options else text


def network_args(plan: Plan) -> dict[str, str]:
    """Arguments of the network's module; readers expect each as text."""
    row, network = NETWORKS[plan.network.type], plan.network
    found = {"algo": row.kohya_algo} if row.kohya_algo else {}
    if row.has_conv:
        found |= {"conv_dim": str(network.conv_rank), "conv_alpha": str(float(network.conv_alpha or network.conv_rank or 1))}
    return found


def _dataset(plan: Plan) -> dict[str, Any]:
    data = plan.data
    trained = [picture for picture in plan.pictures if not picture.holdout]
    side = int(data.resolution or FAMILIES[plan.family].resolution)
    names = folder_names(plan.folders)
    return {
        "ss_num_train_images": sum(p.repeats for p in trained if not p.regularization),
        "ss_num_reg_images": sum(p.repeats for p in trained if p.regularization),
        "ss_num_validation_images": len(plan.pictures) - len(trained),
        "ss_cache_latents": data.cache != "off",
        "ss_resolution": (side, side),
        "ss_flip_aug": data.flip,
        "ss_shuffle_caption": data.shuffle,
        "ss_keep_tokens": data.keep_tokens,
        "ss_enable_bucket": data.buckets,
        "ss_bucket_no_upscale": not data.upscale_small,
        "ss_min_bucket_reso": data.min_bucket,
        "ss_max_bucket_reso": data.max_bucket,
        "ss_dataset_dirs": json.dumps(_directories(plan.folders, names, regularization=False)),
        "ss_reg_dataset_dirs": json.dumps(_directories(plan.folders, names, regularization=True)),
        "ss_bucket_info": json.dumps(_bucket_info(plan, trained)),
        "ss_tag_frequency": json.dumps(tag_frequency(trained, names)),
    }


def folder_names(folders: Iterable[PlannedFolder]) -> list[str]:
    """The folders' last names, a second one of the same name with ` (2)`."""
    found: list[str] = []
    for folder in folders:
        name, number = folder.name, 2
        while name in found:
            name, number = f"{folder.name} ({number})", number + 1
        found.append(name)
    return found


def _directories(folders: Iterable[PlannedFolder], names: list[str], *, regularization: bool) -> dict[str, dict[str, int]]:
    pairs = zip(names, folders, strict=True)
    return {name: {"n_repeats": f.repeats, "img_count": f.num_pictures} for name, f in pairs if f.regularization == regularization}


def _bucket_info(plan: Plan, trained: list[Picture]) -> dict[str, Any] | None:
    if not plan.data.buckets:
        return None
    buckets = {str(i): {"resolution": [width, height], "count": count} for i, (width, height, count) in enumerate(plan.buckets)}
    errors = [abs(p.width / p.height - p.bucket[0] / p.bucket[1]) for p in trained]
    return {"buckets": buckets, "mean_img_ar_error": sum(errors) / len(errors) if errors else 0.0}


def tag_frequency(pictures: Iterable[Picture], names: list[str]) -> dict[str, dict[str, int]]:
    """Tags per folder, as captions.tag_frequency counts them, once per picture however often it is repeated."""
    found: dict[str, list[str]] = {}
    for picture in pictures:
        found.setdefault(names[picture.folder], []).append(picture.caption)
    return {name: captions.tag_frequency(texts) for name, texts in found.items()}


def _base(plan: Plan, base_hashes: Hashes) -> dict[str, Any]:
    found = {"ss_base_model_version": FAMILIES[plan.family].base_model_version, "ss_sd_model_name": last_name(plan.base.path)}
    if base_hashes.legacy:
        found |= {"ss_sd_model_hash": base_hashes.legacy, "ss_new_sd_model_hash": base_hashes.sha256}
    return found


def model_spec(plan: Plan) -> dict[str, str]:
    """Stability's model specification 1.0.1; empty fields are left out."""
    row, save = FAMILIES[plan.family], plan.save
    side = int(plan.data.resolution or row.resolution)
    values = {
        "sai_model_spec": "1.0.1",
        "architecture": f"{row.architecture}/lora",
        "implementation": row.implementation,
        "implementation_version": f"lorabake/{__version__}",
        "title": plan.name,
        "resolution": f"{side}x{side}",
        "date": datetime.now().isoformat(timespec="seconds"),
        "prediction_type": "v" if row.prediction == "v" else "epsilon",
        "encoder_layer": str(plan.model.clip_skip or 1),
        "description": save.comment,
        "author": save.author,
        "tags": save.tags,
        "license": save.license,
        "trigger_phrase": ", ".join(dict.fromkeys(plan.triggers.values())),
    }
    return {f"modelspec.{key}": value for key, value in values.items() if value}


def own_record(plan: Plan, base_hashes: Hashes) -> dict[str, Any]:
    """Everything that bakes this LoRA again: the resolved settings, counts, versions; JSON-able, without a path of this machine."""
    blocks = {
        "network": plan.network,
        "train": plan.train,
        "data": plan.data,
        "model": plan.model,
        "save": plan.save,
        "samples": plan.samples,
    }
    settings = {name: without_paths(block.model_dump(mode="json")) for name, block in blocks.items()}
    settings["save"].pop("copy_to", None)
    made_by = release.here()
    return {
        "version": __version__,
        "release": {"kind": made_by.kind, "mark": made_by.mark},
        "stack": release.running_stack(),
        "profile": {
            "name": plan.name,
            "base_model": last_name(plan.base.path),
            "images": _images_name(plan),
            "output": last_name(plan.output),
            **({"stack": plan.stack} if plan.stack else {}),
            **settings,
        },
        "base_sha256": base_hashes.sha256,
        "pictures": plan.identity()["pictures"],
        "precision": plan.precision,
        "unet_lr_used": plan.unet_lr_used,
        "text_encoder_lr_used": plan.text_encoder_lr_used,
        "total_steps": plan.total_steps,
        "versions": {"python": platform.python_version(), **{name: found for name in PACKAGES if (found := _version(name))}},
    }


def _images_name(plan: Plan) -> str:
    """Last name of the folder that `images` named: above `<repeats>_<concept>` folders, or the flat folder itself."""
    first = next((folder for folder in plan.folders if not folder.regularization), None)
    if first is None:
        return ""
    pieces = re.split(r"[\\/]", first.path.rstrip("\\/"))
    return pieces[-2] if len(pieces) > 1 and re.match(r"\d+_", pieces[-1]) else pieces[-1]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def last_name(path: str) -> str:
    """Last piece of a Windows or POSIX path."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def without_paths(value: Any) -> Any:
    """The same JSON with every absolute path, of Windows or POSIX, cut down to its last name."""
    if isinstance(value, dict):
        return {key: without_paths(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(entry) for entry in value]
    if isinstance(value, str) and (PureWindowsPath(value).is_absolute() or PurePosixPath(value).is_absolute()):
        return last_name(value)
    return value

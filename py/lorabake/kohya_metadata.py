"""Settings of a training by another program, read from the `ss_*` metadata that it left, as keys of our profile.

What it cannot give: sets of pictures by path, samples, saving. What has no key here, or none yet, comes back in words. Not here: names
that people type (kohya.py), our own files (profile_again.py), checking the values (profile.py does).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lorabake import kohya, metadata, said, said_tags
from lorabake.folder_names import repeats_of
from lorabake.kinds import plain
from lorabake.settings import OPTIMIZERS, SCHEDULERS
from lorabake.settings_later import NOT_YET_VALUES, topic_of
from lorabake.yaml_lines import Line

Meta = Mapping[str, str]
PRECISION = {"no": "fp32", "fp16": "fp16", "bf16": "bf16"}
OFF = ("none", "false", "0", "0.0", "", "null", "{}", "[]")
# What the other keys tell about the run, not what was asked for; and what follows from settings that are read here.
TOLD = set(
    """
    session_id training_started_at training_finished_at output_name training_comment num_train_images num_reg_images num_validation_images
    num_batches_per_epoch num_epochs max_train_steps steps epoch v2 base_model_version sd_model_name sd_model_hash new_sd_model_hash
    vae_name vae_hash new_vae_hash sd_scripts_commit_hash dataset_dirs reg_dataset_dirs tag_frequency bucket_info datasets
    total_batch_size network_module network_dim network_alpha network_args lr_scheduler optimizer learning_rate unet_lr text_encoder_lr
    lr_warmup_steps batch_size_per_device gradient_accumulation_steps resolution enable_bucket min_bucket_reso max_bucket_reso
    bucket_no_upscale clip_skip max_token_length seed noise_offset min_snr_gamma flip_aug shuffle_caption keep_tokens prior_loss_weight
    max_grad_norm mixed_precision gradient_checkpointing cache_latents multires_noise_discount huber_schedule huber_scale huber_c
    noise_offset_random_strength validation_split
    """.split()
)


def lines(meta: Meta) -> list[Line]:
    """Settings of the blocks train, data, model and save; each with the key that it comes from."""
    found = [*_length(meta), *_optimizer(meta), *_scheduler(meta), *_buckets(meta)]
    for key, source, read in _PLAIN:
        value = read(said.setting(meta, source))
        if value is not None:
            found.append(Line(key, value, f"ss_{source}"))
    if any(key.startswith("ss_") for key in meta):
        found.append(Line("train.scale_lr_by_batch", False, "other trainers use their rates as they are"))
        found.append(Line("data.holdout", said.number(meta.get("ss_validation_split", "")) or 0, "pictures kept aside there"))
        # Absent means what the reference trainer does without the setting.
        found += [Line("model.clip_skip", 1, "not set there, which means 1")] if not said.setting(meta, "clip_skip") else []
        found += [Line("model.max_token_length", 75, "not set there, which means 75")] if not said.setting(meta, "max_token_length") else []
    for key, source in (("comment", "ss_training_comment"), ("author", "modelspec.author"), ("license", "modelspec.license")):
        if words := said.text(meta, source):
            found.append(Line(f"save.{key}", words, source))
    return found


def _whole(value: str) -> int | None:
    return said.whole(value) or None


def _flag(value: str) -> bool | None:
    return said.flag(value) if value else None


def _tokens(value: str) -> int | None:
    return {150: 150, 225: 225, 75: 75, 77: 75}.get(said.whole(value) or 0)


def _positive(value: str) -> float | None:
    return said.number(value) or None


# (our key, its name behind ss_, text -> value or None)
_PLAIN: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("train.batch_size", "batch_size_per_device", _whole),
    ("train.accumulation", "gradient_accumulation_steps", _whole),
    ("train.max_grad_norm", "max_grad_norm", said.number),
    ("train.mixed_precision", "mixed_precision", lambda value: PRECISION.get(value.lower())),
    ("train.min_snr_gamma", "min_snr_gamma", _positive),
    ("train.noise_offset", "noise_offset", _positive),
    ("train.prior_loss_weight", "prior_loss_weight", said.number),
    ("train.gradient_checkpointing", "gradient_checkpointing", _flag),
    ("train.seed", "seed", said.whole),
    ("data.shuffle", "shuffle_caption", _flag),
    ("data.keep_tokens", "keep_tokens", said.whole),
    ("data.flip", "flip_aug", _flag),
    ("model.clip_skip", "clip_skip", _whole),
    ("model.max_token_length", "max_token_length", _tokens),
)


def _length(meta: Meta) -> Iterator[Line]:
    """Epochs where the steps are whole epochs, else steps; and the rates, which fall back to one another."""
    epochs, steps, batches = (said.whole(meta.get(f"ss_{key}", "")) for key in ("num_epochs", "max_train_steps", "num_batches_per_epoch"))
    each = said.whole(said.setting(meta, "gradient_accumulation_steps")) or 1
    if epochs and (not steps or not batches or steps == epochs * -(-batches // each)):
        yield Line("train.epochs", epochs, "ss_num_epochs")
    elif steps:
        yield Line("train.steps", steps, "ss_max_train_steps")
    for key, source in (("unet_lr", "unet_lr"), ("text_encoder_lr", "text_encoder_lr")):
        rate = said.number(meta.get(f"ss_{source}", ""))
        if rate is not None:
            yield Line(f"train.{key}", rate, f"ss_{source}")
        elif (common := said.number(meta.get("ss_learning_rate", ""))) is not None:
            yield Line(f"train.{key}", common, f"ss_learning_rate: no ss_{source}")


def optimizer_of(meta: Meta) -> tuple[str, dict[str, Any]]:
    """(class name, options) of `bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.99))`."""
    head, _, rest = said.text(meta, "ss_optimizer").partition("(")
    options: dict[str, Any] = {}
    for match in re.finditer(r"([A-Za-z_]\w*)\s*=\s*(\([^()]*\)|\[[^\[\]]*\]|[^,()]+)", rest.removesuffix(")")):
        options[match[1]] = _option(match[2].strip())
    return head.rpartition(".")[2].strip(), options


def _option(value: str) -> Any:
    if value[:1] in "([":
        found = [said.number(piece) for piece in value.strip("()[]").split(",") if piece.strip()]
        return [number for number in found if number is not None]
    as_flag = {"true": True, "false": False}.get(value.lower())
    as_number = said.number(value)
    return as_flag if as_flag is not None else as_number if as_number is not None else value.strip("'\"")


def _optimizer(meta: Meta) -> Iterator[Line]:
    name, options = optimizer_of(meta)
    known = {option.lower(): option for option in OPTIMIZERS}
    if name.lower() in known:
        yield Line("train.optimizer", known[name.lower()], "ss_optimizer")
        if options:
            yield Line("train.optimizer_args", options, "ss_optimizer")


def _scheduler(meta: Meta) -> Iterator[Line]:
    name = said.text(meta, "ss_lr_scheduler").lower()
    if name in SCHEDULERS:
        yield Line("train.scheduler", name, "ss_lr_scheduler")
    warmup = said.number(meta.get("ss_lr_warmup_steps", ""))
    if warmup:
        yield Line("train.warmup", warmup, "ss_lr_warmup_steps")


def _buckets(meta: Meta) -> Iterator[Line]:
    """Resolution, buckets, and the repeats of a folder whose name does not hold them."""
    if size := said.size_px(said.setting(meta, "resolution")):
        side = round((size[0] * size[1]) ** 0.5 / 8) * 8
        other = f"ss_resolution: the square nearest to {size[0]} x {size[1]}"
        yield Line("data.resolution", side, "ss_resolution" if size == (side, side) else other)
    buckets = said.flag(said.setting(meta, "enable_bucket"))
    if buckets is not None:
        yield Line("data.buckets", buckets, "ss_enable_bucket")
    if buckets:
        for end in ("min", "max"):
            if px := said.whole(said.setting(meta, f"{end}_bucket_reso")):
                yield Line(f"data.{end}_bucket", px, f"ss_{end}_bucket_reso")
    plain_folders = [folder for folder in said_tags.folders(meta) if not folder.regularization]
    if len(plain_folders) == 1 and plain_folders[0].repeats and not repeats_of(plain_folders[0].name):
        yield Line("data.repeats", plain_folders[0].repeats, "of the one folder, whose name does not say it")
    no_upscale = said.flag(said.setting(meta, "bucket_no_upscale"))
    if no_upscale is not None:
        yield Line("data.upscale_small", not no_upscale, "ss_bucket_no_upscale, its opposite")


def network_lines(meta: Meta, network: Mapping[str, Any], kind: str) -> list[Line]:
    """Type, ranks, alphas and target. `network` as model_facts.network gives it, `kind` as model_kinds: what the tensors say goes first."""
    found = []
    if kind in ("lora", "locon"):
        found.append(Line("network.type", kind, "from the tensors"))
    args = said.table(meta.get("ss_network_args", ""))
    for key, values, told in (
        ("rank", network.get("rank"), meta.get("ss_network_dim", "")),
        ("conv_rank", network.get("conv_rank"), args.get("conv_dim", "")),
    ):
        if values:
            note = "from the tensors" if len(values) == 1 else f"the largest: the tensors have {plain(min(values))} to {plain(max(values))}"
            found.append(Line(f"network.{key}", max(values), note))
        elif rank := said.whole(told):
            found.append(Line(f"network.{key}", rank, "ss_network_dim" if key == "rank" else "ss_network_args"))
    for key, values, told in (
        ("alpha", network.get("alpha"), meta.get("ss_network_alpha", "")),
        ("conv_alpha", network.get("conv_alpha"), args.get("conv_alpha", "")),
    ):
        alpha = said.number(told) or (max(values) if values else None)
        source = "ss_network_alpha" if key == "alpha" else "ss_network_args"
        if alpha and (key == "alpha" or network.get("conv_rank")):
            found.append(Line(f"network.{key}", alpha, source if said.number(told) else "from the tensors"))
    sides = set(network.get("layers", {}))
    if sides == {"unet"} or (sides and "unet" not in sides):
        found.append(Line("network.target", "unet" if "unet" in sides else "text_encoder", "the file has layers of nothing else"))
    return found


def left(meta: Meta, kind: str) -> list[str]:
    """What the metadata asks for that has no key here, or none yet."""
    found = []
    name, _ = optimizer_of(meta)
    if name and name.lower() not in {option.lower() for option in OPTIMIZERS}:
        found.append(f"optimizer {name}: {_later('train.optimizer', name)}; its rates may not suit another one")
    scheduler = said.text(meta, "ss_lr_scheduler").lower()
    if scheduler and scheduler not in SCHEDULERS:
        found.append(f"lr_scheduler {scheduler}: {_later('train.scheduler', scheduler.partition(':')[0])}")
    if kind not in ("lora", "locon"):
        found.append(f"network type {kind}: {_later('network.type', kind)}")
    args = said.table(meta.get("ss_network_args", ""))
    asked = {key.removeprefix("ss_"): value for key, value in meta.items() if key.startswith("ss_")}
    asked |= {str(key): str(value) for key, value in args.items() if key not in ("conv_dim", "conv_alpha", "algo", "dropout", "preset")}
    defaults = {key.removeprefix("ss_"): str(value) for key, value in metadata.DEFAULTS.items()}
    for name, value in asked.items():
        if name not in TOLD and value.strip().lower() not in OFF and value != defaults.get(name) and name not in kohya.NOTHING_TO_SET:
            found.append(_no_key(said.clean(name, 60), said.clean(value, 80)))
    if vae := said.text(meta, "ss_vae_name").replace("\\", "/").rpartition("/")[2]:
        found.append(f"vae {vae}: model.vae, not yet ({topic_of('model.vae')})")
    if str(meta.get("modelspec.prediction_type", "")).lower().startswith("v"):
        found.append(f"v-prediction: model.prediction, not yet ({topic_of('model.prediction')})")
    return found


def _later(key: str, value: str) -> str:
    topic = NOT_YET_VALUES[key].get(value.lower())
    return f"not yet ({topic})" if topic else "not known here"


def _no_key(name: str, value: str) -> str:
    meant = kohya.names().get(name, "")
    topic = topic_of(meant.partition(":")[0]) if meant else None
    return f"{name} {value}: {f'{meant}, not yet ({topic})' if topic else meant or 'no key for it here'}"

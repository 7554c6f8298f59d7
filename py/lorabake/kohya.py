"""Names that kohya's trainer, its guides and their scripts use, and what each is called here.

Only names, to answer someone who types one. Not here: reading such files (the importer does that).
"""

from collections.abc import Mapping

from lorabake.settings import keys

# Beside the names that stand with each key in settings.py.
OTHER_NAMES: Mapping[str, str] = {
    "adaptive_noise_scale": "train.noise_offset",
    "alpha_mask": "data.mask",
    "bs": "train.batch_size",
    "base_weights": "network.merge_first",
    "base_weights_multiplier": "network.merge_first",
    "batch": "train.batch_size",
    "block_dims": "network.blocks",
    "bucket_no_upscale": "data.upscale_small: false",
    "caption_dropout_every_n_epochs": "data.caption_dropout_every",
    "caption_dropout_rate": "data.caption_dropout",
    "caption_prefix": "data.prefix",
    "caption_suffix": "data.suffix",
    "caption_tag_dropout_rate": "data.tag_dropout",
    "checkpoint": "base_model",
    "ckpt": "base_model",
    "color_aug": "data.color",
    "conv_block_dims": "network.blocks",
    "cpu_threads": "train.cpu_threads",
    "dataset_config": "images and data",
    "dataset_dir": "images",
    "debiased_estimation_loss": "train.debiased",
    "dim": "network.rank",
    "dim_from_weights": "network.continue_from",
    "down_lr_weight": "network.blocks",
    "enable_wildcard": "data.wildcards",
    "epoch": "train.epochs",
    "fp8_base": "train.vram",
    "full_bf16": "train.mixed_precision",
    "full_fp16": "train.mixed_precision",
    "grad_acc_steps": "train.accumulation",
    "highvram": "train.vram",
    "huber_c": "train.loss",
    "huber_schedule": "train.loss",
    "image_dir": "images",
    "in_json": "images",
    "learning_rate": "train.unet_lr and train.text_encoder_lr",
    "logging_dir": "log.tensorboard",
    "log_with": "log.tensorboard",
    "lora_alpha": "network.alpha",
    "lora_rank": "network.rank",
    "loraplus_lr_ratio": "network.lora_plus",
    "loss_type": "train.loss",
    "lowram": "train.vram",
    "lr": "train.unet_lr and train.text_encoder_lr",
    "lr_warmup": "train.warmup",
    "masked_loss": "data.mask",
    "max_bucket_resolution": "data.max_bucket",
    "max_timestep": "train.timesteps",
    "max_train_epoches": "train.epochs",
    "metadata_description": "save.comment",
    "metadata_title": "name",
    "mid_lr_weight": "network.blocks",
    "min_bucket_resolution": "data.min_bucket",
    "min_timestep": "train.timesteps",
    "model_path": "base_model",
    "multires_noise_discount": "train.multires",
    "multires_noise_iterations": "train.multires",
    "network_args": "network.conv_rank and network.conv_alpha",
    "network_dropout": "network.dropout",
    "network_rank": "network.rank",
    "network_weights": "network.continue_from",
    "num_epochs": "train.epochs",
    "num_repeats": "data.repeats",
    "pretrained_model": "base_model",
    "random_crop": "data.random_crop",
    "sample_at_first": "samples.at_start",
    "save_last_n_steps": "save.keep_last",
    "save_state_on_train_end": "save.state_minutes",
    "shuffle_captions": "data.shuffle",
    "te_lr": "train.text_encoder_lr",
    "token_warmup_min": "data.token_warmup",
    "token_warmup_step": "data.token_warmup",
    "up_lr_weight": "network.blocks",
    "use_8bit_adam": "train.optimizer: AdamW8bit",
    "use_lion_optimizer": "train.optimizer: Lion",
    "v_parameterization": "model.prediction",
    "vae": "model.vae",
    "validation_seed": "train.seed",
    "weighted_captions": "data.weighted",
}

# Nothing to set here, and why.
NOTHING_TO_SET: Mapping[str, str] = {
    "bucket_reso_steps": "buckets are always 64 px apart, 8 px for the pocket model",
    "initial_epoch": "a run that was interrupted goes on by itself",
    "max_data_loader_n_workers": "pictures are cached",
    "mem_eff_attn": "fast attention is always on",
    "no_half_vae": "the VAE's precision is chosen by itself",
    "persistent_data_loader_workers": "pictures are cached",
    "resume": "a run that was interrupted goes on by itself",
    "save_model_as": "files are always .safetensors",
    "sdpa": "fast attention is always on",
    "tokenizer_cache_dir": "the tokenizer ships with lorabake",
    "v2": "the family is recognised from the file",
    "vae_batch_size": "pictures are cached",
    "xformers": "fast attention is always on",
}


def names() -> dict[str, str]:
    """kohya's name -> what it is here. Where one name of ours equals it, ours stands."""
    found = dict(OTHER_NAMES)
    for key in keys():
        for name in key.kohya_names:
            found.setdefault(name, key.dotted)
    return found | {"network_train_unet_only": "network.target: unet", "network_train_text_encoder_only": "network.target: text_encoder"}

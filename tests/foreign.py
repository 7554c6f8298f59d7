"""LoRA files as other trainers leave them: kohya's metadata for an SDXL LoRA, and what a fuzzer may put into metadata."""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path

from hypothesis import strategies as st

from lorabake.families import layers

WIDTH = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}
DIRS = {"10_anna dress": {"n_repeats": 10, "img_count": 20}, "3_anna face": {"n_repeats": 3, "img_count": 10}}
TAGS = {
    "10_anna dress": {"anna": 20, "1girl": 20, "red dress": 18, "smile": 4},
    "3_anna face": {"anna": 10, "1girl": 9, "close-up": 10},
    "1_woman": {"1girl": 90},
}
SDXL = {
    "ss_session_id": "1234567",
    "ss_training_started_at": "1700000000.5",
    "ss_training_finished_at": "1700003725.0",
    "ss_output_name": "anna_xl",
    "ss_learning_rate": "0.0001",
    "ss_text_encoder_lr": "[5e-05, 5e-05]",
    "ss_unet_lr": "None",
    "ss_num_train_images": "230",
    "ss_num_reg_images": "0",
    "ss_num_batches_per_epoch": "115",
    "ss_num_epochs": "10",
    "ss_epoch": "8",
    "ss_batch_size_per_device": "2",
    "ss_total_batch_size": "2",
    "ss_gradient_checkpointing": "True",
    "ss_gradient_accumulation_steps": "1",
    "ss_max_train_steps": "1150",
    "ss_steps": "920",
    "ss_lr_warmup_steps": "100",
    "ss_lr_scheduler": "cosine",
    "ss_network_module": "networks.lora",
    "ss_network_dim": "8",
    "ss_network_alpha": "4.0",
    "ss_network_dropout": "0.1",
    "ss_network_args": json.dumps({"conv_dim": "4", "conv_alpha": "1", "dropout": 0.1}),
    "ss_mixed_precision": "bf16",
    "ss_v2": "False",
    "ss_base_model_version": "sdxl_base_v1-0",
    "ss_clip_skip": "None",
    "ss_max_token_length": "225",
    "ss_cache_latents": "True",
    "ss_seed": "42",
    "ss_noise_offset": "0.0357",
    "ss_min_snr_gamma": "5.0",
    "ss_caption_dropout_rate": "0.1",
    "ss_prior_loss_weight": "1.0",
    "ss_max_grad_norm": "1.0",
    "ss_optimizer": "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.99))",
    "ss_training_comment": "trained in D:\\Anna Miller\\sets for fun",
    "ss_sd_model_name": "C:\\Users\\miller\\Models\\ponyXL.safetensors",
    "ss_new_sd_model_hash": "ab" * 32,
    "ss_sd_model_hash": "1234abcd",
    "ss_vae_name": "/home/miller/vae/sdxl_vae.safetensors",
    "ss_resolution": "(1024, 1024)",
    "ss_enable_bucket": "True",
    "ss_min_bucket_reso": "512",
    "ss_max_bucket_reso": "2048",
    "ss_bucket_no_upscale": "True",
    "ss_shuffle_caption": "True",
    "ss_keep_tokens": "1",
    "ss_flip_aug": "False",
    "ss_dataset_dirs": json.dumps(DIRS),
    "ss_reg_dataset_dirs": json.dumps({"1_woman": {"n_repeats": 1, "img_count": 100}}),
    "ss_tag_frequency": json.dumps(TAGS),
    "modelspec.sai_model_spec": "1.0.1",
    "modelspec.title": "anna_xl",
    "modelspec.author": "Miller",
    "modelspec.date": "2023-11-14T23:15:25",
    "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
    "modelspec.implementation_version": "sd-scripts/abc123",
    "modelspec.thumbnail": "data:image/jpeg;base64,/9j/4AAQ/SkZJ/RgABAQ==",
}
CONFIG_MODE = {
    "ss_datasets": json.dumps(
        [
            {
                "batch_size_per_device": 4,
                "resolution": [768, 512],
                "enable_bucket": False,
                "tag_frequency": {"5_bob": {"bob": 6, "hat": 1}},
                "subsets": [
                    {
                        "img_count": 6,
                        "num_repeats": 5,
                        "image_dir": "5_bob",
                        "class_tokens": "bob",
                        "is_reg": False,
                        "shuffle_caption": True,
                    },
                    {"img_count": 9, "num_repeats": 1, "image_dir": "man", "class_tokens": "man", "is_reg": True},
                ],
            }
        ]
    )
}


def sdxl_shapes(*, rank: int = 8, conv_rank: int = 4, most: int | None = None) -> dict[str, tuple[int, ...]]:
    """A LoCon on (the first of) the layers of SDXL, as the reference trainer names them."""
    found: dict[str, tuple[int, ...]] = {}
    for name, layer in list(layers.full_size("sdxl").items())[:most]:
        out, *rest = layer.shape
        own = conv_rank if rest[1:] and rest[1] > 1 else rank
        found |= {
            f"{name}.alpha": (),
            f"{name}.lora_down.weight": (own, *rest),
            f"{name}.lora_up.weight": (out, own, *(1 for _ in rest[1:])),
        }
    return found


def write(path: Path, shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, object], *, dtype: str = "F16") -> Path:
    """A .safetensors of zeros (sparse); the metadata are written as they are, whatever they are."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    begin = 0
    for name, shape in shapes.items():
        end = begin + WIDTH[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
        begin = end
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + begin)
    return path


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PIECES = st.sampled_from(
    [
        "C:\\Users\\x\\",
        "/home/x/",
        "\\\\host\\share\\x",
        "~/a",
        "{",
        "[[[",
        "NaN",
        "1e999",
        "9" * 5000,
        "None",
        "\x1b[2J",
        "\ud800",
        "'",
        '"',
    ]
)
TEXTS = st.text(max_size=20) | PIECES | st.builds(lambda a, b: a + b, PIECES, st.text(max_size=12)) | JSON_VALUES.map(json.dumps)
KEYS = st.sampled_from([*SDXL, *CONFIG_MODE, "lorabake", "software", "ot_config", "sshs_model_hash", "modelspec.trigger_phrase"]) | st.text(
    max_size=6
)
METADATA = st.dictionaries(KEYS, TEXTS, max_size=12)
RECORDS = st.fixed_dictionaries(
    {"profile": JSON_VALUES | st.dictionaries(st.sampled_from(["network", "train", "data", "name"]), JSON_VALUES)}
)

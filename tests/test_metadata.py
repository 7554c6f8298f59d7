"""metadata.py: every key that readers look for, in the spelling they expect, and nothing private."""

import dataclasses
import json
from typing import Any

import pytest

from lorabake import metadata
from lorabake.families import Base
from lorabake.hashes import Hashes
from lorabake.plan_data import Picture, PlannedFolder
from lorabake.plan_types import Plan
from lorabake.settings import Data, Model, Network, Samples, Save, Train

HASHES = Hashes("ab" * 32, "1234abcd")
# lora-facts 1.5, "written by every training run", folder mode included.
NAMES = """
session_id training_started_at training_finished_at output_name training_comment learning_rate text_encoder_lr unet_lr
num_train_images num_reg_images num_validation_images num_batches_per_epoch num_epochs max_train_steps steps epoch
gradient_checkpointing gradient_accumulation_steps lr_warmup_steps lr_scheduler optimizer max_grad_norm mixed_precision full_fp16
fp8_base fp8_base_unet lowram network_module network_dim network_alpha network_dropout network_args v2 base_model_version
clip_skip max_token_length cache_latents seed noise_offset noise_offset_random_strength adaptive_noise_scale
multires_noise_iterations multires_noise_discount ip_noise_gamma ip_noise_gamma_random_strength zero_terminal_snr min_snr_gamma
debiased_estimation prior_loss_weight scale_weight_norms loss_type huber_schedule huber_scale huber_c caption_dropout_rate
caption_dropout_every_n_epochs caption_tag_dropout_rate face_crop_aug_range resize_interpolation validation_seed validation_split
max_validation_steps validate_every_n_epochs validate_every_n_steps sd_scripts_commit_hash sd_model_name sd_model_hash
new_sd_model_hash batch_size_per_device total_batch_size resolution color_aug flip_aug random_crop shuffle_caption enable_bucket
bucket_no_upscale min_bucket_reso max_bucket_reso keep_tokens dataset_dirs reg_dataset_dirs tag_frequency bucket_info
"""
EXPECTED = set(NAMES.split())


def folder(path: str, *, repeats: int = 5, regularization: bool = False) -> PlannedFolder:
    name = metadata.last_name(path)
    counts = {"num_pictures": 2, "num_captions": 2, "num_missing": 0, "num_empty": 0}
    return PlannedFolder(path=path, name=name, concept="x", repeats=repeats, regularization=regularization, **counts)


def picture(index: int, caption: str, **changes: Any) -> Picture:
    values = {"path": f"/home/secret/{index}.png", "folder": 0, "width": 300, "height": 200, "bucket": (384, 256), "repeats": 5}
    values |= {"caption": caption, "caption_path": None, "regularization": False, "holdout": False}
    return Picture(**(values | changes))


def plan(**changes: Any) -> Plan:
    """A plan with the given fields; those that the metadata do not read are empty."""
    values: dict[str, Any] = {
        "name": "junwool",
        "output": r"D:\Secret\Loras",
        "profile_path": "/home/secret/p.yaml",
        "profile_text": "name: junwool",
        "base": Base("/home/secret/models/anime.ckpt", "file", "sd1", "ckpt", 10),
        "family": "sd1",
        "network": Network(type="lora", rank=128, alpha=64.0),
        "train": Train(batch_size=4, accumulation=2, warmup="5%", gradient_checkpointing=False, min_snr_gamma=5.0),
        "data": Data(resolution=512, min_bucket=320, max_bucket=960, keep_tokens=1, regularization="/home/secret/reg"),
        "model": Model(clip_skip=2),
        "save": Save(copy_to=r"C:\Users\secret\webui\Lora", comment="Grüße", author="me"),
        "samples": Samples(prompts=("a cat", "1girl")),
        "folders": (
            folder("/home/secret/set/5_a b"),
            folder("/home/secret/other/5_a b", repeats=2),
            folder("/reg/1_x", regularization=True),
        ),
        "pictures": (
            picture(1, "Red, cat,, red "),
            picture(2, "cat", folder=1, repeats=2),
            picture(3, "dog", folder=2, repeats=1, regularization=True),
            picture(4, "secret tag", holdout=True),
        ),
        "buckets": ((384, 256, 8),),
        "batches_per_epoch": 2,
        "total_steps": 12,
        "epochs": 6,
        "unet_lr_used": 6.4e-4,
        "text_encoder_lr_used": 1.2e-4,
        "precision": "fp16",
        "triggers": {"5_a b": "junwool"},
    }
    missing = {field.name: None for field in dataclasses.fields(Plan) if field.name not in values}
    return Plan(**(missing | values | changes))


def about(hashes: Hashes = HASHES, **changes: Any) -> dict[str, str]:
    return metadata.training_metadata(plan(**changes), step=6, epoch=3, started_at=1700000000.5, base_hashes=hashes)


def test_every_key_of_a_training_run_is_there_and_text():
    found = about()
    assert {f"ss_{name}" for name in EXPECTED} == {key for key in found if key.startswith("ss_")}
    assert all(isinstance(value, str) for value in found.values())
    assert {key.partition(".")[0].partition("_")[0] for key in found} == {"ss", "modelspec", "lorabake"}


def test_values_are_spelled_as_pythons_str():
    found = about()
    expected = {
        "steps": "6",
        "epoch": "3",
        "num_epochs": "6",
        "max_train_steps": "12",
        "training_started_at": "1700000000.5",
        "learning_rate": "0.00064",
        "text_encoder_lr": "0.00012",
        "network_dim": "128",
        "network_alpha": "64.0",
        "network_module": "networks.lora",
        "network_args": "{}",
        "network_dropout": "None",
        "optimizer": "bitsandbytes.optim.adamw.AdamW8bit",
        "mixed_precision": "fp16",
        "lr_warmup_steps": "5%",
        "resolution": "(512, 512)",
        "batch_size_per_device": "4",
        "total_batch_size": "8",
        "clip_skip": "2",
        "max_token_length": "150",
        "min_snr_gamma": "5.0",
        "noise_offset": "None",
        "bucket_no_upscale": "False",
        "num_train_images": "7",
        "num_reg_images": "1",
        "num_validation_images": "1",
        "sd_model_name": "anime.ckpt",
        "sd_model_hash": "1234abcd",
        "new_sd_model_hash": "ab" * 32,
        "base_model_version": "sd_v1",
        "v2": "False",
        "training_comment": "Grüße",
    }
    assert {name: found[f"ss_{name}"] for name in expected} == expected


def test_json_keys():
    found = about()
    assert json.loads(found["ss_dataset_dirs"]) == {
        "5_a b": {"n_repeats": 5, "img_count": 2},
        "5_a b (2)": {"n_repeats": 2, "img_count": 2},
    }
    assert json.loads(found["ss_reg_dataset_dirs"]) == {"1_x": {"n_repeats": 5, "img_count": 2}}
    # Once per picture, a tag that stands twice in a caption twice; held-out pictures are not trained on.
    assert json.loads(found["ss_tag_frequency"]) == {"5_a b": {"red": 2, "cat": 1}, "5_a b (2)": {"cat": 1}, "1_x": {"dog": 1}}
    buckets = json.loads(found["ss_bucket_info"])
    assert buckets == {"buckets": {"0": {"resolution": [384, 256], "count": 8}}, "mean_img_ar_error": 0.0}
    assert json.loads(about(data=Data(resolution=512, buckets=False))["ss_bucket_info"]) is None


def test_model_specification():
    found = about()
    assert found["modelspec.architecture"] == "stable-diffusion-v1/lora" and found["modelspec.implementation"] == "diffusers"
    assert (found["modelspec.title"], found["modelspec.resolution"], found["modelspec.encoder_layer"]) == ("junwool", "512x512", "2")
    assert len(found["modelspec.date"]) == 19 and found["modelspec.prediction_type"] == "epsilon"
    assert found["modelspec.author"] == "me" and "modelspec.license" not in found
    assert found["modelspec.trigger_phrase"] == "junwool"


def test_conv_networks_say_their_conv_rank_as_text():
    network = Network(type="locon", rank=32, alpha=16.0, conv_rank=8, conv_alpha=4.0)
    assert json.loads(about(network=network)["ss_network_args"]) == {"conv_dim": "8", "conv_alpha": "4.0"}


def test_untrained_parts_have_no_rate_and_short_captions_no_length():
    assert about(network=Network(rank=4, alpha=4.0, target="unet"))["ss_text_encoder_lr"] == "None"
    assert about(network=Network(rank=4, alpha=4.0, target="text_encoder"))["ss_unet_lr"] == "None"
    assert about(model=Model(clip_skip=1, max_token_length=75))["ss_max_token_length"] == "None"


def test_a_folder_as_base_has_no_file_hashes():
    found = about(Hashes("cd" * 32, ""), base=Base("/home/secret/model", "folder", "sd1", "diffusers", 10))
    assert "ss_sd_model_hash" not in found and "ss_new_sd_model_hash" not in found
    assert json.loads(found["lorabake"])["base_sha256"] == "cd" * 32


def test_files_of_one_run_share_a_session():
    assert about()["ss_session_id"] == about()["ss_session_id"]
    other = metadata.training_metadata(plan(), step=6, epoch=3, started_at=3.0, base_hashes=HASHES)
    assert about()["ss_session_id"] != other["ss_session_id"] and int(other["ss_session_id"]) < 2**32


def test_our_own_key_can_bake_it_again():
    record = json.loads(about()["lorabake"])
    profile = record["profile"]
    assert (profile["name"], profile["base_model"], profile["images"], profile["output"]) == ("junwool", "anime.ckpt", "set", "Loras")
    assert profile["network"]["rank"] == 128 and profile["train"]["optimizer"] == "AdamW8bit" and profile["data"]["regularization"] == "reg"
    assert record["version"] and record["versions"]["python"] and record["total_steps"] == 12
    for name, block in (("network", Network), ("train", Train), ("data", Data), ("model", Model), ("samples", Samples)):
        block(**profile[name])  # what stands there is valid as a profile


def test_no_path_of_the_machine_is_written():
    for value in about(samples=Samples(prompts="/home/secret/prompts.txt")).values():
        assert "/home" not in value and "Secret\\" not in value and "C:\\" not in value and "Users" not in value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (r"D:\a\b.png", "b.png"),
        ("D:/a/b.png", "b.png"),
        (r"\\server\share\x", "x"),
        ("/a/b/", "b"),
        ("a/b", "a/b"),
        ("1girl, solo", "1girl, solo"),
        ({"x": ["/a/b", 3, None]}, {"x": ["b", 3, None]}),
    ],
)
def test_absolute_paths_become_their_last_name(value, expected):
    assert metadata.without_paths(value) == expected


def test_optimizer_arguments():
    text = metadata.optimizer_text("AdamW", {"weight_decay": 0.1, "betas": (0.9, 0.99)})
    assert text == "torch.optim.adamw.AdamW(weight_decay=0.1,betas=(0.9, 0.99))"

"""lora_profile.py and what makes the text: our files give their settings back, other trainers' what they tell; all of it is readable."""

import json
import os
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import finished
import foreign
from lorabake import (
    kohya_metadata,
    lora_profile,
    lora_words,
    metadata,
    modelfile,
    profile,
    profile_again,
    settings_later,
    yaml_lines,
    yaml_nodes,
)
from lorabake.errors import UserError
from lorabake.settings import BLOCKS
from lorabake.yaml_lines import Line

GOLDEN = Path(__file__).parent / "golden" / "info"
LORA = foreign.sdxl_shapes(most=3)


def run(*words: str) -> int:
    return lora_profile.main(lora_words.parse(None, ["profile", *words]))


def contents(meta: dict[str, str], shapes=None) -> modelfile.Contents:
    shapes = LORA if shapes is None else shapes
    return modelfile.Contents("safetensors", shapes, 10, meta, dtypes=dict.fromkeys(shapes, "F16"))


def loaded(text: str) -> profile.Loaded:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "again.yaml"
        path.write_text(text, encoding="utf-8")
        return profile.load(path)


def golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("LORABAKE_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


CHANGES = {
    "plain": {},
    "steps": {"train.steps": "7", "train.warmup": "5%", "train.optimizer_args": "{weight_decay: 0.1, betas: [0.9, 0.99]}"},
    "locon": {
        "network.type": "locon",
        "network.conv_rank": "2",
        "train.scheduler": "polynomial",
        "train.power": "1.5",
        "data.buckets": "false",
    },
    "texts": {
        "save.comment": 'it\'s "mine": C:\\new # no comment',
        "save.author": "no",
        "save.tags": "1girl, solo",
        "samples.prompts": "['1girl, solo', 'yes', '0777']",
        "samples.negative": "worst quality, (bad:1.3)",
        "data.background": "#ff8800",
        "network.target": "unet",
    },
}


@pytest.mark.parametrize("name", CHANGES)
def test_our_own_settings_come_back_exactly(tmp_path, name):
    path, plan = finished.make(tmp_path, CHANGES[name])
    assert run(str(path), "--out", str(tmp_path / "again.yaml")) == 0
    found = profile.load(tmp_path / "again.yaml")
    record = json.loads(modelfile.read_header(path).metadata[metadata.OUR_KEY])["profile"]
    for block in BLOCKS.keys() & record.keys():
        own = metadata.without_paths(getattr(found.profile, block).model_dump(mode="json"))
        own.pop("copy_to", None)
        if block == "train" and record["train"]["steps"] is not None:
            own["epochs"] = record["train"]["epochs"]  # follows from the steps
        assert own == record[block]
    assert found.profile.name == plan.name
    assert (Path(found.profile.base_model).name, Path(found.profile.images).name, Path(found.profile.output).name) == (
        "tiny.safetensors",
        "set",
        "out",
    )


def test_golden_texts(tmp_path):
    golden("ours.yaml", profile_again.text(path := finished.make(tmp_path)[0], modelfile.read_contents(path)))
    golden("sdxl.yaml", profile_again.text(Path("anna.safetensors"), contents(foreign.SDXL, foreign.sdxl_shapes())))


def test_what_the_reference_trainer_tells():
    found = loaded(profile_again.text(Path("anna.safetensors"), contents(foreign.SDXL, foreign.sdxl_shapes()))).profile
    network, train, data = found.network, found.train, found.data
    assert (network.type, network.rank, network.alpha, network.conv_rank, network.conv_alpha) == ("locon", 8, 4, 4, 1)
    assert (train.epochs, train.unet_lr, train.text_encoder_lr, train.scale_lr_by_batch) == (10, 1e-4, 5e-5, False)
    assert (train.optimizer, train.optimizer_args) == ("AdamW8bit", {"weight_decay": 0.1, "betas": (0.9, 0.99)})
    assert (train.scheduler, train.warmup, train.batch_size, train.seed, train.mixed_precision) == ("cosine", 100, 2, 42, "bf16")
    assert (train.noise_offset, train.min_snr_gamma, train.gradient_checkpointing) == (0.0357, 5, True)
    assert (data.resolution, data.min_bucket, data.max_bucket, data.upscale_small, data.shuffle, data.keep_tokens) == (
        1024,
        512,
        2048,
        False,
        True,
        1,
    )
    assert (found.model.clip_skip, found.model.max_token_length, found.save.precision) == (1, 225, "fp16")
    assert found.save.comment == foreign.SDXL["ss_training_comment"]


def test_config_mode():
    found = loaded(profile_again.text(Path("bob.safetensors"), contents({**foreign.CONFIG_MODE, "ss_max_train_steps": "500"}))).profile
    assert (found.train.batch_size, found.train.steps, found.data.buckets, found.data.shuffle) == (4, 500, False, True)
    assert found.data.resolution == 624  # the square nearest to 768 x 512


def test_repeats_of_a_folder_without_a_number():
    meta = {"ss_dataset_dirs": json.dumps({"anna": {"n_repeats": 7, "img_count": 3}}), "ss_validation_split": "0.1"}
    data = loaded(profile_again.text(Path("a.safetensors"), contents(meta))).profile.data
    assert (data.repeats, data.holdout) == (7, 0.1)


def test_what_is_left_is_said():
    told = {
        "ss_optimizer": "prodigyopt.prodigy.Prodigy(decouple=True)",
        "ss_lr_scheduler": "adafactor:0.0001",
        "ss_network_dropout": "0.1",
        "ss_caption_dropout_rate": "0.05",
        "ss_scale_weight_norms": "1.0",
        "ss_vae_name": "v.pt",
        "ss_multires_noise_iterations": "6",
        "ss_zero_terminal_snr": "False",
        "ss_network_args": json.dumps({"algo": "loha", "rank_dropout": "0.2"}),
        "modelspec.prediction_type": "v",
    }
    left = "\n".join(kohya_metadata.left(told, "loha"))
    for word in (
        "Prodigy",
        "adafactor",
        "loha",
        "network.dropout",
        "data.caption_dropout",
        "scale_weight_norms",
        "v.pt",
        "train.multires",
        "rank_dropout",
        "v-prediction",
    ):
        assert word in left, word
    assert "zero_terminal" not in left and "None" not in left
    assert kohya_metadata.left({}, "lora") == []
    assert kohya_metadata.left({f"{key}": str(value) for key, value in metadata.DEFAULTS.items()}, "lora") == []


def test_a_setting_that_cannot_be_becomes_a_comment():
    meta = {**foreign.SDXL, "ss_network_alpha": "64", "ss_lr_scheduler": "constant", "ss_min_bucket_reso": "500", "ss_seed": "99999999999"}
    text = profile_again.text(Path("x.safetensors"), contents(meta, foreign.sdxl_shapes()))
    for key in ("alpha: 64", "warmup: 100", "min_bucket: 500", "seed: 99999999999"):
        assert [line for line in text.splitlines() if line.strip().startswith(f"# {key}") and "not taken" in line], key
    assert loaded(text).profile.network.alpha is None


def test_a_record_of_another_version():
    record = {
        "profile": {"name": "CON", "base_model": "C:\\x\\y.ckpt", "train": {"epochs": 3, "new_thing": 1, "seed": "x"}, "moon": {"a": 1}}
    }
    found = loaded(profile_again.text(Path("mine.safetensors"), contents({metadata.OUR_KEY: json.dumps(record)})))
    assert found.profile.train.epochs == 3 and found.profile.name == "mine" and Path(found.profile.base_model).name == "y.ckpt"


def test_pocket_stays_a_word():
    record = {"profile": {"name": "a", "base_model": "pocket.safetensors", "images": "x", "output": "x"}}
    found = loaded(profile_again.text(Path("a.safetensors"), contents({metadata.OUR_KEY: json.dumps(record)}))).profile
    assert found.base_model == "pocket" and found.images != found.output


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_alphas_without_metadata(tmp_path, dtype):
    tensors = {}
    for name, value, kernel in (("lora_unet_mid_block_attentions_0_proj_in", 3, ()), ("lora_unet_mid_block_resnets_0_conv1", 2, (3, 3))):
        tensors |= {f"{name}.alpha": torch.tensor(value, dtype=dtype), f"{name}.lora_up.weight": torch.ones(4, 4, *(1 for _ in kernel))}
        tensors |= {f"{name}.lora_down.weight": torch.ones(4, 4, *kernel)}
    save_file(tensors, tmp_path / "a.safetensors")
    run(str(tmp_path / "a.safetensors"))
    network = profile.load(tmp_path / "a.yaml").profile.network
    assert (network.type, network.rank, network.alpha, network.conv_rank, network.conv_alpha, network.target) == (
        "locon",
        4,
        3,
        4,
        2,
        "unet",
    )
    assert "no metadata of a training" in (tmp_path / "a.yaml").read_text(encoding="utf-8")


def test_refusals(tmp_path):
    path = foreign.write(tmp_path / "a.safetensors", LORA, foreign.SDXL)
    (tmp_path / "a.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="already"):
        run(str(path))
    assert (tmp_path / "a.yaml").read_text(encoding="utf-8") == "mine"
    save_file({"decoder.conv_in.weight": torch.ones(8, 4, 3, 3)}, tmp_path / "v.safetensors")
    with pytest.raises(UserError, match="only a LoRA"):
        run(str(tmp_path / "v.safetensors"))


def test_a_pickle(tmp_path):
    torch.save(
        {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.ones(2, 8), "x.alpha": torch.ones(())}, tmp_path / "a.pt"
    )
    run(str(tmp_path / "a.pt"))
    assert profile.load(tmp_path / "a.yaml").profile.network.target == "text_encoder"


def test_every_key_is_a_key():
    known = set(profile_again.ORDER)
    meta = {**foreign.SDXL, "ss_max_train_steps": "1149"}
    lines = [*kohya_metadata.lines(meta), *kohya_metadata.lines(foreign.SDXL)]
    lines += kohya_metadata.network_lines(foreign.SDXL, {"rank": [4], "conv_rank": [2], "layers": {"unet": 3}}, "locon")
    assert {line.key for line in lines} <= known
    assert not [line.key for line in lines if settings_later.topic_of(line.key)]


@given(foreign.METADATA)
@settings(deadline=None, max_examples=150)
def test_any_metadata_give_a_readable_profile(meta):
    meta.pop(metadata.OUR_KEY, None)
    loaded(profile_again.text(Path("x.safetensors"), contents(meta)))


@given(foreign.RECORDS)
@settings(deadline=None, max_examples=150)
def test_any_record_gives_a_readable_profile(record):
    loaded(profile_again.text(Path("x.safetensors"), contents({metadata.OUR_KEY: json.dumps(record)})))


PLAIN = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3), max_leaves=6))
@settings(deadline=None, max_examples=500)
def test_values_come_back_as_they_were(value):
    root, mistakes = yaml_nodes.compose(yaml_lines.text(["# head"], [Line("name", value, "why: because")], ["tail"]))
    assert root is not None and not mistakes
    (entry,) = yaml_nodes.entries(root)
    assert entry.key == "name"
    assert entry.node.value == value if isinstance(value, str) else yaml_nodes.raw(entry.node) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (8e-5, "8e-5"),
        (True, "true"),
        (4.0, "4"),
        (None, "null"),
        ("yes", "'yes'"),
        ("D:\\new\\x", "'D:\\new\\x'"),
        ("it's", "'it''s'"),
        ("a\nb", '"a\\nb"'),
        ((512, 512), "[512, 512]"),
        ({"betas": [0.9, 0.99]}, "{betas: [0.9, 0.99]}"),
        ("\ud800", '"\\ufffd"'),
    ],
)
def test_how_values_are_written(value, written):
    assert yaml_lines.scalar(value) == written

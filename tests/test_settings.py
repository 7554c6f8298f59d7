"""The table of keys: complete, true to the contract, the only place of a default; reference page and JSON Schema are fresh."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from lorabake import settings
from lorabake.kinds import Kind, Wrong
from lorabake.networks import NETWORKS
from lorabake.profile import load
from lorabake.settings import Data, Network, Profile, Samples, Save, Tag, Train, keys
from lorabake.settings_later import NOT_YET, NOT_YET_VALUES, topic_of

ROOT = Path(__file__).parents[1]
ALL = list(keys())
KEYS = {key.dotted: key for key in ALL}

# The contract of the profile: key -> default (None: auto or nothing).
CONTRACT = {
    "stack": None,
    "network.type": "lora", "network.rank": None, "network.alpha": None, "network.conv_rank": None, "network.conv_alpha": None,
    "network.target": "both", "train.epochs": 6, "train.steps": None, "train.batch_size": None, "train.accumulation": 1,
    "train.unet_lr": 8e-5,
    "train.text_encoder_lr": 1.5e-5, "train.scale_lr_by_batch": True, "train.optimizer": "AdamW8bit", "train.optimizer_args": {},
    "train.scheduler": "cosine_with_restarts", "train.restarts": 1, "train.power": 1, "train.warmup": 0, "train.max_grad_norm": 1.0,
    "train.mixed_precision": None, "train.min_snr_gamma": None, "train.noise_offset": 0, "train.prior_loss_weight": 1.0,
    "train.gradient_checkpointing": None, "train.seed": 23, "train.device": None, "train.processes": 1, "train.cpu_threads": None,
    "train.background": False, "train.deterministic": False, "data.resolution": None, "data.min_bucket": None, "data.max_bucket": None,
    "data.buckets": True, "data.upscale_small": True, "data.repeats": 5, "data.background": "white", "data.caption_extension": ".txt",
    "data.keep_tokens": None, "data.shuffle": False, "data.flip": False, "data.regularization": None, "data.holdout": None,
    "data.cache": "disk",
    "model.clip_skip": None, "model.look": "anime", "model.max_token_length": 150, "save.every_epochs": 1, "save.every_steps": None,
    "save.precision": "fp16", "save.keep_last": None, "save.state_minutes": 10, "save.comment": "", "save.author": "", "save.tags": "",
    "save.license": "", "save.copy_to": None, "samples.prompts": None, "samples.every_epochs": 1, "samples.every_steps": None,
    "samples.at_start": False, "samples.size": None, "samples.steps": 20, "samples.cfg": 7, "samples.sampler": "dpm++_2m",
    "samples.negative": "", "samples.seeds": (1,), "tag.model": "wd-swinv2-tagger-v3", "tag.preset": "none", "tag.trigger": None,
    "tag.threshold": 0.35, "tag.character_threshold": None, "tag.exclude": (), "tag.replace": {}, "tag.first": (), "tag.append": (),
    "tag.underscores": False, "tag.character_first": False, "tag.character_expand": False, "tag.rating": "no", "tag.order": None,
    "tag.existing": "keep", "tag.batch_size": None, "tag.rules": (),
}  # fmt: skip
REQUIRED = ("name", "base_model", "images", "output")
ANY_WORD = ("name", "tag.model", "tag.trigger", "tag.exclude", "tag.first", "tag.append")


def tool():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "tools" / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_keys_and_defaults_are_those_of_the_contract():
    assert {key.dotted: key.default for key in ALL if not key.required} == CONTRACT
    assert tuple(key.dotted for key in ALL if key.required) == REQUIRED


@pytest.mark.parametrize("key", ALL, ids=KEYS)
def test_every_key_says_what_it_is(key):
    assert isinstance(key.kind, Kind)
    assert key.meaning.endswith((".", "`."))
    assert key.kind.allowed.isascii()
    assert key.default is None or key.kind.fits(key.default)
    assert not (key.auto and key.default is not None), "auto is None"


@pytest.mark.parametrize("key", [key for key in ALL if not key.required and key.default is not None], ids=lambda key: key.dotted)
def test_a_typed_default_is_the_default(key):
    value = key.default
    typed = (
        [str(v) for v in value]
        if isinstance(value, tuple)
        else value
        if isinstance(value, dict)
        else str(value).lower()
        if value != "AdamW8bit"
        else value
    )
    assert key.kind.parse(typed) == value


def test_kohya_names_are_unique():
    names = [name for key in ALL for name in key.kohya_names]
    assert len(names) == len(set(names))


def test_the_rows_of_networks_are_the_types():
    assert KEYS["network.type"].kind.choices == tuple(NETWORKS)
    assert not set(NETWORKS) & set(NOT_YET_VALUES["network.type"])


def test_what_works_is_not_among_what_does_not_yet():
    assert not [dotted for dotted in KEYS if topic_of(dotted)]
    for dotted, values in NOT_YET_VALUES.items():
        kind = KEYS[dotted].kind
        assert not {choice.lower() for choice in kind.choices} & set(values)
    assert all(block in settings.BLOCKS for block in {dotted.partition(".")[0] for dotted in NOT_YET if "." in dotted})


def test_models_are_frozen_and_strict():
    with pytest.raises(ValidationError):
        Train(epoch=3)
    with pytest.raises(ValidationError):
        Train().epochs = 3
    with pytest.raises(ValidationError):
        Profile(name="a", base_model="pocket", images="b")


@pytest.mark.parametrize(
    ("block", "values"),
    [
        (Train, {"epochs": 0}),
        (Train, {"unet_lr": 11.0}),
        (Train, {"scheduler": "rex"}),
        (Train, {"warmup": 1.5}),
        (Train, {"device": 3}),
        (Network, {"type": "loha"}),
        (Network, {"alpha": 0.0}),
        (Data, {"resolution": 500}),
        (Data, {"holdout": "5%"}),
        (Save, {"precision": "no"}),
        (Samples, {"seeds": ()}),
        (Samples, {"size": (512, 500)}),
        (Samples, {"prompts": ("",)}),
        (Tag, {"threshold": 0.0}),
        (Tag, {"preset": "person"}),
        (Tag, {"existing": "append"}),
        (Tag, {"exclude": "solo"}),
        (Tag, {"rules": {"remove": "solo"}}),
    ],
)
def test_models_refuse_what_the_reader_refuses(block, values):
    with pytest.raises(ValidationError):
        block(**values)


@pytest.mark.parametrize(
    "block",
    [
        Train(optimizer_args={"betas": (0.9, 0.99), "weight_decay": 0.1, "n": 1, "amsgrad": True, "mode": "x"}, warmup="5%", unet_lr=1e-7),
        Train(warmup=0.5, steps=10),
        Train(warmup=100),
        Network(rank=4, alpha=1.5),
        Data(holdout=0.05),
        Data(holdout=8),
        Samples(prompts=("a, b",), size=(512, 768), seeds=(1, 2)),
        Samples(prompts="prompts.txt", size=512),
        Tag(trigger={"5_anna": "anna"}, exclude=("solo", "1*"), replace={"1boy": "1girl"}, character_threshold=0.8),
        Tag(rules=({"find": "1boy", "remove": ("solo",), "replace": {"1boy": "1girl"}}, {"dedupe": True}, {"sort": "name"})),
        Profile(name="a", base_model="pocket", images="b", output="c"),
    ],
)
def test_json_brings_back_the_same_values_and_types(block):
    again = type(block).model_validate_json(block.model_dump_json())
    assert again == block
    assert repr(again) == repr(block)


def test_a_wrong_value_is_refused_by_every_kind():
    for key in ALL:
        if "text" in key.kind.allowed or key.kind.is_path or key.dotted in ANY_WORD:
            continue
        with pytest.raises(Wrong):
            key.kind.parse("\u2603 no such value")


def test_reference_and_schema_are_fresh():
    made = tool()
    hint = "run: python tools/make_reference.py"
    assert made.REFERENCE.read_text(encoding="utf-8") == made.reference(), hint
    assert made.SCHEMA.read_text(encoding="utf-8") == made.schema(), hint


def test_reference_names_every_key():
    text = tool().reference()
    for dotted in [*KEYS, *NOT_YET]:
        assert f"`{dotted}`" in text
    rows = [line for line in text.splitlines() if line.startswith("| `") and line.count("|") > 5]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)
    assert len(rows) == len(ALL)


def test_the_example_of_the_reference_loads(tmp_path):
    block = tool().reference().partition("```yaml\n")[2].partition("```")[0]
    path = tmp_path / "a.yaml"
    path.write_text(block, encoding="utf-8")
    assert load(path).profile.name == "junwool"


def validator():
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = json.loads(tool().schema())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def test_schema_takes_the_shipped_profiles():
    checker = validator()
    for path in sorted((ROOT / "profiles").glob("*.yaml")):
        assert not list(checker.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))), path


def test_schema_is_named_by_the_shipped_profiles():
    for path in sorted((ROOT / "profiles").glob("*.yaml")):
        assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=lorabake.schema.json\n"), path


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("train: {unet_lr: 8e-5, warmup: 5%, epochs: 3}", True),
        ("samples: {seeds: 3, size: 512x768, prompts: [a]}", True),
        ("samples: {prompts: a.txt}\ndata:\nnetwork: {rank: auto, alpha: null}", True),
        ("train: {epochs: six}", False),
        ("train: {epochs: 0}", False),
        ("train: {epoch: 3}", False),
        ("network: {type: loha}", False),
        ("network_dim: 3", False),
        ("data: {resolution: 500}", False),
        ("samples: {prompts: []}", True),
        ("tag: {trigger: {5_anna: anna}, exclude: solo, replace: {1boy: 1girl}, rules: [{find: 1boy, remove: [a, b]}, dedupe]}", True),
        ("tag: {trigger: auto, exclude: [solo, 0777], replace: 1boy=1girl, order: auto, character_threshold: 0.8}", True),
        ("tag: {threshold: 0}", False),
        ("tag: {preset: person}", False),
        ("tag: {rules: {remove: a}}", False),
        ("tag: {rules: [{take: a}]}", False),
        ("tag: {rules: [{sort: size}]}", False),
    ],
)
def test_schema_agrees_with_the_reader(text, right, tmp_path):
    whole = f"name: a\nbase_model: pocket\nimages: b\noutput: c\n{text}\n"
    assert (not list(validator().iter_errors(yaml.safe_load(whole)))) == right
    path = tmp_path / "a.yaml"
    path.write_text(whole, encoding="utf-8")
    if right:
        load(path)
    else:
        with pytest.raises(Exception, match="mistake"):
            load(path)

"""The plan's figures and choices; its speed; what makes two plans the same run."""

import json
import math
import os
import random
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

import sd1_header
from lorabake import dataset, paths, plan, plan_costs, plan_data, plan_fit
from lorabake.errors import UsageError, UserError
from lorabake.families import FAMILIES
from lorabake.hashes import HashMemory
from lorabake.plan_advice import LEAST_STEPS, MOST_STEPS
from lorabake.plan_types import Plan
from lorabake.settings import Network
from picture_sets import CARD_6, CARD_12, load, make, picture, pictures


def told(made: Plan) -> str:
    return "\n".join((*made.notes, *made.warnings))


# --- steps, batches, files


def test_counts_of_the_guides_example(tmp_path):
    pictures(tmp_path / "set/5_ConceptA", 30)
    made = make(tmp_path, tmp_path / "set", {"train.batch_size": "4"})
    assert (made.batches_per_epoch, made.steps_per_epoch, made.total_steps, made.epochs) == (38, 38, 228, 6)
    assert made.steps_at_batch_1 == 30 * 5 * 6


@pytest.mark.parametrize("seed", range(6))
def test_batches_are_those_that_the_dataset_makes(tmp_path, seed):
    """Buckets, repeats, regularisation and held-out pictures together: the plan counts what dataset.epoch_batches gives."""
    rng = random.Random(seed)
    for number in range(25):
        picture(tmp_path / f"set/{rng.choice([1, 3])}_c/{number}.png", "x", size=rng.choice([(128, 128), (64, 200), (200, 90)]))
    for number in range(rng.choice([3, 40])):
        picture(tmp_path / f"reg/{rng.choice([1, 2])}_r/{number}.png", "y", size=rng.choice([(128, 128), (90, 128)]))
    settings = {"data.regularization": str(tmp_path / "reg"), "data.holdout": "4", "train.batch_size": "3", "train.accumulation": "2"}
    made = make(tmp_path, tmp_path / "set", settings)
    batches = dataset.epoch_batches(made, 1)
    assert len(batches) == made.batches_per_epoch
    assert len(dataset.windows_of(batches, 2)) == made.steps_per_epoch
    assert sum(len(b.looks) for b in batches) == sum(count for _w, _h, count in made.buckets) == 2 * plan_data.training_looks(made.pictures)


def test_steps_typed_decide_the_epochs(tmp_path):
    pictures(tmp_path / "set/5_a", 10)
    made = make(tmp_path, tmp_path / "set", {"train.steps": "25", "train.batch_size": "5"})
    assert (made.steps_per_epoch, made.total_steps, made.epochs, made.steps_at_batch_1) == (10, 25, 3, 125)
    assert made.save_steps == (10, 20, 25)
    assert made.lora_files == ("style-000001.safetensors", "style-000002.safetensors", "style.safetensors")


@pytest.mark.parametrize(
    ("settings", "files"),
    [
        ({"train.epochs": "3"}, {10: "style-000001", 20: "style-000002", 30: "style"}),
        ({"train.epochs": "3", "save.every_epochs": "0"}, {30: "style"}),
        ({"train.epochs": "4", "save.every_epochs": "2"}, {20: "style-000002", 40: "style"}),
        (
            {"train.epochs": "2", "save.every_steps": "7"},
            {7: "style-step00000007", 10: "style-000001", 14: "style-step00000014", 20: "style"},
        ),
        ({"train.epochs": "2", "save.every_epochs": "0", "save.every_steps": "10"}, {10: "style-step00000010", 20: "style"}),
    ],
)
def test_file_names(tmp_path, settings, files):
    pictures(tmp_path / "set/5_a", 10)
    made = make(tmp_path, tmp_path / "set", {**settings, "train.batch_size": "5"})
    assert dict(zip(made.save_steps, made.lora_files, strict=True)) == {step: f"{stem}.safetensors" for step, stem in files.items()}
    assert made.file_at(made.total_steps) == "style.safetensors"


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, (10, 20, 30, 40, 50, 60)),
        ({"samples.every_epochs": "2"}, (20, 40, 60)),
        ({"samples.every_epochs": "4"}, (40, 60)),
        ({"samples.every_epochs": "0"}, (60,)),
        ({"samples.every_epochs": "0", "samples.every_steps": "25"}, (30, 60)),
        ({"save.every_epochs": "3"}, (30, 60)),
        ({"save.every_epochs": "0", "save.every_steps": "7", "samples.every_epochs": "3"}, (35, 60)),
    ],
)
def test_which_saved_files_are_drawn(tmp_path, settings, steps):
    pictures(tmp_path / "set/5_a", 10)
    made = make(tmp_path, tmp_path / "set", {**settings, "train.batch_size": "5"})
    assert made.sample_steps == steps
    assert made.costs.num_sample_pictures == len(made.prompts) * (len(steps) + 1 + 2 * min(2, len(steps)))


def test_effective_rates(tmp_path):
    pictures(tmp_path / "set/5_a", 10)
    made = make(tmp_path, tmp_path / "set", {"train.batch_size": "5", "train.accumulation": "2"})
    assert (made.rate_factor, made.unet_lr_used, made.text_encoder_lr_used) == (10, pytest.approx(8e-4), pytest.approx(1.5e-4))
    plain = make(tmp_path, tmp_path / "set", {"train.batch_size": "5", "train.scale_lr_by_batch": "false", "network.target": "unet"})
    assert (plain.rate_factor, plain.unet_lr_used, plain.text_encoder_lr_used) == (1, 8e-5, 0.0)


# --- bands and advice


@pytest.mark.parametrize(
    ("count", "repeats", "epochs"), [(3, 1, 1), (7, 5, 6), (33, 5, 6), (150, 10, 6), (120, 60, 2), (20, 400, 1), (49, 1, 30)]
)
def test_each_line_to_type_brings_the_steps_into_the_band(tmp_path, count, repeats, epochs):
    """The sentence's own words, typed, must do what they say."""
    pictures(tmp_path / f"set/{repeats}_a", count)
    base = {"train.epochs": str(epochs), "data.holdout": "0"}
    made = make(tmp_path, tmp_path / "set", base)
    assert not LEAST_STEPS <= made.steps_at_batch_1 <= MOST_STEPS
    (sentence,) = [w for w in made.warnings if "counted at batch 1" in w]
    ways = sentence.partition("bring them in: ")[2].split(", or ")
    assert ways
    for way in ways:
        if way.startswith("rename"):
            _, old, _, new = way.split(" ")
            (tmp_path / "set" / old).rename(tmp_path / "set" / new)
            better = make(tmp_path, tmp_path / "set", base)
            (tmp_path / "set" / new).rename(tmp_path / "set" / old)
        else:
            key, value = way.split(": ")
            better = make(tmp_path, tmp_path / "set", {**base, key: value})
        assert LEAST_STEPS <= better.steps_at_batch_1 <= MOST_STEPS, way
        assert not any("counted at batch 1" in w for w in better.warnings)


def test_the_line_to_type_for_a_flat_folder_and_for_steps(tmp_path):
    pictures(tmp_path / "flat", 20)
    made = make(tmp_path, tmp_path / "flat")
    assert "train.epochs: 15, or data.repeats: 13" in told(made)
    typed = make(tmp_path, tmp_path / "flat", {"train.steps": "30"})
    (sentence,) = [w for w in typed.warnings if "counted at batch 1" in w]
    better = make(tmp_path, tmp_path / "flat", {"train.steps": sentence.rpartition(": ")[2]})
    assert LEAST_STEPS <= better.steps_at_batch_1 <= MOST_STEPS


def test_several_folders_keep_their_proportions(tmp_path):
    pictures(tmp_path / "set/5_a", 20)
    pictures(tmp_path / "set/2_b", 10)
    assert "rename 2_b to 5_b, rename 5_a to 11_a" in told(make(tmp_path, tmp_path / "set"))


@pytest.mark.parametrize(
    ("count", "said"), [(9, "9 pictures: very few"), (49, "49 pictures can do"), (50, None), (200, None), (201, "beyond 200")]
)
def test_a_sentence_about_the_number_of_pictures(tmp_path, count, said):
    pictures(tmp_path / "set/5_a", count)
    text = told(make(tmp_path, tmp_path / "set"))
    assert (said in text) if said else ("pictures can do" not in text and "beyond 200" not in text and "very few" not in text)


def test_noise_offset_large_ranks_and_large_factors_are_said(tmp_path):
    pictures(tmp_path / "set/5_a", 60)
    settings = {"train.noise_offset": "0.1", "network.type": "locon", "network.rank": "64", "train.batch_size": "20"}
    text = told(make(tmp_path, tmp_path / "set", settings))
    assert "noise_offset 0.1 widens" in text and "network.rank: 32" in text and "multiplied by 20" in text


def test_settings_without_effect_here_are_warned_about_only_when_typed(tmp_path):
    pictures(tmp_path / "set/5_a", 60)
    assert "no effect" not in told(make(tmp_path, tmp_path / "set"))
    text = told(make(tmp_path, tmp_path / "set", {"data.repeats": "9", "train.restarts": "2", "train.scheduler": "linear"}))
    assert "data.repeats has no effect: the folders have their repeats" in text
    assert text.count("train.restarts") == 1


# --- pictures


def test_unreadable_pictures_are_all_listed_at_once(tmp_path):
    folder = pictures(tmp_path / "set/5_a", 3)
    (folder / "zero.png").write_bytes(b"")
    (folder / "page.jpg").write_text("<html>", encoding="utf-8")
    with pytest.raises(UserError, match="2 of 5 pictures cannot be read") as caught:
        make(tmp_path, tmp_path / "set")
    assert "zero.png" in str(caught.value) and "page.jpg" in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "count", "expected"),
    [(None, 39, 0), (None, 40, 2), (None, 100, 5), (None, 1000, 16), (0, 100, 0), (7, 100, 7), (0.1, 100, 10), (0.001, 100, 1)],
)
def test_how_many_are_held_out(asked, count, expected):
    assert plan_data.holdout_count(asked, count) == expected


def test_holding_out_everything_is_refused():
    with pytest.raises(UserError, match="keeps all 3 pictures from training"):
        plan_data.holdout_count(3, 3)


def test_held_out_pictures_are_chosen_by_name_not_counted_and_not_trained(tmp_path):
    pictures(tmp_path / "set/5_a", 60)
    made = make(tmp_path, tmp_path / "set", {"data.holdout": "6"})
    held = {Path(p.path).name for p in made.pictures if p.holdout}
    assert len(held) == 6 and plan_data.training_looks(made.pictures) == 54 * 5 == sum(count for _w, _h, count in made.buckets)
    (tmp_path / "set/5_a").rename(tmp_path / "set/8_a")
    renamed = make(tmp_path, tmp_path / "set", {"data.holdout": "6"})
    assert {Path(p.path).name for p in renamed.pictures if p.holdout} == held
    fewer = make(tmp_path, tmp_path / "set", {"data.holdout": "3"})
    assert {Path(p.path).name for p in fewer.pictures if p.holdout} < held


@pytest.mark.parametrize(
    ("resolution", "low", "high"),
    [(128, 64, 256), (512, 320, 960), (1024, 512, 2048), (768, 384, 1536), (256, 128, 512), (64, 32, 128), (1536, 768, 3072)],
)
def test_bucket_sides_by_resolution(resolution, low, high):
    step = plan_data.bucket_step(resolution, FAMILIES["sd1"])
    assert plan_data.bucket_range(resolution, step) == (low, high)


def test_bucket_sides_always_hold_the_resolution():
    for resolution in range(32, 4097, 8):
        step = plan_data.bucket_step(resolution, FAMILIES["sd1"])
        low, high = plan_data.bucket_range(resolution, step)
        assert low <= resolution <= high and low % step == high % step == 0


def test_resolution_comes_from_the_base_model_then_the_family(tmp_path):
    pictures(tmp_path / "set/5_a", 3)
    small, full = make(tmp_path, tmp_path / "set"), make(tmp_path, tmp_path / "set", full=True)
    assert (small.data.resolution, small.data.min_bucket, small.data.max_bucket, small.model.clip_skip) == (128, 64, 256, 1)
    assert (full.data.resolution, full.data.min_bucket, full.data.max_bucket, full.model.clip_skip) == (512, 320, 960, 2)
    assert full.samples.size == (512, 512) and small.samples.size == (128, 128)
    typed = make(tmp_path, tmp_path / "set", {"data.resolution": "768", "model.look": "realistic"}, full=True)
    assert (typed.data.resolution, typed.data.max_bucket, typed.model.clip_skip) == (768, 1536, 1)


def test_square_crops_without_buckets(tmp_path):
    picture(tmp_path / "set/5_a/x.png", "x", size=(300, 100))
    made = make(tmp_path, tmp_path / "set", {"data.buckets": "false"})
    assert made.buckets == ((128, 128, 5),)
    assert "1 picture cropped by more than 25%" in told(made)


def test_clip_skip_beyond_the_text_encoder_is_refused(tmp_path):
    pictures(tmp_path / "set/5_a", 3)
    with pytest.raises(UserError, match="has 4 layers"):
        make(tmp_path, tmp_path / "set", {"model.clip_skip": "5"})


def test_small_animated_and_transparent_pictures_are_said(tmp_path):
    picture(tmp_path / "set/5_a/tiny.png", "x", size=(40, 40))
    picture(tmp_path / "set/5_a/clear.png", "x", mode="RGBA")
    picture(tmp_path / "set/5_a/small.png", "x", size=(100, 100))
    text = told(make(tmp_path, tmp_path / "set"))
    assert "tiny.png (40x40)" in text and "1 picture with an alpha channel" in text and "1 picture smaller than the bucket" in text


# --- memory and devices


def test_sizes_of_a_full_sd1_lora_are_exact():
    """72 + 192 modules, 72 + 278 with convolutions; at rank 128 the 151 MB that everybody knows."""
    shapes = sd1_header.shapes()
    both = ("text_encoder", "unet")
    layers = plan_costs.layer_shapes(shapes, conv=False)
    assert (len(layers["text_encoder"]), len(layers["unet"])) == (72, 192)
    conv = plan_costs.layer_shapes(shapes, conv=True)["unet"]
    assert len(conv) == 278 and sum(len(s) == 4 and s[2] == 3 for s in conv) == 50
    size = plan_costs.sizes(shapes, Network(rank=128), parts=both, conv=False)
    assert size.num_lora_tensors == 792 and size.unet == 859_520_964
    assert size.lora == 264 + 128 * sum(s[0] + math.prod(s[1:]) for s in (*layers["text_encoder"], *layers["unet"]))
    assert 150.9e6 < plan_costs.lora_bytes(size, "fp16") < 151.4e6


@pytest.mark.parametrize(
    ("card", "batch", "checkpointing"), [(CARD_12, 5, False), (CARD_6, 4, True), (replace(CARD_12, vram_gib=8.0), 5, True)]
)
def test_the_batch_that_fits_a_card(tmp_path, card, batch, checkpointing):
    """12 GB take the guides' batch of 5 as it is; 6 GB need the saver."""
    pictures(tmp_path / "set/5_a", 60, size=(512, 512))
    made = make(tmp_path, tmp_path / "set", full=True, cards=(card,))
    assert (made.train.batch_size, made.train.gradient_checkpointing, made.device) == (batch, checkpointing, "cuda:0")
    assert made.vram_gib <= card.vram_gib - plan_fit.CARD_RESERVE_GIB


def test_a_batch_that_does_not_fit_names_the_one_that_does(tmp_path):
    pictures(tmp_path / "set/5_a", 60, size=(512, 512))
    made = make(
        tmp_path, tmp_path / "set", {"train.batch_size": "12", "train.gradient_checkpointing": "false"}, full=True, cards=(CARD_12,)
    )
    (warning,) = [w for w in made.warnings if "GiB" in w]
    fits = int(warning.partition("train.batch_size: ")[2].split()[0])
    better = make(
        tmp_path, tmp_path / "set", {"train.batch_size": str(fits), "train.gradient_checkpointing": "false"}, full=True, cards=(CARD_12,)
    )
    assert not [w for w in better.warnings if "GiB" in w] and 5 <= fits <= 6
    assert "train.gradient_checkpointing: true with batch" in warning


def test_memory_that_is_taken_now_is_said_but_does_not_change_the_run(tmp_path):
    pictures(tmp_path / "set/5_a", 60, size=(512, 512))
    busy = make(tmp_path, tmp_path / "set", full=True, cards=(replace(CARD_12, free_gib=6.0),))
    idle = make(tmp_path, tmp_path / "set", full=True, cards=(CARD_12,))
    assert "only 6.0 of 12.0 are free" in told(busy) and "train.batch_size: 2" in told(busy)
    assert busy.identity() == idle.identity()


def test_an_unknown_amount_of_memory_is_no_reason_to_shrink(tmp_path):
    pictures(tmp_path / "set/5_a", 60, size=(512, 512))
    made = make(tmp_path, tmp_path / "set", full=True, cards=(replace(CARD_12, vram_gib=0.0, free_gib=0.0),))
    assert made.train.batch_size == 5 and not [w for w in made.warnings if "GiB" in w]


def test_more_memory_is_never_expected_for_less(tmp_path):
    shapes = sd1_header.shapes()
    size = plan_costs.sizes(shapes, Network(rank=128), parts=("unet",), conv=False)
    load_ = plan_costs.Load("sd1", size, 512 * 512, "bf16", 128, "AdamW8bit", trains_text=False, on_card=True)

    def gib(load_: plan_costs.Load, batch: int = 1, checkpointing: bool = False) -> float:
        return plan_costs.memory_gib(load_, batch, checkpointing=checkpointing)

    assert gib(load_, 1) < gib(load_, 2) < gib(load_, 5)
    assert gib(load_, 5, True) < gib(load_, 5)
    assert gib(load_, 5) < gib(replace(load_, pixels=768 * 768), 5)
    assert gib(load_, 5) < gib(replace(load_, precision="fp32"), 5)
    assert gib(load_, 5) < gib(replace(load_, optimizer="AdamW"), 5)


def test_the_card_with_the_most_free_memory_and_a_card_that_is_not_there(tmp_path):
    pictures(tmp_path / "set/5_a", 5)
    other = replace(CARD_12, index=1, free_gib=2.0)
    assert make(tmp_path, tmp_path / "set", cards=(other, CARD_12)).device == "cuda:0"
    assert make(tmp_path, tmp_path / "set", {"train.device": "cuda:1"}, cards=(other, CARD_12)).device == "cuda:1"
    assert make(tmp_path, tmp_path / "set", {"train.device": "cpu"}, cards=(CARD_12,)).device == "cpu"
    with pytest.raises(UserError, match=r"cuda:3(.|\n)*cuda:0"):
        make(tmp_path, tmp_path / "set", {"train.device": "cuda:3"}, cards=(CARD_12,))


def test_precision_has_its_reason(tmp_path):
    pictures(tmp_path / "set/5_a", 5)
    made = make(tmp_path, tmp_path / "set", cards=(CARD_6,))
    assert made.precision == made.train.mixed_precision == "fp16" and made.precision_reason
    assert make(tmp_path, tmp_path / "set").precision == "fp32"


def test_eight_bit_optimizers_are_for_cards(tmp_path):
    pictures(tmp_path / "set/5_a", 5)
    settings = {"train.optimizer_args": "{weight_decay: 0.02, block_wise: true}"}
    on_card, on_cpu = make(tmp_path, tmp_path / "set", settings, cards=(CARD_12,)), make(tmp_path, tmp_path / "set", settings)
    assert (on_card.train.optimizer, on_cpu.train.optimizer) == ("AdamW8bit", "AdamW")
    assert on_card.train.optimizer_args == {"weight_decay": 0.02, "block_wise": True}
    assert on_cpu.train.optimizer_args == {"weight_decay": 0.02}
    assert on_cpu.costs.state_bytes > 1.9 * on_card.costs.state_bytes


def test_a_disk_that_is_too_small_is_said(tmp_path, monkeypatch):
    pictures(tmp_path / "set/5_a", 60)
    monkeypatch.setattr(paths, "free_bytes", lambda _folder: 10_000)
    assert "the disk will be full" in told(make(tmp_path, tmp_path / "set"))


# --- the run


def test_json_and_back_is_exact(tmp_path):
    pictures(tmp_path / "B\u00fccher/5_a", 45)
    pictures(tmp_path / "reg", 3, caption=None)
    settings = {
        "data.regularization": str(tmp_path / "reg"),
        "train.optimizer_args": "{weight_decay: 0.01, betas: [0.9, 0.99]}",
        "train.warmup": "5%",
    }
    for made in (make(tmp_path, tmp_path / "B\u00fccher", settings), make(tmp_path, tmp_path / "B\u00fccher", cards=(CARD_12,), full=True)):
        again = Plan.from_json(made.to_json())
        assert again == made and again.to_json() == made.to_json()
        assert again.identity() == made.identity()
        json.loads(made.to_json())


def changes(tmp_path, settings: dict[str, str]) -> set[str]:
    """Top keys of the identity that these settings change."""
    one, other = (make(tmp_path, tmp_path / "set", s).identity() for s in ({}, settings))
    json.dumps(one)
    return {key for key in one if one[key] != other[key]}


@pytest.mark.parametrize(
    "settings",
    [
        {"samples.prompts": "[cat]"},
        {"samples.every_epochs": "2", "samples.seeds": "[4]"},
        {"name": "other"},
        {"save.comment": "hello", "save.copy_to": "x", "save.keep_last": "1"},
        {"train.cpu_threads": "1", "train.background": "true"},
        {"train.gradient_checkpointing": "true"},
        {"data.cache": "memory"},
        {"train.scale_lr_by_batch": "false", "train.unet_lr": "4e-4", "train.text_encoder_lr": "7.5e-5"},
    ],
)
def test_what_does_not_make_another_run(tmp_path, settings):
    pictures(tmp_path / "set/5_a", 45)
    assert changes(tmp_path, settings) == set()


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"train.epochs": "9"}, {"epochs", "total_steps"}),
        ({"train.seed": "1"}, {"train"}),
        ({"train.unet_lr": "1e-4"}, {"rates"}),
        ({"network.rank": "8"}, {"network"}),
        ({"data.flip": "true"}, {"data"}),
        ({"model.clip_skip": "2"}, {"model"}),
        ({"save.precision": "fp32"}, {"save"}),
    ],
)
def test_what_makes_another_run(tmp_path, settings, changed):
    pictures(tmp_path / "set/5_a", 45)
    assert changes(tmp_path, settings) == changed


def test_a_caption_or_a_repeat_makes_another_run_and_its_folder_is_named(tmp_path):
    folder = pictures(tmp_path / "set/5_a", 5)
    before = make(tmp_path, tmp_path / "set").identity()["pictures"]
    (folder / "000.txt").write_text("changed", encoding="utf-8")
    after = make(tmp_path, tmp_path / "set").identity()["pictures"]
    assert before.keys() == after.keys() == {"5_a"} and before != after


def test_checked_pictures_are_remembered(tmp_path):
    pictures(tmp_path / "set/5_a", 3)
    made = make(tmp_path, tmp_path / "set")
    assert "3 of 3 pictures not yet checked" in told(made)
    memory = HashMemory(Path(made.output) / ".cache" / "hashes.json")
    memory.mark_decoded(Path(p.path) for p in made.pictures[:2])
    memory.save()
    assert "1 of 3 pictures not yet checked" in told(make(tmp_path, tmp_path / "set"))


# --- prompts


def test_auto_prompts_are_three_typical_captions_and_always_the_same(tmp_path):
    captions = ["1girl, smile, hat", "1girl, smile, tree", "1girl, smile, hat, dog", "car, road", "1girl, smile"]
    for number, caption in enumerate(captions):
        picture(tmp_path / f"set/5_a/{number}.png", caption)
    made = make(tmp_path, tmp_path / "set")
    texts = [p.prompt for p in made.prompts]
    assert len(texts) == 3 and len(set(texts)) == 3 and set(texts) <= set(captions)
    assert "1girl, smile" in texts[0]
    assert made.prompts == make(tmp_path, tmp_path / "set").prompts
    assert made.samples.prompts == tuple(texts)


def test_a_caption_with_dashes_is_a_prompt_as_it_is(tmp_path):
    picture(tmp_path / "set/5_a/0.png", "a sign --w 20 that says x")
    assert make(tmp_path, tmp_path / "set").prompts[0].prompt == "a sign --w 20 that says x"


def test_each_prompt_is_drawn_once_per_seed(tmp_path):
    pictures(tmp_path / "set/5_a", 3)
    made = make(tmp_path, tmp_path / "set", {"samples.prompts": "[cat, dog]", "samples.seeds": "[1, 5]", "samples.size": "64x96"})
    assert [(p.prompt, p.seed, p.width, p.height) for p in made.prompts] == [
        ("cat", 1, 64, 96),
        ("cat", 5, 64, 96),
        ("dog", 1, 64, 96),
        ("dog", 5, 64, 96),
    ]


def test_a_kohya_prompt_file(tmp_path):
    pictures(tmp_path / "set/5_a", 3)
    text = """
    # a comment
    masterpiece, 1girl --n lowres, bad --w 515 --h 40 --d 7 --l 7.5 --s 28 --ss k_euler_a
    a -- b --g 3
    """
    file = tmp_path / "prompts.txt"
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    made = make(tmp_path, tmp_path / "set", {"samples.prompts": str(file)})
    first, second = made.prompts
    assert (first.prompt, first.negative, first.width, first.height) == ("masterpiece, 1girl", "lowres, bad", 512, 64)
    assert (first.seed, first.cfg, first.steps, first.sampler) == (7, 7.5, 28, "euler_a")
    assert (second.prompt, second.negative, second.seed, second.width) == ("a -- b", "", 1, 128)
    assert "prompts.txt:4: --g 3 has no effect here (distilled guidance)" in told(made)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such prompt file"),
        ("# nothing\n", "holds no prompts"),
        ("cat --w wide", r'--w "wide"(.|\n)*p.txt:1'),
        ("cat --l x", "not a number"),
        ("cat --s 0", "--s"),
    ],
)
def test_prompt_files_that_cannot_be_used(tmp_path, content, message):
    pictures(tmp_path / "set/5_a", 3)
    if content is not None:
        (tmp_path / "p.txt").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        make(tmp_path, tmp_path / "set", {"samples.prompts": str(tmp_path / "p.txt")})


# --- speed

SPEED = """
import sys, time
from pathlib import Path
from lorabake import hardware, plan, plan_text, profile
made = plan.make(profile.load(Path(sys.argv[1])), hardware.Seen(()))
assert made.pictures and len(plan_text.render(made)) > 500
assert len(made.pictures) == 200
banned = {"torch", "numpy", "transformers", "diffusers", "safetensors"} & set(sys.modules)
print(time.process_time(), sorted(banned))
"""


def test_two_hundred_pictures_in_under_two_seconds_without_torch(tmp_path):
    """Processor time of a fresh process: what the user waits for on an idle machine, and what a busy test machine does not change."""
    for number in range(4):
        pictures(tmp_path / f"set/5_{number}", 50, size=(1024 - 128 * number, 512))
    loaded = load(tmp_path / "p", tmp_path / "set")
    command = [sys.executable, "-c", SPEED, str(loaded.path)]
    environment = {"PYTHONPATH": str(Path(plan.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done.stderr
    seconds, banned = done.stdout.split(" ", 1)
    assert "torch" not in banned, banned
    assert float(seconds) < 2


# --- trigger words


def test_trigger_words_are_kept_in_front_told_where_they_lack_and_known_by_folder(tmp_path):
    picture(tmp_path / "set/5_anna/a.png", "anna, x")
    picture(tmp_path / "set/5_anna/b.png", "x")
    picture(tmp_path / "set/3_bob/c.png", "Bob, x")
    made = make(tmp_path, tmp_path / "set", {"tag.trigger": "auto"})
    assert made.triggers == {"5_anna": "anna", "3_bob": "bob"} and made.data.keep_tokens == 1
    assert "1 picture in 5_anna without the trigger word anna: b.png" in told(made) and "bob: " not in told(made)
    assert make(tmp_path, tmp_path / "set", {"tag.trigger": "auto", "data.keep_tokens": "0"}).data.keep_tokens == 0
    plain = make(tmp_path, tmp_path / "set")
    assert plain.triggers == {} and plain.data.keep_tokens == 0 and "trigger" not in told(plain)


def test_a_trigger_word_for_no_folder_is_told_with_its_line(tmp_path):
    picture(tmp_path / "set/5_anna/a.png", "anna, x")
    with pytest.raises(UsageError, match='no folder "carl"') as caught:
        make(tmp_path, tmp_path / "set", {"tag.trigger": "{carl: x}"})
    assert "tag.trigger" in caught.value.where

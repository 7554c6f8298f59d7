"""`<lora:...>` in prompts: every form, the files they name, and the sentences for those that are not there."""

import re
from pathlib import Path

import pytest

import picture_sets
from lorabake import prompts
from lorabake.errors import UserError
from lorabake.prompts import Extra, extract, find


@pytest.mark.parametrize(
    ("prompt", "text", "extras"),
    [
        ("a cat", "a cat", ()),
        ("  a cat ", "  a cat ", ()),
        ("a cat <lora:ink>", "a cat", (Extra("ink", 1.0, 1.0),)),
        ("a cat <lora:ink:0.8>", "a cat", (Extra("ink", 0.8, 0.8),)),
        ("a cat <lora:ink:1:0.5>", "a cat", (Extra("ink", 1.0, 0.5),)),
        ("<lora:ink:te=0.5:unet=1>a cat", "a cat", (Extra("ink", 1.0, 0.5),)),
        ("a cat <lora:ink:0.7:te=0>", "a cat", (Extra("ink", 0.7, 0.0),)),
        ("a cat <lora:ink:te=0.3>", "a cat", (Extra("ink", 0.3, 0.3),)),
        ("a cat <LORA: ink.safetensors : -0.5 >", "a cat", (Extra("ink", -0.5, -0.5),)),
        ("a cat <lyco:ink:.5>", "a cat", (Extra("ink", 0.5, 0.5),)),
        ("a, <lora:ink:1>, b <lora:styles/oil v2:0.6>", "a, , b", (Extra("ink"), Extra("styles/oil v2", 0.6, 0.6))),
        ("a <b:c> d", "a <b:c> d", ()),
        ("1 < 2 <lora:ink>", "1 < 2", (Extra("ink"),)),
    ],
)
def test_tags_are_taken_out(prompt, text, extras):
    assert extract(prompt) == (text, extras)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("<lora:>", "names no LoRA"),
        ("<lora::1>", "names no LoRA"),
        ("<lora:ink:strong>", '"strong" is not a number'),
        ("<lora:ink:nan>", "is not a number"),
        ("<lora:ink:1e999>", "is not a number"),
        ("<lora:ink:>", '"" is not a number'),
        ("<lora:ink:1:2:3>", "more than a LoRA has weights"),
        ("<lora:ink:1:dyn=8>", "more than a LoRA has weights"),
    ],
)
def test_wrong_tags_are_answered(prompt, words):
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        extract(f"a cat {prompt}")
    assert "<lora:name:0.8>" in str(caught.value)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("a cat", "a cat"),
        ("a <lora:ink>", "a <lora:ink:1>"),
        ("a <lora:ink:0.80>", "a <lora:ink:0.8>"),
        ("a <lora:ink:1:0.5>", "a <lora:ink:te=0.5:unet=1>"),
    ],
)
def test_tags_for_web_uis_mean_the_same_there(ours, theirs):
    assert prompts.for_web_uis(ours) == theirs
    assert extract(theirs)[1] == extract(ours)[1]


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_files_are_found_by_name(tmp_path):
    one = files(tmp_path / "one", "deep/er/ink.safetensors", "a/ink.safetensors", "ink.txt")
    two = files(tmp_path / "two", "ink.safetensors", "Oil Paint [v2].safetensors", "猫.SAFETENSORS")
    assert find(Extra("ink"), [one, two]) == one / "a" / "ink.safetensors"
    assert find(Extra("ink"), [two, one]) == two / "ink.safetensors"
    assert find(Extra("styles/oil paint [v2]"), [one, two]) == two / "Oil Paint [v2].safetensors"
    assert find(Extra("styles\\猫"), [tmp_path / "none", two]).name == "猫.SAFETENSORS"


def test_runs_and_hidden_folders_are_left_out(tmp_path):
    files(tmp_path, "ink.runs/001/ink.safetensors", ".cache/ink.safetensors", "_old/ink.safetensors", "_ink.safetensors")
    with pytest.raises(UserError, match='no LoRA "ink"'):
        find(Extra("ink"), [tmp_path])


def test_a_missing_one_says_where_it_was_looked_for(tmp_path):
    files(tmp_path, "ink-wash.safetensors")
    with pytest.raises(UserError) as caught:
        find(Extra("inkwash"), [tmp_path, tmp_path / "none"])
    text = str(caught.value)
    assert str(tmp_path / "none") in text and "did you mean <lora:ink-wash>?" in text and "inkwash.safetensors" in text
    with pytest.raises(UserError, match="take it out"):
        find(Extra("something else entirely"), [tmp_path])


def test_folders_of_web_uis_beside_the_base_model(tmp_path):
    base = files(tmp_path, "ui/models/Stable-diffusion/sub/base.safetensors") / "ui/models/Stable-diffusion/sub/base.safetensors"
    lora = tmp_path / "ui/models/Lora"
    lora.mkdir()
    (tmp_path / "copies").mkdir()
    assert prompts.folders(tmp_path / "out", base, str(tmp_path / "copies")) == [tmp_path / "out", tmp_path / "copies", lora]
    assert prompts.folders(tmp_path / "out", base, str(lora)) == [tmp_path / "out", lora]
    assert prompts.folders(tmp_path / "out", base, None) == [tmp_path / "out", lora]


def test_check_asks_before_training(tmp_path):
    files(tmp_path, "ink.safetensors")
    prompts.check([("a cat <lora:ink:0.5>", "dog"), ("plain", "")], [tmp_path], own="style")
    with pytest.raises(UserError, match="being baked"):
        prompts.check([("a cat <lora:Style:0.5>", "")], [tmp_path], own="style")
    with pytest.raises(UserError, match="negative prompt"):
        prompts.check([("a cat", "bad <lora:ink:1>")], [tmp_path], own="style")
    with pytest.raises(UserError, match='no LoRA "oil"'):
        prompts.check([("a cat <lora:oil:1>", "")], [tmp_path], own="style")


def test_the_plan_asks_for_further_loras(tmp_path):
    images = picture_sets.pictures(tmp_path / "set" / "5_style", 2)
    typed = {"samples.prompts": '["a cat <lora:ink:0.5>"]', "network.rank": "4"}
    with pytest.raises(UserError, match='no LoRA "ink"'):
        picture_sets.make(tmp_path, images.parent, typed)
    files(tmp_path / "p" / "out", "ink.safetensors")
    made = picture_sets.make(tmp_path, images.parent, typed)
    assert made.prompts[0].prompt == "a cat <lora:ink:0.5>" and "network.rank" in made.typed

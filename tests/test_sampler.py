"""The sampler against diffusers' own pipeline, alone and in company, and the text in its pictures."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from lorabake import sampler
from lorabake.device import Device
from lorabake.families import FAMILIES, sd1
from lorabake.plan_prompts import Prompt

PROMPT = Prompt("red apple", "blurry, dark", 64, 64, 7, 6, 7.0, "dpm++_2m")
LONG = ", ".join(f"tag number {n}" for n in range(30))  # over 75 tokens


@pytest.fixture(scope="module")
def models() -> sd1.Models:
    return tiny.sd1_models(3)


def painter(models: sd1.Models, clip_skip: int = 1) -> sampler.Painter:
    return sampler.Painter(models, FAMILIES["sd1"], sd1, Device(torch.device("cpu"), "fp32"), clip_skip)


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference in steps of 255."""
    assert one.size == other.size and one.mode == other.mode == "RGB"
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).mean())


def by_diffusers(models: sd1.Models, prompt: Prompt, clip_skip: int = 1) -> Image.Image:
    """The picture of diffusers' StableDiffusionPipeline; its clip_skip counts from 0."""
    pipeline = tiny.sd1_pipeline(models, sampler.scheduler_of(prompt.sampler))
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        prompt.prompt,
        negative_prompt=prompt.negative,
        width=prompt.width,
        height=prompt.height,
        num_inference_steps=prompt.steps,
        guidance_scale=prompt.cfg,
        generator=torch.Generator().manual_seed(prompt.seed),
        clip_skip=clip_skip - 1 or None,
    )
    return made.images[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sampler": "euler_a"},
        {"cfg": 1.0},
        {"width": 96, "height": 64, "steps": 17, "negative": ""},
        {"sampler": "euler_a", "steps": 1},
    ],
    ids=lambda changes: ",".join(changes) or "plain",
)
def test_the_picture_is_that_of_diffusers(models, changes):
    prompt = replace(PROMPT, **changes)
    (ours,) = sampler.sample(painter(models), [prompt])
    assert ours.size == (prompt.width, prompt.height)
    assert np.asarray(ours).std() > 5, "a flat picture proves nothing"
    assert difference(ours, by_diffusers(models, prompt)) < 1


def test_clip_skip_is_that_of_diffusers(models):
    # diffusers 0.42 looks for the encoder one level down, where transformers 5 no longer has it.
    vars(models.text_encoder).setdefault("text_model", models.text_encoder)
    # Unguided: diffusers leaves it out for the negative prompt, where web UIs and we do not.
    prompt = replace(PROMPT, cfg=1.0)
    (ours,) = sampler.sample(painter(models, 2), [prompt])
    assert difference(ours, by_diffusers(models, prompt, 2)) < 1
    assert difference(ours, by_diffusers(models, prompt, 1)) > 1


@pytest.mark.parametrize("name", ["dpm++_2m", "euler_a"])
def test_company_changes_no_picture(models, name):
    prompts = [replace(PROMPT, sampler=name, prompt=text, seed=seed) for text in ("red apple", "cat") for seed in (1, 2)]
    prompts += [replace(prompts[0], width=96), replace(prompts[0], steps=3), replace(prompts[0], prompt=LONG)]
    together = sampler.sample(painter(models), prompts)
    for prompt, picture in zip(prompts, together, strict=True):
        (alone,) = sampler.sample(painter(models), [prompt])
        assert difference(alone, picture) < 0.5, prompt
    assert difference(together[0], together[1]) > 5, "seeds differ"


def test_the_global_generator_is_left_alone(models):
    torch.manual_seed(5)
    wanted = torch.randn(3)
    torch.manual_seed(5)
    sampler.sample(painter(models), [replace(PROMPT, sampler="euler_a")])
    assert torch.equal(torch.randn(3), wanted)


def test_windows_as_many_as_needed():
    assert sampler.num_windows(replace(PROMPT, prompt="", negative="")) == 1
    assert sampler.num_windows(replace(PROMPT, prompt="a " * 75, negative="")) == 1
    assert sampler.num_windows(replace(PROMPT, prompt="a " * 76, negative="")) == 2
    assert sampler.num_windows(replace(PROMPT, prompt="", negative="a " * 151)) == 3


def test_a_full_card_gets_smaller_batches(models, monkeypatch):
    sizes = []

    def draw(_painter, prompts):
        sizes.append(len(prompts))
        if len(prompts) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [Image.new("RGB", (1, 1), (p.seed, 0, 0)) for p in prompts]

    monkeypatch.setattr(sampler, "draw", draw)
    prompts = [replace(PROMPT, seed=seed) for seed in range(7)]
    heard: list[int] = []
    limit = 2
    made = sampler.sample(painter(models), prompts, progress=heard.append)
    assert [picture.getpixel((0, 0))[0] for picture in made] == list(range(7))
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1] and heard == [1, 2, 3, 4, 5, 6, 7]
    limit = 0
    with pytest.raises(torch.OutOfMemoryError):
        sampler.sample(painter(models), prompts)


def test_no_number_is_black(models, monkeypatch):
    def broken(_models, latents):
        return torch.full((len(latents), 3, 64, 64), float("nan"))

    monkeypatch.setattr(sd1, "decode", broken)
    (picture,) = sampler.sample(painter(models), [replace(PROMPT, steps=1)])
    assert picture.getextrema() == ((0, 0), (0, 0), (0, 0))


def read_back(text: str) -> tuple[str, str, dict[str, str]]:
    """(prompt, negative prompt, facts) as web UIs take such a text apart."""
    *head, last = text.strip().split("\n")
    facts = {key: json.loads(value) if value.startswith('"') else value for key, value in PARAMETER.findall(last)}
    prompt, _, negative = "\n".join(head).partition("\nNegative prompt:")
    return prompt.strip(), negative.strip(), facts


PARAMETER = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
MODEL = ("base, v2", "0123456789abcdef" * 4)


def test_text_of_a_picture():
    text = sampler.png_text(
        replace(PROMPT, prompt="red apple <lora:ink:1:0.5>"),
        clip_skip=2,
        model=MODEL,
        lora=("style-000003", 0.8),
        lora_hashes={"style-000003": "fedcba9876543210", "ink": "00112233445566778899"},
    )
    prompt, negative, facts = read_back(text)
    assert prompt == "red apple <lora:ink:te=0.5:unet=1> <lora:style-000003:0.8>" and negative == "blurry, dark"
    assert facts == {
        "Steps": "6",
        "Sampler": "DPM++ 2M",
        "Schedule type": "Uniform",
        "CFG scale": "7",
        "Seed": "7",
        "Size": "64x64",
        "Model hash": "0123456789",
        "Model": "base, v2",
        "RNG": "CPU",
        "Clip skip": "2",
        "Lora hashes": "style-000003: fedcba987654, ink: 001122334455",
        "Version": facts["Version"],
    }
    assert facts["Version"].startswith("lorabake ")


def test_text_without_a_lora():
    text = sampler.png_text(replace(PROMPT, negative="", sampler="euler_a"), clip_skip=1, model=("base", "ab" * 32), lora=None)
    prompt, negative, facts = read_back(text)
    assert (prompt, negative, facts["Sampler"]) == ("red apple", "", "Euler a")
    assert "Clip skip" not in facts and "Lora hashes" not in facts


@pytest.mark.parametrize("text", ["red apple\nSteps: 1", "\u732b\u306e\u9854, caf\u00e9\nSteps: 1"])
def test_png_holds_its_text(tmp_path, text):
    path = tmp_path / "samples" / "a.png"
    sampler.save_png(path, Image.new("RGB", (8, 8)), text)
    with Image.open(path) as picture:
        assert picture.text["parameters"] == text and picture.info["parameters"] == text
    assert [entry.name for entry in path.parent.iterdir()] == ["a.png"]

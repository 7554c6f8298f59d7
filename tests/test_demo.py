"""The demo as users bake it, on the pocket model: what the first page promises of it. The bake itself takes minutes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from lorabake import attach, runlog, sampler
from lorabake.device import Device
from lorabake.families import FAMILIES, identify, sd1
from lorabake.plan_prompts import Prompt

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
NAME = "demo-openmoji"
SAMPLE = Prompt("rocket", "", 128, 128, 1, 20, 7.0, "dpm++_2m")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """(folder of the LoRAs, run folder) of profiles/demo.yaml, baked by py/train.py in a process of its own."""
    out = tmp_path_factory.mktemp("demo") / "Baked here, \u00e9"
    command = [sys.executable, str(ROOT / "py/train.py"), str(ROOT / "profiles/demo.yaml"), "--set", f"output={out}"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=1500, check=False)
    assert done.returncode == 0, done.stderr
    return out, out / f"{NAME}.runs/001"


@pytest.fixture
def models():
    return sd1.load(identify(ROOT / "models/pocket.safetensors"), dtype=torch.float32, device="cpu")


def pixels(picture):
    return np.asarray(picture.convert("RGB"), dtype=float)


def drawn(models, file=None, strength=1.0):
    """The sample by our sampler, with the file at a strength or with none."""
    painter = sampler.Painter(models, FAMILIES["sd1"], sd1, Device(torch.device("cpu"), "fp32"), 1)
    attached = attach.apply_file(models, sd1, file, strength, strength) if file else None
    [picture] = sampler.sample(painter, [SAMPLE])
    if attached:
        attached.detach()
    return picture


def test_the_loss_on_pictures_kept_aside_falls_by_a_tenth(demo):
    held = [event["loss"] for event in runlog.read(demo[1] / "log.jsonl") if event["kind"] == "heldout"]
    result = json.loads((demo[1] / "result.json").read_text(encoding="utf-8"))
    assert result["status"] == "done" and result["suggested"]["file"] in result["files"]
    assert held[-1] <= 0.9 * held[0]
    assert result["suggested"]["held_out"] <= 0.9 * held[0]


def test_it_leaves_what_the_first_page_says(demo):
    out, run = demo
    names = [f"{NAME}-{epoch:06d}" for epoch in (1, 2, 3)] + [NAME]
    assert all((out / f"{name}{end}").is_file() for name in names for end in (".safetensors", ".preview.png"))
    with Image.open(run / f"samples/sheet-{NAME}.png") as sheet:
        assert sheet.width > 4 * 128 and sheet.height > 8 * 128
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "data:image" in report or "samples/" in report
    assert not list(out.rglob("_tmp*"))


def test_the_style_shows(demo):
    """The demo's style is thick dark outlines: with the LoRA there is more near-black in every prompt's pictures taken together."""

    def dark(folder):
        return np.mean([(pixels(Image.open(path)).max(2) < 60).mean() for path in sorted(folder.glob("*.png"))])

    assert dark(demo[1] / "samples" / NAME) > 1.5 * dark(demo[1] / "samples/base")


def test_diffusers_draws_the_same_picture_with_the_file(demo, models):
    file = demo[0] / f"{NAME}.safetensors"
    ours, without = drawn(models, file), drawn(models)
    pipeline = tiny.sd1_pipeline(models, sampler.scheduler_of(SAMPLE.sampler))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(str(file.parent), weight_name=file.name)
    [theirs] = pipeline(
        SAMPLE.prompt,
        width=SAMPLE.width,
        height=SAMPLE.height,
        num_inference_steps=SAMPLE.steps,
        guidance_scale=SAMPLE.cfg,
        generator=torch.Generator().manual_seed(SAMPLE.seed),
    ).images
    assert np.abs(pixels(ours) - pixels(theirs)).mean() < 1
    assert np.abs(pixels(ours) - pixels(without)).mean() > 5


def test_strength_0_is_no_lora_to_the_bit(demo, models):
    assert (pixels(drawn(models, demo[0] / f"{NAME}.safetensors", 0.0)) == pixels(drawn(models))).all()


def test_baked_again_it_is_already_there(demo):
    command = [sys.executable, str(ROOT / "py/train.py"), str(ROOT / "profiles/demo.yaml"), "--set", f"output={demo[0]}"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0 and "already baked" in done.stderr

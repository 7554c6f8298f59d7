"""Draws pictures: DPM++ 2M and Euler a with classifier-free guidance (Ho and Salimans 2022), on diffusers' schedulers.

The same seed gives the picture that diffusers' own pipeline gives. Not here: which LoRAs are on the models (gallery.py), sheets (sheet.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lorabake import paths
from lorabake.captions import WINDOW
from lorabake.device import Device
from lorabake.families import Family
from lorabake.families.tokenizer import clip_tokenizer
from lorabake.plan_prompts import Prompt

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TITLES = {"dpm++_2m": "DPM++ 2M", "euler_a": "Euler a"}  # as web UIs call them
TOGETHER_PX = 4 * 512 * 512  # pictures drawn in one batch; the result depends on it to rounding only


@dataclass(frozen=True)
class Painter:
    """What drawing needs beside the prompts."""

    models: Any
    row: Family
    family: ModuleType
    device: Device
    clip_skip: int


def scheduler_of(name: str) -> Any:
    return EulerAncestralDiscreteScheduler(**BETAS) if name == "euler_a" else DPMSolverMultistepScheduler(**BETAS)


def sample(painter: Painter, prompts: Sequence[Prompt]) -> list[Image.Image]:
    """One picture per prompt, in order; those of equal size, steps and sampler are drawn together."""
    pictures: dict[int, Image.Image] = {}
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for index, p in enumerate(prompts):
        kinds.setdefault((p.width, p.height, p.steps, p.cfg, p.sampler, num_windows(p)), []).append(index)
    for key, members in kinds.items():
        together = max(1, TOGETHER_PX // (key[0] * key[1]))
        for start in range(0, len(members), together):
            chunk = members[start : start + together]
            for index, picture in zip(chunk, draw(painter, [prompts[i] for i in chunk]), strict=True):
                pictures[index] = picture
    return [pictures[index] for index in range(len(prompts))]


def num_windows(prompt: Prompt) -> int:
    """Windows of 75 tokens that hold both prompt and negative prompt: as many as needed, as web UIs do."""
    longest = max(len(ids) for ids in clip_tokenizer()([prompt.prompt, prompt.negative], add_special_tokens=False)["input_ids"])
    return max(1, math.ceil(longest / WINDOW))


@torch.no_grad()
def draw(painter: Painter, prompts: Sequence[Prompt]) -> list[Image.Image]:
    """Pictures of prompts that share size, steps, guidance, sampler and windows. Noise comes from a CPU generator per seed."""
    first, models, row = prompts[0], painter.models, painter.row
    options = {"clip_skip": painter.clip_skip, "num_windows": num_windows(first)}
    guided = first.cfg > 1
    texts = [p.prompt for p in prompts]
    with painter.device.autocast():
        context = painter.family.encode_text(models, [*(p.negative for p in prompts), *texts] if guided else texts, **options)
    scheduler = scheduler_of(first.sampler)
    scheduler.set_timesteps(first.steps)
    place = painter.device.torch_device
    generators = [torch.Generator().manual_seed(p.seed) for p in prompts]
    size = (row.latent_channels, first.height // row.pixels_per_latent, first.width // row.pixels_per_latent)
    x_bchw = torch.stack([torch.randn(size, generator=g) for g in generators]).to(place) * scheduler.init_noise_sigma
    step_options = {"generator": generators} if first.sampler == "euler_a" else {}
    for t in scheduler.timesteps:
        scaled_bchw = scheduler.scale_model_input(x_bchw, t)
        twice_bchw = torch.cat([scaled_bchw, scaled_bchw]) if guided else scaled_bchw
        with painter.device.autocast():
            predicted = painter.family.predict(models, twice_bchw, t.to(place), context).float()
        if guided:
            away, towards = predicted.chunk(2)
            predicted = away + first.cfg * (towards - away)
        x_bchw = scheduler.step(predicted, t, x_bchw, **step_options).prev_sample
    pixels_bchw = painter.family.decode(models, x_bchw / row.scaling_factor)
    arrays = ((pixels_bchw / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


def png_text(prompt: Prompt, *, clip_skip: int, model: tuple[str, str], lora: tuple[str, float] | None) -> str:
    """The "parameters" text that web UIs write and read back. `model`: (name, sha256); `lora`: (name, strength) of the one being baked."""
    text = prompt.prompt + (f" <lora:{lora[0]}:{lora[1]:g}>" if lora else "")
    lines = [text, *([f"Negative prompt: {prompt.negative}"] if prompt.negative else [])]
    facts = {
        "Steps": prompt.steps,
        "Sampler": TITLES[prompt.sampler],
        "CFG scale": f"{prompt.cfg:g}",
        "Seed": prompt.seed,
        "Size": f"{prompt.width}x{prompt.height}",
        "Model hash": model[1][:10],
        "Model": model[0],
        **({"Clip skip": clip_skip} if clip_skip > 1 else {}),
    }
    return "\n".join([*lines, ", ".join(f"{key}: {value}" for key, value in facts.items())])


def save_png(path: Path, picture: Image.Image, text: str) -> None:
    about = PngInfo()
    about.add_itxt("parameters", text) if not text.isascii() else about.add_text("parameters", text)
    path.parent.mkdir(parents=True, exist_ok=True)
    with paths.replacing(path) as aside:
        picture.save(aside, format="PNG", pnginfo=about)

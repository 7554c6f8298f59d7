"""Draws pictures: DPM++ 2M and Euler a with classifier-free guidance (Ho and Salimans 2022), on diffusers' schedulers.

The same seed and scheduler give the picture that diffusers' own pipeline gives. Not here: which LoRAs are on the models and what is drawn
when (gallery.py), sheets (sheet.py).
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lorabake import __version__, paths
from lorabake.captions import WINDOW
from lorabake.device import Device
from lorabake.families import Family
from lorabake.families.tokenizer import clip_tokenizer
from lorabake.noise import BETA_END, BETA_START
from lorabake.plan_prompts import Prompt
from lorabake.prompts import for_web_uis

BETAS = {"beta_start": BETA_START, "beta_end": BETA_END, "beta_schedule": "scaled_linear", "steps_offset": 1}
TITLES = {"dpm++_2m": "DPM++ 2M", "euler_a": "Euler a"}  # as web UIs call them
TOGETHER_PX = 4 * 512 * 512  # pictures drawn in one batch; the result depends on it to rounding only
MODEL_DIGITS, LORA_DIGITS = 10, 12  # of a hash in the texts of web UIs


@dataclass(frozen=True)
class Painter:
    """What drawing needs beside the prompts. `family` is the family's module, `row` its facts."""

    models: Any
    row: Family
    family: ModuleType
    device: Device
    clip_skip: int


def scheduler_of(name: str) -> Any:
    """A new scheduler for one picture or batch; `name` is a key of TITLES. Both with diffusers' own spacing, without Karras' sigmas."""
    return EulerAncestralDiscreteScheduler(**BETAS) if name == "euler_a" else DPMSolverMultistepScheduler(**BETAS)


def sample(painter: Painter, prompts: Sequence[Prompt], *, progress: Callable[[int], None] | None = None) -> list[Image.Image]:
    """One RGB picture per prompt, in order; those of equal size, steps, guidance and sampler are drawn together.

    `progress` hears how many are done. A card without room for a batch gets smaller ones; torch's OutOfMemoryError when one picture
    alone does not fit.
    """
    pictures: dict[int, Image.Image] = {}
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for index, p in enumerate(prompts):
        kinds.setdefault((p.width, p.height, p.steps, p.cfg, p.sampler, num_windows(p)), []).append(index)
    for (width, height, *_), members in kinds.items():
        together = max(1, TOGETHER_PX // (width * height))
        while members:
            chunk = members[:together]
            try:
                drawn = draw(painter, [prompts[index] for index in chunk])
            except torch.OutOfMemoryError:
                if len(chunk) == 1:
                    raise
                together = len(chunk) // 2
                continue
            pictures |= dict(zip(chunk, drawn, strict=True))
            members = members[len(chunk) :]
            if progress:
                progress(len(pictures))
    return [pictures[index] for index in range(len(prompts))]


def num_windows(prompt: Prompt) -> int:
    """Windows of 75 tokens that hold both prompt and negative prompt: as many as needed, as web UIs do."""
    longest = max(len(ids) for ids in clip_tokenizer()([prompt.prompt, prompt.negative], add_special_tokens=False)["input_ids"])
    return max(1, math.ceil(longest / WINDOW))


@torch.no_grad()
def draw(painter: Painter, prompts: Sequence[Prompt]) -> list[Image.Image]:
    """Pictures of prompts that share size, steps, guidance, sampler and windows, in one batch.

    Each has a CPU generator of its own seed, for its first noise and for what Euler a adds on the way: neither the card nor the
    company changes a picture.
    """
    first, row, place = prompts[0], painter.row, painter.device.torch_device
    guided = first.cfg > 1
    context = _context(painter, prompts, guided=guided)
    scheduler = scheduler_of(first.sampler)
    scheduler.set_timesteps(first.steps)
    generators = [torch.Generator().manual_seed(p.seed) for p in prompts]
    size = (row.latent_channels, first.height // row.pixels_per_latent, first.width // row.pixels_per_latent)
    x_bchw = torch.stack([torch.randn(size, generator=g) for g in generators]).to(place) * scheduler.init_noise_sigma
    step_options = {"generator": generators} if first.sampler == "euler_a" else {}
    for t in scheduler.timesteps:
        scaled_bchw = scheduler.scale_model_input(x_bchw, t)
        twice_bchw = torch.cat([scaled_bchw, scaled_bchw]) if guided else scaled_bchw
        with painter.device.autocast():
            predicted = painter.family.predict(painter.models, twice_bchw, t.to(place), context).float()
        if guided:
            away, towards = predicted.chunk(2)
            predicted = away + first.cfg * (towards - away)
        x_bchw = scheduler.step(predicted, t, x_bchw, **step_options).prev_sample
    pixels_bchw = painter.family.decode(painter.models, x_bchw / row.scaling_factor)
    # What is not a number is drawn black, as everywhere: a broken file shows.
    bytes_bhwc = (torch.nan_to_num(pixels_bchw / 2 + 0.5, nan=0.0).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
    return [Image.fromarray(array) for array in bytes_bhwc.cpu().numpy()]


def _context(painter: Painter, prompts: Sequence[Prompt], *, guided: bool) -> torch.Tensor:
    """(b or 2 b, tokens, width): the negative prompts first."""
    texts = [*(p.negative for p in prompts if guided), *(p.prompt for p in prompts)]
    with painter.device.autocast():
        encoded: torch.Tensor = painter.family.encode_text(
            painter.models, texts, clip_skip=painter.clip_skip, num_windows=num_windows(prompts[0])
        )
    return encoded


def png_text(
    prompt: Prompt,
    *,
    clip_skip: int,
    model: tuple[str, str],
    lora: tuple[str, float] | None,
    lora_hashes: Mapping[str, str] | None = None,
) -> str:
    """The "parameters" text that web UIs write and read back, so that one of them can draw the picture again.

    `model`: (name, sha256). `lora`: (name, strength) of the one being baked. `lora_hashes`: LoRA name -> its sshs_model_hash.
    """
    text = for_web_uis(prompt.prompt) + (f" <lora:{lora[0]}:{lora[1]:g}>" if lora else "")
    lines = [text, *([f"Negative prompt: {prompt.negative}"] if prompt.negative else [])]
    facts: dict[str, object] = {
        "Steps": prompt.steps,
        "Sampler": TITLES[prompt.sampler],
        "Schedule type": "Uniform",  # the unchanged spacing; without it some would take Karras' sigmas
        "CFG scale": f"{prompt.cfg:g}",
        "Seed": prompt.seed,
        "Size": f"{prompt.width}x{prompt.height}",
        "Model hash": model[1][:MODEL_DIGITS],
        "Model": model[0],
        "RNG": "CPU",  # where the noise is drawn; web UIs draw it on the card otherwise
    }
    if clip_skip > 1:
        facts["Clip skip"] = clip_skip
    if lora_hashes:
        facts["Lora hashes"] = ", ".join(f"{name}: {digest[:LORA_DIGITS]}" for name, digest in lora_hashes.items())
    facts["Version"] = f"lorabake {__version__}"
    return "\n".join([*lines, ", ".join(f"{key}: {_quoted(value)}" for key, value in facts.items())])


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(sign in text for sign in ',:\n"') else text


def save_png(path: Path, picture: Image.Image, text: str) -> None:
    """Write a picture with the text as its "parameters"; all of it or nothing."""
    about = PngInfo()
    # Plain text chunks are Latin-1 by their standard, and readers differ beyond ASCII.
    about.add_itxt("parameters", text) if not text.isascii() else about.add_text("parameters", text)
    with paths.replacing(path) as aside:
        picture.save(aside, format="PNG", pnginfo=about)

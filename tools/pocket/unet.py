"""Train the pocket model's text encoder and U-Net on the drawings' names: small first (64 px), then at 128 px.

`--until HH:MM` or `--steps` ends a run; it checkpoints every 250 steps, continues from the newest and, at each checkpoint, draws
a few asked names and prints the loss with right against wrong captions. Not part of lorabake itself; see README.md here.
"""

import argparse
import copy
import sys
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "py"), str(Path(__file__).parent)]
from draw import LEARNED
from vae import autoencoder

from lorabake.families import identify, sd1
from lorabake.families.tokenizer import clip_tokenizer

UNET = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (32, 64, 128, 128),
    "layers_per_block": 2,
    "cross_attention_dim": 128,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}
TEXT = {
    "vocab_size": 49408,
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}
SCALING = 0.18215
FAINT = ("snowman",)  # white on white: a small error, so it is learned last; four of each batch are of these
ASKED = "red apple,cat face,rocket,snowman,mushroom,pizza,sunflower,octopus".split(",")
ASKED += "guitar,crown,automobile,house,ghost,ice cream,penguin,fire".split(",")


class Pocket(torch.nn.Module):
    """Text encoder and U-Net as one module, so that one optimizer and one average serve both."""

    def __init__(self) -> None:
        super().__init__()
        self.text = CLIPTextModel(CLIPTextConfig(**TEXT))
        self.unet = UNet2DConditionModel(**UNET).to(memory_format=torch.channels_last)

    def forward(self, noisy_bchw, t_b, ids_bt):
        return self.unet(noisy_bchw, t_b, self.text(ids_bt).last_hidden_state).sample


def tokens(captions: list[str], length: int = 77) -> torch.Tensor:
    return clip_tokenizer()(captions, padding="max_length", truncation=True, max_length=length, return_tensors="pt")["input_ids"]


@torch.no_grad()
def encode(vae: AutoencoderKL, pixels: np.ndarray, half: bool) -> torch.Tensor:
    """Posterior means of all drawings, (n, 4, h/8, w/8), at 128 px or at half that size."""
    out = []
    for start in range(0, len(pixels), 16):
        x = torch.from_numpy(pixels[start : start + 16]).permute(0, 3, 1, 2).float() / 127.5 - 1
        x = torch.nn.functional.avg_pool2d(x, 2) if half else x
        out.append(vae.encode(x.to(memory_format=torch.channels_last)).latent_dist.mean)
    return torch.cat(out)


Space = tuple[AutoencoderKL, torch.Tensor, torch.Tensor]  # autoencoder, and mean and deviation (1, 4, 1, 1) of its latents


def space_of(options: argparse.Namespace, pixels: np.ndarray) -> Space:
    """The autoencoder with what brings its latents to mean 0 and deviation 1; in a finished pocket file that is its scaling factor."""
    if options.pocket:
        return pocket_models(options.pocket).vae, torch.zeros(1, 4, 1, 1), torch.full((1, 4, 1, 1), 1 / SCALING)
    vae = autoencoder()
    newest = options.out / "vae_decoder.safetensors"
    vae.load_state_dict(load_file(newest if newest.exists() else options.out / "vae.safetensors"))
    stats = options.out / "latent_stats.pt"
    if not stats.exists():
        some = encode(vae, pixels[:: max(1, len(pixels) // 500)], half=False)
        torch.save({"mean": some.mean((0, 2, 3)), "std": some.std((0, 2, 3))}, stats)
    s = torch.load(stats, weights_only=True)
    return vae, s["mean"].view(1, 4, 1, 1), s["std"].view(1, 4, 1, 1)


def pocket_models(path: Path) -> sd1.Models:
    return sd1.load(identify(path), dtype=torch.float32, device="cpu")


def latents_of(options: argparse.Namespace, pixels: np.ndarray, space: Space) -> torch.Tensor:
    """Normalised latents of all drawings, remembered in the out folder."""
    file = options.out / f"latents{'64' if options.half else '128'}.pt"
    vae, mean, std = space
    if not file.exists():
        torch.save(encode(vae, pixels, options.half), file)
    return (torch.load(file, weights_only=True) - mean) / std


@torch.no_grad()
def grid(model: Pocket, space: Space, side: int, length: int, file: Path) -> None:
    """The asked names, drawn side by side with DPM++ 2M in 20 steps at guidance 5."""
    scheduler = DPMSolverMultistepScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    scheduler.set_timesteps(20)
    vae, mean, std = space
    x = torch.randn(len(ASKED), 4, side, side, generator=torch.Generator().manual_seed(7))
    ids = torch.cat([tokens([""] * len(ASKED), length), tokens(ASKED, length)])
    for t in scheduler.timesteps:
        empty, asked = model(torch.cat([x, x]), t, ids).chunk(2)
        x = scheduler.step(empty + 5.0 * (asked - empty), t, x).prev_sample
    y = vae.decode(x * std + mean).sample
    y = ((y.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    rows = [np.concatenate(list(y[i : i + 8]), 1) for i in range(0, len(y), 8)]
    Image.fromarray(np.concatenate(rows, 0)).save(file)


def caption(name: str, set_name: str, draw: float) -> str:
    """10 % empty, half of the rest with the set's name behind, so that the sets' styles can be told apart."""
    if draw < 0.1:
        return ""
    return name if draw < 0.55 else f"{name}, {set_name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pocket", type=Path, help="go on from this finished file; the out folder needs nothing then")
    parser.add_argument("--half", action="store_true", help="the 64 px stage")
    parser.add_argument("--steps", type=int, default=3000, help="total steps of this stage")
    parser.add_argument("--decay", type=int, default=0, help="let the rate fall to zero over the last N steps")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    # The text encoder is causal, so a short window gives the same states as a long one; 24 tokens make the small stage a third cheaper,
    # the 128 px stage then learns to live with all the padding of the real 77.
    batch, side, length = (64, 8, 24) if options.half else (32, 16, 77)
    stage = "unet64" if options.half else "unet128"
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    data = np.load(options.pictures)
    learned = np.isin(data["names"], [name.replace("-", " ") for name in LEARNED])
    names, sets = data["names"][learned].tolist(), data["sets"][learned].tolist()
    space = space_of(options, data["pixels"][learned])
    latents = latents_of(options, data["pixels"][learned], space)
    del data
    print(f"{len(set(names))} concepts, {len(names)} drawings", flush=True)
    faint = torch.tensor([number for number, name in enumerate(names) if name in FAINT])
    torch.manual_seed(0)
    model = Pocket()
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.98), weight_decay=1e-2, fused=True)
    checkpoint, start = options.out / f"{stage}.ckpt", 0
    small = options.out / "unet64.ckpt"
    if not options.half and small.exists():
        first = torch.load(small, weights_only=True)["average"]
    elif options.pocket:
        models = pocket_models(options.pocket)
        first = {f"text.{k}": v for k, v in models.text_encoder.state_dict().items()}
        first |= {f"unet.{k}": v for k, v in models.unet.state_dict().items()}
    else:
        first = model.state_dict()
    model.load_state_dict(first)
    average.load_state_dict(first)
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    noise = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    snr = noise.alphas_cumprod / (1 - noise.alphas_cumprod)
    began, total = time.time(), 0.0
    generator = torch.Generator().manual_seed(1000 + start)
    for step in range(start + 1, options.steps + 1):
        rate = options.lr * min(1.0, step / 200) * (min(1.0, (options.steps - step) / options.decay) if options.decay else 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        index = torch.randint(len(names), (batch,), generator=generator)
        index[:: batch // 4] = faint[torch.randint(len(faint), (4,), generator=generator)]
        draws = torch.rand(batch, generator=generator).tolist()
        ids = tokens([caption(names[i], sets[i], d) for i, d in zip(index.tolist(), draws, strict=True)], length)
        x0 = latents[index].contiguous(memory_format=torch.channels_last)
        t = torch.randint(0, 1000, (batch,), generator=generator)
        if not options.half:
            # The small stage leaves colours and details right and shapes wrong: half of the looks at the noise that decides shapes.
            t[::2] = torch.randint(500, 1000, (batch // 2,), generator=generator)
        eps = torch.randn(x0.shape, generator=generator) + 0.05 * torch.randn(batch, 4, 1, 1, generator=generator)
        error = (model(noise.add_noise(x0, eps, t), t, ids) - eps).square().mean((1, 2, 3))
        weight = snr[t].clamp(max=5) / snr[t]
        (error * weight).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        keep = min(0.999, (step + 10) / (step + 110)) if options.half else 0.999
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)
        total += error.mean().item()
        if step % 50 == 0:
            print(f"{stage} step {step} loss {total / 50:.4f} {(time.time() - began) / (step - start):.3f} s/step", flush=True)
            total = 0.0
        if step % 250 == 0 or step == options.steps:
            state = {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(state, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
            with torch.no_grad():
                seven = torch.full((64,), 700)
                pick = torch.arange(64) * (len(names) // 64)
                g = torch.Generator().manual_seed(5)
                eps = torch.randn(latents[pick].shape, generator=g)
                noisy = noise.add_noise(latents[pick], eps, seven)
                right = [names[i] for i in pick.tolist()]
                losses = [(average(noisy, seven, tokens(c, length)) - eps).square().mean().item() for c in (right, right[9:] + right[:9])]
            print(f"{stage} step {step} at t=700: right caption {losses[0]:.4f}, wrong {losses[1]:.4f}", flush=True)
            grid(average, space, side, length, options.out / f"{stage}_{step:06d}.png")


if __name__ == "__main__":
    main()

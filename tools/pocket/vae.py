"""Train the pocket model's autoencoder (KL, factor 8, 4 channels) on the drawings at 64 and 128 px.

`--decoder-only` freezes what makes the latents and goes on with the decoder, so that a U-Net may already be training on them.
Checkpoints every 200 steps into the out folder and continues from the newest. Not part of lorabake itself; see README.md here.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

WIDTHS = (64, 64, 64, 96)


def autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=WIDTHS,
        layers_per_block=1,
        norm_num_groups=32,
        latent_channels=4,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        scaling_factor=0.18215,
    )


def views(pixels: torch.Tensor, step: int, generator: torch.Generator) -> torch.Tensor:
    """A batch in [-1, 1]: three steps of four see 8 whole drawings at 64 px, the fourth 2 at their full 128 px.

    Never crops: with 32 norm groups on 64 channels a crop of one flat colour looks like that of any other, so crops taught the decoder
    one average colour for all of them (seen here: red, blue and green all came out orange). White around a drawing is the reference.
    """
    full = step % 4 == 0
    index = torch.randint(len(pixels), (2 if full else 8,), generator=generator)
    x_bchw = pixels[index].permute(0, 3, 1, 2).float() / 127.5 - 1
    x_bchw = x_bchw if full else torch.nn.functional.avg_pool2d(x_bchw, 2)
    x_bchw = x_bchw.flip(-1) if torch.rand(1, generator=generator) < 0.5 else x_bchw
    return x_bchw.to(memory_format=torch.channels_last)


def difference(x_bchw: torch.Tensor, y_bchw: torch.Tensor) -> torch.Tensor:
    """L1 for edges, its gradients for crispness; squares and 8 px means for colours, which L1 alone finds very late."""
    crisp = sum((a - b).abs().mean() for a, b in zip(edges(x_bchw), edges(y_bchw), strict=True))
    coarse = torch.nn.functional.avg_pool2d(x_bchw - y_bchw, 8).abs().mean()
    return (x_bchw - y_bchw).abs().mean() + 3 * (x_bchw - y_bchw).square().mean() + 0.3 * crisp + coarse


def edges(x_bchw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x_bchw[..., 1:, :] - x_bchw[..., :-1, :], x_bchw[..., 1:] - x_bchw[..., :-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path, help="folder for vae.safetensors and the checkpoint")
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--start-from", type=Path, help="an earlier vae.safetensors")
    parser.add_argument("--decoder-only", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(2 if options.decoder_only else 1)
    pixels = torch.from_numpy(np.load(options.pictures)["pixels"])
    model = autoencoder().to(memory_format=torch.channels_last)
    result = options.out / "vae.safetensors"
    if options.decoder_only:
        model.load_state_dict(load_file(result))
        for part in (model.encoder, model.quant_conv, model.post_quant_conv):
            part.requires_grad_(False)
        result = options.out / "vae_decoder.safetensors"
    elif options.start_from:
        model.load_state_dict(load_file(options.start_from))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=options.lr, betas=(0.9, 0.999), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps=options.steps, pct_start=0.05, anneal_strategy="cos", cycle_momentum=False)
    checkpoint, start = result.with_suffix(".ckpt"), 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        start = state["step"]
    began, total = time.time(), 0.0
    for step in range(start + 1, options.steps + 1):
        x = views(pixels, step, generator)
        with torch.set_grad_enabled(not options.decoder_only):
            posterior = model.encode(x).latent_dist
        y = model.decode(posterior.sample()).sample
        loss = difference(x, y)
        (loss + 1e-6 * posterior.kl().mean()).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        total += loss.item()
        if step % 50 == 0:
            print(f"step {step} loss {total / 50:.4f} {(time.time() - began) / (step - start):.3f} s/step", flush=True)
            total = 0.0
        if step % 200 == 0 or step == options.steps:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "step": step}, checkpoint)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, result)


if __name__ == "__main__":
    main()

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
# Norm groups of two channels divide by almost nothing where a drawing is flat, and forget how strong a colour is: with SD's epsilon the
# training was unstable at any useful rate and red, green and blue all came out orange. It is done with a large epsilon, which makes
# the norms nearly linear; export.py scales the weights so that the file means the same with SD's own 1e-6, exactly.
TRAINING_EPS, SD_EPS = 1.0, 1e-6


def autoencoder() -> AutoencoderKL:
    model = AutoencoderKL(
        block_out_channels=WIDTHS,
        layers_per_block=1,
        norm_num_groups=32,
        latent_channels=4,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        scaling_factor=0.18215,
    )
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.eps = TRAINING_EPS
    return model


def give_rows(conv: torch.nn.Conv2d, rows: dict[int, tuple[int, torch.Tensor]]) -> None:
    """Set whole output channels: {out: (the one input it reads, kernel)}."""
    for out, (source, kernel) in rows.items():
        conv.weight[out] = 0
        conv.bias[out] = 0
        conv.weight[out, source] = kernel


@torch.no_grad()
def start_from_colours(model: AutoencoderKL, x_bchw: torch.Tensor) -> None:
    """Initialise so that, before any training, three latent channels are the mean colours of 8 x 8 px and come back as colours.

    From random weights the latents all became brightness and 2000 steps left red, green and blue orange. Here residual branches start at
    zero and colours take the linear path, each beside its negative, because x = silu(x) - silu(-x).
    """
    one, corner4, middle = torch.ones(1, 1), torch.zeros(3, 3), torch.zeros(3, 3)
    corner4[:2, :2], middle[1, 1], blur = 0.25, 1.0, torch.full((3, 3), 1 / 9)
    encoder, decoder = model.encoder, model.decoder
    for half in (encoder, decoder):
        for name, module in half.named_modules():
            if name.endswith(("conv2", "to_out.0")):
                torch.nn.init.zeros_(module.weight)
                torch.nn.init.zeros_(module.bias)

    def same(kernel: torch.Tensor) -> dict[int, tuple[int, torch.Tensor]]:
        return {channel: (channel, kernel) for channel in range(6)}

    both = {channel: (channel // 2, middle if channel % 2 == 0 else -middle) for channel in range(6)}
    give_rows(encoder.conv_in, both)
    for block in encoder.down_blocks[:3]:
        give_rows(block.downsamplers[0].conv, same(corner4))
    give_rows(encoder.down_blocks[3].resnets[0].conv_shortcut, same(one))
    model.quant_conv.weight.copy_(torch.eye(8)[..., None, None])
    model.post_quant_conv.weight.copy_(torch.eye(4)[..., None, None])
    model.quant_conv.bias.zero_()
    model.post_quant_conv.bias.zero_()
    give_rows(decoder.conv_in, both)
    for block in decoder.up_blocks[:3]:
        give_rows(block.upsamplers[0].conv, same(blur))
    give_rows(decoder.up_blocks[1].resnets[0].conv_shortcut, same(one))
    seen: dict[str, torch.Tensor] = {}
    handles = [part.conv_out.register_forward_pre_hook(lambda _m, inputs: seen.update(x=inputs[0])) for part in (encoder, decoder)]
    encoder(x_bchw)
    fit(encoder.conv_out, seen["x"][:, :6], torch.nn.functional.avg_pool2d(x_bchw, 8))
    encoder.conv_out.weight[4:] = 0
    encoder.conv_out.bias[4:] = -6.0
    decoder(model.encode(x_bchw).latent_dist.mean)
    fit(decoder.conv_out, seen["x"][:, :6], x_bchw)
    for handle in handles:
        handle.remove()


def fit(conv: torch.nn.Conv2d, features_bchw: torch.Tensor, target_bchw: torch.Tensor) -> None:
    """Middle tap and bias of the first three output channels by least squares on the first input channels."""
    rows = features_bchw.permute(0, 2, 3, 1).flatten(0, 2)
    rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    target = target_bchw.permute(0, 2, 3, 1).flatten(0, 2)
    ridge = 1e-4 * len(rows) * torch.eye(rows.shape[1])
    solution = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ target)
    conv.weight[:3] = 0
    conv.weight[:3, : features_bchw.shape[1], 1, 1] = solution[:-1].T
    conv.bias[:3] = solution[-1]


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
    """L1 and the L1 of gradients for edges, squares and 8 px means for surfaces, and the two colour differences by themselves, heavily:
    in RGB they are a small part of the error, and were left at the drawings' average orange for thousands of steps."""
    crisp = sum((a - b).abs().mean() for a, b in zip(edges(x_bchw), edges(y_bchw), strict=True))
    error_bchw = x_bchw - y_bchw
    luma_b1hw = (error_bchw * torch.tensor([0.3, 0.6, 0.1]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    chroma_bchw = error_bchw[:, ::2] - luma_b1hw
    means = [torch.nn.functional.avg_pool2d(e, size).abs().mean() for e, size in ((error_bchw, 8), (chroma_bchw, 8), (chroma_bchw, 2))]
    return error_bchw.abs().mean() + 3 * error_bchw.square().mean() + 0.3 * crisp + means[0] + 6 * means[1] + 3 * means[2]


def edges(x_bchw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x_bchw[..., 1:, :] - x_bchw[..., :-1, :], x_bchw[..., 1:] - x_bchw[..., :-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path, help="folder for vae.safetensors and the checkpoint")
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--lr", type=float, default=1e-3)
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
    else:
        start_from_colours(model, views(pixels[::50], 1, torch.Generator().manual_seed(3)).contiguous())
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=options.lr, betas=(0.9, 0.999), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.lr, total_steps=options.steps, pct_start=0.05, anneal_strategy="cos", cycle_momentum=False
    )
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
            torch.save(
                {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "step": step},
                checkpoint,
            )
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, result)


if __name__ == "__main__":
    main()

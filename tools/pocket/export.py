"""Write models/pocket.safetensors: the averaged weights in the layout of any SD 1.x file, fp16, latents folded to one scaling factor.

Training saw latents with each channel brought to mean 0 and deviation 1. Here that shift and scale go exactly into quant_conv and
post_quant_conv (both 1x1), so that the file is a plain SD 1.x with scaling factor 0.18215. Not part of lorabake itself; see README.md here.
"""

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "py"), str(Path(__file__).parent)]
from unet import SCALING, Pocket, pocket_models
from vae import SD_EPS, TRAINING_EPS, autoencoder

from lorabake.families import sd1

METADATA = {
    "modelspec.sai_model_spec": "1.0.1",
    "modelspec.architecture": "stable-diffusion-v1",
    "modelspec.title": "lorabake pocket",
    "modelspec.resolution": "128x128",
    "modelspec.encoder_layer": "1",
    "modelspec.prediction_type": "epsilon",
    "modelspec.license": "weights MIT; learned from Noto Emoji and FxEmojis (Apache 2.0), Twemoji and EmojiOne 2 (CC BY 4.0)",
    "modelspec.author": "the lorabake authors",
}


@torch.no_grad()
def fold(vae: AutoencoderKL, mean: torch.Tensor, std: torch.Tensor) -> None:
    """z' = (z - mean) / std / SCALING on the way in, z = z' * SCALING * std + mean on the way out; both exact."""
    scale = 1 / (std * SCALING)
    into, out = vae.quant_conv, vae.post_quant_conv
    into.weight[:4] *= scale.view(4, 1, 1, 1)
    into.bias[:4] = (into.bias[:4] - mean) * scale
    into.bias[4:] += 2 * scale.log()  # the posterior's deviation scales with its mean
    out.bias += (out.weight[:, :, 0, 0] * mean).sum(1)
    out.weight *= (std * SCALING).view(1, 4, 1, 1)


@torch.no_grad()
def to_sd_eps(vae: AutoencoderKL) -> None:
    """The same function with SD's own epsilon: everything that enters a norm is made k times smaller, k = sqrt(1e-6 / trained epsilon).

    A norm of k * x with epsilon k^2 * e is the norm of x with epsilon e. What writes into the residual stream, and each conv1 before its
    norm2, is scaled; layers from stream to stream (shortcuts, resampling) keep their weights and scale their bias.
    """
    k = (SD_EPS / TRAINING_EPS) ** 0.5
    for name, module in vae.named_modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.eps = SD_EPS
        elif name.endswith(("encoder.conv_in", "decoder.conv_in", "conv1", "conv2", "to_out.0")):
            module.weight *= k
            module.bias *= k
        elif name.endswith(("conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv")):
            module.bias *= k


def trained_vae(folder: Path) -> AutoencoderKL:
    """The autoencoder of vae.py with SD's epsilon and scaling factor."""
    vae = autoencoder()
    refined = folder / "vae_decoder.safetensors"
    vae.load_state_dict(load_file(refined if refined.exists() else folder / "vae.safetensors"))
    to_sd_eps(vae)
    stats = torch.load(folder / "latent_stats.pt", weights_only=True)
    fold(vae, stats["mean"], stats["std"])
    return vae


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trained", type=Path, help="the folder of vae.py and unet.py")
    parser.add_argument("out", type=Path)
    parser.add_argument("--pocket", type=Path, help="the file that unet.py went on from: its autoencoder is taken over")
    parser.add_argument("--checkpoint", default="unet128.ckpt", help="of the folder; unet64.ckpt gives an early model")
    options = parser.parse_args()
    pocket = Pocket()
    pocket.load_state_dict(torch.load(options.trained / options.checkpoint, weights_only=True)["average"])
    vae = pocket_models(options.pocket).vae if options.pocket else trained_vae(options.trained)
    models = SimpleNamespace(unet=pocket.unet, text_encoder=pocket.text, vae=vae)
    tensors = {name: tensor.half().contiguous() for name, tensor in sd1.to_original_keys(models).items()}
    assert all(tensor.isfinite().all() for tensor in tensors.values()), "a weight does not fit fp16"
    save_file(tensors, options.out, METADATA)
    print(f"{options.out}: {options.out.stat().st_size / 2**20:.1f} MB, {sum(t.numel() for t in tensors.values()) / 1e6:.2f} M parameters")


if __name__ == "__main__":
    main()

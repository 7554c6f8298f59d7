"""DDPM in formulas (Ho et al. 2020): the noise schedule of Stable Diffusion, noisy latents, SNR weights, the draws of a training step.

Every draw is made on the CPU from the generator that is given, so that the same seed gives the same noise on any device.
Not here: sampling (sampler.py), the loss itself (trainer.py).
"""

from functools import cache

import torch

NUM_TIMESTEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012


@cache
def alphas_cumprod() -> torch.Tensor:
    """(1000,) float32: how much of the picture's variance is left at t; betas are linear in their square roots ("scaled linear")."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, NUM_TIMESTEPS, dtype=torch.float32) ** 2
    return torch.cumprod(1 - betas, dim=0)


def add_noise(x0: torch.Tensor, eps: torch.Tensor, t_b: torch.Tensor) -> torch.Tensor:
    """sqrt(ab_t) * x0 + sqrt(1 - ab_t) * eps, in the type and on the device of x0 (b, ...); t_b (b,) integers in 0..999."""
    ab = alphas_cumprod()[t_b.cpu()].reshape(-1, *(1 for _ in x0.shape[1:]))
    signal, sigma = ab.sqrt().to(x0), (1 - ab).sqrt().to(x0)
    return signal * x0 + sigma * eps


def snr(t_b: torch.Tensor) -> torch.Tensor:
    """Signal-to-noise ratio ab / (1 - ab), (b,) float32 on the CPU."""
    ab = alphas_cumprod()[t_b.cpu()]
    return ab / (1 - ab)


def min_snr_weight(t_b: torch.Tensor, gamma: float) -> torch.Tensor:
    """Weight of the loss on the noise, min(SNR, gamma) / SNR (Hang et al. 2023), (b,) float32 on the CPU."""
    ratio = snr(t_b)
    return ratio.clamp(max=gamma) / ratio


def draw(shape: tuple[int, ...], generator: torch.Generator, *, offset: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """(noise of `shape` (b, c, h, w) float32, timesteps (b,) int64 uniform in 0..999) on the CPU.

    In this order from the generator: noise, its offset (only where it is not 0), timesteps.
    """
    eps_bchw = noise_with_offset(shape, offset, generator)
    return eps_bchw, torch.randint(0, NUM_TIMESTEPS, (shape[0],), generator=generator)


def noise_with_offset(shape: tuple[int, ...], offset: float, generator: torch.Generator) -> torch.Tensor:
    """Normal noise; an offset o (Guttenberg 2023) adds o * n, one n per picture and channel, so that overall brightness is learned."""
    eps_bchw = torch.randn(shape, generator=generator)
    if offset:
        eps_bchw += offset * torch.randn((*shape[:2], 1, 1), generator=generator)
    return eps_bchw

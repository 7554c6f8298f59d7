"""Noise schedule and draws: diffusers' DDPMScheduler and plain float64 arithmetic as oracles."""

import math

import pytest
import torch
from diffusers import DDPMScheduler

from lorabake import noise

SHAPE = (3, 4, 5, 6)


def generator(seed=23):
    return torch.Generator().manual_seed(seed)


def scheduler():
    return DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000, clip_sample=False)


def exact_alphas():
    """The same table in plain float64."""
    found, product = [], 1.0
    for i in range(1000):
        beta = (math.sqrt(0.00085) + (math.sqrt(0.012) - math.sqrt(0.00085)) * i / 999) ** 2
        product *= 1 - beta
        found.append(product)
    return found


def test_schedule_is_diffusers_to_the_bit():
    assert torch.equal(noise.alphas_cumprod(), scheduler().alphas_cumprod)


def test_noisy_latents_are_diffusers():
    x0, eps = torch.randn(SHAPE, generator=generator()), torch.randn(SHAPE, generator=generator(1))
    t_b = torch.tensor([0, 500, 999])
    assert torch.allclose(noise.add_noise(x0, eps, t_b), scheduler().add_noise(x0, eps, t_b), rtol=0, atol=1e-6)


def test_noisy_latents_keep_the_type_of_the_latents():
    x0 = torch.randn(SHAPE).to(torch.bfloat16)
    assert noise.add_noise(x0, x0, torch.tensor([1, 2, 3])).dtype == torch.bfloat16


@pytest.mark.parametrize("t", [0, 1, 10, 100, 250, 500, 750, 998, 999])
def test_snr_table(t):
    ab = exact_alphas()[t]
    assert noise.snr(torch.tensor([t])).item() == pytest.approx(ab / (1 - ab), rel=1e-3)


@pytest.mark.parametrize("gamma", [1.0, 5.0, 20.0])
def test_min_snr_table(gamma):
    timesteps = torch.arange(0, 1000, 37)
    wanted = []
    for t in timesteps.tolist():
        ratio = exact_alphas()[t] / (1 - exact_alphas()[t])
        wanted.append(min(ratio, gamma) / ratio)
    found = noise.min_snr_weight(timesteps, gamma)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(wanted, rel=1e-3)
    assert found.max() == 1 and found.min() > 0


def test_weight_falls_only_where_there_is_little_noise():
    weights = noise.min_snr_weight(torch.arange(1000), 5.0)
    assert torch.equal(weights, weights.sort().values)
    assert (weights[noise.snr(torch.arange(1000)) <= 5] == 1).all()


def test_draws_are_in_the_documented_order():
    eps, t_b = noise.draw(SHAPE, generator(), offset=0.1)
    again = generator()
    plain = torch.randn(SHAPE, generator=again)
    shift = torch.randn((3, 4, 1, 1), generator=again)
    assert torch.equal(eps, plain + 0.1 * shift)
    assert torch.equal(t_b, torch.randint(0, 1000, (3,), generator=again))


def test_no_offset_draws_nothing_for_it():
    eps, t_b = noise.draw(SHAPE, generator())
    again = generator()
    assert torch.equal(eps, torch.randn(SHAPE, generator=again))
    assert torch.equal(t_b, torch.randint(0, 1000, (3,), generator=again))


def test_draws_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = noise.draw(SHAPE, generator(7), offset=0.05)
    torch.manual_seed(2)
    second = noise.draw(SHAPE, generator(7), offset=0.05)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], noise.draw(SHAPE, generator(8), offset=0.05)[0])


def test_timesteps_cover_the_whole_range():
    _, t_b = noise.draw((20000, 1, 1, 1), generator())
    assert t_b.min() == 0 and t_b.max() == 999 and t_b.dtype == torch.int64
    assert t_b.float().mean().item() == pytest.approx(499.5, abs=10)


def test_offset_moves_whole_channels():
    eps = noise.noise_with_offset((2, 4, 64, 64), 0.5, generator())
    assert eps.mean((2, 3)).abs().max() > 0.2
    assert noise.noise_with_offset((2, 4, 64, 64), 0.0, generator()).mean((2, 3)).abs().max() < 0.1

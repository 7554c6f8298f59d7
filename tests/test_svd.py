"""Low-rank approximation against torch's full SVD, for spectra of every kind."""

import random

import pytest
import torch

from lorabake import svd

PROMISED, ROUNDING = 1.01, 1e-5


def orthonormal(rows, columns, generator):
    return torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64)).Q


def with_spectrum(shape, values, seed=0):
    generator = torch.Generator().manual_seed(seed)
    smaller = min(shape)
    left, right = orthonormal(shape[0], smaller, generator), orthonormal(shape[1], smaller, generator)
    return (left * values[:smaller] @ right.t()).float()


def spectrum(kind, number, smaller, rank):
    index = torch.arange(1, smaller + 1, dtype=torch.float64)
    return {
        "power": index**-number,
        "exponential": torch.exp(-index * number / 10),
        "step": torch.where(index <= rank, 1 + number, 1.0),
        "wide step": torch.where(index <= 3 * rank, 1 + number, 1.0),
        "low rank and noise": torch.where(index <= max(1, rank // 2), 1.0, number / 100),
        "one": torch.where(index == 1, 1.0, 0.0),
        "two levels": torch.where(index <= rank // 2 + 1, 1.0, torch.where(index <= rank + 8, number / 10, 1e-4)),
    }[kind].double()


KINDS = ("power", "exponential", "step", "wide step", "low rank and noise", "one", "two levels")


def error(matrix, found):
    product = found.left.double() * found.values.double() @ found.right.double()
    return torch.linalg.norm(matrix.double() - product).item()


def assert_near_the_optimum(matrix, found, rank):
    values = torch.linalg.svdvals(matrix.double())
    best = values[rank:].square().sum().sqrt().item()
    size = torch.linalg.norm(matrix.double()).item()
    assert error(matrix, found) <= PROMISED * best + ROUNDING * size
    assert found.total - found.captured() == pytest.approx(best**2, rel=0.0201, abs=1e-5 * size**2)
    assert torch.all(found.values[:-1] >= found.values[1:] * (1 - 1e-5))


SHAPES = [(320, 320), (300, 700), (640, 256), (200, 1500), (64, 64), (40, 300)]
DRAW = random.Random(6)
CASES = [
    (DRAW.choice(KINDS), 10 ** DRAW.uniform(-2, 0.5), DRAW.choice(SHAPES), DRAW.choice((1, 2, 4, 8, 16, 32, 64)), number)
    for number in range(80)
]
SHARED = [(DRAW.choice(KINDS), 10 ** DRAW.uniform(-1.3, 0.3), DRAW.uniform(0.05, 0.999), DRAW.choice(SHAPES)) for _ in range(40)]


@pytest.mark.parametrize(("kind", "number", "shape", "rank", "seed"), CASES)
def test_the_error_is_at_most_one_percent_above_the_smallest(kind, number, shape, rank, seed):
    matrix = with_spectrum(shape, spectrum(kind, number, min(shape), rank), seed)
    assert_near_the_optimum(matrix, svd.low_rank(matrix, rank, seed=seed), min(rank, *shape))


@pytest.mark.parametrize("shape", [(400, 400), (1280, 320), (320, 1280), (30, 50)])
@pytest.mark.parametrize("rank", [1, 8, 32])
def test_noise_alone(shape, rank):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert_near_the_optimum(matrix, svd.low_rank(matrix, rank, seed=2), min(rank, *shape))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [0.05, 0.2, 0.5, 1.0, 3.0])
@pytest.mark.parametrize(("shape", "rank"), [((1280, 1280), 32), ((1280, 1280), 128), ((640, 5120), 64), ((768, 768), 4)])
def test_the_error_at_full_size(kind, number, shape, rank):
    matrix = with_spectrum(shape, spectrum(kind, number, min(shape), rank))
    assert_near_the_optimum(matrix, svd.low_rank(matrix, rank, seed=1), rank)


@pytest.mark.parametrize("shape", [(400, 300), (20, 20)])
def test_nothing_at_all(shape):
    found = svd.low_rank(torch.zeros(shape), 4, seed=0)
    assert found.captured() == found.total == 0
    assert not (found.left * found.values @ found.right).any() and found.left.isfinite().all()


@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_tiny_and_huge_numbers(factor):
    matrix = torch.randn(400, 500, generator=torch.Generator().manual_seed(1)) * factor
    assert_near_the_optimum(matrix, svd.low_rank(matrix, 8, seed=0), 8)


def test_the_same_seed_gives_the_same_bits():
    matrix = torch.randn(400, 500, generator=torch.Generator().manual_seed(1))
    first, second = (svd.low_rank(matrix, 16, seed=svd.seed_of("a")) for _ in range(2))
    assert torch.equal(first.left, second.left) and torch.equal(first.right, second.right) and not first.exact
    assert svd.seed_of("a") != svd.seed_of("b")


def test_small_matrices_and_large_ranks_are_done_exactly():
    assert svd.low_rank(torch.randn(64, 64), 8, seed=0).exact
    assert svd.low_rank(torch.randn(400, 400), 100, seed=0).exact
    assert svd.low_rank(torch.randn(3, 500), 8, seed=0).values.shape == (3,)


def test_hardly_any_step_between_the_values_still_ends():
    matrix = with_spectrum((500, 500), spectrum("step", 0.05, 500, 32))
    assert_near_the_optimum(matrix, svd.low_rank(matrix, 32, seed=0), 32)


@pytest.mark.parametrize(("kind", "number", "share", "shape"), SHARED)
def test_a_share_is_reached_by_about_as_few_as_can_be(kind, number, share, shape):
    matrix = with_spectrum(shape, spectrum(kind, number, min(shape), 20))
    found = svd.by_share(matrix, share, seed=3)
    assert found.captured() >= share * found.total * (1 - 1e-6)
    energy = torch.linalg.svdvals(matrix.double()).square()
    fewest = int((energy.cumsum(0) < share * energy.sum() * (1 - 1e-6)).sum()) + 1
    assert fewest <= len(found.values) <= fewest + max(1, round(0.06 * fewest))


def test_a_share_has_a_limit():
    matrix = torch.randn(400, 400, generator=torch.Generator().manual_seed(1))
    assert svd.by_share(matrix, 0.99, most=10, seed=0).values.shape == (10,)
    assert svd.by_share(matrix, 0.99, most=200, seed=0).values.shape == (200,)
    assert svd.by_share(torch.zeros(40, 40), 0.9, seed=0).values.shape == (1,)

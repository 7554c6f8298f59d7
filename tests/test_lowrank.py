"""Best approximations against torch's own SVD of the whole matrix, and pairs that fp16 can hold."""

import pytest
import torch

from lorabake.networks import lowrank


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


SIZES = [(40, 30, 8), (30, 40, 8), (16, 50, 24), (50, 16, 24), (9, 9, 1)]


@pytest.mark.parametrize(("out", "width", "rank"), SIZES)
def test_of_factors_is_the_svd_of_their_product(out, width, rank):
    up, down = random(out, rank), random(rank, width, seed=1)
    found = lowrank.of_factors(up, down)
    exact = torch.linalg.svdvals(up.double() @ down.double())
    assert len(found.values) == min(out, width, rank)
    assert torch.allclose(found.values.double(), exact[: len(found.values)], rtol=1e-5, atol=1e-5)
    assert torch.allclose(torch.diag(found.left.T @ found.left), torch.ones(len(found.values)), atol=1e-5)


@pytest.mark.parametrize(("out", "width", "rank"), SIZES)
@pytest.mark.parametrize("new", [1, 5])
def test_no_pair_of_the_rank_is_nearer(out, width, rank, new):
    up, down = random(out, rank), random(rank, width, seed=1)
    product = up @ down
    left, values, right = torch.linalg.svd(product.double(), full_matrices=False)
    best = float((product - (left[:, :new] * values[:new]) @ right[:new]).norm())
    for found in (lowrank.of_factors(up, down), lowrank.of_matrix(product, new)):
        near_up, near_down = found.pair(new)
        assert (near_up.shape == (out, min(new, rank)) and near_down.shape == (min(new, rank), width)) or rank < new
        error = float((product - near_up @ near_down).norm())
        assert error <= best * (1 + 1e-5) + 1e-4


def test_of_matrix_holds_small_values_too():
    """Gram matrices square the values; in float64 that costs nothing that float32 had."""
    values = torch.logspace(0, -5, 12)
    left, _ = torch.linalg.qr(random(60, 12))
    right, _ = torch.linalg.qr(random(80, 12, seed=1))
    found = lowrank.of_matrix((left * values) @ right.T, 12)
    assert torch.allclose(found.values, values, rtol=1e-2)
    assert torch.allclose(found.values[:8], values[:8], rtol=1e-3)


def test_zeros_are_no_trouble():
    assert float(lowrank.of_matrix(torch.zeros(5, 7), 3).norm()) == 0
    found = lowrank.of_factors(torch.zeros(5, 2), random(2, 7))
    assert found.norm() == 0 and found.pair(1)[0].isfinite().all()


def test_the_norm_of_a_product():
    up, down = random(30, 4), random(4, 50)
    assert lowrank.norm_of_product(up, down) == pytest.approx(float((up @ down).norm()), rel=1e-6)
    found = lowrank.of_factors(up, down)
    assert found.norm() == pytest.approx(float((up @ down).norm()), rel=1e-5) and found.norm(2) < found.norm()


@pytest.mark.parametrize("scale", [1.0, -0.7, 1 / 128, 3e-6, 900.0])
def test_balanced_gives_the_same_product_and_survives_fp16(scale):
    up, down = random(30, 4) * 1e-4, random(4, 50) * 0.05
    new_up, new_down = lowrank.balanced(up, down, scale)
    assert float((new_up @ new_down - scale * (up @ down)).norm()) < 1e-6 * float((scale * (up @ down)).norm())
    assert torch.equal(torch.log2(new_down / down).frac(), torch.zeros_like(down)), "a power of two: nothing is rounded"
    ratio = float(new_up.norm() / 120**0.5 / (new_down.norm() / 200**0.5))
    assert 0.5 <= ratio <= 2
    half = new_up.half().float() @ new_down.half().float()
    assert float((half - scale * (up @ down)).norm() / (scale * up @ down).norm()) < (1e-3 if abs(scale) > 1e-3 else 2e-2)


def test_balanced_leaves_what_is_balanced_to_the_bit():
    up, down = random(30, 4), random(4, 50)
    new_up, new_down = lowrank.balanced(up, down, 1.0)
    assert torch.equal(new_up, up) and torch.equal(new_down, down)

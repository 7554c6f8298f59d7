"""What a difference of two tensors is: a change, or the rounding of two precisions."""

import pytest
import torch
from safetensors.torch import save_file

from lorabake import differences, tensor_files
from lorabake.differences import Distance
from lorabake.families.layers import Layer

CPU = torch.device("cpu")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def between(tmp_path, first, second):
    save_file({"w": first.contiguous()}, tmp_path / "a.safetensors")
    save_file({"w": second.contiguous()}, tmp_path / "b.safetensors")
    layer = Layer("name", "unet", "w", tuple(first.shape), "MID")
    with tensor_files.opened(tmp_path / "a.safetensors") as a, tensor_files.opened(tmp_path / "b.safetensors") as b:
        return differences.of_layer((layer, layer), a, b, CPU)


def weight(*shape, scale=0.05, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize("first", DTYPES)
@pytest.mark.parametrize("second", DTYPES)
@pytest.mark.parametrize("scale", [1e-7, 0.05, 30.0])
def test_one_weight_in_two_precisions_is_unchanged(tmp_path, first, second, scale):
    exact = weight(300, 200, scale=scale)
    found = between(tmp_path, exact.to(first), exact.to(second))
    assert found.matrix is None and not found.changed and found.squared == 0
    assert (found.largest == 0) == (first == second)


@pytest.mark.parametrize("first", DTYPES)
@pytest.mark.parametrize("second", DTYPES)
def test_one_changed_weight_among_many_is_a_change(tmp_path, first, second):
    """Wherever it is: a sample alone would not see it."""
    exact = weight(300, 200)
    changed = exact.clone()
    changed.view(-1)[12345] += 0.01
    found = between(tmp_path, exact.to(first), changed.to(second))
    assert found.changed and found.matrix is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_one_step_of_the_same_precision_is_a_change(tmp_path, dtype):
    exact = weight(30, 20).to(dtype)
    stepped = (exact.view(torch.int16) + (torch.arange(600).view(30, 20) == 77).to(torch.int16)).view(dtype)
    assert between(tmp_path, exact, stepped).changed


def test_half_precision_in_a_wide_file_is_seen(tmp_path):
    exact = weight(300, 200)
    assert differences.grid(exact.half().float()) == torch.float16
    assert differences.grid(exact.bfloat16().float()) == differences.grid(exact.bfloat16()) == torch.bfloat16
    assert differences.grid(exact) == torch.float32
    assert not between(tmp_path, exact, exact.half().float()).changed
    assert between(tmp_path, exact.half().float(), (exact * 1.0004).half().float()).changed, "both are fp16 in truth"


def test_numbers_are_true(tmp_path):
    first, second = weight(40, 30, 3, 3), weight(40, 30, 3, 3, seed=1)
    found = between(tmp_path, first.half(), second.half())
    exact = (second.half().double() - first.half().double()).reshape(40, -1)
    assert torch.equal(found.matrix.double(), exact.float().double())
    assert found.squared == pytest.approx(exact.square().sum().item(), rel=1e-6)
    assert found.base_squared == pytest.approx(first.half().double().square().sum().item(), rel=1e-5)
    assert found.largest == pytest.approx(exact.abs().max().item(), rel=1e-6) and found.noise == 0


def test_rounding_of_a_coarse_base_is_estimated(tmp_path):
    exact = weight(400, 300)
    tuned = exact + weight(400, 300, scale=2e-4, seed=2)
    found = between(tmp_path, exact.bfloat16(), tuned)
    rounding = (exact.bfloat16().double() - exact.double()).square().sum().item()
    assert found.noise == pytest.approx(rounding, rel=0.05)
    assert between(tmp_path, exact, tuned.bfloat16()).noise == 0, "rounding of the tuned model is what it draws with"


def test_fp8(tmp_path):
    exact = weight(64, 32)
    assert not between(tmp_path, exact, exact.to(torch.float8_e4m3fn)).changed
    assert between(tmp_path, exact.to(torch.float8_e4m3fn), exact * 1.5).changed
    assert not between(tmp_path, exact.to(torch.float8_e5m2), exact.half()).changed


def test_distances_add_up():
    distance = Distance()
    assert distance.text() == "equal"
    distance.add(differences.Difference(None, 0.0, 0.0, 4.0, changed=False))
    assert distance.text() == "equal"
    distance.add(differences.Difference(None, 1e-6, 0.0, 5.0, changed=False))
    assert distance.text() == "equal but for rounding"
    distance.add(differences.Difference(None, 1.0, 1.0, 16.0))
    assert (distance.relative(), distance.text()) == (0.2, "20 %")


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1, "100 %"),
        (0.99999, "99.9 %"),
        (0.987, "98.7 %"),
        (0.5, "50 %"),
        (0.0123, "1.2 %"),
        (0.00012, "0.012 %"),
        (1.41, "141 %"),
        (0, "0 %"),
    ],
)
def test_percent(share, text):
    assert differences.percent(share) == text

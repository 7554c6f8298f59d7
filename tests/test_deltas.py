"""What each type of module adds: as LyCORIS computes it, as PEFT computes it, and as the published formulas say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lorabake.networks import deltas, lora

HERE = Path(__file__).parent
LYCORIS = ("lycoris-lora==4.1.3", "einops==0.8.2", "toml==0.10.2")


def cases(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in load_file(path).items():
        case, _, name = key.partition("/")
        found.setdefault(case, {})[name] = tensor
    return found


FROZEN = cases(HERE / "data" / "lycoris.safetensors")


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-6) -> bool:
    assert found.dtype == torch.float32 and found.shape == expected.shape
    return float((found - expected).abs().max()) <= tolerance * max(1.0, float(expected.abs().max()))


def as_lycoris(case: dict[str, torch.Tensor]) -> bool:
    tensors = {name: tensor for name, tensor in case.items() if name.islower()}
    return close(deltas.change(tensors, case["BASE"]), case["CHANGE"])


@pytest.mark.parametrize("name", FROZEN)
def test_the_same_as_lycoris(name):
    assert as_lycoris(FROZEN[name])


def test_every_form_is_among_the_frozen_ones():
    suffixes = {name for case in FROZEN.values() for name in case}
    assert {
        "lora_mid.weight",
        "hada_t1",
        "hada_t2",
        "lokr_w1_a",
        "lokr_w2",
        "lokr_w2_b",
        "lokr_t2",
        "dora_scale",
        "diff",
        "w_norm",
    } <= suffixes
    assert {case["dora_scale"].shape for case in FROZEN.values() if "dora_scale" in case} == {(8, 1), (1, 12), (6, 1, 1, 1), (1, 4, 1, 1)}


@pytest.mark.slow
def test_the_same_as_lycoris_today(tmp_path):
    """Made anew by LyCORIS itself: four kinds of layer, 109 modules."""
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), *LYCORIS], check=True)
    path = os.pathsep.join([*map(str, sys.path), str(site)])
    done = subprocess.run(
        [sys.executable, str(HERE / "lycoris_modules.py"), str(tmp_path / "made.safetensors")],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = cases(tmp_path / "made.safetensors")
    assert len(made) == 4 * 28 + 1 and not [name for name, case in made.items() if not as_lycoris(case)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pair(out=8, width=6, rank=3, kernel=()):
    return {"lora_down.weight": random(rank, width, *kernel), "lora_up.weight": random(out, rank, *(1 for _ in kernel), seed=1)}


@pytest.mark.parametrize(
    ("alpha", "scale"),
    [
        (None, 1),
        (0.0, 1),
        (torch.tensor(6), 2),
        (torch.tensor(1.5).half(), 0.5),
        (torch.tensor(3.0).bfloat16(), 1),
        (torch.tensor([6.0]), 2),
    ],
)
def test_alpha_of_any_kind(alpha, scale):
    tensors = pair()
    expected = sum(torch.outer(tensors["lora_up.weight"][:, r], tensors["lora_down.weight"][r]) for r in range(3)) * scale
    given = {} if alpha is None else {"alpha": torch.as_tensor(alpha)}
    assert close(deltas.delta(tensors | given, (8, 6)), expected)


def test_a_convolution_is_a_sum_over_ranks():
    tensors = pair(kernel=(3, 3)) | {"alpha": torch.tensor(1.5)}
    up, down = tensors["lora_up.weight"][:, :, 0, 0], tensors["lora_down.weight"]
    expected = torch.zeros(8, 6, 3, 3)
    for o in range(8):
        for r in range(3):
            expected[o] += 0.5 * up[o, r] * down[r]
    assert close(deltas.delta(tensors, (8, 6, 3, 3)), expected)
    assert close(deltas.delta(tensors, (8, 6, 3, 3)), lora.delta(tensors)), "what the trainer trains"


@pytest.mark.parametrize("kernel", [(), (1, 1)])
@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1, 1)])
def test_1x1_layers_come_in_two_shapes(kernel, shape):
    found = deltas.delta(pair(kernel=kernel), shape)
    assert found.shape == shape and close(found.reshape(8, 6), deltas.delta(pair(), (8, 6)))


def test_tucker_runs_as_three_convolutions():
    down, mid, up = random(3, 6, 1, 1), random(3, 3, 3, 3), random(8, 3, 1, 1)
    x = random(1, 6, 5, 5)
    functional = nn.functional
    expected = functional.conv2d(functional.conv2d(functional.conv2d(x, down), mid, padding=1), up)
    change = deltas.delta({"lora_down.weight": down, "lora_mid.weight": mid, "lora_up.weight": up}, (8, 6, 3, 3))
    assert torch.allclose(functional.conv2d(x, change, padding=1), expected, atol=1e-4)


def test_lokr_of_two_whole_factors_ignores_alpha():
    tensors = {"lokr_w1": random(2, 3), "lokr_w2": random(4, 2), "alpha": torch.tensor(0.01)}
    expected = torch.zeros(8, 6)
    for i in range(2):
        for j in range(3):
            expected[4 * i : 4 * i + 4, 2 * j : 2 * j + 2] = tensors["lokr_w1"][i, j] * tensors["lokr_w2"]
    assert close(deltas.delta(tensors, (8, 6)), expected)


def test_half_precision_is_computed_in_float32():
    tensors = {name: tensor.half() for name, tensor in pair().items()}
    exact = tensors["lora_up.weight"].double() @ tensors["lora_down.weight"].double()
    assert close(deltas.delta(tensors, (8, 6)), exact.float())


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kernel", [(), (3, 3)])
def test_dora_gives_the_norms_that_it_says(axis, kernel):
    base = random(6, 6, *kernel, seed=5)
    scale = random(*[6 if dim == axis else 1 for dim in range(2 + len(kernel))]).abs() + 0.5
    tensors = pair(6, 6, kernel=kernel) | {"dora_scale": scale}
    new = base + deltas.change(tensors, base)
    others = [dim for dim in range(new.dim()) if dim != axis]
    assert torch.allclose(torch.linalg.vector_norm(new, dim=others), scale.flatten(), atol=1e-5)
    moved = base + deltas.delta(tensors, tuple(base.shape))
    assert torch.allclose(
        nn.functional.cosine_similarity(new.movedim(axis, 0).flatten(1), moved.movedim(axis, 0).flatten(1)), torch.ones(6)
    )


def test_a_magnitude_of_the_base_and_no_direction_changes_nothing():
    base = random(8, 6)
    tensors = pair() | {"dora_scale": base.norm(dim=1, keepdim=True)}
    tensors["lora_up.weight"].zero_()
    assert deltas.change(tensors, base).abs().max() < 1e-6
    assert deltas.change(tensors, torch.zeros(8, 6)).isfinite().all(), "a weight of zeros has no norm"


def test_dora_is_peft_s():
    from peft import LoraConfig, get_peft_model

    for base, module in ((nn.Linear(6, 8), "linear"), (nn.Conv2d(6, 8, 3), "conv")):
        model = nn.ModuleDict({"x": base})
        wrapped = get_peft_model(model, LoraConfig(r=3, lora_alpha=5, target_modules=["x"], use_dora=True, init_lora_weights=False))
        layer = wrapped.base_model.model["x"]
        magnitude = layer.lora_magnitude_vector["default"].weight
        magnitude.data.mul_(1.3)
        tensors = {
            "lora_down.weight": layer.lora_A["default"].weight.detach(),
            "lora_up.weight": layer.lora_B["default"].weight.detach(),
            "alpha": torch.tensor(5.0),
            "dora_scale": magnitude.detach().flatten(),
        }
        before = layer.base_layer.weight.detach().clone()
        layer.merge()
        assert torch.allclose(before + deltas.change(tensors, before), layer.base_layer.weight, atol=1e-5), module


@pytest.mark.parametrize(
    ("tensors", "shape", "words"),
    [
        (pair(), (8, 7), r"\(8, 6\).*\(8, 7\)"),
        (pair(), (6, 8), r"\(8, 6\).*\(6, 8\)"),
        (pair(kernel=(3, 3)), (8, 6), r"\(8, 6, 3, 3\)"),
        (pair() | {"lora_up.weight": random(8, 4)}, (8, 6), r"do not fit each other: lora_down.weight \(3, 6\), lora_up.weight \(8, 4\)"),
        (pair() | {"dora_scale": random(5, 1)}, (8, 6), "magnitude"),
        ({"diff": random(8, 6)}, (8, 5), r"\(8, 5\)"),
        ({"lora_down.weight": random(3, 6)}, (8, 6), "lora_down.weight"),
        ({"hada_w1_a": random(3, 6), "hada_w1_b": random(3, 6)}, (8, 6), "hada_w1_a, hada_w1_b"),
        ({"dora_scale": random(8, 1)}, (8, 6), "without a direction"),
        ({"lokr_w1": random(), "lokr_w2": random(8, 6)}, (8, 6), "do not fit each other"),
    ],
)
def test_what_does_not_fit_is_said_with_both_sizes(tensors, shape, words):
    with pytest.raises(ValueError, match=words):
        deltas.change(tensors, torch.zeros(shape))


def shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_sizes_are_seen_without_contents():
    """So that a whole file can be checked before anything is computed."""
    for name, case in FROZEN.items():
        tensors = {key: tensor for key, tensor in case.items() if key.islower()}
        deltas.require_fits(shapes(tensors), tuple(case["BASE"].shape))
        assert deltas.shape_of(shapes(tensors)) == deltas.formed(tensors).shape, name


@pytest.mark.parametrize("name", [name for name in FROZEN if "full" not in name])
def test_a_tensor_of_another_size_is_seen(name):
    """Each tensor in turn, one longer along each side: no case is left to fail while it is computed."""
    case = {key: tensor for key, tensor in FROZEN[name].items() if key.islower() and key != "alpha"}
    for key, tensor in case.items():
        for axis in range(tensor.dim()):
            grown = list(tensor.shape)
            grown[axis] += 1
            with pytest.raises(ValueError, match=r"fit|changes a weight|magnitude"):
                deltas.require_fits(shapes(case) | {key: tuple(grown)}, tuple(FROZEN[name]["BASE"].shape))


def test_biases():
    assert deltas.bias_delta(pair(), (8,)) is None
    assert torch.equal(deltas.bias_delta({"b_norm": torch.ones(8).half()}, (8,)), torch.ones(8))
    with pytest.raises(ValueError, match=r"bias of \(8,\).*\(5,\)"):
        deltas.require_bias_fits({"diff_b": (8,)}, (5,))

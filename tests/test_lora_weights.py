"""lora_weights.py: every spoiled tensor is found, and norms are those of the matrices themselves."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lorabake import lora_weights, tensor_files
from lorabake.families import lora_keys


def seen(path: Path, tensors: dict[str, torch.Tensor]) -> lora_weights.Look:
    save_file(tensors, path)
    with tensor_files.opened(path) as source:
        return lora_weights.look(source, lora_keys.read(tensors))


def pair(name: str, *, up: torch.Tensor | None = None, alpha: float | None = 2.0) -> dict[str, torch.Tensor]:
    found = {f"{name}.lora_down.weight": torch.randn(4, 6), f"{name}.lora_up.weight": torch.randn(5, 4) if up is None else up}
    return found | ({f"{name}.alpha": torch.tensor(alpha)} if alpha is not None else {})


def test_what_is_found(tmp_path):
    spoiled, endless = torch.randn(5, 4), torch.randn(5, 4)
    spoiled[2, 1], endless[0, 0] = float("nan"), float("-inf")
    tensors = (
        pair("lora_unet_a") | pair("lora_unet_b", up=torch.zeros(5, 4)) | pair("lora_unet_c", up=spoiled) | pair("lora_te_d", up=endless)
    )
    tensors |= {"extra.bias": torch.zeros(3), "extra.weight": torch.zeros(3, 3), "ids": torch.zeros(2, 2, dtype=torch.int64)}
    found = seen(tmp_path / "a.safetensors", tensors)
    assert found.nan == ["lora_unet_c.lora_up.weight"] and found.infinite == ["lora_te_d.lora_up.weight"]
    assert sorted(found.zero) == ["extra.weight", "lora_unet_b.lora_up.weight"]
    assert found.no_effect == ["lora_unet_b"]
    assert found.alphas == dict.fromkeys(("lora_unet_a", "lora_unet_b", "lora_unet_c", "lora_te_d"), 2.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_every_precision(tmp_path, dtype):
    tensor = torch.randn(4, 4)
    tensor[1, 1] = float("nan")
    assert seen(tmp_path / "a.safetensors", {"x.weight": tensor.to(dtype)}).nan == ["x.weight"]


def test_steps_count_to_the_end(tmp_path):
    save_file(pair("lora_unet_a") | {"x": torch.ones(1)}, tmp_path / "a.safetensors")
    with tensor_files.opened(tmp_path / "a.safetensors") as source:
        steps: list[int] = []
        lora_weights.look(source, lora_keys.read(source.names()), steps.append)
        assert steps == [3, 4]


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def tucker(core: torch.Tensor, out: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    return torch.einsum("oa,abkl,bi->oikl", out, core, inner)


CASES = {
    "linear": lambda: (
        {"lora_up.weight": rand(7, 3), "lora_down.weight": rand(3, 5), "alpha": torch.tensor(1.5)},
        0.5 * rand(7, 3) @ rand(3, 5),
    ),
    "without alpha": lambda: ({"lora_up.weight": rand(7, 3), "lora_down.weight": rand(3, 5)}, rand(7, 3) @ rand(3, 5)),
    "conv": lambda: (
        {"lora_up.weight": rand(7, 3, 1, 1), "lora_down.weight": rand(3, 5, 3, 3), "alpha": torch.tensor(3)},
        torch.einsum("orxy,rikl->oikl", rand(7, 3, 1, 1), rand(3, 5, 3, 3)),
    ),
    "tucker": lambda: (
        {
            "lora_up.weight": rand(7, 3, 1, 1),
            "lora_down.weight": rand(3, 5, 1, 1),
            "lora_mid.weight": rand(3, 3, 3, 2),
            "alpha": torch.tensor(6.0),
        },
        2 * tucker(rand(3, 3, 3, 2), rand(7, 3, 1, 1)[..., 0, 0], rand(3, 5, 1, 1)[..., 0, 0]),
    ),
    "loha": lambda: (
        {"hada_w1_a": rand(7, 2), "hada_w1_b": rand(2, 5), "hada_w2_a": rand(7, 2), "hada_w2_b": rand(2, 5), "alpha": torch.tensor(1.0)},
        0.5 * (rand(7, 2) @ rand(2, 5)) ** 2,
    ),
    "lokr": lambda: (
        {"lokr_w1": rand(2, 3), "lokr_w2_a": rand(4, 2), "lokr_w2_b": rand(2, 5), "alpha": torch.tensor(4.0)},
        2 * torch.kron(rand(2, 3), rand(4, 2) @ rand(2, 5)),
    ),
    "lokr whole": lambda: ({"lokr_w1": rand(2, 3), "lokr_w2": rand(4, 5), "alpha": torch.tensor(9.0)}, torch.kron(rand(2, 3), rand(4, 5))),
    "full": lambda: ({"diff": rand(4, 6)}, rand(4, 6)),
}


@pytest.mark.parametrize("name", CASES)
def test_norms(name):
    tensors, delta = CASES[name]()
    assert lora_weights.delta_norm(tensors) == pytest.approx(float(delta.norm()), rel=1e-5)


@pytest.mark.parametrize(
    "tensors",
    [
        {"oft_blocks": torch.ones(2, 2, 2)},
        {"lora_up.weight": torch.ones(3, 2), "lora_down.weight": torch.ones(2, 3), "dora_scale": torch.ones(1, 3)},
        {"lora_up.weight": torch.ones(3, 2), "lora_down.weight": torch.ones(4, 3)},
        {"lora_up.weight": torch.ones(())},
        {"alpha": torch.ones(2), "lora_up.weight": torch.ones(3, 2), "lora_down.weight": torch.ones(2, 3)},
    ],
)
def test_no_norm_without_sense(tensors):
    assert lora_weights.delta_norm(tensors) is None

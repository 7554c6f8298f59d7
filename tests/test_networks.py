"""Conformance of every network type: the same checks for each row of NETWORKS, and torch's own arithmetic as the oracle."""

import copy
import importlib
import types

import pytest
import torch
from torch import nn

from lorabake.networks import NETWORKS, lora

SHAPES = [(12, 8), (12, 8, 1, 1), (12, 8, 3, 3)]
OPTIONS = types.SimpleNamespace(rank=4, alpha=2.0, conv_rank=3, conv_alpha=1.0)
CASES = [(row.name, shape) for row in NETWORKS.values() for shape in SHAPES if row.has_conv or shape[2:] != (3, 3)]
cases = pytest.mark.parametrize(("kind", "shape"), CASES, ids=[f"{kind}-{'x'.join(map(str, shape))}" for kind, shape in CASES])


def functions(kind):
    return importlib.import_module(NETWORKS[kind].module)


def generator(seed=23):
    return torch.Generator().manual_seed(seed)


def layer(shape, **options):
    torch.manual_seed(5)
    if len(shape) == 2:
        module = nn.Linear(shape[1], shape[0], **options)
    else:
        module = nn.Conv2d(shape[1], shape[0], shape[2], **{"padding": shape[2] // 2, **options})
    return module.requires_grad_(False)


def inputs(shape, seed=1):
    size = (2, 7, shape[1]) if len(shape) == 2 else (2, shape[1], 6, 5)
    return torch.randn(size, generator=generator(seed))


def trained_tensors(kind, shape, seed=3):
    """Tensors with every value away from 0, as after training."""
    tensors = functions(kind).init(shape, OPTIONS, generator())
    for number, name in enumerate(functions(kind).TRAINED):
        tensors[name] = torch.randn(tensors[name].shape, generator=generator(seed + number)) * 0.2
    return tensors


@cases
def test_start_is_drawn_from_the_generator_alone(kind, shape):
    first, again, other = (functions(kind).init(shape, OPTIONS, generator(seed)) for seed in (1, 1, 2))
    assert first.keys() == functions(kind).TENSORS
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    assert all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in first.values())


@cases
def test_no_change_at_the_start(kind, shape):
    network, module, x = functions(kind), layer(shape), inputs(shape)
    tensors = network.init(shape, OPTIONS, generator())
    assert torch.equal(network.forward(module, x, tensors, network.scale_of(tensors)), module(x))
    assert not network.delta(tensors).any()


@cases
@pytest.mark.parametrize("strength", [1.0, 0.3, -2.0])
def test_forward_equals_the_delta_merged_into_the_weight(kind, shape, strength):
    network, module, x, tensors = functions(kind), layer(shape), inputs(shape), trained_tensors(kind, shape)
    merged = copy.deepcopy(module)
    change = network.delta(tensors, strength)
    assert change.shape == shape and change.dtype == torch.float32
    merged.weight += change
    factor = strength * network.scale_of(tensors)
    assert torch.allclose(network.forward(module, x, tensors, factor), merged(x), atol=1e-5)
    assert torch.allclose(module(x) + network.branch(module, x, tensors, factor), merged(x), atol=1e-5)


@cases
def test_delta_is_pure_and_takes_any_precision(kind, shape):
    network, tensors = functions(kind), trained_tensors(kind, shape)
    before = {key: tensor.clone() for key, tensor in tensors.items()}
    half = {key: tensor.half() for key, tensor in tensors.items()}
    assert torch.allclose(network.delta(half), network.delta(tensors), atol=2e-3)
    assert all(torch.equal(before[key], tensors[key]) for key in before)


@cases
def test_gradient_reaches_every_tensor_after_one_step(kind, shape):
    network, module, x = functions(kind), layer(shape), inputs(shape)
    tensors = network.init(shape, OPTIONS, generator())
    trained = [tensors[name].requires_grad_() for name in network.TRAINED]
    for _ in range(2):
        grads = torch.autograd.grad(network.forward(module, x, tensors, 1.0).square().mean(), trained)
        with torch.no_grad():
            for tensor, grad in zip(trained, grads, strict=True):
                tensor -= 0.1 * grad
    assert all(grad.any() for grad in grads)
    assert module.weight.grad is None


@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (8, 8, 1, 1)])
def test_stride_and_padding_are_the_layer_s(shape):
    module, x, tensors = layer(shape, stride=2, padding=1), inputs(shape), trained_tensors("locon", shape)
    merged = copy.deepcopy(module)
    merged.weight += lora.delta(tensors)
    assert torch.allclose(lora.forward(module, x, tensors, lora.scale_of(tensors)), merged(x), atol=1e-5)


def test_lora_start_is_the_reference_trainer_s():
    tensors = lora.init((64, 100, 3, 3), types.SimpleNamespace(rank=32, alpha=None), generator())
    reference = nn.Conv2d(100, 32, 3, bias=False)
    torch.manual_seed(0)
    nn.init.kaiming_uniform_(reference.weight, a=5**0.5)
    down = tensors["lora_down.weight"]
    assert down.abs().max() <= 900**-0.5 and down.abs().max() > 0.99 * 900**-0.5
    assert down.std().item() == pytest.approx(reference.weight.std().item(), rel=0.02)
    assert not tensors["lora_up.weight"].any() and tensors["lora_up.weight"].shape == (64, 32, 1, 1)
    assert tensors["alpha"].item() == 32 and tensors["alpha"].shape == ()


def test_conv_rank_is_for_large_kernels_only():
    locon = functions("locon")
    ranks = {shape: locon.rank_of(locon.init(shape, OPTIONS, generator())) for shape in SHAPES}
    assert ranks == {(12, 8): 4, (12, 8, 1, 1): 4, (12, 8, 3, 3): 3}
    assert locon.init((12, 8, 3, 3), OPTIONS, generator())["alpha"].item() == 1.0
    assert locon.init((12, 8, 1, 1), OPTIONS, generator())["alpha"].item() == 2.0


@pytest.mark.parametrize(
    ("alpha", "scale"),
    [
        (torch.tensor(2), 0.5),
        (torch.tensor(2.0, dtype=torch.bfloat16), 0.5),
        (torch.tensor([6.0]), 1.5),
        (torch.tensor(0), 1.0),
        (None, 1.0),
    ],
)
def test_alpha_of_any_type_or_none(alpha, scale):
    tensors = trained_tensors("lora", (12, 8))
    del tensors["alpha"]
    if alpha is not None:
        tensors["alpha"] = alpha
    assert lora.scale_of(tensors) == scale
    fitted = lora.fit(tensors, (12, 8))
    assert fitted["alpha"].dtype == torch.float32 and fitted["alpha"].item() == scale * 4


@pytest.mark.parametrize(("found", "wanted"), [((12, 8), (12, 8, 1, 1)), ((12, 8, 1, 1), (12, 8)), ((12, 8), (12, 8)), (SHAPES[2],) * 2])
def test_fit_turns_2d_into_1x1_and_back(found, wanted):
    tensors = trained_tensors("locon", found)
    assert torch.equal(lora.delta(lora.fit(tensors, wanted)), lora.delta(tensors).reshape(wanted))


@pytest.mark.parametrize("wanted", [(12, 9), (11, 8), (12, 8, 3, 3)])
def test_fit_refuses_other_sizes(wanted):
    with pytest.raises(ValueError, match=r"down \(4, 8\), up \(12, 4\).*layer's weight is"):
        lora.fit(trained_tensors("lora", (12, 8)), wanted)


def native(module, x, tensors, factor):
    return module(x) + lora.branch(module, x, tensors, factor)


def results(forward, x, *, factor=0.7, dtype=torch.float32, bias=True):
    """Output and gradients of x, down and up."""
    module = layer((12, 8), bias=bias).to(dtype)
    tensors = {key: t.requires_grad_(key != "alpha") for key, t in trained_tensors("lora", (12, 8)).items()}
    x = x.requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        out = forward(module, x, tensors, factor)
    weights = torch.randn(out.shape, generator=generator(9)).to(out.dtype)
    return [out, *torch.autograd.grad((out * weights).sum(), [x, tensors["lora_down.weight"], tensors["lora_up.weight"]])]


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(7, 8, generator=generator()),
        torch.randn(2, 7, 8, generator=generator()),
        torch.randn(2, 3, 7, 8, generator=generator()),
        torch.randn(2, 8, 7, generator=generator()).transpose(1, 2),
    ],
    ids=["2d", "3d", "4d", "transposed"],
)
@pytest.mark.parametrize("factor", [1.0, 0.7])
def test_fused_linear_equals_torch_s_own(x, factor):
    for ours, torch_s in zip(results(lora.forward, x, factor=factor), results(native, x, factor=factor), strict=True):
        assert ours.shape == torch_s.shape and ours.dtype == torch_s.dtype
        assert torch.allclose(ours, torch_s, rtol=1e-5, atol=1e-5)


def test_fused_linear_without_bias():
    x = inputs((12, 8))
    for ours, torch_s in zip(results(lora.forward, x, bias=False), results(native, x, bias=False), strict=True):
        assert torch.allclose(ours, torch_s, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wide", [False, True], ids=["half-input", "float32-input"])
def test_fused_linear_under_autocast_is_as_near_the_truth_as_torch_s(dtype, wide):
    """The two round differently; against float32 ours may not be worse, and the LoRA's gradients stay float32."""
    x = inputs((12, 8)).to(torch.float32 if wide else dtype)
    truth = results(native, x.float().detach().clone())
    ours, torch_s = (results(forward, x.detach().clone(), dtype=dtype) for forward in (lora.forward, native))
    assert [tensor.dtype for tensor in ours] == [dtype, x.dtype, torch.float32, torch.float32]
    assert [tensor.dtype for tensor in ours] == [tensor.dtype for tensor in torch_s]
    for a, b, true in zip(ours, torch_s, truth, strict=True):
        assert (a - true).abs().mean() <= 1.3 * (b - true).abs().mean() + 1e-3


def test_fused_linear_passes_gradcheck():
    module = layer((5, 4)).double()
    tensors = [torch.randn(size, dtype=torch.float64, generator=generator()).requires_grad_() for size in ((3, 4), (2, 4), (5, 2))]

    def run(x, down, up):
        return lora.forward(module, x, {"lora_down.weight": down, "lora_up.weight": up}, 0.6)

    assert torch.autograd.gradcheck(run, tensors)


def test_fused_linear_asks_nothing_of_an_input_without_gradient():
    """The first layers, and those that read a frozen text encoder's output."""
    module, x = layer((12, 8)), inputs((12, 8))
    tensors = {key: t.requires_grad_(key != "alpha") for key, t in trained_tensors("lora", (12, 8)).items()}
    lora.forward(module, x, tensors, 1.0).sum().backward()
    assert x.grad is None and tensors["lora_down.weight"].grad is not None


def test_frozen_adapter_still_passes_the_gradient_on():
    """A second, finished LoRA under a text encoder that is trained."""
    module, x, tensors = layer((12, 8)), inputs((12, 8)).requires_grad_(), trained_tensors("lora", (12, 8))
    lora.forward(module, x, tensors, 1.0).sum().backward()
    assert x.grad is not None and tensors["lora_up.weight"].grad is None


def test_fused_linear_keeps_only_the_input_and_the_hidden_values():
    module, x = layer((12, 8)), inputs((12, 8)).requires_grad_()
    tensors = {key: t.requires_grad_(key != "alpha") for key, t in trained_tensors("lora", (12, 8)).items()}
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        lora.forward(module, x, tensors, 1.0)
    known = {t.data_ptr() for t in (x, module.weight, *tensors.values())}
    assert [tuple(t.shape) for t in kept if t.data_ptr() not in known] == [(14, 4)]

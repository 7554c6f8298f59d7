"""Opening a device, refusing one that is not there, precision, clipping, gradient scaling and checkpointing."""

import ctypes
import platform
import random
import types

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from lorabake import device as module_under_test
from lorabake.attach import attach
from lorabake.device import open_device, seed_everything
from lorabake.errors import UserError
from lorabake.families import sd1

LORA = types.SimpleNamespace(type="lora", rank=2, alpha=2.0)


@pytest.fixture(autouse=True)
def torch_as_it_was():
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


def card(monkeypatch, count=1, bf16=True):
    """A torch that claims to have cards."""
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    for name, value in {
        "is_available": True,
        "device_count": count,
        "get_device_name": "NVIDIA GeForce RTX 2060",
        "is_bf16_supported": bf16,
        "set_device": None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, _value=value, **__: _value)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_precision_is_autocast_s_and_the_base_weights(precision, dtype):
    opened = open_device("cpu", precision)
    layer = nn.Linear(3, 2)
    with opened.autocast():
        assert layer(torch.ones(1, 3)).dtype == dtype
    assert layer(torch.ones(1, 3)).dtype == torch.float32
    assert opened.weights_dtype == dtype and opened.torch_device == torch.device("cpu")
    assert (opened.scaler is not None) == (precision == "fp16")
    assert opened.free_vram_gib() is None


def test_threads_are_set():
    open_device("cpu", "fp32", cpu_threads=1)
    assert torch.get_num_threads() == 1


def test_deterministic_switches():
    open_device("cpu", "fp32")
    assert not torch.are_deterministic_algorithms_enabled()
    open_device("cpu", "fp32", deterministic=True)
    assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "mps", ""])
def test_unknown_device(name):
    with pytest.raises(UserError) as caught:
        open_device(name, "fp32")
    assert f'"{name}"' in str(caught.value) and "cuda:N" in str(caught.value)


def test_cuda_on_a_torch_for_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(UserError) as caught:
        open_device("cuda", "fp32")
    assert "CPU only" in str(caught.value) and "setup.py" in str(caught.value) and "train.device" in str(caught.value)


def test_cuda_without_a_card(monkeypatch):
    card(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="no NVIDIA card"):
        open_device("cuda:0", "fp32")


def test_card_that_is_not_there(monkeypatch):
    card(monkeypatch, count=1)
    with pytest.raises(UserError) as caught:
        open_device("cuda:1", "fp32")
    assert '"cuda:1"' in str(caught.value) and "cuda:0 (NVIDIA GeForce RTX 2060)" in str(caught.value)


def test_bf16_on_a_card_that_cannot(monkeypatch):
    card(monkeypatch, bf16=False)
    with pytest.raises(UserError, match="does not compute in bf16"):
        open_device("cuda", "bf16")


def test_card_computes_fp32_in_tf32(monkeypatch):
    card(monkeypatch)
    assert open_device("cuda", "fp32").torch_device == torch.device("cuda", 0)
    assert torch.get_float32_matmul_precision() == "high"


def with_gradients(*values):
    parameters = [nn.Parameter(torch.zeros(2)) for _ in values]
    for parameter, value in zip(parameters, values, strict=True):
        parameter.grad = None if value is None else torch.full((2,), float(value))
    return parameters


@pytest.mark.parametrize("max_norm", [1.0, 100.0, 0.0])
def test_clip_is_torch_s(max_norm):
    ours, torch_s = with_gradients(3, 4, None), with_gradients(3, 4, None)
    optimizer = torch.optim.SGD(ours, lr=1.0)
    norm = open_device("cpu", "fp32").clip(optimizer, ours, max_norm)
    assert norm == pytest.approx(50**0.5)
    nn.utils.clip_grad_norm_(torch_s, max_norm or 1e9)
    for a, b in zip(ours[:2], torch_s[:2], strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-5)


def test_norm_that_is_not_finite_is_told():
    parameters = with_gradients(1, float("nan"))
    assert np.isnan(open_device("cpu", "fp32").clip(torch.optim.SGD(parameters, lr=1.0), parameters, 1.0))


def test_fp16_gradients_are_scaled_back_before_they_are_clipped():
    opened, parameter = open_device("cpu", "fp16"), nn.Parameter(torch.tensor([2.0]))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    opened.backward((3 * parameter).sum())
    assert parameter.grad.item() == 3 * opened.scaler.get_scale()
    assert opened.clip(optimizer, [parameter], 1.0) == pytest.approx(3.0)
    opened.step(optimizer)
    assert parameter.item() == pytest.approx(1.0, abs=1e-5)


def test_fp16_overflow_leaves_the_weights_and_lowers_the_scale():
    opened, parameter = open_device("cpu", "fp16"), nn.Parameter(torch.tensor([2.0]))
    optimizer, scale = torch.optim.SGD([parameter], lr=1.0), opened.scaler.get_scale()
    opened.backward((parameter * float("inf")).sum())
    opened.clip(optimizer, [parameter], 1.0)
    opened.step(optimizer)
    assert parameter.item() == 2.0 and opened.scaler.get_scale() == scale / 2


def test_fp16_after_a_step_that_the_trainer_left_out():
    """A loss that is not finite: clip was called, step was not, and the next step must work."""
    opened, parameter = open_device("cpu", "fp16"), nn.Parameter(torch.tensor([2.0]))
    optimizer, scale = torch.optim.SGD([parameter], lr=1.0), opened.scaler.get_scale()
    opened.backward((parameter * float("nan")).sum())
    opened.clip(optimizer, [parameter], 1.0)
    optimizer.zero_grad(set_to_none=True)
    opened.backward((3 * parameter).sum())
    opened.clip(optimizer, [parameter], 0.0)
    opened.step(optimizer)
    assert parameter.item() == pytest.approx(-1.0) and opened.scaler.get_scale() == scale / 2


def gradients(models, attached):
    context = sd1.encode_text(models, ["red apple"], clip_skip=1, num_windows=1)
    noisy = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    sd1.predict(models, noisy, torch.tensor([500]), context).square().mean().backward()
    found = [parameter.grad for parameter in attached.parameters()]
    for parameter in attached.parameters():
        parameter.grad = None
    return found


def test_checkpointing_recomputes_and_gives_the_same_gradients():
    """Both parts learn although the base is frozen and no input of it requires a gradient."""
    models = tiny.sd1_models()
    attached = attach(sd1.targets(models), LORA, generator=torch.Generator().manual_seed(0))
    for parameter in attached.parameters():
        parameter.data.normal_(0, 0.1, generator=torch.Generator().manual_seed(2))
    plain = gradients(models, attached)
    open_device("cpu", "fp32").checkpoint(models)
    calls = []
    mlp = next(module for name, module in models.text_encoder.named_modules() if name.endswith("layers.0.mlp"))
    # Before, not after: the recomputation stops at the last value that is needed.
    mlp.register_forward_pre_hook(lambda *_: calls.append("text encoder"))
    models.unet.mid_block.attentions[0].transformer_blocks[0].attn1.register_forward_pre_hook(lambda *_: calls.append("unet"))
    again = gradients(models, attached)
    assert calls.count("text encoder") == 2 and calls.count("unet") == 2, "each is computed once more on the way back"
    assert all(grad is not None and torch.allclose(grad, b, atol=1e-6) for grad, b in zip(again, plain, strict=True))
    assert not models.text_encoder.training


def test_seed_reaches_the_global_generators():
    def draws():
        return random.random(), np.random.rand(), torch.rand(1).item()

    seed_everything(7)
    first = draws()
    seed_everything(7)
    assert draws() == first
    seed_everything(2**40)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")
def test_a_real_card():
    opened = open_device("cuda", "fp16")
    assert opened.torch_device.type == "cuda" and opened.free_vram_gib() > 0 and opened.scaler is not None
    assert module_under_test._find("cuda") == torch.device("cuda", 0)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's allocator that gives memory back")
def test_memory_freed_by_one_step_serves_the_next():
    import resource

    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

    def pages():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        place = libc.malloc(80_000_000)
        ctypes.memset(place, 1, 80_000_000)
        libc.free(place)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    open_device("cpu", "fp32")
    pages()
    assert pages() < 100  # of 20 000

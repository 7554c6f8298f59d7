"""Optimizers by name: defaults, groups, options, the way out where 8-bit cannot load, and going on from a state."""

import types

import pytest
import torch

from lorabake import optimizers
from lorabake.errors import UserError

CPU = torch.device("cpu")


def train(optimizer="AdamW", **options):
    return types.SimpleNamespace(optimizer=optimizer, optimizer_args=options)


def groups(**rates):
    rates = rates or {"text_encoder": 1e-3, "unet": 1e-2}
    torch.manual_seed(0)
    return [
        {"params": [torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(5))], "lr": r, "base_lr": r, "name": name}
        for name, r in rates.items()
    ]


def give_gradients(optimizer, seed):
    generator = torch.Generator().manual_seed(seed)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.randn(parameter.shape, generator=generator)


def values(optimizer):
    return [parameter.detach().clone() for group in optimizer.param_groups for parameter in group["params"]]


def test_adamw_has_the_reference_trainer_s_defaults_and_a_rate_per_part():
    optimizer, note = optimizers.make(train(), groups(), device=CPU)
    assert note is None and isinstance(optimizer, torch.optim.AdamW)
    found = [(group["name"], group["lr"], group["base_lr"]) for group in optimizer.param_groups]
    assert found == [("text_encoder", 1e-3, 1e-3), ("unet", 1e-2, 1e-2)]
    group = optimizer.param_groups[0]
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.01)


def test_fused_steps_are_adamw_s():
    ours, _ = optimizers.make(train(), groups(), device=CPU)
    plain = torch.optim.AdamW(groups(), foreach=False, fused=False)
    for seed in range(3):
        give_gradients(ours, seed)
        give_gradients(plain, seed)
        ours.step()
        plain.step()
    assert all(torch.allclose(a, b, rtol=1e-6, atol=1e-7) for a, b in zip(values(ours), values(plain), strict=True))


def test_options_are_applied():
    options = {"weight_decay": 0.1, "betas": [0.8, 0.9], "eps": 1e-6}
    optimizer, _ = optimizers.make(train(**options), groups(), device=CPU)
    group = optimizer.param_groups[1]
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.8, 0.9), 1e-6, 0.1)


def test_unknown_option_is_named_with_what_there_is():
    with pytest.raises(UserError) as caught:
        optimizers.make(train(weight_decai=0.1), groups(), device=CPU)
    text = str(caught.value)
    assert '"weight_decai"' in text and 'did you mean "weight_decay"' in text and "betas" in text and "train.optimizer_args" in text


@pytest.mark.parametrize("options", [{"betas": [1.5, 0.9]}, {"weight_decay": -1}, {"eps": "tiny"}])
def test_impossible_value_is_said(options):
    with pytest.raises(UserError, match="refused its options"):
        optimizers.make(train(**options), groups(), device=CPU)


@pytest.mark.parametrize("name", ["lr", "fused", "params", "capturable"])
def test_options_that_are_ours_are_not_the_user_s(name):
    with pytest.raises(UserError, match="unknown option"):
        optimizers.make(train(**{name: 1}), groups(), device=CPU)


def test_names_are_read_in_any_case():
    assert isinstance(optimizers.make(train("adamw"), groups(), device=CPU)[0], torch.optim.AdamW)
    with pytest.raises(UserError, match='unknown optimizer "Adamm"'):
        optimizers.make(train("Adamm"), groups(), device=CPU)


def test_groups_with_rate_zero_are_left_out():
    optimizer, _ = optimizers.make(train(), groups(text_encoder=0.0, unet=1e-4), device=CPU)
    assert [group["name"] for group in optimizer.param_groups] == ["unet"]
    with pytest.raises(UserError, match="nothing would be trained"):
        optimizers.make(train(), groups(unet=0.0), device=CPU)


def test_8bit_on_the_cpu_is_adamw_and_said():
    optimizer, note = optimizers.make(train("AdamW8bit", weight_decay=0.2, min_8bit_size=1024), groups(), device=CPU)
    assert isinstance(optimizer, torch.optim.AdamW) and optimizer.param_groups[0]["weight_decay"] == 0.2
    assert note == "AdamW8bit needs an NVIDIA card: AdamW in float32 is used instead (min_8bit_size left out)"


def test_8bit_that_does_not_load_is_said(monkeypatch):
    def broken(name):
        raise RuntimeError("CUDA Setup failed despite GPU being available.\nlong text")

    monkeypatch.setattr(optimizers.importlib, "import_module", broken)
    kind, reason = optimizers.eight_bit(torch.device("cuda"))
    assert kind is None and reason == "does not load here (CUDA Setup failed despite GPU being available.)"


@pytest.mark.parametrize(("compute", "version", "serves"), [((5, 2), "0.50.2", False), ((5, 2), "0.47.0", True), ((6, 1), "0.50.2", True)])
def test_8bit_on_a_card_that_its_wheels_left_out_is_said(monkeypatch, compute, version, serves):
    stand_in = types.SimpleNamespace(__version__=version, optim=types.SimpleNamespace(AdamW8bit=torch.optim.AdamW))
    monkeypatch.setattr(optimizers.importlib, "import_module", lambda name: stand_in)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: compute)
    kind, reason = optimizers.eight_bit(torch.device("cuda"))
    assert (kind is not None) == serves
    assert reason == ("" if serves else "has no kernels for a card of compute 5.2 from bitsandbytes 0.48 on (the stack older has 0.47)")


def test_going_on_from_a_state_gives_the_same_weights():
    whole, _ = optimizers.make(train(), groups(), device=CPU)
    for seed in range(4):
        give_gradients(whole, seed)
        whole.step()
    first, _ = optimizers.make(train(), groups(), device=CPU)
    for seed in range(2):
        give_gradients(first, seed)
        first.step()
    second, _ = optimizers.make(train(), groups(), device=CPU)
    for new, old in zip(second.param_groups, first.param_groups, strict=True):
        for a, b in zip(new["params"], old["params"], strict=True):
            a.data.copy_(b)
    second.load_state_dict(first.state_dict())
    for seed in range(2, 4):
        give_gradients(second, seed)
        second.step()
    assert all(torch.equal(a, b) for a, b in zip(values(whole), values(second), strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")
def test_8bit_steps_on_a_card_stay_near_adamw():
    def on_card():
        torch.manual_seed(0)
        return [{"params": [torch.nn.Parameter(torch.randn(128, 128, device="cuda"))], "lr": 1e-3, "base_lr": 1e-3, "name": "unet"}]

    eight, note = optimizers.make(train("AdamW8bit"), on_card(), device=torch.device("cuda"))
    plain, _ = optimizers.make(train("AdamW"), on_card(), device=torch.device("cuda"))
    assert note is None and not isinstance(eight, torch.optim.AdamW)
    torch.manual_seed(1)
    for _ in range(5):
        grad = torch.randn(128, 128, device="cuda")
        for optimizer in (eight, plain):
            optimizer.param_groups[0]["params"][0].grad = grad.clone()
            optimizer.step()
    assert torch.allclose(values(eight)[0], values(plain)[0], atol=2e-3)

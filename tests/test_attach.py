"""Adapters on a tiny SD 1.x: keys, strengths, stacking, files; diffusers' own LoRA loader as the oracle."""

import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import tiny
from lorabake.attach import PARTS, apply_file, attach, read_lora
from lorabake.errors import UserError
from lorabake.families import sd1

LORA = types.SimpleNamespace(type="lora", rank=4, alpha=2.0, conv_rank=None, conv_alpha=None)
LOCON = types.SimpleNamespace(type="locon", rank=4, alpha=2.0, conv_rank=3, conv_alpha=1.5)
KINDS = pytest.mark.parametrize("network", [LORA, LOCON], ids=["lora", "locon"])
TE_KEY = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
UNET_KEY = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


@pytest.fixture(scope="module")
def models():
    return tiny.sd1_models()


def generator(seed=23):
    return torch.Generator().manual_seed(seed)


def attached_to(models, network=LORA, seed=23):
    return attach(sd1.targets(models, conv=network.type == "locon"), network, generator=generator(seed))


def as_after_training(attached, seed=3):
    """Every value away from 0, so that each adapter shows."""
    draws = generator(seed)
    for parameter in attached.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=draws) * 0.1)
    return attached


@torch.no_grad()
def outputs(models):
    """(context, prediction) for fixed inputs."""
    context = sd1.encode_text(models, ["red apple, thick outline"], clip_skip=1, num_windows=1)
    return context, sd1.predict(models, torch.randn((1, 4, 8, 8), generator=generator()), torch.tensor([500]), context)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def written(models, folder: Path, network=LORA, seed=3, name="style.safetensors"):
    """A saved LoRA file and the outputs of the models with it."""
    attached = as_after_training(attached_to(models, network), seed)
    expected = outputs(models)
    save_file({key: tensor.clone() for key, tensor in attached.tensors().items()}, folder / name)
    attached.detach()
    return folder / name, expected


@KINDS
def test_keys_are_kohya_s_and_the_text_encoder_comes_first(models, network):
    attached = attached_to(models, network)
    keys = list(attached.tensors())
    attached.detach()
    assert len(keys) == 3 * len(sd1.targets(models, conv=network.type == "locon"))
    is_unet = [key.startswith("lora_unet_") for key in keys]
    assert is_unet == sorted(is_unet) and keys[0].startswith("lora_te_text_model_encoder_layers_0_")
    for name in (TE_KEY, UNET_KEY):
        assert {f"{name}.lora_down.weight", f"{name}.lora_up.weight", f"{name}.alpha"} <= set(keys)


def test_tensors_are_float32_parameters_with_a_plain_alpha(models):
    attached = attached_to(models)
    tensors = attached.tensors()
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    assert tensors[f"{UNET_KEY}.alpha"].shape == () and tensors[f"{UNET_KEY}.alpha"].item() == 2.0
    assert len(attached.parameters()) == len(attached.parameters("unet")) + len(attached.parameters("text_encoder"))
    assert len(attached.parameters()) == 2 * len(attached.adapters)
    assert all(parameter.requires_grad for parameter in attached.parameters())
    attached.detach()


def test_draws_do_not_depend_on_the_order_of_the_parts(models):
    targets = sd1.targets(models)
    first = attach(targets, LORA, generator=generator())
    before = {key: tensor.clone() for key, tensor in first.tensors().items()}
    first.detach()
    turned = [t for t in targets if t[2] == "unet"] + [t for t in targets if t[2] == "text_encoder"]
    second = attach(turned, LORA, generator=generator())
    assert before.keys() == second.tensors().keys()
    assert all(torch.equal(before[key], tensor) for key, tensor in second.tensors().items())
    second.detach()


@KINDS
def test_nothing_changes_at_the_start_and_detach_restores_exactly(models, network):
    keys, before = list(models.unet.state_dict()), outputs(models)
    modules = [module for _, module, _ in sd1.targets(models, conv=True)]
    attached = attached_to(models, network)
    assert same(outputs(models), before)
    assert list(models.unet.state_dict()) == keys
    as_after_training(attached)
    assert not same(outputs(models), before)
    attached.detach()
    assert same(outputs(models), before)
    assert not any("forward" in vars(module) for module in modules)


def test_base_weights_are_frozen_while_attached():
    layer = nn.Linear(3, 2)
    attached = attach([("lora_unet_x", layer, "unet")], LORA, generator=generator())
    assert not layer.weight.requires_grad and not layer.bias.requires_grad
    attached.detach()
    assert layer.weight.requires_grad and layer.bias.requires_grad


def test_strength_0_is_bit_identical_to_none_for_each_part(models):
    before = outputs(models)
    attached = as_after_training(attached_to(models))
    both = outputs(models)
    attached.set_multiplier(0.0)
    assert same(outputs(models), before)
    attached.set_multiplier(1.0, 0.0)
    unet_only = outputs(models)
    assert torch.equal(unet_only[0], before[0]) and not torch.equal(unet_only[1], before[1])
    attached.set_multiplier(0.0, 1.0)
    text_only = outputs(models)
    assert torch.equal(text_only[0], both[0]) and not torch.equal(text_only[1], both[1])
    attached.set_multiplier(1.0)
    assert same(outputs(models), both)
    attached.detach()


def test_strength_scales_what_is_added():
    layer = nn.Linear(3, 2)
    attached = as_after_training(attach([("lora_unet_x", layer, "unet")], LORA, generator=generator()))
    x = torch.randn((4, 3), generator=generator())
    whole = layer(x) - nn.functional.linear(x, layer.weight, layer.bias)
    attached.set_multiplier(-0.5)
    half = layer(x) - nn.functional.linear(x, layer.weight, layer.bias)
    assert torch.allclose(half, -0.5 * whole, atol=1e-6)


def test_sets_add_up_and_come_off_in_any_order(models):
    before = outputs(models)
    first = as_after_training(attached_to(models), 1)
    alone = outputs(models)
    second = as_after_training(attached_to(models, LOCON), 2)
    assert not same(outputs(models), alone)
    first.set_multiplier(0.0)
    only_second = outputs(models)
    first.detach()
    assert same(outputs(models), only_second)
    second.detach()
    assert same(outputs(models), before)


def test_two_sets_on_a_layer_are_the_sum():
    layer = nn.Linear(3, 2)
    x = torch.randn((4, 3), generator=generator())
    bare = layer(x)
    changes = []
    for seed in (1, 2):
        one = as_after_training(attach([("lora_unet_x", layer, "unet")], LORA, generator=generator()), seed)
        changes.append(layer(x) - bare)
        one.detach()
    for seed in (1, 2):
        as_after_training(attach([("lora_unet_x", layer, "unet")], LORA, generator=generator()), seed)
    assert torch.allclose(layer(x), bare + changes[0] + changes[1], atol=1e-6)


@KINDS
def test_gradient_reaches_every_tensor_after_one_step(models, network):
    attached = attached_to(models, network)
    for _ in range(2):
        context = sd1.encode_text(models, ["red apple"], clip_skip=1, num_windows=1)
        # large enough for several places in the innermost block: attention over a single one gives its queries no gradient but rounding
        noisy = torch.randn((1, 4, 16, 16), generator=generator())
        sd1.predict(models, noisy, torch.tensor([500]), context).square().mean().backward()
        grads = {id(parameter): parameter.grad for parameter in attached.parameters()}
        for parameter in attached.parameters():
            parameter.data -= 0.1 * parameter.grad
            parameter.grad = None
    names = [key for key, adapter in attached.adapters.items() for tensor in adapter.trained() if not grads[id(tensor)].any()]
    attached.detach()
    assert not names
    assert all(parameter.grad is None for parameter in models.unet.parameters())


@KINDS
def test_saved_and_loaded_is_the_same(models, network, tmp_path):
    path, expected = written(models, tmp_path, network)
    attached = apply_file(models, sd1, path)
    assert attached.unused == () and not attached.parameters()
    assert same(outputs(models), expected)
    attached.detach()
    fresh = attached_to(models, network, seed=99)
    fresh.load_tensors(load_file(path))
    assert same(outputs(models), expected)
    fresh.detach()


def test_load_tensors_refuses_another_network(models):
    attached = attached_to(models)
    tensors = {key: tensor.clone() for key, tensor in attached.tensors().items()}
    del tensors[f"{UNET_KEY}.alpha"]
    with pytest.raises(UserError, match="another network"):
        attached.load_tensors(tensors)
    attached.detach()


def test_layers_in_half_precision_get_the_file_in_theirs(models, tmp_path):
    path, expected = written(models, tmp_path)
    half = tiny.sd1_models()
    half.unet.to(torch.bfloat16)
    half.text_encoder.to(torch.bfloat16)
    attached = apply_file(half, sd1, path)
    found = outputs(half)
    assert found[1].dtype == torch.bfloat16
    assert (found[1].float() - expected[1]).abs().mean() < 0.02 * expected[1].abs().mean() + 0.01
    attached.detach()


def layer_file(folder, tensors):
    path = folder / "one.safetensors"
    save_file(tensors, path)
    return path


def one_layer(rank=2, key=UNET_KEY, width=32):
    return {f"{key}.lora_down.weight": torch.randn(rank, width), f"{key}.lora_up.weight": torch.randn(width, rank)}


@pytest.mark.parametrize(("alpha", "scale"), [(torch.tensor(1), 0.5), (torch.tensor(1.0).half(), 0.5), (None, 1.0)])
def test_alpha_of_any_type_or_missing(models, tmp_path, alpha, scale):
    tensors = one_layer() | ({} if alpha is None else {f"{UNET_KEY}.alpha": alpha})
    path = layer_file(tmp_path, tensors)
    assert read_lora(path).ranks() == {UNET_KEY: 2}
    attached = apply_file(models, sd1, path)
    assert attached.adapters[UNET_KEY].scale == scale
    attached.detach()


def test_flat_proj_in_fits_a_1x1_convolution(models, tmp_path):
    key = "lora_unet_down_blocks_0_attentions_0_proj_in"
    tensors = one_layer(key=key)
    attached = apply_file(models, sd1, layer_file(tmp_path, tensors))
    assert attached.adapters[key].tensors["lora_down.weight"].shape == (2, 32, 1, 1)
    attached.detach()


def test_square_tensors_fit_a_linear_layer(models, tmp_path):
    tensors = {key: tensor[..., None, None] for key, tensor in one_layer().items()}
    attached = apply_file(models, sd1, layer_file(tmp_path, tensors))
    assert attached.adapters[UNET_KEY].tensors["lora_down.weight"].shape == (2, 32)
    attached.detach()


def test_names_without_a_layer_are_told(models, tmp_path):
    extra = "lora_unet_conv_in"
    attached = apply_file(models, sd1, layer_file(tmp_path, one_layer() | one_layer(key=extra)))
    assert attached.unused == (extra,)
    attached.detach()


@pytest.mark.parametrize(
    ("key", "family"),
    [
        ("lora_te2_text_model_encoder_layers_31_self_attn_out_proj", "Stable Diffusion XL"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", "Stable Diffusion XL"),
        ("lora_unet_double_blocks_0_img_attn_proj", "Flux"),
    ],
)
def test_file_of_another_family_is_refused_by_name(models, tmp_path, key, family):
    path = layer_file(tmp_path, one_layer(key=key))
    before = outputs(models)
    with pytest.raises(UserError) as caught:
        apply_file(models, sd1, path)
    assert family in str(caught.value) and key in str(caught.value) and "one.safetensors" in str(caught.value)
    assert same(outputs(models), before)


def test_file_of_another_size_is_refused_and_leaves_nothing(models, tmp_path):
    wide = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    path = layer_file(tmp_path, one_layer() | one_layer(key=wide, width=1280))
    with pytest.raises(UserError) as caught:
        apply_file(models, sd1, path)
    assert wide in str(caught.value) and "(2, 1280)" in str(caught.value) and "(64, 64)" in str(caught.value)
    assert not any("forward" in vars(module) for _, module, _ in sd1.targets(models))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (f"{UNET_KEY}.hada_w1_a", "LoHa"),
        (f"{UNET_KEY}.lokr_w1", "LoKr"),
        (f"{UNET_KEY}.dora_scale", "DoRA"),
        (f"{UNET_KEY}.lora_mid.weight", "Tucker"),
        ("unet.down_blocks.0.attentions.0.to_q.lora_A.weight", "diffusers or PEFT"),
        ("model.diffusion_model.out.2.weight", "not a LoRA"),
    ],
)
def test_other_kinds_of_file_are_refused_by_name(tmp_path, key, words):
    path = layer_file(tmp_path, one_layer() | {key: torch.zeros(2, 2)})
    with pytest.raises(UserError) as caught:
        read_lora(path)
    assert words in str(caught.value) and key in str(caught.value)


def test_half_a_pair_is_refused(tmp_path):
    tensors = one_layer()
    del tensors[f"{UNET_KEY}.lora_up.weight"]
    with pytest.raises(UserError, match="not a LoRA"):
        read_lora(layer_file(tmp_path, tensors))


def test_only_linear_and_convolution_take_an_adapter():
    with pytest.raises(AssertionError, match="Linear and Conv2d only"):
        attach([("lora_unet_x", nn.Conv1d(3, 2, 1), "unet")], LORA, generator=generator())


@KINDS
def test_diffusers_loads_our_file_and_gives_the_same(models, network, tmp_path):
    """diffusers' load_lora_weights on PEFT: text encoder, U-Net and two whole sampling steps, alpha other than the rank."""
    path, expected = written(models, tmp_path, network)
    other = tiny.sd1_models()
    pipeline = tiny.sd1_pipeline(other)
    pipeline.set_progress_bar_config(disable=True)

    def draw():
        latents = torch.randn((1, 4, 8, 8), generator=generator())
        options = {"num_inference_steps": 2, "guidance_scale": 5.0, "output_type": "latent"}
        return pipeline("red apple", latents=latents, height=64, width=64, **options).images

    without = draw()
    attached = apply_file(other, sd1, path)
    ours = draw()
    attached.detach()
    pipeline.load_lora_weights(str(tmp_path), weight_name=path.name)
    theirs = draw()
    found = outputs(sd1.Models(pipeline.unet, pipeline.text_encoder, pipeline.vae))
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    assert torch.allclose(ours, theirs, atol=1e-3)
    assert (ours - without).abs().mean() > 100 * (ours - theirs).abs().mean()


def test_parts_are_in_the_saved_order():
    assert PARTS == ("text_encoder", "unet")

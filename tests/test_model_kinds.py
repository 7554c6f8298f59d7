"""What files are, by names and shapes: every kind that people have lying about."""

import pytest
import torch
from safetensors.torch import save_file

import loras
from lorabake import lora_metadata, model_kinds, modelfile
from lorabake.modelfile import Contents
from sd1_header import shapes as sd1_shapes


def kind(shapes, metadata=None, form="safetensors"):
    return model_kinds.describe(Contents(form, shapes, 0, metadata or {}))


def shapes_of(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("conv", [False, True])
def test_loras_of_three_families(family, conv):
    tensors = loras.kohya(family, conv=conv)
    found = kind(shapes_of(tensors))
    assert (found.kind, found.family, found.ranks, found.dialect) == ("locon" if conv else "lora", family, (2,), "kohya")
    if not conv:
        there = kind(shapes_of(loras.peft(tensors)))
        assert (there.kind, there.family, there.dialect) == ("lora", family, "peft")


def test_a_lora_of_the_text_encoder_alone():
    assert kind({"lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 768)}).family == "sdxl"
    assert kind({"lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (4, 1024)}).family == "sd2"
    assert kind({"lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (4, 768)}).family == "sd1"
    one = {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 1024)}
    assert kind(one, {"ss_base_model_version": "sd_v2"}).family == "sd2"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "alpha"), "loha"),
        (("lokr_w1", "lokr_w2_a", "lokr_w2_b", "alpha"), "lokr"),
        (("lora_down.weight", "lora_up.weight", "alpha", "dora_scale"), "dora"),
        (("diff",), "full"),
        (("oft_blocks", "alpha"), "oft"),
        (("a1.weight", "a2.weight", "b1.weight", "b2.weight", "alpha"), "glora"),
    ],
)
def test_relatives_of_lora(names, expected):
    assert kind({f"lora_unet_mid_block_attentions_0_proj_in.{name}": (4, 4) for name in names}).kind == expected


def test_checkpoints():
    whole = sd1_shapes()
    assert kind(whole).title() == "checkpoint of Stable Diffusion 1"
    averaged = {**whole, "model_ema.diffusion_modelx": (3,)}
    assert "EMA" in kind(averaged).title()
    inpainting = {**whole, "model.diffusion_model.input_blocks.0.0.weight": (320, 9, 3, 3)}
    assert "inpainting" in kind(inpainting).title()
    unet = {name: shape for name, shape in whole.items() if name.startswith("model.")}
    assert kind(unet).title() == "U-Net alone of Stable Diffusion 1"
    assert kind({**unet, "conditioner.embedders.1.model.x": (1,)}).family == "sdxl"
    assert kind({**unet, "conditioner.embedders.0.model.x": (1,)}).family == "refiner"
    assert kind({**unet, "cond_stage_model.model.transformer.x": (1,)}).family == "sd2"
    assert kind({"unet/x": (1,), "text_encoder_2/y": (1,)}, form="diffusers").family == "sdxl"


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"string_to_token.*": (), "string_to_param.*": (3, 768)}, "embedding"),
        ({"emb_params": (3, 1024)}, "embedding"),
        ({"clip_l": (3, 768), "clip_g": (3, 1280)}, "embedding"),
        ({"<cat>": (1, 768)}, "embedding"),
        ({"768.0.linear.0.weight": (4, 768), "768.1.linear.0.weight": (4, 768)}, "hypernetwork"),
        ({"decoder.conv_in.weight": (512, 4, 3, 3)}, "vae"),
        ({"first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}, "vae"),
        ({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "controlnet"),
        ({"params_ema.conv_first.weight": (64, 3, 3, 3), "params_ema.body.0.rdb1.conv1.weight": (32, 64, 3, 3)}, "upscaler"),
        ({"text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768), **{f"x{n}": (5,) for n in range(9)}}, "text_encoder"),
        ({"anything": (3, 3)}, "other"),
        ({}, "other"),
    ],
)
def test_other_files(shapes, expected):
    found = kind(shapes)
    assert found.kind == expected and found.title()


def test_precisions_are_read_from_headers_of_both_formats(tmp_path):
    tensors = {"a": torch.zeros(3), "b": torch.zeros(3).half(), "c": torch.zeros(3).half(), "n": torch.zeros(3).long()}
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save({"state_dict": tensors}, tmp_path / "a.ckpt")
    torch.save(tensors, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    for name in ("a.safetensors", "a.ckpt", "a.pt"):
        found = modelfile.read_contents(tmp_path / name)
        assert model_kinds.precision_of(found.dtypes) == "fp16 and fp32" and found.dtypes["n"] == "I64"


def test_metadata_of_a_tool_is_what_readers_look_for():
    found = lora_metadata.of_tool("sdxl", "x", ranks=[4, 4], alphas=[2, 2], conv=(8, 1))
    assert (found["ss_network_dim"], found["ss_network_alpha"]) == ("4", "2.0")
    assert found["ss_network_args"] == '{"conv_dim": "8", "conv_alpha": "1.0"}' and found["ss_base_model_version"] == "sdxl_base_v1-0"
    mixed = lora_metadata.of_tool("other", "x", ranks=[4, 8], alphas=[2, 2])
    assert mixed["ss_network_dim"] == "Dynamic" and "ss_v2" not in mixed
    assert lora_metadata.family_key("sd2", {"ss_base_model_version": "sd_v2_v"}) == "sd2_v" and lora_metadata.family_key("sd1", {}) == "sd1"
    assert "modelspec.date" in lora_metadata.dated(found) and "modelspec.date" not in found

"""LoRAs in the names of diffusers and PEFT -> kohya's and back. diffusers' own conversion is the oracle of ours."""

import json

import pytest
import torch
from diffusers.loaders import lora_conversion_utils as theirs
from safetensors.torch import load_file, save_file

import loras
from lorabake import convert_words, converter
from lorabake.families import lora_keys
from lorabake.networks import lora

FAMILIES = ("sd1", "sd2", "sdxl")


def convert(*words):
    return converter.main(convert_words.parse(None, [str(word) for word in words]))


def converted(path, *words):
    out = path.with_name("out.safetensors")
    assert convert(path, "--out", out, *words) == 0
    return load_file(out)


def modules(tensors):
    found = {}
    for key, tensor in tensors.items():
        name, _, suffix = key.partition(".")
        found.setdefault(name, {})[suffix] = tensor
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("conv", [False, True])
def test_peft_becomes_kohya(tmp_path, family, conv):
    tensors = loras.kohya(family, alpha=2.0, conv=conv)  # alpha is the rank, which is what no alpha means
    save_file(loras.peft(tensors), tmp_path / "a.safetensors")
    found = converted(tmp_path / "a.safetensors")
    assert {*found} == {*tensors} and all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_there_and_back_gives_the_same_differences(tmp_path, family):
    tensors = loras.kohya(family, alpha=1.0, num=30)
    save_file(tensors, tmp_path / "a.safetensors")
    assert convert(tmp_path / "a.safetensors", "--dialect", "diffusers", "--out", tmp_path / "b.safetensors") == 0
    there = load_file(tmp_path / "b.safetensors")
    assert all(".lora_A.weight" in name or ".lora_B.weight" in name for name in there)
    assert convert(tmp_path / "b.safetensors", "--out", tmp_path / "c.safetensors") == 0
    back = modules(load_file(tmp_path / "c.safetensors"))
    for name, given in modules(tensors).items():
        assert torch.allclose(lora.delta(given).flatten(), lora.delta(back[name]).flatten(), rtol=1e-5, atol=1e-6)


def test_diffusers_itself_makes_of_our_sdxl_names_what_they_were(tmp_path):
    tensors = loras.peft(loras.kohya("sdxl"))
    save_file(tensors, tmp_path / "a.safetensors")
    kohya = converted(tmp_path / "a.safetensors")

    class Config:
        layers_per_block = 2

    mapped = theirs._maybe_map_sgm_blocks_to_diffusers(dict(kohya), Config)
    found, alphas = theirs._convert_non_diffusers_lora_to_diffusers(mapped)
    assert len(alphas) == 986
    ours = {name for name in lora_keys.read(tensors).layers if name.startswith("unet.")}
    assert {name for name in lora_keys.read(found).layers if name.startswith("unet.")} == ours


def test_an_sdxl_lora_with_diffusers_names_in_kohyas_style_gets_those_of_the_original_layout(tmp_path):
    name = "down_blocks_1_attentions_0_transformer_blocks_1_attn2_to_k"
    tensors = {
        f"lora_unet_{name}.alpha": torch.tensor(2),
        f"lora_unet_{name}.lora_down.weight": torch.randn(4, 2048),
        f"lora_unet_{name}.lora_up.weight": torch.randn(640, 4),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    found = converted(tmp_path / "a.safetensors")
    own = "lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k"
    assert {*modules(found)} == {own} and found[f"{own}.alpha"].dtype == torch.float32 and float(found[f"{own}.alpha"]) == 2


@pytest.mark.parametrize(
    ("config", "alpha"),
    [
        ({}, 4.0),
        ({"unet.r": 4, "unet.lora_alpha": 8}, 8.0),
        ({"unet.r": 4, "unet.lora_alpha": 8, "unet.use_rslora": True}, 16.0),
        ({"r": 4, "lora_alpha": 1}, 1.0),
        ({"unet.r": 8, "unet.lora_alpha": 8, "unet.alpha_pattern": {"attn2.to_k": 2}}, 2.0),
        ({"text_encoder.lora_alpha": 1}, 4.0),
        ({"unet.lora_alpha": "x", "unet.r": None}, 4.0),
        ("[1, 2", 4.0),
        ("[1, 2]", 4.0),
    ],
)
def test_the_alpha_that_peft_keeps_in_its_configuration(config, alpha):
    text = config if isinstance(config, str) else json.dumps(config)
    assert lora_keys.adapter_alpha(text, "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k", 4) == alpha


def test_old_attention_processors_and_a_dora_of_peft(tmp_path):
    root = "unet.mid_block.attentions.0.transformer_blocks.0.attn2"
    tensors = {
        f"{root}.processor.to_k_lora.down.weight": torch.randn(4, 768),
        f"{root}.processor.to_k_lora.up.weight": torch.randn(1280, 4),
        f"{root}.processor.to_out_lora.down.weight": torch.randn(4, 1280),
        f"{root}.processor.to_out_lora.up.weight": torch.randn(1280, 4),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    names = {*modules(converted(tmp_path / "a.safetensors"))}
    own = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to"
    assert names == {f"{own}_k", f"{own}_out_0"}
    dora = {f"{root}.to_k.lora_A.weight": torch.randn(4, 768), f"{root}.to_k.lora_B.weight": torch.randn(1280, 4)}
    dora[f"{root}.to_k.lora_magnitude_vector"] = torch.rand(1280)
    save_file(dora, tmp_path / "b.safetensors")
    (tmp_path / "out.safetensors").unlink()
    found = converted(tmp_path / "b.safetensors")
    assert found[f"{own}_k.dora_scale"].shape == (1280, 1)


def test_what_diffusers_has_no_names_for_is_refused(tmp_path, capsys):
    layer = "lora_unet_mid_block_attentions_0_proj_in"
    save_file({f"{layer}.hada_w1_a": torch.ones(4, 2), f"{layer}.hada_w1_b": torch.ones(2, 4)}, tmp_path / "loha.safetensors")
    assert convert(tmp_path / "loha.safetensors", "--dialect", "diffusers") == 1
    assert "no names for this kind" in capsys.readouterr().err
    assert convert(tmp_path / "loha.safetensors", "--precision", "fp16") == 0
    assert load_file(tmp_path / "loha-fp16.safetensors")[f"{layer}.hada_w1_a"].dtype == torch.float16


def test_an_unknown_layer_and_an_unknown_family_keep_the_file_safe(tmp_path, capsys):
    tensors = {"unet.new_place.to_k.lora_A.weight": torch.ones(2, 768), "unet.new_place.to_k.lora_B.weight": torch.ones(4, 2)}
    save_file(tensors, tmp_path / "new.safetensors")
    assert convert(tmp_path / "new.safetensors", "--precision", "fp16") == 0
    flux = {"transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight": torch.ones(2, 8)}
    flux["transformer.single_transformer_blocks.0.attn.to_k.lora_B.weight"] = torch.ones(8, 2)
    save_file(flux, tmp_path / "flux.safetensors")
    assert convert(tmp_path / "flux.safetensors", "--precision", "fp16") == 0
    assert "its names are kept" in capsys.readouterr().out
    assert {*load_file(tmp_path / "flux-fp16.safetensors")} == {*flux}


def test_alphas_that_a_trainer_left_at_a_whole_number_become_floats_and_strange_keys_stay(tmp_path):
    layer = "lora_unet_mid_block_attentions_0_proj_in"
    tensors = {f"{layer}.alpha": torch.tensor(1), f"{layer}.lora_down.weight": torch.ones(2, 4).half()}
    tensors |= {f"{layer}.lora_up.weight": torch.ones(4, 2).half(), "who_knows": torch.ones(3)}
    torch.save(tensors, tmp_path / "a.pt")
    found = converted(tmp_path / "a.pt")
    assert found[f"{layer}.alpha"].dtype == torch.float16 and torch.equal(found["who_knows"], torch.ones(3))

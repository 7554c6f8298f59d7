"""Names of layers: in checkpoints of three families, in kohya's LoRAs, in diffusers'. Counts are lora-facts' (2.5)."""

import re

import pytest

from lorabake.families import layers, lora_keys, lora_names
from sd1_header import shapes as sd1_shapes

COUNTS = {"sd1": (72, 192, 278), "sd2": (138, 192, 278), "sdxl": (264, 722, 788)}


@pytest.mark.parametrize("family", COUNTS)
def test_full_size_models_have_the_known_numbers_of_layers(family):
    found = layers.full_size(family).values()
    unet = [layer for layer in found if layer.part == "unet"]
    assert (len(found) - len(unet), len([layer for layer in unet if not layer.conv]), len(unet)) == COUNTS[family]


@pytest.mark.parametrize("family", COUNTS)
def test_names_go_to_diffusers_and_back(family):
    for name in layers.full_size(family):
        there = lora_names.to_peft(name)
        assert "_." not in there and lora_names.from_peft(there, sdxl=family == "sdxl") == name


def test_some_names_as_files_have_them():
    sdxl = layers.full_size("sdxl")
    for name, there in (
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"),
        ("lora_unet_output_blocks_2_2_conv", "unet.up_blocks.0.upsamplers.0.conv"),
        ("lora_unet_input_blocks_3_0_op", "unet.down_blocks.0.downsamplers.0.conv"),
        ("lora_unet_middle_block_0_emb_layers_1", "unet.mid_block.resnets.0.time_emb_proj"),
        ("lora_te1_text_model_encoder_layers_11_mlp_fc2", "text_encoder.text_model.encoder.layers.11.mlp.fc2"),
        ("lora_te2_text_model_encoder_layers_31_self_attn_out_proj", "text_encoder_2.text_model.encoder.layers.31.self_attn.out_proj"),
    ):
        assert name in sdxl and lora_names.to_peft(name) == there


def test_the_names_of_sd1_are_those_that_its_trainer_gives():
    found = layers.layers(sd1_shapes(), "sd1")
    assert {layer.name for layer in found} == {*layers.full_size("sd1")}
    assert {layer.name: layer.shape for layer in found} == {name: layer.shape for name, layer in layers.full_size("sd1").items()}


def test_blocks_are_named_as_tables_of_block_weights_name_them():
    blocks = {layer.block for layer in layers.full_size("sd1").values()}
    assert blocks == {"BASE", "MID", *(f"IN{n:02}" for n in range(1, 12)), *(f"OUT{n:02}" for n in range(12))}
    assert layers.full_size("sd1")["lora_unet_up_blocks_1_attentions_0_proj_in"].block == "OUT03"


def test_openclips_joined_weights_are_three_layers_each_and_sd2_leaves_the_last_block_out():
    root = "cond_stage_model.model.transformer.resblocks."
    shapes = {}
    for index in range(3):
        shapes |= {f"{root}{index}.attn.in_proj_weight": (96, 32), f"{root}{index}.attn.out_proj.weight": (32, 32)}
        shapes |= {f"{root}{index}.mlp.c_fc.weight": (128, 32), f"{root}{index}.mlp.c_proj.weight": (32, 128)}
    found = layers.layers(shapes, "sd2")
    assert len(found) == 12 and {re.search(r"layers_(\d)", layer.name)[1] for layer in found} == {"0", "1"}
    keys = next(layer for layer in found if layer.name == "lora_te_text_model_encoder_layers_1_self_attn_k_proj")
    assert (keys.rows, keys.shape) == ((32, 64), (32, 32))
    moved = {name.replace("cond_stage_model.model", "conditioner.embedders.1.model"): shape for name, shape in shapes.items()}
    assert len(layers.layers(moved, "sdxl")) == 18


def test_a_diffusers_folder_of_sdxl_gets_the_names_of_the_original_layout():
    shapes = {
        "unet/up_blocks.0.attentions.1.transformer_blocks.9.attn2.to_v.weight": (1280, 2048),
        "unet/down_blocks.0.resnets.0.conv1.weight": (320, 320, 3, 3),
        "unet/conv_in.weight": (320, 4, 3, 3),
        "text_encoder_2/text_model.encoder.layers.0.mlp.fc1.weight": (5120, 1280),
    }
    found = [(layer.name, layer.conv) for layer in layers.layers(shapes, "sdxl")]
    assert found == [
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1", False),
        ("lora_unet_output_blocks_1_1_transformer_blocks_9_attn2_to_v", False),
        ("lora_unet_input_blocks_1_0_in_layers_2", True),
    ]


@pytest.mark.parametrize("name", ["lora_unet_", "", "lora_unet_what_is_this", "down_blocks", "unet.", "vae.x", "x.y"])
def test_strange_names_are_refused_by_a_key_error_or_kept(name):
    for function in (lora_names.to_peft, lambda text: lora_names.from_peft(text, sdxl=True)):
        try:
            function(name)
        except KeyError:
            continue
        assert lora_names.prefix_of(name) or name.startswith("unet.")


@pytest.mark.parametrize(
    ("key", "dialect", "layer", "suffix"),
    [
        ("lora_unet_x.lora_down.weight", "kohya", "lora_unet_x", "lora_down.weight"),
        ("lora_te_x.hada_w1_a", "kohya", "lora_te_x", "hada_w1_a"),
        ("unet.a.to_q.lora_A.weight", "peft", "unet.a.to_q", "lora_down.weight"),
        ("unet.a.to_q.lora_B.default.weight", "peft", "unet.a.to_q", "lora_up.weight"),
        ("base_model.model.unet.a.lora_magnitude_vector", "peft", "base_model.model.unet.a", "dora_scale"),
        ("unet.a.attn1.processor.to_out_lora.down.weight", "diffusers", "unet.a.attn1.to_out.0", "lora_down.weight"),
        ("text_encoder.a.q_proj.lora_linear_layer.up.weight", "diffusers", "text_encoder.a.q_proj", "lora_up.weight"),
        ("unet.a.to_q.lora.down.weight", "diffusers", "unet.a.to_q", "lora_down.weight"),
        ("unet.a.to_q.alpha", "peft", "unet.a.to_q", "alpha"),
    ],
)
def test_keys_of_all_dialects(key, dialect, layer, suffix):
    found = lora_keys.read([key, f"{layer}.lora_A.weight" if suffix == "alpha" else key])
    assert found.dialect == dialect and found.layers[layer][suffix] == key


def test_keys_that_nobody_knows_are_strange_and_a_checkpoint_is_no_lora():
    found = lora_keys.read(["lora_unet_x.lora_down.weight", "lora_unet_x.what", "model.diffusion_model.out.2.weight"])
    assert found.strange == ("lora_unet_x.what", "model.diffusion_model.out.2.weight")
    assert not lora_keys.is_lora(sd1_shapes()) and lora_keys.is_lora(["lora_unet_x.lora_down.weight", "lora_unet_x.alpha"])

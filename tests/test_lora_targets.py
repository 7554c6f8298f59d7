"""Names beyond the usual scope: norms, conv_in, time and label embeddings, under the names of both layouts."""

import lora_files
import sd1_header
from lorabake import modelfile
from lorabake.families import layers, sd1_keys
from lorabake.families.lora_targets import targets


def test_the_usual_layers_are_those_of_layers():
    shapes = sd1_header.small()
    found = targets(shapes, "sd1")
    for layer in layers.layers(shapes, "sd1"):
        assert found[layer.name] == layer


def test_sd1_has_a_name_for_every_weight_of_its_unet_and_text_encoder():
    shapes = sd1_header.small()
    found = {layer.key for layer in targets(shapes, "sd1").values()}
    wanted = {key for key in shapes if key.endswith(".weight") and not key.startswith("first_stage_model.")}
    assert found == wanted


def test_sd1_takes_diffusers_and_original_names():
    found = targets(sd1_header.small(), "sd1")
    unet = "model.diffusion_model."
    for name, key in {
        "lora_unet_conv_in": "input_blocks.0.0.weight",
        "lora_unet_input_blocks_0_0": "input_blocks.0.0.weight",
        "lora_unet_conv_out": "out.2.weight",
        "lora_unet_time_embedding_linear_1": "time_embed.0.weight",
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_norm1": "input_blocks.1.1.transformer_blocks.0.norm1.weight",
        "lora_unet_down_blocks_0_resnets_0_norm1": "input_blocks.1.0.in_layers.0.weight",
    }.items():
        assert found[name].key == unet + key, name
    assert found["lora_te_text_model_encoder_layers_0_layer_norm1"].part == "text_encoder"


def test_a_diffusers_folder_has_the_same_names():
    shapes = sd1_header.small()
    table = sd1_keys.to_diffusers(shapes)
    folder = {f"{part}/{'text_model.' if part == 'text_encoder' else ''}{name}": shapes[key] for key, (part, name) in table.items()}
    ours, theirs = targets(shapes, "sd1"), targets(folder, "sd1")
    # A file answers to the names of the original layout as well.
    assert theirs.keys() <= ours.keys() and all(
        "input_blocks" in name or "_out_" in name or "embed_" in name or "middle" in name or "output_blocks" in name
        for name in ours.keys() - theirs.keys()
    )
    assert all(ours[name].shape == theirs[name].shape for name in theirs)


def test_sdxl(tmp_path):
    shapes = modelfile.read_contents(lora_files.sdxl_base(tmp_path / "x.safetensors")).shapes
    found = targets(shapes, "sdxl")
    assert found[lora_files.SDXL_NAME].key == lora_files.SDXL_UNET
    assert found["lora_unet_label_emb_0_0"].key == found["lora_unet_add_embedding_linear_1"].key
    assert found[f"{lora_files.OPENCLIP_NAME}_layer_norm1"].key == f"{lora_files.OPENCLIP}.ln_1.weight"
    assert found[f"{lora_files.OPENCLIP_NAME}_self_attn_k_proj"].rows == (8, 16)

"""lora_loading.py and the rules behind it: known files, known refusals, and diffusers itself as the oracle for what diffusers loads."""

import functools
import logging
from collections.abc import Mapping

import pytest
import torch

from lorabake import loads_a1111, loads_comfy, loads_diffusers, lora_loading
from lorabake.families import layers, lora_names, lora_places

RANK = 2
LORA = ("lora_down.weight", "lora_up.weight", "alpha")


def verdicts(shapes: Mapping[str, tuple[int, ...]], family: str) -> dict[str, lora_loading.Verdict]:
    return {verdict.program: verdict for verdict in lora_loading.judge(shapes, family)}


def lora(names: Mapping[str, layers.Layer] | dict[str, tuple[int, ...]], *, alpha: bool = True) -> dict[str, tuple[int, ...]]:
    """Shapes of a plain LoRA on these layers."""
    found: dict[str, tuple[int, ...]] = {}
    for name, layer in names.items():
        out, *rest = getattr(layer, "shape", layer)
        found |= {f"{name}.alpha": ()} if alpha else {}
        found |= {f"{name}.lora_down.weight": (RANK, *rest), f"{name}.lora_up.weight": (out, RANK, *(1 for _ in rest[1:]))}
    return found


@pytest.mark.parametrize("family", layers.FAMILIES)
def test_every_program_loads_all_of_what_the_trainers_write(family):
    shapes = lora(layers.full_size(family))
    for verdict in lora_loading.judge(shapes, family):
        assert not verdict.refused, verdict
        # Of SD 2 A1111 and the others have 24 text layers, a LoRA has 23.
        assert not verdict.left_out, verdict.left_out[:5]
        assert verdict.num_loaded == len(shapes)
    assert lora_loading.misfits(shapes, family) == ([], False)


def test_unknown_families_are_not_judged():
    assert lora_loading.judge(lora({"lora_unet_double_blocks_0_img_attn_qkv": (9, 3)}), "flux") == []


def test_layers_that_no_model_has_are_left_out():
    shapes = lora(layers.full_size("sd1")) | lora({"lora_unet_down_blocks_9_attentions_0_proj_in": (320, 320)})
    for verdict in lora_loading.judge(shapes, "sd1"):
        assert [key.partition(".")[0] for key in verdict.left_out] == ["lora_unet_down_blocks_9_attentions_0_proj_in"] * 3


def test_forge_applies_nothing_with_more_than_a_dozen_unknown_names():
    shapes = lora(layers.full_size("sd1")) | lora({f"lora_unet_nothing_{n}": (3, 3) for n in range(4)})
    assert not verdicts(shapes, "sd1")["Forge"].refused
    more = shapes | lora({"lora_unet_nothing_5": (3, 3)})
    assert "12" in verdicts(more, "sd1")["Forge"].refused and verdicts(more, "sd1")["Forge"].num_loaded == 0
    assert not verdicts(more, "sd1")["ComfyUI"].refused


def test_an_sd1_lora_named_as_the_original_model():
    sgm = {f"lora_unet_{lora_places.underscored(p.path)}": p.shape for p in lora_places.places("sd1") if p.part == "unet" and p.shape}
    found = verdicts(lora(sgm), "sd1")
    assert found["A1111"].num_loaded == found["ComfyUI"].num_loaded == len(sgm) * 3
    assert found["diffusers"].num_loaded < len(sgm)


def sdxl_in_diffusers_style() -> dict[str, tuple[int, ...]]:
    unet = {
        f"lora_unet_{lora_places.underscored(p.diffusers)}": p.shape for p in lora_places.places("sdxl") if p.part == "unet" and p.shape
    }
    return unet | {name: layer.shape for name, layer in layers.full_size("sdxl").items() if layer.part == "text_encoder"}


def test_sdxl_named_by_diffusers_blocks():
    found = verdicts(lora(sdxl_in_diffusers_style()), "sdxl")
    assert not any(found[program].left_out or found[program].refused for program in ("Forge", "ComfyUI", "diffusers"))
    assert [key.partition(".")[0] for key in found["A1111"].left_out] == ["lora_unet_up_blocks_0_upsamplers_0_conv"] * 3
    assert lora_loading.misfits(lora(sdxl_in_diffusers_style()), "sdxl") == ([], False)


def peft(family: str) -> dict[str, tuple[int, ...]]:
    found = {}
    for name, layer in layers.full_size(family).items():
        root, (out, *rest) = lora_names.to_peft(name), layer.shape
        found |= {f"{root}.lora_A.weight": (RANK, *rest), f"{root}.lora_B.weight": (out, RANK, *(1 for _ in rest[1:]))}
    return found


@pytest.mark.parametrize("family", layers.FAMILIES)
def test_todays_diffusers_naming_is_for_diffusers(family):
    shapes = peft(family)
    found = verdicts(shapes, family)
    assert found["diffusers"].num_loaded == len(shapes)
    assert found["A1111"].num_loaded == 0
    # ComfyUI finds the text encoders, feed-forward and resnet layers, but asks for attentions under their older name.
    assert 0 < found["ComfyUI"].num_loaded < len(shapes)
    assert all(".to_" in key for key in found["ComfyUI"].left_out)
    assert found["Forge"].refused
    assert lora_loading.misfits(shapes, family) == ([], False)


@pytest.mark.parametrize(
    ("parts", "loads"),
    [
        (("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "alpha"), "A1111 Forge ComfyUI"),
        (("lokr_w1", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "alpha"), "A1111 Forge ComfyUI"),
        (("lora_down.weight", "lora_up.weight", "lora_mid.weight", "alpha"), "A1111 Forge ComfyUI"),
        (("diff", "diff_b"), "A1111 Forge ComfyUI"),
        (("a1.weight", "a2.weight", "b1.weight", "b2.weight", "alpha"), "A1111 Forge ComfyUI"),
        (("oft_blocks", "alpha"), "A1111 ComfyUI"),
        (("weight", "on_input"), "A1111"),
        (LORA, "A1111 Forge ComfyUI diffusers"),
    ],
)
def test_types_of_networks(parts, loads):
    names = [name for name, layer in layers.full_size("sd1").items() if not layer.conv][:40]
    shapes = {f"{name}.{part}": (4, 4, 4) if part == "oft_blocks" else (4, 4) for name in names for part in parts}
    assert [v.program for v in lora_loading.judge(shapes, "sd1") if v.num_loaded == len(shapes)] == loads.split()


def test_dora_is_plain_lora_for_diffusers():
    names = dict(list(layers.full_size("sd1").items())[:6])
    shapes = lora(names) | {f"{name}.dora_scale": (1, 4) for name in names}
    found = verdicts(shapes, "sd1")
    assert all(key.endswith("dora_scale") for key in found["diffusers"].left_out) and len(found["diffusers"].left_out) == 6
    assert not any(found[program].left_out for program in ("A1111", "Forge", "ComfyUI"))


@pytest.mark.parametrize(
    ("family", "change", "refusing"),
    [
        ("sd1", {"lora_te_text_model_encoder_layers_0_mlp_fc1.w_norm": ()}, "A1111 diffusers"),
        ("sd1", {"lora_unet_mid_block_resnets_0_conv1.lora_up.weight": (4, 2)}, "A1111 Forge ComfyUI diffusers"),
        ("sd1", {"lora_unet_mid_block_resnets_0_conv1.hada_w1_a": (4, 2)}, "A1111 Forge ComfyUI diffusers"),
        ("sd1", {"lora_unet_mid_block_resnets_0_conv1.weight": (4,)}, "A1111 diffusers"),
        ("sd1", lora({"lora_unet_mid_block_resnets_0_norm1": (4, 4)}), "A1111 diffusers"),
        ("sdxl", {"lora_unet_middle_block_0_in_layers_2.lora_down.weight": (2, 4)}, "A1111 diffusers"),
        ("sd1", {"bundle_emb.word.string_to_param.*": (1, 768)}, "diffusers"),
    ],
)
def test_what_stops_a_program(family, change, refusing):
    start = {name: layer for name, layer in layers.full_size(family).items() if layer.part == "text_encoder"}
    found = verdicts(lora(dict(list(start.items())[6:12])) | change, family)
    assert [program for program, verdict in found.items() if verdict.refused] == refusing.split()


def test_an_openclip_attention_that_is_not_whole_has_no_effect_in_a1111():
    whole = {name: layer for name, layer in layers.full_size("sdxl").items() if name.startswith("lora_te2_text_model_encoder_layers_0_")}
    assert not verdicts(lora(whole), "sdxl")["A1111"].left_out
    part = {name: layer for name, layer in whole.items() if not name.endswith("_v_proj")}
    assert len(verdicts(lora(part), "sdxl")["A1111"].left_out) == 9
    assert not verdicts(lora(part), "sdxl")["ComfyUI"].left_out


def test_names_of_the_other_family_mean_nothing():
    assert verdicts(lora({"lora_te_text_model_encoder_layers_0_mlp_fc1": (8, 8)}), "sdxl")["A1111"].num_loaded == 0
    assert verdicts(lora({"lora_te1_text_model_encoder_layers_0_mlp_fc1": (8, 8)}), "sd2")["A1111"].num_loaded == 0
    assert verdicts(lora({"lora_te1_text_model_encoder_layers_0_mlp_fc1": (8, 8)}), "sd1")["A1111"].num_loaded == 3
    last = lora({"lora_te_text_model_encoder_layers_23_mlp_fc1": (4096, 1024)})
    assert {v.program: v.num_loaded for v in lora_loading.judge(last, "sd2")} == {"A1111": 3, "Forge": 3, "ComfyUI": 3, "diffusers": 0}


def test_sizes_of_another_model():
    shapes = lora(layers.full_size("sd1"))
    small = {key: tuple(min(side, 64) for side in shape) for key, shape in shapes.items()}
    assert lora_loading.misfits(small, "sd1") == (list(layers.full_size("sd1")), True)
    wide = shapes | lora({"lora_unet_mid_block_attentions_0_proj_in": (2560, 1280)})
    assert lora_loading.misfits(wide, "sd1") == (["lora_unet_mid_block_attentions_0_proj_in"], False)


# ---- diffusers as the oracle: tiny models with every layer of the full-size ones

COMMON = {"layers_per_block": 2, "attention_head_dim": 8, "norm_num_groups": 8, "cross_attention_dim": 16, "sample_size": 8}
SDXL = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 80,
    "block_out_channels": (8, 16, 24),
}
SD1 = {
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "block_out_channels": (8, 16, 24, 24),
}


@functools.cache
def pipeline(family: str):
    """A pipeline of diffusers' own with random weights, narrow everywhere, as deep as the published model."""
    import diffusers
    import transformers

    def text(cls, depth):
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "projection_dim": 16, "vocab_size": 49408}
        return cls(transformers.CLIPTextConfig(num_hidden_layers=depth, **sizes))

    unet = diffusers.UNet2DConditionModel(**COMMON, **(SDXL if family == "sdxl" else SD1))
    vae = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=8)
    parts = {
        "vae": vae,
        "unet": unet,
        "scheduler": diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        "tokenizer": None,
        "feature_extractor": None,
    }
    if family == "sdxl":
        parts |= {"text_encoder": text(transformers.CLIPTextModel, 12), "tokenizer_2": None, "image_encoder": None}
        parts["text_encoder_2"] = text(transformers.CLIPTextModelWithProjection, 32)
        return diffusers.StableDiffusionXLPipeline(**parts)
    parts |= {"text_encoder": text(transformers.CLIPTextModel, 12), "safety_checker": None, "image_encoder": None}
    return diffusers.StableDiffusionPipeline(**parts, requires_safety_checker=False)


def narrow(key: str, shape: tuple[int, ...], module_shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    out, *rest = module_shapes.get(key.partition(".")[0], (8, 8))
    if key.endswith(("lora_down.weight", "lora_A.weight")) or ".down." in key:
        return (RANK, *rest)
    return shape if len(shape) < 2 else (out, RANK, *(1 for _ in rest[1:]))


def real(family: str, shapes: Mapping[str, tuple[int, ...]]) -> set[str]:
    """Which keys diffusers puts into the models: each tensor holds one number of its own, which is looked for afterwards."""
    pipe, sizes = pipeline(family), real_sizes(family)
    tensors = {}
    for number, (key, shape) in enumerate(shapes.items(), start=1):
        size = narrow(key, shape, sizes)
        tensors[key] = torch.full(size, float(number) if len(size) > 1 else float(RANK))
    try:
        pipe.load_lora_weights(dict(tensors), adapter_name="x")
        parts = [pipe.unet, pipe.text_encoder, getattr(pipe, "text_encoder_2", None)]
        found = {
            parameter.flatten()[0].item()
            for part in parts
            if part is not None
            for name, parameter in part.named_parameters()
            if "lora_" in name
        }
    finally:
        pipe.unload_lora_weights()
    loaded = {key for key, tensor in tensors.items() if tensor.dim() > 1 and tensor.flatten()[0].item() in found}
    layers_in = {key.removesuffix(".lora_down.weight") for key in loaded}
    return loaded | {key for key in tensors if key.endswith(".alpha") and key.removesuffix(".alpha") in layers_in}


@functools.cache
def real_sizes(family: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the tiny models' weights by every name that a layer has in LoRA files."""
    pipe, found = pipeline(family), {}
    parts = {"unet": pipe.unet, "te1": pipe.text_encoder, "te2": getattr(pipe, "text_encoder_2", None)}
    weights = {part: {name: tuple(w.shape) for name, w in model.named_parameters()} for part, model in parts.items() if model is not None}
    for names in (loads_diffusers.layer_names(family), loads_a1111.layer_names(family), loads_comfy.layer_names(family, forge=False)):
        for name, place in names.items():
            for path in (place.diffusers, place.diffusers.removeprefix("text_model.")):
                if f"{path}.weight" in weights.get(place.part, {}):
                    found[name] = weights[place.part][f"{path}.weight"]
    return found


def old_diffusers() -> dict[str, tuple[int, ...]]:
    found = {}
    for name, layer in layers.full_size("sd1").items():
        root = lora_names.to_peft(name)
        if ".attn" in root:
            head, _, tail = root.partition(".to_")
            found |= {f"{head}.processor.to_{tail.removesuffix('.0')}_lora.{way}.weight": (8, 8) for way in ("down", "up")}
        elif layer.part == "text_encoder":
            found |= {f"{root}.lora_linear_layer.{way}.weight": (16, 16) for way in ("down", "up")}
    return found


def some(family: str, *ends: str) -> dict[str, layers.Layer]:
    return {name: layer for name, layer in layers.full_size(family).items() if name.endswith(ends)}


CASES = {
    "all of sd1": ("sd1", lambda: lora(layers.full_size("sd1"))),
    "all of sdxl": ("sdxl", lambda: lora(layers.full_size("sdxl"))),
    "sdxl by diffusers' blocks": ("sdxl", lambda: lora(sdxl_in_diffusers_style())),
    "sdxl in both countings": ("sdxl", lambda: lora({**some("sdxl", "to_q"), "lora_unet_mid_block_attentions_0_proj_in": (8, 8)})),
    "ends of sd1": ("sd1", lambda: lora({"lora_unet_conv_in": (8, 4, 3, 3), "lora_unet_time_embedding_linear_1": (32, 8)})),
    "a layer that is not there": ("sd1", lambda: lora({**some("sd1", "to_q"), "lora_unet_down_blocks_8_resnets_0_conv1": (8, 8)})),
    "a third text encoder for sd1": ("sd1", lambda: lora({**some("sd1", "to_q"), "lora_te2_text_model_encoder_layers_0_mlp_fc1": (8, 8)})),
    "te1 names for sd1": ("sd1", lambda: lora({n.replace("lora_te_", "lora_te1_"): x for n, x in some("sd1", "out_proj", "fc1").items()})),
    "mlp alone": ("sd1", lambda: lora(some("sd1", "mlp_fc1"))),
    "mlp and q": ("sd1", lambda: lora(some("sd1", "mlp_fc1", "q_proj"))),
    "q alone": ("sd1", lambda: lora(some("sd1", "q_proj"))),
    "up without down": (
        "sd1",
        lambda: {k: v for k, v in lora(some("sd1", "to_q")).items() if not k.endswith("0_attn1_to_q.lora_down.weight")},
    ),
    "down without up": (
        "sd1",
        lambda: {k: v for k, v in lora(some("sd1", "to_q")).items() if not k.endswith("0_attn1_to_q.lora_up.weight")},
    ),
    "tucker": ("sd1", lambda: lora(some("sd1", "to_q")) | {"lora_unet_mid_block_attentions_0_proj_in.lora_mid.weight": (2, 2, 3, 3)}),
    "norm": ("sd1", lambda: lora({**some("sd1", "to_q"), "lora_unet_mid_block_resnets_0_norm1": (8, 8)})),
    "without alpha": ("sd1", lambda: lora(some("sd1", "to_q", "fc1", "out_proj"), alpha=False)),
    "dora": ("sd1", lambda: lora(some("sd1", "to_q")) | {f"{name}.dora_scale": (1, 8) for name in some("sd1", "to_q")}),
}
SLOW = {"all of sdxl", "sdxl by diffusers' blocks"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CASES])
def test_what_diffusers_does(name):
    logging.disable(logging.WARNING)
    family, make = CASES[name]
    shapes = make()
    ours = verdicts(shapes, family)["diffusers"]
    try:
        theirs = real(family, shapes)
    except (ValueError, KeyError, IndexError, RuntimeError) as error:
        assert ours.num_loaded == 0, error
        return
    finally:
        logging.disable(logging.NOTSET)
    assert not ours.refused
    assert set(shapes) - set(ours.left_out) == theirs


def dotted_sizes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The same keys in the tiny model's sizes."""
    weights = {f"unet.{name}": tuple(w.shape) for name, w in pipeline("sd1").unet.named_parameters()}
    weights |= {f"text_encoder.text_model.{name}": tuple(w.shape) for name, w in pipeline("sd1").text_encoder.named_parameters()}
    found = {}
    for key in shapes:
        root = key.replace(".processor", "").replace("_lora.", ".lora.").partition(".lora")[0]
        root += ".0" if root.endswith("to_out") else ""
        out, *rest = weights[f"{root}.weight"]
        down = ".down." in key or "lora_A" in key
        found[key] = (RANK, *rest) if down else (out, RANK, *(1 for _ in rest[1:]))
    return found


@pytest.mark.parametrize("make", [old_diffusers, lambda: peft("sd1")], ids=["old", "peft"])
def test_diffusers_own_namings(make):
    shapes = dotted_sizes(make())
    pipe = pipeline("sd1")
    tensors = {key: torch.full(shape, float(number)) for number, (key, shape) in enumerate(shapes.items(), start=1)}
    try:
        pipe.load_lora_weights(dict(tensors), adapter_name="x")
        found = {p.flatten()[0].item() for m in (pipe.unet, pipe.text_encoder) for n, p in m.named_parameters() if "lora_" in n}
    finally:
        pipe.unload_lora_weights()
    loaded = {key for key, tensor in tensors.items() if tensor.flatten()[0].item() in found}
    verdict = verdicts(shapes, "sd1")["diffusers"]
    assert set(shapes) - set(verdict.left_out) == loaded == set(shapes)
    assert verdicts(old_diffusers(), "sd1")["ComfyUI"].left_out == ()

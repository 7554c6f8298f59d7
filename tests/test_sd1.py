"""families/sd1.py and sd1_keys.py against diffusers' own converter, the published layout and the names that LoRA programs agree on."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import lorabake
import tiny
from lorabake.errors import UserError
from lorabake.families import identify, sd1, sd1_keys
from lorabake.families.tokenizer import clip_tokenizer

PY = Path(lorabake.__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "sd15_layout.txt"
CAPTIONS = ["a red apple", "cat face, " * 60, ""]


@pytest.fixture(scope="module")
def random_models():
    """As diffusers made them, rounded to fp16 as the file keeps them."""
    models = tiny.sd1_models()
    for part in (models.unet, models.text_encoder, models.vae):
        part.half().float()
    return models


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return tiny.sd1_loaded(tmp_path_factory.mktemp("tiny"))[1]


@pytest.fixture(scope="module")
def full_size():
    """The full-size layout without memory, made by diffusers' and transformers' default sizes."""
    with torch.device("meta"):
        unet = sd1.UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
        vae = sd1.AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, **blocks)
        sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "projection_dim": 768}
        return sd1.Models(unet, sd1.CLIPTextModel(sd1.CLIPTextConfig(**sizes)), vae)


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def outputs(models: sd1.Models) -> list[torch.Tensor]:
    noisy, pixels = (
        torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1)),
        torch.linspace(-1, 1, 2 * 3 * 64 * 64).view(2, 3, 64, 64),
    )
    context = sd1.encode_text(models, CAPTIONS[:2], clip_skip=2, num_windows=1)
    latents = sd1.encode_image(models, pixels, torch.Generator().manual_seed(2))
    return [context, sd1.predict(models, noisy, torch.tensor([3, 700]), context), latents, sd1.decode(models, latents)]


def test_written_in_the_original_layout_and_loaded_back_everything_is_bit_equal(random_models, loaded):
    for part in ("unet", "text_encoder", "vae"):
        assert same(getattr(random_models, part), getattr(loaded, part)), part
    random_models.vae.to(memory_format=torch.channels_last)  # as load() lays it out: sums in another order differ in their last bits
    for ours, theirs in zip(outputs(loaded), outputs(random_models), strict=True):
        assert torch.equal(ours, theirs)


def test_loaded_models_are_frozen_in_evaluation_mode_and_hold_nothing_on_meta(loaded):
    for part in (loaded.unet, loaded.text_encoder, loaded.vae):
        assert not part.training and not any(p.requires_grad for p in part.parameters())
        assert not any(t.is_meta for t in (*part.parameters(), *part.buffers()))


def test_sizes_are_read_from_the_tensors(loaded):
    unet, vae, text = loaded.unet.config, loaded.vae.config, loaded.text_encoder.config
    for key, value in tiny.UNET.items():
        assert unet[key] == (list(value) if isinstance(unet[key], list) else value), key
    assert tuple(vae["block_out_channels"]) == tiny.VAE["block_out_channels"] and vae["layers_per_block"] == 1
    assert {key: getattr(text, key) for key in tiny.TEXT} == tiny.TEXT


def test_attention_runs_on_sdpa(loaded):
    assert {type(p).__name__ for p in loaded.unet.attn_processors.values()} == {"AttnProcessor2_0"}
    assert loaded.text_encoder.config._attn_implementation == "sdpa"


def test_dtype_is_applied_and_the_autoencoder_stays_float32(tmp_path):
    _, models = tiny.sd1_loaded(tmp_path, dtype=torch.bfloat16)
    assert {p.dtype for p in (*models.unet.parameters(), *models.text_encoder.parameters())} == {torch.bfloat16}
    assert {p.dtype for p in models.vae.parameters()} == {torch.float32}
    assert outputs(models)[1].dtype == torch.bfloat16


def test_the_file_may_be_replaced_while_the_model_is_in_use(tmp_path):
    base, models = tiny.sd1_loaded(tmp_path, dtype=torch.float16)
    before = models.unet.conv_in.weight.clone()
    with Path(base.path).open("r+b") as file:
        file.write(bytes(Path(base.path).stat().st_size))
    assert torch.equal(models.unet.conv_in.weight, before)
    Path(base.path).unlink()


def rewritten(folder: Path, change) -> Path:
    """The tiny checkpoint with its table of tensors changed by `change`."""
    tensors = load_file(tiny.sd1_file(folder))
    path = folder / "changed.safetensors"
    save_file({name: t.contiguous() for name, t in change(tensors).items()}, path)
    return path


def load(path: Path) -> sd1.Models:
    return sd1.load(identify(path), dtype=torch.float32, device="cpu")


def test_old_text_names_position_ids_and_averaged_copies_are_read(tmp_path, loaded):
    def older(tensors):
        found = {name.replace(f"{sd1_keys.TEXT}text_model.", sd1_keys.TEXT): t for name, t in tensors.items()}
        found[f"{sd1_keys.TEXT}embeddings.position_ids"] = torch.full((1, 77), 3.5).half()
        found["model_ema.diffusion_modelinput_blocks00weight"] = torch.zeros(32, 4, 3, 3)
        found["alphas_cumprod"] = torch.zeros(1000)
        return found

    models = load(rewritten(tmp_path, older))
    assert same(models.unet, loaded.unet) and same(models.text_encoder, loaded.text_encoder)
    assert models.text_encoder.embeddings.position_ids.tolist() == [list(range(77))]


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (sd1_keys.VAE, "no autoencoder (VAE"),
        (sd1_keys.TEXT, "no text encoder"),
        (f"{sd1_keys.UNET}middle_block.1.proj_in.weight", "mid_block.attentions.0.proj_in.weight"),
        (f"{sd1_keys.UNET}output_blocks.5.0.in_layers.2.weight", "up_blocks.1.resnets.2.conv1.weight"),
        (f"{sd1_keys.VAE}post_quant_conv.weight", "post_quant_conv.weight"),
    ],
)
def test_what_is_missing_is_named(tmp_path, lost, words):
    path = rewritten(tmp_path, lambda tensors: {name: t for name, t in tensors.items() if not name.startswith(lost)})
    with pytest.raises(UserError, match=re.escape(words)):
        load(path)


def test_a_wrong_shape_is_named(tmp_path):
    name = f"{sd1_keys.UNET}time_embed.0.weight"
    with pytest.raises(UserError, match=r"time_embedding\.linear_1\.weight has the shape"):
        load(rewritten(tmp_path, lambda tensors: {**tensors, name: torch.zeros(3, 3)}))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_ckpt_with_training_bookkeeping_loads_equal(tmp_path, loaded, legacy):
    callback = type("ModelCheckpoint", (), {"__module__": "pytorch_lightning.callbacks.model_checkpoint"})
    module = type(sys)("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = callback
    sys.modules.update({"pytorch_lightning": type(sys)("pytorch_lightning"), module.__name__: module})
    path = tmp_path / "model.ckpt"
    tensors = load_file(tiny.sd1_file(tmp_path))
    held = callback()
    held.best_model_path = "x"
    content = {"state_dict": tensors, "callbacks": {callback: {"best": held}}, "global_step": 840000, "loops": None}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    del sys.modules["pytorch_lightning"], sys.modules[module.__name__]
    models = load(path)
    assert all(same(getattr(models, part), getattr(loaded, part)) for part in ("unet", "text_encoder", "vae"))


@pytest.mark.parametrize("safe", [True, False])
def test_a_diffusers_folder_loads_equal(tmp_path, loaded, safe):
    for part in ("unet", "text_encoder", "vae"):
        getattr(loaded, part).save_pretrained(tmp_path / part)
        if not safe:
            file = next((tmp_path / part).glob("*.safetensors"))
            torch.save(load_file(file), file.with_name(file.stem.replace("model.", "pytorch_model.") + ".bin"))
            file.unlink()
    models = load(tmp_path)
    assert all(same(getattr(models, part), getattr(loaded, part)) for part in ("unet", "text_encoder", "vae"))


def test_a_folder_with_the_old_names_of_the_autoencoder(tmp_path, loaded):
    for part in ("unet", "text_encoder", "vae"):
        getattr(loaded, part).save_pretrained(tmp_path / part)
    file = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
    tensors = {re.sub("|".join(map(re.escape, old)), lambda m: old[m[0]], name): t for name, t in load_file(file).items()}
    save_file(tensors, file)
    assert same(load(tmp_path).vae, loaded.vae)


def test_a_folder_may_say_another_number_of_heads(tmp_path, loaded):
    for part in ("unet", "text_encoder", "vae"):
        getattr(loaded, part).save_pretrained(tmp_path / part)
    config = json.loads((tmp_path / "unet" / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "unet" / "config.json").write_text(json.dumps({**config, "attention_head_dim": 4}), encoding="utf-8")
    assert load(tmp_path).unet.config.attention_head_dim == 4


def test_diffusers_reads_the_exported_layout_to_the_same_tensors(random_models):
    utils = pytest.importorskip("diffusers.loaders.single_file_utils")
    original = sd1.to_original_keys(random_models)
    for part, convert in (("unet", utils.convert_ldm_unet_checkpoint), ("vae", utils.convert_ldm_vae_checkpoint)):
        model = getattr(random_models, part)
        theirs = convert(dict(original), dict(model.config))
        ours = model.state_dict()
        assert theirs.keys() == ours.keys() and all(torch.equal(theirs[name], ours[name]) for name in ours)
    text = utils.convert_ldm_clip_checkpoint(dict(original))
    ours = {sd1_keys.text_name(name): t for name, t in random_models.text_encoder.state_dict().items()}
    assert {sd1_keys.text_name(name) for name in text} == ours.keys()
    assert all(torch.equal(t, ours[sd1_keys.text_name(name)]) for name, t in text.items())


def test_the_full_size_layout_has_the_published_names_and_shapes(full_size):
    original = sd1.to_original_keys(full_size)
    lines = [f"{name} {'x'.join(map(str, tensor.shape))}" for name, tensor in sorted(original.items())]
    assert lines == GOLDEN.read_text(encoding="utf-8").splitlines()
    # Written down by hand from the published v1-5 checkpoint, whose 1131st tensor is position_ids.
    assert len(lines) == 1130
    for line in (
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight 320x320",
        "model.diffusion_model.input_blocks.3.0.op.weight 320x320x3x3",
        "model.diffusion_model.input_blocks.4.0.skip_connection.weight 640x320x1x1",
        "model.diffusion_model.input_blocks.8.1.transformer_blocks.0.attn2.to_k.weight 1280x768",
        "model.diffusion_model.middle_block.1.transformer_blocks.0.ff.net.0.proj.weight 10240x1280",
        "model.diffusion_model.middle_block.2.out_layers.3.weight 1280x1280x3x3",
        "model.diffusion_model.output_blocks.2.1.conv.weight 1280x1280x3x3",
        "model.diffusion_model.output_blocks.5.2.conv.weight 1280x1280x3x3",
        "model.diffusion_model.output_blocks.8.2.conv.weight 640x640x3x3",
        "model.diffusion_model.output_blocks.9.0.skip_connection.weight 320x960x1x1",
        "model.diffusion_model.out.2.weight 4x320x3x3",
        "first_stage_model.encoder.down.2.block.0.nin_shortcut.weight 512x256x1x1",
        "first_stage_model.decoder.mid.attn_1.proj_out.weight 512x512x1x1",
        "first_stage_model.decoder.up.0.block.0.nin_shortcut.weight 128x256x1x1",
        "first_stage_model.decoder.up.3.upsample.conv.weight 512x512x3x3",
        "first_stage_model.quant_conv.weight 8x8x1x1",
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight 49408x768",
        "cond_stage_model.transformer.text_model.final_layer_norm.bias 768",
    ):
        assert line in lines


def test_full_size_names_and_sizes_survive_the_round_trip(full_size):
    back = sd1_keys.to_diffusers(sd1.to_original_keys(full_size))
    assert sorted((part, name) for part, name in back.values()) == sorted(
        (part, name) for part in ("unet", "vae", "text_encoder") for name in getattr(full_size, part).state_dict()
    )
    shapes = {
        part: {n: tuple(t.shape) for n, t in getattr(full_size, part).state_dict().items()} for part in ("unet", "text_encoder", "vae")
    }
    assert sd1_keys.unet_sizes(shapes["unet"])["block_out_channels"] == (320, 640, 1280, 1280)
    assert sd1_keys.vae_sizes(shapes["vae"])["block_out_channels"] == (128, 256, 512, 512)
    text = sd1_keys.text_sizes(shapes["text_encoder"])
    assert (text["num_attention_heads"], text["num_hidden_layers"], text["intermediate_size"]) == (12, 12, 3072)


def agreed_names(*, conv: bool) -> list[str]:
    """The names of lora-facts 2.1 and 2.3, enumerated from their text alone."""
    layers = ("self_attn_q_proj", "self_attn_k_proj", "self_attn_v_proj", "self_attn_out_proj", "mlp_fc1", "mlp_fc2")
    names = [f"lora_te_text_model_encoder_layers_{n}_{layer}" for n in range(12) for layer in layers]
    inner = [f"transformer_blocks_0_attn{a}_to_{x}" for a in (1, 2) for x in ("q", "k", "v", "out_0")]
    inner += ["proj_in", "proj_out", "transformer_blocks_0_ff_net_0_proj", "transformer_blocks_0_ff_net_2"]
    places = [f"down_blocks_{b}_attentions_{j}" for b in range(3) for j in range(2)] + ["mid_block_attentions_0"]
    places += [f"up_blocks_{b}_attentions_{j}" for b in (1, 2, 3) for j in range(3)]
    names += [f"lora_unet_{place}_{layer}" for place in places for layer in inner]
    if conv:
        resnets = [f"down_blocks_{b}_resnets_{j}" for b in range(4) for j in range(2)] + [f"mid_block_resnets_{j}" for j in range(2)]
        resnets += [f"up_blocks_{b}_resnets_{j}" for b in range(4) for j in range(3)]
        names += [f"lora_unet_{place}_{layer}" for place in resnets for layer in ("conv1", "conv2", "time_emb_proj")]
        shortcuts = ["down_blocks_1_resnets_0", "down_blocks_2_resnets_0", *(place for place in resnets if place.startswith("up_"))]
        names += [f"lora_unet_{place}_conv_shortcut" for place in shortcuts]
        names += [f"lora_unet_down_blocks_{b}_downsamplers_0_conv" for b in range(3)]
        names += [f"lora_unet_up_blocks_{b}_upsamplers_0_conv" for b in range(3)]
    return names


@pytest.mark.parametrize(("conv", "count"), [(False, 192), (True, 278)])
def test_targets_are_the_agreed_modules_text_encoder_first(full_size, conv, count):
    found = sd1.targets(full_size, conv)
    assert sorted(target.name for target in found) == sorted(agreed_names(conv=conv))
    assert [target.part for target in found] == ["text_encoder"] * 72 + ["unet"] * count
    assert len({id(target.module) for target in found}) == len(found)
    kinds = [tuple(target.module.kernel_size) for target in found if isinstance(target.module, torch.nn.Conv2d)]
    assert (kinds.count((3, 3)), kinds.count((1, 1))) == ((50, 14 + 32) if conv else (0, 32))


def test_diffusers_lora_loader_knows_every_name(full_size):
    utils = pytest.importorskip("diffusers.loaders.lora_conversion_utils")
    peft = pytest.importorskip("diffusers.utils.state_dict_utils")
    names = [target.name for target in sd1.targets(full_size)]
    tensors = {}
    for name in names:
        tensors |= {
            f"{name}.lora_down.weight": torch.zeros(1),
            f"{name}.lora_up.weight": torch.zeros(1),
            f"{name}.alpha": torch.tensor(1.0),
        }
    converted, _ = utils._convert_non_diffusers_lora_to_diffusers(tensors)
    parts = {"unet.": peft.convert_unet_state_dict_to_peft, "text_encoder.": peft.convert_state_dict_to_peft}
    places = set()
    for prefix, convert in parts.items():
        found = convert({name.removeprefix(prefix): tensor for name, tensor in converted.items() if name.startswith(prefix)})
        places |= {prefix + name.removesuffix(".lora_A.weight") for name in found if name.endswith(".lora_A.weight")}
    modules = {f"unet.{path}" for path, _ in full_size.unet.named_modules()}
    modules |= {f"text_encoder.text_model.{sd1_keys.text_name(path)}" for path, _ in full_size.text_encoder.named_modules()}
    assert len(converted) == 2 * len(names) == 2 * len(places)
    assert places <= modules, sorted(places - modules)[:4]


def by_hand(models: sd1.Models, caption: str, *, clip_skip: int, num_windows: int) -> torch.Tensor:
    """lora-facts 3.7 in the words of the document: tokenise to n * 75 + 2, cut at offsets 1, 76, 151, encode alone, join."""
    size = num_windows * 75 + 2
    ids = clip_tokenizer()(caption, padding="max_length", truncation=True, max_length=size)["input_ids"]
    states = []
    for number in range(num_windows):
        chunk = torch.tensor([[ids[0], *ids[1 + 75 * number : 76 + 75 * number], ids[-1]]])
        text = models.text_encoder
        hidden = text(chunk, output_hidden_states=True).hidden_states[-clip_skip]
        states.append(getattr(text, "text_model", text).final_layer_norm(hidden)[0])
    return torch.cat([states[0][:1], *(state[1:-1] for state in states), states[-1][-1:]])


@pytest.mark.parametrize("num_windows", [1, 2, 3])
@pytest.mark.parametrize("clip_skip", [1, 2, 3])
def test_text_is_encoded_in_windows(loaded, num_windows, clip_skip):
    found = sd1.encode_text(loaded, CAPTIONS, clip_skip=clip_skip, num_windows=num_windows)
    assert found.shape == (3, num_windows * 75 + 2, 64)
    for row, caption in zip(found, CAPTIONS, strict=True):
        torch.testing.assert_close(row, by_hand(loaded, caption, clip_skip=clip_skip, num_windows=num_windows), rtol=1e-5, atol=1e-5)


def test_clip_skip_1_is_the_encoders_own_output_and_too_much_is_refused(loaded):
    ids = clip_tokenizer()(CAPTIONS[0], padding="max_length", max_length=77, return_tensors="pt")["input_ids"]
    assert torch.equal(sd1.encode_text(loaded, CAPTIONS[:1], clip_skip=1, num_windows=1), loaded.text_encoder(ids).last_hidden_state)
    with pytest.raises(UserError, match="1 to 3"):
        sd1.encode_text(loaded, CAPTIONS[:1], clip_skip=4, num_windows=1)


def test_gradients_flow_through_the_text_encoder(loaded):
    layer = loaded.text_encoder.encoder.layers[0].mlp.fc1
    layer.weight.requires_grad_(True)
    sd1.encode_text(loaded, CAPTIONS[:1], clip_skip=2, num_windows=2).square().mean().backward()
    assert layer.weight.grad.abs().sum() > 0
    layer.weight.requires_grad_(False).grad = None


def test_latents_are_an_unscaled_posterior_sample_seeded_per_picture(loaded):
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    seeds = lambda: [torch.Generator().manual_seed(n) for n in (5, 6)]  # noqa: E731
    both = sd1.encode_image(loaded, pixels, seeds())
    alone = [sd1.encode_image(loaded, pixels[n : n + 1], seeds()[n : n + 1]) for n in range(2)]
    torch.testing.assert_close(both, torch.cat(alone))
    theirs = loaded.vae.encode(pixels).latent_dist.sample(generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(sd1.encode_image(loaded, pixels, torch.Generator().manual_seed(5)), theirs)


OFFLINE = """
import socket, sys
sys.path[:0] = sys.argv[1:3]
def refuse(*args, **kwargs):
    raise AssertionError("the network was asked for")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from pathlib import Path
import tiny
from lorabake.families import sd1
base, models = tiny.sd1_loaded(Path(sys.argv[3]))
sd1.encode_text(models, ["a cat"], clip_skip=1, num_windows=1)
import os, huggingface_hub.constants
print(os.environ["HF_HUB_OFFLINE"], huggingface_hub.constants.HF_HUB_OFFLINE)
"""


def test_loading_and_encoding_never_ask_the_network(tmp_path):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_", "DIFFUSERS_"))}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(PY), str(Path(__file__).parent), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**clean, "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hub")},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["1", "True"]
    assert not list(tmp_path.glob("hub/**/*.json"))

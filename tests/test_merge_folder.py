"""LoRAs in a Diffusers folder: loads as one, the changed parts new, the rest as it was."""

import pytest
import torch
from safetensors.torch import load_file, save_file

import lora_files
import tiny
from lorabake import lora_merge, lora_words, modelfile
from lorabake.attach import apply_file
from lorabake.errors import DiskFull
from lorabake.families import identify, sd1


@pytest.fixture
def folder(tmp_path):
    """As diffusers saves it, with an fp16 variant and a whole checkpoint beside it."""
    pipeline = tiny.sd1_pipeline(tiny.sd1_models())
    base = tmp_path / "base"
    pipeline.save_pretrained(base)
    state = load_file(base / "unet" / "diffusion_pytorch_model.safetensors")
    save_file({name: tensor.half() for name, tensor in state.items()}, base / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    save_file({"x": torch.ones(2)}, base / "whole.safetensors")
    return base


def merge(*words):
    return lora_merge.main(lora_words.parse(None, ["merge", *map(str, words)]))


@torch.no_grad()
def outputs(path):
    models = sd1.load(identify(path), dtype=torch.float32, device="cpu")
    return models, run(models)


def run(models):
    context = sd1.encode_text(models, ["red apple"], clip_skip=1, num_windows=1)
    noisy = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    return context, sd1.predict(models, noisy, torch.tensor([500]), context)


@torch.no_grad()
def test_a_folder_comes_out_that_draws_the_same(folder, tmp_path):
    from diffusers import StableDiffusionPipeline

    file = tiny.sd1_file(tmp_path)
    lora = lora_files.write(tmp_path / "x.safetensors", lora_files.layers_of(file, conv=True))
    out = tmp_path / "out"
    assert merge(f"{lora}=0.8,0.3", "--into", folder, "--out", out) == 0
    models, bare = outputs(folder)
    apply_file(models, sd1, lora, 0.8, 0.3)
    for hung, baked, before in zip(run(models), outputs(out)[1], bare, strict=True):
        assert float((hung - baked).abs().mean()) < 1e-4 * float((hung - before).abs().mean())
    loaded = StableDiffusionPipeline.from_pretrained(out, local_files_only=True)
    assert torch.equal(loaded.unet.conv_in.weight, models.unet.conv_in.weight)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert "unet/diffusion_pytorch_model.fp16.safetensors" not in names and "whole.safetensors" not in names, "they are the old ones"
    assert {"model_index.json", "unet/config.json", "vae/diffusion_pytorch_model.safetensors", "tokenizer/tokenizer.json"} & names
    vae = "vae/diffusion_pytorch_model.safetensors"
    assert (out / vae).read_bytes() == (folder / vae).read_bytes()
    header = modelfile.read_header(out / "unet" / "diffusion_pytorch_model.safetensors")
    assert header.metadata["format"] == "pt" and "x.safetensors" in header.metadata["lorabake_merge"]


def test_parts_that_no_lora_changes_are_copied(folder, tmp_path):
    layer = next(layer for layer in lora_files.layers_of(tiny.sd1_file(tmp_path)) if layer.part == "unet")
    lora = lora_files.write(tmp_path / "x.safetensors", [layer])
    merge(lora, "--into", folder, "--out", tmp_path / "out")
    for name in ("text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors", "model_index.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()


def test_a_full_disk_leaves_nothing(folder, tmp_path, monkeypatch):
    lora = lora_files.write(tmp_path / "x.safetensors", lora_files.layers_of(tiny.sd1_file(tmp_path)))
    monkeypatch.setattr("lorabake.paths.free_bytes", lambda _: 1000)
    with pytest.raises(DiskFull):
        merge(lora, "--into", folder, "--out", tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]

"""families/__init__.py, families/layouts.py, modelfile.py and pickles.py: what a file is, from its header, and every way to be refused."""

import json
import math
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import lorabake
from lorabake import modelfile, pickles
from lorabake.errors import UserError
from lorabake.families import FAMILIES, identify, locate
from lorabake.networks import NETWORKS

PY = Path(lorabake.__file__).parents[1]
UNET, TEXT, VAE = "model.diffusion_model.", "cond_stage_model.", "first_stage_model."
ATTENTION = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
WHOLE = {
    f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3),
    ATTENTION: (320, 768),
    f"{TEXT}transformer.text_model.embeddings.token_embedding.weight": (8, 768),
    f"{VAE}decoder.conv_in.weight": (512, 4, 3, 3),
}


def header_only(path: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file of the right length with a hole where its data would be."""
    table: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        table[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    raw = json.dumps(table).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + end)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        identify(path)
    return str(caught.value)


def test_a_whole_checkpoint_is_sd1_with_its_own_words(tmp_path):
    path = header_only(tmp_path / "a.safetensors", WHOLE, {"modelspec.resolution": "128x128", "modelspec.encoder_layer": "1"})
    base = identify(path)
    assert (base.family, base.kind, base.format, base.resolution, base.clip_skip) == ("sd1", "file", "safetensors", 128, 1)
    assert base.num_parameters == sum(math.prod(shape) for shape in WHOLE.values())
    assert base.size_bytes == path.stat().st_size


@pytest.mark.parametrize(
    ("metadata", "resolution", "clip_skip"),
    [
        ({}, None, None),
        ({"modelspec.resolution": "640x384"}, 496, None),
        ({"modelspec.resolution": "512"}, 512, None),
        ({"modelspec.resolution": "huge"}, None, None),
        ({"modelspec.resolution": "1x2x3"}, None, None),
        ({"modelspec.encoder_layer": "2"}, None, 2),
        ({"modelspec.encoder_layer": "-1"}, None, None),
    ],
)
def test_what_the_header_says_is_taken_only_when_it_makes_sense(tmp_path, metadata, resolution, clip_skip):
    base = identify(header_only(tmp_path / "a.safetensors", WHOLE, metadata))
    assert (base.resolution, base.clip_skip) == (resolution, clip_skip)


def test_the_averaged_copy_is_not_counted(tmp_path):
    ema = {"model_ema.diffusion_modelinput_blocks00weight": (320, 4, 3, 3)}
    counts = [identify(header_only(tmp_path / "a.safetensors", shapes)).num_parameters for shapes in (WHOLE, WHOLE | ema)]
    assert counts[0] == counts[1]


OTHERS = {
    "Stable Diffusion XL model": {**WHOLE, "conditioner.embedders.1.model.ln_final.weight": (1280,)},
    "Stable Diffusion XL refiner": {
        f"{UNET}input_blocks.0.0.weight": (384, 4, 3, 3),
        "conditioner.embedders.0.model.ln_final.weight": (1280,),
    },
    "Stable Diffusion 2 model": {**WHOLE, f"{TEXT}model.transformer.resblocks.0.ln_1.weight": (1024,)},
    "Stable Diffusion 3 model": {f"{UNET}joint_blocks.0.context_block.attn.qkv.weight": (4608, 1536)},
    "Flux model": {"double_blocks.0.img_attn.qkv.weight": (9216, 3072)},
    "LoRA file": {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": (8, 1280, 1, 1)},
    "inpainting model (9 input channels)": {**WHOLE, f"{UNET}input_blocks.0.0.weight": (320, 9, 3, 3)},
    "InstructPix2Pix": {**WHOLE, f"{UNET}input_blocks.0.0.weight": (320, 8, 3, 3)},
    "depth model": {**WHOLE, f"{UNET}input_blocks.0.0.weight": (320, 5, 3, 3)},
    "autoencoder (VAE)": {"decoder.conv_in.weight": (512, 4, 3, 3), "encoder.conv_in.weight": (128, 3, 3, 3)},
    "an autoencoder": {f"{VAE}decoder.conv_in.weight": (512, 4, 3, 3), "x": (1, 1, 1)},
    "textual-inversion embedding": {"emb_params": (4, 768)},
    "embedding": {"clip_l": (2, 768), "clip_g": (2, 1280)},
    "ControlNet": {"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)},
    "U-Net of a Diffusers folder": {"down_blocks.0.resnets.0.conv1.weight": (320, 320, 3, 3)},
    "text encoder": {"text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768), "a": (1, 2, 3)},
    "family that lorabake does not know": {"blocks.0.weight": (3, 3, 3)},
    "without any tensors": {},
    "no autoencoder (VAE": {name: shape for name, shape in WHOLE.items() if not name.startswith(VAE)},
    "no text encoder": {name: shape for name, shape in WHOLE.items() if not name.startswith(TEXT)},
    "do not fit": {**WHOLE, ATTENTION: (320, 640)},
}


@pytest.mark.parametrize("words", OTHERS)
def test_everything_else_is_refused_by_its_name(tmp_path, words):
    assert words in refusal(header_only(tmp_path / "a.safetensors", OTHERS[words]))


def test_sd2_is_known_by_its_text_width_too(tmp_path):
    assert "Stable Diffusion 2 model" in refusal(header_only(tmp_path / "a.safetensors", {**WHOLE, ATTENTION: (320, 1024)}))


def test_broken_downloads_each_have_their_sentence(tmp_path):
    path = tmp_path / "a.safetensors"
    assert "no such file" in refusal(path)
    path.write_bytes(b"")
    assert "empty (0 bytes)" in refusal(path)
    path.write_bytes(b"\n<!DOCTYPE html><html><head><title>Sign in</title></head></html>")
    assert "web page (HTML)" in refusal(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    assert "Git LFS pointer" in refusal(path)
    path.write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(64))
    assert "GGUF" in refusal(path)
    whole = header_only(path, WHOLE).stat().st_size
    with path.open("r+b") as file:
        file.truncate(whole // 2)
    message = refusal(path)
    assert f"header says {whole} bytes, the file has {whole // 2}" in message and "download it again" in message
    with path.open("r+b") as file:
        file.truncate(100)
    assert "cut short" in refusal(path)
    header_only(path, WHOLE)
    with path.open("ab") as file:
        file.write(b"tail")
    assert "4 bytes too many" in refusal(path)


@pytest.mark.parametrize("length", [0, 1, 2**25, 2**40, 2**63, 2**64 - 1])
def test_absurd_header_lengths_are_not_believed(tmp_path, length):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}" + bytes(100))
    assert "bytes" in refusal(path)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        3,
        {"dtype": "F16", "shape": [2], "data_offsets": [0]},
        {"dtype": "F16", "shape": [2], "data_offsets": [0, 2]},
        {"dtype": "F16", "shape": [-1, -2], "data_offsets": [0, 4]},
        {"dtype": "X9", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F16", "shape": [10**30], "data_offsets": [0, 2 * 10**30]},
        {"dtype": "F16", "shape": [True, 2], "data_offsets": [0, 4]},
    ],
)
def test_entries_that_make_no_sense(tmp_path, entry):
    path = tmp_path / "a.safetensors"
    raw = json.dumps({"x": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(4))
    assert "makes no sense" in refusal(path)


def test_a_header_of_nested_brackets_is_no_crash(tmp_path):
    path = tmp_path / "a.safetensors"
    raw = b"[" * 200_000
    path.write_bytes(struct.pack("<Q", len(raw)) + raw)
    assert "not JSON" in refusal(path)


class Payload:
    """Would write a file if it were unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"echo caught > {self.marker}",)


def test_a_pickle_with_code_is_refused_as_unknown_and_not_run(tmp_path):
    torch = pytest.importorskip("torch")
    marker, path = tmp_path / "marker", tmp_path / "model.ckpt"
    for legacy in (False, True):
        torch.save({"state_dict": {"x": Payload(marker)}}, path, _use_new_zipfile_serialization=not legacy)
        message = refusal(path)
        assert f"{os.system.__module__}.system" in message and "does not know" in message and "malicious" not in message
        assert not marker.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_ckpt_is_recognised_from_its_pickle(tmp_path, legacy):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.ckpt"
    small = {name: torch.zeros(1, dtype=torch.float16).expand(shape) for name, shape in WHOLE.items()}
    torch.save({"state_dict": small, "global_step": 7}, path, _use_new_zipfile_serialization=not legacy)
    base = identify(path)
    assert (base.family, base.format, base.resolution) == ("sd1", "ckpt", None)


def test_zip_archives_that_are_no_models(tmp_path):
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.safetensors", b"abc")
    message = refusal(path)
    assert "zip archive, not a model" in message and "model.safetensors" in message
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    assert "protected by a password" in refusal(path)


def test_a_raw_pickle_and_a_truncated_ckpt(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.ckpt"
    path.write_bytes(pickle.dumps({"a": 1}))
    assert "not one that PyTorch wrote" in refusal(path)
    torch.save({"x": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    assert "was cut short" in refusal(path)


FUZZ = """
import random, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (400 * 2**20, 400 * 2**20))
sys.path.insert(0, sys.argv[1])
from lorabake import modelfile
from lorabake.errors import UserError
folder, rng, refused = Path(sys.argv[2]), random.Random(5), 0
for number in range(600):
    source = folder / ("seed.safetensors" if number % 2 else "seed.ckpt")
    raw = bytearray(source.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 8))):
        raw[rng.randrange(min(len(raw), 1500))] = rng.choice((0, 255, rng.randrange(256), ord("r"), ord("j"), 0x8d, 0x8e))
    path = folder / "mutant"
    path.write_bytes(raw)
    try:
        modelfile.read_contents(path)
    except UserError:
        refused += 1
print(refused)
"""


@pytest.mark.skipif(os.name == "nt", reason="limits memory with the resource module, which Windows lacks")
def test_fuzzed_files_are_refused_within_400_mib(tmp_path):
    torch = pytest.importorskip("torch")
    header_only(tmp_path / "seed.safetensors", {f"blocks.{n}.weight": (4, 4) for n in range(20)})
    torch.save({"state_dict": {f"blocks.{n}.weight": torch.zeros(4, 4) for n in range(20)}}, tmp_path / "seed.ckpt")
    done = subprocess.run([sys.executable, "-c", FUZZ, str(PY), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 300


def test_a_memo_index_of_four_billion_reserves_nothing(tmp_path):
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}r\xff\xff\xff\xff.")
    assert pickles.outline(path).shapes == {}


def test_reading_a_header_of_four_gigabytes_is_quick_and_torch_stays_out(tmp_path):
    path = header_only(tmp_path / "big.safetensors", {**WHOLE, f"{UNET}big": (2**31 if os.name != "nt" else 2**20,)})
    code = f"""
import sys, time
sys.path.insert(0, {str(PY)!r})
from pathlib import Path
from lorabake import families, networks
began = time.perf_counter()
families.identify(Path({str(path)!r}))
print(time.perf_counter() - began, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, torch_loaded = done.stdout.split()
    assert float(seconds) < 0.5 and torch_loaded == "False"


def test_diffusers_folders(tmp_path):
    folder = tmp_path / "model"
    for part in modelfile.PARTS:
        (folder / part).mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}', encoding="utf-8")
    header_only(folder / "vae" / "diffusion_pytorch_model.safetensors", {"decoder.conv_in.weight": (8, 4, 3, 3)})
    header_only(folder / "text_encoder" / "model.safetensors", {"text_model.final_layer_norm.weight": (768,)})
    assert "no weights (.safetensors or .bin) in unet/" in refusal(folder)
    unet = {"conv_in.weight": (320, 4, 3, 3), "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight": (8, 768)}
    header_only(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors", unet)
    base = identify(folder)
    assert (base.family, base.kind, base.format) == ("sd1", "folder", "diffusers")
    header_only(folder / "unet" / "diffusion_pytorch_model.safetensors", {**unet, "conv_in.weight": (320, 9, 3, 3)})
    assert "inpainting" in refusal(folder)
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}', encoding="utf-8")
    assert "Stable Diffusion XL" in refusal(folder)
    (folder / "model_index.json").write_text("{", encoding="utf-8")
    assert "not JSON" in refusal(folder)


def test_a_folder_that_is_no_model_names_the_file_inside(tmp_path):
    assert "not a Diffusers model" in refusal(tmp_path)
    header_only(tmp_path / "real.safetensors", WHOLE)
    assert "real.safetensors" in refusal(tmp_path)


def test_sharded_parts_are_found_whole(tmp_path):
    (tmp_path / "a-00001.safetensors").write_bytes(b"")
    (tmp_path / "a-00002.safetensors").write_bytes(b"")
    index = {"weight_map": {"x": "a-00002.safetensors", "y": "a-00001.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert [file.name for file in modelfile.part_files(tmp_path)] == ["a-00001.safetensors", "a-00002.safetensors"]


def test_pocket_is_a_word():
    assert locate("pocket").name == "pocket.safetensors" and locate("x/pocket") == Path("x/pocket")


def test_rows_name_modules_that_exist():
    rows = [row.module for row in FAMILIES.values()] + [row.module for row in NETWORKS.values()]
    for module in rows:
        assert (PY / Path(*module.split("."))).with_suffix(".py").exists(), module
    assert all(name == row.name for name, row in (FAMILIES | NETWORKS).items())

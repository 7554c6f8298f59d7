"""`lora.py merge` as it is typed: results, records, refusals; killed, and on a full disk."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import lora_files
import tiny
from lorabake import lora_merge, lora_words, paths, sampler
from lorabake.attach import apply_file
from lorabake.device import Device
from lorabake.errors import DiskFull, UsageError, UserError
from lorabake.families import FAMILIES, identify, locate, sd1
from lorabake.plan_prompts import Prompt

SCRIPT = Path(__file__).parents[1] / "py" / "lora.py"
POCKET = locate("pocket")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny base and two LoRAs for it."""
    made = tmp_path_factory.mktemp("merge")
    layers = lora_files.layers_of(tiny.sd1_file(made, name="base.safetensors"), conv=True)
    words = {"modelspec.trigger_phrase": "junwool", "modelspec.title": "The style"}
    lora_files.write(made / "style.safetensors", layers, metadata=lora_files.METADATA | words)
    lora_files.write(made / "hair.safetensors", layers[6:], rank=3, seed=2)
    return made


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)


def merge(*words):
    return lora_merge.main(lora_words.parse(None, ["merge", *map(str, words)]))


def metadata(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def test_into_a_checkpoint(tmp_path, capsys):
    out = tmp_path / "baked in.safetensors"
    assert merge("style.safetensors=0.8,0.3", "hair.safetensors", "--into", "base.safetensors", "--out", out) == 0
    caught = capsys.readouterr()
    assert "baked in.safetensors: " in caught.out and " tensors changed, the rest byte for byte, in " in caught.out
    assert (
        "base.safetensors: checkpoint of Stable Diffusion 1" in caught.err
        and "weight 0.8 in the U-Net, 0.3 in the text encoder" in caught.err
    )
    found = metadata(out)
    assert found["modelspec.title"] == "baked in" and found["modelspec.merged_from"] == "base, The style, hair"
    assert found["modelspec.resolution"] == "128x128", "the base's own words stay"
    record = json.loads(found["lorabake_merge"])
    assert record["base"]["file"] == "base.safetensors" and len(record["base"]["sha256"]) == 64
    assert [(lora["file"], lora["unet"], lora["text_encoder"]) for lora in record["loras"]] == [
        ("style.safetensors", 0.8, 0.3),
        ("hair.safetensors", 1.0, 1.0),
    ]
    again = tmp_path / "again" / "baked in.safetensors"
    merge("style.safetensors=0.8,0.3", "hair.safetensors", "--into", "base.safetensors", "--out", again)
    assert again.read_bytes() == out.read_bytes(), "the same input, the same bytes"


def test_into_one_lora(tmp_path, capsys):
    out = tmp_path / "both.safetensors"
    assert merge("style.safetensors=0.8", "hair.safetensors=0.5", "--out", out) == 0
    assert "rank 4 to 7, rank 7 of the 3x3 layers, fp16" in capsys.readouterr().out
    found = metadata(out)
    assert (found["ss_network_dim"], found["ss_network_alpha"], found["ss_network_module"]) == ("Dynamic", "Dynamic", "networks.lora")
    assert json.loads(found["ss_network_args"]) == {"conv_dim": "7", "conv_alpha": "7.0"} and found["ss_base_model_version"] == "sd_v1"
    assert found["modelspec.trigger_phrase"] == "junwool" and found["modelspec.merged_from"] == "The style, hair"
    assert found["modelspec.architecture"] == "stable-diffusion-v1/lora" and found["modelspec.date"] and len(found["sshs_model_hash"]) == 64
    assert {tensor.dtype for tensor in load_file(out).values()} == {torch.float16}


def test_the_merged_lora_is_the_sum_of_both_in_a_checkpoint(tmp_path):
    """Merged and then baked in, or both baked in: the same."""
    merge("style.safetensors=0.8", "hair.safetensors=-0.5", "--out", tmp_path / "both.safetensors", "--precision", "fp32")
    merge(tmp_path / "both.safetensors", "--into", "base.safetensors", "--precision", "fp32", "--out", tmp_path / "a.safetensors")
    words = ["style.safetensors=0.8", "hair.safetensors=-0.5"]
    merge(*words, "--into", "base.safetensors", "--precision", "fp32", "--out", tmp_path / "b.safetensors")
    first, second = load_file(tmp_path / "a.safetensors"), load_file(tmp_path / "b.safetensors")
    assert all(torch.allclose(first[name], tensor, atol=1e-6) for name, tensor in second.items())
    record = json.loads(metadata(tmp_path / "a.safetensors")["lorabake_merge"])
    assert [lora["file"] for lora in record["loras"][0]["lorabake_merge"]["loras"]] == ["style.safetensors", "hair.safetensors"]


def test_a_rank_says_what_it_keeps(tmp_path, capsys):
    assert merge("style.safetensors", "hair.safetensors", "--rank", 2, "--out", tmp_path / "small.safetensors") == 0
    caught = capsys.readouterr()
    assert "U-Net: " in caught.err and "% of the norm of the sum is kept" in caught.err and "rank 2, rank 2 of the 3x3" in caught.out
    assert json.loads(metadata(tmp_path / "small.safetensors")["ss_network_args"])["conv_dim"] == "2"


@pytest.mark.parametrize(("precision", "dtype"), [("keep", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_of_a_merged_lora(tmp_path, precision, dtype):
    merge("style.safetensors", "--precision", precision, "--out", tmp_path / "x.safetensors")
    assert {tensor.dtype for tensor in load_file(tmp_path / "x.safetensors").values()} == {dtype}


def test_ema_is_told(tmp_path, capsys):
    from safetensors.torch import save_file

    save_file(load_file("base.safetensors") | {"model_ema.x": torch.ones(2)}, tmp_path / "ema.safetensors")
    merge("style.safetensors", "--into", tmp_path / "ema.safetensors", "--out", tmp_path / "out.safetensors")
    assert "the averaged copy (EMA) in the base is left as it is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["style.safetensors", "--out", "x.ckpt"], "does not end in .safetensors"),
        (["style.safetensors", "--into", "base.safetensors", "--rank", "4", "--out", "x.safetensors"], "a checkpoint has none"),
        (["style.safetensors", "--conv-rank", "4", "--out", "x.safetensors"], "--conv-rank needs --rank"),
        (["style.safetensors=x", "--out", "x.safetensors"], '"x" is no weight'),
    ],
)
def test_words_that_do_not_go_together(words, message):
    with pytest.raises(UsageError, match=message):
        merge(*words)


def test_a_change_too_small_for_the_precision_is_refused(tmp_path):
    with pytest.raises(UserError, match="no effect"):
        merge("style.safetensors=1e-20", "--out", tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())
    assert merge("style.safetensors=1e-20", "--precision", "fp32", "--out", tmp_path / "x.safetensors") == 0


def test_no_file_is_written_over():
    before = Path("hair.safetensors").read_bytes()
    with pytest.raises(UserError, match="already a file"):
        merge("style.safetensors", "--out", "hair.safetensors")
    assert Path("hair.safetensors").read_bytes() == before


def test_what_is_drawn_is_the_same_as_with_the_lora_attached(tmp_path):
    """The pocket model, sampled: a merged fp32 checkpoint against the LoRA hung on."""
    lora = lora_files.write(tmp_path / "x.safetensors", lora_files.layers_of(POCKET, conv=True), size=0.09)
    out = tmp_path / "merged.safetensors"
    merge(f"{lora}=0.8,0.5", "--into", "pocket", "--precision", "fp32", "--out", out)
    prompt = Prompt("red apple, thick outline", "", 64, 64, 7, 5, 5.0, "dpm++_2m")

    def drawn(path, hang=False):
        models = sd1.load(identify(path), dtype=torch.float32, device="cpu")
        if hang:
            apply_file(models, sd1, lora, 0.8, 0.5)
        painter = sampler.Painter(models, FAMILIES["sd1"], sd1, Device(torch.device("cpu"), "fp32"), 1)
        return np.asarray(next(iter(sampler.sample(painter, [replace(prompt)]))), dtype=float)

    bare, hung, baked = drawn(POCKET), drawn(POCKET, hang=True), drawn(out)
    assert np.abs(hung - bare).mean() > 5, "a LoRA that shows"
    assert np.abs(hung - baked).max() <= 1 and np.abs(hung - baked).mean() < 0.01, "in steps of 255"


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "free_bytes", lambda _: 1000)
    with pytest.raises(DiskFull):
        merge("style.safetensors", "--into", "base.safetensors", "--out", tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


FULL_LATER = """
import errno, os, sys
sys.path.insert(0, sys.argv[1])
from lorabake import errors, lora_merge, lora_words
write, num = os.write, 0
def filling(number, data):
    global num
    if number > 2 and len(data) > 100:  # not the console
        num += 1
        if num > 40:
            raise OSError(errno.ENOSPC, "No space left on device")
    return write(number, data)
os.write = filling
errors.run(lambda: lora_merge.main(lora_words.parse(None, sys.argv[2:])))
"""


def test_a_disk_that_fills_up_is_exit_code_12(tmp_path):
    words = ["merge", "style.safetensors", "--into", "base.safetensors", "--out", str(tmp_path / "x.safetensors")]
    done = subprocess.run([sys.executable, "-c", FULL_LATER, str(SCRIPT.parent), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 12 and "the disk is full" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
def test_killed_in_the_middle_leaves_no_file_of_that_name(tmp_path):
    """Stopped at the first byte that is written, then killed."""
    slow = FULL_LATER.replace('raise OSError(errno.ENOSPC, "No space left on device")', "import time; time.sleep(60)")
    words = ["merge", "style.safetensors", "--into", "base.safetensors", "--out", str(tmp_path / "x.safetensors")]
    process = subprocess.Popen([sys.executable, "-c", slow, str(SCRIPT.parent), *words], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith("_tmp-"), "a name that every folder scan passes over"
    assert merge(*words[1:]) == 0 and Path(words[-1]).exists(), "and the next run is not in its way"


def test_the_script(tmp_path):
    """Weights in a process of its own, exit codes included."""

    def run(*words):
        environment = os.environ | {"LORABAKE_PYTHON": "current"}
        return subprocess.run([sys.executable, str(SCRIPT), "merge", *words], capture_output=True, text=True, env=environment, check=False)

    out = tmp_path / "x.safetensors"
    done = run("style.safetensors=0.5", "--out", str(out))
    assert done.returncode == 0 and out.exists() and str(out) in done.stdout
    assert run("style.safetensors=0.5", "--out", str(out)).returncode == 1

"""lora_info.py and what it prints: golden reports, hashes, every kind of file, and metadata that a fuzzer made."""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from safetensors.torch import save_file

import finished
import foreign
import sd1_header
import tiny
from lorabake import lora_info, lora_info_text, lora_words, model_facts, modelfile
from lorabake.errors import UserError
from lorabake.families import layers
from lorabake.paths import MODELS

GOLDEN = Path(__file__).parent / "golden" / "info"
POCKET = MODELS / "pocket.safetensors"


@pytest.fixture(autouse=True)
def in_utc(monkeypatch):
    """Dates of the goldens are local ones."""
    monkeypatch.setenv("TZ", "UTC")
    if hasattr(time, "tzset"):
        time.tzset()


def golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("LORABAKE_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == path.read_text(encoding="utf-8")


def run(capsys, *words: str) -> tuple[int, str]:
    code = lora_info.main(lora_words.parse(None, ["info", *words]))
    return code, capsys.readouterr().out


def shown(path: Path, **options) -> str:
    text = lora_info_text.text(lora_info.facts_of(path, **options)).replace(str(path.parent), "FOLDER")
    # Hashes of random tensors differ between versions of torch, norms in their last digit.
    text = re.sub(r"(SHA-256           |AutoV[23] |stored hash       )[0-9a-f]+", r"\1HASH", text)
    return re.sub(r"(text encoder|U-Net) 0\.\d+", r"\1 NUMBER", text)


def test_one_of_ours(tmp_path):
    golden("ours.txt", shown(finished.make(tmp_path)[0]))


def test_one_of_the_reference_trainer(tmp_path):
    golden("sdxl.txt", shown(foreign.write(tmp_path / "anna.safetensors", foreign.sdxl_shapes(), foreign.SDXL), fast=True))


def test_a_spoiled_one_without_metadata(tmp_path):
    names = [name for name, layer in layers.full_size("sd1").items() if not layer.conv][:3]
    tensors = {}
    for index, name in enumerate(names):
        up = torch.full((768, 2), float("nan")) if index == 1 else torch.zeros(768, 2)
        tensors |= {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": torch.ones(2, 768), f"{name}.alpha": torch.tensor(8.0)}
    tensors["lora_unet_nothing.hada_w1_a"] = torch.ones(2, 2)
    save_file(tensors, tmp_path / "bad.safetensors", {"sshs_model_hash": "0" * 64})
    golden("spoiled.txt", shown(tmp_path / "bad.safetensors"))


def test_diffusers_names_come_with_advice(tmp_path):
    shapes = {"unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight": (2, 1280)}
    shapes |= {"unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.weight": (1280, 2)}
    text = lora_info_text.text(lora_info.facts_of(foreign.write(tmp_path / "a.safetensors", shapes, {}), fast=True))
    assert "A1111             nothing" in text and "diffusers         yes, all 2 tensors" in text and "python py/convert.py" in text


def test_no_effect_at_all(tmp_path):
    path = foreign.write(tmp_path / "a.safetensors", foreign.sdxl_shapes(most=4), {})
    facts = lora_info.facts_of(path)
    assert "it has no effect at all: every layer adds nothing" in facts["warnings"]
    assert facts["weights"]["no_effect"]["count"] == 4 and facts["weights"]["sound"]


def test_hashes_are_those_of_web_uis(tmp_path):
    path = finished.make(tmp_path)[0]
    data, start = path.read_bytes(), modelfile.read_header(path).data_start
    found = lora_info.facts_of(path)["hashes"]
    whole, inner = hashlib.sha256(data).hexdigest(), hashlib.sha256(data[start:]).hexdigest()
    assert (found["sha256"], found["auto_v2"], found["auto_v3"]) == (whole, whole[:10], inner[:12])
    assert found["auto_v1"] == hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]
    assert found["sshs_model_hash"] == inner and found["agrees"] is True


def test_alphas_come_from_the_tensors(tmp_path):
    tensors = {"lora_unet_mid_block_attentions_0_proj_in.alpha": torch.tensor(3, dtype=torch.int64)}
    tensors |= {f"lora_unet_mid_block_attentions_0_proj_in.lora_{way}.weight": torch.ones(4, 4) for way in ("up", "down")}
    tensors |= {"lora_unet_mid_block_resnets_0_conv1.lora_down.weight": torch.ones(2, 4, 3, 3)}
    tensors |= {"lora_unet_mid_block_resnets_0_conv1.lora_up.weight": torch.ones(4, 2, 1, 1)}
    tensors |= {"lora_unet_mid_block_resnets_0_conv1.alpha": torch.tensor(0.5)}
    save_file(tensors, tmp_path / "a.safetensors")
    network = lora_info.facts_of(tmp_path / "a.safetensors")["network"]
    assert (network["rank"], network["conv_rank"], network["alpha"], network["conv_alpha"]) == ([4], [2], [3], [0.5])


def test_json(tmp_path, capsys):
    path = finished.make(tmp_path)[0]
    code, out = run(capsys, "--json", str(path))
    facts = json.loads(out)
    assert code == 0 and facts["kind"] == "lora" and facts["network"]["rank"] == [4]
    assert facts["loads"]["programs"]["A1111"] == {"loaded": facts["num_tensors"], "of": facts["num_tensors"]}
    assert facts["words"]["on_most"] == [["blocks", 4]] and facts["base"]["legacy_hash"] == "1234abcd"


def test_several_files_and_a_broken_one(tmp_path, capsys):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"<html>")
    code, out = run(capsys, "--fast", str(POCKET), str(broken))
    assert code == 1 and "checkpoint of Stable Diffusion 1" in out
    code, out = run(capsys, "--fast", "--json", str(broken), str(POCKET))
    assert code == 1 and [set(report) >= {"error"} for report in json.loads(out)] == [True, False]
    for wrong in (broken, tmp_path / "nothing.safetensors", tmp_path):
        with pytest.raises(UserError) as error:
            run(capsys, str(wrong))
        assert "base_model" not in str(error.value)


def test_a_checkpoint_and_what_is_in_it(tmp_path):
    shapes = sd1_header.small() | {"model_ema.decay": (), "betas": (1000,), "optimizer.state.0": (5, 5), "v_pred": ()}
    path = sd1_header.write(tmp_path / "base.safetensors", shapes, {"modelspec.title": "Base"})
    facts = lora_info.facts_of(path)
    assert facts["kind"] == "checkpoint" and facts["prediction"] == "v"
    assert facts["parts"]["other"]["first"] == ["optimizer.state.0"]
    text = lora_info_text.text(facts)
    assert "EMA copy" in text and "25 numbers in 1 tensor" in text and "v (v-prediction)" in text and "VAE baked in" not in text


def test_a_checkpoint_without_vae(tmp_path):
    shapes = {name: shape for name, shape in sd1_header.small().items() if not name.startswith("first_stage_model.")}
    assert "VAE baked in      no" in lora_info_text.text(
        lora_info.facts_of(sd1_header.write(tmp_path / "a.safetensors", shapes), fast=True)
    )


@pytest.mark.parametrize("fast", [False, True])
def test_pickles(tmp_path, fast):
    torch.save({"string_to_param": {"*": torch.ones(3, 768)}, "name": "thing"}, tmp_path / "thing.pt")
    facts = lora_info.facts_of(tmp_path / "thing.pt", fast=fast)
    assert facts["kind"] == "embedding" and facts["vectors"] == [{"count": 3, "width": 768}]
    torch.save({"state_dict": dict(tiny._tensors(0))}, tmp_path / "base.ckpt")
    facts = lora_info.facts_of(tmp_path / "base.ckpt", fast=fast)
    assert facts["kind"] == "checkpoint" and facts["precision"] == "fp16"
    assert fast or (facts["hashes"]["sha256"] and "auto_v3" not in facts["hashes"])


def test_a_vae_and_a_folder(tmp_path):
    save_file(
        {"decoder.conv_in.weight": torch.ones(8, 4, 3, 3), "encoder.conv_in.weight": torch.ones(8, 3, 3, 3)}, tmp_path / "v.safetensors"
    )
    text = lora_info_text.text(lora_info.facts_of(tmp_path / "v.safetensors"))
    assert text.splitlines()[1].startswith("  VAE") and "4 channels" in text
    (tmp_path / "m" / "unet").mkdir(parents=True)
    (tmp_path / "m" / "scheduler").mkdir()
    (tmp_path / "m" / "scheduler" / "scheduler_config.json").write_text('{"prediction_type": "v_prediction"}', encoding="utf-8")
    (tmp_path / "m" / "model_index.json").write_text("{}", encoding="utf-8")
    save_file({"conv_in.weight": torch.ones(8, 4, 3, 3)}, tmp_path / "m" / "unet" / "diffusion_pytorch_model.safetensors")
    facts = lora_info.facts_of(tmp_path / "m")
    assert facts["format"] == "diffusers" and facts["prediction"] == "v" and "hashes" not in facts and facts["weights"]["sound"]


LORA = foreign.sdxl_shapes(most=3)


@given(foreign.METADATA)
@settings(deadline=None, max_examples=300)
def test_any_metadata_can_be_told(metadata):
    contents = modelfile.Contents("safetensors", LORA, 10, metadata, dtypes=dict.fromkeys(LORA, "F16"))
    facts = model_facts.of_file(Path("x.safetensors"), contents)
    facts["warnings"] = lora_info.warnings(facts)
    text = lora_info_text.text(facts)
    assert all(line.isprintable() for line in text.split("\n"))
    assert json.loads(json.dumps(lora_info.as_json(facts), allow_nan=False))["kind"] == "locon" or facts["kind"] == "lora"


@given(foreign.METADATA)
@settings(deadline=None, max_examples=30)
def test_any_file_can_be_told(metadata):
    with tempfile.TemporaryDirectory() as folder:
        path = foreign.write(Path(folder) / "a.safetensors", LORA, metadata)
        with contextlib.suppress(UserError):  # some texts make a header that no program reads
            lora_info_text.text(lora_info.facts_of(path))


def test_fast_leaves_torch_out(tmp_path):
    path = foreign.write(tmp_path / "a.safetensors", foreign.sdxl_shapes(), foreign.SDXL)
    code = (
        "import sys; from lorabake import lora_info, lora_words\n"
        f"lora_info.main(lora_words.parse(None, ['info', '--fast', {str(path)!r}]))\n"
        "assert not {'torch', 'numpy', 'diffusers'} & set(sys.modules), 'too much'"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(lora_info.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "anna_xl" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (
            {"lorabake_extract": '{"base": {"name": "a.ckpt"}, "tuned": {"name": "b\\u0007.ckpt"}}'},
            "the difference of b\\x07.ckpt and a.ckpt",
        ),
        (
            {"lorabake_merge": '{"loras": [{"file": "a", "unet": 1.0, "text_encoder": 0.5}, {"file": "b", "unet": 2, "text_encoder": 2}]}'},
            "a at 1.0 and 0.5, b at 2",
        ),
        ({"lorabake_merge": '{"base": {"file": "x"}, "loras": [3, {"file": "a", "unet": 1, "text_encoder": 1}]}'}, "x, a at 1"),
        ({"lorabake_merge": "[1", "lorabake_extract": "3"}, ""),
        ({"lorabake_extract": '{"base": 3, "tuned": []}'}, "the difference of  and "),
    ],
)
def test_what_our_own_tools_made_it_from(metadata, words):
    assert model_facts.made_from(metadata) == words

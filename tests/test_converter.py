"""py/convert.py as people use it: every kind of file, what is refused and how, nothing lost, the same bytes each time."""

import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file

import loras
import tiny
from lorabake import conversion, convert_plan, convert_words, converter, hashes, tensor_files
from lorabake.errors import UsageError, UserError

ROOT = Path(__file__).parents[1]


def convert(*words):
    return converter.main(convert_words.parse(None, [str(word) for word in words]))


@pytest.fixture
def checkpoint():
    """A whole small SD 1 checkpoint with what old ones carry beside the weights."""
    tensors = {name: tensor.float() for name, tensor in tiny._tensors(0).items()}
    tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    tensors["alphas_cumprod"] = torch.linspace(0.9991, 0.0047, 1000)
    return tensors


def same(first, second):
    return {*first} == {*second} and all(
        first[name].dtype == second[name].dtype and torch.equal(first[name], second[name]) for name in first
    )


def metadata_of(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_keeps_every_value(tmp_path, checkpoint, legacy, capsys):
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": checkpoint, "epoch": 3}, path, _use_new_zipfile_serialization=not legacy)
    before = path.read_bytes()
    assert convert(path) == 0
    assert same(load_file(tmp_path / "model.safetensors"), checkpoint) and path.read_bytes() == before
    told = capsys.readouterr().out
    assert "checkpoint of Stable Diffusion 1, fp32" in told and "1 converted" in told
    assert metadata_of(tmp_path / "model.safetensors") == {"format": "pt"}
    first = (tmp_path / "model.safetensors").read_bytes()
    assert convert(path) == 0 and "1 already there" in capsys.readouterr().out
    (tmp_path / "model.safetensors").unlink()
    assert convert(path) == 0 and (tmp_path / "model.safetensors").read_bytes() == first


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_half_precision_spares_whole_numbers_and_the_noise_schedule(tmp_path, checkpoint, precision, dtype):
    torch.save(checkpoint, tmp_path / "model.ckpt")
    assert convert(tmp_path / "model.ckpt", "--precision", precision) == 0
    found = load_file(tmp_path / "model.safetensors")
    kept = {"alphas_cumprod", "cond_stage_model.transformer.text_model.embeddings.position_ids"}
    assert {name for name, tensor in found.items() if tensor.dtype != dtype} == kept
    assert all(torch.equal(tensor, checkpoint[name].to(tensor.dtype)) for name, tensor in found.items())


def test_training_baggage_is_left_out_and_the_averaged_copy_unless_asked_for(tmp_path, checkpoint, capsys):
    averaged = {"model_ema." + name.replace(".", ""): tensor for name, tensor in checkpoint.items() if name.startswith("model.")}
    states = [{"state": {0: {"exp_avg": torch.zeros(4)}}}]
    torch.save({"state_dict": checkpoint | averaged, "optimizer_states": states, "callbacks": {}}, tmp_path / "model.ckpt")
    assert convert(tmp_path / "model.ckpt") == 0
    assert same(load_file(tmp_path / "model.safetensors"), checkpoint)
    assert f"its averaged copy ({len(averaged)} tensors) is left out" in capsys.readouterr().out
    out = tmp_path / "all.safetensors"
    assert convert(tmp_path / "model.ckpt", "--keep-ema", "--out", out) == 0 and same(load_file(out), checkpoint | averaged)
    torch.save({"model.diffusion_model.x": torch.ones(3), "optimizer": {"state": {"exp_avg": torch.ones(3)}}}, tmp_path / "flat.pt")
    assert convert(tmp_path / "flat.pt") == 0 and {*load_file(tmp_path / "flat.safetensors")} == {"model.diffusion_model.x"}
    assert convert(out) == 0 and "it is so already" in capsys.readouterr().out  # an averaged copy is no reason for a second file
    assert convert(out, "--precision", "fp16") == 0 and {*load_file(tmp_path / "all-fp16.safetensors")} == {*checkpoint}


def test_tensors_that_share_memory_or_lie_turned_are_written_out(tmp_path):
    base = torch.randn(600, 700)
    torch.save({"model.diffusion_model.a": base, "model.diffusion_model.b": base, "model.diffusion_model.t": base.t()}, tmp_path / "m.ckpt")
    assert convert(tmp_path / "m.ckpt") == 0
    found = load_file(tmp_path / "m.safetensors")
    assert torch.equal(found["model.diffusion_model.b"], base) and torch.equal(found["model.diffusion_model.t"], base.t())


def test_a_lora_without_metadata_gets_what_readers_look_for(tmp_path):
    tensors = loras.kohya("sd1", alpha=1.0, num=12)
    torch.save(tensors, tmp_path / "old lora ü.pt")
    assert convert(tmp_path / "old lora ü.pt", "--precision", "fp16") == 0
    path = tmp_path / "old lora ü.safetensors"
    assert same(load_file(path), {name: tensor.half() for name, tensor in tensors.items()})
    found = metadata_of(path)
    assert (found["ss_network_dim"], found["ss_network_alpha"], found["ss_base_model_version"]) == ("2", "1.0", "sd_v1")
    assert found["ss_network_module"] == "networks.lora" and "modelspec.date" not in found
    # the two hashes by the rule of the reference: over what the library makes of the same tensors with the ss_ keys alone
    ours = {key: value for key, value in found.items() if key.startswith("ss_")}
    rule = hashes.lora_hashes(save(load_file(path), ours))
    assert found["sshs_model_hash"] == rule["sshs_model_hash"] == hashes.sha256_file(path, skip=data_start(path))


def test_the_legacy_hash_is_that_of_a_file_over_one_megabyte(tmp_path):
    tensors = loras.kohya("sd1", rank=2)
    save_file(tensors, tmp_path / "a.safetensors", {"ss_network_module": "networks.lora", "other": "x"})
    assert convert(tmp_path / "a.safetensors", "--precision", "bf16") == 0
    found = metadata_of(tmp_path / "a-bf16.safetensors")
    window = tensor_files.header_bytes(specs(tensors, torch.bfloat16), {"ss_network_module": "networks.lora"}) + data(tensors)
    window = window[hashes.LEGACY_OFFSET :][: hashes.LEGACY_BYTES]
    assert (
        len(window) == hashes.LEGACY_BYTES and found["sshs_legacy_hash"] == hashlib.sha256(window).hexdigest()[:8] and found["other"] == "x"
    )


def specs(tensors, dtype):
    return {name: tensor_files.Spec(dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def data(tensors):
    return b"".join(bytes(tensor_files.raw(tensors[name].bfloat16())) for name in sorted(tensors))


def data_start(path):
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def test_embeddings_upscalers_and_vaes(tmp_path):
    vector = torch.randn(3, 768)
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": {"*": vector}, "name": "x"}, tmp_path / "emb.pt")
    first = torch.nn.ParameterDict({"*": torch.nn.Parameter(vector)})  # as the first script wrote it
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": first}, tmp_path / "first.pt")
    torch.save({"<cat>": vector[0]}, tmp_path / "learned_embeds.bin")
    torch.save(
        {"params_ema": {"conv_first.weight": torch.ones(4, 3, 3, 3), "body.0.rdb1.conv1.weight": torch.ones(2)}}, tmp_path / "up.pth"
    )
    torch.save({"state_dict": {"decoder.conv_in.weight": torch.ones(4, 4, 3, 3), "loss.logvar": torch.ones(1)}}, tmp_path / "vae.pt")
    assert convert(tmp_path) == 0
    assert same(load_file(tmp_path / "emb.safetensors"), {"emb_params": vector})
    assert same(load_file(tmp_path / "first.safetensors"), {"emb_params": vector})
    assert same(load_file(tmp_path / "learned_embeds.safetensors"), {"emb_params": vector[0]})
    assert {*load_file(tmp_path / "up.safetensors")} == {"conv_first.weight", "body.0.rdb1.conv1.weight"}
    assert {*load_file(tmp_path / "vae.safetensors")} == {"decoder.conv_in.weight"}


class Calls:
    def __reduce__(self):
        return os.system, ("echo this must never run > ran.txt",)


def bad_files(folder):
    """(name, words of its sentence) of files that people have under a model's name."""
    torch.save({"x": torch.zeros(2000)}, folder / "whole.ckpt")
    whole = (folder / "whole.ckpt").read_bytes()
    (folder / "whole.ckpt").unlink()
    (folder / "cut.ckpt").write_bytes(whole[:4000])
    (folder / "zero.ckpt").write_bytes(b"")
    (folder / "page.ckpt").write_text("<!DOCTYPE html><html><body>please log in", encoding="utf-8")
    raw = bytearray(whole)
    for place in (6, raw.index(b"PK\x01\x02") + 8):
        raw[place] |= 1
    (folder / "locked.ckpt").write_bytes(raw)
    torch.save({"x": torch.zeros(3), "y": Calls()}, folder / "code.ckpt")
    (folder / "plain.pt").write_bytes(pickle.dumps({"a": Calls()}))
    torch.save([torch.zeros(3, 4)], folder / "list.pt")
    torch.save({768: [{"linear.0.weight": torch.zeros(4, 768)}]}, folder / "hyper.pt")
    torch.save({"state_dict": {}}, folder / "empty.pt")
    torch.save({"optimizer.a": torch.zeros(3)}, folder / "baggage.pt")
    big = {"model.diffusion_model.x.weight": torch.full((2, 2), 1e6)}
    torch.save(big, folder / "huge.ckpt")
    return {
        "cut.ckpt": "cut short",
        "zero.ckpt": "empty (0 bytes)",
        "page.ckpt": "a web page (HTML)",
        "locked.ckpt": "protected by a password",
        "code.ckpt": ".system",
        "plain.pt": "not one that PyTorch wrote",
        "list.pt": "no tensors with names",
        "hyper.pt": "a hypernetwork",
        "empty.pt": "no tensors with names",
        "baggage.pt": "nothing is left",
        "huge.ckpt": "too large for fp16",
    }


def test_each_bad_file_has_its_own_sentence_and_the_good_one_is_converted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sentences = bad_files(tmp_path)
    torch.save({"model.diffusion_model.x": torch.ones(3)}, tmp_path / "zz good.ckpt")
    assert convert(tmp_path, "--precision", "fp16") == 1
    out, err = capsys.readouterr()
    assert f"{len(sentences)} refused, 1 converted" in out and (tmp_path / "zz good.safetensors").is_file()
    for name, words in sentences.items():
        (block,) = [text for text in err.split("refused: ") if str(tmp_path / name) in text]
        assert words in block, name
    assert len({text.splitlines()[0] for text in err.split("refused: ")[1:]}) >= len(sentences) - 2
    assert not (tmp_path / "ran.txt").exists() and len(list(tmp_path.glob("*.safetensors"))) == 1 and not list(tmp_path.glob("_tmp*"))


def test_lightnings_callbacks_are_no_obstacle(tmp_path):
    class ModelCheckpoint:
        pass

    ModelCheckpoint.__module__, ModelCheckpoint.__qualname__ = "pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"
    module = type(sys)("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = ModelCheckpoint
    names = ["pytorch_lightning", "pytorch_lightning.callbacks", module.__name__]
    sys.modules |= {names[0]: type(sys)(names[0]), names[1]: type(sys)(names[1]), names[2]: module}
    try:
        content = {"state_dict": {"model.diffusion_model.x": torch.ones(3)}, "callbacks": {ModelCheckpoint: {"best": torch.tensor(0.5)}}}
        torch.save(content, tmp_path / "old.ckpt")
    finally:
        for name in names:
            del sys.modules[name]
    assert convert(tmp_path / "old.ckpt") == 0 and {*load_file(tmp_path / "old.safetensors")} == {"model.diffusion_model.x"}


def test_nan_and_infinity_stay_what_they_are(tmp_path):
    tensor = torch.tensor([float("nan"), float("inf"), -1.5])
    torch.save({"model.diffusion_model.x": tensor}, tmp_path / "m.ckpt")
    assert convert(tmp_path / "m.ckpt", "--precision", "fp16") == 0
    found = load_file(tmp_path / "m.safetensors")["model.diffusion_model.x"]
    assert found.isnan()[0] and found.isinf()[1] and found[2] == -1.5


def test_another_file_of_the_name_is_left_alone(tmp_path, capsys):
    torch.save({"model.diffusion_model.x": torch.ones(3)}, tmp_path / "m.ckpt")
    torch.save({"model.diffusion_model.x": torch.zeros(3)}, tmp_path / "m.pt")
    (tmp_path / "m.safetensors").write_bytes(b"mine")
    assert convert(tmp_path / "m.ckpt") == 1
    assert (tmp_path / "m.safetensors").read_bytes() == b"mine" and "another file of the name" in capsys.readouterr().err
    (tmp_path / "m.safetensors").unlink()
    assert convert(tmp_path) == 1  # two files, one name
    assert "differs in: model.diffusion_model.x" in capsys.readouterr().err
    assert torch.equal(load_file(tmp_path / "m.safetensors")["model.diffusion_model.x"], torch.ones(3))


def test_places_for_results(tmp_path, capsys):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("in/a.ckpt", "in/deep/b.ckpt", "in/_aside.ckpt"):
        torch.save({"model.diffusion_model.x": torch.ones(3)}, tmp_path / name)
    assert convert(tmp_path / "in", "--dry-run", "--recursive") == 0
    assert "2 would be converted" in capsys.readouterr().out and not list(tmp_path.rglob("*.safetensors"))
    assert convert(tmp_path / "in", "--out", tmp_path / "out", "--recursive") == 0
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.safetensors")} == {
        "out/a.safetensors",
        "out/deep/b.safetensors",
    }
    with pytest.raises(UsageError, match="names one file"):
        convert(tmp_path / "in", "--recursive", "--out", tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="no model file"):
        convert(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        convert(tmp_path / "none.ckpt")
    unet = tmp_path / "model" / "text_encoder"
    unet.mkdir(parents=True)
    (unet / "config.json").write_text("{}", encoding="utf-8")
    torch.save({"text_model.encoder.layers.0.mlp.fc1.weight": torch.ones(8, 2)}, unet / "pytorch_model.bin")
    assert convert(tmp_path / "model", "--recursive") == 0 and (unet / "model.safetensors").is_file()


def test_a_safetensors_file_gets_a_second_only_where_something_changes(tmp_path, capsys):
    save_file({"model.diffusion_model.x": torch.ones(3).half()}, tmp_path / "m.safetensors")
    assert convert(tmp_path / "m.safetensors", "--precision", "fp16") == 0 and "1 already fine" in capsys.readouterr().out
    assert convert(tmp_path / "m.safetensors", "--precision", "fp32") == 0
    assert load_file(tmp_path / "m-fp32.safetensors")["model.diffusion_model.x"].dtype == torch.float32
    with pytest.raises(UserError, match="original's place"):
        made = conversion.Conversion()
        converter.place(converter.Found(tmp_path / "m.safetensors"), None, made, wish(out=tmp_path / "m.safetensors"))


def wish(out):
    return converter.Wish("fp32", "kohya", keep_ema=False, out=out, dry_run=False)


def test_a_folder_of_pictures_is_flattened(tmp_path, capsys):
    Image.new("RGBA", (40, 40), (255, 0, 0, 90)).save(tmp_path / "a.png")
    assert convert(tmp_path, "--dry-run") == 0
    assert "these are pictures" in capsys.readouterr().err and not (tmp_path / "_originals").exists()
    assert convert(tmp_path) == 0 and (tmp_path / "_originals").is_dir()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("answers", "dtype"), [("{}\n\n", torch.float16), ('"{}"\nkeep\n', torch.float32)])
def test_the_dialogue_after_a_right_click(tmp_path, monkeypatch, capsys, answers, dtype):
    torch.save({"model.diffusion_model.x": torch.ones(3)}, tmp_path / "m 1.ckpt")
    monkeypatch.setattr(sys, "stdin", Terminal(answers.format(tmp_path / "m 1.ckpt")))
    assert convert() == 0
    assert "Enter: fp16" in capsys.readouterr().err
    assert load_file(tmp_path / "m 1.safetensors")["model.diffusion_model.x"].dtype == dtype


def test_the_dialogue_without_an_answer(monkeypatch):
    for answers, words in (("\n", "no file was named"), ("x\nfp8\n", "none of the precisions")):
        monkeypatch.setattr(sys, "stdin", Terminal(answers))
        with pytest.raises(UsageError, match=words):
            convert()


def test_what_reads_back_differently_never_gets_its_name(tmp_path, monkeypatch, capsys):
    torch.save({"model.diffusion_model.x": torch.ones(300)}, tmp_path / "m.ckpt")
    real = tensor_files.raw
    monkeypatch.setattr(tensor_files, "raw", lambda tensor: real(tensor * 2))
    assert convert(tmp_path / "m.ckpt") == 1
    assert "reads back differently: model.diffusion_model.x" in capsys.readouterr().err and len(list(tmp_path.iterdir())) == 1


def script(folder, *words):
    environment = {**os.environ, "LORABAKE_PYTHON": "current"}
    return subprocess.Popen([sys.executable, str(ROOT / "py" / "convert.py"), *map(str, words)], cwd=folder, env=environment)


@pytest.mark.skipif(os.name == "nt", reason="kills with SIGKILL")
def test_killed_in_the_middle_nothing_half_stands_under_the_name(tmp_path):
    torch.save({f"model.diffusion_model.t{number}": torch.randn(1024, 2048) for number in range(24)}, tmp_path / "m.ckpt")
    job = script(tmp_path, tmp_path / "m.ckpt")
    until = time.monotonic() + 60
    while not list(tmp_path.glob("_tmp-*")) and job.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert not (tmp_path / "m.safetensors").exists() or len(load_file(tmp_path / "m.safetensors")) == 24
    assert convert(tmp_path / "m.ckpt") == 0 and len(load_file(tmp_path / "m.safetensors")) == 24


def test_a_disk_that_cannot_hold_it_is_exit_code_12_and_leaves_nothing(tmp_path):
    torch.save({"model.diffusion_model.x": torch.ones(300_000)}, tmp_path / "m.ckpt")
    code = f"""
import sys, os
sys.path.insert(0, {str(ROOT / "py")!r})
from lorabake import converter, convert_words, errors, tensor_files
import errno
def full(number, data): raise OSError(errno.ENOSPC, "No space left on device")
tensor_files.os.write = full
errors.run(lambda: converter.main(convert_words.parse(None, [{str(tmp_path / "m.ckpt")!r}])))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 12 and "disk is full" in done.stderr and len(list(tmp_path.iterdir())) == 1


FUZZED = """
import random, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from lorabake import convert_words, converter
from lorabake.errors import UserError
resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
folder, rng = Path(sys.argv[2]), random.Random(int(sys.argv[3]))
seeds = [path.read_bytes() for path in sorted(folder.glob("seed.*"))]
outcomes = {}
for number in range(150):
    raw = bytearray(seeds[number % len(seeds)])
    for _ in range(rng.choice((1, 1, 2, 5))):
        raw[rng.randrange(min(len(raw), 1500))] = rng.choice((0, 255, rng.randrange(256), 0x8d, ord("r"), ord("9")))
    path = folder / f"m{number}.ckpt"
    path.write_bytes(raw)
    code = converter.main(convert_words.parse(None, [str(path), "--precision", "fp16"]))
    outcomes[code] = outcomes.get(code, 0) + 1
    path.unlink()
# not ru_maxrss, which begins at the size of the process that started this one
peak_mib = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
assert {*outcomes} <= {0, 1} and outcomes[1] > 40, outcomes
assert peak_mib < 900, peak_mib
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory with the resource module")
@pytest.mark.parametrize("seed", [1, 2])
def test_fuzzed_files_are_converted_or_refused_within_little_memory(tmp_path, seed):
    tensors = {f"model.diffusion_model.t{number}.weight": torch.randn(4, 4) for number in range(20)}
    torch.save({"state_dict": tensors}, tmp_path / "seed.ckpt")
    torch.save({"state_dict": tensors}, tmp_path / "seed.old", _use_new_zipfile_serialization=False)
    save_file(tensors, tmp_path / "seed.st", {"format": "pt"})
    words = [sys.executable, "-c", FUZZED, str(ROOT / "py"), str(tmp_path), str(seed)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def header(path, text):
    raw = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(16))
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}',
            "overlaps another",
        ),
        ('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}}', "leaves a hole"),
        (
            '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}',
            "two entries named 'a'",
        ),
        ('{"a":{"dtype":"F32","shape":[99999999999999],"data_offsets":[0,399999999999996]}}', "cut short"),
        ('{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}', "makes no sense"),
        ('{"a":{"dtype":"F99","shape":[4],"data_offsets":[0,16]}}', "makes no sense"),
        (b'{"\xff":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a":{"dtype":"U16","shape":[8],"data_offsets":[0,16]}}', "cannot be converted"),
    ],
)
def test_headers_that_lie(tmp_path, capsys, text, words):
    assert convert(header(tmp_path / "m.safetensors", text), "--precision", "fp16") == 1
    assert words in capsys.readouterr().err


def test_a_header_of_a_claimed_exabyte_reserves_nothing(tmp_path, capsys):
    (tmp_path / "m.safetensors").write_bytes((2**60).to_bytes(8, "little") + b"{}")
    assert convert(tmp_path / "m.safetensors") == 1 and "claim a header" in capsys.readouterr().err


def test_two_names_that_would_become_one_are_refused(tmp_path, capsys):
    a = "lora_unet_input_blocks_4_1_proj_in"
    b = "lora_unet_down_blocks_1_attentions_0_proj_in"
    tensors = {f"{name}.{end}": torch.ones(4, 4) for name in (a, b) for end in ("lora_down.weight", "lora_up.weight")}
    tensors["lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"] = torch.ones(4, 1280)
    save_file(tensors, tmp_path / "m.safetensors")
    assert convert(tmp_path / "m.safetensors") == 1 and "would get one name" in capsys.readouterr().err


def test_names_of_wrappers():
    kind = type("Kind", (), {"kind": "vae"})()
    assert convert_plan.new_name("module.a", ["module.a", "module.b"], kind) == "a"
    assert convert_plan.new_name("module.a", ["module.a", "x"], kind) == "module.a"
    assert convert_plan.new_name("model.diffusion_model.a", ["model.diffusion_model.a"], kind) == "model.diffusion_model.a"

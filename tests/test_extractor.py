"""py/extract.py: an added LoRA comes back, in every family and layout; wrong pairs are refused or warned about; nothing is half-written."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import checkpoints
from lorabake import __version__, errors, extract_words, extractor, hashes, lora_metadata, paths, weights
from lorabake.errors import QueueFailed, UsageError, UserError
from lorabake.extractor import KEY
from lorabake.families import identify, layers, sd1
from lorabake.networks import lora

ROOT = Path(__file__).parents[1]
FAMILIES = ("sd1", "sd2", "sdxl")


def extract(base, tuned, out, *words):
    given = ["--base", str(base), "--tuned", *map(str, tuned if isinstance(tuned, list) else [tuned])]
    return extractor.main(extract_words.parse(None, [*given, *(["--out", str(out)] if out else []), "--device", "cpu", *words]))


def modules(path):
    found = {}
    for key, tensor in load_file(path).items():
        name, _, suffix = key.partition(".")
        found.setdefault(name, {})[suffix] = tensor
    return found


def about(path):
    return json.loads(weights.read_header(path)[1][KEY])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """family -> (base tensors, tuned tensors, changes)"""
    made = {}
    for family in FAMILIES:
        base = checkpoints.tensors(family)
        made[family] = (base, *checkpoints.tuned(base, family))
    return made


def assert_brings_back(path, changes, tolerance):
    found = modules(path)
    assert {*found} == {*changes}
    for name, change in changes.items():
        difference = torch.linalg.norm(lora.delta(found[name]).double().flatten() - change.flatten())
        assert difference <= tolerance * torch.linalg.norm(change), name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_was_added_comes_back(pairs, tmp_path, family, precision, capsys):
    base, tuned, changes = pairs[family]
    out = tmp_path / "lora.safetensors"
    files = checkpoints.file(tmp_path / "a.safetensors", base), checkpoints.file(tmp_path / "b.safetensors", tuned)
    assert extract(*files, out, "--rank", "4", "--precision", precision) == 0
    assert_brings_back(out, changes, 2e-5 if precision == "fp32" else 2e-3)
    assert all(tensor.dtype == weights.DTYPES[precision] for tensor in load_file(out).values())
    said = capsys.readouterr()
    assert "layers, rank 4, " in said.out and "warning" not in said.err
    names = {*layers.full_size(family)}
    assert {name for name in changes if "lora_te" not in name} <= names, "the names that every program reads"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kinds", ["file, folder", "folder, ckpt", "pt, file"])
def test_any_two_layouts(pairs, tmp_path, family, kinds):
    base, tuned, changes = pairs[family]
    paths_ = []
    for kind, name, tensors in zip(kinds.split(", "), ("base", "tuned"), (base, tuned), strict=True):
        if kind == "folder":
            paths_.append(checkpoints.folder(tmp_path / name, tensors, family))
        else:
            paths_.append(checkpoints.file(tmp_path / f"{name}.{kind.replace('file', 'safetensors')}", tensors))
    out = tmp_path / "lora.safetensors"
    assert extract(*paths_, out, "--rank", "4", "--precision", "fp32") == 0
    assert_brings_back(out, changes, 2e-5)
    assert set(about(out)["difference"].values()) != {0.0}
    alone = {name: value for name, value in about(out)["difference"].items() if not name.endswith("layers")}
    assert {*alone.values()} == {0.0} and len(alone) == 6, "all that no LoRA sits on was found in both layouts, and is equal"


@pytest.mark.parametrize("family", FAMILIES)
def test_resnets_too(tmp_path, family):
    base = checkpoints.tensors(family)
    tuned, changes = checkpoints.tuned(base, family, conv=True, rank=3)
    files = checkpoints.file(tmp_path / "a.safetensors", base), checkpoints.folder(tmp_path / "b", tuned, family)
    assert extract(*files, tmp_path / "lora.safetensors", "--rank", "4", "--conv-rank", "3", "--precision", "fp32") == 0
    assert_brings_back(tmp_path / "lora.safetensors", changes, 3e-5)
    found = modules(tmp_path / "lora.safetensors")
    metadata = weights.read_header(tmp_path / "lora.safetensors")[1]
    assert (metadata["ss_network_dim"], json.loads(metadata["ss_network_args"])["conv_dim"]) == ("4", "3")
    spatial = [tensors for tensors in found.values() if tensors[lora.DOWN].shape[2:] == (3, 3)]
    assert spatial and all(tensors[lora.DOWN].shape[0] == 3 and tensors[lora.UP].shape[2:] == (1, 1) for tensors in spatial)


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_one_part_alone(pairs, tmp_path, part):
    base, tuned, changes = pairs["sdxl"]
    files = checkpoints.file(tmp_path / "a.safetensors", base), checkpoints.file(tmp_path / "b.safetensors", tuned)
    assert extract(*files, tmp_path / "lora.safetensors", "--rank", "4", "--precision", "fp32", "--target", part) == 0
    wanted = {name: change for name, change in changes.items() if name.startswith("lora_unet") == (part == "unet")}
    assert_brings_back(tmp_path / "lora.safetensors", wanted, 2e-5)


def test_a_share_gives_each_layer_its_rank(tmp_path):
    base = checkpoints.tensors("sd1")
    tuned, changes = checkpoints.tuned(base, "sd1", rank=3, parts=("unet",))
    tuned, more = checkpoints.tuned(tuned, "sd1", rank=6, parts=("text_encoder",))
    files = checkpoints.file(tmp_path / "a.safetensors", base), checkpoints.file(tmp_path / "b.safetensors", tuned)
    out = tmp_path / "lora.safetensors"
    assert extract(*files, out, "--share", "0.999", "--precision", "fp32") == 0
    found = modules(out)
    for name, change in (changes | more).items():
        energy = torch.linalg.svdvals(change.flatten(1)).square()
        fewest = int((energy.cumsum(0) < 0.999 * energy.sum()).sum()) + 1
        assert lora.rank_of(found[name]) == fewest == found[name][lora.ALPHA].item(), name
    metadata = weights.read_header(out)[1]
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"], about(out)["share"]) == ("Dynamic", "Dynamic", 0.999)
    assert extract(*files, tmp_path / "limited.safetensors", "--share", "0.999", "--rank", "2") == 0
    assert {lora.rank_of(tensors) for tensors in modules(tmp_path / "limited.safetensors").values()} == {2}


def test_pocket_and_its_lora_draw_like_the_tuned_model(tmp_path):
    """U-Net and text encoder of the real small model, loaded by the trainer's own loader."""
    from lorabake.attach import apply_file

    pocket = paths.MODELS / "pocket.safetensors"
    tuned, _ = checkpoints.tuned({name: tensor.float() for name, tensor in load_file(pocket).items()}, "sd1", size=0.05)
    path = checkpoints.file(tmp_path / "tuned.safetensors", tuned)
    out = tmp_path / "lora.safetensors"
    assert extract("pocket", path, out, "--rank", "4", "--precision", "fp32") == 0
    models, wanted = (sd1.load(identify(given), dtype=torch.float32, device="cpu") for given in (pocket, path))
    plain = answers(models)
    attached = apply_file(models, sd1, out)
    assert not attached.unused and len(attached.adapters) == 216
    for before, ours, theirs in zip(plain, answers(models), answers(wanted), strict=True):
        assert (ours - theirs).abs().max() < 1e-3 * (before - theirs).abs().max()


def answers(models):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        text = sd1.encode_text(models, ["a red fox"], clip_skip=1, num_windows=1)
        noisy = torch.randn(1, 4, 16, 16, generator=generator)
        return text, sd1.predict(models, noisy, torch.tensor([500]), text)


def test_two_runs_give_the_same_bytes_but_for_the_date(pairs, tmp_path, monkeypatch):
    base, tuned, _ = pairs["sdxl"]
    files = checkpoints.file(tmp_path / "a.safetensors", base), checkpoints.file(tmp_path / "b.safetensors", tuned)
    monkeypatch.setattr(lora_metadata, "dated", lambda metadata: metadata)
    outs = [tmp_path / str(number) / "lora.safetensors" for number in range(3)]
    for out, num_threads in zip(outs, (1, 1, 3), strict=True):
        torch.set_num_threads(num_threads)
        extract(*files, out)
    torch.set_num_threads(1)
    assert len({out.read_bytes() for out in outs}) == 1
    metadata = weights.read_header(outs[0])[1]
    assert metadata["sshs_model_hash"] == hashes.sha256_file(outs[0], skip=weights.modelfile.read_header(outs[0]).data_start)


def test_metadata_is_true_and_holds_no_paths(pairs, tmp_path):
    base, tuned, _ = pairs["sd1"]
    private = tmp_path / "private folder"
    private.mkdir()
    files = checkpoints.file(private / "base.safetensors", base), checkpoints.file(private / "tuned.safetensors", tuned)
    assert extract(*files, tmp_path / "out.safetensors", "--rank", "4") == 0
    metadata = weights.read_header(tmp_path / "out.safetensors")[1]
    assert "private" not in json.dumps(metadata)
    lines = [f"{key}: {value}" for key, value in sorted(metadata.items()) if key not in ("sshs_model_hash", "sshs_legacy_hash", KEY)]
    lines = [line for line in lines if not line.startswith("modelspec.date")]
    lines.append(f"{KEY}: {json.dumps(about(tmp_path / 'out.safetensors'), indent=1)}")
    text = re.sub(r"[0-9a-f]{64}|[0-9a-f]{8}$", "HASH", "\n".join(lines).replace(__version__, "VERSION"), flags=re.M) + "\n"
    golden = Path(__file__).parent / "golden" / "extract_metadata.txt"
    if not golden.exists():
        golden.write_text(text, encoding="utf-8", newline="\n")
    assert text == golden.read_text(encoding="utf-8")


def test_captured_shares_are_true(tmp_path):
    """Against the errors measured on the written file."""
    base = checkpoints.tensors("sd1")
    generator = torch.Generator().manual_seed(5)
    noisy, _ = checkpoints.tuned(base, "sd1", rank=2)
    scope = [layer for layer in layers.layers(checkpoints.shapes("sd1"), "sd1") if not layer.conv]
    for layer in scope:
        noisy[layer.key] = noisy[layer.key] + 0.002 * torch.randn(layer.shape, generator=generator)
    files = checkpoints.file(tmp_path / "a.safetensors", base), checkpoints.file(tmp_path / "b.safetensors", noisy)
    out = tmp_path / "lora.safetensors"
    extract(*files, out, "--rank", "3", "--precision", "fp32")
    found, sums = modules(out), {}
    for layer in scope:
        change = (noisy[layer.key] - base[layer.key]).double()
        left = change - lora.delta(found[layer.name]).double().reshape(change.shape)
        for key in (layer.block, layer.part):
            one = sums.setdefault(key, [0.0, 0.0])
            one[0] += left.square().sum().item()
            one[1] += change.square().sum().item()
    told = about(out)
    for key, (left, whole) in sums.items():
        share = told["captured_by_block"].get(key) or told["captured"][key]["3"]
        assert share == pytest.approx(1 - left / whole, abs=2e-4), key
    assert {*told["captured_by_block"]} == {layer.block for layer in scope}
    assert list(told["captured"]["unet"]) == ["1", "2", "3"]


# wrong pairs


def refusal(base, tuned, tmp_path, *words):
    with pytest.raises(UserError) as caught:
        extract(base, tuned, tmp_path / "out" / "lora.safetensors", *words)
    assert not (tmp_path / "out").exists()
    return str(caught.value)


def test_equal_models_and_precision_alone(pairs, tmp_path):
    tuned = pairs["sd1"][1]
    one = checkpoints.file(tmp_path / "one.safetensors", tuned)
    assert "are the same" in refusal(one, checkpoints.file(tmp_path / "two.ckpt", tuned), tmp_path)
    assert "one and the same file" in refusal(one, one, tmp_path)
    for dtype in (torch.float16, torch.bfloat16):
        cast = checkpoints.file(tmp_path / f"{dtype}.safetensors", tuned, dtype=dtype)
        assert "differ by rounding at most" in refusal(one, cast, tmp_path)
        assert "differ by rounding at most" in refusal(cast, one, tmp_path)
    upcast = checkpoints.file(tmp_path / "up.safetensors", {name: tensor.half().float() for name, tensor in tuned.items()})
    assert "differ by rounding at most" in refusal(one, upcast, tmp_path)
    half = checkpoints.file(tmp_path / "half.safetensors", tuned, dtype=torch.float16)
    brain = checkpoints.file(tmp_path / "brain.safetensors", tuned, dtype=torch.bfloat16)
    assert "differ by rounding at most" in refusal(half, brain, tmp_path)


def test_a_part_that_is_the_same_is_left_out_and_told(tmp_path, capsys):
    base = checkpoints.tensors("sdxl")
    tuned, changes = checkpoints.tuned(base, "sdxl", parts=("unet",))
    files = checkpoints.file(tmp_path / "a.safetensors", base), checkpoints.file(tmp_path / "b.safetensors", tuned)
    assert extract(*files, tmp_path / "lora.safetensors", "--rank", "4", "--precision", "fp32") == 0
    assert_brings_back(tmp_path / "lora.safetensors", changes, 2e-5)
    said = capsys.readouterr()
    assert "the text encoders are the same" in said.err and "left out" in said.out


def test_other_families_sizes_and_kinds(pairs, tmp_path):
    base = checkpoints.file(tmp_path / "sd1.safetensors", pairs["sd1"][0])
    assert "different families" in refusal(base, checkpoints.file(tmp_path / "xl.safetensors", pairs["sdxl"][1]), tmp_path)
    inpainting = pairs["sd1"][1] | {f"{layers.UNET}input_blocks.0.0.weight": torch.zeros(16, 9, 3, 3)}
    text = refusal(base, checkpoints.file(tmp_path / "inpaint.safetensors", inpainting), tmp_path)
    assert "inpaint.safetensors is an inpainting model" in text and "sd1.safetensors is not" in text
    key = f"{layers.UNET}middle_block.1.transformer_blocks.0.attn1.to_q.weight"
    assert "different sizes" in refusal(
        base, checkpoints.file(tmp_path / "wide.safetensors", pairs["sd1"][1] | {key: torch.ones(9, 64)}), tmp_path
    )
    fewer = {name: tensor for name, tensor in pairs["sd1"][1].items() if name != key}
    text = refusal(base, checkpoints.file(tmp_path / "fewer.safetensors", fewer), tmp_path)
    assert "1 layer only in sd1.safetensors" in text and "mid_block_attentions_0_transformer_blocks_0_attn1_to_q" in text
    lora_file = tmp_path / "lora.safetensors"
    extract(base, checkpoints.file(tmp_path / "tuned.safetensors", pairs["sd1"][1]), lora_file)
    assert "--tuned: this is LoRA" in refusal(base, lora_file, tmp_path)
    assert "there is no such file" in refusal(tmp_path / "nowhere.safetensors", base, tmp_path)
    assert "this is a profile" in refusal(base, ROOT / "profiles" / "demo.yaml", tmp_path)


def test_a_model_that_is_not_the_base_is_warned_about(tmp_path, capsys):
    base, other = checkpoints.tensors("sd1"), checkpoints.tensors("sd1", seed=9)
    files = checkpoints.file(tmp_path / "a.safetensors", base), checkpoints.file(tmp_path / "b.safetensors", other)
    assert extract(*files, tmp_path / "lora.safetensors") == 0
    said = capsys.readouterr().err
    assert "the U-Nets look unrelated" in said and "the text encoders look unrelated" in said and "autoencoder and embeddings" in said
    swapped = {name: tensor for name, tensor in other.items() if not name.startswith(layers.UNET)}
    half = checkpoints.tuned(base, "sd1", parts=("unet",))[0] | swapped
    assert extract(files[0], checkpoints.file(tmp_path / "c.safetensors", half), None, "--compare") == 0
    said = capsys.readouterr().err
    assert "the U-Nets look unrelated" not in said and "the text encoders look unrelated" in said


def test_a_coarse_base_is_warned_about(pairs, tmp_path, capsys):
    base, _, _ = pairs["sd1"]
    tuned, _ = checkpoints.tuned(base, "sd1", size=0.002)
    files = (
        checkpoints.file(tmp_path / "a.safetensors", base, dtype=torch.bfloat16),
        checkpoints.file(tmp_path / "b.safetensors", tuned),
    )
    extract(*files, None, "--compare")
    said = capsys.readouterr().err
    assert "of what the U-Nets differ in is rounding" in said and "of what the text encoders differ in is rounding" in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("side", ["base", "tuned"])
@pytest.mark.parametrize("key", [f"{layers.UNET}middle_block.1.proj_in.weight", "first_stage_model.decoder.norm_out.weight"])
def test_damaged_weights_are_named(pairs, tmp_path, value, side, key):
    tensors = dict(zip(("base", "tuned"), pairs["sd1"][:2], strict=True))
    tensors[side] = tensors[side] | {key: tensors[side][key].clone()}
    tensors[side][key].view(-1)[3] = value
    files = [checkpoints.file(tmp_path / f"{name}.safetensors", found) for name, found in tensors.items()]
    text = refusal(*files, tmp_path)
    assert key in text and f"{side}.safetensors" in text


def test_changes_below_min_diff_are_left_out(pairs, tmp_path, capsys):
    base = pairs["sd1"][0]
    tuned, small = checkpoints.tuned(base, "sd1", size=0.001, parts=("text_encoder",))
    tuned, large = checkpoints.tuned(tuned, "sd1", size=0.1, parts=("unet",))
    files = checkpoints.file(tmp_path / "a.safetensors", base), checkpoints.file(tmp_path / "b.safetensors", tuned)
    limit = max(change.abs().max().item() for change in small.values())
    assert extract(*files, tmp_path / "lora.safetensors", "--rank", "4", "--min-diff", str(limit), "--precision", "fp32") == 0
    assert_brings_back(tmp_path / "lora.safetensors", large, 2e-5)
    assert {*about(tmp_path / "lora.safetensors")["left_out"]} == {*small}
    assert "no layer changed by more than 9" in refusal(*files, tmp_path, "--min-diff", "9")


def test_a_change_too_large_for_half_precision(pairs, tmp_path):
    base, _, _ = pairs["sd1"]
    files = checkpoints.file(tmp_path / "a.safetensors", base), tmp_path / "b.safetensors"
    checkpoints.file(files[1], checkpoints.tuned(base, "sd1", size=1e10)[0])
    assert "too large for fp16" in refusal(*files, tmp_path)
    assert extract(*files, tmp_path / "lora.safetensors", "--precision", "bf16") == 0


def test_the_averaged_copy_is_ignored(pairs, tmp_path):
    base, tuned, changes = pairs["sd1"]
    ema = {f"model_ema.{name.removeprefix('model.').replace('.', '')}": torch.ones(3) for name in base if name.startswith(layers.UNET)}
    files = checkpoints.file(tmp_path / "a.ckpt", base | ema), checkpoints.file(tmp_path / "b.safetensors", tuned)
    assert extract(*files, tmp_path / "lora.safetensors", "--rank", "4", "--precision", "fp32") == 0
    assert_brings_back(tmp_path / "lora.safetensors", changes, 2e-5)


def test_a_model_without_text_encoder(pairs, tmp_path, capsys):
    base, tuned, changes = pairs["sd1"]
    alone = {name: tensor for name, tensor in tuned.items() if name.startswith(layers.UNET)}
    files = checkpoints.file(tmp_path / "a.safetensors", base), checkpoints.file(tmp_path / "unet.safetensors", alone)
    assert extract(*files, tmp_path / "lora.safetensors", "--rank", "4", "--precision", "fp32") == 0
    assert "unet.safetensors has no text encoder" in capsys.readouterr().err
    assert_brings_back(tmp_path / "lora.safetensors", {n: c for n, c in changes.items() if n.startswith("lora_unet")}, 2e-5)
    assert "there is no text encoder in it" in refusal(*files, tmp_path, "--target", "text_encoder")


# words and places


def test_several_models(pairs, tmp_path, capsys):
    base, tuned, changes = pairs["sd1"]
    first = checkpoints.file(tmp_path / "a.safetensors", base)
    second = checkpoints.file(tmp_path / "b.safetensors", tuned)
    third = checkpoints.folder(tmp_path / "c.v2", tuned, "sd1")
    same = checkpoints.file(tmp_path / "same.ckpt", base)
    with pytest.raises(QueueFailed):
        extract(first, [second, same, third], tmp_path / "out", "--rank", "4", "--precision", "fp32")
    assert "the two models are the same" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b-lora.safetensors", "c.v2-lora.safetensors"]
    for path in (tmp_path / "out").iterdir():
        assert_brings_back(path, changes, 2e-5)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    with pytest.raises(UserError, match="already a file"):
        extract(first, [second, third], tmp_path / "out")
    assert capsys.readouterr().err.count("already a file") == 1, "the other one is raised"
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    ("out", "tuned", "said"),
    [
        ("lora.pt", ["a.safetensors"], "does not end in .safetensors"),
        ("lora.safetensors", ["a.safetensors", "b.safetensors"], "is one file"),
        ("out", ["x/a.safetensors", "y/A.ckpt"], "two of the LoRAs would be named"),
    ],
)
def test_places_that_make_no_sense(out, tuned, said):
    with pytest.raises(UsageError, match=said):
        extractor.places(out, [Path(text) for text in tuned])


def test_commas_in_names(tmp_path):
    (tmp_path / "a, b.ckpt").touch()
    assert extractor.separate(str(tmp_path / "a, b.ckpt")) == [str(tmp_path / "a, b.ckpt")]
    assert extractor.separate("a.ckpt,b.ckpt") == ["a.ckpt", "b.ckpt"]


def test_where_nobody_can_be_asked(tmp_path):
    with pytest.raises(UsageError, match="not given: --tuned, --out"):
        extractor.main(extract_words.parse(None, ["--base", "pocket"]))


def start(*words):
    environment = {**os.environ, "LORABAKE_PYTHON": "current", "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, str(ROOT / "py/extract.py"), *map(str, words)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
def test_a_right_click_asks(pairs, tmp_path, monkeypatch):
    from terminal import Terminal

    monkeypatch.setenv("LORABAKE_PYTHON", "current")
    first = checkpoints.file(tmp_path / "a.safetensors", pairs["sd1"][0])
    second = checkpoints.file(tmp_path / "b c.safetensors", pairs["sd1"][1])
    with Terminal([sys.executable, str(ROOT / "py/extract.py")], cwd=tmp_path, columns=200) as window:
        for question, answer in (
            ("Which model is the base", f"'{first}'"),
            ("made from it", f'"{second}"'),
            ("Which rank", ""),
            ("Enter: ", ""),
        ):
            window.expect(question, timeout_s=60)
            window.type(f"{answer}\r")
        assert window.wait(timeout_s=60) == 0, window.text()
    assert (tmp_path / "b c-lora.safetensors").is_file()


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_killed_in_the_middle_leaves_no_file(pairs, tmp_path):
    files = checkpoints.file(tmp_path / "a.safetensors", pairs["sdxl"][0]), checkpoints.file(tmp_path / "b.safetensors", pairs["sdxl"][1])
    words = ("--base", files[0], "--tuned", files[1], "--device", "cpu", "--out", tmp_path / "out/lora.safetensors")
    child = start(*words)
    while b"layers" not in (line := child.stdout.readline()) and line:
        pass
    time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not (tmp_path / "out/lora.safetensors").exists()
    again = start(*words)
    text, _ = again.communicate(timeout=120)
    assert again.returncode == 0, text.decode()


def test_a_full_disk(pairs, tmp_path, monkeypatch):
    files = checkpoints.file(tmp_path / "a.safetensors", pairs["sd1"][0]), checkpoints.file(tmp_path / "b.safetensors", pairs["sd1"][1])
    monkeypatch.setattr(paths, "free_bytes", lambda folder: 1000)
    with pytest.raises(errors.DiskFull):
        extract(*files, tmp_path / "lora.safetensors")
    assert not (tmp_path / "lora.safetensors").exists()

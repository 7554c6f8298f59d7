"""weights.py: LoRA files as every program reads them, and files that must not be believed."""

import hashlib
import json
import struct

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from lorabake.errors import Diverged, UserError
from lorabake.weights import DTYPES, load_checkpoint, read_header, save_lora

ABOUT = {"ss_network_dim": "4", "ss_output_name": "jörg", "modelspec.title": "t", "lorabake": json.dumps({"a": 1})}


def lora(rows: int = 8) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for name in ("lora_te_text_model_encoder_layers_0_mlp_fc1", "lora_unet_mid_block_attentions_0_proj_in"):
        tensors[f"{name}.alpha"] = torch.tensor(4)  # an integer, as the reference may write it
        tensors[f"{name}.lora_down.weight"] = torch.randn(4, rows, generator=generator)
        tensors[f"{name}.lora_up.weight"] = torch.randn(rows, 4, generator=generator).requires_grad_()
    return tensors


@pytest.mark.parametrize("precision", DTYPES)
def test_every_tensor_is_cast_alpha_too(tmp_path, precision):
    path = tmp_path / "ü lora.safetensors"
    save_lora(path, lora(), metadata=ABOUT, precision=precision)
    found = safetensors.torch.load_file(path)
    assert found.keys() == lora().keys()
    assert {t.dtype for t in found.values()} == {DTYPES[precision]}
    for name, tensor in lora().items():
        assert torch.equal(found[name], tensor.detach().to(DTYPES[precision])), name
    assert found["lora_unet_mid_block_attentions_0_proj_in.alpha"].shape == ()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("rows", [8, 60_000])
def test_hashes_are_those_of_the_rule(tmp_path, rows):
    path = tmp_path / "a.safetensors"
    returned = save_lora(path, lora(rows), metadata=ABOUT, precision="fp16")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata == {**ABOUT, **returned}
    raw = path.read_bytes()
    assert returned["sshs_model_hash"] == hashlib.sha256(raw[8 + struct.unpack("<Q", raw[:8])[0] :]).hexdigest()
    # As the rule says it: serialise with the ss_* metadata alone, 64 KiB at 1 MiB, header included.
    cast = {name: tensor.detach().half() for name, tensor in lora(rows).items()}
    alone = safetensors.torch.save(cast, {key: value for key, value in ABOUT.items() if key.startswith("ss_")})
    assert returned["sshs_legacy_hash"] == hashlib.sha256(alone[0x100000:0x110000]).hexdigest()[:8]
    assert (returned["sshs_legacy_hash"] == "e3b0c442") == (rows == 8)


def test_the_same_tensors_have_the_same_hash_whatever_the_metadata(tmp_path):
    first = save_lora(tmp_path / "a.safetensors", lora(), metadata=ABOUT, precision="fp16")
    second = save_lora(tmp_path / "b.safetensors", lora(), metadata={"ss_seed": "1"}, precision="fp16")
    assert first["sshs_model_hash"] == second["sshs_model_hash"]


@pytest.mark.parametrize(
    ("change", "precision", "words"),
    [
        (lambda t: t.fill_(float("nan")), "fp16", "NaN or infinite"),
        (lambda t: t.index_fill_(0, torch.tensor([1]), float("inf")), "fp32", "NaN or infinite"),
        (lambda t: t.mul_(1e9), "fp16", "too large for fp16"),
        (lambda t: t.zero_(), "fp32", "no effect"),
        (lambda t: t.mul_(1e-12), "fp16", "no effect"),
    ],
)
def test_dead_weights_are_not_saved_and_the_last_good_file_stays(tmp_path, change, precision, words):
    path = tmp_path / "a.safetensors"
    save_lora(path, lora(), metadata=ABOUT, precision="fp16")
    before = path.read_bytes()
    tensors = {name: tensor.detach() for name, tensor in lora().items()}
    for name in tensors:
        if name.endswith("lora_up.weight"):
            change(tensors[name])
    with pytest.raises(Diverged, match=words) as caught:
        save_lora(path, tensors, metadata=ABOUT, precision=precision)
    assert caught.value.exit_code == 11
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_other_types_than_lora_are_judged_by_all_their_weights(tmp_path):
    tensors = {"a.hada_w1_a": torch.ones(2, 2), "a.alpha": torch.tensor(0.0)}
    save_lora(tmp_path / "a.safetensors", tensors, metadata={}, precision="fp32")
    with pytest.raises(Diverged):
        save_lora(tmp_path / "b.safetensors", {**tensors, "a.hada_w1_a": torch.zeros(2, 2)}, metadata={}, precision="fp32")


def test_the_header_is_read_without_the_tensors(tmp_path):
    save_lora(tmp_path / "a.safetensors", lora(), metadata=ABOUT, precision="bf16")
    entries, metadata = read_header(tmp_path / "a.safetensors")
    assert entries["lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"].shape == (4, 8)
    assert {entry.dtype for entry in entries.values()} == {"BF16"} and metadata["ss_output_name"] == "jörg"


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy", "bare", "parameters"])
def test_all_kinds_of_files_give_the_same_tensors(tmp_path, kind):
    tensors = {name: tensor.detach().float().contiguous() for name, tensor in lora().items()}
    path = tmp_path / "model.bin"
    if kind == "safetensors":
        safetensors.torch.save_file(tensors, path)
    elif kind == "parameters":
        torch.save({"state_dict": {name: torch.nn.Parameter(t) for name, t in tensors.items()}}, path)
    else:
        torch.save(
            tensors if kind == "bare" else {"state_dict": tensors, "epoch": 3}, path, _use_new_zipfile_serialization=kind != "legacy"
        )
    found = load_checkpoint(path, only=lambda name: name.startswith("lora_te_"))
    assert found.keys() == {name for name in tensors if name.startswith("lora_te_")}
    assert all(torch.equal(found[name], tensors[name]) and not found[name].requires_grad for name in found)
    assert load_checkpoint(path).keys() == tensors.keys()


def test_half_a_file_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_lora(path, lora(), metadata=ABOUT, precision="fp32")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="cut short"):
        load_checkpoint(path)
    torch.save({"x": torch.zeros(5000)}, path)
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(UserError):
        load_checkpoint(path)


class Greedy:
    def __reduce__(self):
        return exec, ("raise SystemExit('ran')",)


def test_code_is_refused_by_the_names_it_calls(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"x": torch.zeros(2)}, "extra": Greedy()}, path)
    with pytest.raises(UserError, match=r"exec, which is not on"):
        load_checkpoint(path)


def test_a_call_of_a_stand_in_or_a_plain_type_with_odd_arguments_is_a_sentence(tmp_path):
    """What the list lets through still goes through torch's own weights-only loader, whose complaint becomes ours."""
    path = tmp_path / "a.ckpt"

    class Odd:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (3, "x", (1,), (1,))

    torch.save({"state_dict": {"x": Odd()}}, path)
    with pytest.raises(UserError):
        load_checkpoint(path)


@pytest.mark.parametrize("length", [128, 384, 640])
def test_a_header_length_that_looks_like_a_pickle_is_none(tmp_path, length):
    """0x80 0x01 is both a pickle's beginning and the length 384."""
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path = tmp_path / "a.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + header.ljust(length) + b"\0\0\x80\x3f")
    assert load_checkpoint(path)["a"].tolist() == [1.0]

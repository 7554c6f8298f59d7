"""A LoRA at another rank: the nearest there is, of the same strength, with its metadata; and the rules that choose a rank."""

import json
import types

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import lora_files
import tiny
from lorabake import lora_resize, lora_words
from lorabake.errors import UsageError, UserError
from lorabake.networks import deltas


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    layers = lora_files.layers_of(tiny.sd1_file(tmp_path_factory.mktemp("base")), conv=True)
    ends = ("attentions_0_transformer_blocks_0_attn1_to_q", "attentions_0_proj_in", "resnets_0_conv1", "mlp_fc1")
    return [layer for layer in layers if layer.name.endswith(ends)]


def resize(path, *words):
    """Exit code 0, and the file that was written."""
    before = set(path.parent.iterdir())
    assert lora_resize.main(lora_words.parse(None, ["resize", str(path), *words])) == 0
    (out,) = set(path.parent.iterdir()) - before
    return out


def metadata(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def change(path, layer):
    tensors = load_file(path)
    own = {key.removeprefix(f"{layer.name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{layer.name}.")}
    return deltas.delta(own, layer.shape), own


@pytest.mark.parametrize("kind", ["lora", "tucker"])
def test_no_lora_of_the_rank_is_nearer(found, tmp_path, kind):
    path = lora_files.write(tmp_path / "style.safetensors", found, kind, rank=8)
    out = resize(path, "--rank", "3", "--conv-rank", "2")
    assert out.name == "style-r3-c2.safetensors"
    for layer in found:
        rank = 2 if layer.shape[2:] == (3, 3) else 3
        old, _ = change(path, layer)
        new, own = change(out, layer)
        values = torch.linalg.svdvals(old.flatten(1).double())
        assert own["lora_down.weight"].shape[0] == rank and float(own["alpha"]) == rank / 2, "alpha / rank is what it was"
        assert float((new - old).norm()) == pytest.approx(float(values[rank:].norm()), rel=1e-4)
        assert own["lora_down.weight"].shape == (rank, *layer.shape[1:]) and "lora_mid.weight" not in own


def test_1x1_convolutions_take_the_rank_of_linear_layers(found, tmp_path):
    path = lora_files.write(tmp_path / "x.safetensors", found, rank=8)
    out = load_file(resize(path, "--rank", "5", "--conv-rank", "2"))
    layer = next(layer for layer in found if layer.name.endswith("proj_in"))
    assert out[f"{layer.name}.lora_down.weight"].shape == (5, layer.shape[1], 1, 1)


@pytest.mark.parametrize("words", [["--rank", "8"], ["--rank", "64"], ["--by", "sv_fro=1"]])
def test_a_rank_that_is_there_keeps_every_bit(found, tmp_path, capsys, words):
    path = lora_files.write(tmp_path / "x.safetensors", found, rank=8, dtype=torch.float16)
    out = load_file(resize(path, *words))
    before = load_file(path)
    assert out.keys() == before.keys() and all(torch.equal(out[key], tensor) for key, tensor in before.items())
    assert ("had no more than rank 8 and stay as they are" in capsys.readouterr().err) == (words[-1] == "64")


def reference_rank(values, method, parameter):
    """lora-facts.md 5.3, written down again: an index, held within 1 and the last one, and one more."""
    if values[0] <= 1e-6:
        return 1
    if method == "sv_ratio":
        index = sum(value > values[0] / parameter for value in values)
    else:
        power, share = (2, parameter**2) if method == "sv_fro" else (1, parameter)
        total, running = sum(value**power for value in values), 0.0
        index = len(values)
        for number, value in enumerate(values):
            running += value**power
            if running / total >= share:
                index = number
                break
        index += 1
    return min(max(1, min(index, len(values) - 1)) + 1, len(values))


@pytest.mark.parametrize("method", lora_words.METHODS)
@pytest.mark.parametrize("fall", [0.99, 0.7, 0.2])
def test_ranks_by_the_published_rules(method, fall):
    values = [3.0 * fall**number for number in range(24)]
    for parameter in (1.0, 2.0, 10.0, 1000.0) if method == "sv_ratio" else (0.01, 0.5, 0.9, 0.95, 0.999):
        assert lora_resize.rank_by(torch.tensor(values), method, parameter) == reference_rank(values, method, parameter)


@pytest.mark.parametrize("method", lora_words.METHODS)
def test_a_layer_without_change_has_rank_1(method):
    assert lora_resize.rank_by(torch.zeros(5), method, 1.0) == 1 and lora_resize.rank_by(torch.tensor([2.0]), method, 1.0) == 1


def test_what_is_promised_is_kept(found, tmp_path):
    path = lora_files.write(tmp_path / "style.safetensors", found, rank=16)
    out = resize(path, "--by", "sv_fro=0.9")
    assert out.name == "style-sv_fro_0.9.safetensors"
    ranks = set()
    for layer in found:
        new, own = change(out, layer)
        assert float(new.norm()) >= 0.9 * float(change(path, layer)[0].norm())
        ranks.add(own["lora_down.weight"].shape[0])
    assert len(ranks) > 1
    limited = load_file(resize(path, "--by", "sv_fro=0.9", "--rank", "4", "--out", str(tmp_path / "limited.safetensors")))
    assert {limited[f"{layer.name}.lora_down.weight"].shape[0] for layer in found} == {4}


def test_metadata_is_kept_and_brought_up_to_date(found, tmp_path):
    old = lora_files.METADATA | {
        "ss_tag_frequency": "{}",
        "ss_training_comment": "mine",
        "modelspec.title": "Style",
        "sshs_model_hash": "old",
    }
    old |= {"ss_network_args": '{"conv_dim": "8", "algo": "lora"}', "lora_adapter_metadata": "{}"}
    path = lora_files.write(tmp_path / "style.safetensors", found, rank=8, metadata=old)
    new = metadata(resize(path, "--rank", "3", "--conv-rank", "2"))
    assert new["ss_network_dim"] == "3" and new["ss_network_alpha"] == "1.5" and new["ss_tag_frequency"] == "{}"
    assert new["ss_training_comment"] == "dimension is resized from 8 to 3; mine" and new["modelspec.title"] == "Style"
    assert json.loads(new["ss_network_args"]) == {"conv_dim": "2", "conv_alpha": "1.0", "algo": "lora"}
    assert new["sshs_model_hash"] != "old" and "lora_adapter_metadata" not in new
    dynamic = metadata(resize(path, "--by", "sv_cumulative=0.6"))
    assert dynamic["ss_network_dim"] == dynamic["ss_network_alpha"] == "Dynamic"
    assert dynamic["ss_training_comment"] == "Dynamic resize with sv_cumulative: 0.6 from 8; mine"


@pytest.mark.parametrize("comment", [None, "None", ""])
def test_no_comment_before(found, tmp_path, comment):
    path = lora_files.write(tmp_path / "x.safetensors", found, metadata={} if comment is None else {"ss_training_comment": comment})
    assert metadata(resize(path, "--rank", "2"))["ss_training_comment"] == "dimension is resized from 4 to 2"


@pytest.mark.parametrize(
    ("words", "dtype"), [([], torch.bfloat16), (["--precision", "fp16"], torch.float16), (["--precision", "fp32"], torch.float32)]
)
def test_precision_is_that_of_the_file_unless_asked(found, tmp_path, words, dtype):
    path = lora_files.write(tmp_path / "x.safetensors", found, dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in load_file(resize(path, "--rank", "2", *words)).values()} == {dtype}


def test_a_dora_keeps_its_magnitudes(found, tmp_path):
    path = lora_files.write(tmp_path / "x.safetensors", found, "dora", rank=8)
    out = resize(path, "--rank", "3")
    before, after = load_file(path), load_file(out)
    for layer in found:
        assert torch.equal(after[f"{layer.name}.dora_scale"], before[f"{layer.name}.dora_scale"])
        assert after[f"{layer.name}.lora_down.weight"].shape[0] == 3


def test_foreign_names_come_out_in_kohya_s(tmp_path):
    name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    found = {f"{name}.lora_A.weight": torch.randn(8, 12), f"{name}.lora_B.weight": torch.randn(10, 8)}
    out = load_file(resize(lora_files.save(tmp_path / "x.safetensors", found, metadata={}), "--rank", "2"))
    key = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    assert (
        out.keys() == {f"{key}.{suffix}" for suffix in ("alpha", "lora_down.weight", "lora_up.weight")} and float(out[f"{key}.alpha"]) == 2
    )


def test_few_inputs_make_a_rank_smaller_without_loss(tmp_path):
    """Rank 8 on 5 inputs is rank 5."""
    name = "lora_unet_mid_block_attentions_0_proj_in"
    found = {
        f"{name}.lora_down.weight": torch.randn(8, 5),
        f"{name}.lora_up.weight": torch.randn(10, 8),
        f"{name}.alpha": torch.tensor(4.0),
    }
    path = lora_files.save(tmp_path / "x.safetensors", found)
    out = load_file(resize(path, "--rank", "7"))
    layer = types.SimpleNamespace(name=name, shape=(10, 5))
    assert out[f"{name}.lora_down.weight"].shape == (5, 5)
    new, own = change(tmp_path / "x-r7.safetensors", layer)
    assert torch.allclose(new, change(path, layer)[0], atol=1e-5) and float(own["alpha"]) == 2.5


@pytest.mark.parametrize("kind", ["loha", "lokr", "full"])
def test_what_has_no_rank_is_refused_with_the_way_out(found, tmp_path, kind):
    path = lora_files.write(tmp_path / "x.safetensors", found, kind)
    with pytest.raises(UserError, match="no rank that could be cut") as caught:
        resize(path, "--rank", "2")
    assert 'lora.py merge "x.safetensors" --rank 32' in str(caught.value)


def test_a_lora_of_zeros_is_refused(found, tmp_path):
    with pytest.raises(UserError, match="no effect"):
        resize(lora_files.write(tmp_path / "x.safetensors", found, size=0.0), "--rank", "2")


def test_unknown_tensors_are_told(found, tmp_path, capsys):
    tensors = load_file(lora_files.write(tmp_path / "a.safetensors", found)) | {"lora_unet_x.odd": torch.ones(2)}
    resize(lora_files.save(tmp_path / "x.safetensors", tensors), "--rank", "2")
    assert "1 tensor of unknown names left out: lora_unet_x.odd" in capsys.readouterr().err


def test_halves_that_do_not_fit_are_refused(tmp_path):
    name = "lora_unet_mid_block_attentions_0_proj_in"
    found = {f"{name}.lora_down.weight": torch.ones(8, 5), f"{name}.lora_up.weight": torch.ones(10, 7)}
    with pytest.raises(UserError, match="damaged") as caught:
        resize(lora_files.save(tmp_path / "x.safetensors", found), "--rank", "2")
    assert name in str(caught.value) and "(10, 7)" in str(caught.value)


def test_no_file_is_written_over(found, tmp_path):
    path = lora_files.write(tmp_path / "x.safetensors", found)
    (tmp_path / "x-r2.safetensors").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="already a file"):
        resize(path, "--rank", "2")
    assert (tmp_path / "x-r2.safetensors").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("words", [[], ["--rank", "2", "--out", "x.pt"]])
def test_words_that_do_not_do(found, tmp_path, words):
    path = lora_files.write(tmp_path / "x.safetensors", found)
    with pytest.raises(UsageError):
        resize(path, *words)


def test_the_summary_says_ranks_norms_and_sizes(found, tmp_path, capsys):
    resize(lora_files.write(tmp_path / "x.safetensors", found, rank=8), "--by", "sv_fro=0.8")
    caught = capsys.readouterr()
    num = sum(layer.shape[2:] == (3, 3) for layer in found)
    assert f"U-Net, 3x3: {num} layers, rank 8 -> " in caught.err and "text encoder: 2 layers" in caught.err
    assert "% of the norm is kept" in caught.err and " KB -> " in caught.out and "fp32, in " in caught.out

"""One view of LoRA files of every dialect: names, tensors, alphas; and a sentence for each file that is none."""

import json

import pytest
import torch
from safetensors.torch import save_file

import lora_files
from lorabake import lora_file, tensor_files
from lorabake.errors import UserError
from lorabake.families import lora_keys, lora_names
from lorabake.networks import deltas

SD1 = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
TEXT = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"


def draws():
    return torch.Generator().manual_seed(0)


def modules(*names, shape=(8, 6)):
    return {name: lora_files.module("lora", shape, 2, draws()) for name in names}


def kohya(found):
    return {f"{name}.{suffix}": tensor for name, tensors in found.items() for suffix, tensor in tensors.items()}


def peft(found, *, alphas=False):
    """As diffusers writes it today; alpha, which has no key there, folded into B."""
    made = {}
    for name, tensors in found.items():
        path = lora_names.to_peft(name)
        made[f"{path}.lora_A.weight"] = tensors["lora_down.weight"]
        made[f"{path}.lora_B.weight"] = tensors["lora_up.weight"] * (1 if alphas else deltas.scale_of(tensors))
    return made


def old_diffusers(found):
    return {key.replace(".lora_A.", ".lora.down.").replace(".lora_B.", ".lora.up."): tensor for key, tensor in peft(found).items()}


def changes(path, shape=(8, 6)):
    with lora_file.opened(path) as lora:
        return {name: deltas.delta(lora.tensors(name), shape) for name in lora.layers}


@pytest.mark.parametrize("dialect", [kohya, peft, old_diffusers])
@pytest.mark.parametrize("names", [(SD1, TEXT), (lora_files.SDXL_NAME, f"{lora_files.OPENCLIP_NAME}_mlp_fc1")])
def test_every_dialect_gives_the_same(tmp_path, dialect, names):
    found = modules(*names)
    if names[0] != SD1:
        found = modules(*names, shape=(8, 2048))
    shape = (8, 6) if names[0] == SD1 else (8, 2048)
    read = changes(lora_files.save(tmp_path / "x.safetensors", dialect(found), metadata={}), shape)
    assert set(read) == set(names)
    assert all(torch.allclose(read[name], deltas.delta(found[name], shape), atol=1e-6) for name in names)


def test_sdxl_names_of_diffusers_under_kohya_s_prefix(tmp_path):
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    read = changes(lora_files.save(tmp_path / "x.safetensors", kohya(modules(name, shape=(8, 2048))), metadata={}), (8, 2048))
    assert list(read) == [lora_files.SDXL_NAME]


@pytest.mark.parametrize("rslora", [False, True])
def test_alpha_in_diffusers_metadata(tmp_path, rslora):
    """One for the part, another for what a pattern names; what diffusers' own loader takes from it."""
    other = SD1.replace("to_q", "to_k")
    found = modules(SD1, other)
    settings = {"unet.lora_alpha": 6, "unet.alpha_pattern": {"attn1.to_k": 1}, "unet.r": 2, "unet.use_rslora": rslora}
    path = lora_files.save(tmp_path / "x.safetensors", peft(found, alphas=True), metadata={lora_keys.CONFIG: json.dumps(settings)})
    read = changes(path)
    for name, alpha in ((SD1, 6), (other, 1)):
        plain = deltas.delta({**found[name], "alpha": torch.tensor(2.0)}, (8, 6))
        assert torch.allclose(read[name], plain * alpha / (2**0.5 if rslora else 2), atol=1e-6)


@pytest.mark.parametrize("text", ["no JSON", "[1]", '{"unet.lora_alpha": "many"}', '{"unet.lora_alpha": null, "unet.alpha_pattern": 3}'])
def test_broken_settings_count_as_none(tmp_path, text):
    found = modules(SD1)
    read = changes(lora_files.save(tmp_path / "x.safetensors", peft(found), metadata={lora_keys.CONFIG: text}))
    assert torch.allclose(read[SD1], deltas.delta(found[SD1], (8, 6)), atol=1e-6)


def test_a_pickled_lora(tmp_path):
    found = modules(SD1)
    torch.save(kohya(found), tmp_path / "x.pt")
    assert torch.equal(changes(tmp_path / "x.pt")[SD1], deltas.delta(found[SD1], (8, 6)))
    with lora_file.opened(tmp_path / "x.pt") as lora:
        assert lora.precision() == "fp32" and list(lora.digest()) == ["sha256"]


@pytest.mark.parametrize(
    ("dtype", "words"), [(torch.float32, "fp32"), (torch.float16, "fp16"), (torch.bfloat16, "bf16"), (torch.float64, "fp32")]
)
def test_precision_and_hash(tmp_path, dtype, words):
    path = lora_files.save(tmp_path / "x.safetensors", kohya(modules(SD1)), dtype=dtype)
    with lora_file.opened(path) as lora:
        assert lora.precision() == words and len(lora.digest()["sshs_model_hash"]) == 64
        assert all(tensor.dtype == torch.float32 for tensor in lora.tensors(SD1).values())


def test_tensors_outlast_the_file(tmp_path):
    path = lora_files.save(tmp_path / "x.safetensors", kohya(modules(SD1)))
    with lora_file.opened(path) as lora:
        tensors = lora.tensors(SD1)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    path.write_bytes(b"\0" * path.stat().st_size)
    assert all(torch.equal(before[name], tensor) for name, tensor in tensors.items())


def test_unknown_keys_are_kept_apart(tmp_path):
    extra = {
        "lora_unet_x.odd": torch.ones(2),
        "unet.strange.lora_A.weight": torch.ones(2, 6),
        "unet.strange.lora_B.weight": torch.ones(8, 2),
    }
    extra |= {"lora_unet_alone.alpha": torch.tensor(1.0)}
    with lora_file.opened(lora_files.save(tmp_path / "x.safetensors", kohya(modules(SD1, TEXT)) | extra)) as lora:
        assert set(lora.layers) == {SD1, TEXT, "lora_unet_strange"} and set(lora.strange) == {"lora_unet_x.odd", "lora_unet_alone.alpha"}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"model.diffusion_model.x.weight": torch.ones(2, 2)}, "no LoRA"),
        ({"emb_params": torch.ones(2, 768)}, "textual-inversion embedding"),
        ({f"{SD1}.oft_blocks": torch.ones(2, 2, 2)}, "OFT"),
        ({f"{SD1}.a1.weight": torch.ones(2, 2), f"{SD1}.b1.weight": torch.ones(2, 2)}, "GLoRA"),
        ({f"{SD1}.weight": torch.ones(8), f"{SD1}.on_input": torch.tensor(True)}, "IA3|no LoRA"),
        (kohya(modules("lora_unet_double_blocks_0_img_attn_proj")), "Flux"),
        ({f"{SD1}.lora_down.weight": torch.ones(2, 6)}, "not whole"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, tensors, words):
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=words) as caught, lora_file.opened(tmp_path / "x.safetensors"):
        pass
    assert "x.safetensors" in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such file"), lora_file.opened(tmp_path / "x.safetensors"):
        pass


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_nan_is_told_with_its_tensor(tmp_path, value, dtype):
    found = kohya(modules(SD1, shape=(80, 60)))
    found[f"{SD1}.lora_up.weight"][41, 1] = value
    with (
        lora_file.opened(lora_files.save(tmp_path / "x.safetensors", found, dtype=dtype)) as lora,
        pytest.raises(UserError, match="NaN") as caught,
    ):
        lora.tensors(SD1)
    assert f"{SD1}.lora_up.weight" in str(caught.value)


def test_finite():
    assert tensor_files.is_finite(torch.ones(3, dtype=torch.int64)) and tensor_files.is_finite(torch.empty(0))
    assert tensor_files.is_finite(torch.ones(3).to(torch.float8_e4m3fn))
    assert not tensor_files.is_finite(torch.tensor([1.0, float("nan")]).to(torch.float8_e5m2))


def test_peft_s_magnitude_is_of_the_outputs_even_in_square_convolutions(tmp_path):
    path = lora_names.to_peft(SD1.replace("transformer_blocks_0_attn1_to_q", "proj_in"))
    found = {f"{path}.lora_A.weight": torch.ones(2, 8, 1, 1), f"{path}.lora_B.weight": torch.ones(8, 2, 1, 1)}
    found[f"{path}.lora_magnitude_vector.weight"] = torch.arange(1.0, 9).reshape(1, 8, 1, 1)
    with lora_file.opened(lora_files.save(tmp_path / "x.safetensors", found, metadata={})) as lora:
        (name,) = lora.layers
        base = torch.randn(8, 8, 1, 1, generator=draws())
        new = base + deltas.change(lora.tensors(name), base)
        assert torch.allclose(new.flatten(1).norm(dim=1), torch.arange(1.0, 9), atol=1e-5)
        assert lora.tensors(name)["dora_scale"].shape == lora.shapes(name)["dora_scale"] == (8, 1, 1, 1), "as other programs want it"

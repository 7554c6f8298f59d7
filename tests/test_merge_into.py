"""LoRAs in a checkpoint: the same as hung on it, in weights, predictions and diffusers' own fusing; everything else byte for byte."""

import hashlib

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import lora_files
import tiny
from lorabake import merge_into, merge_parts, tensor_files
from lorabake.attach import apply_file
from lorabake.errors import UserError
from lorabake.families import identify, sd1
from lorabake.families.lora_targets import targets
from lorabake.modelfile import read_contents
from lorabake.networks import deltas

CPU = torch.device("cpu")
KINDS = ("lora", "tucker", "loha", "lokr", "full", "dora")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.sd1_file(tmp_path_factory.mktemp("base"))


def merged(base, out, *loras, precision="keep", metadata=None):
    """The base with "FILE=WEIGHT" each, written to `out`."""
    with merge_parts.opened(list(map(str, loras))) as parts, tensor_files.opened(base) as source:
        kind = merge_into.require_base(source)
        merger = merge_into.merger_of(source, merge_into.planned(source, kind.family, parts), precision, CPU)
        merge_into.write(merger, out, {name: name for name in source.names()}, metadata or {})
    return out


def tensors(path):
    return load_file(path)


def expected(base, *loras):
    """(LoRA, weight) each: the sum, in float32, of what each adds to the base itself."""
    known, found = targets(read_contents(base).shapes, "sd1"), {name: tensor.float() for name, tensor in tensors(base).items()}
    first = {name: tensor.clone() for name, tensor in found.items()}
    for path, weight in loras:
        grouped = {}
        for key, tensor in tensors(path).items():
            name, _, suffix = key.partition(".")
            grouped.setdefault(name, {})[suffix] = tensor
        for name, module in grouped.items():
            key = known[name].key
            found[key] = found[key] + weight * deltas.change(module, first[key])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_type_and_each_dialect_of_weight(base, tmp_path, kind):
    lora = lora_files.write(tmp_path / "x.safetensors", lora_files.layers_of(base, conv=True), kind)
    out = tensors(merged(base, tmp_path / "out.safetensors", f"{lora}=-0.6", precision="fp32"))
    wanted = expected(base, (lora, -0.6))
    assert out.keys() == wanted.keys()
    assert all(torch.allclose(out[name], tensor, atol=1e-6) for name, tensor in wanted.items())
    assert sum(not torch.equal(out[name], tensor.float()) for name, tensor in tensors(base).items()) == len(
        lora_files.layers_of(base, conv=True)
    )


def test_several_add_up_whatever_their_order(base, tmp_path):
    found = lora_files.layers_of(base)
    one = lora_files.write(tmp_path / "one.safetensors", found, "dora", seed=1)
    two = lora_files.write(tmp_path / "two.safetensors", found, "lora", seed=2)
    first = tensors(merged(base, tmp_path / "a.safetensors", f"{one}=0.7", f"{two}=0.4", precision="fp32"))
    other = tensors(merged(base, tmp_path / "b.safetensors", f"{two}=0.4", f"{one}=0.7", precision="fp32"))
    wanted = expected(base, (one, 0.7), (two, 0.4))
    assert all(
        torch.allclose(first[name], tensor, atol=1e-6) and torch.allclose(other[name], tensor, atol=1e-6) for name, tensor in wanted.items()
    )


def test_taking_away_gives_the_base_back(base, tmp_path):
    lora = lora_files.write(tmp_path / "x.safetensors", lora_files.layers_of(base))
    there = merged(base, tmp_path / "there.safetensors", f"{lora}=0.8", precision="fp32")
    back = tensors(merged(there, tmp_path / "back.safetensors", f"{lora}=-0.8"))
    assert all(torch.allclose(back[name], tensor.float(), atol=1e-6) for name, tensor in tensors(base).items())


@torch.no_grad()
def outputs(models):
    context = sd1.encode_text(models, ["red apple, thick outline"], clip_skip=1, num_windows=1)
    noisy = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    return context, sd1.predict(models, noisy, torch.tensor([500]), context)


def test_the_same_as_hanging_it_on(base, tmp_path):
    """U-Net and text encoder at weights of their own."""
    lora = lora_files.write(tmp_path / "x.safetensors", lora_files.layers_of(base, conv=True))
    models = sd1.load(identify(base), dtype=torch.float32, device="cpu")
    bare = outputs(models)
    apply_file(models, sd1, lora, 0.8, 0.3)
    hung = outputs(models)
    out = merged(base, tmp_path / "out.safetensors", f"{lora}=0.8,0.3", precision="fp32")
    baked = outputs(sd1.load(identify(out), dtype=torch.float32, device="cpu"))
    for index in (0, 1):
        difference = float((baked[index] - hung[index]).abs().mean())
        assert difference < 1e-4 * float((bare[index] - hung[index]).abs().mean())


def same_weights(out, pipeline):
    ours = sd1.load(identify(out), dtype=torch.float32, device="cpu")
    for mine, theirs in ((ours.unet, pipeline.unet), (ours.text_encoder, pipeline.text_encoder)):
        state = theirs.state_dict()
        assert all(torch.allclose(tensor, state[name], atol=1e-5) for name, tensor in mine.state_dict().items())


def test_the_same_as_diffusers_fusing(base, tmp_path):
    lora = lora_files.write(tmp_path / "x.safetensors", lora_files.layers_of(base))
    pipeline = tiny.sd1_pipeline(sd1.load(identify(base), dtype=torch.float32, device="cpu"))
    pipeline.load_lora_weights(str(tmp_path), weight_name=lora.name)
    pipeline.fuse_lora(lora_scale=0.7)
    pipeline.unload_lora_weights()
    same_weights(merged(base, tmp_path / "out.safetensors", f"{lora}=0.7", precision="fp32"), pipeline)


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"use_dora": True}], ids=["alpha", "rslora", "dora"])
def test_a_file_that_peft_trained_and_diffusers_saved(base, tmp_path, options):
    """Its alpha stands in the metadata alone, other ranks and alphas in patterns; merged by PEFT itself it is the same."""
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig, get_peft_model_state_dict

    torch.manual_seed(4)
    pipeline = tiny.sd1_pipeline(sd1.load(identify(base), dtype=torch.float32, device="cpu"))
    special = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k"
    patterns = {"alpha_pattern": {special: 7}, "rank_pattern": {special: 2}}
    config = LoraConfig(
        r=4, lora_alpha=10, target_modules=["to_q", "to_k", "proj_in", "conv1"], init_lora_weights=False, **patterns, **options
    )
    pipeline.unet.add_adapter(config)
    for name, parameter in pipeline.unet.named_parameters():
        if "magnitude" in name:
            parameter.data.mul_(1.2)
    state = get_peft_model_state_dict(pipeline.unet)
    StableDiffusionPipeline.save_lora_weights(
        tmp_path, unet_lora_layers=state, unet_lora_adapter_metadata=pipeline.unet.peft_config["default"].to_dict()
    )
    pipeline.unet.fuse_lora()
    pipeline.unet.unload_lora()
    lora = tmp_path / "pytorch_lora_weights.safetensors"
    same_weights(merged(base, tmp_path / "out.safetensors", lora, precision="fp32"), pipeline)


def test_what_is_not_touched_is_copied_byte_for_byte(base, tmp_path):
    """Averaged copies, tables of integers, other precisions; in the header's metadata too."""
    extra = {
        "model_ema.diffusion_modelx": torch.randn(3, 4),
        "alphas": torch.rand(5).double(),
        "cond_stage_model.position_ids": torch.arange(77),
    }
    extra |= {
        "model_ema.num_updates": torch.tensor(7, dtype=torch.int32),
        "half": torch.randn(7).bfloat16(),
        "small": torch.ones(3).to(torch.float8_e5m2),
    }
    save_file({**tensors(base), **extra}, tmp_path / "base.safetensors", {"note": "mine"})
    lora = lora_files.write(tmp_path / "x.safetensors", lora_files.layers_of(base)[:3])
    out = merged(tmp_path / "base.safetensors", tmp_path / "out.safetensors", lora, metadata={"note": "mine"})
    before, after = tensors(tmp_path / "base.safetensors"), tensors(out)
    assert before.keys() == after.keys() and all(before[name].dtype == after[name].dtype for name in before)
    changed = [
        name
        for name in before
        if not torch.equal(
            before[name].view(torch.uint8) if before[name].dim() else before[name],
            after[name].view(torch.uint8) if after[name].dim() else after[name],
        )
    ]
    assert sorted(changed) == sorted(layer.key for layer in lora_files.layers_of(base)[:3])
    with safe_open(out, "pt") as file:
        assert file.metadata() == {"note": "mine"}


def test_rounding_happens_once(base, tmp_path):
    """fp16 of the exact sum, not a sum of fp16."""
    layer = lora_files.layers_of(base)[5]
    parts = [lora_files.write(tmp_path / f"{seed}.safetensors", [layer], seed=seed, size=0.02) for seed in range(6)]
    out = tensors(merged(base, tmp_path / "out.safetensors", *parts))[layer.key]
    assert out.dtype == torch.float16 and torch.equal(out, expected(base, *((part, 1.0) for part in parts))[layer.key].half())


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_another_precision_is_of_every_float(base, tmp_path, precision, dtype):
    save_file({**tensors(base), "ids": torch.arange(3)}, tmp_path / "base.safetensors")
    lora = lora_files.write(tmp_path / "x.safetensors", lora_files.layers_of(base)[:1])
    out = tensors(merged(tmp_path / "base.safetensors", tmp_path / "out.safetensors", lora, precision=precision))
    assert {tensor.dtype for name, tensor in out.items() if name != "ids"} == {dtype} and out["ids"].dtype == torch.int64


def test_the_same_input_gives_the_same_bytes(base, tmp_path):
    lora = lora_files.write(tmp_path / "x.safetensors", lora_files.layers_of(base))
    made = [merged(base, tmp_path / f"{number}.safetensors", f"{lora}=0.3") for number in range(2)]
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in made}) == 1


def test_a_pickled_base(base, tmp_path):
    torch.save({"state_dict": tensors(base), "global_step": 3}, tmp_path / "base.ckpt")
    lora = lora_files.write(tmp_path / "x.safetensors", lora_files.layers_of(base))
    ours = tensors(merged(tmp_path / "base.ckpt", tmp_path / "a.safetensors", lora))
    assert all(torch.equal(ours[name], tensor) for name, tensor in tensors(merged(base, tmp_path / "b.safetensors", lora)).items())


def test_sdxl_with_its_joined_projections_biases_and_norms(tmp_path):
    base = lora_files.sdxl_base(tmp_path / "xl.safetensors")
    before = tensors(base)
    name = lora_files.OPENCLIP_NAME
    draws = torch.Generator().manual_seed(2)
    found = {f"{name}_self_attn_k_proj.{suffix}": tensor for suffix, tensor in lora_files.module("lora", (8, 8), 2, draws).items()}
    found |= {f"{name}_self_attn_k_proj.diff_b": torch.ones(8), f"{name}_layer_norm1.w_norm": torch.full((8,), 2.0)}
    found |= {f"{lora_files.SDXL_PEFT}.lora_A.weight": torch.ones(1, 2048), f"{lora_files.SDXL_PEFT}.lora_B.weight": torch.ones(8, 1)}
    found |= {"lora_unet_add_embedding_linear_1.diff": torch.ones(8, 16), "lora_unet_add_embedding_linear_1.diff_b": torch.ones(8)}
    lora = lora_files.save(tmp_path / "x.safetensors", found, metadata={})
    after = tensors(merged(base, tmp_path / "out.safetensors", f"{lora}=0.5,2"))
    rows = after[f"{lora_files.OPENCLIP}.attn.in_proj_weight"] - before[f"{lora_files.OPENCLIP}.attn.in_proj_weight"]
    module = {suffix: found[f"{name}_self_attn_k_proj.{suffix}"] for suffix in ("lora_down.weight", "lora_up.weight", "alpha")}
    assert torch.allclose(rows[8:16], 2 * deltas.delta(module, (8, 8)), atol=1e-6) and not rows[:8].any() and not rows[16:].any()
    change = {key: after[key] - before[key] for key in before}
    assert torch.allclose(change[f"{lora_files.OPENCLIP}.attn.in_proj_bias"], torch.tensor([0.0] * 8 + [2.0] * 8 + [0.0] * 8), atol=1e-6)
    assert torch.allclose(change[f"{lora_files.OPENCLIP}.ln_1.weight"], torch.full((8,), 4.0), atol=1e-6)
    assert torch.allclose(change[lora_files.SDXL_UNET], torch.full((8, 2048), 0.5), atol=1e-6)
    assert torch.allclose(change["model.diffusion_model.label_emb.0.0.bias"], torch.full((8,), 0.5), atol=1e-6)


def test_what_the_base_lacks_is_told(base, tmp_path, capsys):
    found = lora_files.layers_of(base)
    draws = torch.Generator()
    wide = {f"lora_unet_nowhere.{suffix}": tensor for suffix, tensor in lora_files.module("lora", (8, 8), 2, draws).items()}
    query = next(layer for layer in found if layer.name.endswith("attn1_to_q"))  # a layer without bias
    lora = lora_files.save(
        tmp_path / "x.safetensors",
        wide | {f"{query.name}.diff": torch.zeros(query.shape), f"{query.name}.diff_b": torch.ones(query.shape[0])},
    )
    merged(base, tmp_path / "out.safetensors", lora)
    said = capsys.readouterr().err
    assert "x.safetensors: 1 of 2 layers found in the base" in said
    assert f"lacks 2 layers of it: {query.name} (its bias), lora_unet_nowhere" in said


def refused(base, tmp_path, lora, words, precision="keep"):
    with pytest.raises(UserError, match=words) as caught:
        merged(base, tmp_path / "out.safetensors", lora, precision=precision)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name], "nothing is left behind"
    return str(caught.value)


def test_nothing_in_common_is_refused(base, tmp_path):
    lora = lora_files.save(tmp_path / "x.safetensors", {"lora_unet_nowhere.diff": torch.ones(2, 2)})
    assert "lora_unet_nowhere" in refused(base, tmp_path, lora, "no layer of the base")


def test_another_family_is_refused_by_both_names(base, tmp_path):
    lora = lora_files.save(
        tmp_path / "x.safetensors",
        {f"{lora_files.SDXL_NAME}.lora_{side}.weight": torch.ones(size) for side, size in (("down", (1, 2048)), ("up", (8, 1)))},
    )
    assert "tiny.safetensors for Stable Diffusion 1" in refused(base, tmp_path, lora, "x.safetensors is for Stable Diffusion XL")


def test_another_size_is_refused_before_anything_is_written(base, tmp_path):
    layer = lora_files.layers_of(base)[0]
    lora = lora_files.save(tmp_path / "x.safetensors", {f"{layer.name}.diff": torch.ones(3, 5)})
    text = refused(base, tmp_path, lora, "other sizes")
    assert layer.name in text and "(3, 5)" in text and str(layer.shape) in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_lora_with_nan_is_refused(base, tmp_path, value):
    layer = lora_files.layers_of(base)[0]
    lora = lora_files.save(tmp_path / "x.safetensors", {f"{layer.name}.diff": torch.full(layer.shape, value)})
    assert f"{layer.name}.diff" in refused(base, tmp_path, lora, "NaN")


def test_a_base_with_nan_is_refused_where_it_is_changed_and_told_elsewhere(base, tmp_path):
    layer, other = lora_files.layers_of(base)[0], "first_stage_model.post_quant_conv.weight"
    lora = lora_files.write(tmp_path / "x.safetensors", [layer])
    for key in (layer.key, other):
        broken = tensors(base)
        broken[key].view(-1)[0] = float("nan")
        save_file(broken, tmp_path / f"{key}.safetensors")
    assert layer.key in refused(tmp_path / f"{layer.key}.safetensors", tmp_path, lora, "NaN")
    with merge_parts.opened([str(lora)]) as parts, tensor_files.opened(tmp_path / f"{other}.safetensors") as source:
        merger = merge_into.merger_of(source, merge_into.planned(source, "sd1", parts), "keep", CPU)
        merge_into.write(merger, tmp_path / "out.safetensors", {name: name for name in source.names()}, {})
    assert merger.odd == [other]


def test_overflow_is_told(base, tmp_path):
    layer = lora_files.layers_of(base)[0]
    lora = lora_files.save(tmp_path / "x.safetensors", {f"{layer.name}.diff": torch.full(layer.shape, 7e4)})
    assert layer.key in refused(base, tmp_path, lora, r"too large for fp16")
    assert tensors(merged(base, tmp_path / "out.safetensors", lora, precision="bf16"))[layer.key].isfinite().all()


def test_overflow_of_float32_itself_is_told(base, tmp_path):
    layer = lora_files.layers_of(base)[0]
    lora = lora_files.save(tmp_path / "x.safetensors", {f"{layer.name}.diff": torch.full(layer.shape, 3e38)})
    refused(base, tmp_path, f"{lora}=2", "too large for fp32", precision="fp32")


@pytest.mark.parametrize("name", ["lora", "vae", "flux"])
def test_what_is_no_base(base, tmp_path, name):
    found = {
        "lora": {f"{lora_files.SDXL_NAME}.diff": torch.ones(2, 2)},
        "vae": {"decoder.conv_in.weight": torch.ones(2, 2)},
        "flux": {"model.diffusion_model.double_blocks.0.x.weight": torch.ones(2, 2)},
    }
    save_file(found[name], tmp_path / "base.safetensors")
    lora = lora_files.write(tmp_path / "x.safetensors", lora_files.layers_of(base)[:1])
    refused(tmp_path / "base.safetensors", tmp_path, lora, "nothing can be merged into this")

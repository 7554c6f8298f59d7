"""LoRAs merged into one LoRA: exactly the weighted sum, or the nearest that a rank allows; and what cannot be one."""

import pytest
import torch

import lora_files
import tiny
from lorabake import merge_loras, merge_parts
from lorabake.errors import UserError
from lorabake.families.layers import Layer
from lorabake.networks import deltas

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A linear layer, a 1x1 and a 3x3 convolution, one of the text encoder."""
    layers = lora_files.layers_of(tiny.sd1_file(tmp_path_factory.mktemp("base")), conv=True)
    ends = (
        "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        "down_blocks_0_attentions_0_proj_in",
        "down_blocks_0_resnets_0_conv1",
    )
    return [layer for layer in layers if layer.name.endswith(ends)] + layers[:1]


def merged(*loras, rank=None, conv_rank=None, dtype=torch.float32):
    with merge_parts.opened(list(map(str, loras))) as parts:
        return merge_loras.merge(parts, merge_parts.require_same_family(parts), merge_loras.Wish(rank, conv_rank, dtype, CPU))


def changes(made, found):
    """What each layer of the result adds to its weight."""
    return {
        layer.name: deltas.delta(module(made.tensors, layer.name), layer.shape) for layer in found if f"{layer.name}.alpha" in made.tensors
    }


def module(tensors, name):
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}


def wanted(found, *loras):
    from safetensors.torch import load_file

    total = {layer.name: torch.zeros(layer.shape) for layer in found}
    for path, weight in loras:
        tensors = load_file(path)
        for layer in found:
            if own := module(tensors, layer.name):
                total[layer.name] += weight * deltas.delta(own, layer.shape)
    return total


def distance(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("kind", ["lora", "tucker"])
def test_the_exact_sum(found, tmp_path, kind):
    """Different ranks, alphas and layers, a negative weight, one of the text encoder alone."""
    one = lora_files.write(tmp_path / "one.safetensors", found, kind, rank=4)
    two = lora_files.write(tmp_path / "two.safetensors", found[1:], rank=3, seed=2)
    made = merged(f"{one}=0.8,0.3", f"{two}=-0.5")
    sums, unet, text = changes(made, found), wanted(found, (one, 0.8), (two, -0.5)), wanted(found, (one, 0.3), (two, -0.5))
    for layer in found:
        assert distance(sums[layer.name], (text if layer.part == "text_encoder" else unet)[layer.name]) < 1e-6
        own = module(made.tensors, layer.name)
        rank = 4 if layer is found[0] else 7
        assert (
            set(own) == {"alpha", "lora_down.weight", "lora_up.weight"} and float(own["alpha"]) == rank == own["lora_down.weight"].shape[0]
        )
        assert own["lora_down.weight"].dim() == len(layer.shape), "shapes as web UIs know them"


@pytest.mark.parametrize("alpha", [1.0, 128.0])
def test_fp16_keeps_small_changes(found, tmp_path, alpha):
    """alpha / rank of 1 / 32 and the like must not push the numbers out of fp16."""
    from safetensors.torch import load_file

    tensors = load_file(lora_files.write(tmp_path / "x.safetensors", found, rank=32, size=2e-3))
    tensors |= {key: torch.tensor(alpha) for key in tensors if key.endswith(".alpha")}
    one = lora_files.save(tmp_path / "one.safetensors", tensors)
    sums, exact = changes(merged(f"{one}=0.3", dtype=torch.float16), found), wanted(found, (one, 0.3))
    assert all(distance(sums[layer.name], exact[layer.name]) < 2e-3 for layer in found)


def test_1x1_layers_in_two_shapes_are_one_layer(found, tmp_path):
    layer = next(layer for layer in found if layer.name.endswith("proj_in"))
    flat = Layer(layer.name, layer.part, layer.key, layer.shape[:2], layer.block)
    files = [lora_files.write(tmp_path / f"{len(one.shape)}.safetensors", [one], seed=len(one.shape)) for one in (flat, layer)]
    made = merged(*files)
    assert made.tensors[f"{layer.name}.lora_down.weight"].shape == (8, 32, 1, 1)
    assert distance(changes(made, [layer])[layer.name], wanted([layer], *((path, 1) for path in files))[layer.name]) < 1e-6


@pytest.mark.parametrize(("rank", "conv_rank"), [(3, None), (5, 2)])
def test_no_lora_of_the_rank_is_nearer(found, tmp_path, rank, conv_rank):
    files = [lora_files.write(tmp_path / f"{seed}.safetensors", found, rank=6, seed=seed) for seed in (1, 2)]
    made = merged(f"{files[0]}=0.8", f"{files[1]}=0.4", rank=rank, conv_rank=conv_rank)
    sums, exact = changes(made, found), wanted(found, (files[0], 0.8), (files[1], 0.4))
    for layer in found:
        limit = conv_rank if conv_rank and layer.shape[2:] == (3, 3) else rank
        values = torch.linalg.svdvals(exact[layer.name].flatten(1).double())
        best = float(values[limit:].norm() / values.norm())
        assert distance(sums[layer.name], exact[layer.name]) == pytest.approx(best, rel=1e-4)
        assert module(made.tensors, layer.name)["lora_down.weight"].shape[0] == limit
    unet = [layer for layer in found if layer.part == "unet"]
    kept = sum(float(sums[layer.name].norm()) ** 2 for layer in unet) / sum(float(exact[layer.name].norm()) ** 2 for layer in unet)
    assert made.kept("unet") == pytest.approx(kept**0.5, rel=1e-4)


def test_a_rank_that_is_enough_loses_nothing(found, tmp_path):
    files = [lora_files.write(tmp_path / f"{seed}.safetensors", found, rank=3, seed=seed) for seed in (1, 2)]
    exact, made = merged(*files), merged(*files, rank=6)
    assert all(torch.equal(made.tensors[key], tensor) for key, tensor in exact.tensors.items()) and made.kept("unet") == 1


@pytest.mark.parametrize("kind", ["loha", "lokr", "full"])
def test_other_types_become_a_lora_with_a_rank(found, tmp_path, kind):
    other = lora_files.write(tmp_path / "other.safetensors", found, kind, rank=2)
    plain = lora_files.write(tmp_path / "plain.safetensors", found, rank=2, seed=5)
    with pytest.raises(UserError, match="only be approximated") as caught:
        merged(other, plain)
    assert "--rank 32" in str(caught.value) and "other.safetensors" in str(caught.value)
    made = merged(f"{other}=0.5", plain, rank=6)
    sums, exact = changes(made, found), wanted(found, (other, 0.5), (plain, 1))
    for layer in found:
        values = torch.linalg.svdvals(exact[layer.name].flatten(1).double())
        assert distance(sums[layer.name], exact[layer.name]) <= float(values[6:].norm() / values.norm()) * 1.001 + 1e-5


def test_a_rank_of_noise_is_not_stored(found, tmp_path):
    """A LoHa of rank 2 is a matrix of rank 4 at most."""
    made = merged(lora_files.write(tmp_path / "x.safetensors", found, "loha", rank=2), rank=16)
    assert max(made.ranks[0] + made.ranks[1]) == 4 and made.kept("unet") == pytest.approx(1)


def test_flat_types_do_not_say_their_kernel_and_need_not(tmp_path):
    """Known by name: the published model has a 3x3 there."""
    layer = Layer("lora_unet_down_blocks_0_resnets_0_conv1", "unet", "", (8, 6, 3, 3), "", conv=True)
    made = merged(lora_files.write(tmp_path / "x.safetensors", [layer], "loha", rank=2), rank=4)
    assert made.tensors[f"{layer.name}.lora_down.weight"].shape == (4, 6, 3, 3) and made.ranks == ([], [4])


def test_what_cancels_out_is_no_lora(found, tmp_path):
    one = lora_files.write(tmp_path / "x.safetensors", found, "full")
    with pytest.raises(UserError, match="no effect"):
        merged(f"{one}=1", f"{one}=-1", rank=4)


def test_layers_that_are_zero_are_left_out(found, tmp_path):
    one = lora_files.write(tmp_path / "x.safetensors", found)
    zero = lora_files.write(tmp_path / "zero.safetensors", found, size=0.0)
    assert changes(merged(one, zero), found).keys() == {layer.name for layer in found}
    assert all(rank == 4 for rank in merged(one, zero).ranks[0]), "nothing is stacked that adds nothing"
    with pytest.raises(UserError, match="no effect"):
        merged(zero)


def test_a_dora_is_refused_by_name(found, tmp_path):
    with pytest.raises(UserError, match=r"x\.safetensors is a DoRA") as caught:
        merged(lora_files.write(tmp_path / "x.safetensors", found, "dora"), rank=4)
    assert "--into" in str(caught.value)


@pytest.mark.parametrize("suffix", ["diff_b", "b_norm", "w_norm"])
def test_biases_and_norms_are_refused_by_name(found, tmp_path, suffix):
    from safetensors.torch import load_file

    tensors = load_file(lora_files.write(tmp_path / "a.safetensors", found)) | {f"{found[0].name}.{suffix}": torch.ones(8)}
    with pytest.raises(UserError, match="biases or norms"):
        merged(lora_files.save(tmp_path / "x.safetensors", tensors), rank=4)


@pytest.mark.parametrize("shape", [(8, 32), (32, 32, 3, 3)])
def test_layers_of_other_sizes_are_refused_by_both_names(tmp_path, shape):
    name = "lora_unet_mid_block_attentions_0_proj_in"
    files = [lora_files.write(tmp_path / f"{len(s)}{s[0]}.safetensors", [Layer(name, "unet", "", s, "")]) for s in ((32, 32), shape)]
    with pytest.raises(UserError, match="different sizes") as caught:
        merged(*files)
    assert all(path.name in str(caught.value) for path in files) and name in str(caught.value)


def test_too_large_for_fp16_is_said(found, tmp_path):
    one = lora_files.write(tmp_path / "x.safetensors", found, size=3e5)
    with pytest.raises(UserError, match="too large for fp16"):
        merged(one, dtype=torch.float16)
    assert merged(one, dtype=torch.bfloat16).tensors

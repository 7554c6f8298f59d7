"""Upscaling networks told by the names and shapes of their tensors."""

import pytest

import upscale_files
from lorabake import upscale_layouts
from lorabake.errors import UserError
from lorabake.upscale_layouts import Layout


def shapes(state):
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def recognised(state):
    return upscale_layouts.recognise(shapes(state), "model.pth")


@pytest.mark.parametrize(("unshuffle", "num_ups", "scale"), [(1, 2, 4), (2, 2, 2), (4, 2, 1), (1, 1, 2), (1, 3, 8)])
def test_rrdb_in_all_its_scales(unshuffle, num_ups, scale):
    wanted = Layout("rrdb", scale, 8, 3, growth=4, unshuffle=unshuffle, num_ups=num_ups)
    layout, names = recognised(upscale_files.tensors(wanted))
    assert layout == wanted and all(theirs == ours for theirs, ours in names.items())


@pytest.mark.parametrize("num_ups", [0, 1, 2, 3])
def test_the_first_naming(num_ups):
    wanted = Layout("rrdb", 2**num_ups, 8, 2, growth=4, num_ups=num_ups)
    state = upscale_files.tensors(wanted)
    layout, names = recognised(upscale_files.old(state, num_ups, 2))
    assert layout == wanted and set(names.values()) == set(state)


def test_the_first_naming_as_published():
    """ESRGAN's RRDB_ESRGAN_x4_old_arch: places 0, 1.sub.0 to 22, 1.sub.23, 3, 6, 8, 10."""
    published = {f"model.{place}.weight": (64, 64, 3, 3) for place in (3, 6, 8)}
    published |= {"model.0.weight": (64, 3, 3, 3), "model.10.weight": (3, 64, 3, 3), "model.1.sub.23.weight": (64, 64, 3, 3)}
    for block in range(23):
        for dense in (1, 2, 3):
            for conv in range(1, 6):
                published[f"model.1.sub.{block}.RDB{dense}.conv{conv}.0.weight"] = (32 if conv < 5 else 64, 64 + 32 * (conv - 1), 3, 3)
    published |= {name.replace("weight", "bias"): shape[:1] for name, shape in published.items()}
    assert upscale_layouts.recognise(published, "x")[0] == Layout("rrdb", 4, 64, 23, growth=32, num_ups=2)


def test_the_naming_between():
    state = upscale_files.tensors()
    layout, names = recognised(upscale_files.between(state))
    assert layout == upscale_files.RRDB and set(names.values()) == set(state)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_compact(scale):
    wanted = Layout("compact", scale, 8, 4)
    assert recognised(upscale_files.tensors(wanted))[0] == wanted


@pytest.mark.parametrize("wrapper", ["params_ema.", "params.", "params_ema.module."])
def test_wrapped_ones_and_the_better_of_two(wrapper):
    state = {f"{wrapper}{name}": tensor for name, tensor in upscale_files.tensors().items()}
    others = {f"params.{name}": tensor for name, tensor in upscale_files.tensors().items()}
    layout, names = recognised(others | state)
    assert layout == upscale_files.RRDB and all(name.startswith(wrapper) for name in names)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"layers.0.residual_group.blocks.0.attn.relative_position_bias_table": (225, 6)}, "SwinIR"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "Stable Diffusion checkpoint"),
        ({"lora_unet_x.lora_down.weight": (4, 320)}, "a LoRA"),
        ({"weight": (3, 3)}, "no upscaling network"),
        ({}, "no upscaling network"),
    ],
)
def test_other_networks_are_refused_by_name(names, says):
    with pytest.raises(UserError, match=says) as caught:
        upscale_layouts.recognise(names, "model.pth")
    assert "RRDBNet" in caught.value.allowed and caught.value.where == "model.pth"


@pytest.mark.parametrize("change", ["grey", "missing", "more", "relu"])
def test_nearly_the_same_is_not_the_same(change):
    found = shapes(upscale_files.tensors(upscale_files.COMPACT if change == "relu" else upscale_files.RRDB))
    if change == "grey":
        found |= {"conv_first.weight": (8, 1, 3, 3), "conv_last.weight": (1, 8, 3, 3)}
    elif change == "missing":
        del found["body.1.rdb2.conv3.bias"]
    elif change == "more":
        found["body.0.attention.weight"] = (8, 8)
    else:
        found = {name: shape for name, shape in found.items() if len(shape) == 4 or name.endswith("bias")}
    with pytest.raises(UserError, match="for grey pictures" if change == "grey" else "no upscaling network"):
        upscale_layouts.recognise(found, "x")


@pytest.mark.parametrize("wrapper", ["params-ema.", "net.", "netG.", "model_state_dict.module."])
def test_more_ways_to_wrap(wrapper):
    assert recognised({f"{wrapper}{name}": tensor for name, tensor in upscale_files.tensors().items()})[0] == upscale_files.RRDB


def test_four_channels_are_told():
    found = shapes(upscale_files.tensors(upscale_files.COMPACT)) | {"body.0.weight": (8, 4, 3, 3)}
    with pytest.raises(UserError, match="colours and transparency"):
        upscale_layouts.recognise(found, "x")

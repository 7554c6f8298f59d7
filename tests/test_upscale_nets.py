"""The two networks: the same as the published ones, whatever the file is called and how its tensors are named."""

import os
import pickle
import subprocess
import sys

import pytest
import torch

import upscale_files
from lorabake import upscale_nets
from lorabake.errors import UserError
from lorabake.upscale_layouts import Layout

SPANDREL = ("spandrel==0.4.2", "einops==0.8.2")
# Compares every layout with spandrel's networks. torchvision, which it imports and these two networks do not use, is a stand-in.
COMPARE = """
import sys, types, importlib.machinery
class Empty(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})
for name in ("torchvision", "torchvision.ops", "torchvision.transforms", "torchvision.transforms.functional"):
    module = Empty(name)
    module.__spec__, module.__path__ = importlib.machinery.ModuleSpec(name, None), []
    sys.modules[name] = module
import pathlib, torch, spandrel
from safetensors.torch import load_file
from lorabake import upscale_nets
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.safetensors")):
    network, layout = upscale_nets.load(path)
    x = torch.rand((1, 3, 24, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs, ours = spandrel.ModelLoader().load_from_state_dict(load_file(path)).model(x), network(x)
    print(path.stem, tuple(ours.shape) == tuple(theirs.shape) and float((ours - theirs).abs().max()))
"""


def files(folder):
    """A file of each layout and naming."""
    for unshuffle, num_ups in ((1, 2), (2, 2), (4, 2), (1, 3)):
        layout = Layout("rrdb", 2**num_ups // unshuffle, 16, 2, growth=32, unshuffle=unshuffle, num_ups=num_ups)
        upscale_files.write(folder / f"new-{unshuffle}-{num_ups}.safetensors", upscale_files.tensors(layout))
    for num_ups in (0, 1, 2, 3):
        state = upscale_files.tensors(Layout("rrdb", 2**num_ups, 16, 3, growth=32, num_ups=num_ups))
        upscale_files.write(folder / f"old-{num_ups}.safetensors", upscale_files.old(state, num_ups, 3))
    upscale_files.write(
        folder / "between.safetensors", upscale_files.between(upscale_files.tensors(Layout("rrdb", 4, 16, 3, growth=32, num_ups=2)))
    )
    for scale in (1, 2, 4):
        upscale_files.write(folder / f"compact-{scale}.safetensors", upscale_files.tensors(Layout("compact", scale, 16, 4)))
    return folder


@pytest.mark.slow
def test_the_same_as_spandrel(tmp_path):
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path / "site"), *SPANDREL]
    subprocess.run(command, check=True)
    python_path = os.pathsep.join([*map(str, sys.path), str(tmp_path / "site")])
    done = subprocess.run(
        [sys.executable, "-c", COMPARE, str(files(tmp_path / "models"))],
        env=os.environ | {"PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        check=False,
    )
    found = dict(line.split() for line in done.stdout.splitlines())
    assert len(found) == 12, done.stderr
    assert all(float(difference) < 1e-5 for difference in found.values()), found


@pytest.mark.parametrize("wrapper", ["", "params_ema", "params", "state_dict"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_each_kind_of_file_gives_the_same(tmp_path, wrapper, suffix):
    state = upscale_files.tensors()
    plain, _ = upscale_nets.load(upscale_files.write(tmp_path / "plain.safetensors", state))
    half = {name: tensor.half() for name, tensor in state.items()}
    network, layout = upscale_nets.load(upscale_files.write(tmp_path / f"x{suffix}", half, wrapper))
    x_bchw = torch.rand((1, 3, 8, 8))
    assert layout == upscale_files.RRDB and torch.allclose(network(x_bchw), plain(x_bchw), atol=1e-2)
    assert not any(parameter.requires_grad for parameter in network.parameters()) and next(network.parameters()).dtype == torch.float32


def test_namings_give_the_same(tmp_path):
    state = upscale_files.tensors()
    x_bchw = torch.rand((1, 3, 9, 7))
    drawn = [
        upscale_nets.load(upscale_files.write(tmp_path / f"{name}.pth", named))[0](x_bchw)
        for name, named in {"new": state, "between": upscale_files.between(state), "old": upscale_files.old(state, 2, 2)}.items()
    ]
    assert drawn[0].shape == (1, 3, 36, 28) and torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])


def test_a_compact_one_that_draws_nothing_repeats_pixels(tmp_path):
    network, _ = upscale_nets.load(upscale_files.write(tmp_path / "x.pth", upscale_files.nearest(3)))
    x_bchw = torch.rand((1, 3, 5, 4))
    assert torch.equal(network(x_bchw), x_bchw.repeat_interleave(3, 2).repeat_interleave(3, 3))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_file_is_let_go(tmp_path, suffix):
    path = upscale_files.write(tmp_path / f"x{suffix}", upscale_files.tensors())
    network, _ = upscale_nets.load(path)
    x_bchw = torch.rand((1, 3, 8, 8))
    before = network(x_bchw)
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert torch.equal(network(x_bchw), before)


@pytest.mark.parametrize("kind", ["nan", "whole"])
def test_weights_that_are_none_are_refused(tmp_path, kind):
    state = upscale_files.tensors()
    state["conv_hr.bias"] = torch.full((8,), float("nan")) if kind == "nan" else torch.ones(8, dtype=torch.int8)
    with pytest.raises(UserError, match="no numbers"):
        upscale_nets.load(upscale_files.write(tmp_path / "x.safetensors", state))


class Code:
    def __reduce__(self):
        return os.system, ("echo run > run.txt",)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"<!doctype html><html>", "web page"),
        (pickle.dumps({"params": Code()}), "pickle|PyTorch"),
        (b"PK\x03\x04 cut short", "was cut short"),
    ],
)
def test_files_that_are_no_models(tmp_path, data, says):
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(UserError, match=says):
        upscale_nets.load(tmp_path / "x.pth")


def test_code_in_a_pickle_is_named_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"params": upscale_files.tensors(), "more": Code()}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"(posix|nt)\.system"):
        upscale_nets.load(tmp_path / "x.pth")
    assert not (tmp_path / "run.txt").exists()

"""Reading and writing tensor by tensor: the same bytes as the library's, little memory, nothing half-written."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorabake import paths, tensor_files
from lorabake.errors import DiskFull, UserError
from lorabake.tensor_files import Spec

PY = Path(__file__).parents[1] / "py"
TENSORS = {
    "wide": torch.randn(3, 5, dtype=torch.float64),
    "b.half": torch.randn(7).half(),
    "a.half": torch.randn(2, 2, 3, 3).bfloat16(),
    "ids": torch.arange(77)[None],
    "flag": torch.tensor([True, False]),
    "alpha": torch.tensor(4.0),
    "empty": torch.zeros(0, 4),
    "fp8": torch.randn(8).to(torch.float8_e4m3fn),
}


def write(path, tensors=TENSORS, metadata=None, check=lambda aside: None):
    specs = {name: Spec(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    tensor_files.write(path, specs, lambda name, put: put(tensors[name]), metadata or {}, check)


def test_the_bytes_are_those_of_the_safetensors_library(tmp_path):
    write(tmp_path / "ours.safetensors", metadata={"format": "pt"})
    save_file(TENSORS, tmp_path / "theirs.safetensors", {"format": "pt"})
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_what_is_written_loads(tmp_path):
    path = tmp_path / "bücher 本.safetensors"
    write(path, metadata={"b": "ü", "a": "1"})
    loaded = load_file(path)
    assert {*loaded} == {*TENSORS}
    assert all(torch.equal(loaded[name].view(torch.uint8), tensor.view(torch.uint8)) for name, tensor in TENSORS.items() if tensor.dim())


@pytest.mark.parametrize("kind", ["safetensors", "ckpt", "legacy"])
def test_every_format_is_read_alike_and_can_be_read_again(tmp_path, kind):
    tensors = {"big": torch.randn(700, 800), "turned": torch.randn(600, 900).t(), "small": torch.randn(3)}
    path = tmp_path / "model"
    if kind == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    else:
        torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=kind == "ckpt")
    with tensor_files.opened(path) as source:
        assert {*source.names()} == {*tensors} and "big" in source and "other" not in source
        for _ in range(3):  # memory that is let go must come back with the same values
            for name, tensor in tensors.items():
                with source.tensor(name) as read:
                    assert torch.equal(read, tensor)


def test_a_diffusers_folder_is_one_source(tmp_path):
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        (tmp_path / part).mkdir()
        save_file({"x": torch.full((2,), float(len(part)))}, tmp_path / part / "model.safetensors")
    (tmp_path / "model_index.json").write_text("{}", encoding="utf-8")
    with tensor_files.opened(tmp_path) as source:
        assert {*source.names()} == {"unet/x", "vae/x", "text_encoder/x", "text_encoder_2/x"}
        with source.tensor("text_encoder_2/x") as tensor:
            assert tensor[0] == 14


MEMORY = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import torch
from lorabake import tensor_files
from lorabake.tensor_files import Spec
source_path, out = Path(sys.argv[2]), Path(sys.argv[3])
def peak_kib():  # not ru_maxrss, which begins at the size of the process that started this one
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak_kib()
with tensor_files.opened(source_path) as source:
    specs = {name: Spec(torch.float16, source.contents.shapes[name]) for name in source.names()}
    def fill(name, put):
        with source.tensor(name) as tensor:
            put(tensor.half())
    def check(aside):
        with tensor_files.opened(aside) as copy:
            for name in specs:
                with copy.tensor(name) as read, source.tensor(name) as given:
                    assert torch.equal(read, given.half())
    tensor_files.write(out, specs, fill, {}, check)
print((peak_kib() - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read as Linux tells it")
@pytest.mark.parametrize("kind", ["safetensors", "ckpt"])
def test_a_file_of_320_mb_takes_the_memory_of_its_tensors_of_16(tmp_path, kind):
    tensors = {f"t{number}": torch.randn(1024, 4096) for number in range(20)}
    path = tmp_path / "model"
    save_file(tensors, path) if kind == "safetensors" else torch.save(tensors, path)
    words = [sys.executable, "-c", MEMORY, str(PY), str(path), str(tmp_path / "out.safetensors")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 200


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "free_bytes", lambda folder: 100)
    with pytest.raises(DiskFull) as caught:
        write(tmp_path / "x.safetensors")
    assert "are needed" in caught.value.allowed and not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(tmp_path, monkeypatch):
    real, calls = tensor_files.os.write, []

    def full(number, data):
        calls.append(len(data))
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(number, data)

    monkeypatch.setattr(tensor_files.os, "write", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_write_that_takes_a_part_goes_on(tmp_path, monkeypatch):
    real = tensor_files.os.write
    monkeypatch.setattr(tensor_files.os, "write", lambda number, data: real(number, data[:5]))
    write(tmp_path / "x.safetensors")
    assert torch.equal(load_file(tmp_path / "x.safetensors")["wide"], TENSORS["wide"])


def test_a_check_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"mine")

    def check(aside):
        raise UserError("no")

    with pytest.raises(UserError):
        write(path, check=check)
    assert path.read_bytes() == b"mine" and len(list(tmp_path.iterdir())) == 1

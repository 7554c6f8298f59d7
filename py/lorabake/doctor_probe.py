"""Runs inside an environment for `setup.py --check`: loads torch and its friends, lets each compute a little, and tells how it went.

A part that crashes the process must not silence the others, so each is announced before it starts; doctor_ask.py reads this and starts
again with the parts that are left. Not here: what the answers mean (doctor_environment.py).
"""

import importlib.metadata
import json
import sys
from collections.abc import Callable
from typing import Any

PROBLEMS = (ImportError, OSError, RuntimeError, AssertionError, ValueError, TypeError, AttributeError, LookupError)
SIDE = 64
EIGHT_BIT_SIZE = 8192  # bitsandbytes keeps the state of smaller tensors in 32 bits


def torch_part() -> dict[str, Any]:
    """Its versions, and for each card whether a kernel ran on it."""
    import torch

    told: dict[str, Any] = {"version": torch.__version__, "cuda": torch.version.cuda, "python": sys.version.split()[0], "cards": []}
    assert float(torch.ones(8) @ torch.ones(8)) == 8.0, "the CPU computes wrongly"
    if not torch.version.cuda:
        return told
    if not torch.cuda.is_available():
        torch.zeros(1, device="cuda")  # says why not
    for index in range(torch.cuda.device_count()):
        told["cards"].append({"name": torch.cuda.get_device_name(index), "trouble": _kernel(torch, f"cuda:{index}")})
    return told


def _kernel(torch: Any, device: str) -> str:
    try:
        square = torch.ones(SIDE, SIDE, device=device, dtype=torch.float16)
        right = float((square @ square).float().sum()) == float(SIDE**3)
    except PROBLEMS as error:
        return first_line(error)
    return "" if right else "it computes wrongly"


def cudnn_part() -> dict[str, Any]:
    """cuDNN's version as torch found it, and a convolution on the card."""
    import torch

    told: dict[str, Any] = {"version": torch.backends.cudnn.version()}
    if torch.cuda.is_available():
        picture = torch.ones(1, 4, 16, 16, device="cuda", dtype=torch.float16)
        out = torch.nn.functional.conv2d(picture, torch.ones(4, 4, 3, 3, device="cuda", dtype=torch.float16), padding=1)
        assert float(out[0, 0, 8, 8]) == 36.0, "a convolution comes out wrong"
    return told


def onnxruntime_part() -> dict[str, Any]:
    """Whether a session starts where it should: with onnxruntime-gpu on the card, else on the CPU."""
    for_card = bool(version_of("onnxruntime-gpu"))
    told: dict[str, Any] = {"version": version_of("onnxruntime-gpu") or version_of("onnxruntime"), "for_card": for_card}
    import numpy
    import onnxruntime

    if for_card:
        import torch  # noqa: F401  (its CUDA libraries are the ones to use)

        onnxruntime.preload_dlls()
    wanted = "CUDAExecutionProvider" if for_card else "CPUExecutionProvider"
    session = onnxruntime.InferenceSession(onnx_model(), providers=[wanted])
    told["provider"] = session.get_providers()[0]
    (answer,) = session.run(None, {"x": numpy.eye(2, dtype=numpy.float32) * 3})
    assert float(answer[0, 0]) == 9.0, "it computes wrongly"
    return told


def bitsandbytes_part() -> dict[str, Any]:
    """Whether its own library really loads: a step of AdamW8bit on the card, as importing alone proves nothing."""
    import torch

    told: dict[str, Any] = {"version": version_of("bitsandbytes"), "needed": bool(torch.version.cuda)}
    if not told["version"] or not torch.cuda.is_available():  # AdamW8bit is for cards, and the import takes seconds
        return told
    from bitsandbytes import cextension
    from bitsandbytes.optim import AdamW8bit

    stand_in = vars(cextension.lib).get("error_msg")  # of the object that takes the library's place when it does not load
    assert not stand_in, stand_in
    weight = torch.nn.Parameter(torch.ones(EIGHT_BIT_SIZE, device="cuda"))
    optimizer = AdamW8bit([weight], lr=0.1)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert bool((weight < 1).all()), "a step changes nothing"
    return told


def xformers_part() -> dict[str, Any]:
    """Whether it loads and its attention runs; {'version': ''} when it is not installed."""
    told: dict[str, Any] = {"version": version_of("xformers")}
    if not told["version"]:
        return told
    import torch
    import xformers.ops

    if torch.cuda.is_available():
        values = torch.ones(1, 16, 2, 32, device="cuda", dtype=torch.float16)
        assert float(xformers.ops.memory_efficient_attention(values, values, values)[0, 0, 0, 0]) == 1.0, "it computes wrongly"
    return told


def version_of(distribution: str) -> str:
    """The installed version, '' when it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def first_line(error: BaseException) -> str:
    """The first line of an error that says something, with its kind where that helps."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def onnx_model() -> bytes:
    """The smallest ONNX file that makes a card's libraries work: y = x @ x for 2 x 2 matrices. Format: onnx.proto3 of onnx/onnx."""

    def number(field: int, value: int) -> bytes:
        return bytes([field << 3, value])

    def part(field: int, content: bytes) -> bytes:
        return bytes([field << 3 | 2, len(content)]) + content

    square = part(1, number(1, 2)) * 2
    matrix = part(2, part(1, number(1, 1) + part(2, square)))  # elements of type 1 are float32
    node = part(1, b"x") * 2 + part(2, b"y") + part(4, b"MatMul")
    graph = part(1, node) + part(2, b"check") + part(11, part(1, b"x") + matrix) + part(12, part(1, b"y") + matrix)
    return number(1, 8) + part(7, graph) + part(8, number(2, 13))


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "torch": torch_part,
    "cuDNN": cudnn_part,
    "onnxruntime": onnxruntime_part,
    "bitsandbytes": bitsandbytes_part,
    "xformers": xformers_part,
}


def main(names: list[str]) -> None:
    """Do the named parts. Lines on stdout: 'begin NAME', then 'told NAME {json}', where 'trouble' says what did not work."""
    for name in names:
        print(f"begin {name}", flush=True)
        try:
            told = {"trouble": "", **PARTS[name]()}
        except PROBLEMS as error:
            told = {"trouble": first_line(error)}
        print(f"told {name} {json.dumps(told)}", flush=True)
        if name == "torch" and "version" not in told:
            return  # all others need it

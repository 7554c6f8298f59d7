"""A LoRA of rank 32 from a full-size SD 1.5 pair: seconds, peak memory, and how far the result is from the best one of that rank.

  python bench/extract.py WORK
  python bench/extract.py WORK --reference SD_SCRIPTS --reference-python PYTHON --rounds 3

WORK gets the two models (2.1 GB each, random weights; the tuned one differs by a part of low rank and by noise) and keeps them with
--keep. `SD_SCRIPTS` is a checkout of kohya-ss/sd-scripts and `PYTHON` an interpreter with its requirements; both then take turns.
Seconds are of the whole program, its start included; memory is the largest resident size of one process of the tree (wait4). The error
is measured on every tenth layer, against a full SVD in double precision.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "py"), str(ROOT / "bench")]

import measuring
from measuring import Figures

from lorabake import environment

RANK, TRUE_RANK, EACH = 32, 48, 10
LOW, NOISE = 0.02, 0.004  # of the weights' own size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a folder with 5 GB of room")
    parser.add_argument("--reference", type=Path, help="a checkout of kohya-ss/sd-scripts")
    parser.add_argument("--reference-python", default=sys.executable, help="an interpreter with its requirements")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="leave the models there")
    options = parser.parse_args()
    environment.ensure(__file__)
    os.environ.pop("OMP_NUM_THREADS", None)  # every core
    import full_size

    work = options.work.resolve()
    base, tuned = work / "model.safetensors", work / "tuned.safetensors"
    # In processes of their own: what this one takes would count as memory of the programs that it starts.
    for make, words in ((full_size.make_model, (base,)), (make_tuned, (base, tuned))):
        child = multiprocessing.get_context("spawn").Process(target=make, args=words)
        child.start()
        child.join()
    found: dict[str, list[Figures]] = {}
    for number in range(options.rounds):
        commands = {
            "lorabake": [sys.executable, ROOT / "py/extract.py", "--base", base, "--tuned", tuned, "--rank", RANK, "--device", "cpu"]
        }
        if options.reference and number == 0:  # minutes: once is enough
            script = options.reference / "networks/extract_lora_from_models.py"
            words = ["--model_org", base, "--model_tuned", tuned, "--dim", RANK, "--save_precision", "fp16", "--device", "cpu"]
            commands["reference"] = [options.reference_python, script, *words]
        for name, command in commands.items():
            out = work / f"{name}.safetensors"
            out.unlink(missing_ok=True)
            where = ["--out", out] if name == "lorabake" else ["--save_to", out]
            cwd = options.reference if name == "reference" else ROOT
            figures = measuring.run([*map(str, [*command, *where])], work / f"{name}.log", cwd=cwd)
            found.setdefault(name, []).append(figures)
            print(f"round {number + 1} {name:<10} {row(figures)}   (load {os.getloadavg()[0]:.1f})", flush=True)
    print(f"reading both files once, from the page cache: {read_s(base) + read_s(tuned):.1f} s")
    for name, rows in found.items():
        median = Figures(*(statistics.median(getattr(one, key) for one in rows) for key in ("elapsed_s", "cpu_s", "peak_bytes")))
        print(f"median  {name:<10} {row(median)}   error / smallest possible: {errors(base, tuned, work / f'{name}.safetensors')}")
    if not options.keep:
        for path in (base, tuned):
            path.unlink()


def row(figures: Figures) -> str:
    return f"{figures.elapsed_s:6.1f} s   {figures.cpu_s:6.1f} s of the processor   peak {figures.peak_bytes / 1e9:5.2f} GB"


def make_tuned(base: Path, tuned: Path) -> None:
    """The base, and on all 264 layers of a LoRA's scope a change whose values fall like 1 / sqrt(i) up to TRUE_RANK, and noise."""
    if tuned.exists():
        return
    import torch
    from safetensors.torch import load_file, save_file

    from lorabake.families import layers

    tensors = load_file(base)
    generator = torch.Generator().manual_seed(1)
    for layer in layers.layers({name: tuple(tensor.shape) for name, tensor in tensors.items()}, "sd1"):
        if layer.conv:
            continue
        weight = tensors[layer.key].float().flatten(1)
        out, fan = weight.shape
        size = weight.std()
        falling = torch.arange(1, TRUE_RANK + 1) ** -0.5
        change = torch.randn(out, TRUE_RANK, generator=generator) * falling @ torch.randn(TRUE_RANK, fan, generator=generator)
        change = change.mul_(LOW / change.std()).add_(torch.randn(out, fan, generator=generator), alpha=NOISE).mul_(size)
        tensors[layer.key] = (weight + change).reshape(tensors[layer.key].shape).half()
    save_file(tensors, tuned)


def read_s(path: Path) -> float:
    began = time.monotonic()
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(2**24)
        while file.readinto(buffer):
            pass
    return time.monotonic() - began


def errors(base: Path, tuned: Path, lora: Path) -> str:
    """|difference - LoRA| over what a full SVD in double precision leaves, median and worst of every tenth layer."""
    import torch
    from safetensors import safe_open

    from lorabake.families import layers

    ratios = []
    with safe_open(base, "pt") as first, safe_open(tuned, "pt") as second, safe_open(lora, "pt") as third:
        shapes = {name: tuple(first.get_slice(name).get_shape()) for name in first.keys()}  # noqa: SIM118
        scope = [layer for layer in layers.layers(shapes, "sd1") if not layer.conv]
        there = {*third.keys()}  # the reference leaves out text encoders whose weights changed by 0.01 at most
        for layer in [layer for layer in scope[::EACH] if f"{layer.name}.alpha" in there]:
            change = second.get_tensor(layer.key).double().sub_(first.get_tensor(layer.key)).flatten(1)
            up, down = (third.get_tensor(f"{layer.name}.lora_{side}.weight").double().flatten(1) for side in ("up", "down"))
            alpha = third.get_tensor(f"{layer.name}.alpha").item()
            left = torch.linalg.norm(change - up @ down * (alpha / len(down)))
            smallest = torch.linalg.svdvals(change)[RANK:].square().sum().sqrt()
            ratios.append((left / smallest).item())
    return f"{statistics.median(ratios):.4f}, at most {max(ratios):.4f} ({len(ratios)} layers)"


if __name__ == "__main__":
    main()

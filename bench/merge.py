"""Time and peak memory of merging a LoRA of rank 32 into a full-size SD 1.5 checkpoint (fp16, 2.1 GB), and of merging and resizing LoRAs.

python bench/merge.py WORK [--reference SD_SCRIPTS --reference-python PYTHON] [--rounds 3] [--only rank]

Both sides take turns. Peak: the largest resident size of the process, mapped file pages included (wait4). WORK needs 7 GB; what is made
there is deleted at the end.
"""

import argparse
import multiprocessing
import shutil
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "py"), str(ROOT / "bench")]

import full_size
import measuring

from lorabake import environment

RANK = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a folder with 7 GB of room")
    parser.add_argument("--reference", type=Path, help="a checkout of kohya-ss/sd-scripts")
    parser.add_argument("--reference-python", default=sys.executable, help="an interpreter with its requirements")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="what has this word in its name (the reference takes many minutes for ranks)")
    options = parser.parse_args()
    environment.ensure(__file__)
    work = options.work.resolve() / "merge-bench"
    try:
        measure(work, options)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def measure(work: Path, options: argparse.Namespace) -> None:
    # In a process of its own: a child's peak begins with that of the process that started it.
    maker = multiprocessing.get_context("spawn").Process(target=make, args=(work,))
    maker.start()
    maker.join()
    script, style, hair = [sys.executable, str(ROOT / "py" / "lora.py")], str(work / "style.safetensors"), str(work / "hair.safetensors")
    base = str(work / "model.safetensors")
    ours = {
        "into a checkpoint": ["merge", f"{style}=0.8", "--into", base],
        "two LoRAs into one, exactly": ["merge", f"{style}=0.8", f"{hair}=0.5"],
        "two LoRAs into one, rank 32": ["merge", f"{style}=0.8", f"{hair}=0.5", "--rank", "32"],
        "a LoRA to rank 16": ["resize", style, "--rank", "16"],
        "a LoRA by sv_fro=0.9": ["resize", style, "--by", "sv_fro=0.9"],
    }
    python = [options.reference_python]
    merging = [*python, "networks/merge_lora.py", "--precision", "float", "--save_precision", "fp16"]
    resizing = [*python, "networks/resize_lora.py", "--save_precision", "fp16", "--model", style]
    svd = [*python, "networks/svd_merge_lora.py", "--precision", "float", "--save_precision", "fp16", "--new_rank", "32"]
    theirs = {
        "into a checkpoint": [*merging, "--sd_model", base, "--models", style, "--ratios", "0.8"],
        "two LoRAs into one, exactly": [*merging, "--concat", "--models", style, hair, "--ratios", "0.8", "0.5"],
        "two LoRAs into one, rank 32": [*svd, "--models", style, hair, "--ratios", "0.8", "0.5"],
        "a LoRA to rank 16": [*resizing, "--new_rank", "16"],
        "a LoRA by sv_fro=0.9": [*resizing, "--new_rank", "32", "--dynamic_method", "sv_fro", "--dynamic_param", "0.9"],
    }
    out = work / "out.safetensors"
    for what, words in ours.items():
        if options.only not in what:
            continue
        sides: dict[str, Callable[[], tuple[float, float]]] = {"lorabake": partial(run, [*script, *words, "--out", str(out)], out)}
        if options.reference:
            sides["reference"] = partial(run, [*theirs[what], "--save_to", str(out)], out, cwd=options.reference)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(options.rounds):
            for name, side in sides.items():
                found[name].append(side())
        for name, rows in found.items():
            seconds, peak = (statistics.median(column) for column in zip(*rows, strict=True))
            print(f"{what:<28} {name:<10} {seconds:7.1f} s   {peak:6.2f} GiB", flush=True)


def make(work: Path) -> None:
    full_size.make_model(work / "model.safetensors")
    for number, name in enumerate(("style", "hair")):
        make_lora(work / f"{name}.safetensors", number)


def make_lora(path: Path, seed: int) -> None:
    """Rank 32 on U-Net and text encoder, fp16, of falling singular values as trained ones have them."""
    import torch
    from safetensors.torch import save_file

    from lorabake.families.layers import full_size as layers_of

    draws = torch.Generator().manual_seed(seed)
    fall = 0.9 ** torch.arange(RANK)
    tensors = {}
    for layer in layers_of("sd1").values():
        if not layer.conv:
            out, width, *kernel = layer.shape
            tensors[f"{layer.name}.lora_down.weight"] = torch.randn(RANK, width, *kernel, generator=draws) * width**-0.5
            tensors[f"{layer.name}.lora_up.weight"] = torch.randn(out, RANK, *kernel, generator=draws) * 0.02 * fall.reshape(-1, *kernel)
            tensors[f"{layer.name}.alpha"] = torch.tensor(16.0)
    metadata = {"ss_base_model_version": "sd_v1", "ss_network_dim": str(RANK), "ss_network_alpha": "16.0", "ss_v2": "False"}
    save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, path, metadata)


def run(command: list[str], out: Path, *, cwd: Path = ROOT) -> tuple[float, float]:
    """(seconds, GiB) of a command that writes `out`."""
    out.unlink(missing_ok=True)
    figures = measuring.run(command, out.with_suffix(".log"), cwd=cwd)
    assert out.exists(), command
    return figures.elapsed_s, figures.peak_bytes / 2**30


if __name__ == "__main__":
    main()

"""Time and peak memory of py/convert.py on checkpoints of 2 and 7 GB, beside loading them whole and saving them, which is what others do.

  python bench/convert.py WORK --gb 2 7

The files are zip .ckpt in fp32 with random weights and layers of 6 to 52 MB, made once. `plain`:
torch.load, .half(), safetensors' save_file, and nothing is compared. Peak: the largest resident size of the process.
"""

import argparse
import multiprocessing
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "py"), str(ROOT / "bench")]

import measuring
from measuring import Figures

from lorabake import environment

PLAIN = """
import sys, torch
from safetensors.torch import save_file
tensors = torch.load(sys.argv[1], map_location="cpu", weights_only=True)["state_dict"]
save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, sys.argv[2])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a folder with room for twice the files")
    parser.add_argument("--gb", type=float, nargs="+", default=[2.0, 7.0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    environment.ensure(__file__)
    options.work.mkdir(parents=True, exist_ok=True)
    for size_gb in options.gb:
        path = options.work / f"{size_gb:g}gb.ckpt"
        maker = multiprocessing.get_context("spawn").Process(target=make, args=(path, size_gb))
        maker.start()
        maker.join()
        rows: dict[str, list[Figures]] = {}
        for _ in range(options.rounds):
            for name, command in commands(path, options.work).items():
                rows.setdefault(name, []).append(measuring.run(command, options.work / "out.log"))
                for made in options.work.glob("*.safetensors"):
                    made.unlink()
        print(f"{path.stat().st_size / 2**30:.2f} GiB")
        for name, figures in rows.items():
            seconds, peak = (statistics.median(getattr(one, key) for one in figures) for key in ("elapsed_s", "peak_bytes"))
            print(f"  {name:<22} {seconds:6.1f} s   peak {peak / 2**20:8.0f} MiB")


def make(path: Path, size_gb: float) -> None:
    """Layers until the size is reached."""
    if path.exists():
        return
    import torch

    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}
    num_bytes = 0
    for number in range(100_000):
        if num_bytes >= size_gb * 1e9:
            break
        rows = (1280, 3072, 10240)[number % 3]
        name = f"model.diffusion_model.input_blocks.{number}.1.proj.weight"
        tensors[name] = torch.randn(rows, 1280, generator=generator)
        num_bytes += tensors[name].numel() * 4
    torch.save({"state_dict": tensors}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def commands(path: Path, work: Path) -> dict[str, list[str]]:
    out = str(work / "out.safetensors")
    ours = [sys.executable, str(ROOT / "py" / "convert.py"), str(path), "--out", out, "--precision"]
    return {
        "lorabake, fp16": [*ours, "fp16"],
        "lorabake, keep": [*ours, "keep"],
        "plain, fp16": [sys.executable, "-c", PLAIN, str(path), out],
    }


if __name__ == "__main__":
    main()

"""A full-size SD 1.5 layout with random weights, trained for a few steps: seconds before the first step, seconds a step, peak memory.

  python bench/full_size.py WORK
  python bench/full_size.py WORK --reference SD_SCRIPTS --reference-python PYTHON

WORK gets the model (2.1 GB) and the pictures and keeps them. `SD_SCRIPTS` is a checkout of kohya-ss/sd-scripts and `PYTHON` an interpreter
with its requirements; both programs then take turns, on the same model, pictures and settings. The same yardstick for both: the first step
ends when the program says so, a step is the median of the times between, the start is what came before the first step.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "py"))

from lorabake import environment

SIZE_PX, RANK, NUM_PICTURES = 256, 32, 8
PROFILE = """\
name: bench
base_model: {model}
images: {images}
output: {out}
network:
  rank: {rank}
  alpha: {rank}
train:
  epochs: 1
  batch_size: 1
  optimizer: AdamW
  mixed_precision: {precision}
  min_snr_gamma: 0
  noise_offset: 0
  gradient_checkpointing: false
data:
  buckets: false
  resolution: {size}
samples:
  prompts: []
"""
# What the reference trainer asks of torchvision, of which there is no build for this machine's torch: three small functions.
STAND_IN = """\
import numpy, torch
class Compose:
    def __init__(self, steps): self.steps = steps
    def __call__(self, x):
        for step in self.steps: x = step(x)
        return x
class ToTensor:
    def __call__(self, x): return torch.from_numpy(numpy.array(x)).permute(2, 0, 1).float().div(255)
class Normalize:
    def __init__(self, mean, std): self.mean, self.std = mean[0], std[0]
    def __call__(self, x): return (x - self.mean) / self.std
class InterpolationMode:
    BILINEAR = BICUBIC = LANCZOS = NEAREST = None
"""


@dataclass(frozen=True)
class Figures:
    start_s: float
    step_s: float
    peak_gib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a folder that lasts, with 3 GB of room")
    parser.add_argument("--reference", type=Path, help="a checkout of kohya-ss/sd-scripts")
    parser.add_argument("--reference-python", default=sys.executable, help="an interpreter with its requirements")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    environment.ensure(__file__)
    work = options.work.resolve()
    make_model(work / "model.safetensors")
    make_pictures(work / "pictures" / "1_thing")
    found: dict[str, list[Figures]] = {}
    for number in range(options.rounds):
        programs = {"lorabake": lambda: ours(work, options.precision)}
        if options.reference:
            programs["reference"] = lambda: reference(work, options)
        for name, program in programs.items():
            figures = program()
            found.setdefault(name, []).append(figures)
            print(f"round {number + 1} {name:<10} {row(figures)}", flush=True)
    medians = {name: Figures(*map(statistics.median, zip(*map(astuple, rows), strict=True))) for name, rows in found.items()}
    for name, figures in medians.items():
        print(f"median  {name:<10} {row(figures)}")
    if options.reference:
        ratios = [theirs / our for our, theirs in zip(astuple(medians["lorabake"]), astuple(medians["reference"]), strict=True)]
        print("reference / lorabake: start {:.2f}, step {:.2f}, memory {:.2f}".format(*ratios))


def row(figures: Figures) -> str:
    return f"start {figures.start_s:5.1f} s   step {figures.step_s:6.3f} s   peak {figures.peak_gib:5.2f} GiB"


def make_model(path: Path) -> None:
    """Random weights in the original layout, fp16; norms 1, biases 0, the rest normal with deviation 1 / sqrt(fan-in)."""
    if path.exists():
        return
    import torch
    from safetensors.torch import save_file

    from lorabake.families import sd1

    with torch.device("meta"):
        unet = sd1.UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
        vae = sd1.AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, **blocks)
        text = sd1.CLIPTextModel(sd1.CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12))
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, empty in sd1.to_original_keys(sd1.Models(unet, text, vae)).items():
        if empty.dim() > 1:
            tensors[name] = torch.randn(empty.shape, generator=generator).mul_(empty[0].numel() ** -0.5).half()
        else:
            tensors[name] = torch.full(empty.shape, float(name.endswith("weight")), dtype=torch.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def make_pictures(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(NUM_PICTURES):
        pixels = np.random.default_rng(number).integers(0, 256, (SIZE_PX // 8, SIZE_PX // 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((SIZE_PX, SIZE_PX)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a drawing of number {number}", encoding="utf-8")


def ours(work: Path, precision: str) -> Figures:
    """Baked from nothing: no latents, no hash of the model, no earlier run."""
    out = work / "out"
    subprocess.run(["rm", "-rf", out], check=True)
    text = PROFILE.format(model=work / "model.safetensors", images=work / "pictures", out=out, size=SIZE_PX, rank=RANK, precision=precision)
    profile = work / "bench.yaml"
    profile.write_text(text, encoding="utf-8")

    def steps_done() -> int:
        log = out / "bench.runs" / "001" / "log.jsonl"
        return sum('"kind": "step"' in line for line in log.read_text(encoding="utf-8").splitlines()) if log.exists() else 0

    return watch([sys.executable, str(ROOT / "py" / "train.py"), str(profile)], steps_done, work / "lorabake.log")


def reference(work: Path, options: argparse.Namespace) -> Figures:
    tokenizer(work / "tokenizers" / "openai_clip-vit-large-patch14")
    stand_in = work / "stand-in" / "torchvision"
    stand_in.mkdir(parents=True, exist_ok=True)
    (stand_in / "__init__.py").write_text("from . import transforms\n", encoding="utf-8")
    (stand_in / "transforms.py").write_text(STAND_IN, encoding="utf-8")
    subprocess.run(["rm", "-rf", work / "reference-out", *work.glob("pictures/*/*.npz")], check=True)
    settings = {
        "pretrained_model_name_or_path": work / "model.safetensors",
        "train_data_dir": work / "pictures",
        "output_dir": work / "reference-out",
        "output_name": "bench",
        "resolution": SIZE_PX,
        "network_module": "networks.lora",
        "network_dim": RANK,
        "network_alpha": RANK,
        "train_batch_size": 1,
        "max_train_epochs": 1,
        "optimizer_type": "AdamW",
        "learning_rate": 1e-4,
        "mixed_precision": {"fp32": "no", "bf16": "bf16"}[options.precision],
        "save_precision": "fp16",
        "save_model_as": "safetensors",
        "caption_extension": ".txt",
        "max_data_loader_n_workers": 0,
        "seed": 42,
        "tokenizer_cache_dir": work / "tokenizers",
    }
    flags = ["--cache_latents", "--sdpa", "--no_half_vae"]
    words = [f"--{key}={value}" for key, value in settings.items()]
    log = work / "reference.log"

    def steps_done() -> int:
        found = re.findall(r"steps:[^\r\n]*?\| (\d+)/\d+ \[", log.read_text(encoding="utf-8", errors="replace")) if log.exists() else []
        return max(map(int, found), default=0)

    return watch(
        [options.reference_python, "train_network.py", *words, *flags], steps_done, log, cwd=options.reference, path=work / "stand-in"
    )


def tokenizer(folder: Path) -> None:
    """CLIP's vocabulary as the files that older tokenizers read."""
    from lorabake.families.tokenizer import vocabulary

    folder.mkdir(parents=True, exist_ok=True)
    vocab, merges = vocabulary()
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special | {"model_max_length": 77}), encoding="utf-8")


def watch(command: list[str], steps_done, log: Path, *, cwd: Path = ROOT, path: Path | None = None) -> Figures:
    """Run to the end and note when each step was done. Peak: the largest resident size of one process below it (wait4)."""
    variables = (
        os.environ
        | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1"}
        | ({"PYTHONPATH": str(path)} if path else {})
    )
    seen: list[float] = []
    with log.open("wb") as file:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=cwd, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=variables)
        over = threading.Event()

        def look() -> None:
            while not over.wait(0.05):
                while len(seen) < steps_done():
                    seen.append(time.monotonic() - began)

        watcher = threading.Thread(target=look)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        over.set()
        watcher.join()
    if status or len(seen) < NUM_PICTURES:
        sys.exit(f"{command[1]} ended with {os.waitstatus_to_exitcode(status)} after {len(seen)} steps; see {log}")
    step = statistics.median(after - before for before, after in pairwise(seen))
    return Figures(seen[0] - step, step, usage.ru_maxrss / 2**20)


if __name__ == "__main__":
    main()

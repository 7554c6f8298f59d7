"""A new environment proves itself before it is used: imports, a kernel, two training steps, one tag, one conversion. All of it for real.

Runs inside the new environment, as a program of its own (builder.py starts it), in a temporary folder, without network. Each step says what
it saw; the first that fails ends it with a line that begins with ERROR. Not here: whether the card is the right one (doctor.py).
"""

import base64
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lorabake import console, environment
from lorabake.errors import LorabakeError

# Mean colour of the picture and its sigmoid (ReduceMean, Sigmoid; opset 13): 3 scores for blue, green, red.
ONNX = (
    "CAgSADqUAQo5CgVpbnB1dBIEbWVhbiIKUmVkdWNlTWVhbioNCgRheGVzQAFAAqABByoPCghrZWVwZGltcxgAoAECChcKBG1lYW4S"
    "Bm91dHB1dCIHU2lnbW9pZBIBdFogCgVpbnB1dBIXChUIARIRCgMSAW4KAgggCgIIIAoCCANiGQoGb3V0cHV0Eg8KDQgBEgkKAxIB"
    "bgoCCANCBAoAEA0="
)
SIDE_PX = 64
PROFILE = """name: self-test
base_model: pocket
images: pictures
output: baked
network: {rank: 2}
train: {steps: 2, batch_size: 1, mixed_precision: fp32, optimizer: AdamW, cpu_threads: 1}
data: {resolution: 64, holdout: 0}
samples: {prompts: []}
"""


def imports(_folder: Path) -> str:
    """Everything that lorabake needs."""
    for name in environment.NEEDED:
        importlib.import_module(name)
    return f"{len(environment.NEEDED)} packages"


def kernel(_folder: Path) -> str:
    """A product of matrices on the card where torch sees one, else on the CPU, against whole numbers."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    numbers = torch.arange(64.0, device=device).reshape(8, 8)
    if float((numbers @ numbers).sum()) != 529536.0:
        raise LorabakeError(f"torch {torch.__version__} computes wrongly on {device}")
    return f"torch {torch.__version__} on {torch.cuda.get_device_name(0) if device == 'cuda' else 'the CPU'}"


def training(folder: Path) -> str:
    """A bake of two steps on the pocket model, from profile to LoRA."""
    import torch
    from PIL import Image
    from safetensors.torch import load_file

    from lorabake import bake, hardware, plan, profile

    (folder / "pictures").mkdir()
    for number, colour in enumerate(((200, 30, 30), (30, 30, 200))):
        Image.new("RGB", (SIDE_PX, SIDE_PX), colour).save(folder / "pictures" / f"{number}.png")
        (folder / "pictures" / f"{number}.txt").write_text("a plain colour", encoding="utf-8")
    (folder / "self-test.yaml").write_text(PROFILE, encoding="utf-8")
    made = plan.make(profile.load(folder / "self-test.yaml"), hardware.look())
    bake.bake(made, fresh=True)
    tensors = load_file(folder / "baked" / "self-test.safetensors")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise LorabakeError("the LoRA holds numbers that are none")
    return f"2 steps, a LoRA of {len(tensors)} tensors"


def tagging(folder: Path) -> str:
    """A tagger of three tags on a red picture."""
    from PIL import Image

    from lorabake import tagger

    (folder / "model.onnx").write_bytes(base64.b64decode(ONNX))
    rows = "".join(f"{number},{name},0,1\n" for number, name in enumerate(("blue", "green", "red")))
    (folder / "selected_tags.csv").write_text(f"tag_id,name,category,count\n{rows}", encoding="utf-8")
    Image.new("RGB", (SIDE_PX, SIDE_PX), (255, 0, 0)).save(folder / "red.png")
    opened = tagger.opened(folder)
    (scored,) = tagger.score_all(opened, [folder / "red.png"])
    if scored.problem or {number: round(score, 2) for number, score in scored.scores.items()} != {0: 0.5, 1: 0.5, 2: 1.0}:
        raise LorabakeError(f"a red picture was scored {scored.scores} {scored.problem}")
    return f"on {opened.device}"


def conversion(folder: Path) -> str:
    """The LoRA as a .pt file, converted back and compared."""
    import torch
    from safetensors.torch import load_file

    from lorabake import converter

    tensors = load_file(folder / "baked" / "self-test.safetensors")
    torch.save(tensors, folder / "again.pt")
    wish = converter.Wish(precision="keep", dialect="keep", keep_ema=False, out=None, dry_run=False)
    outcome = converter.convert(converter.Found(folder / "again.pt"), wish)
    found = load_file(folder / "again.safetensors") if outcome == "converted" else {}
    if found.keys() != tensors.keys() or not all(torch.equal(found[name], tensors[name]) for name in tensors):
        raise LorabakeError(f"the converted file is not the same ({outcome})")
    return f"{len(found)} tensors, compared"


STEPS: tuple[Callable[[Path], str], ...] = (imports, kernel, training, tagging, conversion)


def main() -> int:
    """Every step in turn; 0 when all passed, else 1."""
    with tempfile.TemporaryDirectory(prefix="lorabake-self-test-", ignore_cleanup_errors=True) as name:
        for step in STEPS:
            began = time.monotonic()
            try:
                told = step(Path(name))
            except (LorabakeError, ImportError, OSError, RuntimeError, ValueError, KeyError, AttributeError, AssertionError) as error:
                words = str(error).strip().replace("\n", ": ")
                console.result(f"ERROR: {step.__name__}: {words or type(error).__name__}")
                return 1
            console.result(f"{step.__name__}: {told}, {console.duration(time.monotonic() - began)}")
    return 0


def start() -> None:
    """As a program: no network, no environment of ours to look for."""
    os.environ.update(HF_HUB_OFFLINE="1", LORABAKE_PYTHON="current")
    console.prepare()
    sys.exit(main())


if __name__ == "__main__":
    start()

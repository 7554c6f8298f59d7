"""Run folders that look like real ones, without training anything: a planned profile, a log with plausible curves, drawn pictures.

`make(tmp, ...)` writes one and returns its folder. Run as a script it writes several for looking at: `python tests/fake_run.py FOLDER`.
"""

import json
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

PY = Path(__file__).parents[1] / "py"
if str(PY) not in sys.path:
    sys.path.insert(0, str(PY))

import picture_sets  # noqa: E402
from lorabake import hardware, plan, report  # noqa: E402

STRENGTHS = (None, 0.6, 0.8, 1.0)
START = 1_700_000_000.0


@dataclass(frozen=True)
class Fake:
    """What kind of run. `stop_at`: the share of the steps that were done; `size`: of the drawn pictures in px."""

    prompts: Sequence[str] = ("red apple", "cat face", "rocket")
    seeds: Sequence[int] = (1, 2)
    epochs: int = 6
    size: tuple[int, int] = (128, 128)
    num_pictures: int = 60
    holdout: int = 4
    status: str = "done"
    message: str = ""
    stop_at: float = 1.0
    every_file: bool = True  # the sheet's pictures one by one, or only the composed one
    noisy: bool = False  # pictures that compress badly
    settings: tuple[tuple[str, str], ...] = ()


def make(folder: Path, fake: Fake = Fake()) -> Path:
    """A run folder `<folder>/out/style.runs/001` with its LoRA files beside it."""
    images = picture_sets.pictures(folder / "set" / "5_style", fake.num_pictures, size=(128, 128))
    settings = {
        "train.epochs": str(fake.epochs),
        "train.batch_size": "4",
        "network.rank": "16",
        "data.holdout": str(fake.holdout),
        "samples.prompts": json.dumps(list(fake.prompts)),
        "samples.seeds": json.dumps(list(fake.seeds)),
        "samples.size": json.dumps(list(fake.size)),
        **dict(fake.settings),
    }
    made = plan.make(picture_sets.load(folder / "p", images.parent, settings), hardware.Seen(()))
    made = replace(made, output=str(folder / "out"))
    run = folder / "out" / "style.runs" / "001"
    run.mkdir(parents=True)
    (run / "plan.json").write_text(made.to_json(), encoding="utf-8")
    events = log(made, fake, run)
    (run / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    seconds = 0.41 * sum(event["kind"] == "step" for event in events)
    result = {"status": fake.status, "message": fake.message, "started_at": START, "seconds": seconds + 40}
    (run / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return run


def log(made: plan.Plan, fake: Fake, run: Path) -> list[dict]:
    rng = random.Random(3)
    last = round(made.total_steps * fake.stop_at)
    events: list[dict] = [{"kind": "start", "step": 0, "time": START, "total_steps": made.total_steps}]
    if fake.holdout:
        events.append({"kind": "heldout", "step": 0, "epoch": 0, "loss": 0.1187})
    for step in range(1, last + 1):
        share = step / made.total_steps
        factor = 0.5 * (1 + math.cos(math.pi * share))
        epoch = math.ceil(step / made.steps_per_epoch)
        events.append(
            {
                "kind": "step",
                "step": step,
                "epoch": epoch,
                "loss": 0.09 + 0.05 * math.exp(-4 * share) + abs(rng.gauss(0, 0.035)),
                "grad_norm": 0.2 + 0.4 * math.exp(-3 * share) + abs(rng.gauss(0, 0.08)),
                "rates": {"text_encoder": 6e-5 * factor, "unet": 3.2e-4 * factor},
                "seconds": 0.41 + rng.random() / 50,
            }
        )
        if step in made.save_steps:
            events += saved(made, fake, run, step)
    if fake.status == "done":
        stems = [name.removesuffix(".safetensors") for name in made.lora_files]
        for stem in dict.fromkeys([stems[-1], stems[-2] if len(stems) > 1 else stems[-1]]):
            events.append(sheet(made, fake, run, stem))
    if fake.status != "running":
        events.append({"kind": "done", "step": last, "status": fake.status})
    return events


def saved(made: plan.Plan, fake: Fake, run: Path, step: int) -> list[dict]:
    """The events of one save, its file and its pictures."""
    epoch, name = round(step / made.steps_per_epoch), made.file_at(step)
    (Path(made.output) / name).write_bytes(bytes(1_700_000 // 64))
    share = step / made.total_steps
    held = 0.1187 - 0.022 * (1 - math.exp(-5 * share)) + 0.006 * max(0.0, share - 0.6)
    drawn = []
    for number, prompt in enumerate(made.prompts, 1):
        path = f"samples/{name.removesuffix('.safetensors')}/{number:02d}.png"
        draw(run / path, prompt.prompt, prompt.seed, share, fake)
        drawn.append({"prompt": prompt.prompt, "seed": prompt.seed, "path": path, "strength": 1.0})
    events = [{"kind": "heldout", "step": step, "epoch": epoch, "loss": held}] if fake.holdout else []
    events.append({"kind": "save", "step": step, "epoch": epoch, "path": name, "seconds": 0.41 * step})
    return [*events, {"kind": "samples", "step": step, "epoch": epoch, "files": drawn}, {"kind": "state", "step": step}]


def sheet(made: plan.Plan, fake: Fake, run: Path, stem: str) -> dict:
    """The event of one final sheet and its pictures."""
    drawn = []
    for strength in STRENGTHS:
        for number, prompt in enumerate(made.prompts, 1):
            path = f"samples/sheet-{stem}/{strength or 'none'}-{number:02d}.png"
            draw(run / path, prompt.prompt, prompt.seed, strength or 0.0, fake)
            drawn.append({"prompt": prompt.prompt, "seed": prompt.seed, "path": path, "strength": strength})
    composed = f"samples/sheet-{stem}.png"
    draw(run / composed, stem, 0, 0.5, replace(fake, size=(900, 700)))
    event = {"kind": "sheet", "step": made.total_steps, "file": f"{stem}.safetensors", "path": composed}
    return {**event, "files": drawn} if fake.every_file else event


def draw(path: Path, prompt: str, seed: int, share: float, fake: Fake) -> None:
    """A drawing that depends on prompt and seed, with outlines that thicken as the style is learned."""
    rng = random.Random(f"{prompt}{seed}")
    width, height = fake.size
    picture = Image.effect_noise(fake.size, 90).convert("RGB") if fake.noisy else Image.new("RGB", fake.size, "white")
    pen = ImageDraw.Draw(picture)
    for _ in range(5):
        x, y, r = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height, rng.uniform(0.08, 0.25) * min(fake.size)
        colour = tuple(rng.randrange(40, 256) for _ in range(3))
        shape = pen.ellipse if rng.random() < 0.6 else pen.rectangle
        shape((x - r, y - r, x + r, y + r), fill=colour, outline=(0, 0, 0), width=max(1, round(share * 0.045 * min(fake.size))))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.filter(ImageFilter.GaussianBlur(0.012 * min(fake.size) * (1 - share))).save(path)


LOOKS = {
    "demo": Fake(),
    "real": Fake(
        prompts=(
            "masterpiece, best quality, 1girl, solo, long hair, looking at viewer, smile, school uniform, cherry blossoms, outdoors",
            "scenery, no humans, sky, cloud, building, street, power lines, sunset",
            "1boy, sitting, cafe, \u732b\u306e\u9854",
        ),
        seeds=(1,),
        epochs=10,
        size=(512, 768),
        status="done",
    ),
    "running": Fake(status="running", stop_at=0.55),
    "stopped": Fake(
        status="stopped", stop_at=0.4, message="stopped by Ctrl-C at step 144 of 360; the state is saved\n  start again to go on"
    ),
    "small": Fake(prompts=("red apple",), seeds=(1,), epochs=1, holdout=0, num_pictures=8),
}

if __name__ == "__main__":
    for name, look in LOOKS.items():
        print(report.write(make(Path(sys.argv[1]) / name, look)))

"""The pictures of a whole bake of the tiny model: samples and previews from the saved files, the sheets, the cache, the further LoRA."""

import json
import shutil
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

import baking
from lorabake import bake, gallery, report, runlog, sampler
from lorabake.hashes import Hashes
from lorabake.prompts import Extra
from lorabake.weights import read_header

SETTINGS = {
    "samples.prompts": '["blocks", "number <lora:ink:0.5>"]',
    "samples.seeds": "[1, 2]",
    "samples.every_epochs": "1",
    "data.holdout": "1",
}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=int)


def text_of(path: Path) -> str:
    with Image.open(path) as picture:
        return picture.info["parameters"]


@pytest.fixture(scope="module")
def baked(tmp_path_factory):
    """(output folder, run folder) of two epochs, after another bake whose LoRA is the further one."""
    folder = tmp_path_factory.mktemp("gallery")
    assert bake.bake(baking.make(folder, {"name": "ink", "train.epochs": "1", "train.seed": "5"})) == 0
    assert bake.bake(baking.make(folder, SETTINGS)) == 0
    return folder / "out", folder / "out/style.runs/001"


def events(run: Path, kind: str) -> list[dict]:
    return [event for event in runlog.read(run / "log.jsonl") if event["kind"] == kind]


def test_samples_of_each_save(baked):
    out, run = baked
    drawn = events(run, "samples")
    assert [event["epoch"] for event in drawn] == [1, 2]
    for event, stem in zip(drawn, ["style-000001", "style"], strict=True):
        assert [(f["prompt"], f["seed"], f["strength"]) for f in event["files"]] == [
            ("blocks", 1, 1.0),
            ("blocks", 2, 1.0),
            ("number <lora:ink:0.5>", 1, 1.0),
            ("number <lora:ink:0.5>", 2, 1.0),
        ]
        assert (out / f"{stem}.preview.png").read_bytes() == (run / event["files"][0]["path"]).read_bytes()
        assert f"blocks <lora:{stem}:1>" in text_of(run / event["files"][0]["path"])
    assert (pixels(run / drawn[0]["files"][0]["path"]) != pixels(run / drawn[1]["files"][0]["path"])).any()


def test_texts_name_every_lora(baked):
    out, run = baked
    text = text_of(run / events(run, "samples")[1]["files"][2]["path"])
    assert text.startswith("number <lora:ink:0.5> <lora:style:1>\n")
    hashes = json.loads(text.partition("Lora hashes: ")[2].partition(", Version")[0])
    wanted = {name: read_header(out / f"{name}.safetensors")[1]["sshs_model_hash"][:12] for name in ("style", "ink")}
    assert hashes == ", ".join(f"{name}: {digest}" for name, digest in wanted.items())


def test_the_sheets(baked):
    _, run = baked
    found = events(run, "sheet")
    assert {event["file"] for event in found} <= {"style.safetensors", "style-000001.safetensors"} and found[0][
        "file"
    ] == "style.safetensors"
    for event in found:
        assert (run / event["path"]).is_file()
        assert [f["strength"] for f in event["files"]] == [s for s in (None, 0.6, 0.8, 1.0) for _ in range(4)]
        by_strength = {f["strength"]: pixels(run / f["path"]) for f in event["files"][::4]}
        distance = [np.abs(by_strength[s] - by_strength[None]).mean() for s in (0.6, 0.8, 1.0)]
        assert 0 < distance[0] < distance[2], "more strength, further from the base model"
    last = next(event for event in events(run, "samples") if event["epoch"] == 2)
    full = next(f for f in found[0]["files"] if f["strength"] == 1.0)
    assert (pixels(run / full["path"]) == pixels(run / last["files"][0]["path"])).all()


def test_the_report_has_them(baked):
    _, run = baked
    text = report.write(run).read_text(encoding="utf-8")
    assert "With and without the LoRA" in text and text.count('class="cell') == len(events(run, "sheet")) * 16 + 3 * 4
    assert "no picture" not in text and "number &lt;lora:ink:0.5&gt;" in text


class Counting:
    """Counts the pictures that are drawn."""

    def __init__(self, monkeypatch) -> None:
        self.count = 0
        original = sampler.draw

        def draw(painter, prompts):
            self.count += len(prompts)
            return original(painter, prompts)

        monkeypatch.setattr(sampler, "draw", draw)


def test_pictures_without_lora_are_drawn_once_per_base(baked, tmp_path, monkeypatch):
    out, _ = baked
    made = baking.make(out.parent, SETTINGS)
    ready: Future[Hashes] = Future()
    memory = bake.hashes.HashMemory(out / ".cache/hashes.json")
    ready.set_result(memory.of_model(Path(made.base.path)))
    kit = baking.laid_out(made)
    drawing = Counting(monkeypatch)
    found = gallery.Gallery(made, kit, tmp_path, ready)
    first = found.pictures(None, 0.0)
    assert drawing.count == 0 and len(first) == 4
    assert all(p.size == (64, 64) for p in first)

    damaged = found.cache_file(made.prompts[0])
    damaged.write_bytes(b"no picture")
    again = found.pictures(None, 0.0)
    assert drawing.count == 1 and (np.asarray(again[0]) == np.asarray(first[0])).all()

    ink = out / "ink.safetensors"
    shutil.copyfile(out / "style-000001.safetensors", ink)  # another LoRA of that name: its pictures are others
    other = found.pictures(None, 0.0)
    assert drawing.count == 3 and (np.asarray(other[2]) != np.asarray(first[2])).any()
    assert (np.asarray(other[0]) == np.asarray(first[0])).all()


def test_a_further_lora_that_does_not_fit_whole_is_told_once(baked, tmp_path, capsys):
    out, _ = baked
    made = baking.make(out.parent, SETTINGS)
    tensors = load_file(out / "ink.safetensors")
    known = next(name for name in tensors if name.endswith("lora_down.weight"))
    for part in ("lora_down.weight", "lora_up.weight", "alpha"):
        tensors[f"lora_unet_elsewhere.{part}"] = tensors[known.replace("lora_down.weight", part)].clone()
    save_file(tensors, out / "wide.safetensors", read_header(out / "ink.safetensors")[1])
    found = gallery.Gallery(made, baking.laid_out(made), tmp_path, Future())
    for _ in range(2):
        with found.wearing(None, 0.0, [Extra("wide", 0.5, 0.5)]):
            pass
    told = [line for line in capsys.readouterr().err.splitlines() if "no place" in line]
    assert told == ["wide.safetensors: no place in this model for 1 layer of it, such as lora_unet_elsewhere"]


def test_no_prompts_no_pictures(tmp_path):
    made = baking.make(tmp_path, {"samples.prompts": "[]", "train.epochs": "1"})
    assert made.prompts == () and made.costs.num_sample_pictures == 0
    assert bake.bake(made) == 0
    run = tmp_path / "out/style.runs/001"
    assert not events(run, "samples") and not events(run, "sheet") and (run / "report.html").is_file()


def test_the_models_are_as_before(baked, tmp_path):
    out, _ = baked
    made = baking.make(out.parent, SETTINGS)
    ready: Future[Hashes] = Future()
    ready.set_result(Hashes("0" * 64, ""))
    kit = baking.laid_out(made)
    layers = {name: adapter.module.forward for name, adapter in kit.attached.adapters.items()}
    found = gallery.Gallery(made, kit, tmp_path, ready)
    found.pictures(out / "style.safetensors", 0.6)
    assert kit.attached.strengths == {"unet": 1.0, "text_encoder": 1.0}
    assert layers == {name: adapter.module.forward for name, adapter in kit.attached.adapters.items()}
    assert all(len(adapter.module.forward.adapters) == 1 for adapter in kit.attached.adapters.values())

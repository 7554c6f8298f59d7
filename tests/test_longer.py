"""Epochs raised on a finished run: the file that was the last one stays, under its epoch's name, with its pictures."""

import baking
from lorabake import bake, report_run

SETTINGS = {"samples.prompts": "[blocks]", "samples.every_epochs": "1", "data.holdout": "1"}


def test_the_finished_file_stays_as_its_epoch(tmp_path):
    out, run = tmp_path / "out", tmp_path / "out/style.runs/001"
    assert bake.bake(baking.make(tmp_path, SETTINGS | {"train.epochs": "1"})) == 0
    finished, preview = (out / "style.safetensors").read_bytes(), (out / "style.preview.png").read_bytes()
    sample = (run / "samples/style/01.png").read_bytes()

    longer = baking.make(tmp_path, SETTINGS | {"train.epochs": "3"})
    assert bake.bake(longer) == 0
    assert (out / "style-000001.safetensors").read_bytes() == finished
    assert (out / "style-000001.preview.png").read_bytes() == preview
    assert (run / "samples/style-000001/01.png").read_bytes() == sample
    assert (out / "style.safetensors").read_bytes() != finished

    told = report_run.read(run)
    assert [saved.name for saved in told.saved] == list(longer.lora_files)
    assert all(saved.place for saved in told.saved)
    assert [made.drawn[0].path.parent.name for made in told.samples] == ["style-000001", "style-000002", "style"]
    assert told.result["files"] == list(longer.lora_files)


def test_where_the_longer_plan_saves_nothing_there(tmp_path):
    every_second = SETTINGS | {"save.every_epochs": "2"}
    assert bake.bake(baking.make(tmp_path, every_second | {"train.epochs": "1"})) == 0
    finished = (tmp_path / "out/style.safetensors").read_bytes()
    longer = baking.make(tmp_path, every_second | {"train.epochs": "2"})
    assert longer.lora_files == ("style.safetensors",)
    assert bake.bake(longer) == 0
    assert (tmp_path / "out/style-000001.safetensors").read_bytes() == finished

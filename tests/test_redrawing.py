"""Samples changed on a finished run: new pictures from the same files, nothing trained."""

import contextlib

import baking
from lorabake import bake, redrawing, report_run

SETTINGS = {"samples.prompts": "[blocks]", "samples.every_epochs": "1", "train.epochs": "2"}


def test_other_prompts_are_drawn_from_the_saved_files(tmp_path, capsys):
    out, run = tmp_path / "out", tmp_path / "out/style.runs/001"
    assert bake.bake(baking.make(tmp_path, SETTINGS)) == 0
    before = {path.name: path.read_bytes() for path in out.glob("*.safetensors")}
    first = (run / "samples/style/01.png").read_bytes()
    (out / "style-000001.safetensors").rename(tmp_path / "taken away.safetensors")

    changed = baking.make(tmp_path, SETTINGS | {"samples.prompts": "[blocks, other blocks]", "samples.seeds": "[5]"})
    assert bake.bake(changed) == 0
    assert "nothing is trained" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.glob("*.safetensors")} == {"style.safetensors": before["style.safetensors"]}
    assert (run / "samples/style/01.png").read_bytes() != first and (run / "samples/style/02.png").exists()
    told = report_run.read(run)
    assert [(drawn.prompt, drawn.seed) for drawn in told.samples[-1].drawn] == [("blocks", "5"), ("other blocks", "5")]
    assert told.result["status"] == "done" and not (run / redrawing.MARK).exists()
    assert bake.bake(changed) == 0 and "already baked" in capsys.readouterr().err


def test_killed_while_drawing_it_draws_the_rest_next_time(tmp_path, monkeypatch):
    assert bake.bake(baking.make(tmp_path, SETTINGS)) == 0
    changed = baking.make(tmp_path, SETTINGS | {"samples.seeds": "[7]"})
    with monkeypatch.context() as patched:
        patched.setattr(bake.Gallery, "epoch", lambda *_args, **_more: (_ for _ in ()).throw(KeyboardInterrupt))
        with contextlib.suppress(KeyboardInterrupt):
            bake.bake(changed)
    assert bake.bake(changed) == 0
    told = report_run.read(tmp_path / "out/style.runs/001")
    assert {drawn.seed for made in told.samples[-2:] for drawn in made.drawn} == {"7"}

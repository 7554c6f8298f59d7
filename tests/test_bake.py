"""Whole bakes of the tiny model through py/train.py in a process of its own: done, stopped, killed, continued, and every bad input."""

import json
import os
import pickle
import subprocess
import sys
import time
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import baking
from lorabake import bake, errors, paths, runlog, weights

ROOT = Path(__file__).parents[1]
SAVING = {"save.state_minutes": "0.0001"}  # a state after each step


def command(folder, settings=None, *more):
    given = [word for key, value in {**baking.QUICK, **(settings or {})}.items() for word in ("--set", f"{key}={value}")]
    return [sys.executable, str(ROOT / "py/train.py"), str(folder / "style.yaml"), *given, *more]


def start(folder, settings=None, *more):
    environment = {**os.environ, "LORABAKE_PYTHON": "current", "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen(
        command(folder, settings, *more), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )


def run(folder, settings=None, *more):
    child = start(folder, settings, *more)
    text, _ = child.communicate(timeout=300)
    return child.returncode, text


def result(folder):
    return json.loads((folder / "out/style.runs/001/result.json").read_text(encoding="utf-8"))


def model_hash(folder):
    return weights.read_header(folder / "out/style.safetensors")[1]["sshs_model_hash"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One bake from beginning to end without a break; (folder, its output)."""
    folder = tmp_path_factory.mktemp("whole")
    baking.profile_file(folder)
    code, text = run(folder)
    assert code == 0, text
    return folder, text


def test_a_bake_leaves_a_lora_and_a_true_result(whole):
    folder, text = whole
    out, found = folder / "out", result(folder)
    assert (found["status"], found["exit_code"], found["step"], found["total_steps"]) == ("done", 0, 6, 6)
    assert found["files"] == ["style-000001.safetensors", "style.safetensors"]
    assert all((out / name).exists() for name in found["files"])
    assert {path.name for path in (out / "style.runs/001").iterdir()} >= {"plan.json", "log.jsonl", "state", "report.html", "result.json"}
    steps = [event["step"] for event in runlog.read(out / "style.runs/001/log.jsonl") if event["kind"] == "step"]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert text.strip() and str(out / "style.safetensors") in text
    assert not list(out.rglob("_tmp*")) and not list(out.rglob("lock.json"))


def test_a_second_start_has_nothing_to_do(whole):
    folder, _ = whole
    before = (folder / "out/style.safetensors").read_bytes()
    code, text = run(folder)
    assert code == 0 and "already baked" in text
    assert (folder / "out/style.safetensors").read_bytes() == before


def wait_for(child, condition, seconds=120):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        if child.poll() is not None:
            pytest.fail(f"ended too early ({child.returncode}): {child.stdout.read()}")
        time.sleep(0.01)


def test_killed_twice_and_stopped_it_ends_in_the_same_weights(whole, tmp_path):
    baking.profile_file(tmp_path)
    run_folder = tmp_path / "out/style.runs/001"

    child = start(tmp_path, SAVING)  # killed while it makes its latents or shortly after
    wait_for(child, lambda: list((tmp_path / "out").rglob("latents/*/*")))
    child.kill()
    child.communicate()
    assert result(tmp_path)["status"] == "running"

    child = start(tmp_path, SAVING)  # killed at or in a step or the writing of a state
    wait_for(child, lambda: list(run_folder.glob("state/0*2")))
    child.kill()
    child.communicate()

    (run_folder / "stop").write_text("", encoding="utf-8")
    code, text = run(tmp_path, SAVING)
    assert code == 13, text
    assert "going on from step" in text and "the state is saved" in text
    stopped = result(tmp_path)
    assert (stopped["status"], stopped["exit_code"]) == ("stopped", 13) and 0 < stopped["step"] < 6
    assert not (run_folder / "stop").exists()

    code, text = run(tmp_path, SAVING)
    assert code == 0, text
    assert model_hash(tmp_path) == model_hash(whole[0])
    assert result(tmp_path)["files"] == ["style-000001.safetensors", "style.safetensors"]
    steps = [event["step"] for event in runlog.read(run_folder / "log.jsonl") if event["kind"] == "step"]
    assert steps == [1, 2, 3, 4, 5, 6]


# --- in this process: stops at a step that saves, bad inputs


def baked(folder, settings=None, **more):
    return bake.bake(baking.make(folder, settings), **more)


@pytest.mark.parametrize("at", [3, 6])
def test_a_stop_at_a_step_that_saves_loses_no_file(tmp_path, monkeypatch, at):
    """The file and the state of such a step belong together: a state without its file would be gone on with and never write it."""
    baking.profile_file(tmp_path)
    real = bake.trainer.optimizer_step
    calls = []

    def counted(*given):
        calls.append(1)
        if len(calls) == at:
            (tmp_path / "out/style.runs/stop").write_text("", encoding="utf-8")
        return real(*given)

    monkeypatch.setattr(bake.trainer, "optimizer_step", counted)
    with baking.one_thread():
        if at < 6:
            with pytest.raises(errors.Stopped):
                baked(tmp_path)
            assert (tmp_path / "out/style-000001.safetensors").exists()
        assert baked(tmp_path) == 0
    assert result(tmp_path)["status"] == "done"
    assert result(tmp_path)["files"] == ["style-000001.safetensors", "style.safetensors"]
    assert (tmp_path / "out/style.safetensors").exists()


def test_the_end_time_stops_it_with_the_state_saved_and_the_next_start_goes_on(tmp_path):
    baking.profile_file(tmp_path)
    with baking.one_thread():
        with pytest.raises(errors.Stopped, match="the end that was given"):
            baked(tmp_path, end=datetime.now())
        assert (result(tmp_path)["status"], result(tmp_path)["exit_code"], result(tmp_path)["step"]) == ("stopped", 13, 1)
        assert baked(tmp_path, end=datetime.now() + timedelta(days=1)) == 0
    assert result(tmp_path)["status"] == "done"


def test_a_diverged_run_says_so_in_its_result(tmp_path, monkeypatch):
    baking.profile_file(tmp_path)
    real = bake.trainer.losses
    monkeypatch.setattr(bake.trainer, "losses", lambda *given: real(*given) * (float("nan") if given[3] > 3 else 1.0))
    with pytest.raises(errors.Diverged):
        baked(tmp_path)
    found = result(tmp_path)
    assert (found["status"], found["exit_code"], found["files"]) == ("diverged", 11, ["style-000001.safetensors"])
    assert (tmp_path / "out/style-000001.safetensors").exists(), "the last good file is kept"


def test_unreadable_pictures_are_all_listed_before_training(tmp_path):
    baking.profile_file(tmp_path)
    for number in (1, 3):
        path = tmp_path / f"set/1_blocks/{number}.png"
        data = bytearray(path.read_bytes())
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        path.write_bytes(data)
    with pytest.raises(errors.UserError) as caught:
        baked(tmp_path)
    assert caught.value.exit_code == 1 and "2 of 4 pictures" in str(caught.value)
    assert "1.png" in str(caught.value) and "3.png" in str(caught.value) and "0.png" not in str(caught.value)
    assert not (tmp_path / "out/style.runs/001").exists()


def test_a_full_disk_is_code_12_and_goes_on_later(tmp_path, monkeypatch):
    baking.profile_file(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(paths, "free_bytes", lambda folder: 1000)
        with pytest.raises(errors.DiskFull) as caught:
            baked(tmp_path)
    assert caught.value.exit_code == 12 and "free" in str(caught.value)
    assert result(tmp_path)["status"] == "disk full"
    assert not list((tmp_path / "out").glob("*.safetensors"))
    assert baked(tmp_path) == 0


def test_an_output_that_is_no_folder_is_said(tmp_path):
    baking.profile_file(tmp_path)
    made = baking.make(tmp_path)
    (tmp_path / "out").write_text("a file", encoding="utf-8")
    with pytest.raises(errors.UserError, match="cannot write here"):
        bake.bake(made)


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_without_permission_is_said(tmp_path):
    baking.profile_file(tmp_path)
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(errors.UserError, match="cannot write here"):
        baked(tmp_path)


class Code:
    def __reduce__(self):
        return os.system, ("echo harm",)


def missing(folder):
    (folder / "tiny.safetensors").unlink()
    return "tiny.safetensors"


def wrong_family(folder):
    key = "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight"
    unet = "model.diffusion_model.input_blocks.0.0.weight"
    save_file({key: torch.zeros(4, 4), unet: torch.zeros(4, 4, 3, 3)}, folder / "tiny.safetensors")
    return "Stable Diffusion XL"


def truncated(folder):
    path = folder / "tiny.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return "(?i)(truncated|incomplete|cut|shorter|half)"


def code_inside(folder):
    (folder / "tiny.safetensors").unlink()
    with zipfile.ZipFile(folder / "tiny.ckpt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": Code()}))
        archive.writestr("archive/version", "3")
    text = (folder / "style.yaml").read_text(encoding="utf-8").replace("tiny.safetensors", "tiny.ckpt")
    (folder / "style.yaml").write_text(text, encoding="utf-8")
    return "(?i)(system|unknown)"


def no_pictures(folder):
    for path in (folder / "set").rglob("*.*"):
        path.unlink()
    return "(?i)pictures"


@pytest.mark.parametrize("harm", [missing, wrong_family, truncated, code_inside, no_pictures])
def test_bad_input_is_refused_in_words(tmp_path, harm, capfd):
    baking.profile_file(tmp_path)
    expected = harm(tmp_path)
    with pytest.raises(errors.LorabakeError, match=expected) as caught:
        baked(tmp_path)
    assert caught.value.exit_code == 1
    assert "harm" not in capfd.readouterr().out
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_bad_input_ends_the_process_with_its_code(tmp_path):
    baking.profile_file(tmp_path)
    (tmp_path / "tiny.safetensors").unlink()
    code, text = run(tmp_path)
    assert code == 1 and "tiny.safetensors" in text and "Traceback" not in text


def test_finished_files_are_copied_and_a_different_one_there_is_kept(tmp_path):
    baking.profile_file(tmp_path)
    (tmp_path / "ui").mkdir()
    (tmp_path / "ui/style.safetensors").write_bytes(b"theirs")
    assert baked(tmp_path, {"save.copy_to": str(tmp_path / "ui"), "train.epochs": "1"}) == 0
    assert (tmp_path / "ui/style.safetensors").read_bytes() == (tmp_path / "out/style.safetensors").read_bytes()
    [kept] = (tmp_path / "ui").glob("style.before-*.safetensors")
    assert kept.read_bytes() == b"theirs"


def test_an_epoch_more_goes_on_and_another_seed_moves_the_files(tmp_path):
    baking.profile_file(tmp_path)
    assert baked(tmp_path, {"train.epochs": "1"}) == 0
    assert baked(tmp_path, {"train.epochs": "2"}) == 0
    steps = [event["step"] for event in runlog.read(tmp_path / "out/style.runs/001/log.jsonl") if event["kind"] == "step"]
    assert steps == [1, 2, 3, 4, 5, 6]
    last = (tmp_path / "out/style.safetensors").read_bytes()
    assert baked(tmp_path, {"train.epochs": "1", "train.seed": "5"}) == 0
    assert (tmp_path / "out/style.runs/001/style.safetensors").read_bytes() == last
    assert (tmp_path / "out/style.safetensors").read_bytes() != last
    assert result(tmp_path)["status"] == "done" and (tmp_path / "out/style.runs/002/result.json").exists()


def test_keep_last_drops_only_older_ones_of_this_run(tmp_path):
    baking.profile_file(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/other-000001.safetensors").write_bytes(b"x")
    assert baked(tmp_path, {"train.epochs": "3", "save.keep_last": "1"}) == 0
    names = {path.name for path in (tmp_path / "out").glob("*.safetensors")}
    assert {"other-000001.safetensors", "style.safetensors"} <= names and len(names) <= 3
    assert set(result(tmp_path)["files"]) == names - {"other-000001.safetensors"}

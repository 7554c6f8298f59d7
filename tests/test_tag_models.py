"""Taggers are downloaded once, checked, resumed, and then need no network; against a hub on this machine, by huggingface_hub itself."""

import json
import os
import random
import subprocess
import sys
import time

import pytest

import fake_hub
import tagger_model
from lorabake import paths, tag_models
from lorabake.errors import UserError

ASK = """
import sys
from pathlib import Path
from lorabake import errors, tag_models
name, store, *refresh = sys.argv[1:]
errors.run(lambda: print(tag_models.folder_of(name, store=Path(store), refresh=bool(refresh))) or 0)
"""
REPOSITORY = "SmilingWolf/wd-vit-tagger-v3"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def files(tmp_path):
    """The two files of a tagger; the model is the larger one."""
    folder = tagger_model.write(tmp_path / "model")
    model, labels = (folder / "model.onnx").read_bytes(), (folder / "selected_tags.csv").read_bytes()
    return {f"{REPOSITORY}/model.onnx": model, f"{REPOSITORY}/selected_tags.csv": labels, f"{REPOSITORY}/README.md": b"x"}


@pytest.fixture
def hub(files):
    with fake_hub.running(fake_hub.Hub(files)) as running:
        yield running


def start(address, store, name="wd-vit-tagger-v3", *, refresh=False, offline="0"):
    variables = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": offline, "PYTHONPATH": str(paths.ROOT / "py"), "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", ASK, name, str(store), *(["refresh"] if refresh else [])]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    return subprocess.Popen(command, env={**os.environ, **variables}, **pipes)


def ask(address, store, name="wd-vit-tagger-v3", *, refresh=False, offline="0"):
    with start(address, store, name, refresh=refresh, offline=offline) as process:
        output, told = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, output, told)


def until(true, *, limit_s=60):
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def arrived(store):
    folder = store / REPOSITORY.replace("/", "_")
    return {path.name for path in folder.iterdir() if not path.name.startswith("_")} if folder.exists() else set()


def test_downloaded_once_then_without_any_network(hub, files, tmp_path):
    store = tmp_path / "store \u732b"
    done = ask(hub.address, store)
    assert done.returncode == 0, done.stderr
    folder = store / "SmilingWolf_wd-vit-tagger-v3"
    assert done.stdout.strip() == str(folder) and "this happens once" in done.stderr
    assert arrived(store) == {"model.onnx", "selected_tags.csv", "lorabake.json"}
    assert (folder / "model.onnx").read_bytes() == files[f"{REPOSITORY}/model.onnx"]
    num_asked = len(hub.asked)
    again = ask(hub.address, store)
    assert again.returncode == 0 and again.stderr == "" and len(hub.asked) == num_asked
    assert ask(NOWHERE, store, offline="1").returncode == 0


def test_a_download_that_was_killed_goes_on_where_it_was(hub, tmp_path):
    model = random.Random(0).randbytes(24 << 20)  # the hub's own transfer writes 10 MB at a time
    hub.files[f"{REPOSITORY}/model.onnx"] = model
    hub.stall_at = 15 << 20
    folder = tmp_path / "store" / "SmilingWolf_wd-vit-tagger-v3"
    with start(hub.address, tmp_path / "store") as killed:
        until(lambda: sum(part.stat().st_size for part in folder.glob("*.part")) >= 10 << 20)
        killed.kill()
    assert "model.onnx" not in arrived(tmp_path / "store")
    hub.stall_at, hub.asked = None, []
    done = ask(hub.address, tmp_path / "store")
    assert done.returncode == 0, done.stderr
    assert [wanted for method, file, wanted in hub.asked if method == "GET" and file.endswith("model.onnx")] == [f"bytes={10 << 20}-"]
    assert (folder / "model.onnx").read_bytes() == model and not list(folder.glob("*.part"))


def test_what_arrives_damaged_is_fetched_again_and_never_used(hub, tmp_path):
    hub.num_lies = 1
    assert ask(hub.address, tmp_path / "store").returncode == 0
    hub.num_lies = 99
    done = ask(hub.address, tmp_path / "other")
    assert done.returncode == 1 and "damaged, twice" in done.stderr
    assert "model.onnx" not in arrived(tmp_path / "other")


def test_refresh_asks_for_a_newer_one_and_keeps_the_old_one_where_none_answers(hub, files, tmp_path):
    store = tmp_path / "store"
    ask(hub.address, store)
    assert "nothing newer" in ask(hub.address, store, refresh=True).stderr and hub.num_sent("model.onnx") == 1
    hub.files = {name: data + b"\n" if name.endswith("csv") else data for name, data in files.items()}
    hub.commit = "1" * 40
    assert ask(hub.address, store, refresh=True).returncode == 0
    folder = store / "SmilingWolf_wd-vit-tagger-v3"
    assert (folder / "selected_tags.csv").read_bytes() == files[f"{REPOSITORY}/selected_tags.csv"] + b"\n"
    assert json.loads((folder / "lorabake.json").read_text(encoding="utf-8"))["files"]["selected_tags.csv"]["commit"] == "1" * 40
    kept = ask(NOWHERE, store, refresh=True)
    assert kept.returncode == 0 and "the tagger of" in kept.stderr and "is used" in kept.stderr


def test_a_file_that_lost_its_end_is_fetched_again(hub, files, tmp_path):
    ask(hub.address, tmp_path / "store")
    model = tmp_path / "store" / "SmilingWolf_wd-vit-tagger-v3" / "model.onnx"
    model.write_bytes(model.read_bytes()[:100])
    assert ask(hub.address, tmp_path / "store").returncode == 0
    assert model.read_bytes() == files[f"{REPOSITORY}/model.onnx"]


@pytest.mark.parametrize(("offline", "why"), [("0", "cannot be downloaded"), ("1", "HF_HUB_OFFLINE is set")])
def test_without_a_network_it_says_so_and_what_to_do(tmp_path, offline, why):
    done = ask(NOWHERE, tmp_path / "store", offline=offline)
    assert done.returncode == 1, done.stderr
    assert why in done.stderr and "--model FOLDER" in done.stderr and "Traceback" not in done.stderr


def test_names_that_the_hub_does_not_know(hub, tmp_path):
    done = ask(hub.address, tmp_path, "somebody/else")
    assert done.returncode == 1 and 'no open model "somebody/else"' in done.stderr
    hub.files = {f"{REPOSITORY}/README.md": b"x"}
    done = ask(hub.address, tmp_path)
    assert done.returncode == 1 and "lacks selected_tags.csv" in done.stderr


def test_a_model_in_a_subfolder_is_of_the_other_layout(hub, tmp_path):
    folder = tagger_model.write(tmp_path / "other", other=True)
    hub.files = {f"a/b/v2/{name}": (folder / name).read_bytes() for name in ("model_optimized.onnx", "tag_mapping.json")}
    done = ask(hub.address, tmp_path / "store", "a/b/v2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "store" / "a_b_v2" / "tag_mapping.json").is_file()


def test_folders_of_ones_own(tmp_path):
    folder = tagger_model.write(tmp_path / "mine \u00e9")
    assert tag_models.folder_of(str(folder)) == folder
    assert tag_models.folder_of(str(folder / "model.onnx")) == folder
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no tagger in this folder"):
        tag_models.folder_of(str(tmp_path / "empty"))


@pytest.mark.parametrize("name", ["wd-swin-tagger-v3", "../../etc", "C:\\models\\none", "", "a/../b"])
def test_names_that_are_none(tmp_path, name):
    with pytest.raises(UserError, match="no tagger"):
        tag_models.folder_of(name or "x y", store=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_slip_in_a_name_is_corrected(tmp_path):
    with pytest.raises(UserError) as caught:
        tag_models.folder_of("wd-swin-tagger-v3", store=tmp_path)
    assert caught.value.todo == "did you mean wd-swinv2-tagger-v3?"

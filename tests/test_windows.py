"""lorabake on Windows, started as its users start it: setup.bat, then a right-click on train.ps1, with Windows' own torch.

The tests stand in the order of a first day with lorabake and share one folder; each needs what the ones before it made.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import lora_files
import tagger_model
import tools
import upscale_files
from lorabake import runlog
from photos import scene
from windows_house import BUILD_LIMIT_S, RIGHT_CLICK, START_LIMIT_S, launch, of_windows, python_of, setup, start

pytestmark = pytest.mark.windows
BAKE_LIMIT_S = 1200
DEMO = "demo-openmoji"


def train(house, *words):
    return launch(house, "train.ps1", *words)


def result_of(house, number):
    return json.loads((house / "baked" / f"{DEMO}.runs" / number / "result.json").read_text(encoding="utf-8"))


@pytest.mark.skipif(os.name == "nt", reason="a PC without Python is needed")
def test_setup_without_python_says_what_to_type(house):
    done = start(house, "cmd.exe", "/c", "setup.bat", python=False)
    assert done.returncode == 1
    assert "no 64-bit Python 3.11 to 3.13" in done.stderr and "https://www.python.org" in done.stderr
    assert not (house / "venv").exists()


def test_setup_takes_powershells_words(house):
    done = setup(house, "-Check", "-Json", variables=("PYTHONHOME=C:\\nowhere",))
    assert done.returncode == 0, done.stderr
    assert "environment" in json.dumps(json.loads(done.stdout))
    assert not (house / "venv").exists(), "looking changes nothing"
    assert setup(house, "--chekc").returncode == 2


def test_setup_makes_the_environment(house):
    done = setup(house, limit_s=BUILD_LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything imports" in done.stderr
    assert (house / "venv" / "current.txt").read_text(encoding="utf-8").strip() == "001"


def test_a_second_setup_has_nothing_to_do(house):
    done = setup(house)
    assert done.returncode == 0 and "setting up" not in done.stderr, done.stderr


def test_plan_and_exit_codes(house):
    done = train(house, "profiles\\demo.yaml", "-PlanOnly", "-Json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == DEMO
    bad = train(house, "profiles\\demo.yaml", "-PlanOnly", "-Set", "train.epochs=-1")
    assert bad.returncode == 1 and "epochs" in bad.stderr
    assert train(house, "profiles\\none \u00e9.yaml", "-NoPause").returncode == 1


def test_a_right_click_where_nobody_answers_ends(house):
    done = start(house, "powershell.exe", "-Command", RIGHT_CLICK.format(of_windows(house / "train.ps1")), python=False)
    assert "Which profile?" in done.stderr and "no profile was chosen" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="a person's right-click is needed (docs/unproven.md)")
def test_a_right_click_bakes_the_demo(house):
    """The letter of Explorer's "Run with PowerShell" in a console of code page 1252: profiles, a live bar, a key at the end, all files."""
    from terminal import Terminal

    letter = RIGHT_CLICK.format(of_windows(house / "train.ps1"))
    click = house.parent / "click.bat"
    click.write_text('@chcp 1252 >nul\r\n@powershell.exe -Command "%LETTER%"\r\n', encoding="ascii", newline="")
    with Terminal([*tools.windows(), f"LETTER={letter}", "cmd.exe", "/c", of_windows(click)], cwd=house) as window:
        window.expect("Which profile?", timeout_s=START_LIMIT_S)
        window.expect(">", timeout_s=30)
        number = re.search(r"(\d+)\s+demo\b", window.text())
        window.type(f"{number[1]}\r")
        window.expect("Press Enter to close this window", timeout_s=BAKE_LIMIT_S)
        window.type("\r")
        assert window.wait(timeout_s=60) == 0, window.text()
    assert re.search(r"\[#+\.+\] baking", window.text()), "the bar was not live"
    run = house / "baked" / f"{DEMO}.runs" / "001"
    assert result_of(house, "001")["status"] == "done"
    assert "<html" in (run / "report.html").read_text(encoding="utf-8")
    assert list((run / "samples").glob("*.png"))
    loras = sorted((house / "baked").glob("*.safetensors"))
    assert f"{DEMO}.safetensors" in [path.name for path in loras]
    assert [path for path in loras if not path.with_suffix(".preview.png").is_file()] == []


def first_losses(run):
    return [event["loss"] for event in runlog.read(run / "log.jsonl") if event["kind"] == "step"][:10]


@pytest.mark.skipif(os.name == "nt", reason="a Linux bake is needed beside it")
def test_its_first_losses_are_those_of_linux(house, tmp_path):
    command = [sys.executable, "py/train.py", "profiles/demo.yaml", "--set", f"output={tmp_path}"]
    run = tmp_path / f"{DEMO}.runs" / "001"
    with subprocess.Popen(command, cwd=tools.ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as linux:
        while linux.poll() is None and not ((run / "log.jsonl").exists() and len(first_losses(run)) == 10):
            time.sleep(0.2)
        (run / "stop").write_text("", encoding="utf-8")
        assert linux.wait(120) == 13
    assert first_losses(house / "baked" / f"{DEMO}.runs" / "001") == pytest.approx(first_losses(run), rel=1e-4)


def test_the_lora_from_windows_is_sound(house):
    from safetensors import safe_open

    with safe_open(house / "baked" / f"{DEMO}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no dict)
        assert file.metadata()["ss_base_model_version"] == "sd_v1"
    assert any(key.startswith("lora_unet_") for key in tensors) and any(key.startswith("lora_te_") for key in tensors)
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert any(tensor.abs().sum() > 0 for key, tensor in tensors.items() if "lora_up" in key)


def test_what_is_baked_is_not_baked_again(house):
    done = train(house, "profiles\\demo.yaml")
    assert done.returncode == 0, done.stderr
    assert "already baked" in done.stderr


def test_pictures_are_flattened_and_captions_edited_and_all_of_it_undone(house):
    """Without ImageMagick, as most Windows PCs are; names that cp1252 cannot write."""
    folder = house / "set \u732b" / "5_open moji"
    shutil.copytree(house / "examples" / "openmoji" / "10_openmoji", folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    python = python_of(house)

    def script(name, *words):
        done = start(house, python, f"py\\{name}", of_windows(folder), *words, python=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    numbers = script("flatten.py").splitlines()[-1].split()
    assert int(numbers[-3]) == len(list((folder / "_originals").iterdir())) > 0 and numbers[-1] == "0"
    script("tag.py", "--add-first", "emoji \u732b")
    assert all(path.read_bytes().startswith("emoji \u732b, ".encode()) for path in folder.glob("*.txt"))
    script("tag.py", "--undo")
    script("flatten.py", "--undo")
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def tag(house, folder, *words):
    return launch(house, "tag.ps1", of_windows(folder), *words)


def test_a_tagger_writes_captions_through_the_launcher(house):
    """onnxruntime on Windows, names that cp1252 cannot write, a preset, a second run that looks at nothing again."""
    folder, model = house / "tagged \u732b" / "5_anna", tagger_model.write(house / "tagger \u00e9")
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in {"\u8d64": "red", "\U0001f535": "blue"}.items():
        Image.new("RGB", (40, 24), colour).save(folder / f"{name}.png")
    done = tag(house, folder.parent, "-Model", of_windows(model), "-Preset", "character", "-Rating", "last", "-NoPause")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "\u8d64.txt").read_text(encoding="utf-8").strip() == "anna, red theme, 1girl, signature, ^_^, questionable"
    again = tag(house, folder.parent, "-Model", of_windows(model), "-Existing", "merge", "-AddFirst", "x", "-Tag", "-NoPause")
    assert again.returncode == 0 and "looked at before, 0 to do" in again.stderr, again.stderr
    assert tag(house, folder.parent, "-Undo", "0").returncode == 0 and tag(house, folder.parent, "-Undo", "0").returncode == 0
    assert not list(folder.glob("*.txt"))
    assert tag(house, folder.parent, "-Threshold", "2").returncode == 2


def test_a_dataset_is_checked_and_moved_and_upscaled_and_comes_back(house):
    """The measures, the sheet, moving with captions, and a network in torch for Windows."""
    folder = house / "checked \u732b" / "5_anna"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(2):
        scene((560, 560), number).save(folder / f"good {number} \u732b.png")
        (folder / f"good {number} \u732b.txt").write_text("anna, cat", encoding="utf-8")
    scene((60, 40), 3).save(folder / "small.png")
    (folder / "small.txt").write_text("anna, \u732b", encoding="utf-8")
    (folder / "again.png").write_bytes((folder / "good 0 \u732b.png").read_bytes())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = tag(house, folder.parent, "-Check", "-NoPause")
    assert done.returncode == 0 and "4 pictures: 2 good, 1 poor, 1 to reject" in done.stdout, done.stdout + done.stderr
    assert (folder.parent / "_checks" / "sheet.html").read_text(encoding="utf-8").count("<article") == 4
    assert tag(house, folder.parent, "-Reject", "auto", "-NoPause").returncode == 0
    assert tag(house, folder.parent, "-Demote", "2,small", "-NoPause").returncode == 0
    assert (folder.parent / "_rejected" / "5_anna" / "again.png").exists()
    assert {path.name for path in (folder.parent / "2_anna").iterdir()} == {"small.png", "small.txt"}
    assert tag(house, folder.parent, "-Undo", "0").returncode == 0 and tag(house, folder.parent, "-Undo", "0").returncode == 0
    model = upscale_files.write(house / "models \u00e9" / "nearest 2x.pth", upscale_files.nearest(2), "params")
    python = python_of(house)
    flatten = [python, "py\\flatten.py", of_windows(folder)]
    done = start(house, *flatten, "--upscale", of_windows(model), "--upscale-to", "80", python=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Image.open(folder / "small.png").size == (120, 80)
    assert start(house, *flatten, "--undo", python=False).returncode == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_the_reviewing_page_answers(house):
    folder = house / "reviewed" / "5_anna"
    folder.mkdir(parents=True, exist_ok=True)
    scene((80, 60)).save(folder / "a \u732b.png")
    words = [
        python_of(house),
        "py\\tag.py",
        of_windows(folder.parent),
        "--review",
        "--no-browser",
    ]
    command = [*tools.windows(), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=house, text=True, encoding="utf-8") as server:
        try:
            address = server.stdout.readline().strip()
            with urllib.request.urlopen(address, timeout=60) as answer:
                assert answer.status == 200 and b"<script" in answer.read()
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(address.split("?")[0].rsplit("/", 2)[0] + "/wrong/", timeout=60)
        finally:
            for process in [*psutil.Process(server.pid).children(recursive=True), server]:
                process.kill()


def test_model_files_are_converted(house):
    """Mapped files that are read, let go, written and renamed; names that cp1252 cannot write; a file that is no model."""
    folder = house / "models \u732b"
    folder.mkdir(exist_ok=True)
    tensors = {"model.diffusion_model.a": torch.randn(900, 800), "model.diffusion_model.n": torch.arange(9)}
    torch.save({"state_dict": tensors}, folder / "new \u00e9.ckpt")
    torch.save(tensors, folder / "old.pt", _use_new_zipfile_serialization=False)
    (folder / "page.ckpt").write_text("<!DOCTYPE html>", encoding="utf-8")
    done = launch(house, "convert.ps1", of_windows(folder), "-NoPause")
    assert done.returncode == 1 and "1 refused" in done.stdout and "2 converted" in done.stdout, done.stdout + done.stderr
    for name in ("new \u00e9", "old"):
        found = load_file(folder / f"{name}.safetensors")
        assert {*found} == {*tensors} and all(torch.equal(found[key], tensor) for key, tensor in tensors.items())
    done = launch(house, "convert.ps1", of_windows(folder / "old.safetensors"), "-Precision", "fp16", "-NoPause")
    assert done.returncode == 0 and (folder / "old-fp16.safetensors").is_file(), done.stdout + done.stderr


def test_a_lora_is_merged_extracted_again_and_looked_into(house):
    """Two mapped models at a time, threads, a LoRA file that Windows' own torch writes and reads."""
    folder = house / "loras \u732b"
    folder.mkdir(exist_ok=True)
    base = house / "models" / "pocket.safetensors"
    lora_files.write(folder / "style \u00e9.safetensors", lora_files.layers_of(base), size=0.03)  # its alpha is half its rank
    python = python_of(house)
    merged, again = folder / "merged.safetensors", folder / "again.safetensors"
    words = [
        of_windows(folder / "style \u00e9.safetensors") + "=0.5",
        "--into",
        "pocket",
        "--precision",
        "fp32",
        "--out",
        of_windows(merged),
    ]
    done = start(house, python, "py\\lora.py", "merge", *words, python=False)
    assert done.returncode == 0 and "216 of 216 layers found" in done.stderr, done.stdout + done.stderr
    words = [
        "-Base",
        of_windows(base),
        "-Tuned",
        of_windows(merged),
        "-Out",
        of_windows(again),
        "-Rank",
        "4",
        "-Precision",
        "fp32",
        "-NoPause",
    ]
    done = launch(house, "extract.ps1", *words)
    assert done.returncode == 0 and "216 layers, rank 4" in done.stdout, done.stdout + done.stderr
    given, found = load_file(folder / "style \u00e9.safetensors"), load_file(again)
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    deltas = [tensors[f"{name}.lora_up.weight"] @ tensors[f"{name}.lora_down.weight"] for tensors in (given, found)]
    assert torch.allclose(deltas[0] * 0.25, deltas[1], rtol=1e-3, atol=1e-5)
    done = start(house, python, "py\\lora.py", "info", "--json", of_windows(again), python=False)
    assert done.returncode == 0 and json.loads(done.stdout)["kind"] == "lora", done.stdout + done.stderr


HOLD = "import sys; file = open(sys.argv[1], 'rb'); print('held', flush=True); sys.stdin.read()"


def test_a_file_that_another_program_has_open_is_named(house):
    """A web UI has the LoRA open: Windows lets nobody replace or move it, and nothing is lost."""
    lora = house / "baked" / f"{DEMO}.safetensors"
    before = {path.name: path.read_bytes() for path in (house / "baked").glob(f"{DEMO}*.*") if path.is_file()}
    command = [*tools.windows(), python_of(house), "-c", HOLD, of_windows(lora)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline().strip() == b"held"
        done = train(house, "profiles\\demo.yaml", "-Fresh")
        holder.stdin.close()
    assert done.returncode == 1, done.stdout + done.stderr
    assert lora.name in done.stderr
    assert {path.name: path.read_bytes() for path in (house / "baked").glob(f"{DEMO}*.*") if path.is_file()} == before

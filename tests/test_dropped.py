"""What was dropped on a shortcut becomes the words of the job's script."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lorabake import dropped, paths
from lorabake.errors import UsageError

AWKWARD = ["a b.yaml", "a,b.yaml", "a&b.yaml", "100%.yaml", "%PATH%.yaml", "[1]^.yaml", "it's (2).yaml", "\u732b!.yaml"]


def test_without_anything_the_job_asks_by_itself():
    assert [dropped.plan(job, []) for job in ("train", "tag", "convert", "extract")] == [[[]]] * 4


def test_paths_stay_words_of_their_own():
    given = [Path(name) for name in AWKWARD]
    assert dropped.plan("train", given) == [["--", *AWKWARD]]
    assert dropped.plan("convert", given) == [["--", *AWKWARD]]


def test_pictures_stand_for_their_folder(tmp_path):
    folder = tmp_path / "5_anna"
    folder.mkdir()
    given = [folder, folder / "a.png", folder / "b.png", tmp_path / "a.YAML"]
    assert dropped.plan("tag", given) == [["--", str(folder)], ["--", str(tmp_path / "a.YAML")]]


def test_the_base_of_an_extraction_is_chosen():
    given = [Path("tuned.ckpt"), Path("v1-5.safetensors"), Path("-third.pt")]
    assert dropped.plan("extract", given, choose=lambda models: models[1]) == [
        ["--base=v1-5.safetensors", "--tuned=tuned.ckpt", "--tuned=-third.pt"]
    ]
    assert dropped.plan("extract", given[:1]) == [["--tuned=tuned.ckpt"]]


def test_where_nobody_can_choose_nothing_is_done(monkeypatch):
    monkeypatch.setattr("lorabake.asking.somebody_there", lambda: False)
    with pytest.raises(UsageError, match="no base was chosen"):
        dropped.plan("extract", [Path("a"), Path("b")])


@pytest.mark.parametrize(("answer", "chosen"), [("2", "b"), ("1", "a")])
def test_the_number_is_the_base(monkeypatch, answer, chosen):
    monkeypatch.setattr("lorabake.asking.required", lambda *_, **__: answer)
    assert dropped.ask_base([Path("a"), Path("b")]) == Path(chosen)


@pytest.mark.parametrize("answer", ["3", "0", "b", "\u00b2"])
def test_another_answer_is_refused(monkeypatch, answer):
    monkeypatch.setattr("lorabake.asking.required", lambda *_, **__: answer)
    with pytest.raises(UsageError, match="none of the numbers"):
        dropped.ask_base([Path("a"), Path("b")])


def start(*words, **variables):
    command = [sys.executable, "-I", str(paths.ROOT / "py" / "dropped.py"), *words]
    done = subprocess.run(
        command,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, "LORABAKE_PYTHON": "current", **variables},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_profile_is_planned_and_its_code_comes_back(tmp_path):
    """The real script, to its exit code; nobody is there, so nothing waits."""
    wrong = tmp_path / "a,b & 100% [1].yaml"
    wrong.write_text("nmae: x\n", encoding="utf-8")
    code, _, stderr = start("train", str(wrong), PYTHONHOME="/nowhere")
    assert code == 1 and "nmae" in stderr and wrong.name in stderr


def test_a_wrong_job():
    code, _, stderr = start("bake")
    assert code == 2 and "no job of a shortcut" in stderr and json.dumps("bake") in stderr

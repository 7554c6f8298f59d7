"""py/setup.py as it is started: its words lead to its functions."""

import json
import os
import subprocess
import sys

import pytest

from lorabake import paths, setup_job, setup_words, venvs
from lorabake.errors import UserError


def start(*words):
    command = [sys.executable, str(paths.ROOT / "py" / "setup.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


def test_looking_answers_machines_in_powershells_words_too():
    done = start("-Check", "-Json")
    assert done.returncode in (0, 1), done.stderr
    assert {row["name"] for row in json.loads(done.stdout)} >= {"Python", "folder", "disk"}


def test_wrong_words_end_with_2():
    assert start("--nonsense").returncode == 2


@pytest.fixture
def env(tmp_path, monkeypatch):
    """An environment that builder.build is said to have made; how often that was asked."""
    env = tmp_path / "venv" / "001"
    library = venvs.library_of(env) if os.name == "nt" else env / "lib" / "python3.12" / "site-packages"
    (library / "torch-2.dist-info").mkdir(parents=True)
    (library / "torch-2.dist-info" / "RECORD").write_text("torch/a.py,,1\n", encoding="utf-8")
    built = []
    monkeypatch.setattr(paths, "VENV", tmp_path / "venv")
    monkeypatch.setattr("lorabake.environment.build", lambda **more: built.append(more) or env)
    monkeypatch.setattr("lorabake.environment.ready", lambda **_: env)
    monkeypatch.setattr("lorabake.venvs.current", lambda root: env if built else None)
    monkeypatch.setattr("lorabake.setup_job.show", lambda options: print("the table"))
    return library, built


def setup(*words):
    return setup_job.main(setup_words.parse(None, words))


def test_a_second_start_tries_nothing_and_says_so(env, capsys):
    library, built = env
    assert setup() == 0 and len(built) == 1 and "the table" in capsys.readouterr().out
    assert setup() == 0 and len(built) == 1, "nothing had changed"
    told = capsys.readouterr()
    assert "is ready" in told.out and "nothing was to do" in told.err and "the table" not in told.out
    (library / "torch-2.dist-info" / "RECORD").write_text("torch/a.py,,1\ntorch/b.py,,1\n", encoding="utf-8")
    assert setup() == 0 and len(built) == 2, "a package was changed"
    (library / "numpy").mkdir()
    assert setup() == 0 and len(built) == 3, "another came"


def test_repairing_and_another_torch_look_at_everything(env):
    _, built = env
    assert setup() == 0 and setup("-Repair") == 0 and setup("--torch", "cpu") == 0
    assert [one["torch"] for one in built] == [None, None, "cpu"]
    assert setup("--stack", "older") == 0 and built[-1]["name"] == "older"


def test_the_answer_for_machines_is_json_alone(env, capsys):
    assert setup("--json") == 0
    assert set(json.loads(capsys.readouterr().out)) == {"environment", "python", "release", "stack", "stacks", "rollback"}


@pytest.mark.skipif(os.name == "nt", reason="of other systems")
def test_what_windows_alone_has_is_a_sentence_elsewhere(env, capsys):
    _, built = env
    assert setup("--allow-scripts") == 0 and setup("--undo-allow-scripts") == 0
    assert "nothing to do" in capsys.readouterr().out and not built
    with pytest.raises(UserError, match="Windows only"):
        setup("--no-shortcuts")

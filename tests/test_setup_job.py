"""py/setup.py as it is started: its words lead to its functions."""

import json
import subprocess
import sys

from lorabake import paths


def start(*words):
    command = [sys.executable, str(paths.ROOT / "py" / "setup.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


def test_looking_answers_machines_in_powershells_words_too():
    done = start("-Check", "-Json")
    assert done.returncode in (0, 1), done.stderr
    assert {row["name"] for row in json.loads(done.stdout)} >= {"Python", "folder", "disk"}


def test_wrong_words_end_with_2():
    assert start("--nonsense").returncode == 2

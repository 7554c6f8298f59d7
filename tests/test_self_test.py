"""The self-test of a new environment: it passes where all is well, and names the step that is not."""

import subprocess
import sys

import pytest

from lorabake import builder, self_test
from lorabake.errors import UserError


def test_steps_that_need_no_bake(tmp_path):
    assert "torch" in self_test.kernel(tmp_path)
    assert "processor" in self_test.tagging(tmp_path) or "card" in self_test.tagging(tmp_path)


@pytest.mark.parametrize("error", [UserError("the card is\ngone"), ImportError("no kernel image"), RuntimeError("CUDA error")])
def test_the_step_that_fails_is_named(monkeypatch, capsys, error):
    def broken(_folder):
        raise error

    monkeypatch.setattr(self_test, "STEPS", (self_test.kernel, broken, self_test.imports))
    assert self_test.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"ERROR: broken: {str(error).replace(chr(10), ': ')}"
    assert len(lines) == 2


@pytest.mark.slow
def test_all_of_it_as_the_builder_starts_it():
    done = subprocess.run([sys.executable, "-c", builder.SELF_TEST], capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in self_test.STEPS:
        assert f"{step.__name__}: " in done.stdout

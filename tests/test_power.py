"""The PC is kept awake while something is baked, and asked to sleep by the system itself. Programs of the system are stood in for."""

import os
import time

import pytest

from lorabake import power

pytestmark = pytest.mark.skipif(os.name == "nt", reason="test_windows_nights.py asks Windows itself")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a program of this name before all others; what it was started with is in the file that comes back."""

    def make(name, code=0, said=""):
        told = tmp_path / f"{name}.txt"
        script = tmp_path / name
        script.write_text(
            f'#!/bin/sh\necho "$@" >> "{told}"\necho "{said}" >&2\n[ -t 0 ] || cat > /dev/null\necho end >> "{told}"\nexit {code}\n',
            encoding="utf-8",
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return told

    return make


def words(file, *, lines=1):
    deadline = time.monotonic() + 10
    while not file.exists() or len(file.read_text(encoding="utf-8").splitlines()) < lines:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return file.read_text(encoding="utf-8").splitlines()


def test_awake_lasts_as_long_as_the_work(program):
    told = program("systemd-inhibit")
    with pytest.raises(ValueError), power.awake():
        assert "--what=sleep:idle" in words(told)[0]
        time.sleep(0.1)
        assert words(told)[-1] != "end"
        raise ValueError
    assert words(told, lines=2)[-1] == "end"


def test_awake_without_such_a_program(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with power.awake():
        pass


def test_awake_where_systemd_refuses(program):
    program("systemd-inhibit", code=1)
    with power.awake():
        time.sleep(0.1)


@pytest.mark.parametrize(("action", "word"), [("sleep", "suspend"), ("hibernate", "hibernate"), ("shutdown", "poweroff")])
def test_the_systems_own_command(program, action, word):
    told = program("systemctl")
    assert power.act(action) == ""
    assert words(told)[0] == word


def test_a_refusal_is_told(program, monkeypatch, tmp_path):
    program("systemctl", code=1, said="Access denied")
    assert power.act("shutdown") == "Access denied"
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert "systemctl" in power.act("shutdown")

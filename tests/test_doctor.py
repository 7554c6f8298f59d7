"""`setup.py --check` says what is well, what is not, why, and what to do; it changes nothing."""

import json
import os
import subprocess
import sys

import pytest

from lorabake import doctor, doctor_ask, doctor_folder, doctor_table, hardware, installer, paths, venvs
from lorabake.errors import UserError

TORCH = {"python": "3.12.1", "version": "2.13.0+cpu", "cuda": None, "cards": [], "trouble": ""}


@pytest.fixture
def quick(monkeypatch):
    """No program is started."""
    monkeypatch.setattr(doctor_ask, "ask", lambda python, **_: {"torch": TORCH})
    monkeypatch.setattr(hardware, "look", lambda: hardware.Seen(()))


def named(rows):
    return {row.name: row for row in rows}


def test_rows_stand_in_the_order_of_their_numbers(quick):
    numbers = [doctor_table.number_of(row.name) for row in doctor.checks()]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    "error", [PermissionError("no"), UnicodeDecodeError("utf-8", b"x", 0, 1, "odd"), UserError("what\nmore"), KeyError("x")]
)
def test_a_check_that_itself_fails_is_a_warning(quick, monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(doctor_folder, "disk_row", fails)
    monkeypatch.setattr(installer, "broken_packages", fails)
    row = named(doctor.checks())["disk"]
    assert (row.status, row.found) == ("WARN", "could not be looked at") and "\n" not in row.cause


def test_no_environment_yet(quick, monkeypatch, tmp_path):
    monkeypatch.delenv("LORABAKE_PYTHON", raising=False)
    rows = named(doctor.checks(root=tmp_path / "venv"))
    assert (rows["environment"].status, rows["environment"].action) == ("WARN", "environment")
    assert not {"packages", "torch", "onnxruntime"} & set(rows)  # one thing to mend, one row


def test_an_environment_of_ours(quick, monkeypatch, tmp_path):
    monkeypatch.delenv("LORABAKE_PYTHON", raising=False)
    monkeypatch.setattr(venvs, "why_not", lambda env, stack: "")
    root = tmp_path / "venv"
    paths.write_text(root / "current.txt", "003")
    paths.write_json(root / "003" / venvs.STAMP, {"made": "2026-01-02", "row": "cpu"})
    python = venvs.python_of(root / "003")
    python.parent.mkdir()
    python.write_text("", encoding="utf-8")
    library = venvs.library_of(root / "003")
    library.mkdir(parents=True, exist_ok=True)
    rows = named(doctor.checks(root=root))
    assert rows["environment"].found == "003: made 2026-01-02"
    assert rows["packages"].status == "FAIL" and rows["packages"].action == "packages"
    (library / "numpy-2.dist-info").mkdir()
    assert "003 is damaged: numpy" in named(doctor.checks(root=root))["environment"].found


def test_ones_own_python_is_not_mended_by_making_another(quick, monkeypatch):
    monkeypatch.setenv("LORABAKE_PYTHON", "current")
    monkeypatch.setattr(doctor_ask, "ask", lambda python, **_: {"torch": {"trouble": "No module named torch"}})
    monkeypatch.setattr(doctor.environment, "check_running", lambda: (_ for _ in ()).throw(UserError("x", allowed="missing: torch")))
    rows = named(doctor.checks())
    assert (rows["environment"].status, rows["environment"].found) == ("FAIL", "missing: torch")
    assert "pip install -r" in rows["environment"].command
    assert not rows["environment"].action and "torch" not in rows
    monkeypatch.setattr(doctor.environment, "check_running", lambda: None)
    row = named(doctor.checks())["torch"]
    assert row.status == "FAIL" and not row.action


def test_every_row_that_fails_has_a_cause_and_a_fix(quick, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor_folder, "writable", lambda folder: "no permission")
    monkeypatch.setattr(paths, "free_bytes", lambda folder: 1)
    monkeypatch.setattr(hardware, "look", lambda: hardware.Seen((), "NVML: Driver Not Loaded"))
    bad = doctor_table.problems(doctor.checks(root=tmp_path / "venv"))
    assert {row.name for row in bad} >= {"folder", "disk", "graphics card"}
    assert [row for row in bad if not row.cause or not (row.fix or row.command)] == []


def run_bare(tmp_path, *words):
    """The real script, from another folder, with a Python that has nothing installed."""
    outside = {name: value for name, value in os.environ.items() if name not in {"LORABAKE_PYTHON", "PYTHONPATH"}}
    command = [getattr(sys, "_base_executable", sys.executable), "-S", str(paths.ROOT / "py" / "setup.py"), "--check", *words]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path, env=outside, check=False)


def test_the_check_runs_on_a_bare_python_and_changes_nothing(tmp_path):
    before = sorted(str(path) for path in (paths.ROOT / "venv").glob("*")) if paths.VENV.exists() else []
    done = run_bare(tmp_path, "--json")
    rows = json.loads(done.stdout)
    assert done.returncode == int(any(row["status"] == "FAIL" for row in rows)), done.stderr
    wanted = {"Python", "folder", "neighbours", "disk", "memory", "environment", "graphics card", "pocket model"}
    assert wanted <= {row["name"] for row in rows}
    assert all(row["fix"] and row["cause"] for row in rows if row["status"] == "FAIL")
    after = sorted(str(path) for path in (paths.ROOT / "venv").glob("*")) if paths.VENV.exists() else []
    assert before == after


def test_one_row_is_asked_for(tmp_path):
    done = run_bare(tmp_path, "--fix", "disk")
    assert "disk" in done.stdout and "Python" not in done.stdout, done.stderr
    assert run_bare(tmp_path, "-Fix", "none").returncode == 2

"""`setup.py --check` says what is well, what is not, why, and what to do; it changes nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lorabake import doctor, hardware, installer, paths, torch_builds, venvs
from lorabake.errors import UserError

DATA = Path(__file__).parent / "data" / "nvidia_smi"
CPU = {"python": "3.12.1", "torch": "2.13.0+cpu", "cuda": None, "card": "", "trouble": "", "eight_bit": ""}
ON_CARD = {**CPU, "torch": "2.13.0+cu130", "cuda": "13.0", "card": "NVIDIA GeForce RTX 4090"}


def seen(file):
    text = (DATA / file).read_text(encoding="utf-8")
    found = tuple(hardware.parse(text))
    return hardware.Seen(found, "" if found else text.splitlines()[0])


def card_rows(file, told):
    answer = seen(file)
    choice = torch_builds.choose(answer, torch_builds.rows(windows=True))
    return {check.name: check for check in [*doctor.card_checks(answer, choice, told), doctor.torch_check(answer, choice, told)]}


def test_a_good_card():
    rows = card_rows("rtx4090.csv", ON_CARD)
    assert {check.status for check in rows.values()} == {"OK"}
    assert "RTX 4090, 24.0 GiB (22.2 free), compute 8.9" in rows["graphics card"].found
    assert rows["driver"].found == "591.44"
    assert "computes on NVIDIA GeForce RTX 4090" in rows["torch"].found


def test_no_card_is_a_warning():
    rows = card_rows("no_devices.txt", CPU)
    assert rows["graphics card"].status == "FAIL"  # there is a driver, and it finds nothing
    none = hardware.Seen(())
    choice = torch_builds.choose(none, torch_builds.rows(windows=True))
    (check,) = doctor.card_checks(none, choice, CPU)
    assert (check.status, check.found) == ("WARN", "no NVIDIA card")
    assert doctor.torch_check(none, choice, CPU).status == "OK"


def test_an_old_driver_fails_with_the_way_out():
    rows = card_rows("rtx5070ti_572.csv", CPU)
    assert rows["driver"].status == "FAIL"
    assert "580.88 or newer" in rows["driver"].found
    assert "update the driver" in rows["driver"].fix


def test_a_card_left_unused_and_one_that_does_not_compute():
    assert "leaves the card unused" in card_rows("rtx4090.csv", CPU)["torch"].found
    rows = card_rows("rtx4090.csv", {**ON_CARD, "trouble": "CUDA error: no kernel image"})
    assert rows["torch"].status == "FAIL"
    assert card_rows("rtx4090.csv", {**ON_CARD, "eight_bit": "DLL load failed"})["torch"].status == "WARN"


def test_folders_that_make_trouble(tmp_path, monkeypatch):
    assert doctor.folder_checks(tmp_path)[0].status == "OK"
    assert doctor.folder_checks(tmp_path / "OneDrive - Me")[0].status == "FAIL"
    (tmp_path / "OneDrive - Me").mkdir()
    assert "onedrive" in doctor.folder_checks(tmp_path / "OneDrive - Me")[0].found
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be written" in doctor.folder_checks(tmp_path)[0].found
    monkeypatch.undo()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(doctor, "long_paths_enabled", lambda: False)
    deep = tmp_path / ("x" * 110)
    deep.mkdir()
    assert "long path" in doctor.folder_checks(deep)[0].found


@pytest.mark.parametrize(("free_gib", "status"), [(100, "OK"), (5, "WARN"), (1, "FAIL")])
def test_room(free_gib, status, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "free_bytes", lambda folder: free_gib << 30)
    assert doctor.disk_check(tmp_path).status == status


def test_memory_and_page_file(monkeypatch):
    monkeypatch.setattr(hardware, "memory_bytes", lambda: {"total": 4 << 30, "free": 1 << 30, "commit_free": 3 << 30})
    rows = {check.name: check for check in doctor.memory_checks()}
    assert (rows["memory"].status, rows["page file"].status) == ("WARN", "WARN")
    assert "Virtual memory" in rows["page file"].fix
    monkeypatch.setattr(hardware, "memory_bytes", lambda: {"total": 32 << 30, "free": 1 << 30})
    assert [check.status for check in doctor.memory_checks()] == ["OK"]
    monkeypatch.setattr(hardware, "memory_bytes", dict)
    assert doctor.memory_checks()[0].status == "WARN"


def test_the_environment_row(tmp_path, monkeypatch):
    monkeypatch.delenv("LORABAKE_PYTHON", raising=False)
    told, check = doctor.environment_check(tmp_path, paths.STACK)
    assert (told, check.status) == ({}, "WARN")
    monkeypatch.setattr(venvs, "why_not", lambda env, stack: "")
    paths.write_text(tmp_path / "current.txt", "003")
    monkeypatch.setattr(installer, "imported", lambda python, code: json.dumps(CPU))
    told, check = doctor.environment_check(tmp_path, paths.STACK)
    assert (told, check.status) == (CPU, "OK")
    monkeypatch.setattr(installer, "broken_packages", lambda env: [Path("numpy-2.dist-info")])
    assert "damaged: numpy" in doctor.environment_check(tmp_path, paths.STACK)[1].found

    def fails(python, code):
        raise UserError("it does not import: no torch")

    monkeypatch.setenv("LORABAKE_PYTHON", "current")
    monkeypatch.setattr(installer, "imported", fails)
    assert doctor.environment_check(tmp_path, paths.STACK)[1].status == "FAIL"


def test_the_table_and_the_exit_code():
    found = [doctor.Check("Python", "OK", "3.12.1"), doctor.Check("graphics card", "FAIL", "no driver", "update it")]
    text = doctor.to_text(found)
    assert text.splitlines() == ["OK    Python         3.12.1", "FAIL  graphics card  no driver", " " * 21 + "-> update it"]
    assert text.isascii()
    assert doctor.exit_code(found) == 1
    assert doctor.exit_code(found[:1]) == 0
    assert json.loads(doctor.to_json(found))[1]["fix"] == "update it"


def test_the_check_runs_on_a_bare_python_and_changes_nothing(tmp_path):
    """The real script, from another folder, with a Python that has nothing installed."""
    before = sorted(str(path) for path in (paths.ROOT / "venv").glob("*")) if paths.VENV.exists() else []
    outside = {name: value for name, value in os.environ.items() if name not in {"LORABAKE_PYTHON", "PYTHONPATH"}}
    command = [getattr(sys, "_base_executable", sys.executable), "-S", str(paths.ROOT / "py" / "setup.py"), "--check", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path, env=outside, check=False)
    rows = json.loads(done.stdout)
    assert done.returncode == int(any(row["status"] == "FAIL" for row in rows)), done.stderr
    assert {"Python", "folder", "disk", "memory", "environment", "graphics card", "torch", "pocket model"} <= {row["name"] for row in rows}
    assert all(row["fix"] for row in rows if row["status"] == "FAIL")
    after = sorted(str(path) for path in (paths.ROOT / "venv").glob("*")) if paths.VENV.exists() else []
    assert before == after

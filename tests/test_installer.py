"""Steps that end well, end badly, and what a killed pip leaves behind."""

import os
import sys
from pathlib import Path

import pytest

from lorabake import installer
from lorabake.errors import DiskFull, UserError


def run(code, tmp_path, **more):
    return installer.run_step([sys.executable, "-c", code], label="step", log=tmp_path / "log.txt", temp=tmp_path / "temp", **more)


def test_a_good_step_is_one_line_and_a_log(tmp_path, capsys):
    pids = []
    assert run("print('Collecting x'); print('caf\\u00e9')", tmp_path, started=pids.append).splitlines()[0] == "Collecting x"
    assert capsys.readouterr().err.startswith("  step: ")
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert "> " in log
    assert "caf\u00e9" in log
    assert len(pids) == 1
    assert not (tmp_path / "temp").exists()


def test_the_log_grows_while_the_program_runs(tmp_path):
    """Who waits for a long installation looks there, and a closed window must not take the log's end with it."""
    code = "import sys, time; print(6 * 7777, flush=True); time.sleep(1); print('46' + '662' in open(sys.argv[1]).read())"
    log = tmp_path / "log.txt"
    assert installer.run_step([sys.executable, "-c", code, str(log)], label="step", log=log, temp=tmp_path / "temp") == "46662\nTrue"


@pytest.mark.parametrize(
    ("tail", "kind", "words"),
    [
        ("OSError: [Errno 28] No space left on device", DiskFull, "disk is full"),
        ("Temporary failure in name resolution\nERROR: No matching distribution found for torch", installer.NoNetwork, "reached"),
        ("socket.gaierror: [Errno 11001] getaddrinfo failed", installer.NoNetwork, "cannot be reached"),
        ("ssl.SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED", UserError, "certificate"),
        ("ERROR: No matching distribution found for numpy==2.4.6", UserError, "no numpy==2.4.6"),
        ("The virtual environment was not created ... because ensurepip is not available.", UserError, "apt install python3-venv"),
        ("PermissionError: [WinError 5] Access is denied: 'torch_cpu.dll'", UserError, "virus scanner"),
        ("HINT: This error might have occurred since this system does not have Windows Long Path support", UserError, "short path"),
        ("Traceback\nERROR: something new\nmore", UserError, "something new"),
        ("Successfully uninstalled setuptools-65.5.0", UserError, "ended in the middle"),
    ],
)  # fmt: skip
def test_failures_become_sentences(tail, kind, words, tmp_path):
    error = installer.explain(tail, label="packages", log=tmp_path / "x.log")
    assert type(error) is kind
    assert words in str(error)
    assert "x.log" in str(error)


def test_a_failing_program_raises_with_the_log(tmp_path):
    with pytest.raises(UserError, match="no nothing"):
        run("import sys; print('ERROR: No matching distribution found for nothing'); sys.exit(1)", tmp_path)


def test_pip_gets_the_users_settings_but_not_those_that_lead_astray(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    variables = installer.clean_variables(tmp_path)
    assert variables["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert not {"PIP_TARGET", "PYTHONPATH"} & set(variables)
    assert variables["PIP_USER"] == "0"
    assert variables["TMPDIR"] == str(tmp_path)


def test_activity_is_read_from_pips_lines():
    step = installer.Step("torch")
    for line, activity in [
        ("Collecting numpy==2.4.6", "looking for numpy==2.4.6"),
        (
            "  Downloading numpy-2.4.6-cp312-cp312-win_amd64.whl.metadata (62 kB)",
            "downloading numpy-2.4.6-cp312-cp312-win_amd64.whl.metadata",
        ),
        ("Downloading https://x.example/a/torch-2.13.0.whl (2.5 GB)", "downloading torch-2.13.0.whl (2.5 GB)"),
        ("Installing collected packages: a, b, c", "installing 3 packages"),
    ]:
        step.read(line)
        assert step.activity == activity


def test_what_came_so_far(tmp_path):
    (tmp_path / "pip-unpack").mkdir()
    (tmp_path / "pip-unpack" / "torch.whl").write_bytes(bytes(3 << 20))
    assert installer.came(tmp_path) == ["3.0 MB"]
    assert installer.came(tmp_path / "none") == []


def test_a_download_that_is_over_is_not_counted_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(installer, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(installer, "PLAIN_EVERY_S", 0.0)
    (tmp_path / "temp").mkdir()
    (tmp_path / "temp" / "torch.whl").write_bytes(bytes(3 << 20))
    run("import time; print('Installing collected packages: a, b', flush=True); time.sleep(0.5)", tmp_path)
    shown = capsys.readouterr().err
    assert "installing 2 packages  0." in shown
    assert "installing 2 packages  3.0 MB" not in shown


@pytest.fixture
def env(tmp_path):
    """An environment with two packages, whole."""
    library = tmp_path / ("Lib/site-packages" if os.name == "nt" else "lib/python3.12/site-packages")
    for name in ("one", "two"):
        info = library / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (library / f"{name}.py").write_text("x = 1\n", encoding="utf-8", newline="\n")
        (info / "METADATA").write_text("", encoding="utf-8")
        (info / "RECORD").write_text(f"{name}.py,sha256=x,6\n{name}.pyc,,\n{info.name}/RECORD,,\n", encoding="utf-8")
    return tmp_path


def test_whole_packages_are_not_broken(env):
    assert installer.broken_packages(env) == []
    assert installer.forget_broken(env) == []


@pytest.mark.parametrize("damage", ["missing file", "short file", "no RECORD"])
def test_broken_packages_are_found_and_forgotten(env, damage):
    library = installer.venvs.library_of(env)
    if damage == "missing file":
        (library / "two.py").unlink()
    elif damage == "short file":
        (library / "two.py").write_text("", encoding="utf-8")
    else:
        (library / "two-1.0.dist-info" / "RECORD").unlink()
    (library / "~wo").mkdir()
    assert installer.forget_broken(env) == ["two"]
    assert not (library / "two-1.0.dist-info").exists()
    assert not (library / "~wo").exists()
    assert installer.broken_packages(env) == []


def test_imported_tells_or_complains():
    assert installer.imported(Path(sys.executable), "print('noise'); print('told 1.0')") == "1.0"
    with pytest.raises(UserError, match="No module named 'nothing_like_it'"):
        installer.imported(Path(sys.executable), "import nothing_like_it")
    with pytest.raises(UserError, match="does not run"):
        installer.imported(Path("/no/python"), "")

"""--fix N: what is ours is done, the rest is said; a wrong number is answered."""

import pytest

from lorabake import doctor_fixes, environment, paths, venvs, web_mark
from lorabake.doctor_table import Check
from lorabake.errors import UsageError, UserError

DRIVER = Check("driver", "FAIL", "560", "old", "update it", "nvidia-smi")
BROKEN = Check("environment", "FAIL", "damaged", "files are missing", "make it anew", "setup.bat", "environment")


def test_ours_is_done(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(environment, "build", lambda: tmp_path)
    assert doctor_fixes.fix("12", [BROKEN, DRIVER]) is True
    assert "is ready" in capsys.readouterr().err
    assert doctor_fixes.fix("ENVIRONMENT", [BROKEN]) is True


def test_what_is_not_ours_is_said(capsys):
    assert doctor_fixes.fix("15", [DRIVER]) is False
    assert "update it\n  nvidia-smi" in capsys.readouterr().err
    assert doctor_fixes.fix("7", [Check("disk", "OK", "100 GB free")]) is False
    assert "nothing to mend: disk: OK, 100 GB free" in capsys.readouterr().err
    doctor_fixes.fix("9", [])
    assert "no such row" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["0", "99", "nonsense", "-1"])
def test_wrong_numbers(word):
    with pytest.raises(UsageError, match=word):
        doctor_fixes.fix(word, [DRIVER])


def test_stray_packages_make_a_new_environment_and_the_old_one_stays_when_that_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "VENV", tmp_path)
    stamp = {"lock": "abc", "row": "cpu"}
    paths.write_json(tmp_path / "001" / venvs.STAMP, stamp)
    paths.write_text(tmp_path / "current.txt", "001\n")
    looked = []

    def build():
        looked.append(venvs.read_stamp(tmp_path / "001")["lock"])
        raise UserError("no network")

    monkeypatch.setattr(environment, "build", build)
    with pytest.raises(UserError):
        doctor_fixes.renew_environment()
    assert looked != ["abc"] and venvs.read_stamp(tmp_path / "001") == stamp
    monkeypatch.setattr(environment, "build", lambda: tmp_path / "002")
    doctor_fixes.renew_environment()
    assert venvs.read_stamp(tmp_path / "001")["lock"] != "abc"


def test_every_action_of_a_row_can_be_done():
    import ast
    from pathlib import Path

    text = "".join(path.read_text(encoding="utf-8") for path in Path(doctor_fixes.__file__).parent.glob("doctor_*.py"))
    assert ast.parse(text) and set(doctor_fixes.FIXES) == {"environment", "packages", "unblock", "magick"}


def test_marks_are_taken_off(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(web_mark, "marked", lambda root: [tmp_path / "a.ps1", tmp_path / "b.ps1"])
    monkeypatch.setattr(web_mark, "clear", lambda path: path.name == "a.ps1")
    doctor_fixes.unblock()
    told = capsys.readouterr().err
    assert "a.ps1\n" in told and "b.ps1: the mark stays" in told

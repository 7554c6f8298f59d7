"""Files appear whole or not at all; names that Windows forbids are recognised everywhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lorabake import paths
from lorabake.errors import UserError


def test_the_root_holds_what_ships():
    assert (paths.ROOT / "py" / "lorabake" / "paths.py").is_file()
    assert {paths.MODELS.name, paths.VENV.name, paths.PROFILES.name, paths.EXAMPLES.name} == {"models", "venv", "profiles", "examples"}


def test_replacing_writes_all_or_nothing(tmp_path):
    target = tmp_path / "new folder" / "a b\u00e9.txt"
    with paths.replacing(target) as aside:
        assert aside.parent == target.parent
        assert aside.name.startswith("_")
        aside.write_text("one", encoding="utf-8")
    assert target.read_text(encoding="utf-8") == "one"
    with pytest.raises(RuntimeError), paths.replacing(target) as aside:
        aside.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert target.read_text(encoding="utf-8") == "one"
    assert list(target.parent.iterdir()) == [target]


def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path):
    target = tmp_path / "x.json"
    paths.write_json(target, {"n": 1})
    code = (
        "import os, sys; from pathlib import Path; from lorabake import paths\n"
        "with paths.replacing(Path(sys.argv[1])) as aside:\n"
        "    aside.write_text('{\"n\"', encoding='utf-8'); os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], env={**os.environ, "PYTHONPATH": str(paths.ROOT / "py")}, check=False)
    assert done.returncode == 9
    assert target.read_text(encoding="utf-8") == '{\n "n": 1\n}\n'
    assert [entry.name for entry in paths.visible(tmp_path)] == ["x.json"]


def test_a_file_held_open_is_named(tmp_path, monkeypatch):
    def refuse(self, target):
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(UserError, match=r"x\.txt cannot be replaced"):
        paths.write_text(tmp_path / "x.txt", "one")
    assert list(tmp_path.iterdir()) == []


def test_text_has_lf_and_utf8(tmp_path):
    paths.write_text(tmp_path / "x", "\u732b\nb\n")
    assert (tmp_path / "x").read_bytes() == b"\xe7\x8c\xab\nb\n"


@pytest.mark.parametrize(
    "name",
    [
        *[
            "",
            " ",
            "con",
            "CON",
            "nul.txt",
            "Com1.safetensors",
            "aux",
            "lpt9",
            "a:b",
            "a/b",
            "a\\b",
            'a"b',
            "a?b",
            "a*b",
            "a<b",
            "a>b",
            "a|b",
        ],
        *["a.", "a ", " a", "a\nb", "x" * 121, "\u732b" * 121],
    ],
)
def test_names_that_are_refused(name):
    assert paths.check_name(name)


@pytest.mark.parametrize("name", ["junwool", "a b", "caf\u00e9", "\u732b", "console", "com", "a.b.c", "-x", "x" * 120, "nullify", "no"])
def test_names_that_are_good(name):
    assert paths.check_name(name) is None


def test_visible_sorts_naturally_and_hides(tmp_path):
    for name in ["b10.png", "b9.png", "B1.png", "_originals", ".git", "a.txt", "10_x", "5_y"]:
        (tmp_path / name).write_text("", encoding="utf-8")
    assert [entry.name for entry in paths.visible(tmp_path)] == ["5_y", "10_x", "a.txt", "B1.png", "b9.png", "b10.png"]


def test_free_bytes_of_a_folder_that_is_not_there_yet(tmp_path):
    assert paths.free_bytes(tmp_path / "x" / "y") > 0


def test_long_paths_get_their_prefix_on_windows_only(monkeypatch, tmp_path):
    long = str(tmp_path / ("x" * 250))
    assert paths.long_path(long) == long or os.name == "nt"
    monkeypatch.setattr(sys, "platform", "win32")
    assert paths.long_path(long) == "\\\\?\\" + long
    assert paths.long_path("short") == "short"


def test_process_alive():
    assert paths.process_alive(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not paths.process_alive(child.pid)
    assert not paths.process_alive(0)

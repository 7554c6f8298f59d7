"""The shortcuts' command lines, which files on the desktop are ours, and what is left alone."""

import os
from pathlib import Path, PureWindowsPath

import pytest

from lorabake import shell_links, shortcuts
from lorabake.errors import UserError
from lorabake.shell_links import Link

ROOT = Path("/home/My Loras & (1)/lorabake")


def test_the_command_line():
    made = shortcuts.link(ROOT, r"C:\Program Files\Python312\python.exe", "convert")
    assert made.target == r"C:\Program Files\Python312\python.exe"
    assert made.arguments == f'-I "{ROOT / "py" / "dropped.py"}" convert'
    assert made.folder == str(ROOT) and "Convert models" in made.text


def test_ours_are_known_by_our_folder_whichever_python_they_name():
    made = shortcuts.link(ROOT, "old python.exe", "tag")
    assert shortcuts.is_ours(made, ROOT)
    assert not shortcuts.is_ours(made, ROOT.parent / "lorabake 2")
    assert not shortcuts.is_ours(None, ROOT)
    assert not shortcuts.is_ours(Link(r"C:\games\x.exe", ""), ROOT)


def test_a_file_of_somebody_else_is_left_alone(tmp_path):
    ours, theirs = shortcuts.link(ROOT, "p", "train"), Link("other.exe", "")
    content = {}
    place = lambda: shortcuts.place(tmp_path, ROOT, "train", read=content.get)  # noqa: E731
    first, second = tmp_path / "Bake a LoRA.lnk", tmp_path / "Bake a LoRA (2).lnk"
    assert place() == first
    first.touch()
    content[first] = theirs
    assert place() == second
    second.touch()
    content[second] = ours
    assert place() == second, "our own is written again, not doubled"
    content[second] = theirs
    for number in range(3, 10):
        (tmp_path / f"Bake a LoRA ({number}).lnk").touch()
    assert place() is None


def test_names_are_names_of_files():
    assert all(PureWindowsPath(name).name == name for name in shortcuts.NAMES.values())


@pytest.mark.skipif(os.name == "nt", reason="of other systems")
def test_elsewhere_a_sentence(tmp_path):
    for act in (lambda: shortcuts.make(tmp_path, "python"), lambda: shortcuts.remove(tmp_path)):
        with pytest.raises(UserError, match="Windows only"):
            act()
    shortcuts.refresh(tmp_path, "python")
    assert shell_links.desktop() is None and shell_links.read(tmp_path / "x.lnk") is None

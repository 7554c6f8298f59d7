"""train.ps1 -New on Windows, by the letter of a right-click: answers typed in a console, a draft after Ctrl-C; and answers from a file."""

import os
import time

import pytest

import picture_sets
import tools
from windows_house import RIGHT_CLICK, launch, of_windows

pytestmark = pytest.mark.windows


@pytest.fixture(scope="module")
def pictures(baker):
    """A folder of pictures below the house, with a name that is hard on consoles."""
    folder = baker / "it's a s\u00e9t & [1]"
    picture_sets.pictures(folder / "5_anna", 2)
    picture_sets.pictures(folder / "10_bob", 2)
    return folder


def test_answers_from_a_file(baker, pictures):
    """As a script does it; the folder is named as Windows names it."""
    answers = baker / "answers.txt"
    answers.write_text(
        f"base_model: pocket\nimages: '{of_windows(pictures).replace(chr(39), 2 * chr(39))}'\ntrain.epochs: 8\n", encoding="utf-8"
    )
    done = launch(baker, "train.ps1", "-New", "by file", "-Answers", of_windows(answers), "-NoPause")
    assert done.returncode == 0, done.stdout + done.stderr
    text = (baker / "profiles" / "by file.yaml").read_text(encoding="utf-8")
    assert "epochs: 8" in text and of_windows(pictures).replace("'", "''") in text
    again = launch(baker, "train.ps1", "-New", "by file", "-Answers", of_windows(answers), "-NoPause")
    assert again.returncode == 1 and "already a profile" in again.stderr
    nobody = launch(baker, "train.ps1", "-New", "-NoPause")
    assert nobody.returncode == 2 and "need a person" in nobody.stderr, nobody.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
def test_typed_answers(baker, pictures):
    from terminal import Terminal

    letter = RIGHT_CLICK.format(of_windows(baker / "train.ps1").replace("'", "''")) + " -New"
    command = [*tools.windows(), "LORABAKE_NO_WINDOWS=1", "powershell.exe", "-Command", letter]
    with Terminal(command, cwd=baker, columns=100) as window:
        for words, typed in (
            ("Question 1 of", "pocket"),
            ("Question 2 of", f'"{of_windows(pictures / "5_anna")}"'),
            ("Take the folder above", ""),
        ):
            window.expect(words, timeout_s=120)
            window.type(f"{typed}\r")
        window.expect("Enter:   it's", timeout_s=60)
        time.sleep(1)
        window.type("\x03")
        time.sleep(1)
        window.type("\r")  # Wine's consoles hear Ctrl-C while a line is read only when the line ends; Windows' hear it at once
        window.expect("the answers so far are kept", timeout_s=60)
        window.expect("Press Enter to close", timeout_s=60)
        window.type("\r")
        window.wait(timeout_s=60)  # a right-click's code is PowerShell's own, and nobody sees it
    with Terminal(command, cwd=baker, columns=100) as window:
        for words, typed in (
            ("Go on with it?", ""),
            ("Question 3 of", "s\u00e9t"),
            ("Question 4 of", "e"),
            ("What now?", "1"),
            ("Another LoRA?", ""),
            ("Press Enter to close", ""),
        ):
            window.expect(words, timeout_s=120)
            window.type(f"{typed}\r")
        assert window.wait(timeout_s=60) == 0
    written = (baker / "profiles" / "s\u00e9t.yaml").read_text(encoding="utf-8")
    assert f"images: '{of_windows(pictures).replace(chr(39), 2 * chr(39))}'" in written

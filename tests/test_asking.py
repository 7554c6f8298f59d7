"""Questions at a console, and where nobody answers."""

import io
import sys
from pathlib import Path

import pytest

from lorabake import asking, pickers
from lorabake.errors import UsageError


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def typed(monkeypatch):
    monkeypatch.setattr(pickers, "screen", lambda: False)
    return lambda text: monkeypatch.setattr(sys, "stdin", Terminal(text))


def ask(**more):
    return asking.required_paths("Which?", lacking="no file was named", todo="type one", **more)


@pytest.mark.parametrize(("text", "found"), [('"D:\\a b.pt"\n', "D:\\a b.pt"), ("'x'\n", "x"), ("  y \n", "y"), ("\n", ""), ("", "")])
def test_an_answer_loses_its_quotes(typed, capsys, text, found):
    typed(text)
    assert asking.answer("Which?") == found
    assert capsys.readouterr().err == "Which?\n"


def test_a_closed_input_is_not_an_empty_line(typed):
    typed("\n")
    assert (asking.line(), asking.line()) == ("", None)


@pytest.mark.parametrize("stdin", [None, io.StringIO("x\n"), Terminal("\n"), Terminal("")])
def test_what_is_required_and_not_given(monkeypatch, stdin):
    monkeypatch.setattr(pickers, "screen", lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert asking.somebody_there() == isinstance(stdin, Terminal)
    with pytest.raises(UsageError, match="no file was named"):
        ask()


def test_what_is_required_and_given(typed, capsys):
    typed('"a b.pt" "c.pt"\n')
    assert ask(pick=lambda: 1 / 0) == ["a b.pt", "c.pt"]
    assert "window" not in capsys.readouterr().err, "there is no screen"
    typed("a.pt\n")
    assert asking.required_path("Which?", lacking="x", todo="y") == "a.pt"
    typed("/a /b\n")
    with pytest.raises(UsageError, match="2 paths"):
        asking.required_path("Which?", lacking="x", todo="y")


def test_enter_opens_a_window_where_there_is_a_screen(typed, monkeypatch, capsys):
    monkeypatch.setattr(pickers, "screen", lambda: True)
    typed("\n")
    assert ask(pick=lambda: ["/picked"]) == ["/picked"]
    typed("/typed\n")
    assert ask(pick=lambda: 1 / 0) == ["/typed"], "drops and typing work without it"
    capsys.readouterr()
    for nothing in ([], None):
        typed("\n/typed\n")
        assert ask(pick=lambda nothing=nothing: nothing) == ["/typed"]
        assert "nothing was chosen" in capsys.readouterr().err
    typed("\n\n")
    with pytest.raises(UsageError):
        ask(pick=list)
    typed("")
    with pytest.raises(UsageError):
        ask(pick=lambda: 1 / 0)  # Windows calls NUL a console; no window for nobody


def test_a_name_that_is_there_is_taken_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = "a /b 'c' \"d\"".replace("/", "_")
    (tmp_path / odd).write_text("", encoding="utf-8")
    assert asking.paths_of(odd) == [odd]
    assert asking.paths_of("a\0b") == ["a\0b"]
    assert asking.paths_of("~/x") == [str(Path("~/x").expanduser())]

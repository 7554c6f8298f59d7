"""Questions at a console, and where nobody answers."""

import io
import sys

import pytest

from lorabake import asking
from lorabake.errors import UsageError


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("typed", "found"), [('"D:\\a b.pt"\n', "D:\\a b.pt"), ("'x'\n", "x"), ("  y \n", "y"), ("\n", ""), ("", "")])
def test_an_answer_loses_its_quotes(monkeypatch, capsys, typed, found):
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert asking.answer("Which?") == found
    assert capsys.readouterr().err == "Which?\n"


@pytest.mark.parametrize("stdin", [None, io.StringIO("x\n"), Terminal("\n")])
def test_what_is_required_and_not_given(monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    assert asking.somebody_there() == isinstance(stdin, Terminal)
    with pytest.raises(UsageError, match="no file was named"):
        asking.required("Which?", lacking="no file was named", todo="type one")


def test_what_is_required_and_given(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal("a.pt\n"))
    assert asking.required("Which?", lacking="no file was named", todo="type one") == "a.pt"

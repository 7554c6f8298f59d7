"""Offers: each asked once, a yes is done at once and can be undone, nobody is asked who is not there."""

import json

import pytest

from lorabake import offers
from lorabake.offers import Offer


@pytest.fixture
def made():
    return []


@pytest.fixture
def two(made):
    return [
        Offer("scripts", "Scripts?", lambda: made.append("scripts") or "  scripts done", "-AllowScripts", "-Undo"),
        Offer("shortcuts", "Shortcuts?", lambda: made.append("shortcuts") or "  shortcuts done", "-Shortcuts"),
    ]


def answer(monkeypatch, *given):
    left = list(given)
    monkeypatch.setattr("lorabake.asking.answer", lambda _: left.pop(0))
    return left


def test_each_is_asked_once(monkeypatch, tmp_path, capsys, two, made):
    file = tmp_path / "venv" / "offers.json"
    assert answer(monkeypatch, "Yes", "") == ["Yes", ""]
    offers.ask(two, file)
    assert made == ["scripts"]
    assert json.loads(file.read_text(encoding="utf-8")) == {"scripts": "yes", "shortcuts": "no"}
    said = capsys.readouterr().err
    assert "scripts done (undone by -Undo)" in said and "later: -Shortcuts" in said
    answer(monkeypatch)  # a question now would be an IndexError
    offers.ask(two, file)
    assert made == ["scripts"]


def test_a_new_offer_is_asked_beside_old_answers(monkeypatch, tmp_path, two, made):
    file = tmp_path / "offers.json"
    file.write_text('{"scripts": "no"}', encoding="utf-8")
    answer(monkeypatch, "y")
    offers.ask(two, file)
    assert made == ["shortcuts"]


def test_a_broken_file_of_answers_asks_again(tmp_path):
    (tmp_path / "a.json").write_text("[", encoding="utf-8")
    (tmp_path / "b.json").write_text("[]", encoding="utf-8")
    assert [offers.read_answers(tmp_path / name) for name in ("a.json", "b.json", "none.json")] == [{}, {}, {}]


@pytest.mark.parametrize(("variable", "there", "asked"), [("1", True, True), ("1", False, False), ("", True, False), (None, True, False)])
def test_only_a_person_who_started_setup_bat_is_asked(monkeypatch, variable, there, asked):
    monkeypatch.delenv(offers.ASK, raising=False)
    if variable is not None:
        monkeypatch.setenv(offers.ASK, variable)
    monkeypatch.setattr("lorabake.asking.at_console", lambda: there)
    assert offers.somebody_asked() == asked


def test_where_nobody_is_the_words_are_said_once(monkeypatch, tmp_path, capsys, two, made):
    monkeypatch.setattr(offers, "offers", lambda *_: two)
    offers.finish(tmp_path, "python", made=False)
    assert "Shortcuts?" not in capsys.readouterr().err
    offers.finish(tmp_path, "python", made=True)
    said = capsys.readouterr().err
    assert "Shortcuts?" in said and "-Shortcuts" in said and not made
    offers.finish(tmp_path, "python", made=True, quiet=True)
    assert "Shortcuts?" not in capsys.readouterr().err, "a launcher set up on its way to a bake"


def test_our_scripts_are_freed(monkeypatch, tmp_path, capsys):
    (tmp_path / "train.ps1").touch()
    monkeypatch.setattr("lorabake.web_mark.marked", lambda root: [root / "train.ps1"])
    monkeypatch.setattr("lorabake.web_mark.clear", lambda path: True)
    offers.finish(tmp_path, "python", made=False)
    assert "1 of our scripts carried the mark of the web" in capsys.readouterr().err

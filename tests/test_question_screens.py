"""How questions look: short, aligned, in the window's width, ASCII in our own words."""

import pytest

from lorabake import question_screens as screens
from lorabake.questions import Sheet, all_questions, groups

KNOWN = all_questions()


def shown(dotted, offered=None, *, answered=False, width=79):
    return screens.question(KNOWN[dotted], "7 of 24", offered, answered=answered, width=width)


def test_a_question():
    assert shown("network.rank") == (
        "\n"
        "Question 7 of 24: Rank  (network.rank)\n"
        "  Size of what can be learned, and of the file.\n"
        "  Usual:   128; 96 to 192 for characters; 32 at most for other types than lora\n"
        "  Enter:   auto (128 for lora, 32 for the other types)"
    )


@pytest.mark.parametrize(
    ("dotted", "offered", "answered", "enter"),
    [
        ("train.epochs", 6, False, "6"),
        ("train.epochs", 6, True, "6"),
        ("train.epochs", 9, True, "keeps 9   (-: 6)"),
        ("data.flip", True, True, "keeps yes   (-: no)"),
        ("save.comment", "", False, "nothing"),
        ("data.regularization", None, False, "nothing   (w: choose in a window)"),
        ("base_model", None, False, "opens a window to choose in; or drag it here, or type it"),
        ("base_model", "pocket", True, "pocket   (w: choose in a window)"),
        ("name", None, False, "(an answer is needed)"),
    ],
)
def test_what_enter_does(dotted, offered, answered, enter):
    assert screens.enter(KNOWN[dotted], offered, answered=answered) == enter


def test_where_no_window_can_be_opened():
    assert "window" not in screens.without_screen(shown("base_model")) + screens.without_screen(shown("output", "/o"))
    assert "Enter:   drag it here, or type it" in screens.without_screen(shown("base_model"))


@pytest.mark.parametrize("width", [60, 79, 96])
def test_every_question_fits_the_window(width):
    for dotted, question in KNOWN.items():
        text = shown(dotted, question.key.default, width=width) + "\n" + screens.explanation(question, width)
        assert text.isascii() and not [line for line in text.splitlines() if len(line) > width], dotted
        assert len(shown(dotted, question.key.default, width=width).splitlines()) <= 12, "short and calm"


def test_the_menus_fit_a_small_window():
    rows = [("a" * 100, "2026-11-28 12:00", 3)] * 2
    texts = [screens.WELCOME, screens.MENU, screens.found_draft(rows, 79), screens.more(groups(KNOWN.values()), ["tag"], 79)]
    texts.append(screens.answers(KNOWN, Sheet({"name": "x" * 100, "train.epochs": 3}), 79)[0])
    assert max(len(line) for text in texts for line in text.splitlines()) <= 79
    assert "tag" not in texts[3] and screens.more({"tag": 3}, ["tag"], 79) == ""


def test_an_explanation():
    assert screens.explanation(KNOWN["train.power"], 79) == (
        "  1 is a straight line; 2 falls faster at first.\n  Allowed: a number over 0 to 100\n  Default: 1\n  kohya:   lr_scheduler_power"
    )


def test_a_long_path_is_not_torn():
    path = "/a/" + "b" * 200
    assert path in screens.refusal("no", path, 79)

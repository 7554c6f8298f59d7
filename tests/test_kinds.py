"""Kinds of values: what each takes, what it refuses and with which words. (kinds.py, special_kinds.py)"""

import pytest

from lorabake import kinds
from lorabake import special_kinds as special
from lorabake.kinds import Wrong


def refused(kind, value):
    with pytest.raises(Wrong) as caught:
        kind.parse(value)
    return caught.value


@pytest.mark.parametrize(("typed", "value"), [("6", 6), (" 6 ", 6), ("0777", 777), ("1e3", 1000), ("6.0", 6), ("+6", 6)])
def test_whole_numbers(typed, value):
    found = kinds.whole(1, 1024).parse(typed)
    assert found == value
    assert type(found) is int


@pytest.mark.parametrize("typed", ["six", "6.5", "", "6,0", "0x10", "nan", "inf", None, ["6"], {"a": "6"}, "true", "1_000x", "9" * 30])
def test_not_whole_numbers(typed):
    refused(kinds.whole(1, 1024), typed)


def test_ranges_are_inclusive_and_said():
    kind = kinds.whole(1, 1024)
    assert (kind.parse("1"), kind.parse("1024")) == (1, 1024)
    assert refused(kind, "0").what == '"0" is too small'
    assert refused(kind, "1025").what == '"1025" is too large'
    assert kind.allowed == "a whole number from 1 to 1024"


@pytest.mark.parametrize(("typed", "value"), [("8e-5", 8e-5), ("1e-4", 1e-4), ("1E-4", 1e-4), (".5", 0.5), ("1", 1.0), ("1.5e-5", 1.5e-5)])
def test_numbers_yaml_would_take_for_text(typed, value):
    assert kinds.number(0, 10).parse(typed) == value


@pytest.mark.parametrize("typed", ["8e", "1-4", ".inf", "nan", "1e999", "one", "", None])
def test_not_numbers(typed):
    refused(kinds.number(0, 10), typed)


def test_slips_are_answered():
    assert refused(kinds.number(0, 10), "8,5e-5").todo == "a decimal point, not a comma: 8.5e-5"
    assert refused(kinds.number(0, 10), "8e5").todo == "did you mean 8e-5?"
    assert refused(kinds.whole(32, 4096, step=8), "500").todo == "496 is the nearest"
    assert refused(kinds.whole(32, 4096, step=8), "512,768").todo == "one number"
    assert refused(kinds.choice(("fp32", "fp16"), aliases={"no": "fp32"}), "no").todo == "did you mean fp32?"
    assert refused(kinds.choice(("linear", "cosine")), "cosin").todo == "did you mean cosine?"


def test_over_leaves_the_low_end_out():
    kind = kinds.number(0, 10, over=True)
    refused(kind, "0")
    assert not kind.fits(0)
    assert kind.parse("1e-9") == 1e-9


@pytest.mark.parametrize(("typed", "value"), [("true", True), ("Yes", True), ("ON", True), ("false", False), ("no", False), ("off", False)])
def test_flags(typed, value):
    assert kinds.flag().parse(typed) is value


def test_choices_are_taken_in_any_case():
    assert kinds.choice(("AdamW8bit", "AdamW")).parse("adamw8BIT") == "AdamW8bit"


def test_fits_never_takes_a_flag_for_a_number():
    assert not kinds.whole(0, 10).fits(True)
    assert not kinds.number(0, 10).fits(True)


def test_text_stays_as_typed_and_lists_are_joined():
    assert kinds.text().parse("0777") == "0777"
    assert kinds.text().parse(["a", "b"]) == "a, b"
    assert refused(kinds.text(), {"a": "b"}).todo


def test_shown_is_one_short_printable_line():
    assert kinds.shown("D:\new") == '"D:\\new"'
    assert kinds.shown("a\x07") == '"a\\x07"'
    assert len(kinds.shown("x" * 500)) < 90


@pytest.mark.parametrize(("value", "text"), [(8e-5, "8e-5"), (1.5e-5, "1.5e-5"), (1.0, "1"), (0.5, "0.5"), (1024, "1024"), (1e20, "1e20")])
def test_plain(value, text):
    assert kinds.plain(value) == text


@pytest.mark.parametrize(("typed", "value"), [("0", 0), ("100", 100), ("0.05", 0.05), ("5%", "5%"), ("2.5 %", "2.5%"), ("1", 1)])
def test_warmup(typed, value):
    kind = special.share_or_count("steps", keep_percent=True)
    found = kind.parse(typed)
    assert (found, type(found)) == (value, type(value))
    assert kind.fits(found)


@pytest.mark.parametrize("typed", ["1.5", "-1", "100%", "five", "%", None])
def test_not_a_warmup(typed):
    refused(special.share_or_count("steps", keep_percent=True), typed)


def test_holdout_turns_a_percentage_into_a_share():
    kind = special.share_or_count("pictures", keep_percent=False)
    assert kind.parse("5%") == 0.05
    assert not kind.fits("5%")


@pytest.mark.parametrize(
    ("typed", "value"), [("512", 512), ("512x768", (512, 768)), ("512 X 768", (512, 768)), (["512", "768"], (512, 768))]
)
def test_sizes(typed, value):
    assert special.size().parse(typed) == value
    assert special.size().fits(value)


@pytest.mark.parametrize("typed", ["500", "512x", "1x2x3", ["512", "a"], [], "32", {"w": "1"}, None])
def test_not_sizes(typed):
    refused(special.size(), typed)


def test_seeds():
    assert special.seeds().parse("7") == (7,)
    assert special.seeds().parse(["1", "2"]) == (1, 2)
    for typed in ([], ["a"], "-1", str(2**32), None):
        refused(special.seeds(), typed)


def test_prompts():
    assert special.prompts().parse(["a, b", "c"]) == ("a, b", "c")
    assert special.prompts().parse("prompts.TXT") == "prompts.TXT"
    assert special.prompts().parse([]) == ()
    assert "empty" in refused(special.prompts(), ["a", ""]).what
    assert refused(special.prompts(), "red apple").todo == 'for one prompt: ["red apple"]'
    for typed in ([""], [None], [{"a": "b"}], {"a": "b"}, None):
        refused(special.prompts(), typed)


@pytest.mark.parametrize("typed", ["white", "#fff", "#FF8800", "dominant", "checker", "rgb(1,2,3)", "Black"])
def test_colours(typed):
    assert special.colour().parse(typed) == typed.lower()


@pytest.mark.parametrize("typed", ["blau", "#ff", "#ff880011", "", None, "transparent"])
def test_not_colours(typed):
    refused(special.colour(), typed)


@pytest.mark.parametrize(("typed", "value"), [(".txt", ".txt"), ("caption", ".caption"), (".TXT", ".TXT"), (".wd14.txt", ".wd14.txt")])
def test_extensions(typed, value):
    assert special.extension().parse(typed) == value


def test_file_names():
    assert special.file_name().parse("0777") == "0777"
    assert special.file_name().parse("Straße 2 é") == "Straße 2 é"
    assert refused(special.file_name(), "a.safetensors").todo == "a; .safetensors is added"
    for typed in ("con", "a/b", "a:b", "", "x" * 200, "a.", None):
        refused(special.file_name(), typed)


def test_optimizer_options():
    kind = special.options()
    found = kind.parse({"weight_decay": "0.1", "betas": ["0.9", "0.99"], "amsgrad": "true", "n": "3", "mode": "x"})
    assert found == {"weight_decay": 0.1, "betas": (0.9, 0.99), "amsgrad": True, "n": 3, "mode": "x"}
    assert kind.parse(["weight_decay=0.1", "betas=(0.9,0.99)"]) == {"weight_decay": 0.1, "betas": (0.9, 0.99)}
    for typed in ("weight_decay=0.1", {"a": None}, {"a": {"b": "c"}}, [None], None):
        refused(kind, typed)


def test_paths_hold_no_control_characters():
    assert kinds.path("a folder").parse(r"D:\new") == r"D:\new"
    refused(kinds.path("a folder"), "D:\new")
    refused(kinds.path("a folder"), "")

"""The words of py/train.py: what goes together, and lists that powershell.exe -File hands over as one word."""

import pytest

from lorabake import train_words


def parsed(*words):
    return train_words.parse("", list(words))


def test_nothing_is_set_without_a_word():
    options = parsed()
    given = {name: value for name, value in vars(options).items() if value}
    assert given == {}


def test_words_in_powershells_case():
    options = parsed("a.yaml", "--at=23:30", "--repeat=Daily", "--when-done=Sleep", "--stop-by=07:00")
    assert (options.at, options.repeat, options.when_done, options.stop_by) == ("23:30", "daily", "sleep", "07:00")


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("train.epochs=3,network.rank=16", ["train.epochs=3", "network.rank=16"]),
        ("name=x,train.epochs=3", ["name=x", "train.epochs=3"]),
        ("train.betas=[0.9,0.99]", ["train.betas=[0.9,0.99]"]),
        ("samples.prompts=[a cat, b=c]", ["samples.prompts=[a cat, b=c]"]),
    ],
)
def test_several_overrides_in_one_word(word, wanted):
    assert parsed("a.yaml", f"--set={word}").set == wanted


@pytest.mark.parametrize(
    "words",
    [
        ["--answers=a.txt"],
        ["--new", "one", "two"],
        ["--new", "--fresh"],
        ["--repeat=daily"],
        ["--at=23:30", "--plan-only"],
        ["--at=23:30", "--clear-cache"],
        ["--when-done=sleep", "--plan-only"],
        ["--scheduled=x", "--at=23:30"],
        ["--list", "a.yaml"],
        ["--remove=x", "--at=1:00"],
        ["--when-done=party"],
        ["--at=1:00", "--repeat=never"],
    ],
)
def test_words_that_do_not_go_together(words, capsys):
    with pytest.raises(SystemExit) as caught:
        parsed(*words)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err

"""The words of py/flatten.py, and those that make no sense together."""

import pytest

from lorabake import flatten_words


def test_words_and_their_defaults():
    options = flatten_words.parse(None, ["a", "b", "--upscale", "x.pth"])
    assert (options.folder, options.background, options.upscale, options.upscale_to) == (["a", "b"], "white", "x.pth", None)
    assert flatten_words.parse(None, ["--upscale-try", "models", "a.png"]).upscale_try == ["models", "a.png"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a", "--max-side", "0"],
        ["a", "--max-side", "x"],
        ["a", "--upscale-to", "512"],
        ["a", "--upscale-try", "models", "a.png"],
        ["a", "--device", "tpu"],
    ],
)
def test_words_that_make_no_sense(words, capsys):
    with pytest.raises(SystemExit) as ended:
        flatten_words.parse(None, words)
    assert ended.value.code == 2 and "error" in capsys.readouterr().err

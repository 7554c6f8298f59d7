"""The words of py/extract.py."""

import pytest

from lorabake import extract_words


def test_words_and_their_defaults():
    options = extract_words.parse(None, ["--base", "a", "--tuned", "b", "c", "--tuned=d", "--out", "e"])
    assert (options.base, options.tuned, options.out, options.rank, options.precision) == ("a", ["b", "c", "d"], "e", None, "fp16")
    assert extract_words.parse(None, []).tuned == [] == extract_words.parse(None, []).tuned
    assert extract_words.parse(None, ["--share", "95%"]).share == extract_words.parse(None, ["--share", "0.95"]).share == 0.95


@pytest.mark.parametrize(
    "words",
    [
        ["--rank", "0"],
        ["--rank", "x"],
        ["--conv-rank", "-1"],
        ["--share", "1"],
        ["--share", "0"],
        ["--share", "nan"],
        ["--min-diff", "-1"],
        ["--min-diff", "inf"],
        ["--precision", "keep"],
        ["--target", "vae"],
        ["--device", "tpu"],
        ["--tuned"],
    ],
)
def test_words_that_make_no_sense(words, capsys):
    with pytest.raises(SystemExit) as ended:
        extract_words.parse(None, words)
    assert ended.value.code == 2 and "error" in capsys.readouterr().err

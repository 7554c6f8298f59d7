"""What is odd in captions, each kind by itself."""

import pytest

from lorabake import caption_checks


def kinds(*texts, trigger=None, most_tokens=75):
    named = {f"{number}.png": text for number, text in enumerate(texts)}
    remarks = caption_checks.check(named, trigger=trigger, count_tokens=lambda tag: len(tag.split()), most_tokens=most_tokens)
    return {remark.kind: remark for remark in remarks}


def test_good_captions_have_no_remark():
    assert kinds("1girl, smile", "1boy, hat", "cat", "2girls, standing", "dog, night", "no humans, hat") == {}


def test_the_very_tags_that_are_cut_off():
    found = kinds("a b, c, d e, f", most_tokens=6)["cut off"]
    assert found.text == "9 tokens, 6 are read; never read: d e, f" and found.names == ("0.png",)
    assert kinds("a b, c, d e", most_tokens=7) == {} and kinds("a b, c, d e", most_tokens=6)["cut off"].text.endswith("d e")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1girl, 2girls", "1girl, 2girls"),
        ("1Girl, multiple_girls", "1girl, multiple girls"),
        ("solo, 1girl, 1boy", "solo, 1boy, 1girl"),
        ("solo, 2boys", "solo, 2boys"),
        ("no humans, 1girl", "no humans, 1girl"),
        ("open mouth, closed mouth", "open mouth, closed mouth"),
        ("day, night", "day, night"),
    ],
)
def test_contradictions(text, says):
    assert kinds(text, "cat")["contradiction"].text == f"{says} on the same picture"


def test_the_trigger_word():
    found = kinds("Jun_Wool, cat", "cat", trigger="jun wool")["trigger"]
    assert found.names == ("1.png",)
    assert "trigger" not in kinds("Jun_Wool, cat", trigger="jun wool") and "trigger" not in kinds("cat")


def test_a_tag_on_every_picture_is_told_unless_it_is_the_trigger():
    texts = [f"jun, simple background, thing {number}" for number in range(6)]
    assert "jun, simple background" in kinds(*texts)["on every picture"].text
    assert "jun," not in kinds(*texts, trigger="jun")["on every picture"].text
    assert "on every picture" not in kinds(*texts[:4])


def test_one_face_on_most_pictures():
    texts = ["smile, a", "smile, b", "Smile, c", "smile, rin (fate), d", "e"]
    assert "smile (80 %)" in kinds(*texts)["sameface"].text and "rin" not in kinds(*texts)["sameface"].text
    assert "rin (fate) (60 %)" in kinds("rin (fate)", "rin \\(fate\\), a", "rin (fate), b", "c", "d")["sameface"].text
    assert "sameface" not in kinds("smile", "smile", "a", "b", "c")


def test_two_spellings_of_one_tag():
    assert "long hair" in kinds("long_hair, a", "long hair")["spelling"].text
    assert "spelling" not in kinds("long_hair", "Long_Hair") and "spelling" not in kinds("^_^", "^_^")


def test_no_caption():
    assert kinds("", "  ", "cat")["empty"].names == ("0.png", "1.png")

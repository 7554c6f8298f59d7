"""What is odd in captions, each kind by itself."""

import pytest

from lorabake import caption_checks


def asked(names, trigger="", most_tokens=75, named=False):
    words = trigger if isinstance(trigger, dict) else dict.fromkeys(names, trigger)
    return caption_checks.Ask(words, lambda tag: len(tag.split()), most_tokens, named)


def kinds(*texts, **ask):
    named = {f"{number}.png": text for number, text in enumerate(texts)}
    return {remark.kind: remark for remark in caption_checks.check(named, asked(named, **ask))}


def test_good_captions_have_no_remark():
    assert kinds("1girl, smile", "1boy, hat", "cat", "2girls, standing", "dog, night", "no humans, hat") == {}


def test_the_very_tags_that_are_cut_off():
    found = kinds("a b, c, d e, f", most_tokens=6)["too-long"]
    assert found.text == "9 tokens, 6 are read; never read: d e, f" and found.names == ("0.png",)
    assert kinds("a b, c, d e", most_tokens=7) == {} and kinds("a b, c, d e", most_tokens=6)["too-long"].text.endswith("d e")


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
    found = kinds("Jun_Wool, cat", "cat", trigger="jun wool")["no-trigger"]
    assert found.names == ("1.png",)
    assert "no-trigger" not in kinds("Jun_Wool, cat", trigger="jun wool") and "no-trigger" not in kinds("cat")


def test_each_concept_has_its_own_trigger_word():
    found = caption_checks.check(
        {"a": "anna, x", "b": "anna, x", "c": "", "d": "y"}, asked([], {"a": "anna", "b": "bob", "c": "bob", "d": ""})
    )
    (remark,) = [one for one in found if one.kind == "no-trigger"]
    assert remark.names == ("b",) and '"bob"' in remark.text


def test_tokens_and_tags_that_are_read():
    ask = asked([], most_tokens=6)
    assert caption_checks.length(["a b", "c", "d e", "f"], ask) == caption_checks.Length(9, 2)
    assert caption_checks.length([], ask) == caption_checks.Length(0, 0)
    assert caption_checks.length(["a b c d e f g"], ask) == caption_checks.Length(7, 0)


def test_signed_pictures():
    found = kinds("1girl, Artist_Name", "cat", "watermark", "dog")["watermark"]
    assert found.names == ("0.png", "2.png") and "watermark" not in kinds("artist", "sign")


def test_a_tag_on_every_picture_is_told_unless_it_is_the_trigger():
    texts = [f"jun, simple background, thing {number}" for number in range(6)]
    assert "jun, simple background" in kinds(*texts)["on-every-picture"].text
    assert "jun," not in kinds(*texts, trigger="jun")["on-every-picture"].text
    assert "on-every-picture" not in kinds(*texts[:4])


def test_one_face_on_most_pictures():
    texts = ["smile, a", "smile, b", "Smile, c", "smile, rin (fate), d", "e"]
    assert "smile (80 %)" in kinds(*texts)["sameface"].text and "rin" not in kinds(*texts)["sameface"].text
    assert "rin (fate) (60 %)" in kinds("rin (fate)", "rin \\(fate\\), a", "rin (fate), b", "c", "d")["sameface"].text
    assert "sameface" not in kinds("smile", "smile", "a", "b", "c")


def test_a_character_s_own_name_is_no_sameface():
    texts = [f"rin (fate), thing {number}" for number in range(6)]
    assert "sameface" in kinds(*texts) and "sameface" not in kinds(*texts, named=True)
    assert "sameface" not in kinds(*texts, trigger="rin \\(fate\\)")


def test_two_spellings_of_one_tag():
    assert "long hair" in kinds("long_hair, a", "long hair")["spelling"].text
    assert "spelling" not in kinds("long_hair", "Long_Hair") and "spelling" not in kinds("^_^", "^_^")


def test_no_caption():
    assert kinds("", "  ", "cat")["no-caption"].names == ("0.png", "1.png")

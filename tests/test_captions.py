"""Captions are found, read and processed as the reference trainer does; what is odd is told and not a crash."""

import codecs
import random

import pytest

from lorabake import captions

BOS, EOS = 49406, 49407


def picture(tmp_path, name="cat 1.png"):
    path = tmp_path / name
    path.write_bytes(b"")
    return path


def read(tmp_path, data: bytes, extension=".txt"):
    path = picture(tmp_path)
    path.with_suffix(extension).write_bytes(data)
    return captions.read(path, extension)


# --- files


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"1girl, red hair", "1girl, red hair"),
        (b"1girl, red hair\n", "1girl, red hair"),
        (b"1girl\r\n", "1girl"),
        (b"1girl\r", "1girl"),
        (b"  1girl, x \t\n\n", "1girl, x"),
        (b"\n\r\n  \n1girl\n", "1girl"),
        (codecs.BOM_UTF8 + b"1girl", "1girl"),
        (codecs.BOM_UTF8, ""),
        (b"", ""),
        (b" \r\n\t\n", ""),
        ("\u732b, \u00e9t\u00e9".encode(), "\u732b, \u00e9t\u00e9"),
        ("\u3000\u732b\u3000".encode(), "\u732b"),
    ],
)
def test_text(tmp_path, data, text):
    assert read(tmp_path, data) == captions.CaptionFile(tmp_path / "cat 1.txt", text, "")


def test_no_file(tmp_path):
    assert captions.read(picture(tmp_path), ".txt") == captions.CaptionFile(None, None, "")
    assert captions.read(tmp_path / "no folder" / "x.png", ".txt").text is None


def test_dot_caption_is_next_and_the_path_tells(tmp_path):
    path = picture(tmp_path)
    path.with_suffix(".caption").write_text("second", encoding="utf-8")
    found = captions.read(path, ".txt")
    assert (found.path, found.text) == (tmp_path / "cat 1.caption", "second")
    path.with_suffix(".txt").write_text("first", encoding="utf-8")
    assert captions.read(path, ".txt").text == "first"
    assert captions.read(path, ".caption").text == "second"
    assert captions.read(path, ".tags").text == "second"


def test_an_empty_file_is_not_passed_over(tmp_path):
    path = picture(tmp_path)
    path.with_suffix(".txt").write_bytes(b"")
    path.with_suffix(".caption").write_text("second", encoding="utf-8")
    assert captions.read(path, ".txt") == captions.CaptionFile(path.with_suffix(".txt"), "", "")


def test_capital_letters_dots_and_folders(tmp_path):
    path = picture(tmp_path, "a.b.PNG")
    (tmp_path / "a.b.TXT").write_text("found", encoding="utf-8")
    assert captions.read(path, ".txt").text == "found"
    other = picture(tmp_path, "c.png")
    (tmp_path / "c.txt").mkdir()
    (tmp_path / "c.caption").write_text("behind the folder", encoding="utf-8")
    assert captions.read(other, ".txt").text == "behind the folder"


def test_face_crops_share_the_caption_of_their_picture(tmp_path):
    (tmp_path / "girl.txt").write_text("1girl", encoding="utf-8")
    assert captions.read(picture(tmp_path, "girl_100_200_64_64.png"), ".txt").text == "1girl"
    assert captions.read(picture(tmp_path, "girl_by_the_blue_sea.png"), ".txt").text is None
    (tmp_path / "girl_100_200_64_64.txt").write_text("own", encoding="utf-8")
    assert captions.read(picture(tmp_path, "girl_100_200_64_64.png"), ".txt").text == "own"


def test_further_lines_are_told(tmp_path):
    found = read(tmp_path, b"one\n\ntwo\nthree\n")
    assert found.text == "one" and "3 lines, only the first is used" in found.problem


@pytest.mark.parametrize(
    ("data", "text", "words"),
    [
        ("\u732b\u8033, \u304b\u308f\u3044\u3044".encode("cp932"), "\u732b\u8033, \u304b\u308f\u3044\u3044", "Japanese (cp932)"),
        ("\u9752\u7a7a".encode("cp932"), "\u9752\u7a7a", "Japanese (cp932)"),
        ("\u043a\u043e\u0448\u043a\u0430, 1girl".encode("cp1251"), "\u043a\u043e\u0448\u043a\u0430, 1girl", "Cyrillic (cp1251)"),
        ("caf\u00e9, na\u00efve".encode("cp1252"), "caf\u00e9, na\u00efve", "Western (cp1252)"),
        ("caf\u00e9s, fr\u00e9d\u00e9ric".encode("cp1252"), "caf\u00e9s, fr\u00e9d\u00e9ric", "Western (cp1252)"),
        ("\u201cquoted\u201d \u2013 M\u00e4dchen".encode("cp1252"), "\u201cquoted\u201d \u2013 M\u00e4dchen", "Western (cp1252)"),
        ("1girl, \u732b".encode("utf-16"), "1girl, \u732b", "UTF-16"),
        (codecs.BOM_UTF16_BE + "1girl".encode("utf-16-be"), "1girl", "UTF-16"),
    ],
)
def test_other_encodings_are_read_and_said(tmp_path, data, text, words):
    found = read(tmp_path, data)
    assert found.text == text and words in found.problem and "UTF-8" in found.problem


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n\0\0\0", b"1\0g\0i\0r\0l\0", b"\x81", codecs.BOM_UTF16_LE + b"\x00\xd8\x00", b"a\x8d\x81"]
)
def test_what_is_no_text_is_refused_with_what_to_do(tmp_path, data):
    found = read(tmp_path, data)
    assert (found.path, found.text) == (tmp_path / "cat 1.txt", None)
    assert "save it as UTF-8" in found.problem


def test_a_huge_file_is_no_caption(tmp_path):
    found = read(tmp_path, b"a" * 1_000_001)
    assert found.text is None and "over 1 MB" in found.problem


# --- tags


def test_without_shuffle_nothing_is_touched():
    for text in ("b,a ,  c,,", "", "a whole sentence, with a comma."):
        assert captions.process(text, keep_tokens=1, shuffle=False, rng=random.Random(1)) == text


@pytest.mark.parametrize("keep", [0, 1, 2, 3, 9])
@pytest.mark.parametrize("seed", range(20))
def test_shuffling_is_the_reference_one(keep, seed):
    """Split at commas, trimmed, the first `keep` stay, random.shuffle on the rest, joined by comma and space."""
    text = "trigger,red hair ,  1girl, blue sky, smile"
    tags = [tag.strip() for tag in text.strip().split(",")]
    fixed, loose = tags[:keep], tags[keep:]
    random.Random(seed).shuffle(loose)
    assert captions.process(text, keep_tokens=keep, shuffle=True, rng=random.Random(seed)) == ", ".join(fixed + loose)


def test_shuffling_depends_on_the_generator_alone():
    text = ", ".join(f"tag{n}" for n in range(12))

    def many(seed):
        rng = random.Random(seed)
        return [captions.process(text, keep_tokens=2, shuffle=True, rng=rng) for _ in range(5)]

    assert many(1) == many(1) != many(2)
    assert len(set(many(1))) == 5
    assert all(found.startswith("tag0, tag1, ") and sorted(found.split(", ")) == sorted(text.split(", ")) for found in many(3))


def test_empty_tags_do_not_survive_shuffling():
    assert captions.process(" a,, ,", keep_tokens=1, shuffle=True, rng=random.Random(1)) == "a"
    assert captions.process("", keep_tokens=1, shuffle=True, rng=random.Random(1)) == ""


def test_split_and_join():
    assert captions.split_tags(" a b ,, c,") == ["a b", "c"]
    assert captions.join_tags(["a b", "c"]) == "a b, c"


def test_tag_frequency():
    found = captions.tag_frequency(["1girl, Red Hair , smile", "1GIRL,smile,", "", "a \u732b"])
    assert found == {"1girl": 2, "red hair": 1, "smile": 2, "a \u732b": 1}
    assert list(found) == ["1girl", "red hair", "smile", "a \u732b"]


# --- token windows


def reference_windows(ids, num_windows, pad):
    """lora-facts.md 3.7: tokenise to 77, 152 or 227, then cut at 1, 76, 151; each piece is begin + 75 + the last id."""
    length = 75 * num_windows + 2
    row = [BOS, *ids[: length - 2], EOS]
    row += [pad] * (length - len(row))
    pieces = []
    for start in range(1, length - 77 + 2, 75):
        piece = [row[0], *row[start : start + 75], row[-1]]
        if pad != EOS:
            if piece[-2] not in (EOS, pad):
                piece[-1] = EOS
            if piece[1] == pad:
                piece[1] = EOS
        pieces.append(piece)
    return pieces


@pytest.mark.parametrize("pad", [EOS, 0])
@pytest.mark.parametrize("num_windows", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 50, 74, 75, 76, 100, 149, 150, 151, 224, 225, 226, 400])
def test_windows_are_the_reference_ones(count, num_windows, pad):
    ids = list(range(1000, 1000 + count))
    found = captions.windows(ids, num_windows, bos=BOS, eos=EOS, pad=pad)
    assert found == reference_windows(ids, num_windows, pad)
    assert len(found) == num_windows and all(len(window) == 77 and window[0] == BOS for window in found)
    kept = [token for window in found for token in window[1:-1] if token not in (EOS, pad)]
    assert kept == ids[: 75 * num_windows]


def test_windows_by_hand():
    (one,) = captions.windows([5, 6], 1, bos=BOS, eos=EOS, pad=EOS)
    assert one == [BOS, 5, 6, *[EOS] * 74]
    first, second = captions.windows(list(range(80)), 2, bos=BOS, eos=EOS, pad=EOS)
    assert first == [BOS, *range(75), EOS]
    assert second == [BOS, 75, 76, 77, 78, 79, *[EOS] * 71]
    first, second = captions.windows([5], 2, bos=BOS, eos=EOS, pad=0)
    assert first == [BOS, 5, EOS, *[0] * 74]
    assert second == [BOS, EOS, *[0] * 75]

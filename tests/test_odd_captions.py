"""Captions of odd kinds under tagging, edits and undoing: nothing is lost, each is told in a line, and the rest goes on."""

import os
import unicodedata

import pytest
from PIL import Image

import tagger_model
from lorabake import tag_job, tag_words
from lorabake.errors import UsageError

RUSSIAN = "\u043a\u043e\u0442, \u043e\u0434\u0438\u043d, \u0434\u0435\u0440\u0435\u0432\u043e"
JAPANESE = "\u732b, \u4e00\u4eba, \u3042\u304b\u3044"
TEXTS = {
    "bom": b"\xef\xbb\xbfcat, solo",
    "utf16": "cat, solo".encode("utf-16"),
    "utf16be": b"\xfe\xff" + JAPANESE.encode("utf-16-be"),
    "cp1251": RUSSIAN.encode("cp1251"),
    "sjis": JAPANESE.encode("cp932"),
    "nul": b"cat\0, solo",
    "binary": bytes(range(256)),
    "cr": b"cat, solo\rsecond\r",
    "crlf": b"\r\n  \r\ncat, solo\r\nsecond\r\n",
    "separators": "cat,\u2028solo\x85".encode(),
    "blank": b" \r\n\t",
    "empty": b"",
    "commas": b", ,,",
    "large": b"x, " * 400_000,
    "\u732b \u30ab": b"cat",
    "\u043a\u043e\u0442": b"cat",
    "\U0001f408\u200d\u2b1b": b"cat",
    unicodedata.normalize("NFC", "caf\u00e9"): b"composed",
    unicodedata.normalize("NFD", "cafe\u0301"): b"decomposed",
    "it's 100% & (odd) [x] {y} #1": b"cat",
}
UNREADABLE = {"nul", "binary", "large"}
GUESSED = {"utf16", "utf16be", "cp1251", "sjis", "cr", "crlf"}


def run(folder, *words):
    return tag_job.main(tag_words.parse(None, [str(folder), *map(str, words)]))


def state(folder):
    """Every caption by its name in bytes: content, or where a link leads."""
    found = {}
    for path in folder.glob("*.txt"):
        found[os.fsencode(path.name)] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "folder"  # noqa: PTH115
    return found


@pytest.fixture
def model(tmp_path):
    return tagger_model.write(tmp_path / "model")


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "set"
    place.mkdir()
    for name, data in TEXTS.items():
        Image.new("RGB", (8, 8), (255, 0, 0)).save(place / f"{name}.png")
        (place / f"{name}.txt").write_bytes(data)
    names = ["folder"]
    (place / "folder.txt").mkdir()
    if os.name == "posix":
        names += ["dangling", "linked", os.fsdecode(b"caf\xe9")]
        (place / "dangling.txt").symlink_to("nowhere.txt")
        (tmp_path / "shared caption").write_bytes(b"shared, old")
        (place / "linked.txt").symlink_to("../shared caption")
        (place / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"old")
    for name in names:
        (place / f"{name}.png").write_bytes((place / "bom.png").read_bytes())
    return place


def told(err, name):
    return [line for line in err.splitlines() if f"{name}.txt: " in line]


def test_an_edit_and_its_undoing(folder, capsys):
    before = state(folder)
    assert run(folder, "--add", "new", "--remove", "old") == 1
    seen = capsys.readouterr()
    after = state(folder)
    for name in UNREADABLE:
        assert after[os.fsencode(f"{name}.txt")] == before[os.fsencode(f"{name}.txt")]
        assert len(told(seen.err, name)) == 1 and "left as it is" in told(seen.err, name)[0], name
    for name in GUESSED:
        assert len(told(seen.err, name)) == 1, name
    assert len(told(seen.err, "folder")) == 1 and after[b"folder.txt"] == "folder"
    assert after[b"bom.txt"] == b"cat, solo, new" and after[b"utf16.txt"] == b"cat, solo, new"
    assert after[b"utf16be.txt"] == f"{JAPANESE}, new".encode() == after[b"sjis.txt"]
    assert after[b"cr.txt"] == b"cat, solo, new\rsecond\r" and after[b"crlf.txt"] == b"\r\n  \r\ncat, solo, new\r\nsecond\r\n"
    assert after["cafe\u0301.txt".encode()] == b"decomposed, new" and after["caf\u00e9.txt".encode()] == b"composed, new"
    assert "Cyrillic" not in seen.err and "look whether that is right" in told(seen.err, "cp1251")[0]
    assert run(folder, "--undo") == 0
    assert {name: data for name, data in state(folder).items() if name != b"linked.txt"} == {
        name: data for name, data in before.items() if name != b"linked.txt"
    }
    if os.name == "posix":
        assert after[b"dangling.txt"] == "nowhere.txt" and "link to a file that is not there" in told(seen.err, "dangling")[0]
        assert (folder / "linked.txt").read_bytes() == b"shared, old" == (folder.parent / "shared caption").read_bytes()
        assert after[b"caf\xe9.txt"] == b"new"


@pytest.mark.parametrize("existing", ["keep", "merge", "overwrite"])
def test_a_tagging_and_its_undoing(folder, model, capsys, existing):
    before = state(folder)
    assert run(folder, "--model", model, "--existing", existing) == 1
    seen = capsys.readouterr()
    after = state(folder)
    changed = {os.fsdecode(name).removesuffix(".txt") for name in after if after[name] != before.get(name)}
    odd = {"dangling", "folder", os.fsdecode(b"caf\xe9")}
    expected = {"keep": {"blank", "empty"}, "merge": set(TEXTS) - UNREADABLE | {"linked"}, "overwrite": set(TEXTS) | {"linked"}}[existing]
    assert changed - {"commas"} == (expected if os.name == "posix" else expected - {"linked"}) - {"commas"}
    assert not changed & odd and len(told(seen.err, "folder")) == 1
    for name in UNREADABLE:
        assert bool(told(seen.err, name)) == (existing != "overwrite"), name
    if existing == "merge":
        assert after[b"sjis.txt"].decode().startswith(JAPANESE) and all(len(told(seen.err, name)) == 1 for name in GUESSED)
        assert after[b"cr.txt"].startswith(b"cat, solo, ") and after[b"cr.txt"].endswith(b"\rsecond\r")
    if existing == "overwrite":
        assert b"1girl" in after[b"nul.txt"] and b"\0" not in after[b"nul.txt"]
    assert run(folder, "--undo") == 0
    back = state(folder)
    back.pop(b"linked.txt", None)
    before.pop(b"linked.txt", None)
    assert back == before
    if os.name == "posix":
        assert (folder / "linked.txt").read_bytes() == b"shared, old" == (folder.parent / "shared caption").read_bytes()


@pytest.mark.parametrize("words", ["--stats", "--find cat", "--check", "--history", "--diff 1", "--dry-run --add x"])
def test_looking_at_them_changes_nothing(folder, words):
    run(folder, "--find", "cat", "--add", "new")
    before = state(folder)
    assert run(folder, *words.split()) in (0, 1)
    assert state(folder) == before


@pytest.mark.parametrize(("word", "says"), [("caf\udce9", "not Unicode"), ("two\nlines", "more than one line")])
def test_a_word_that_no_caption_can_hold_is_refused(folder, word, says):
    before = state(folder)
    for words in (["--add", word], ["--replace", f"cat={word}"], ["--trigger", word, "--tag"], ["--find", word]):
        with pytest.raises(UsageError, match=says):
            run(folder, *words)
    assert state(folder) == before and not (folder / "_journal").exists()

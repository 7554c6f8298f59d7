"""Scores kept in the dataset: found again while picture, model and background are the same, whatever happened to the file between."""

import json
import os
import time

import pytest

from lorabake.paths import stamp_of
from lorabake.tag_scores import FOLDER, Store

NAMES = ["a.png", "5_girl/b.png", "5_\u732b \u043a\u043e\u0442/\U0001f408 c.png", "line\u2028end\u0085.png"]


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "set"
    for name in NAMES:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(name.encode())
    (tmp_path / "tagger").mkdir()
    (tmp_path / "tagger" / "model.onnx").write_bytes(b"a model")
    return place


def opened(folder, *, background="white", tagger="tagger"):
    return Store(folder, model=folder.parent / tagger / "model.onnx", background=background)


def scores_of(number):
    return {number: 0.5, 7: 0.123456789, 9000: 1e-05}


def fill(folder, names=NAMES, **options):
    with opened(folder, **options) as store:
        for number, name in enumerate(names):
            store.add([(folder / name, stamp_of(folder / name), scores_of(number))])
    return folder / FOLDER / "tagger.jsonl"


def known(folder, names=NAMES, **options):
    store = opened(folder, **options)
    return [store.find(folder / name) for name in names]


ALL = [scores_of(number) for number in range(len(NAMES))]
NOTHING = [None] * len(NAMES)


def test_what_was_kept_is_found_at_once_and_later(folder):
    with opened(folder) as store:
        assert store.find(folder / "a.png") is None
        store.add([(folder / "a.png", stamp_of(folder / "a.png"), {1: 0.5})])
        assert store.find(folder / "a.png") == {1: 0.5}
    fill(folder)
    assert known(folder) == ALL


def test_nothing_is_written_where_nothing_was_added(folder):
    with opened(folder):
        pass
    assert not (folder / FOLDER).exists()
    file = fill(folder)
    before = file.stat().st_mtime_ns
    assert known(folder) == ALL and file.stat().st_mtime_ns == before


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names are Unicode there")
def test_names_that_are_no_unicode(folder):
    name = os.fsdecode(b"caf\xe9.png")
    (folder / name).write_bytes(b"x")
    fill(folder, [name])
    fill(folder, ["a.png"])
    assert known(folder, [name, "a.png"]) == [scores_of(0), scores_of(0)]


def test_a_picture_that_changed_or_went_is_not_found(folder):
    fill(folder)
    (folder / "a.png").write_bytes(b"painted over")
    (folder / NAMES[1]).unlink()
    os.utime(folder / NAMES[2], ns=(1, 1))
    assert known(folder) == [None, None, None, scores_of(3)]
    with opened(folder) as store:
        store.add([(folder / "a.png", stamp_of(folder / "a.png"), {5: 0.5})])
    assert known(folder)[0] == {5: 0.5}


def test_a_picture_that_changed_while_it_was_looked_at_is_not_found(folder):
    before = stamp_of(folder / "a.png")
    (folder / "a.png").write_bytes(b"painted over meanwhile")
    with opened(folder) as store:
        store.add([(folder / "a.png", before, {1: 0.5})])
        assert store.find(folder / "a.png") is None
    assert known(folder, ["a.png"]) == [None]


def test_another_background_counts_as_nothing_and_takes_its_place(folder):
    fill(folder)
    assert known(folder, background="black") == NOTHING
    fill(folder, ["a.png"], background="black")
    assert known(folder, background="black") == [scores_of(0), None, None, None] and known(folder) == NOTHING


def test_another_model_counts_as_nothing(folder):
    fill(folder)
    (folder.parent / "tagger" / "model.onnx").write_bytes(b"another model")
    assert known(folder) == NOTHING
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "model.onnx").write_bytes(b"a model")
    assert known(folder, tagger="other") == NOTHING


def test_two_models_are_kept_beside_each_other(folder):
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "model.onnx").write_bytes(b"a second model")
    fill(folder)
    fill(folder, ["a.png"], tagger="other")
    assert known(folder) == ALL and known(folder, ["a.png"], tagger="other") == [scores_of(0)]


@pytest.mark.parametrize("cut", range(2, 60, 7))
def test_a_torn_end_costs_one_picture_and_is_mended(folder, cut):
    file = fill(folder)
    file.write_bytes(file.read_bytes()[:-cut])
    assert known(folder) == [*ALL[:3], None]
    fill(folder, NAMES[:1])
    assert known(folder) == [*ALL[:3], None], "what was added behind the torn line did not make it worse"
    assert all(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    "line",
    [
        *(b"\0" * 40, b"{", b"[]", b"3", b"null", b'"x"', b"{}", b"\xff\xfe"),
        b'{"path": "a.png"}',
        b'{"path": "a.png", "scores": 1}',
        b'{"path": "a.png", "size": 1, "mtime_ns": "x", "scores": {}}',
        b'{"path": "a.png", "size": 1, "mtime_ns": 1, "scores": {"x": 1}}',
    ],
)
def test_a_damaged_line_is_passed_over(folder, line):
    file = fill(folder)
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([*lines[:2], line, *lines[2:], b""]))
    assert known(folder) == ALL


@pytest.mark.parametrize("head", [b"", b"{}", b"\0\0", b"[1]", b"\xff", b'{"version": 99}'])
def test_a_damaged_beginning_is_begun_anew(folder, head):
    file = fill(folder)
    file.write_bytes(b"\n".join([head, *file.read_bytes().splitlines()[1:], b""]))
    assert known(folder) == NOTHING
    fill(folder)
    assert known(folder) == ALL


def test_an_empty_file_or_a_folder_in_its_place(folder):
    (folder / FOLDER).mkdir()
    (folder / FOLDER / "tagger.jsonl").write_bytes(b"")
    assert known(folder) == NOTHING
    fill(folder)
    assert known(folder) == ALL


def test_interrupted_in_the_middle_the_rest_is_there(folder):
    with pytest.raises(KeyboardInterrupt), opened(folder) as store:
        store.add([(folder / "a.png", stamp_of(folder / "a.png"), scores_of(0))])
        raise KeyboardInterrupt
    assert known(folder) == [scores_of(0), None, None, None]


def test_a_large_set_is_read_and_added_to_quickly(folder):
    """As much as 5000 pictures leave: each with 60 scores."""
    scores = {number * 37: 0.25 + number / 1000 for number in range(60)}
    stamp = stamp_of(folder / "a.png")
    began = time.process_time()
    with opened(folder) as store:
        for start in range(0, 5000, 16):
            store.add([(folder / f"{number}.png", stamp, scores) for number in range(start, start + 16)])
    assert opened(folder).known[f"{4321}.png"] == (stamp, scores)
    assert time.process_time() - began < 6

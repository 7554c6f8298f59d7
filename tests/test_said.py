"""said.py and said_tags.py: what anybody's metadata say, and that nothing in them makes a reader fail."""

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import foreign
from lorabake import said, said_tags


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.0001", 0.0001),
        ("8", 8),
        ("4.0", 4),
        ("1e-4", 0.0001),
        ("[5e-05, 1e-05]", 5e-05),
        ("(1, 2)", 1),
        ("None", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("9" * 5000, None),
        ("1_000", None),
        ("1.2.3", None),
        (True, None),
        (7, 7),
        ([1], None),
    ],
)
def test_numbers(text, number):
    assert said.number(text) == number


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("512", (512, 512)),
        ("(768, 512)", (768, 512)),
        ("512x768", (512, 768)),
        ([640, 384], (640, 384)),
        ("1,2,3", None),
        ("None", None),
        ([], None),
    ],
)
def test_sizes(value, size):
    assert said.size_px(value) == size


def test_moments():
    assert said.moment("1700000000.5") == datetime.fromtimestamp(1700000000.5)
    assert said.moment("2024-05-06T07:08:09") == datetime(2024, 5, 6, 7, 8, 9)
    assert said.moment("2024-05-06T07:08:09+00:00") is not None
    for wrong in ("0", "-5", "1e14", "yesterday", "", "None", "9999-99-99"):
        assert said.moment(wrong) is None


def test_clean_text_is_one_printable_line():
    assert said.clean("a\x1b[2Jb\nc\td") == "a\\x1b[2Jb c d"
    assert said.clean("\u202egnp.exe") == "\\u202egnp.exe"
    assert said.clean("x" * 50, 10) == "x" * 7 + "..."
    assert said.clean("Grüße, 猫") == "Grüße, 猫"


@given(st.text())
def test_clean_text_never_holds_what_a_console_obeys(text):
    assert said.clean(text).isprintable()


@given(foreign.METADATA)
def test_no_metadata_makes_a_reader_fail(metadata):
    for key in ("resolution", "batch_size_per_device", "shuffle_caption"):
        said.setting(metadata, key)
    said_tags.folders(metadata)
    said_tags.on_most(metadata)
    said_tags.most_frequent(metadata)
    said_tags.triggers(metadata)
    for value in metadata.values():
        said.number(value), said.flag(value), said.moment(value), said.size_px(value)


def test_folders_and_tags_of_folder_mode():
    assert [(f.name, f.repeats, f.count, f.regularization) for f in said_tags.folders(foreign.SDXL)] == [
        ("10_anna dress", 10, 20, False),
        ("3_anna face", 3, 10, False),
        ("1_woman", 1, 100, True),
    ]
    assert said_tags.num_pictures(foreign.SDXL) == 30
    assert said_tags.triggers(foreign.SDXL) == ["anna dress", "anna face"]
    # Regularisation pictures do not count; a tag belongs to the LoRA when it is on most pictures of a folder.
    assert said_tags.most_frequent(foreign.SDXL)[:3] == [("anna", 30), ("1girl", 29), ("red dress", 18)]
    assert dict(said_tags.on_most(foreign.SDXL)) == {"anna": 20, "1girl": 20, "red dress": 18, "close-up": 10}


def test_folders_and_tags_of_config_mode():
    meta = foreign.CONFIG_MODE
    assert [(f.name, f.repeats, f.count, f.regularization) for f in said_tags.folders(meta)] == [
        ("5_bob", 5, 6, False),
        ("man", 1, 9, True),
    ]
    assert said_tags.on_most(meta) == [("bob", 6)] and said_tags.triggers(meta) == ["bob"]
    assert said.setting(meta, "batch_size_per_device") == "4"
    assert said.setting(meta, "resolution") == "[768, 512]"
    assert said.setting(meta, "shuffle_caption") == "True"  # inside the sets of pictures
    assert said.setting({"ss_resolution": "(1, 2)", **meta}, "resolution") == "(1, 2)"


def test_the_author_knows_best():
    assert said_tags.triggers({**foreign.SDXL, "modelspec.trigger_phrase": "anna, dress"}) == ["anna, dress"]
    assert said_tags.triggers({"ss_dataset_dirs": json.dumps({"images": {"n_repeats": 1, "img_count": 2}})}) == []

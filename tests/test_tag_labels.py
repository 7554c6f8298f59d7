"""Lists of a tagger's tags in both layouts, whole, damaged, and beside the wrong model."""

import json

import pytest

from lorabake import tag_labels
from lorabake.errors import UserError

CSV = "tag_id,name,category,count\n9999999,general,9,8\n1,1girl,0,4\n2,anna_(fairy_tale),4,1\n"
ROWS = {"0": {"tag": "general", "category": "Rating"}, "1": {"tag": "1girl", "category": "General"}}


def write(folder, **files):
    names = {"csv": tag_labels.CSV_NAME, "json": tag_labels.JSON_NAME, "model": "model.onnx", "optimized": "model_optimized.onnx"}
    for name, content in files.items():
        (folder / names[name]).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_the_csv_of_wd_taggers(tmp_path):
    found = tag_labels.read(write(tmp_path, csv=CSV))
    assert found.names == ("general", "1girl", "anna_(fairy_tale)") and found.kinds == ("rating", "general", "character")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (CSV.replace("\n", "\r\n"), ("general", "1girl", "anna_(fairy_tale)")),
        ("\ufeff" + CSV, ("general", "1girl", "anna_(fairy_tale)")),
        (CSV + "\n\r\n\n", ("general", "1girl", "anna_(fairy_tale)")),
        ('name,category\n"don\'t_say_""lazy""",0\n"a,b",0\n\u732b,0\n', ('don\'t_say_"lazy"', "a,b", "\u732b")),
        ("category,more,name\n0,x,solo\n", ("solo",)),
    ],
)
def test_other_spellings_of_a_csv(tmp_path, text, names):
    assert tag_labels.read(write(tmp_path, csv=text)).names == names


@pytest.mark.parametrize(
    ("number", "kind"), [("0", "general"), ("1", "artist"), ("3", "copyright"), ("4", "character"), ("5", "meta"), ("77", "general")]
)
def test_kinds_by_number_and_none_loses_its_place(tmp_path, number, kind):
    found = tag_labels.read(write(tmp_path, csv=f"name,category\na,0\nb,{number}\nc,0\n"))
    assert found.kinds == ("general", kind, "general")


def test_the_mapping_of_the_other_layout_in_the_order_of_its_numbers(tmp_path):
    rows = dict(reversed(ROWS.items())) | {"2": {"tag": "x", "category": "Artist"}, "3": {"tag": "y", "category": "Thing"}}
    found = tag_labels.read(write(tmp_path, json=json.dumps(rows)))
    assert found.names == ("general", "1girl", "x", "y") and found.kinds == ("rating", "general", "artist", "general")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no list of tags beside the model"),
        ({"csv": ""}, "is empty"),
        ({"csv": "tag_id,name,category,count\n"}, "is empty"),
        ({"csv": "a,b\n1,2\n"}, "its columns are a, b"),
        ({"csv": CSV[:-8]}, "line 4 is cut off"),
        ({"csv": CSV.replace("1,1girl,0,4", "")}, "line 3 is empty"),
        ({"csv": CSV.replace("1,1girl,0,4", ",,,")}, "line 3 is empty"),
        ({"csv": CSV.replace("1,1girl,0,4", "  ")}, "line 3 is empty"),
        ({"csv": CSV.replace("1,1girl,0,4", "1,,0,4")}, "line 3 is cut off"),
        ({"csv": CSV.replace("1,1girl,0,4", "1")}, "line 3 is cut off"),
        ({"csv": CSV.replace("1girl", "one,girl")}, "line 3 has 5 cells"),
        ({"csv": CSV.replace("1girl", '"1girl')}, "no list of a tagger's tags"),
        ({"csv": CSV.replace("1girl", "1\x00girl").encode("utf-16-le")}, "no list of a tagger's tags"),
        ({"csv": "\n" + CSV}, "its columns are"),
        ({"csv": CSV.encode("utf-16")}, "no list of a tagger's tags"),
        ({"csv": b"\xff\xfe\0"}, "no list of a tagger's tags"),
        ({"json": "{}"}, "is empty"),
        ({"json": "[]"}, "is empty"),
        ({"json": "{"}, "no list of a tagger's tags"),
        ({"json": "[1, 2]"}, "no list of a tagger's tags"),
        ({"json": "3"}, "no list of a tagger's tags"),
        ({"json": json.dumps({"0": {"tag": "a"}})}, "no list of a tagger's tags"),
        ({"json": json.dumps({"0": ROWS["0"], "2": ROWS["1"]})}, "number 1 is missing"),
        ({"json": json.dumps({"0": "general"})}, "no list of a tagger's tags"),
    ],
)
def test_what_is_no_list(tmp_path, files, says):
    with pytest.raises(UserError, match=says) as caught:
        tag_labels.read(write(tmp_path, **files))
    assert str(tmp_path) in caught.value.where and (caught.value.todo or caught.value.allowed)


def test_which_layout_a_folder_has(tmp_path):
    with pytest.raises(UserError, match="no tagger in this folder") as caught:
        tag_labels.layout(write(tmp_path, csv=CSV, optimized="x"))
    assert "model.onnx with selected_tags.csv" in caught.value.allowed
    assert tag_labels.layout(write(tmp_path, json=json.dumps(ROWS))) == (tmp_path / "model_optimized.onnx", True)
    assert tag_labels.read(tmp_path).names == ("general", "1girl"), "the list that goes with the model, not the one that is left over"
    assert tag_labels.layout(write(tmp_path, model="x")) == (tmp_path / "model.onnx", False)
    assert len(tag_labels.read(tmp_path).names) == 3

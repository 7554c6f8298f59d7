"""lora_scrub.py and private_words.py: nothing private is left, the weights are the same bytes, and the hashes stay true."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

import finished
import foreign
from lorabake import hashes, lora_info, lora_scrub, lora_words, metadata, modelfile, paths, private_words
from lorabake.errors import DiskFull, UserError

PRIVATE = ("Miller", "miller", "anna", "1_woman", "C:\\", "D:\\", "/home", "sets for fun", "1234567")
MAY_STAY = {"modelspec.author", "modelspec.title", "ss_output_name", "modelspec.thumbnail"}


def run(*words: str) -> int:
    return lora_scrub.main(lora_words.parse(None, ["scrub", *words]))


def test_one_of_the_reference_trainer():
    found, taken = private_words.scrubbed(foreign.SDXL, tags=True)
    for key in found.keys() - MAY_STAY:
        assert not [word for word in PRIVATE if word in found[key]], (key, found[key])
    assert {key: found[key] for key in MAY_STAY} == {key: foreign.SDXL[key] for key in MAY_STAY}
    assert foreign.SDXL.keys() - found.keys() == {"ss_session_id", "ss_tag_frequency"}
    assert found["ss_sd_model_name"] == "ponyXL.safetensors" and found["ss_vae_name"] == "sdxl_vae.safetensors"
    assert json.loads(found["ss_dataset_dirs"]) == {
        "10_concept 1": foreign.DIRS["10_anna dress"],
        "3_concept 2": foreign.DIRS["3_anna face"],
    }
    assert private_words.Taken("ss_dataset_dirs", "10_anna dress", "10_concept 1") in taken
    assert private_words.Taken("ss_training_comment", "trained in D:\\Anna Miller\\sets for fun", "trained in (path)") in taken
    untouched = foreign.SDXL.keys() - {thing.key for thing in taken}
    assert {key: found[key] for key in untouched} == {key: foreign.SDXL[key] for key in untouched}


def test_tags_and_the_trigger_phrase_stay_unless_asked():
    meta = {**foreign.SDXL, "modelspec.trigger_phrase": "anna, red dress"}
    found, _ = private_words.scrubbed(meta)
    assert found["modelspec.trigger_phrase"] == "anna, red dress"
    tags = json.loads(found["ss_tag_frequency"])
    assert tags == {"10_concept 1": foreign.TAGS["10_anna dress"], "3_concept 2": foreign.TAGS["3_anna face"], "1_concept 3": {"1girl": 90}}
    assert private_words.scrubbed(meta, tags=True)[0]["modelspec.trigger_phrase"] == "anna, red dress"


def test_config_mode():
    found = json.loads(private_words.scrubbed(foreign.CONFIG_MODE)[0]["ss_datasets"])
    assert found[0]["tag_frequency"] == {"5_concept 1": {"bob": 6, "hat": 1}}
    assert [(s["image_dir"], s["class_tokens"], s["num_repeats"]) for s in found[0]["subsets"]] == [
        ("5_concept 1", "concept 1", 5),
        ("concept 2", "man", 1),
    ]
    assert "tag_frequency" not in json.loads(private_words.scrubbed(foreign.CONFIG_MODE, tags=True)[0]["ss_datasets"])[0]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("D:\\Sets\\anna", "(path)"),
        ("D:/Sets/anna.png", "(path)"),
        ("\\\\nas\\share\\anna\\x.safetensors", "x.safetensors"),
        ("/home/anna/x.ckpt", "x.ckpt"),
        ("/home/anna", "(path)"),
        ("~/models/x.safetensors", "x.safetensors"),
        ("%USERPROFILE%\\x", "(path)"),
        ("$HOME/anna/x", "(path)"),
        ("file:///home/anna/x", "(path)"),
        ("base: /mnt/c/anna/x.safetensors", "base: x.safetensors"),
        ("['D:\\\\Sets\\\\anna', '/data/anna/b']", "['(path)', '(path)']"),
        ('{"a": ["C:\\\\x\\\\anna"], "/home/anna/x": 1}', '{"a": ["(path)"], "(path)": 1}'),
        (json.dumps({"inner": json.dumps({"p": "/home/anna/x"})}), json.dumps({"inner": json.dumps({"p": "(path)"})})),
        ("in C:\\Users\\Anna's PC\\x and more", "in (path)"),
        (repr(["\\\\nas\\share\\anna"]), "['(path)']"),
        ("['C:\\x\\Anna's PC\\y', 3]", "['(path)', 3]"),
        ("https://example.org/a/b.safetensors", "https://example.org/a/b.safetensors"),
        ("data:image/png;base64,/9j/4AA/x", "data:image/png;base64,/9j/4AA/x"),
        ("and/or, 1/2, w/o hat, :/ \\o/ 10:30", "and/or, 1/2, w/o hat, :/ \\o/ 10:30"),
        ("networks.lora", "networks.lora"),
        ("(512, 512)", "(512, 512)"),
    ],
)
def test_paths(text, clean):
    assert private_words.without_paths(text) == clean


ROOTS = st.sampled_from(["C:\\", "d:/", "\\\\nas\\", "/home/", "/Users/", "/mnt/data/", "~/", "~\\", "%APPDATA%\\", "file:///srv/"])
WORDS = st.text(st.sampled_from("abz 19_-.éß猫()'&?,;\""), max_size=8)


@st.composite
def secret_paths(draw) -> str:
    root, before, after = draw(ROOTS), draw(WORDS), draw(WORDS)
    separator = "\\" if "\\" in root else "/"
    return f"{root}x{before}{separator}S3CRET{after}{separator}{draw(WORDS)}y"


@st.composite
def hiding_places(draw) -> tuple[str, str]:
    """(key, value that holds a private path)"""
    path = draw(secret_paths())
    form = draw(st.integers(0, 6))
    values = (
        path,
        f"made with {path}",
        json.dumps({"a": path}),
        json.dumps([{"b": [path, 1]}]),
        json.dumps({path: 2}),
        repr([path.replace("'", "")]),
        json.dumps({"deep": json.dumps({"c": path})}),
    )
    key = draw(
        st.sampled_from(
            ["ss_training_comment", "ss_network_args", "anything", "ss_dataset_dirs", "lorabake", "ss_datasets", "ss_sd_model_name"]
        )
    )
    return key, values[form]


@given(st.dictionaries(st.text(max_size=4), foreign.TEXTS, max_size=3), hiding_places())
@settings(deadline=None, max_examples=500)
def test_no_path_comes_through(others, hidden):
    found, taken = private_words.scrubbed({**others, hidden[0]: hidden[1]})
    assert not [value for value in found.values() if "S3CRET" in value]
    assert any(thing.key == hidden[0] for thing in taken)


@given(foreign.METADATA, st.booleans())
@settings(deadline=None, max_examples=300)
def test_any_metadata_can_be_scrubbed_and_once_is_enough(meta, tags):
    once, taken = private_words.scrubbed(meta, tags=tags)
    assert once.keys() <= meta.keys()
    assert private_words.scrubbed(once, tags=tags) == (once, [])
    assert all((thing.was + thing.now).isprintable() for thing in taken)
    private_words.user_names(meta)


def test_one_of_ours(tmp_path, capsys):
    path, _ = finished.make(tmp_path, {"data.regularization": "reg_of_anna"})
    assert run(str(path)) == 0
    out = tmp_path / "style-clean.safetensors"
    printed = capsys.readouterr()
    assert printed.out.strip() == str(out) and "1_blocks -> 1_concept 1" in printed.err
    header, before = modelfile.read_header(out), modelfile.read_header(path)
    record = json.loads(header.metadata[metadata.OUR_KEY])
    assert (record["profile"]["images"], record["profile"]["output"]) == ("images", "output")
    assert record["profile"]["data"]["regularization"] == "regularization" and list(record["pictures"]) == ["1_concept 1"]
    assert record["profile"]["train"] == json.loads(before.metadata[metadata.OUR_KEY])["profile"]["train"]
    assert "1_blocks" not in str(header.metadata) and "reg_of_anna" not in str(header.metadata)
    # The weights are the same bytes, and both hashes are still true.
    assert path.read_bytes()[before.data_start :] == out.read_bytes()[header.data_start :]
    assert header.metadata["sshs_model_hash"] == before.metadata["sshs_model_hash"]
    assert lora_info.facts_of(out)["hashes"]["agrees"] is True
    own = {key: value for key, value in header.metadata.items() if key.startswith("ss_")}
    assert header.metadata["sshs_legacy_hash"] == hashes.lora_hashes(save(load_file(out), own))["sshs_legacy_hash"]


def test_the_legacy_hash_of_a_large_one(tmp_path):
    tensors = {"lora_unet_a.lora_up.weight": torch.randn(700, 500), "lora_unet_a.lora_down.weight": torch.randn(500, 700)}
    told = {"ss_session_id": "5", "ss_dataset_dirs": json.dumps({"5_anna": {"n_repeats": 5, "img_count": 2}}), "modelspec.title": "x"}
    told |= hashes.lora_hashes(save(tensors, {key: value for key, value in told.items() if key.startswith("ss_")}))
    save_file(tensors, tmp_path / "a.safetensors", told)
    lora_scrub.scrub(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    found = modelfile.read_header(tmp_path / "b.safetensors").metadata
    own = {key: value for key, value in found.items() if key.startswith("ss_")}
    wanted = hashes.lora_hashes(save(tensors, own))
    assert found["sshs_legacy_hash"] == wanted["sshs_legacy_hash"] != told["sshs_legacy_hash"]
    assert found["sshs_model_hash"] == wanted["sshs_model_hash"] == told["sshs_model_hash"]


def test_a_name_that_still_stands_is_told(tmp_path, capsys):
    path = foreign.write(tmp_path / "a.safetensors", foreign.sdxl_shapes(most=1), foreign.SDXL)
    run(str(path), "--out", str(tmp_path / "b.safetensors"))
    assert "the name miller in modelspec.author: Miller" in capsys.readouterr().err


def test_a_file_without_anything_private(tmp_path, capsys):
    path = foreign.write(tmp_path / "a.safetensors", {"lora_unet_a.lora_up.weight": (2, 2)}, {})
    run(str(path), "--out", str(tmp_path / "b.safetensors"))
    assert "nothing private" in capsys.readouterr().err
    assert modelfile.read_header(tmp_path / "b.safetensors").metadata == {}


def test_refusals(tmp_path, monkeypatch):
    path = foreign.write(tmp_path / "a.safetensors", {"x": (2, 2)}, {"ss_session_id": "1"})
    (tmp_path / "a-clean.safetensors").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="already"):
        run(str(path))
    assert (tmp_path / "a-clean.safetensors").read_text(encoding="utf-8") == "mine"
    torch.save({"x": torch.ones(1)}, tmp_path / "a.pt")
    for wrong in (tmp_path / "a.pt", tmp_path, tmp_path / "nothing.safetensors"):
        with pytest.raises(UserError):
            run(str(wrong))
    monkeypatch.setattr(paths, "free_bytes", lambda folder: 10)
    with pytest.raises(DiskFull):
        run(str(path), "--out", str(tmp_path / "c.safetensors"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-clean.safetensors", "a.pt", "a.safetensors"]


def test_a_disk_that_breaks_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    path = foreign.write(tmp_path / "a.safetensors", {"x": (2, 2)}, {"ss_session_id": "1"})
    monkeypatch.setattr(lora_scrub.hashes, "sha256_file", lambda *_, **__: "0" * 64)
    with pytest.raises(UserError, match="reads back differently"):
        lora_scrub.scrub(path, tmp_path / "b.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_file_still_loads_everywhere(tmp_path):
    path, _ = finished.make(tmp_path)
    out = Path(tmp_path / "clean.safetensors")
    lora_scrub.scrub(path, out)
    before, after = load_file(path), load_file(out)
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)

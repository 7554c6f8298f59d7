"""The profile that answers make: exactly what was answered comes back, whatever it was."""

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import asked
from lorabake import profile_writing
from lorabake.errors import UserError
from lorabake.kinds import Wrong
from lorabake.profile_checks import impossible
from lorabake.questions import Sheet, all_questions, understood, values_of
from lorabake.settings import keys

KNOWN = all_questions()
KEPT = [dotted for dotted, question in KNOWN.items() if question.ask.kept]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [
        "# no comment",
        "a: b",
        "- a",
        "'",
        '"',
        "null",
        "auto",
        "no",
        "0777",
        "[a]",
        "{a",
        "a #b",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "\U0001f469\u200d\U0001f467",
    ]
)
paths = texts.map(lambda text: f"/p/{text}") | texts.map(lambda text: f"C:\\p\\{text}") | texts
lists = st.lists(texts, max_size=3)
numbers = (st.integers(-3, 2000) | st.floats(0, 1.5, allow_nan=False)).map(str)


def raws(key):
    """Things that may be given as an answer to a key, right ones among them."""
    kind = key.kind
    if kind.is_path and not kind.is_text:
        return lists | paths.map(lambda text: f"{text}.txt")
    if kind.is_path:
        return paths
    if kind.choices:
        return st.sampled_from(kind.choices)
    if kind.schema == {"type": "boolean"}:
        return st.sampled_from(["true", "false"])
    return (
        numbers
        | texts
        | lists
        | st.dictionaries(texts, texts, max_size=2)
        | st.sampled_from(["5%", "512x768", "cpu", "150", "#fff", ".cap"])
    )


@st.composite
def sheets(draw):
    """Any answers that the questions would take."""
    from pathlib import Path

    values = {"name": "x", "base_model": "pocket", "images": "/i", "output": "/o"}
    for key in draw(st.lists(st.sampled_from(list(keys())), max_size=12, unique_by=lambda key: key.dotted)):
        try:
            value = understood(KNOWN[key.dotted], draw(raws(key)), Path("/f"))
        except Wrong:
            continue
        before = len(list(impossible(values_of(Sheet(values)))))
        if len(list(impossible(values_of(Sheet({**values, key.dotted: value}))))) <= before:
            values[key.dotted] = value
    return Sheet(values)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(sheets())
def test_what_is_answered_comes_back(tmp_path_factory, sheet):
    text = profile_writing.text(sheet, KNOWN, KEPT)
    loaded = profile_writing.load(text, tmp_path_factory.getbasetemp() / "x.yaml")
    assert profile_writing.differing(loaded, sheet) == ""
    unsaid = {key.dotted for key in keys()} - loaded.typed
    assert all(sheet.values.get(dotted, KNOWN[dotted].key.default) == KNOWN[dotted].key.default for dotted in unsaid)
    yaml.safe_load(text)  # other programs read it too


def test_the_text(tmp_path, monkeypatch):
    asked.rooms(tmp_path, monkeypatch)
    values = {
        "base_model": "D:\\My Models\\it's.safetensors",
        "images": "D:\\new\\set",
        "output": "D:\\Loras\\",
        "train.epochs": 8,
        "save.seed": 1,
    }
    del values["save.seed"]
    text = profile_writing.text(Sheet({"name": "juno", **values, "train.seed": 23, "data.flip": True}), KNOWN, KEPT)
    assert text.splitlines() == [
        "# yaml-language-server: $schema=lorabake.schema.json",
        "# juno: set on it's.safetensors",
        "# What is not written here has its default: docs/profile-reference.md has them all.",
        "name: juno                                   # File name of the LoRA.",
        "base_model: 'D:\\My Models\\it''s.safetensors' # The model that the LoRA is for; pocket is the small one that ships here.",
        "images: 'D:\\new\\set'                         # Folder that holds `<repeats>_<concept>` folders (5_ConceptA), or pictures.",
        "output: 'D:\\Loras\\'                          # Folder for the LoRA and its runs; made if it is not there.",
        "",
        "network:",
        "  type: lora                                 # Type of network. locon trains the convolutions too.",
        "",
        "train:",
        "  epochs: 8                                  # How many times the whole set is seen.",
        "  unet_lr: 8e-5                              # Learning rate of the U-Net for ONE picture; see scale_lr_by_batch.",
        "  text_encoder_lr: 1.5e-5                    # Learning rate of the text encoder for ONE picture.",
        "",
        "data:",
        "  flip: true                                 # Mirror half of the pictures: more variety, but costumes and hair get mirrored too.",
        "",
        "model:",
        "  look: anime                                # Kind of base model; decides clip_skip.",
    ]


def test_kept_keys_are_left_out_where_they_would_be_wrong_or_idle():
    sheet = Sheet({"name": "x", "base_model": "pocket", "images": "/i", "output": "/o"})
    sheet.values |= {"train.steps": 100, "network.target": "unet", "model.clip_skip": 2}
    text = profile_writing.text(sheet, KNOWN, KEPT)
    assert "steps: 100" in text and "epochs:" not in text and "text_encoder_lr" not in text and "look" not in text


def test_nothing_is_written_over(tmp_path):
    place = tmp_path / "x.yaml"
    profile_writing.save("a", place)
    with pytest.raises(UserError, match="already a profile"):
        profile_writing.save("b", place)
    assert place.read_text(encoding="utf-8") == "a"

"""What `FILE=WEIGHT,TEXT` means, and what of the files' metadata goes into a merge."""

import json

import pytest

import lora_files
from lorabake import merge_parts
from lorabake.errors import UsageError, UserError
from lorabake.families.layers import Layer

UNET = Layer("lora_unet_mid_block_attentions_0_proj_in", "unet", "", (8, 6), "MID")
TEXT = Layer("lora_te_text_model_encoder_layers_0_mlp_fc1", "text_encoder", "", (8, 6), "BASE")


@pytest.fixture
def style(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lora_files.write(tmp_path / "style.safetensors", [UNET, TEXT])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("style.safetensors", (1, 1)),
        ("style.safetensors=0.8", (0.8, 0.8)),
        ("style.safetensors=0.8,0.5", (0.8, 0.5)),
        ("style.safetensors=-1", (-1, -1)),
        ("style.safetensors=1e-2,0", (0.01, 0)),
        ("style.safetensors= .5", (0.5, 0.5)),
    ],
)
def test_weights(style, text, expected):
    path, *weights = merge_parts.parse(text)
    assert (path.name, *weights) == (style.name, *expected)


def test_a_name_with_an_equals_sign(style):
    odd = style.with_name("a=0.5")
    style.rename(odd)
    assert merge_parts.parse("a=0.5") == (odd.relative_to(odd.parent), 1, 1)
    assert merge_parts.parse("a=0.5=0.25")[1:] == (0.25, 0.25)


def test_windows_paths():
    assert merge_parts.parse(r"D:\Loras\my style.safetensors=0.7,0.1") == (
        type(merge_parts.parse("x")[0])(r"D:\Loras\my style.safetensors"),
        0.7,
        0.1,
    )


@pytest.mark.parametrize("weight", ["x", "", "nan", "inf", "1,2,3", "0.5,", "0.5;0.2"])
def test_what_is_no_weight(style, weight):
    with pytest.raises(UsageError) as caught:
        merge_parts.parse(f"style.safetensors={weight}")
    assert f'"{weight}"' in str(caught.value) and "style.safetensors=0.8,0.5" in str(caught.value)


def test_a_missing_file_is_the_mistake_before_its_weight(style):
    assert str(merge_parts.parse("missing=x.safetensors")[0]) == "missing=x.safetensors"
    assert str(merge_parts.parse("missing.safetensors=0.5")[0]) == "missing.safetensors"


def test_weight_0_leaves_out(style, capsys):
    other = lora_files.write(style.with_name("other.safetensors"), [UNET], seed=2)
    with merge_parts.opened([f"{style}=0", f"{other}=0.5,0"]) as parts:
        (part,) = parts
        assert part.weight(UNET.name) == 0.5 and part.weight(TEXT.name) == 0
    said = capsys.readouterr().err
    assert "style.safetensors: weight 0, left out" in said and "weight 0.5 in the U-Net, 0 in the text encoder" in said
    with pytest.raises(UserError, match="every weight is 0"), merge_parts.opened([f"{style}=0", f"{other}=0,1"]):
        pass


@pytest.mark.parametrize(
    ("weights", "noted"), [("0,8", True), ("1,25", True), ("1,0", False), ("0,1", False), ("0.8,0.5", False), ("0.8", False)]
)
def test_a_decimal_comma_is_noticed(style, capsys, weights, noted):
    with merge_parts.opened([f"style.safetensors={weights}"]):
        assert ("decimals are written with a point" in capsys.readouterr().err) == noted


def test_families_are_told_apart(style):
    xl = Layer(lora_files.SDXL_NAME, "unet", "", (8, 2048), "")
    other = lora_files.write(style.with_name("xl.safetensors"), [xl], metadata={})
    with merge_parts.opened([str(style), str(other)]) as parts, pytest.raises(UserError) as caught:
        merge_parts.require_same_family(parts)
    assert "xl.safetensors is for Stable Diffusion XL, style.safetensors for Stable Diffusion 1" in str(caught.value)


def test_the_record_names_files_and_no_folders(style):
    with merge_parts.opened([f"{style.absolute()}=0.8,0.25"]) as parts:
        text = merge_parts.record(parts, {"file": "base.safetensors"})
        assert text == merge_parts.record(parts, {"file": "base.safetensors"})
    found = json.loads(text)
    assert str(style.parent) not in text and found["base"] == {"file": "base.safetensors"}
    (lora,) = found["loras"]
    assert (lora["file"], lora["unet"], lora["text_encoder"], len(lora["sshs_model_hash"])) == ("style.safetensors", 0.8, 0.25, 64)


def test_an_earlier_record_is_kept():
    assert merge_parts.earlier({merge_parts.OUR_KEY: '{"loras": []}'}) == {merge_parts.OUR_KEY: {"loras": []}}
    assert merge_parts.earlier({}) == merge_parts.earlier({merge_parts.OUR_KEY: "{"}) == {}


def test_trigger_words_are_joined_and_what_all_agree_on_is_kept(style):
    first = {"modelspec.trigger_phrase": "junwool, hat", "ss_sd_model_name": "a.safetensors", "ss_clip_skip": "2", "modelspec.title": "One"}
    second = {"modelspec.trigger_phrase": "hat, minsik", "ss_sd_model_name": "b.safetensors", "ss_clip_skip": "2"}
    names = []
    for number, metadata in enumerate((first, second, {"ss_clip_skip": "2"})):
        names.append(str(lora_files.write(style.with_name(f"{number}.safetensors"), [UNET], metadata=metadata)))
    with merge_parts.opened(names) as parts:
        assert merge_parts.kept_texts(parts) == {"modelspec.trigger_phrase": "junwool, hat, minsik", "ss_clip_skip": "2"}
        assert merge_parts.titles(parts) == ["One", "1", "2"]

"""Which tensor of one model is which of another, for published sizes: by names and shapes alone."""

from pathlib import Path

import pytest

import checkpoints
from lorabake import model_kinds, model_pair, modelfile
from lorabake.errors import UserError
from lorabake.families import anchors, layers
from lorabake.model_pair import Model

FAMILIES = ("sd1", "sd2", "sdxl")


def model(path, word, shapes, form="safetensors"):
    contents = modelfile.Contents(form, shapes, 0)
    return Model(Path(path), contents, model_kinds.describe(contents), word)


def match(first, second, **words):
    return model_pair.match(model("a", "--base", first), model("b", "--tuned", second), **({"conv": True, "target": "both"} | words))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_has_its_twin(family, tmp_path):
    shapes = checkpoints.shapes(family)
    folder = modelfile.read_contents(checkpoints.folder(tmp_path / "m", checkpoints.tensors(family), family))
    pair = model_pair.match(
        model("a", "--base", shapes), model("m", "--tuned", dict(folder.shapes), form="diffusers"), conv=True, target="both"
    )
    assert {first.name for first, _ in pair.twins} == {layer.name for layer in layers.layers(shapes, family)}
    assert all(first.name == second.name and second.key in folder.shapes for first, second in pair.twins)
    assert {(first.part, first.group) for first, _ in pair.anchors} == {
        (anchors.VAE, anchors.AUTOENCODER),
        ("text_encoder", anchors.EMBEDDINGS),
        ("text_encoder", anchors.TEXT_NORMS),
        ("unet", anchors.TIME),
        ("unet", anchors.ENDS),
        ("unet", anchors.NORMS),
    }
    assert not {second.key for _, second in pair.anchors} & {second.key for _, second in pair.twins}


@pytest.mark.parametrize("family", FAMILIES)
def test_scopes(family):
    shapes = checkpoints.shapes(family)
    num = {part: sum(layer.part == part for layer in layers.layers(shapes, family) if not layer.conv) for part in model_pair.PARTS}
    assert len(match(shapes, shapes, conv=False).twins) == sum(num.values())
    for part, number in num.items():
        assert len(match(shapes, shapes, conv=False, target=part).twins) == number


def test_a_part_that_one_lacks_is_said():
    shapes = checkpoints.shapes("sdxl")
    alone = {name: shape for name, shape in shapes.items() if not name.startswith(layers.UNET)}
    pair = match(shapes, alone | {f"{layers.UNET}input_blocks.0.0.weight": (16, 4, 3, 3)})
    assert pair.notes == ("b has no U-Net: it is left out",) and {first.part for first, _ in pair.twins} == {"text_encoder"}


def test_two_kinds_of_prediction_are_warned_about(tmp_path):
    found = []
    for name, prediction in (("a", "epsilon"), ("b", "v_prediction")):
        checkpoints.folder(tmp_path / name, checkpoints.tensors("sd2"), "sd2")
        (tmp_path / name / "scheduler").mkdir()
        (tmp_path / name / "scheduler/scheduler_config.json").write_text(f'{{"prediction_type": "{prediction}"}}', encoding="utf-8")
        found.append(model_pair.look(str(tmp_path / name), "--base"))
    assert [one.predicts_v() for one in found] == [False, True]
    assert "b predicts v and a noise" in model_pair.match(*found, conv=False, target="both").notes[0]


def test_what_is_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match="--base: there is no such file"):
        model_pair.look(str(tmp_path / "x.ckpt"), "--base")
    (tmp_path / "a.yaml").write_text("name: a", encoding="utf-8")
    with pytest.raises(UserError, match="--tuned: this is a profile"):
        model_pair.look(str(tmp_path / "a.yaml"), "--tuned")
    assert model_pair.look("pocket", "--base").kind.family == "sd1"

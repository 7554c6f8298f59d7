"""Tables and warnings, from numbers alone."""

from pathlib import Path

import pytest

from lorabake import extract_report, model_kinds, modelfile
from lorabake.differences import Difference
from lorabake.extraction import LAYERS, Extraction, Fact
from lorabake.families.anchors import AUTOENCODER, EMBEDDINGS, VAE
from lorabake.families.layers import Layer
from lorabake.model_pair import Model, Pair

CONTENTS = modelfile.Contents("safetensors", {}, 0)
PAIR = Pair(*(Model(Path(name), CONTENTS, model_kinds.FileKind("checkpoint", "sd1"), "") for name in ("a", "b")), (), (), ())


def fact(block, rank, squared, captured, part="unet"):
    return Fact(Layer(block, part, "", (4, 4), block), rank, squared, captured)


def with_distances(**relative):
    """unet, text, vae, embeddings: relative distances."""
    keys = {
        "unet": ("unet", LAYERS),
        "text": ("text_encoder", LAYERS),
        "vae": (VAE, AUTOENCODER),
        "embeddings": ("text_encoder", EMBEDDINGS),
    }
    found = Extraction()
    for name, value in relative.items():
        found.add(*keys[name], Difference(None, value, value**2, 1.0, changed=value > 0))
    return found


def test_curve_and_blocks():
    facts = [fact("IN01", 4, 10.0, {1: 4.0, 2: 6.0, 4: 8.0}), fact("OUT03", 2, 10.0, {1: 5.0, 2: 10.0}), fact("MID", 0, 5.0, {})]
    assert extract_report.curve(facts) == {1: 9 / 25, 2: 16 / 25, 4: 18 / 25}
    assert extract_report.blocks(facts) == {"IN01": 0.8, "MID": 0.0, "OUT03": 1.0}
    assert extract_report.curve([facts[2]]) == {}


def test_tables_are_aligned():
    found = with_distances(vae=0.0, unet=0.03, text=1e-5)
    lines = extract_report.distance_lines(found)
    assert [line.split()[-2:] for line in lines[1:]] == [["autoencoder", "equal"], ["0.001", "%"], ["3.0", "%"]]
    assert lines[1].index("equal") == lines[2].index("0.001") == lines[3].index("3.0")
    found.facts = [fact("BASE", 8, 1.0, {1: 0.5, 2: 0.6, 4: 0.7, 8: 0.99}, part="text_encoder"), fact("IN01", 2, 1.0, {1: 0.5, 2: 0.555})]
    first, second, third, *_ = extract_report.captured_lines(found)
    assert first.split() == ["captured", "by", "rank", "1", "2", "4", "8"] and len({len(first), len(second), len(third)}) == 1
    assert second.split("  ")[-1].strip() == "99.0 %" and third.rstrip().endswith("56 %")
    assert extract_report.rank_line(found, "3 MB") == "2 layers, ranks 2 to 8, half of them up to 8, 3 MB"


@pytest.mark.parametrize(
    ("distances", "said"),
    [
        ({"unet": 0.1, "text": 0.05, "vae": 0.0, "embeddings": 0.0}, []),
        ({"unet": 1.4, "text": 0.0}, ["U-Nets look unrelated"]),
        ({"unet": 0.1, "text": 0.9}, ["text encoders look unrelated"]),
        ({"unet": 0.1, "embeddings": 0.9}, ["text encoders look unrelated"]),
        ({"unet": 0.1, "vae": 0.2, "embeddings": 0.01}, ["autoencoder and embeddings both differ"]),
        ({"unet": 0.1, "vae": 0.2, "embeddings": 0.0}, []),
    ],
)
def test_warnings(distances, said):
    found = extract_report.warnings(with_distances(**distances), PAIR)
    assert len(found) == len(said) and all(words in line for words, line in zip(said, found, strict=True))


def test_each_part_is_judged_by_itself():
    assert extract_report.untouched(with_distances(unet=0.1, text=0.0)) == ["text_encoder"]
    assert extract_report.untouched(with_distances(unet=0.0, text=0.0)) == ["unet", "text_encoder"]

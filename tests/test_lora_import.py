"""`lora.py import`: what a trainer wrote into a LoRA becomes a profile; what is no LoRA is told."""

import pytest

from lora_files import layers_of, write
from lorabake import lora_words, paths
from lorabake.errors import UserError
from lorabake.lora_import import main


def options(*words):
    return lora_words.parse("", ["import", *map(str, words)])


def test_a_loras_metadata_becomes_a_profile(tmp_path, capsys):
    layers = layers_of(paths.MODELS / "pocket.safetensors")[:4]
    lora = write(
        tmp_path / "it's \u732b.safetensors",
        layers,
        metadata={"ss_output_name": "\u732b", "ss_learning_rate": "0.0001", "ss_network_dim": "4"},
    )
    assert main(options(lora)) == 0
    written = tmp_path / "it's \u732b.yaml"
    assert capsys.readouterr().out.strip() == str(written)
    assert "rank: 4" in written.read_text(encoding="utf-8")


def test_what_is_no_lora_is_told(tmp_path):
    (tmp_path / "kohya.toml").write_text("unet_lr = 1e-4\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"\.toml cannot be imported"):
        main(options(tmp_path / "kohya.toml"))
    with pytest.raises(UserError, match="no such file"):
        main(options(tmp_path / "none.safetensors"))

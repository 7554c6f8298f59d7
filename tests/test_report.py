"""report.html: whole, offline, escaped, and readable while a run goes on."""

import json

import pytest
from PIL import Image

from lorabake import report

CURVE = [
    {"kind": "step", "step": n, "epoch": 1, "loss": 0.2 - n * 0.001, "rates": {"unet": 1e-3, "text_encoder": 1e-4}} for n in range(1, 41)
]
HELD = [{"kind": "heldout", "step": 0, "epoch": 0, "loss": 0.21}, {"kind": "heldout", "step": 40, "epoch": 1, "loss": 0.17}]
SAVE = [{"kind": "save", "step": 40, "epoch": 1, "path": "style.safetensors"}]
PLAN = {
    "name": "style <b>",
    "total_steps": 40,
    "base": {"path": "/x/base.safetensors"},
    "warnings": ["few <i>pictures"],
    "train": {"seed": 23},
}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "samples").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "samples" / "01.png")
    drawn = {"kind": "samples", "step": 40, "epoch": 1, "files": [{"prompt": "a <cat>", "seed": 1, "path": "samples/01.png"}]}
    sheet = {"kind": "sheet", "step": 40, "file": "style.safetensors", "path": "samples/01.png"}
    (tmp_path / "plan.json").write_text(json.dumps(PLAN), encoding="utf-8")
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, [*HELD, *CURVE, *SAVE, drawn, sheet])), encoding="utf-8")
    (tmp_path / "result.json").write_text(json.dumps({"status": "done", "seconds": 61}), encoding="utf-8")
    return tmp_path


def test_it_is_whole_offline_and_escaped(run):
    text = report.write(run).read_text(encoding="utf-8")
    assert "http://" not in text and "https://" not in text and "<script" not in text
    assert "style &lt;b&gt;" in text and "<b>&" not in text and "a &lt;cat&gt;" in text and "few &lt;i&gt;pictures" in text
    assert text.count("data:image/") >= 2 and text.rstrip().endswith("</html>")
    assert "style.safetensors" in text and "19 %" in text


@pytest.mark.parametrize("missing", ["plan.json", "log.jsonl", "result.json", "samples/01.png"])
def test_a_run_that_lacks_something_still_has_a_page(run, missing):
    (run / missing).unlink()
    assert "</html>" in report.write(run).read_text(encoding="utf-8")

"""The report: whatever state a run is in, one page that opens offline, escapes what users typed, and stays small enough.

How it looks is judged by eyes: `python tests/fake_run.py FOLDER` writes pages for that.
"""

import base64
import html.parser
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import fake_run
from fake_run import Fake
from lorabake import report, report_charts, report_pictures, report_run, report_settings
from lorabake.report_charts import Chart, Level, Series

VOID = {"meta", "img", "br", "link", "input"}


class Reader(html.parser.HTMLParser):
    """Checks that elements close in order; collects texts, tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str, **wanted: str) -> list[dict]:
        return [a for t, a in self.tags if t == tag and all(word in (a.get(k) or "").split() for k, word in wanted.items())]


def page(folder: Path) -> tuple[str, Reader]:
    path = report.write(folder)
    assert path == folder / "report.html"
    text = path.read_text(encoding="utf-8")
    return text, Reader(text)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    return fake_run.make(tmp_path_factory.mktemp("done"))


def test_a_finished_run(done):
    text, read = page(done)
    words = read.text
    assert "style done" in words and "LoRA, rank 16, U-Net and text encoder" in words and "on base.safetensors" in words
    assert "6 epochs, 420 steps" in words and "0.42 s a step" in words
    assert "Try this file first a close call style-000005.safetensors" in words and "<lora:style-000005:0.8>" in words
    order = ["Try this file", "With and without the LoRA", "Epoch by epoch", "Curves", "Files", "Trained on", "Settings"]
    assert [words.index(heading) for heading in order] == sorted(words.index(heading) for heading in order)
    # one for the suggestion, two sheets of 4 strengths, and no LoRA and 6 epochs side by side, each of 6 prompts and seeds
    assert len([attributes for attributes in read.of("img") if attributes.get("src")]) == 1 + 2 * 24 + 42
    assert len(read.of("div", **{"class": "cell"})) == 2 * 24 + 42 and len(read.of("div", **{"class": "gone"})) == 0
    assert words.index("no LoRA") < words.index("strength 0.6") < words.index("strength 0.8") < words.index("strength 1")
    assert words.count("suggested") >= 4 and "loss 0.1187" in words
    assert len(text) < 2_000_000


def test_nothing_from_outside(done):
    text, read = page(done)
    assert "default-src 'none'" in text
    for tag, attributes in read.tags:
        assert tag not in ("link", "iframe", "object", "base", "form")
        assert "href" not in attributes and "srcset" not in attributes
        if attributes.get("src"):
            assert tag == "img" and attributes["src"].startswith("data:image/"), tag
    plain = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert "http:" not in plain and "https:" not in plain and "url(" not in plain and "@import" not in plain


def test_both_themes_and_narrow_screens(done):
    text, _ = page(done)
    assert "prefers-color-scheme: dark" in text and "max-width: 700px" in text and 'name="viewport"' in text


def test_curves(done):
    _, read = page(done)
    assert len(read.of("svg")) == 4
    for title in ("Training loss", "Loss on held-out pictures", "Learning rate", "Gradient norm"):
        assert read.of("svg", **{"aria-label": title.split()[0]}), title
    assert "without the LoRA" in read.text and len(read.of("line", **{"class": "level"})) == 2  # in the drawing and its legend
    assert re.search(r"step 350; epoch 5; 0\.09\d+", read.text) and "text encoder 6e-5" in read.text


def test_settings_say_where_they_are_from(done):
    _, read = page(done)
    assert "All settings, 7 of them typed" in read.text
    assert "rank 16 typed alpha 16 the rank conv_rank - not used" in read.text
    assert "unet_lr 8e-5 default; used 3.2e-4, x4 for the batch" in read.text
    assert "clip_skip 1 the base model's file says so" in read.text
    assert "name: style" in read.text


def test_typed_keys_of_older_plans():
    assert report_settings.typed_keys("name: a\ntrain: {epochs: 6, unet_lr: 8e-5}\ndata:\n  flip: yes\n") == {
        "name",
        "train",
        "train.epochs",
        "train.unet_lr",
        "data",
        "data.flip",
    }
    assert report_settings.typed_keys("") == set() and report_settings.typed_keys("[") == set()


@pytest.mark.parametrize("status", ["running", "stopped", "diverged", "failed"])
def test_a_run_that_is_not_done(tmp_path, status):
    message = "" if status == "running" else 'lower "train.unet_lr" <now>\n  start again'
    folder = fake_run.make(tmp_path, Fake(status=status, stop_at=0.55, message=message))
    text, read = page(folder)
    assert f"style {status}" in read.text and "6 epochs, step 231 of 420" in read.text
    assert "With and without" not in read.text and "epoch 3" in read.text and "epoch 4 " not in read.text.partition("Curves")[0]
    assert ("still going" in read.text) == (status == "running")
    assert (" ".join(message.split()) in read.text) and "<now>" not in text
    assert bool(read.of("div", **{"class": "bad"})) == (status in ("diverged", "failed"))


def test_every_moment_of_a_run(tmp_path):
    """From an empty folder on, each line of the log more gives a page."""
    folder = fake_run.make(tmp_path / "a", Fake(epochs=2, num_pictures=8, holdout=2, prompts=("x",), seeds=(1,)))
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    empty = tmp_path / "b" / "style.runs" / "001"
    empty.mkdir(parents=True)
    _, read = page(empty)
    assert "style running" in read.text
    (folder / "result.json").unlink()
    for count in range(len(lines) + 1):
        (folder / "log.jsonl").write_text("".join(lines[:count]) + lines[-1][:9], encoding="utf-8")
        page(folder)
    (folder / "plan.json").write_text("{", encoding="utf-8")
    page(folder)
    (folder / "plan.json").write_text('{"base": null, "network": null, "folders": null, "train": null, "buckets": null}', encoding="utf-8")
    page(folder)


def test_what_users_type_is_only_text(tmp_path):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    folder = fake_run.make(tmp_path, Fake(prompts=(evil, "</svg></div> & 'x'"), seeds=(1,), epochs=1))
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    plan |= {"name": evil, "profile_text": f"# {evil}", "notes": [evil], "warnings": [evil, "\ud800"], "reasons": {"train.seed": evil}}
    plan["base"]["path"], plan["folders"][0]["name"] = f"C:\\models\\{evil.replace('/', '')}", evil
    plan["network"]["<b>x</b>"] = evil
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    result = {"status": evil, "message": evil}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"kind": "skip", "step": evil, "reason": evil, "pictures": [f"/x/{evil}"]}) + "\n")
        file.write(json.dumps({"kind": "note", "text": evil}) + "\n")
        file.write(json.dumps({"kind": "sheet", "step": 1, "file": evil, "path": "../../../etc/passwd"}) + "\n")
    text, read = page(folder)
    assert len(read.of("script")) == 1 and not [a for _, a in read.tags if "onerror" in a]
    assert text.count("<script>alert") == 0 and text.count("&lt;script&gt;alert(1)") > 8


def test_pictures_that_are_gone_leave_their_place(tmp_path):
    folder = fake_run.make(tmp_path, Fake(epochs=2))
    (folder / "samples/style-000001/02.png").unlink()
    (folder / "samples/style-000001/03.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (folder.parent.parent / "style-000001.safetensors").unlink()
    _, read = page(folder)
    assert len(read.of("div", **{"class": "gone"})) == 2 and "not kept" in read.text


def test_a_run_whose_files_were_moved_into_it(tmp_path):
    folder = fake_run.make(tmp_path, Fake(epochs=2))
    for path in folder.parent.parent.glob("*.safetensors"):
        path.rename(folder / path.name)
    _, read = page(folder)
    assert "not kept" not in read.text and "25.9 KB" in read.text


def test_a_composed_sheet_stands_in(tmp_path):
    folder = fake_run.make(tmp_path, Fake(epochs=1, every_file=False))
    _, read = page(folder)
    assert read.of("img", alt="sheet") and "no LoRA" not in read.text.partition("Epoch by epoch")[0]


def test_many_large_pictures_still_fit(tmp_path):
    """More and noisier pictures than fit at full size: the page stays under 15 MB."""
    many = Fake(prompts=("a", "b", "c"), seeds=(1,), epochs=3, size=(1024, 704), noisy=True)
    path = report.write(fake_run.make(tmp_path, many))
    assert 3_000_000 < path.stat().st_size < 15_000_000


def test_embedding(tmp_path):
    small, large, broken = tmp_path / "s.png", tmp_path / "l.png", tmp_path / "b.png"
    Image.new("RGB", (32, 16), "red").save(small)
    Image.effect_noise((1500, 750), 80).save(large)
    broken.write_bytes(b"")
    found = report_pictures.embed([small, large, broken, small, tmp_path / "none.png"])
    assert set(found) == {small, large}
    assert found[small].uri == "data:image/png;base64," + base64.b64encode(small.read_bytes()).decode()
    assert found[large].uri.startswith("data:image/webp;base64,") and (found[large].width, found[large].height) == (1024, 512)
    tight = report_pictures.embed([small, large], budget=20_000)
    assert tight[large].width < 512 and tight[small].width == 32
    assert set(report_pictures.embed([small, large], budget=1)) == {small, large}
    Image.new("RGB", (8, 8), "blue").save(small)
    os.utime(small, ns=(1, 1))
    assert report_pictures.embed([small])[small].width == 8, "a changed file is read again"


def test_both_ways_of_writing_a_log_are_read(tmp_path):
    lines = [
        {"kind": "start", "step": 0, "total_steps": 2},
        {"kind": "step", "step": 1, "loss": 0.2, "lr_unet": 1e-4, "lr_te": 2e-5, "grad_norm": "nan", "seconds": 1},
        {"kind": "step", "step": 2, "loss": "nan", "rates": {"unet": 5e-5}},
        {"kind": "heldout", "step": 2, "loss": 0.09, "base_loss": 0.1},
        {"kind": "save", "step": 2, "epoch": 1, "path": "C:\\x\\style.safetensors"},
        {
            "kind": "samples",
            "step": 2,
            "epoch": 1,
            "files": [{"prompt": "a", "seed": 1, "path": "a.png", "strength": s} for s in (None, 0.6)],
        },
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    run = report_run.read(tmp_path)
    assert run.rates() == {"unet": [(1, 1e-4), (2, 5e-5)], "text_encoder": [(1, 2e-5)]}
    assert run.losses == [(1, 0.2)] and run.numbers("step", "grad_norm") == []
    assert run.held_base == 0.1 and run.held == [(2, 0.09)] and run.saved[0].name == "style.safetensors"
    assert run.samples == [] and run.sheets[0].file == "style.safetensors"
    page(tmp_path)


@pytest.mark.parametrize(
    ("low", "high", "count", "wanted"),
    [
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 420, 6, [0, 100, 200, 300, 400]),
        (0.098, 0.119, 5, [0.1, 0.105, 0.11, 0.115]),
        (-3, 7, 5, [-2, 0, 2, 4, 6]),
        (0, 3.2e-4, 5, [0, 1e-4, 2e-4, 3e-4]),
        (0, 1, 6, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    ],
)
def test_ticks_are_round(low, high, count, wanted):
    assert report_charts.ticks(low, high, count) == pytest.approx(wanted)


def test_ticks_are_written_alike():
    assert [report_charts.alike([0, 0.05, 0.1])(value) for value in (0, 0.05, 0.1)] == ["0.00", "0.05", "0.10"]
    assert report_charts.alike([0, 100])(100) == "100"


def points(svg: str) -> list[float]:
    return [float(n) for shape in re.findall(r'points="([^"]*)"', svg) for n in re.split("[ ,]", shape)]


@pytest.mark.parametrize(
    "values",
    [
        [],
        [(5, 0.1)],
        [(1, 0.0), (2, 0.0)],
        [(1, 1e9), (2, -1e9)],
        [(n, 0.1 + n % 7 / 100) for n in range(1, 20001)],
        [(0, 1e-12), (9, 3e-12)],
    ],
    ids=["none", "one", "flat", "huge", "many", "tiny"],
)
@pytest.mark.parametrize("raw", [False, True])
def test_charts_of_any_numbers(values, raw):
    top = max((step for step, _ in values), default=0)
    chart = Chart("t <&>", [Series("a <b>", values, raw=raw, dots=True)], top, [Level("l", 0.1)], [top // 2, top], marked=top)
    svg = report_charts.draw(chart)
    if not values:
        assert svg == ""
        return
    Reader(svg)
    assert "<b>" not in svg and len(svg) < 120_000
    placed = points(svg)
    assert all(0 <= x <= report_charts.WIDTH for x in placed[::2]) and all(0 <= y <= report_charts.HEIGHT for y in placed[1::2])


def test_smoothing_and_thinning():
    line = [(n, float(n)) for n in range(100)]
    assert report_charts.smoothed(line)[50] == (50, 50.0) and len(report_charts.smoothed(line)) == 100
    assert report_charts.thinned(line, 10)[0] == line[0] and report_charts.thinned(line, 10)[-1] == line[-1]
    spiky = [(n, 9.0 if n == 1234 else 0.0) for n in range(5000)]
    kept = report_charts.envelope(spiky, 300)
    assert (1234, 9.0) in kept and len(kept) <= 310


def test_without_torch(done):
    lines = ["import sys", "from pathlib import Path", "from lorabake import report", f"report.write(Path({str(done)!r}))"]
    code = "\n".join([*lines, "print('torch' in sys.modules)"])
    env = {**os.environ, "PYTHONPATH": str(fake_run.PY)}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, encoding="utf-8", check=True)
    assert out.stdout.strip() == "False"


def test_private_folders_are_not_on_the_page(done):
    plan = json.loads((done / "plan.json").read_text(encoding="utf-8"))
    text = report.page(replace(report_run.read(done), plan={**plan, "profile_text": ""}))
    assert str(done.parents[1]) not in text and str(Path(plan["base"]["path"]).parent) not in text


def test_the_trigger_word_is_in_the_words_to_type(tmp_path):
    folder = fake_run.make(tmp_path)
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    for triggers, typed in (({}, "<lora:"), ({"5_a": "jun<b>"}, "jun<b>, <lora:"), ({"5_a": "anna", "5_b": "bob"}, "anna, <lora:")):
        (folder / "plan.json").write_text(json.dumps(plan | {"triggers": triggers}), encoding="utf-8")
        text, read = page(folder)
        code = read.text.split("write ")[1]
        assert code.startswith(typed) and "jun<b>" not in text
        assert ("Trigger words: anna (5_a), bob (5_b)" in read.text) == (len(triggers) > 1)

"""The printed plan: figures and sentences are there, aligned, in ASCII, within the width, warnings last."""

import os
from pathlib import Path

import pytest

from lorabake import hardware, paths, plan, profile
from lorabake.plan_text import LABEL, rate, render
from picture_sets import CARD_12, make, picture, pictures

GOLDEN = Path(__file__).parent / "golden" / "plans"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (8e-5, "8e-5"),
        (8e-5 * 5, "4e-4"),
        (1.5e-5 * 5, "7.5e-5"),
        (0, "0"),
        (1.0, "1"),
        (0.01, "0.01"),
        (0.001, "1e-3"),
        (1.234e-6, "1.234e-6"),
    ],
)
def test_rates_as_people_write_them(number, text):
    assert rate(number) == text


def big_set(tmp_path) -> Path:
    root = tmp_path / "set"
    for number in range(40):
        picture(root / f"5_ConceptA/{number:02}.png", f"1girl, number {number}", size=(512, 768 if number % 3 else 512))
    pictures(root / "3_a rather long name of a concept that goes on and on", 12, size=(512, 512), caption=None)
    picture(root / "loose.png", size=(512, 512))
    pictures(tmp_path / "reg/1_girl", 4, size=(512, 512), caption=None)
    return root


@pytest.mark.parametrize("width", [80, 96, 120])
def test_the_page(tmp_path, width):
    made = make(tmp_path, big_set(tmp_path), {"data.regularization": str(tmp_path / "reg")}, full=True, cards=(CARD_12,))
    text = render(made, width=width)
    lines = text.splitlines()
    assert text.isascii() and not text.endswith("\n")
    assert all(len(line) <= width or str(tmp_path) in line for line in lines)
    assert all(line == line.rstrip() for line in lines)
    assert 25 <= len(lines) <= 60
    assert "typed 8e-5, used 4e-4 (x5)" in text and "typed 1.5e-5, used 7.5e-5 (x5)" in text
    assert "512x512: " in text and "bf16: " in text and "clip skip  2: " in text
    assert "style-000001, ..., style-000005" in text
    assert "GiB of VRAM expected, 11.2 free" in text
    assert "counted at batch 1" in text
    warnings = lines.index(f"{len(made.warnings)} warnings:" if len(made.warnings) > 1 else "1 warning:")
    assert all(line.startswith(("! ", "  ")) for line in lines[warnings + 1 :])
    assert sum(line.startswith("! ") for line in lines) == len(made.warnings)


def test_rows_of_the_table_are_aligned(tmp_path):
    made = make(tmp_path, big_set(tmp_path), {"data.regularization": str(tmp_path / "reg")})
    lines = render(made).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("pictures"))
    head, rows = lines[start], lines[start + 1 : start + 4]
    for title in ("pictures", "repeats", "captions", "missing", "empty"):
        end = head.index(title, LABEL) + len(title)
        assert all(row[end - 1] != " " and row[end : end + 1] in (" ", "") for row in rows), title


def test_wide_letters_and_long_names_keep_the_table_in_line(tmp_path):
    picture(tmp_path / "set" / ("5_" + "\u732b" * 30) / "x.png", "x")
    picture(tmp_path / "set/5_cat/x.png", "x")
    lines = render(make(tmp_path, tmp_path / "set"), width=80).splitlines()
    row = next(line for line in lines if "\u732b" in line)
    assert "..." in row
    columns = sum(2 if ord(letter) > 0x2E80 else 1 for letter in row)
    assert columns == len(next(line for line in lines if "5_cat" in line))


def test_more_folders_buckets_and_prompts_than_the_page_holds(tmp_path):
    for number in range(11):
        picture(tmp_path / f"set/5_c{number:02}/x.png", "x", size=(64 + 8 * number, 200))
    made = make(tmp_path, tmp_path / "set", {"samples.prompts": "[a, b, c, d, e, f]"})
    text = render(made)
    assert "and 3 more folders with 3 pictures" in text and "and 2 more prompts" in text


def test_switched_off_things_are_said(tmp_path):
    pictures(tmp_path / "set/5_a", 3)
    text = render(make(tmp_path, tmp_path / "set", {"data.buckets": "false", "network.target": "unet", "train.steps": "7"}))
    assert "off: every picture is cropped to 128x128" in text and "text encoder  not trained" in text and "the last one cut short" in text


@pytest.mark.parametrize("path", sorted(paths.PROFILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_profiles_give_these_pages(path, tmp_path, monkeypatch):
    """On one imagined machine. After a wanted change run this file with LORABAKE_REWRITE=1, then read the difference."""
    monkeypatch.setattr(hardware, "cpu_threads", lambda: 2)
    monkeypatch.setattr(hardware, "host_memory_gib", lambda: 16.0)
    monkeypatch.setattr(paths, "free_bytes", lambda _folder: 100 * 2**30)
    loaded = profile.load(path, [f"output={tmp_path / 'out'}"])
    page = render(plan.make(loaded, hardware.Seen(()))).replace(str(tmp_path), "").replace("\\", "/") + "\n"
    golden = GOLDEN / f"{path.stem}.txt"
    if os.environ.get("LORABAKE_REWRITE"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(page, encoding="utf-8", newline="\n")
    assert page == golden.read_text(encoding="utf-8")

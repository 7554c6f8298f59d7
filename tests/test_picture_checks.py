"""Verdicts on pictures from what was measured: each kind by itself, and good pictures of which nothing is said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lorabake import buckets, picture_checks
from lorabake.picture_facts import Facts

SIZES = buckets.resolutions(512, 256, 1024, 64)
GOOD = Facts("", "d", width=1024, height=1024, hash="0" * 64, mirrored="f" * 64)


def placed(size):
    bucket = buckets.assign(size, SIZES)
    return bucket, buckets.placement(size, bucket)


def judged(captioned=(), **facts):
    seen = {Path(f"{name}.png"): one for name, one in facts.items()}
    return {verdict.path.stem: verdict for verdict in picture_checks.judge(seen, placed, {Path(f"{name}.png") for name in captioned})}


def kinds(**changes):
    return {finding.kind: finding for finding in judged(x=replace(GOOD, **changes))["x"].found}


@pytest.mark.parametrize("size", [(512, 512), (640, 448), (1024, 1536), (480, 640)])
def test_nothing_is_said_of_good_pictures(size):
    verdict = judged(x=replace(GOOD, width=size[0], height=size[1], quality=75, blocks=0.6, bars=(0.1, 0.0, 0.03, 0.03)))["x"]
    assert verdict.found == () and verdict.grade == "good"


def test_small_ones_are_told_with_how_much():
    small = kinds(width=256, height=256)["small"]
    assert "enlarged 2.0 times" in small.text and small.grade == "poor"
    assert "small" not in kinds(width=440, height=440)


def test_long_ones_lose_their_ends():
    cut = kinds(width=3000, height=500)["cut-off"]
    assert "is cut off" in cut.text and cut.grade == "note" and "cut-off" not in kinds(width=900, height=500)


def test_bars_on_two_sides():
    assert kinds(bars=(0.1, 0.1, 0, 0))["border"].text.startswith("bars above and below (20 %")
    assert kinds(bars=(0, 0, 0.05, 0.08))["border"].text.startswith("bars left and right (13 %")
    assert "border" not in kinds(bars=(0.2, 0, 0, 0.2))


def test_too_little_detail_counts_for_the_bake():
    poor = kinds(width=512, height=512, detail=2.0)["upscaled"]
    assert poor.grade == "poor" and "256x256" in poor.text and "enlarged 2 times" in poor.text
    enough = kinds(width=1024, height=1024, detail=2.0)["upscaled"]
    assert enough.grade == "note" and "enough for this bake" in enough.text
    assert kinds(width=512, height=512, detail=4.0, blurred=True)["blurred"].grade == "poor"


def test_blocks_and_quality():
    assert kinds(blocks=1.5, width=512, height=512)["jpeg-blocks"].grade == "poor"
    assert "quality 20" in kinds(quality=20, width=600, height=600)["jpeg-blocks"].text
    assert kinds(quality=20, width=2048, height=2048)["jpeg-blocks"].grade == "note"


def test_the_other_kinds():
    assert kinds(problem="is damaged")["broken"].grade == "reject" and list(kinds(problem="is damaged")) == ["broken"]
    assert kinds(one_colour=True, hash="", mirrored="")["one-colour"].grade == "reject"
    assert kinds(repeated=4, detail=3.0)["pixels"].grade == "note" and "upscaled" not in kinds(repeated=4, detail=3.0)
    assert kinds(transparent=True)["transparent"].grade == "note"


def test_the_worst_comes_first_and_grades():
    verdict = judged(x=replace(GOOD, one_colour=True, transparent=True, width=100, height=100))["x"]
    assert [finding.kind for finding in verdict.found] == ["one-colour", "small", "transparent"] and verdict.grade == "reject"


def alike(number):
    """A hash that differs from 0 in `number` bits."""
    return f"{(1 << number) - 1:064x}"


def test_the_same_file_twice_keeps_the_one_with_a_caption():
    found = judged(captioned=["b"], a=GOOD, b=GOOD, c=GOOD)
    assert [found[name].grade for name in "abc"] == ["reject", "good", "reject"]
    assert found["a"].found[0].text == "the same file as b.png"
    assert [judged(a=GOOD, b=GOOD)[name].grade for name in "ab"] == ["good", "reject"]


def test_of_pictures_that_are_alike_the_best_is_kept():
    small = replace(GOOD, digest="e", hash=alike(10), width=700, height=700)
    far = replace(GOOD, digest="f", hash=alike(100), mirrored=alike(90))
    found = judged(a=small, b=GOOD, c=far)
    assert found["a"].found[0].kind == "near-twice" and "b.png" in found["a"].found[0].text
    assert found["b"].grade == found["c"].grade == "good"
    packed = replace(GOOD, digest="e", quality=40, blocks=0.9)
    assert judged(a=packed, b=GOOD)["a"].found[0].kind == "near-twice"
    turned = replace(GOOD, digest="g", hash="f" * 64, mirrored="0" * 64, width=600)
    assert judged(a=turned, b=GOOD)["a"].found[0].text.startswith("mirrored, nearly the same as b.png")


def test_likeness_goes_on_through_others():
    hashes = [alike(0), alike(30), alike(60), alike(200)]
    assert picture_checks.groups(hashes, ["a" * 64] * 4) == [[0, 1, 2]]
    assert picture_checks.groups([], []) == [] and picture_checks.groups(["0" * 64], ["0" * 64]) == []


def test_thousands_are_compared_at_once():
    random = np.random.default_rng(1)
    hashes = [random.bytes(32).hex() for _ in range(3000)]
    hashes[2999] = hashes[7]
    assert picture_checks.groups(hashes, [random.bytes(32).hex() for _ in range(3000)]) == [[7, 2999]]

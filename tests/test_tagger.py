"""A tagger at work: the right numbers in both layouts, in any batch, with a card that fails, with pictures and models that are broken."""

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import tagger_model
from lorabake import tagger
from lorabake.errors import UserError

COLOURS = ((255, 0, 0), (10, 200, 90), (255, 255, 255), (0, 0, 0), (40, 80, 255))


def expected(colour):
    """The scores that the model's own formula gives a picture of one colour."""
    mean = np.array(colour[::-1]) / 255
    return np.array([1 / (1 + np.exp(-(np.dot(weights, mean) + bias))) for _, _, weights, bias in tagger_model.ROWS])


@pytest.fixture(params=["csv", "json", "fixed batch"])
def opened(request, tmp_path):
    batch = 3 if request.param == "fixed batch" else None
    return tagger.opened(tagger_model.write(tmp_path / "model", other=request.param == "json", batch=batch), device="cpu")


@pytest.fixture
def files(tmp_path):
    paths = []
    for number, colour in enumerate(COLOURS):
        paths.append(tmp_path / f"{number} \u732b.png")
        Image.new("RGB", (20 + number, 60), colour).save(paths[-1])
    return paths


def test_the_numbers_are_the_model_s(opened, tmp_path):
    square = np.full((tagger_model.SIDE_PX,) * 2 + (3,), COLOURS[1][::-1], np.uint8)
    assert opened.side_px == tagger_model.SIDE_PX
    np.testing.assert_allclose(tagger.infer(opened, [square])[0], expected(COLOURS[1]), atol=1e-5)


def test_every_picture_in_order_whatever_the_batch(tmp_path, files):
    folder = tagger_model.write(tmp_path / "model")
    alone = [one.scores for one in tagger.score_all(tagger.opened(folder, device="cpu", batch=1), files)]
    for batch in (2, 4, 99):
        found = list(tagger.score_all(tagger.opened(folder, device="cpu", batch=batch), files))
        assert [one.path for one in found] == files and not any(one.problem for one in found)
        for one, other in zip(found, alone, strict=True):
            assert one.scores == pytest.approx(other, abs=1e-6)
    assert all(score >= tagger.LOWEST for scores in alone for score in scores.values())


def test_transparent_places_are_seen_on_the_background(tmp_path):
    path = tmp_path / "clear.png"
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(path)
    opened = tagger.opened(tagger_model.write(tmp_path / "model"), device="cpu")
    names = dict(enumerate(opened.labels.names))
    for background, tag in (("white", "white_background"), ("blue", "blue_theme")):
        (found,) = tagger.score_all(opened, [path], background=background)
        assert {names[number] for number, score in found.scores.items() if score > 0.5} >= {tag}
        assert found.scores.get(list(names.values()).index("red_theme"), 0) < 0.5, "the hidden colour is not seen"


def test_a_broken_picture_is_told_and_the_rest_is_done(opened, files):
    files[1].write_bytes(files[1].read_bytes()[:40])
    files[3].unlink()
    found = list(tagger.score_all(opened, files))
    assert [bool(one.problem) for one in found] == [False, True, False, True, False]
    assert str(files[1]) in found[1].problem and all(one.scores for one in found if not one.problem)


def test_decoding_runs_ahead_by_a_little_only(tmp_path, files, monkeypatch):
    """Memory does not grow with the set: what is decoded and not yet scored is counted."""
    opened = tagger.opened(tagger_model.write(tmp_path / "model"), device="cpu", batch=2)
    decode, waiting, most = tagger._decoded, [0], [0]

    def counted(*args):
        waiting[0] += 1
        most[0] = max(most[0], waiting[0])
        return decode(*args)

    monkeypatch.setattr(tagger, "_decoded", counted)
    for _ in tagger.score_all(opened, files * 40):
        waiting[0] -= 1
    assert most[0] <= 3 * opened.batch + tagger.images.MOST_THREADS


def test_a_batch_that_is_too_much_is_done_in_halves(tmp_path, files, monkeypatch):
    opened = tagger.opened(tagger_model.write(tmp_path / "model"), device="cpu", batch=4)
    infer, sizes = tagger.infer, []

    def small_card(one, pictures):
        sizes.append(len(pictures))
        if len(pictures) > 1:
            raise RuntimeError("out of memory")
        return infer(one, pictures)

    monkeypatch.setattr(tagger, "infer", small_card)
    assert not [one.problem for one in tagger.score_all(opened, files) if one.problem]
    assert sizes[:4] == [4, 2, 1, 1]

    def no_card(*_):
        raise RuntimeError("CUDA failure 999")

    monkeypatch.setattr(tagger, "infer", no_card)
    with pytest.raises(UserError, match="CUDA failure 999"):
        list(tagger.score_all(opened, files))


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_card_that_is_there_but_does_not_start_is_said_and_the_cpu_taken(tmp_path, monkeypatch):
    folder = tagger_model.write(tmp_path / "model")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    opened = tagger.opened(folder)  # this onnxruntime has no CUDA, so the session falls back or fails as with missing DLLs
    assert opened.device.startswith("the processor (") and "cuda" in opened.device.lower()
    with pytest.raises(UserError, match="does not run on the card"):
        tagger.opened(folder, device="cuda")


def test_cuda_that_is_asked_for_and_not_there(tmp_path):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(UserError, match="has no CUDA"):
        tagger.opened(tagger_model.write(tmp_path), device="cuda")


def test_models_that_are_none(tmp_path):
    cut = tagger_model.write(tmp_path / "cut")
    (cut / "model.onnx").write_bytes((cut / "model.onnx").read_bytes()[:300])
    with pytest.raises(UserError, match="cannot be opened"):
        tagger.opened(cut, device="cpu")
    page = tagger_model.write(tmp_path / "page")
    (page / "model.onnx").write_bytes(b"<!DOCTYPE html><html></html>")
    with pytest.raises(UserError, match="cannot be opened"):
        tagger.opened(page, device="cpu")
    other = tagger_model.write(tmp_path / "other")
    lines = (other / "selected_tags.csv").read_text(encoding="utf-8").splitlines()
    (other / "selected_tags.csv").write_text("\n".join(lines[:-2]), encoding="utf-8")
    with pytest.raises(UserError, match="gives 14 scores, its list of tags has 12 rows"):
        tagger.opened(other, device="cpu")
    mixed = tagger_model.write(tmp_path / "mixed", other=True)
    (mixed / "model_optimized.onnx").rename(mixed / "model.onnx")
    tagger_model.write(tmp_path / "labels")
    (tmp_path / "labels" / "selected_tags.csv").rename(mixed / "selected_tags.csv")
    with pytest.raises(UserError, match="no tagger of a known kind"):
        tagger.opened(mixed, device="cpu")

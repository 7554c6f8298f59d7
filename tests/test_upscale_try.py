"""The sheet by which an upscaling model is chosen."""

import numpy as np
import pytest
from PIL import Image, ImageChops

import upscale_files
from lorabake import flatten_words, flattener, picture_facts, sheet, tag_files, upscale_try
from lorabake.errors import UserError
from photos import scene


@pytest.fixture
def models(tmp_path):
    upscale_files.write(tmp_path / "models" / "nearest 2x.pth", upscale_files.nearest(2))
    upscale_files.write(tmp_path / "models" / "random 4x.safetensors", upscale_files.tensors())
    (tmp_path / "models" / "broken.pth").write_bytes(b"<html>")
    (tmp_path / "models" / "read me.txt").write_text("no model", encoding="utf-8")
    return tmp_path / "models"


def run(models, picture):
    return flattener.main(flatten_words.parse(None, ["--upscale-try", str(models), str(picture), "--device", "cpu"]))


def test_every_model_and_lanczos_in_one_sheet(tmp_path, models, capsys):
    picture = tmp_path / "set" / "katze 猫.png"
    picture.parent.mkdir()
    scene((120, 90)).save(picture)
    before = picture.read_bytes()
    assert run(models, picture) == 0
    seen = capsys.readouterr()
    sheet = picture.parent / "_checks" / "katze 猫.upscale-try.png"
    assert "2 models and Lanczos" in seen.out and str(sheet) in seen.out and "broken.pth: " in seen.err
    with Image.open(sheet) as drawn:
        assert drawn.width > 3 * 384 and drawn.height > 384
    assert picture.read_bytes() == before and tag_files.pictures_below(picture.parent) == [picture]
    assert run(models, picture) == 0 and sheet.with_name("katze 猫.upscale-try.2.png").exists()


def test_a_model_that_cannot_be_used_has_its_reason_in_its_place(models):
    lanczos = ("Lanczos", Image.new("RGB", (400, 300), "red"))
    both = [upscale_try.drawn(lanczos, [("x", what)], title="t") for what in ("this is a web page", "")]
    changed = ImageChops.difference(*both).getbbox()
    cell = sheet.MARGIN_PX + sheet.LABEL_PX + 2 * sheet.GAP_PX + sheet.LARGEST_PX  # left edge of the second column
    assert changed and changed[0] >= cell and changed[2] <= cell + sheet.LARGEST_PX


@pytest.mark.parametrize("count", [1, upscale_try.PER_BAND, upscale_try.PER_BAND + 1, 2 * upscale_try.PER_BAND + 1])
def test_many_models_go_below_each_other_with_lanczos_in_front(count):
    """Only Lanczos is red, only the models are blue."""
    size, side = (64, 64), sheet.CELL_PX
    columns = [(str(number), Image.new("RGB", size, (0, 0, 255))) for number in range(count)]
    made = np.asarray(upscale_try.drawn(("Lanczos", Image.new("RGB", size, (255, 0, 0))), columns, title="t"))
    red, blue = ((made == colour).all(-1).sum() for colour in ((255, 0, 0), (0, 0, 255)))
    bands = -(-count // upscale_try.PER_BAND)
    assert (red, blue) == (2 * side**2 * bands, 2 * side**2 * count)
    most = min(count, upscale_try.PER_BAND) + 1
    assert made.shape[1] == 2 * sheet.MARGIN_PX + sheet.LABEL_PX + most * (sheet.GAP_PX + side)


def test_the_detail_is_where_the_edges_are():
    image = Image.new("RGB", (1000, 800), "white")
    image.paste(scene((300, 300)), (600, 450))
    left, top, right, bottom = picture_facts.busiest(np.asarray(image.convert("L"), dtype=np.float32), 384)
    assert (right - left, bottom - top) == (384, 384) and left <= 600 and right >= 900 and top <= 450 and bottom >= 750
    assert picture_facts.busiest(np.zeros((20, 30), dtype=np.float32), 384) == (0, 0, 30, 20)


@pytest.mark.parametrize("empty", [True, False])
def test_without_models(tmp_path, empty):
    (tmp_path / "empty").mkdir()
    scene((20, 20)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="no models here" if empty else "no such folder"):
        run(tmp_path / ("empty" if empty else "gone"), tmp_path / "a.png")


def test_only_broken_models_are_an_error(tmp_path, capsys):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "x.pth").write_bytes(b"")
    scene((20, 20)).save(tmp_path / "a.png")
    assert run(tmp_path / "models", tmp_path / "a.png") == 1 and "empty" in capsys.readouterr().err
    with pytest.raises(UserError, match="no such picture"):
        run(tmp_path / "models", tmp_path / "gone.png")

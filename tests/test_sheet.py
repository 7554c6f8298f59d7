"""Contact sheets: every picture stands where it belongs, labels stay in their column, any script and any size."""

import numpy as np
import pytest
from PIL import Image

from lorabake import sheet

RED, BLUE, GREEN = (200, 20, 20), (20, 20, 200), (20, 160, 20)


def plain(colour, size=(128, 128)) -> Image.Image:
    return Image.new("RGB", size, colour)


def boxes(picture: Image.Image, colour) -> tuple[int, int, int, int]:
    found = np.argwhere((np.asarray(picture).astype(int) == colour).all(-1))
    (top, left), (bottom, right) = found.min(0), found.max(0)
    return int(left), int(top), int(right - left + 1), int(bottom - top + 1)


def test_rows_and_columns():
    made = sheet.sheet(
        ["a\nseed 1", "b\nseed 2"], [("no LoRA", [plain(RED), plain(RED)]), ("1.0", [plain(BLUE), plain(GREEN, (256, 128))])], title="t"
    )
    assert made.mode == "RGB"
    red, blue, green = boxes(made, RED), boxes(made, BLUE), boxes(made, GREEN)
    assert red[2] == 192 and red[3] > 2 * 192 and blue[2:] == (192, 192)
    assert green[2:] == (256, 128)
    assert blue[0] > red[0] + red[2] and green[1] > blue[1] + blue[3] and blue[1] == red[1]
    assert made.width >= green[0] + green[2] + sheet.MARGIN_PX and made.height >= green[1] + green[3] + sheet.MARGIN_PX


def test_labels_stay_left_of_the_pictures_and_make_room():
    words = "1girl, solo, looking_at_viewer_with_a_very_long_tag_that_has_no_spaces_in_it_at_all, " * 6
    made = sheet.sheet([f"{words}\nseed 1", "b"], [("x", [plain(RED, (512, 64)), plain(BLUE)])], title="")
    red, blue = boxes(made, RED), boxes(made, BLUE)
    assert red[0] == sheet.MARGIN_PX + sheet.LABEL_PX + sheet.GAP_PX
    gap = np.asarray(made)[red[1] : blue[1] - 20, red[0] - 4 : red[0]]
    assert (gap == sheet.PAPER).all(), "a label runs into its picture"
    assert blue[1] > red[1] + sheet.MOST_LINES * sheet.LABEL_SIZE


def test_a_heading_wider_than_its_pictures_is_wrapped():
    made = sheet.sheet(["a"], [("a heading of a good many words, too many for one line", [plain(RED)])] * 2, title="x " * 400)
    assert made.width < 700


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((128, 128), (192, 192)), ((64, 32), (192, 96)), ((300, 200), (300, 200)), ((512, 768), (256, 384)), ((1, 1000), (1, 384))],
)
def test_pictures_are_fitted(size, wanted):
    assert sheet.fitted(Image.new("RGBA", size)).size == wanted
    assert sheet.fitted(Image.new("L", size)).mode == "RGB"


def test_wrapping():
    assert sheet.wrapped("", 15, 100) == [] and sheet.wrapped("  \n ", 15, 100) == []
    assert sheet.wrapped("one two", 15, 1000) == ["one two"]
    lines = sheet.wrapped("x" * 400, 15, 100)
    assert len(lines) == sheet.MOST_LINES and lines[-1].endswith("...")
    _, face = sheet.lettering("x", 15)
    assert all(face.getlength(line) <= 100 for line in lines)


def test_other_scripts_without_any_system_font(monkeypatch):
    monkeypatch.setattr(sheet, "SYSTEM_FONTS", ("no such font.ttf",))
    sheet._system_font.cache_clear()
    try:
        assert sheet.lettering("Stra\u00dfe \u00fcber \u732b", 15)[0] == "Strasse uber ?"
        sheet.sheet(["\u732b\u306e\u9854 \U0001f600"], [("\u00e9", [plain(RED)])], title="\u732b")
    finally:
        sheet._system_font.cache_clear()


def test_a_system_font_keeps_what_it_has():
    shown, face = sheet.lettering("\u00c4pfel", 15)
    if face.getname()[0] == "Aileron":
        pytest.skip("no font of SYSTEM_FONTS is on this machine")
    assert shown == "\u00c4pfel"
    assert sheet.lettering("\u00c4 \U000f0000", 15)[0] == "\u00c4 ?"

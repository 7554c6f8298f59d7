"""Masks: white is learned, black is not, as files that other trainers read."""

import io

import pytest
from PIL import Image

from lorabake import masks
from lorabake.damage import ImageError
from lorabake.errors import UserError


def picture(folder, name="cat (1).png", size=(40, 30)):
    Image.new("RGB", size).save(folder / name)
    return folder / name


def test_the_file_lies_in_masks_beside_the_picture(tmp_path):
    assert masks.path_of(tmp_path / "x.y.jpg") == tmp_path / "_masks" / "x.y.png"


def test_a_new_mask_learns_all_but_the_rectangle():
    mask = masks.without(None, (40, 30), (10, 5, 20, 10))
    assert (mask.mode, mask.size) == ("L", (40, 30))
    assert {colour: count for count, colour in mask.getcolors()} == {255: 40 * 30 - 200, 0: 200}
    assert [mask.getpixel(at) for at in ((9, 5), (10, 5), (29, 14), (30, 14), (29, 15))] == [255, 0, 0, 255, 255]


def test_rectangles_add_up_and_leave_the_given_mask_as_it_was():
    one = masks.without(None, (40, 30), (0, 0, 4, 4))
    two = masks.without(one, (40, 30), (2, 2, 4, 4))
    assert one.getpixel((5, 5)) == 255
    assert masks.share_left_out(two) == pytest.approx((16 + 16 - 4) / 1200)


def test_the_bytes_are_a_grey_png_of_eight_bits(tmp_path):
    data = masks.packed(masks.without(None, (2000, 1500), (10, 5, 200, 100)))
    assert data[24:26] == b"\x08\x00"  # bits, colour type grey
    assert len(data) < 8000
    file = masks.path_of(picture(tmp_path, size=(2000, 1500)))
    file.parent.mkdir()
    file.write_bytes(data)
    assert masks.read(tmp_path / "cat (1).png", (2000, 1500)).getpixel((10, 5)) == 0


def test_no_mask_and_a_damaged_one(tmp_path):
    path = picture(tmp_path)
    assert masks.read(path, (40, 30)) is None
    masks.path_of(path).parent.mkdir()
    masks.path_of(path).write_bytes(b"\x89PNG no")
    with pytest.raises(ImageError, match=r"cat \(1\).png"):
        masks.read(path, (40, 30))


@pytest.mark.parametrize("mode", ["1", "RGB", "P", "L"])
def test_a_mask_of_another_program_is_read_at_the_pictures_size(tmp_path, mode):
    path = picture(tmp_path)
    masks.path_of(path).parent.mkdir()
    half = Image.new("L", (20, 15), 255)
    half.paste(0, (0, 0, 10, 15))
    half.convert(mode).save(masks.path_of(path))
    mask = masks.read(path, (40, 30))
    assert (mask.mode, mask.size, mask.getpixel((19, 29)), mask.getpixel((20, 0))) == ("L", (40, 30), 0, 255)


def test_a_crop_takes_its_part_and_none_where_nothing_is_left_out():
    mask = masks.without(None, (40, 30), (0, 0, 10, 10))
    part = masks.cropped(mask, (5, 5, 20, 20))
    assert (part.size, part.getpixel((4, 4)), part.getpixel((5, 5))) == ((20, 20), 0, 255)
    assert masks.cropped(mask, (10, 10, 20, 20)) is None


def test_the_overlay_is_opaque_where_the_mask_is_black():
    shown = Image.open(io.BytesIO(masks.overlay(masks.without(None, (40, 30), (0, 0, 10, 10)))))
    assert (shown.getpixel((0, 0))[-1], shown.getpixel((20, 20))[-1]) == (255, 0)


def test_two_pictures_of_one_name_cannot_have_a_mask(tmp_path):
    path = picture(tmp_path)
    (tmp_path / "cat (1).txt").write_text("x", encoding="utf-8")
    masks.check_alone(path)
    picture(tmp_path, "cat (1).JPG")
    with pytest.raises(UserError, match=r"cat \(1\).JPG and cat \(1\).png would share one mask"):
        masks.check_alone(path)

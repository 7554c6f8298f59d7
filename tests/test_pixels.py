"""Every kind of pixel becomes 8-bit sRGB, and hidden colours leave no trace."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

import icc
import png
from lorabake import images, pixels
from lorabake.errors import UserError


def written(tmp_path, data: bytes, name: str = "x.png"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def noise(size=(40, 30), seed=1) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def rows_of(image: Image.Image) -> list[tuple[int, ...]]:
    return [tuple(pixel) for pixel in np.asarray(image).reshape(-1, 3).tolist()]


# --- depth


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_16_bit_grey_is_scaled_and_rounded_not_clipped(tmp_path, name):
    levels = np.array([[0, 1, 128, 129, 255, 256, 257, 32768, 65407, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / name)
    found = np.asarray(images.composite(tmp_path / name, "white"))[0, :, 0]
    assert found.tolist() == [0, 0, 0, 1, 1, 1, 1, 128, 255, 255]


def test_16_bit_big_endian_tiff(tmp_path):
    image = Image.frombytes("I;16B", (3, 1), bytes((0, 0, 0x80, 0, 0xFF, 0xFF)))
    image.save(tmp_path / "x.tif")
    assert images.header(tmp_path / "x.tif").mode.startswith("I;16")
    assert [p[0] for p in rows_of(images.composite(tmp_path / "x.tif", "white"))] == [0, 128, 255]


def test_16_bit_rgb_and_rgba_png(tmp_path):
    rgb = written(tmp_path, png.write([[0, 0x1234, 0xFFFF, 0xFF00, 0x8080, 0x00FF]], 16, png.RGB))
    assert rows_of(images.composite(rgb, "white")) == [(0, 0x12, 255), (255, 0x80, 0)]
    rgba = written(tmp_path, png.write([[0xFFFF, 0, 0, 0, 0, 0, 0xFFFF, 0xFFFF]], 16, png.RGBA))
    assert rows_of(images.composite(rgba, "white")) == [(255, 255, 255), (0, 0, 255)]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([0.0, 0.5, 1.0, 0.25], [0, 128, 255, 64]),
        ([0.0, 0.5, 4.0, 1.0], [0, 128, 255, 255]),  # highlights above white
        ([0.0, 100.0, 255.0, 30.4], [0, 100, 255, 30]),
        ([0.0, 32768.0, 65535.0, 257.0], [0, 128, 255, 1]),
        ([np.nan, np.inf, -5.0, 1.0], [0, 0, 0, 255]),
        ([np.nan] * 4, [0] * 4),
    ],
)
def test_float_tiff(tmp_path, levels, expected):
    Image.fromarray(np.array([levels], dtype=np.float32)).save(tmp_path / "x.tif")
    assert [p[0] for p in rows_of(images.composite(tmp_path / "x.tif", "white"))] == expected


@pytest.mark.parametrize(
    ("levels", "expected"), [([0, 100, 255], [0, 100, 255]), ([0, 32768, 65535], [0, 128, 255]), ([0, 2**30, 2**31 - 1], [0, 128, 255])]
)
def test_32_bit_whole_numbers(tmp_path, levels, expected):
    Image.fromarray(np.array([levels], dtype=np.int32)).save(tmp_path / "x.tif")
    assert [p[0] for p in rows_of(images.composite(tmp_path / "x.tif", "white"))] == expected


def test_one_bit_and_grey_and_palette(tmp_path):
    for bits, samples, expected in ((1, [0, 1], [0, 255]), (2, [0, 1, 3], [0, 85, 255]), (4, [0, 7, 15], [0, 119, 255])):
        found = images.composite(written(tmp_path, png.write([samples], bits)), "white")
        assert [p[0] for p in rows_of(found)] == expected
    image = noise().quantize(16)
    image.save(tmp_path / "p.png")
    assert rows_of(images.composite(tmp_path / "p.png", "white")) == rows_of(image.convert("RGB"))


# --- transparency


@pytest.mark.parametrize(("bits", "level"), [(1, 0), (1, 1), (2, 2), (4, 9), (8, 200), (16, 0x1234), (16, 0x0012)])
def test_grey_png_with_a_transparent_level(tmp_path, bits, level):
    other = 2**bits - 1 - level
    path = written(tmp_path, png.write([[level, other]], bits, before=png.chunk(b"tRNS", level.to_bytes(2, "big"))))
    assert images.header(path).has_alpha
    found = rows_of(images.composite(path, "#f00"))
    assert found[0] == (255, 0, 0)
    assert found[1] == (round(other * 255 / (2**bits - 1)),) * 3


@pytest.mark.parametrize(("bits", "colour"), [(8, (1, 2, 3)), (16, (0x0102, 0x0304, 0xFF05)), (16, (1, 2, 3))])
def test_rgb_png_with_a_transparent_colour(tmp_path, bits, colour):
    white = [2**bits - 1] * 3
    before = png.chunk(b"tRNS", b"".join(level.to_bytes(2, "big") for level in colour))
    path = written(tmp_path, png.write([[*colour, *white]], bits, png.RGB, before=before))
    assert rows_of(images.composite(path, "#0f0")) == [(0, 255, 0), (255, 255, 255)]


def hidden(mode: str, secret: tuple[int, int, int]) -> Image.Image:
    """A grey disc-like square in the middle; around it colours that nobody is to see."""
    image = Image.new("RGBA", (32, 32), (*secret, 0))
    image.paste((90, 90, 90, 255), (8, 8, 24, 24))
    image.paste((90, 90, 90, 128), (8, 24, 24, 26))
    return image.convert(mode)


@pytest.mark.parametrize("background", ["white", "#123456", "dominant", "checker"])
@pytest.mark.parametrize(("name", "mode", "options"), [
    ("x.png", "RGBA", {}), ("x.png", "LA", {}), ("x.tif", "RGBA", {}), ("x.tif", "LA", {}),
    ("x.webp", "RGBA", {"lossless": True, "exact": True}),
])  # fmt: skip
def test_hidden_colours_are_never_seen_even_after_scaling(tmp_path, name, mode, options, background):
    found = []
    for secret in ((255, 0, 255), (0, 255, 0), (0, 0, 0)):
        hidden(mode, secret).save(tmp_path / name, **options)
        found.append(images.fit(images.composite(tmp_path / name, background), (24, 24)).tobytes())
    assert len(set(found)) == 1


def test_palette_and_gif_transparency(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 0])
    image.paste(0, (0, 0, 2, 4))
    for name in ("x.png", "x.gif"):
        image.save(tmp_path / name, transparency=0)
        assert images.header(tmp_path / name).has_alpha
        assert set(rows_of(images.composite(tmp_path / name, "#00ff00"))) == {(0, 255, 0), (200, 100, 50)}
    image.save(tmp_path / "x.png", transparency=bytes((128, 255, 255)))
    assert rows_of(images.composite(tmp_path / "x.png", "#ffffff"))[0] == (132, 137, 142)


def test_pa_and_premultiplied_modes():
    image = Image.new("RGBA", (2, 1), (200, 100, 50, 0))
    image.putpixel((1, 0), (200, 100, 50, 255))
    for mode in ("RGBa", "PA"):
        colour, alpha = pixels.split(image.quantize(4).convert("PA") if mode == "PA" else image.convert(mode))
        assert alpha is not None and alpha.getextrema() == (0, 255)
        assert pixels.flatten(colour, alpha, "white").getpixel((0, 0)) == (255, 255, 255)
    grey = Image.merge("LA", (Image.new("L", (2, 1), 7), image.getchannel("A"))).convert("La")
    colour, alpha = pixels.split(grey)
    assert alpha is not None and (colour.mode, alpha.getextrema()) == ("L", (0, 255))


def test_all_modes_that_are_let_in_can_be_split():
    for mode in sorted(pixels.MODES - {"I;16N"}):
        colour, _alpha = pixels.split(Image.new(mode, (3, 2)))
        assert pixels.to_srgb(colour, None).mode == "RGB", mode


# --- backgrounds


def test_half_transparent_is_blended_and_opaque_is_untouched():
    image = noise()
    solid = Image.new("L", image.size, 255)
    assert pixels.flatten(image, solid, "red").tobytes() == image.tobytes()
    half = pixels.flatten(Image.new("RGB", (1, 1), (0, 0, 0)), Image.new("L", (1, 1), 128), "white")
    assert half.getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize(
    ("background", "expected"),
    [
        ("#112233", (17, 34, 51)),
        ("#123", (17, 34, 51)),
        ("white", (255, 255, 255)),
        ("rebeccapurple", (102, 51, 153)),
        ("WHITE", (255,) * 3),
    ],
)
def test_colours(background, expected):
    assert pixels.flatten(noise((2, 2)), Image.new("L", (2, 2), 0), background).getpixel((1, 1)) == expected


def test_what_is_no_colour_is_a_user_error_not_a_bad_picture(tmp_path):
    hidden("RGBA", (1, 2, 3)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match="no-colour") as caught:
        images.composite(tmp_path / "x.png", "no-colour")
    assert not isinstance(caught.value, images.ImageError)
    assert "data.background" in str(caught.value)


def test_dominant_is_the_most_common_visible_colour():
    image = Image.new("RGB", (700, 20), (0, 0, 255))  # hidden, and most of it
    alpha = Image.new("L", image.size, 0)
    image.paste((200, 40, 40), (0, 0, 200, 20))
    image.paste((208, 44, 38), (0, 0, 30, 20))
    image.paste((10, 200, 10), (200, 0, 300, 20))
    alpha.paste(255, (0, 0, 300, 20))
    red, green, blue = pixels.dominant(image, alpha)
    assert 199 <= red <= 209 and 38 <= green <= 45 and 37 <= blue <= 41
    assert pixels.dominant(image, Image.new("L", image.size, 0)) == (255, 255, 255)
    assert pixels.dominant(Image.new("RGB", (1, 1)), Image.new("L", (1, 1), 255)) == (0, 0, 0)
    assert pixels.dominant(Image.new("RGB", (5000, 1), (1, 2, 3)), Image.new("L", (5000, 1), 255)) == (1, 2, 3)


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (160, 320)])
def test_checker_has_two_greys_in_squares(size):
    board = np.asarray(pixels.flatten(Image.new("RGB", size), Image.new("L", size, 0), "checker"))
    assert set(np.unique(board)) <= {204, 255}
    if size == (160, 320):
        assert (board[:10, :10] == 255).all() and (board[:10, 10:20] == 204).all() and (board[10:20, :10] == 204).all()


# --- colour profiles


def expected_srgb(colours: list[tuple[int, int, int]], primaries, gamma: float) -> np.ndarray:
    """The textbook way from a matrix profile to sRGB, both at D50."""
    srgb = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
    linear = (np.array(colours) / 255) ** gamma @ np.array(primaries) @ np.linalg.inv(srgb).T
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.webp"])
def test_a_wide_profile_becomes_srgb(tmp_path, name):
    colours = [(128, 128, 128), (200, 150, 100), (90, 160, 120), (255, 255, 255), (0, 0, 0), (120, 100, 180)]
    image = Image.new("RGB", (len(colours), 1))
    image.putdata(colours)
    image.save(tmp_path / name, icc_profile=icc.rgb(), **({"lossless": True} if name.endswith("webp") else {}))
    found = np.array(rows_of(images.composite(tmp_path / name, "white")), dtype=float)
    assert np.abs(found - expected_srgb(colours, icc.P3, 2.2)).max() <= 2
    assert np.abs(found - np.array(colours)).max() > 4  # it did change


def test_srgb_itself_leaves_every_pixel_alone(tmp_path):
    image = noise()
    image.save(tmp_path / "x.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert images.composite(tmp_path / "x.png", "white").tobytes() == image.tobytes()


def test_a_profile_under_transparency(tmp_path):
    image = Image.new("RGBA", (2, 1), (200, 150, 100, 255))
    image.putpixel((1, 0), (1, 2, 3, 0))
    image.save(tmp_path / "x.png", icc_profile=icc.rgb())
    found = np.array(rows_of(images.composite(tmp_path / "x.png", "#abcdef")), dtype=float)
    assert np.abs(found[0] - expected_srgb([(200, 150, 100)], icc.P3, 2.2)[0]).max() <= 2
    assert found[1].tolist() == [0xAB, 0xCD, 0xEF]  # the background is sRGB already


def test_grey_profiles(tmp_path):
    Image.new("L", (1, 1), 64).save(tmp_path / "x.png", icc_profile=icc.grey(1.0))
    expected = 255 * (1.055 * (64 / 255) ** (1 / 2.4) - 0.055)
    assert abs(rows_of(images.composite(tmp_path / "x.png", "white"))[0][0] - expected) <= 2
    Image.new("L", (1, 1), 64).save(tmp_path / "y.png", icc_profile=icc.rgb(gamma=1.0))  # grey pixels, RGB profile
    assert abs(rows_of(images.composite(tmp_path / "y.png", "white"))[0][0] - expected) <= 2
    sixteen = Image.fromarray(np.full((1, 1), 64 * 257, dtype=np.uint16))
    sixteen.save(tmp_path / "z.png", icc_profile=icc.grey(1.0))
    assert abs(rows_of(images.composite(tmp_path / "z.png", "white"))[0][0] - expected) <= 2


@pytest.mark.parametrize("name", ["x.tif", "x.jpg"])
def test_cmyk_with_and_without_profile(tmp_path, name):
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]
    image = Image.new("CMYK", (16 * len(inks), 16))
    for number, ink in enumerate(inks):
        image.paste(ink, (16 * number, 0, 16 * number + 16, 16))
    options = {"quality": 95} if name.endswith("jpg") else {}

    def middles(profile: bytes | None) -> np.ndarray:
        image.save(tmp_path / name, **options, **({"icc_profile": profile} if profile else {}))
        found = images.composite(tmp_path / name, "white")
        return np.array([found.getpixel((16 * number + 8, 8)) for number in range(len(inks))], dtype=int)

    plain = [(255, 255, 255), (0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0)]
    assert np.abs(middles(None) - plain).max() <= 4
    printed = middles(icc.cmyk(((55, -37, -50), (48, 74, -3), (89, -5, 93))))
    assert np.abs(printed[[0, 4]] - [(255, 255, 255), (0, 0, 0)]).max() <= 4
    # These inks in sRGB by the textbook's formulas (L*a*b* at D50): process cyan is no screen cyan.
    assert np.abs(printed[1:4] - [(0, 151, 218), (216, 12, 122), (247, 224, 0)]).max() <= 5


def test_lab_tiff(tmp_path):
    Image.new("LAB", (1, 1), (138, 128, 128)).save(tmp_path / "x.tif")
    red, green, blue = rows_of(images.composite(tmp_path / "x.tif", "white"))[0]
    assert red == green == blue and abs(red - 129) <= 2


@pytest.mark.parametrize("profile", [b"", b"no profile", icc.rgb()[:200], icc.rgb()[:128] + bytes(400), icc.grey(1.0)])
def test_damaged_and_foreign_profiles_are_as_good_as_none(profile):
    image = noise()
    assert pixels.to_srgb(image, profile).tobytes() == image.tobytes()
    buffer = io.BytesIO()
    image.convert("CMYK").save(buffer, "TIFF")
    assert pixels.to_srgb(image.convert("CMYK"), profile).tobytes() == image.tobytes()


def test_a_covered_rectangle_takes_the_colour_around_it():
    image = Image.new("RGB", (60, 40), (10, 200, 30))
    image.paste((0, 0, 255), (30, 0, 60, 40))
    image.paste((255, 0, 0), (5, 5, 15, 15))
    covered = pixels.cover(image, (5, 5, 10, 10), "edge")
    assert covered.getcolors() == [(1200, (10, 200, 30)), (1200, (0, 0, 255))] or covered.getcolors() == [
        (1200, (0, 0, 255)),
        (1200, (10, 200, 30)),
    ]
    assert image.getpixel((5, 5)) == (255, 0, 0), "the given picture stays"


@pytest.mark.parametrize(
    ("mode", "colour", "fill", "expected"),
    [
        ("L", 90, "edge", 90),
        ("L", 90, "#ff0000", 76),
        ("CMYK", (10, 20, 30, 40), "edge", (10, 20, 30, 40)),
        ("CMYK", (10, 20, 30, 40), "white", (0, 0, 0, 0)),
        ("LAB", (120, 10, 20), "edge", (120, 10, 20)),
        ("RGB", (1, 2, 3), "#0f0", (0, 255, 0)),
    ],
)
def test_covering_in_every_kind_of_colours(mode, colour, fill, expected):
    image = Image.new(mode, (40, 30), colour)
    image.paste(0 if mode == "L" else (0,) * len(colour), (10, 10, 20, 20))
    covered = pixels.cover(image, (10, 10, 10, 10), fill)
    assert (covered.mode, covered.getpixel((15, 15)), covered.getpixel((5, 5))) == (mode, expected, colour)


def test_covering_everything_is_white_and_the_edge_of_the_picture_is_no_obstacle():
    image = Image.new("RGB", (40, 30), (9, 9, 9))
    assert pixels.cover(image, (0, 0, 40, 30), "edge").getcolors() == [(1200, (255, 255, 255))]
    image.paste((255, 0, 0), (30, 20, 40, 30))
    assert pixels.cover(image, (30, 20, 10, 10), "edge").getcolors() == [(1200, (9, 9, 9))]


def test_covering_with_what_is_no_colour():
    with pytest.raises(UserError, match='"evil" is not a colour'):
        pixels.cover(Image.new("RGB", (40, 30)), (0, 0, 5, 5), "evil")

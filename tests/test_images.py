"""Picture files: headers, rotation, what is wrong with bad ones, and scaling to a bucket."""

import io
import os
import random
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageOps

import png
from lorabake import buckets, damage, images, paths, webp

# Pillow's warnings are silenced in images.py; pytest turns them on again
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("UserWarning", "PIL.Image.DecompressionBombWarning")]
FORMATS = [
    ("x.png", {}),
    ("x.jpg", {"quality": 95, "subsampling": 0}),
    ("x.jpeg", {"quality": 95, "subsampling": 0, "progressive": True}),
    ("x.webp", {"quality": 95}),
    ("x.bmp", {}),
    ("x.gif", {}),
    ("x.tif", {}),
    ("x.tiff", {"compression": "tiff_lzw"}),
    *([("x.avif", {"quality": 95, "speed": 10})] if images.HAS_AVIF else []),
]
NAMES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
}


def corners(size=(48, 32)) -> Image.Image:
    """Four colours in four corners, so that every turn is another picture."""
    image = Image.new("RGB", size, (255, 0, 0))
    width, height = size[0] // 2, size[1] // 2
    image.paste((0, 160, 0), (width, 0, *size))
    image.paste((0, 0, 255), (0, height, width, size[1]))
    image.paste((255, 255, 0), (width, height, *size))
    return image


def encoded(name: str, image: Image.Image | None = None, **options) -> bytes:
    buffer = io.BytesIO()
    (image or corners()).save(buffer, Image.registered_extensions()["." + name.rpartition(".")[2]], **options)
    return buffer.getvalue()


def far(image: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(image, dtype=float) - np.asarray(other, dtype=float)).mean())


# --- formats


@pytest.mark.parametrize(("name", "options"), FORMATS)
def test_each_format(tmp_path, name, options):
    path = tmp_path / name
    path.write_bytes(encoded(name, **options))
    assert path.suffix in images.EXTENSIONS
    found = images.header(path)
    assert (found.width, found.height, found.format) == (48, 32, NAMES[path.suffix])
    assert (found.frames, found.has_alpha, found.note) == (1, False, "")
    image = images.composite(path, "white")
    assert image.mode == "RGB" and far(image, corners()) < 6


def test_a_fully_opaque_alpha_changes_nothing(tmp_path):
    corners().convert("RGBA").save(tmp_path / "x.png")
    assert images.header(tmp_path / "x.png").has_alpha
    assert images.composite(tmp_path / "x.png", "black").tobytes() == corners().tobytes()


@pytest.mark.parametrize(("name", "frames"), [("x.gif", 2), ("x.webp", 2), ("x.png", 3), ("x.tif", 3)])
def test_of_several_frames_the_first(tmp_path, name, frames):
    others = [Image.new("RGB", (48, 32), colour) for colour in ("black", "white")]
    corners().save(tmp_path / name, save_all=True, append_images=others, **({"loop": 0} if name != "x.tif" else {}))
    assert images.header(tmp_path / name).frames == frames
    assert far(images.composite(tmp_path / name, "white"), corners()) < 6


def test_a_jpeg_with_a_second_picture_in_it_is_a_jpeg(tmp_path):
    corners().save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))], quality=95)
    found = images.header(tmp_path / "x.jpg")
    assert (found.format, found.frames, found.note) == ("JPEG", 1, "")
    assert images.composite(tmp_path / "x.jpg", "white").size == (48, 32)


def test_content_decides_not_the_name(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded("x.png"))
    found = images.header(path)
    assert found.format == "PNG" and found.note == "is a PNG picture in spite of its name"
    assert images.composite(path, "white").tobytes() == corners().tobytes()
    assert images.decode_all([path]) == []


def test_bmp_whose_alpha_is_all_zero_is_not_invisible(tmp_path):
    header = b"BM" + (54 + 84 + 16).to_bytes(4, "little") + bytes(4) + (14 + 124).to_bytes(4, "little")
    info = (124).to_bytes(4, "little") + (2).to_bytes(4, "little") * 2 + b"\1\0\x20\0" + (3).to_bytes(4, "little") + bytes(20)
    masks = b"\0\0\xff\0" + b"\0\xff\0\0" + b"\xff\0\0\0" + b"\0\0\0\xff"
    body = (header + info + masks).ljust(138, b"\0")
    path = tmp_path / "x.bmp"
    path.write_bytes(body + bytes((10, 20, 30, 0)) * 4)
    assert images.composite(path, "white").getpixel((0, 0)) == (30, 20, 10)
    path.write_bytes(body + bytes((10, 20, 30, 0)) * 2 + bytes((10, 20, 30, 255)) * 2)
    assert {images.composite(path, "white").getpixel((0, y)) for y in (0, 1)} == {(255, 255, 255), (30, 20, 10)}


# --- rotation


def exif(orientation: int) -> bytes:
    found = Image.Exif()
    found[0x0112] = orientation
    return found.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("name", "options"), [f for f in FORMATS if f[0] not in ("x.gif", "x.bmp")])
def test_exif_rotation(tmp_path, name, options, orientation):
    path = tmp_path / name
    path.write_bytes(encoded(name, exif=exif(orientation), **options))
    with Image.open(path) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    found = images.composite(path, "white")
    assert far(found, expected) < 1
    assert expected.size == ((48, 32) if orientation < 5 else (32, 48))
    header = images.header(path)
    assert (header.width, header.height) == found.size == expected.size
    turned = corners() if orientation == 1 else corners().transpose(images.TURNS[orientation])
    assert far(found, turned) < 6


def test_exif_behind_the_pixels_of_a_png(tmp_path):
    path = tmp_path / "x.png"
    rows = [[0, 50, 100, 255], [10, 60, 110, 200]]
    data = exif(6)[6:]  # the chunk holds no "Exif" in front
    path.write_bytes(png.write(rows, 8, behind=png.chunk(b"eXIf", data)))
    header, image = images.header(path), images.composite(path, "white")
    assert (header.width, header.height) == image.size == (2, 4)
    broken = png.chunk(b"eXIf", data)[:-1] + b"\0"
    assert images._late_exif(io.BytesIO(png.write(rows, 8, behind=broken))) is None


@pytest.mark.parametrize("data", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", exif(6)[:12], exif(99)])
def test_damaged_exif_turns_nothing(tmp_path, data):
    path = tmp_path / "x.jpg"
    corners().save(path, exif=data)
    header = images.header(path)
    assert (header.width, header.height) == images.composite(path, "white").size == (48, 32)


# --- WebP headers, read here


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize(
    "extra", [{}, {"exif": exif(6)}, {"xmp": b'<x tiff:Orientation="8"/>'}, {"icc_profile": b"x" * 301, "exif": exif(3)}]
)
def test_webp_headers_agree_with_pillow(tmp_path, lossless, mode, extra):
    image = corners((301, 97)).convert(mode)
    if mode == "RGBA":
        image.putpixel((0, 0), (1, 2, 3, 40))
    path = tmp_path / "x.webp"
    image.save(path, lossless=lossless, **extra)
    with path.open("rb") as file:
        ours = webp.read(file)
        assert file.tell() == 0
    assert ours is not None
    with Image.open(path) as theirs:
        assert (ours.width, ours.height, ours.has_alpha) == (*theirs.size, theirs.mode == "RGBA")
        for name in ours.info:
            assert ours.info[name] == theirs.info[name]
    header = images.header(path)
    assert (header.width, header.height) == images.composite(path, "white").size
    assert header == images._any_header(path.open("rb"))


def test_webp_that_is_cut_off_is_left_to_pillow(tmp_path):
    data = encoded("x.webp")
    for size in range(0, len(data), 7):
        assert webp.read(io.BytesIO(data[:size])) is None
    assert webp.read(io.BytesIO(encoded("x.png"))) is None


# --- bad files


def problem(path) -> str:
    with pytest.raises(images.ImageError) as caught:
        images.composite(path, "white")
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    assert [str(error) for error in images.decode_all([path])] == [text]
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (bytes(5000), "only zeros"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"<svg xmlns='x'>", "SVG"),
        (b"8BPS\0\1", "a Photoshop file: save it as PNG or JPEG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
        (b"\0\0\0\x20ftypisom", "a video"),
        (b"\xff\x0a\1\2", "JPEG XL"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PK\3\4xxx", "zip"),
        (b"just some words", "no picture of a format that is read here"),
        (b"\x89PNG\r\n\x1a\n", "is damaged, its header cannot be read"),
    ],
)
def test_files_that_are_no_pictures(tmp_path, content, words):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    assert words in problem(path)
    with pytest.raises(images.ImageError):
        images.header(path)


@pytest.mark.parametrize(("name", "options"), FORMATS)
def test_half_a_file_is_refused(tmp_path, name, options):
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(name, image, **options)
    path = tmp_path / name
    for share in (0.3, 0.5, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        assert any(word in problem(path) for word in ("cut off", "damaged"))


def test_a_png_with_one_wrong_bit_is_refused(tmp_path):
    data = bytearray(encoded("x.png", Image.effect_noise((64, 64), 50), compress_level=0))
    data[-300] ^= 1  # an uncompressed pixel: it would decode to a slightly wrong picture
    (tmp_path / "x.png").write_bytes(data)
    assert "damaged" in problem(tmp_path / "x.png")


def test_paths_that_cannot_be_opened(tmp_path):
    assert "cannot be opened: No such file" in problem(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    assert "cannot be opened" in problem(tmp_path / "folder.png")


@pytest.mark.skipif(sys.platform == "win32" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_file_without_permission(tmp_path):
    corners().save(tmp_path / "x.png")
    (tmp_path / "x.png").chmod(0)
    assert "Permission denied" in problem(tmp_path / "x.png")


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tif", "x.webp"])
def test_a_decompression_bomb_is_a_sentence_and_takes_no_memory(tmp_path, name):
    if name == "x.png":
        row = png.write([[0]], 8)
        data = row[:8] + png.chunk(b"IHDR", (30000).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0") + row[8 + 25 :]
    elif name == "x.bmp":
        small = bytearray(encoded(name))
        small[18:26] = (30000).to_bytes(4, "little") * 2
        data = bytes(small)
    elif name == "x.tif":
        small = bytearray(encoded(name, Image.new("L", (4, 4))))
        for tag in (256, 257):
            at = small.index(tag.to_bytes(2, "little") + b"\4\0\1\0\0\0")
            small[at + 8 : at + 12] = (30000).to_bytes(4, "little")
        data = bytes(small)
    else:
        small = bytearray(encoded(name, exif=exif(1)))
        at = small.index(b"VP8X") + 12
        small[at : at + 6] = (16000).to_bytes(3, "little") * 2
        data = bytes(small)
    path = tmp_path / name
    path.write_bytes(data)
    tracemalloc.start()
    text = problem(path)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "over 178 million pixels, too large: shrink it" in text
    assert peak < 20e6
    with pytest.raises(images.ImageError, match="178 million"):
        images.header(path)


def test_no_memory_is_a_sentence_too():
    with pytest.raises(images.ImageError, match="too large for this computer's memory"), damage.reading(images.Path("x.png")):
        raise MemoryError


def test_decode_all_lists_every_bad_file_in_order(tmp_path):
    files = []
    for number in range(60):
        path = tmp_path / f"{number:02}.png"
        path.write_bytes(b"" if number % 7 == 3 else encoded("x.png")[: 90 if number % 11 == 5 else None])
        files.append(path)
    bad = [path for number, path in enumerate(files) if number % 7 == 3 or number % 11 == 5]
    told = []
    found = images.decode_all(files, told.append)
    assert [str(error).split(": ")[0] for error in found] == [str(path) for path in bad]
    assert told == list(range(1, 61))
    assert images.decode_all([]) == []


def test_names_with_spaces_and_other_letters(tmp_path):
    path = tmp_path / "\u732b und B\u00fccher 1.png"
    corners().save(path)
    assert images.header(path).width == 48
    path.write_bytes(b"")
    assert "the file is empty" in problem(path)


FUZZED = [(*kind, mode) for kind in FORMATS for mode in ("RGB", "RGBA") if mode == "RGB" or kind[0] in ("x.png", "x.webp", "x.gif")]


@pytest.mark.parametrize(("name", "options", "mode"), FUZZED)
def test_damaged_files_give_a_picture_or_an_image_error_and_nothing_else(tmp_path, name, options, mode):
    """Random cuts and flips, the same ones each time. Neither another exception, nor a header that differs from the picture."""
    rng = random.Random(f"{name} {mode}")
    image = Image.effect_noise((24, 18), 60).convert(mode)
    extra = {} if name in ("x.bmp", "x.gif") else {"exif": exif(6)}
    whole = encoded(name, image, **options, **extra)
    path = tmp_path / name
    num_refused = 0
    for _ in range(50):
        data = bytearray(whole)
        if rng.random() < 0.4:
            del data[rng.randrange(len(data)) :]
        for _flip in range(rng.choice((0, 1, 1, 2, 8))):
            if data:
                at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), 120))
                data[at] = rng.randrange(256)
        path.write_bytes(data)
        try:
            header = images.header(path)
            found = images.composite(path, "dominant")
            assert found.mode == "RGB" and found.size == (header.width, header.height)
        except images.ImageError as error:
            num_refused += 1
            assert str(error).startswith(f"{path}: ") and str(error).isascii()
    assert num_refused > 5


# --- speed


def test_no_heavy_imports():
    """A plan reads headers and captions; torch and numpy would cost it seconds on a cold disk."""
    code = (
        "import sys; from lorabake import images, captions, buckets, schedule; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(paths.ROOT / "py")}, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(("name", "options"), [f for f in FORMATS if f[0] not in ("x.tiff", "x.jpeg")])
def test_200_headers_are_read_in_well_under_half_a_second(tmp_path, name, options):
    """Counted as CPU time, which a busy machine does not change; pixels are not decoded, so a large picture costs what a small one does."""
    path = tmp_path / name
    path.write_bytes(encoded(name, Image.effect_noise((900, 600), 40).convert("RGB"), **options))
    images.header(path)
    began = time.process_time()
    for _ in range(200):
        images.header(path)
    assert time.process_time() - began < 0.25


# --- scaling


def area(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """The true area average: each new pixel is the mean of what it covers, parts of pixels by their share."""
    values = np.asarray(image, dtype=np.float64)
    for axis, count in ((0, size[1]), (1, size[0])):
        values = np.moveaxis(values, axis, 0)
        sums = np.concatenate([np.zeros_like(values[:1]), values.cumsum(0)])
        edges = np.linspace(0, len(values), count + 1)
        whole = np.minimum(edges.astype(int), len(values) - 1)
        part = (edges - whole).reshape(-1, *[1] * (values.ndim - 1))
        at = sums[whole] * (1 - part) + sums[whole + 1] * part
        values = np.moveaxis((at[1:] - at[:-1]) * count / len(values), 0, axis)
    return values


def zone_plate(side_px: int) -> Image.Image:
    y, x = np.mgrid[:side_px, :side_px] - side_px / 2
    return Image.fromarray((127.5 + 127.5 * np.cos(np.pi * (x**2 + y**2) / side_px)).astype(np.uint8)).convert("RGB")


@pytest.mark.parametrize("side_px", [384, 320, 256, 150])
def test_shrinking_is_as_good_as_the_area_average(side_px):
    """Of what is too fine for the new size no more may come through than the area average lets; of the rest at least as much is kept."""
    source = zone_plate(512)
    found = np.asarray(images.fit(source, (side_px, side_px)), dtype=float)[..., 0]
    average = area(source, (side_px, side_px))[..., 0]
    y, x = np.mgrid[:side_px, :side_px] - side_px / 2
    cycles = np.hypot(x, y) / side_px  # per old pixel: half of side/512 is the finest that the new size can show
    limit = 0.5 * side_px / 512
    fine, kept = (cycles > 1.1 * limit) & (cycles < 0.49), cycles < 0.8 * limit
    if fine.any():
        assert found[fine].std() <= 1.3 * average[fine].std()
    assert found[kept].std() >= 0.93 * average[kept].std()


@pytest.mark.parametrize("side_px", [384, 320, 300, 150])
def test_the_filter_is_nearer_to_the_area_average_than_pillows_others(side_px):
    source = Image.effect_noise((512, 512), 60).convert("RGB")
    average = area(source, (side_px, side_px))
    distance = {f: np.abs(np.asarray(source.resize((side_px, side_px), f), dtype=float) - average).mean() for f in Image.Resampling}
    ours = np.abs(np.asarray(images.fit(source, (side_px, side_px)), dtype=float) - average).mean()
    assert all(ours <= other * 1.12 for f, other in distance.items())
    assert ours < 0.9 * distance[Image.Resampling.BOX] and ours < 0.75 * distance[Image.Resampling.LANCZOS]


def test_edges_get_no_rims_when_shrinking():
    source = Image.new("RGB", (1000, 400), (60, 60, 60))
    source.paste((180, 180, 180), (333, 0, 1000, 400))
    for width in (500, 416, 250):
        assert np.asarray(images.fit(source, (width, width * 2 // 5))).min() >= 60
        assert np.asarray(images.fit(source, (width, width * 2 // 5))).max() <= 180


@pytest.mark.parametrize("size", [(1000, 700), (512, 512), (300, 200), (64, 1000), (1000, 64), (1, 1), (513, 512), (640, 448)])
@pytest.mark.parametrize("bucket", [(512, 512), (320, 768), (640, 448)])
def test_fit_gives_exactly_the_bucket_from_the_middle(size, bucket):
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    found = images.fit(image, bucket)
    assert found.size == bucket
    if size == bucket:
        assert found.tobytes() == image.tobytes()


@pytest.mark.parametrize("size", [(700, 500), (333, 517), (150, 120), (100, 333)])
def test_fit_is_scaling_then_cropping(size):
    """The reference makes the whole scaled picture first; here only the part that is kept is computed."""
    image = Image.effect_noise(size, 20).convert("RGB")  # no black or white: what is clipped between two passes depends on their order
    for bucket in ((128, 128), (192, 320)):
        placed = buckets.placement(size, bucket)
        grows = placed.resized[0] > size[0]
        whole = image.resize(placed.resized, Image.Resampling.LANCZOS if grows else Image.Resampling.HAMMING)
        box = (placed.left, placed.top, placed.left + bucket[0], placed.top + bucket[1])
        found = np.asarray(images.fit(image, bucket), dtype=int)
        assert np.abs(found - np.asarray(whole.crop(box), dtype=int)).max() <= 3


def test_fit_cuts_the_same_from_both_sides():
    image = Image.new("RGB", (300, 100), "white")
    image.paste("red", (100, 0, 200, 100))
    found = np.asarray(images.fit(image, (64, 64)))
    assert (found[:, :, 0] == 255).all() and (found[:, 2:-2, 1] == 0).all()


def test_fit_without_enlarging_only_crops():
    image = Image.effect_noise((300, 500), 50).convert("RGB")
    placed = buckets.placement_no_upscale(image.size, 512, 64)
    bucket = buckets.assign_no_upscale(image.size, 512, 64)
    assert images.fit(image, bucket, placed=placed).tobytes() == image.crop((22, 26, 278, 474)).tobytes()

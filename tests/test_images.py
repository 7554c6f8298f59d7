"""Picture files: formats, headers, rotation, speed, and scaling to a bucket. What is wrong with bad files: test_damage.py."""

import io
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image, ImageOps

import png
from lorabake import buckets, images, paths
from picture_files import FORMATS, corners, encoded, exif

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
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_turns_nothing(tmp_path, data):
    path = tmp_path / "x.jpg"
    corners().save(path, exif=data)
    header = images.header(path)
    assert (header.width, header.height) == images.composite(path, "white").size == (48, 32)


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
    square = images.fit(image, (512, 512), placed=placed)  # a placement for another bucket is not followed into a black rim
    assert square.tobytes() == images.fit(image, (512, 512)).tobytes()

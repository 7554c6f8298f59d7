"""py/flatten.py against ImageMagick's own `mogrify -background X -flatten`: every kind of transparent file, every kind of alpha.

One folder is flattened by us, its copy by the program that people use by hand, and the decoded pixels are compared. Without ImageMagick
ours is compared with composite (images.py), which is what the trainer sees. Single pictures and their metadata: test_repaint.py.
"""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

import png
from lorabake import flattener, images, repaint
from lorabake.repaint import Wish

MAGICK = [shutil.which("magick"), "mogrify"] if shutil.which("magick") else [shutil.which("mogrify")]
needs_magick = pytest.mark.skipif(not MAGICK[0] or not repaint.imagemagick(), reason="ImageMagick is not installed")
BACKGROUNDS = ["white", "black", "#804020", "#0102fe"]
MORE = [pytest.param(seed, BACKGROUNDS[seed % 4], marks=pytest.mark.slow) for seed in range(4, 24)]
ALPHAS = ("opaque", "binary", "soft", "clear")


def alpha_of(kind, shape, chance):
    levels = {"opaque": [255], "binary": [0, 255], "soft": range(256), "clear": [0]}[kind]
    return chance.choice(np.array(levels), shape).astype(np.uint8)


def rgba(kind, chance):
    shape = tuple(chance.integers(1, 24, 2))
    return np.dstack([chance.integers(0, 256, (*shape, 3)).astype(np.uint8), alpha_of(kind, shape, chance)])


def save_rgba(path, kind, chance):
    options = {".webp": {"lossless": True, "exact": True}, ".tif": {"compression": str(chance.choice(["raw", "tiff_lzw"]))}}
    Image.fromarray(rgba(kind, chance)).save(path, **options.get(path.suffix, {}))


def save_grey_alpha(path, kind, chance):
    Image.fromarray(rgba(kind, chance)[..., [0, 3]]).save(path)


def save_palette(path, kind, chance, bits=8):
    """Colours with an alpha each (tRNS); some behind the end of the list, which are opaque."""
    count = int(chance.integers(2, 2**bits + 1))
    shape = tuple(chance.integers(1, 24, 2))
    image = Image.fromarray(chance.integers(0, count, shape).astype(np.uint8), "P")
    image.putpalette(chance.integers(0, 256, (count, 3)).astype(np.uint8).tobytes())
    num_alphas = count if kind == "clear" else int(chance.integers(1, count + 1))
    image.save(path, bits=bits, transparency=alpha_of(kind, num_alphas, chance).tobytes())


def save_gif(path, kind, chance):
    """GIF knows clear and opaque: one colour of the palette is clear."""
    count = int(chance.integers(2, 257))
    shape = tuple(chance.integers(1, 24, 2))
    index = np.zeros(shape, np.uint8) if kind == "clear" else chance.integers(0, count, shape).astype(np.uint8)
    image = Image.fromarray(index, "P")
    image.putpalette(chance.integers(0, 256, (count, 3)).astype(np.uint8).tobytes())
    image.save(path, **({} if kind == "opaque" else {"transparency": 0}))


def save_grey_level(path, kind, chance, bits=8):
    """One grey level is clear (tRNS)."""
    top = 2**bits - 1
    shape = tuple(chance.integers(1, 24, 2))
    rows = np.full(shape, top) if kind == "clear" else chance.integers(0, top + 1, shape)
    if kind == "opaque":
        rows = np.minimum(rows, top - 1)
    path.write_bytes(png.write(rows.tolist(), bits, png.GREY, before=png.chunk(b"tRNS", top.to_bytes(2, "big"))))


def save_one_colour(path, kind, chance, bits=8):
    """One colour is clear (tRNS)."""
    clear = chance.integers(0, 2**bits, 3)
    shape = tuple(chance.integers(1, 24, 2))
    rows = chance.integers(0, 2**bits, (*shape, 3))
    if kind != "opaque":
        rows[alpha_of("binary" if kind == "soft" else kind, shape, chance) == 0] = clear
    before = png.chunk(b"tRNS", b"".join(int(level).to_bytes(2, "big") for level in clear))
    path.write_bytes(png.write(rows.reshape(shape[0], -1).tolist(), bits, png.RGB, before=before))


def save_sixteen(path, kind, chance):
    shape = tuple(chance.integers(1, 12, 2))
    rows = chance.integers(0, 65536, (*shape, 4))
    if kind != "soft":
        rows[..., 3] = alpha_of(kind, shape, chance).astype(int) * 257
    path.write_bytes(png.write(rows.reshape(shape[0], -1).tolist(), 16, png.RGBA))


WRITERS = {
    "rgba.png": save_rgba,
    "rgba.webp": save_rgba,
    "rgba.tif": save_rgba,
    "grey.png": save_grey_alpha,
    "p1.png": lambda *words: save_palette(*words, bits=1),
    "p2.png": lambda *words: save_palette(*words, bits=2),
    "p4.png": lambda *words: save_palette(*words, bits=4),
    "p8.png": save_palette,
    "palette.gif": save_gif,
    "level1.png": lambda *words: save_grey_level(*words, bits=1),
    "level2.png": lambda *words: save_grey_level(*words, bits=2),
    "level4.png": lambda *words: save_grey_level(*words, bits=4),
    "level8.png": save_grey_level,
    "colour.png": save_one_colour,
    "sixteen.png": save_sixteen,
}


def fill(folder, seed):
    folder.mkdir()
    chance = np.random.default_rng(seed)
    for kind in ALPHAS:
        for name, write in WRITERS.items():
            write(folder / f"{kind}-{name}", kind, chance)
    return sorted(path.name for path in folder.iterdir())


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA")).astype(int)


def deep_pixels(path):
    """16 bits a channel, as ImageMagick reads them."""
    from wand.image import Image as Magick

    with Magick(filename=str(path)) as image:
        return np.array(image.export_pixels(channel_map="RGB", storage="short"))


def flattened(folder, background):
    tally = flattener.flatten(folder, Wish(background), {})
    assert not tally.problems, tally.problems
    return tally


@needs_magick
@pytest.mark.parametrize("engine", ["wand", "pillow"])
@pytest.mark.parametrize(("seed", "background"), [*enumerate(BACKGROUNDS), *MORE])
def test_a_folder_of_every_kind_as_mogrify_makes_it(tmp_path, monkeypatch, background, engine, seed):
    """Equal where wand does it, in 16 bits too. Pillow rounds where ImageMagick 6 cuts off: a level of 256 at soft edges."""
    names = fill(tmp_path / "ours", seed)
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
    files = [str(tmp_path / "theirs" / name) for name in names]
    lossless = ["-define", "webp:lossless=true"]
    subprocess.run([*MAGICK, "-background", background, *lossless, "-flatten", *files], check=True, capture_output=True)
    if engine == "pillow":
        monkeypatch.setattr(repaint, "imagemagick", lambda: None)
    flattened(tmp_path / "ours", background)
    wrong = {}
    for name in names:
        ours, theirs = pixels(tmp_path / "ours" / name), pixels(tmp_path / "theirs" / name)
        assert ours.shape == theirs.shape and (ours[..., 3] == 255).all(), name
        if distance := np.abs(ours - theirs)[..., :3].max():
            wrong[name] = int(distance)
        if engine == "wand" and not np.array_equal(deep_pixels(tmp_path / "ours" / name), deep_pixels(tmp_path / "theirs" / name)):
            wrong[f"{name} in 16 bits"] = 1
    assert not wrong if engine == "wand" else max(wrong.values(), default=0) <= 1, wrong


@pytest.mark.parametrize("background", ["#804020", "dominant", "checker"])
@pytest.mark.parametrize("engine", ["wand", "pillow"])
def test_a_folder_of_every_kind_as_the_trainer_sees_it(tmp_path, monkeypatch, background, engine):
    """So a set that is flattened first trains the same LoRA, but for one level of rounding."""
    if engine == "pillow":
        monkeypatch.setattr(repaint, "imagemagick", lambda: None)
    elif not repaint.imagemagick():
        pytest.skip("ImageMagick is not installed")
    names = fill(tmp_path / "set", 7)
    seen = {name: np.asarray(images.composite(tmp_path / "set" / name, background)).astype(int) for name in names}
    clear = [name for name in names if images.layers(tmp_path / "set" / name).alpha is not None]
    tally = flattened(tmp_path / "set", background)
    assert tally.done["flatten"] == len(clear) and sorted(path.name for path in (tmp_path / "set" / "_originals").iterdir()) == clear
    far = {name: int(np.abs(pixels(tmp_path / "set" / name)[..., :3] - seen[name]).max()) for name in names}
    assert max(far.values()) <= 1, {name: value for name, value in far.items() if value > 1}

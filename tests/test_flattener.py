"""py/flatten.py as people use it: what is touched and what is not, broken files, other jobs, changes meanwhile, and the way back."""

import os
import random
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import picture_files
from lorabake import flatten_words, flattener, images, journal, masks
from lorabake.errors import UsageError, UserError
from lorabake.repaint import Wish

SCRIPT = Path(__file__).parents[1] / "py" / "flatten.py"
CLEAR = {"clear.png", "clear.webp", "clear.gif", "clear.tif", "\u732b \u043a\u043e\u0442 \U0001f408.png"}
SOLID = {"solid.png", "plain.jpg", "plain.png"}


def run(*folders, **options):
    usual = vars(flatten_words.parse(None, [str(folder) for folder in folders]))
    return flattener.main(Namespace(**usual | options))


def bytes_and_times(folder):
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and journal.FOLDER not in path.parts
    }


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "5_sets of \u732b"
    place.mkdir()
    clear = Image.new("RGBA", (32, 24), (10, 200, 30, 255))
    clear.paste((255, 0, 0, 0), (0, 0, 8, 8))
    for name in CLEAR:
        clear.save(place / name)
    clear.convert("RGB").convert("RGBA").save(place / "solid.png")
    clear.convert("RGB").save(place / "plain.jpg")
    clear.convert("RGB").save(place / "plain.png")
    (place / "clear.txt").write_text("a caption", encoding="utf-8")
    (place / "_aside").mkdir()
    clear.save(place / "_aside" / "not looked at.png")
    for path in place.iterdir():
        os.utime(path, ns=(1_000_000_000, 2_000_000_000))
    return place


def test_only_real_transparency_is_touched_and_undo_is_exact(folder, capsys):
    before = bytes_and_times(folder)
    assert run(folder) == 0
    after = bytes_and_times(folder)
    assert {name for name in before if after[name] != before[name]} == CLEAR
    for name in CLEAR:
        with Image.open(folder / name) as image:
            assert image.convert("RGB").getpixel((3, 3)) == (255, 255, 255) and not image.has_transparency_data
        assert after[f"_originals/{name}"] == before[name], "the untouched original, with its time"
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["folder", "pictures", "flattened", "untouched", "failed"]
    assert table[1].split()[-4:] == ["8", "5", "3", "0"]
    assert run(folder) == 0 and bytes_and_times(folder) == after, "a second time there is nothing to do"
    assert run(folder, undo=True) == 0 and bytes_and_times(folder) == before
    assert "5 pictures as before" in capsys.readouterr().out


def test_a_dry_run_changes_nothing(folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert run(folder, dry_run=True) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert "to flatten" in capsys.readouterr().out


def test_folders_inside_need_recursive(folder, capsys):
    with pytest.raises(UserError, match="--recursive"):
        run(folder.parent)
    assert run(folder.parent, recursive=True) == 0
    assert (folder / "_originals").is_dir() and not (folder / "_aside" / "_originals").exists()
    assert run(folder.parent, recursive=True, undo=True) == 0
    assert "5 pictures" in capsys.readouterr().out


def test_broken_files_are_told_and_the_rest_is_done(folder, capsys):
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes((folder / "clear.png").read_bytes()[:60])
    assert run(folder) == 1
    told = capsys.readouterr().err
    assert "empty.png: the file is empty" in told and "cut.png" in told
    assert (folder / "cut.png").stat().st_size == 60 and (folder / "_originals" / "clear.png").exists()


def damaged(chance, wholes):
    """(name, bytes) of one file that something happened to."""
    name, data = chance.choice(list(wholes.items()))
    broken = bytearray(data)
    kind = chance.choice(("flipped", "flipped", "cut", "both", "swapped", "doubled", "huge"))
    if kind in ("flipped", "both"):
        for _ in range(chance.randint(1, 6)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
    if kind in ("cut", "both"):
        del broken[chance.randrange(len(broken)) :]
    if kind == "swapped":  # the header of one with the body of another
        other = chance.choice(list(wholes.values()))
        at = chance.randrange(8, 60)
        broken = broken[:at] + other[at:]
    if kind == "doubled":
        at = chance.randrange(len(broken))
        broken[at:at] = broken[: chance.randrange(len(broken))]
    if kind == "huge":  # a width or height in whatever way the format writes it: four bytes at a place of its header
        at = chance.randrange(4, min(60, len(broken) - 4))
        broken[at : at + 4] = chance.choice((b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\x00\x00\x40\x00", b"\x00\x40\x00\x00"))
    return name, bytes(broken)


@pytest.mark.parametrize("engine", ["wand", "pillow"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_files_of_every_format_never_crash_or_get_lost(tmp_path, monkeypatch, capsys, engine, seed):
    """Bytes flipped, cut, doubled, exchanged between formats, and sizes that no memory holds; whole ones among them are done."""
    if engine == "pillow":
        monkeypatch.setattr(flattener.repaint, "imagemagick", lambda: None)
    elif not flattener.repaint.imagemagick():
        pytest.skip("no ImageMagick")
    chance = random.Random(seed)
    picture = Image.new("RGBA", (24, 16), (1, 2, 3, 255))
    picture.putpixel((2, 2), (0, 0, 0, 0))
    wholes = {}
    for name, options in picture_files.FORMATS:
        suits = name.rpartition(".")[2] in ("png", "webp", "gif", "tif", "tiff", "avif")
        wholes[name] = picture_files.encoded(name, picture if suits else None, **options)
        (tmp_path / f"whole {name}").write_bytes(wholes[name])
        (tmp_path / f"empty {name}").write_bytes(b"")
    for number in range(150):
        name, data = damaged(chance, wholes)
        (tmp_path / f"{number:03}-{name}").write_bytes(data)
    before = bytes_and_times(tmp_path)
    assert run(tmp_path) == 1
    seen = capsys.readouterr()
    after = bytes_and_times(tmp_path)
    kept = {name.removeprefix("_originals/"): value for name, value in after.items() if name.startswith("_originals/")}
    assert {name: kept.get(name, after.get(name)) for name in before} == before, "every original is there, untouched"
    lossy = (" is kept; ", flattener.repaint.DEPTH_LOST)  # told too, but done
    lines = [line for line in seen.err.splitlines() if line.startswith(str(tmp_path)) and not any(word in line for word in lossy)]
    failed = [name for name in before if any(line.startswith(f"{tmp_path / name}: ") for line in lines)]
    assert not set(failed) & set(kept) and len(failed) > 50
    assert len(lines) == len(failed) and seen.out.splitlines()[1].split()[-1] == str(len(failed)), "a line for each"
    assert {f"empty {name}" for name in wholes} <= set(failed)
    clear = {f"whole {name}" for name in wholes if name[2:] not in ("jpg", "jpeg", "bmp")}
    assert {name for name in kept if name.startswith("whole")} == clear
    for name in set(before) - set(failed):  # what is opaque by its header is not decoded, and stays as it is
        assert not images.header(tmp_path / name).has_alpha or images.layers(tmp_path / name).alpha is None, name
    assert not [name for name in after if "_tmp-" in name]
    assert run(tmp_path, undo=True) == 0
    assert bytes_and_times(tmp_path) == before


@pytest.mark.parametrize("length", [240, 251])
def test_the_longest_names(folder, capsys, length):
    """A temporary name has room even where the file's own fills the disk's 255 bytes; `name.2.png` has none, and is not needed."""
    path = folder / ("x" * (length - 4) + ".png")
    shutil.copy(folder / "clear.png", path)
    before = bytes_and_times(folder)
    assert run(folder) == 0 and bytes_and_times(folder)[path.name] != before[path.name]
    assert run(folder, undo=True) == 0 and bytes_and_times(folder) == before


def test_a_picture_changed_or_gone_meanwhile_is_left_alone(folder, monkeypatch):
    real = flattener.make

    def meddled(path, wish, *, dry_run):
        made = real(path, wish, dry_run=dry_run)
        if path.name == "clear.png":
            path.write_bytes(b"painted over")
        if path.name == "clear.webp":
            path.unlink()
        return made

    monkeypatch.setattr(flattener, "make", meddled)
    tally = flattener.flatten(folder, Wish(), {})
    assert len(tally.problems) == 2 and all("while the job ran" in problem for problem in tally.problems)
    assert (folder / "clear.png").read_bytes() == b"painted over" and not (folder / "clear.webp").exists()
    assert not list(folder.glob("_tmp-*"))


def test_a_second_job_in_the_folder_refuses(folder):
    code = (
        "import sys, json, os, time; open(sys.argv[1], 'w').write(json.dumps({'pid': os.getpid(), 'since': time.time()})); print(); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder / "_lock.json")], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(UserError, match="another job is at work"):
            run(folder)
        other.communicate(b"\n")
    assert run(folder) == 0


def test_what_a_killed_job_left_is_swept_and_a_living_one_s_is_not(folder):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (folder / f"_tmp-{dead.pid}-clear.png").write_bytes(b"half")
    (folder / f"_tmp-{os.getppid()}-clear.png").write_bytes(b"somebody's")
    assert run(folder) == 0
    assert [path.name for path in folder.glob("_tmp-*")] == [f"_tmp-{os.getppid()}-clear.png"]


def animation(path, count=12):
    """Frames of `count` colours with a clear corner."""
    frames = []
    for number in range(count):
        frame = Image.new("RGBA", (24, 16), (20 * number, 200 - 10 * number, 30, 255))
        frame.paste((0, 0, 0, 0), (0, 0, 6, 6))
        frames.append(frame)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50, loop=0)
    return path


@pytest.mark.parametrize("engine", ["wand", "pillow"])
@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif", *(["a.avif"] if images.HAS_AVIF else [])])
def test_the_frames_that_an_animation_loses_are_told_and_kept(tmp_path, monkeypatch, capsys, name, engine):
    if engine == "pillow":
        monkeypatch.setattr(flattener.repaint, "imagemagick", lambda: None)
    elif not flattener.repaint.imagemagick():
        pytest.skip("no ImageMagick")
    path = animation(tmp_path / name)
    before = bytes_and_times(tmp_path)
    said = "the first page of 12 is kept; the others are" if name == "a.tif" else "the first frame of 12 is kept; the animation is"
    for options in ({"dry_run": True}, {}):
        assert run(tmp_path, **options) == 0
        seen = capsys.readouterr()
        assert f"{path}: {said} in _originals" in seen.err and "install it" not in seen.err
    with Image.open(path) as image, Image.open(tmp_path / "_originals" / path.name) as kept:
        assert getattr(image, "n_frames", 1) == 1 and kept.n_frames == 12
        assert np.abs(np.asarray(image.convert("RGB"))[12, 20].astype(int) - (0, 200, 30)).max() < 6
    assert run(tmp_path, undo=True) == 0 and bytes_and_times(tmp_path) == before


def test_a_single_frame_loses_nothing(folder, capsys):
    run(folder)
    assert "is kept" not in capsys.readouterr().err


def test_cropping_one_picture(folder):
    assert run(folder, crop=["plain.jpg=8,8,16,8", "clear.png=0,0,16,16"]) == 0
    with Image.open(folder / "plain.jpg") as one, Image.open(folder / "clear.png") as two:
        assert one.size == (16, 8) and two.size == (16, 16)
        assert np.asarray(two.convert("RGB"))[0, 0].tolist() == [255, 255, 255]
    assert run(folder, undo=True) == 0
    with Image.open(folder / "plain.jpg") as one:
        assert one.size == (32, 24)


@pytest.mark.parametrize("words", ["plain.jpg", "plain.jpg=1,2,3", "plain.jpg=a,b,c,d", "=1,2,3,4"])
def test_a_crop_that_cannot_be_read(folder, words):
    with pytest.raises(UsageError, match="FILE=x,y,width,height"):
        run(folder, crop=[words])


@pytest.mark.parametrize(
    ("words", "says"), [("none.png=0,0,8,8", "no picture"), ("plain.jpg=30,0,8,8", "32x24 px"), ("plain.jpg=0,0,0,8", "32x24")]
)
def test_a_crop_of_what_is_not_there(folder, words, says):
    with pytest.raises(UserError, match=says):
        run(folder, crop=[words])


def test_shrinking_what_is_too_large(folder):
    assert run(folder, max_side=16) == 0
    sizes = set()
    for path in folder.glob("*.*"):
        if path.suffix in (".png", ".jpg", ".webp", ".tif", ".gif"):
            with Image.open(path) as image:
                sizes.add(image.size)
    assert sizes == {(16, 12)}


@pytest.mark.parametrize(
    ("folders", "options", "says"), [(["none"], {}, "no such folder"), (["."], {"background": "wite"}, "not a colour")]
)
def test_bad_words(folder, folders, options, says):
    with pytest.raises(UserError, match=says):
        run(*(folder / name for name in folders), **options)


def test_the_script_itself(folder):
    def start(*words):
        command = [sys.executable, str(SCRIPT), str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)

    done = start("--dry-run")
    assert done.returncode == 0 and "to flatten" in done.stdout, done.stderr
    assert start("--max-side", "0").returncode == 2


def test_the_mask_of_a_cropped_picture_is_cropped_with_it(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    mask = masks.without(None, (40, 30), (10, 5, 10, 10))
    masks.path_of(tmp_path / "a.png").parent.mkdir()
    masks.path_of(tmp_path / "a.png").write_bytes(masks.packed(mask))
    before = masks.path_of(tmp_path / "a.png").read_bytes()
    assert run(tmp_path, crop=["a.png=8,4,20,20"]) == 0
    found = masks.read(tmp_path / "a.png", (20, 20))
    assert Image.open(masks.path_of(tmp_path / "a.png")).size == (20, 20)
    assert [found.getpixel(place) for place in ((1, 1), (2, 1), (11, 10), (12, 11))] == [255, 0, 0, 255]
    assert run(tmp_path, undo=True) == 0
    assert masks.path_of(tmp_path / "a.png").read_bytes() == before and Image.open(tmp_path / "a.png").size == (40, 30)

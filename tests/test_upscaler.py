"""Pictures enlarged in tiles: without seams, to the size that was asked for, and in place with the original kept."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import upscale_files
from lorabake import flatten_words, flattener, journal, picture_facts, upscale_nets, upscaled, upscaler
from lorabake.errors import Stopped, UserError
from lorabake.upscale_layouts import Layout
from photos import scene

SCRIPT = Path(__file__).parents[1] / "py" / "flatten.py"


@pytest.fixture
def model(tmp_path):
    """Repeats each pixel: what comes out is known."""
    return upscale_files.write(tmp_path / "models" / "nearest 2x.pth", upscale_files.nearest(2), "params")


def opened(path, **options):
    return upscaler.opened(path, device="cpu", **options)


def run(*words):
    return flattener.main(flatten_words.parse(None, [str(word) for word in (*words, "--device", "cpu")]))


def test_pixels_come_out_as_the_network_draws_them(model):
    image = scene((70, 50))
    made = np.asarray(opened(model).enlarged(image))
    assert np.array_equal(made, np.asarray(image).repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(("layout", "exact"), [(Layout("compact", 2, 8, 3), True), (Layout("rrdb", 4, 8, 1, growth=4, num_ups=2), False)])
def test_tiles_leave_no_seams(tmp_path, layout, exact):
    made = opened(upscale_files.write(tmp_path / "x.pth", upscale_files.tensors(layout)))
    image = scene((150, 90))
    whole = np.asarray(made.enlarged(image)).astype(int)
    made.tile_px = 64
    tiled = np.asarray(made.enlarged(image)).astype(int)
    assert whole.shape == tiled.shape == (90 * layout.scale, 150 * layout.scale, 3)
    assert np.abs(whole - tiled).max() <= (1 if exact else 2)


def test_folded_inputs_of_any_size(tmp_path):
    made = opened(upscale_files.write(tmp_path / "x.pth", upscale_files.tensors(Layout("rrdb", 2, 8, 1, growth=4, unshuffle=2, num_ups=2))))
    assert made.enlarged(scene((33, 47))).size == (66, 94)


@pytest.mark.parametrize("wanted", [(200, 160), (375, 300), (150, 120)])
def test_the_size_is_what_was_asked_for(model, wanted):
    assert opened(model).to_size(scene((100, 80)), wanted).size == wanted


def test_a_network_that_draws_no_numbers_is_refused(tmp_path):
    state = {name: torch.full_like(tensor, 1e30) for name, tensor in upscale_files.tensors().items()}
    with pytest.raises(UserError, match="no numbers"):
        opened(upscale_files.write(tmp_path / "x.pth", state)).enlarged(scene((16, 16)))


def test_tiles_get_smaller_where_memory_is_short(model, monkeypatch):
    made = opened(model)
    network, sizes = made.network.forward, []

    def short(x_bchw):
        sizes.append(max(x_bchw.shape))
        if max(x_bchw.shape) > 120:
            raise torch.OutOfMemoryError("no room")
        return network(x_bchw)

    monkeypatch.setattr(made.network, "forward", short)
    image = scene((300, 200))
    assert np.array_equal(np.asarray(made.enlarged(image)), np.asarray(image).repeat(2, 0).repeat(2, 1)) and made.tile_px == 48
    monkeypatch.setattr(made.network, "forward", lambda x_bchw: (_ for _ in ()).throw(torch.OutOfMemoryError("none")))
    with pytest.raises(UserError, match="no room"):
        made.enlarged(image)


@pytest.mark.parametrize("message", ["[enforce fail] DefaultCPUAllocator: can't allocate memory", "CUDA out of memory. Tried to allocate"])
def test_any_shortage_of_memory_makes_tiles_smaller(model, monkeypatch, message):
    """The processor's has no class of its own."""
    made = opened(model)
    network = made.network.forward

    def short(x_bchw):
        if max(x_bchw.shape) > 120:
            raise RuntimeError(message)
        return network(x_bchw)

    monkeypatch.setattr(made.network, "forward", short)
    image = scene((300, 200))
    assert np.array_equal(np.asarray(made.enlarged(image)), np.asarray(image).repeat(2, 0).repeat(2, 1)) and made.tile_px == 48


def test_another_failure_of_the_model_is_told(folder, model, monkeypatch):
    before = everything(folder)

    def fails(self, x_bchw):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(upscale_nets.Compact, "forward", fails)
    with pytest.raises(UserError, match="this model fails: CUDA error"):
        run(folder, "--upscale", model, "--upscale-to", "80")
    assert everything(folder) == before


def test_it_says_where_it_is_and_stops_between_two_tiles(model, monkeypatch):
    made, notes = opened(model), []
    network = made.network.forward

    def noted(x_bchw):
        notes.append(made.note)
        if len(notes) == 3:
            made.stop()
        return network(x_bchw)

    monkeypatch.setattr(made.network, "forward", noted)
    with pytest.raises(Stopped):
        made.enlarged(scene((280, 180)))
    assert notes == ["tile 1 of 6", "tile 2 of 6", "tile 3 of 6"]


def test_a_poor_jpeg_is_not_packed_as_poorly_again(folder, model):
    scene((60, 40), 7).save(folder / "small.jpg", quality=10)
    run(folder, "--upscale", model, "--upscale-to", "80")
    assert picture_facts.look(folder / "small.jpg").quality >= 90


@pytest.mark.parametrize("name", ["gone.pth", "one.pth"])
def test_models_that_cannot_be_used(tmp_path, name):
    upscale_files.write(tmp_path / "one.pth", upscale_files.tensors(Layout("compact", 1, 8, 3)))
    with pytest.raises(UserError, match=r"no such model|does not enlarge"):
        opened(tmp_path / name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_a_card_that_is_not_there_is_told(model):
    with pytest.raises(UserError, match="no NVIDIA card"):
        upscaler.opened(model, device="cuda")
    assert upscaler.opened(model).device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")
def test_the_card_draws_the_same(tmp_path):
    path = upscale_files.write(tmp_path / "x.pth", upscale_files.tensors())
    image = scene((120, 80))
    on_card, on_cpu = (np.asarray(upscaler.opened(path, device=device).enlarged(image)).astype(int) for device in ("cuda", "cpu"))
    assert np.abs(on_card - on_cpu).mean() < 2


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "5_zu klein & 猫"
    place.mkdir()
    scene((60, 40), 1).save(place / "small.png")
    scene((60, 40), 2).save(place / "small.jpg", quality=90)
    clear = scene((50, 50), 3).convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 25, 25))
    clear.save(place / "clear 猫.webp", lossless=True)
    scene((200, 150), 4).save(place / "large.png")
    scene((40, 60), 5).convert("L").save(place / "grey.png")
    scene((40, 60), 5).convert("CMYK").save(place / "print.tif")
    return place


def everything(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def sizes(folder):
    return {path.name: Image.open(path).size for path in folder.iterdir() if path.is_file()}


def test_small_pictures_of_a_folder_are_enlarged_and_come_back(folder, model, capsys):
    before = everything(folder)
    assert run(folder, "--upscale", model, "--upscale-to", "80", "--dry-run") == 0 and everything(folder) == before
    assert "to upscale" in capsys.readouterr().out
    assert run(folder, "--upscale", model, "--upscale-to", "80") == 0
    seen = capsys.readouterr()
    assert "upscaled" in seen.out and "upscaling 2 times with nearest 2x.pth, on the CPU" in seen.err
    assert sizes(folder) == {
        "small.png": (120, 80),
        "small.jpg": (120, 80),
        "clear 猫.webp": (80, 80),
        "large.png": (200, 150),
        "grey.png": (80, 120),
        "print.tif": (80, 120),
    }
    assert everything(folder)["large.png"] == before["large.png"]
    assert set(upscaled.pictures([folder]).values()) == {"nearest 2x.pth"} and len(upscaled.pictures([folder])) == 5
    after = everything(folder)
    assert run(folder, "--upscale", model, "--upscale-to", "80") == 0 and everything(folder) == after
    assert run(folder, "--undo") == 0 and everything(folder) == before and upscaled.pictures([folder]) == {}


def test_a_dry_run_needs_no_torch_and_still_refuses_what_is_no_model(folder, model, tmp_path):
    upscale_files.write(tmp_path / "one.pth", upscale_files.tensors(Layout("compact", 1, 8, 3)))
    code = (
        "import sys; from lorabake import flatten_words, flattener\n"
        "print(flattener.main(flatten_words.parse(None, sys.argv[1:]))); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(folder), "--dry-run", "--upscale"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent)}
    done = subprocess.run([*command, str(model)], env=environment, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.stdout.splitlines()[-2:] == ["0", "False"] and "nearest 2x.pth enlarges 2 times" in done.stderr, done.stderr
    with pytest.raises(UserError, match="does not enlarge"):
        run(folder, "--dry-run", "--upscale", tmp_path / "one.pth")


# Each tile takes a while, on eight threads as a large processor has them; then flatten.py as it is.
SLOWLY = """
import os, sys, time
os.cpu_count = lambda: 8
from lorabake import errors, flatten_words, flattener, upscale_nets
real = upscale_nets.Compact.forward
def slow(self, x_bchw):
    print("tile", flush=True)
    time.sleep(0.4)
    return real(self, x_bchw)
upscale_nets.Compact.forward = slow
errors.run(lambda: flattener.main(flatten_words.parse(None, sys.argv[1:])))
"""


def started(folder, model):
    command = [sys.executable, "-c", SLOWLY, str(folder), "--upscale", str(model), "--upscale-to", "80", "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent)}
    job = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while not (folder / "_originals").is_dir():  # the first one has taken its place
        assert job.stdout.readline() == b"tile\n"
    return job


@pytest.mark.parametrize("how", [signal.SIGINT, getattr(signal, "SIGKILL", signal.SIGTERM)])
@pytest.mark.skipif(os.name == "nt", reason="another process cannot be sent Ctrl-C there")
def test_stopped_or_killed_there_are_originals_or_finished_pictures(folder, model, how):
    for number in range(12):
        scene((60, 40), 10 + number).save(folder / f"more {number:02}.png")
    before, job = everything(folder), started(folder, model)
    job.send_signal(how)
    tiles = job.communicate(timeout=60)[0].count(b"tile")
    assert job.returncode in (13, -signal.SIGKILL)
    assert tiles <= 1, "the pictures that waited for their turn are not done any more"
    now = {name: data for name, data in everything(folder).items() if not name.startswith("_")}
    assert now.keys() == before.keys()
    changed = [name for name in before if now[name] != before[name]]
    assert changed and all((folder / "_originals" / name).read_bytes() == before[name] for name in changed)
    for name in changed:
        with Image.open(folder / name) as image:
            image.load()
            assert min(image.size) == 80
    if how == signal.SIGINT:
        assert not list(folder.glob("_tmp-*"))
    assert run(folder, "--upscale", model, "--upscale-to", "80") == 0 and not list(folder.glob("_tmp-*"))
    assert run(folder, "--undo") == 0 and everything(folder) == before


def test_a_png_holds_the_very_pixels(folder, model):
    first = np.asarray(Image.open(folder / "small.png"))
    run(folder, "--upscale", model, "--upscale-to", "80")
    assert np.array_equal(np.asarray(Image.open(folder / "small.png")), first.repeat(2, 0).repeat(2, 1))
    assert "nearest 2x.pth to 80 px" in journal.jobs(folder)[-1].title


def test_a_model_that_is_none_changes_nothing(folder, tmp_path):
    before = everything(folder)
    (tmp_path / "x.pth").write_bytes(b"<html>")
    with pytest.raises(UserError, match="web page"):
        run(folder, "--upscale", tmp_path / "x.pth")
    assert everything(folder) == before

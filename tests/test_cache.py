"""Latents: made once, read again, rebuilt equal where a file is damaged, never taken for those of other pixels or another VAE."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import baking
import tiny
from lorabake import cache
from lorabake.dataset import epoch_batches
from lorabake.families import FAMILIES, identify, sd1


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    baking.profile_file(folder)
    baking.draw(folder / "set/1_blocks/clear.png", 9, mode="RGBA")
    return baking.make(folder)


@pytest.fixture(scope="module")
def encoder(made):
    models = sd1.load(made.base, dtype=torch.float32, device="cpu")
    family = importlib.import_module(FAMILIES["sd1"].module)
    return cache.Encoder(models, family, torch.device("cpu"), cache.vae_hash(models.vae))


def latents(made, encoder, folder, **data):
    plan = replace(made, data=made.data.model_copy(update=data))
    found = cache.Latents(plan, encoder, folder, baking.content_hashes(plan))
    found.prepare(lambda done, total: None)
    return found


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[item], two[item]) for item in one)


def test_made_once_then_read(made, encoder, tmp_path):
    first = latents(made, encoder, tmp_path)
    assert (first.num_made, first.num_read, first.num_damaged) == (5, 0, 0)
    assert [f.suffix for f in files(tmp_path)] == [".safetensors"] * 5
    second = latents(made, encoder, tmp_path)
    assert (second.num_made, second.num_read, second.num_damaged) == (0, 5, 0)
    assert same(first.held, second.held)


def test_shapes_are_those_of_the_buckets_and_batches_stack(made, encoder, tmp_path):
    found = latents(made, encoder, tmp_path)
    for batch in epoch_batches(made, 1):
        width, height = batch.bucket
        assert found.batch(batch).shape == (len(batch.looks), 4, height // 8, width // 8)
        assert found.batch(batch).dtype == torch.float32


def emptied(path):
    path.write_bytes(b"")


def torn(path):
    path.write_bytes(path.read_bytes()[:-20])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 64
    path.write_bytes(data)


def zeros(path):
    path.write_bytes(b"\0" * path.stat().st_size)


def swapped(path):
    other = next(p for p in files(path.parents[1]) if p != path and p.stat().st_size != path.stat().st_size)
    path.write_bytes(other.read_bytes())


def not_finite(path):
    from safetensors.torch import load_file, save_file

    bad = load_file(path)["latents"] * torch.nan
    save_file({"latents": bad}, path, metadata={"sha256": cache.digest_of(bad)})


def other_tensor(path):
    from safetensors.torch import save_file

    save_file({"other": torch.zeros(1)}, path)


@pytest.mark.parametrize("harm", [emptied, torn, flipped, zeros, swapped, not_finite, other_tensor])
def test_a_damaged_file_is_made_again_equal(made, encoder, tmp_path, harm):
    first = latents(made, encoder, tmp_path)
    path = files(tmp_path)[2]
    before = path.read_bytes()
    harm(path)
    second = latents(made, encoder, tmp_path)
    assert (second.num_made, second.num_read, second.num_damaged) == (1, 4, 1)
    assert same(first.held, second.held)
    assert path.read_bytes() == before


def test_what_a_kill_left_is_never_read(made, encoder, tmp_path):
    first = latents(made, encoder, tmp_path)
    path = files(tmp_path)[0]
    path.rename(path.with_name(f"_tmp-1-{path.name}"))
    second = latents(made, encoder, tmp_path)
    assert (second.num_made, second.num_damaged) == (1, 0)
    assert same(first.held, second.held)


def test_a_lost_cache_is_rebuilt_equal_and_without_one_it_is_the_same(made, encoder, tmp_path):
    first, second = latents(made, encoder, tmp_path / "a"), latents(made, encoder, tmp_path / "b")
    assert same(first.held, second.held)
    off = latents(made, encoder, tmp_path / "c", cache="off")
    assert not off.held and not (tmp_path / "c").exists()
    for item in first.items():
        assert torch.equal(off.of([item]), first.of([item]))


def test_in_memory_nothing_is_written(made, encoder, tmp_path):
    assert latents(made, encoder, tmp_path / "x", cache="memory").num_made == 5
    assert not (tmp_path / "x").exists()


def test_mirrored_ones_are_their_own(made, encoder, tmp_path):
    found = latents(made, encoder, tmp_path, flip=True)
    assert found.num_made == 10 and len(files(tmp_path)) == 10
    assert torch.equal(found.pixels((0, True)), found.pixels((0, False)).flip(-1))
    assert not torch.equal(found.held[0, True], found.held[0, False])


def test_the_key_says_what_the_latents_depend_on(made, encoder, tmp_path):
    def key(plan=made, encoder=encoder, hashes=None):
        return cache.Latents(plan, encoder, tmp_path, hashes or baking.content_hashes(plan)).key((0, False))

    first = made.pictures[0]
    keys = {
        key(),
        key(replace(made, data=made.data.model_copy(update={"background": "#ff0000"}))),
        key(replace(made, pictures=(replace(first, bucket=(72, 56)), *made.pictures[1:]))),
        key(encoder=replace(encoder, vae_hash="0" * 64)),
        key(hashes=["0" * 64] * len(made.pictures)),
        cache.Latents(made, encoder, tmp_path, baking.content_hashes(made)).key((0, True)),
    }
    assert len(keys) == 6
    assert key(replace(made, pictures=(replace(first, path="elsewhere.png", caption="x", repeats=9), *made.pictures[1:])),
               hashes=baking.content_hashes(made)) == key()  # fmt: skip


def test_the_background_under_transparency_changes_what_is_learned(made, encoder, tmp_path):
    [clear] = [i for i, p in enumerate(made.pictures) if Path(p.path).name == "clear.png"]
    white, red = (latents(made, encoder, tmp_path, background=colour) for colour in ("#ffffff", "#ff0000"))
    assert red.num_made == 5, "none was taken from the other background"
    assert not torch.equal(white.held[clear, False], red.held[clear, False])


def test_the_hash_of_a_vae_sees_weights_and_precision(encoder, tmp_path):
    other = sd1.load(identify(tiny.sd1_file(tmp_path, seed=1)), dtype=torch.float32, device="cpu").vae
    same_again = sd1.load(identify(tiny.sd1_file(tmp_path, name="b.safetensors")), dtype=torch.float32, device="cpu").vae
    assert cache.vae_hash(same_again) == encoder.vae_hash
    assert len({encoder.vae_hash, cache.vae_hash(other), cache.vae_hash(same_again.half())}) == 3


def test_an_overflow_is_made_again_in_float32(made, encoder, tmp_path):
    class Overflowing:
        calls = 0

        @classmethod
        def encode_image(cls, models, pixels, generators):
            cls.calls += 1
            result = encoder.family.encode_image(models, pixels, generators)
            return result * torch.inf if cls.calls == 1 else result

    found = latents(made, replace(encoder, family=Overflowing), tmp_path)
    assert Overflowing.calls > 2 or Overflowing.calls == 2
    assert same(found.held, latents(made, encoder, tmp_path / "b").held)


def test_copies_of_one_picture_share_a_file(encoder, tmp_path):
    baking.profile_file(tmp_path, count=0)
    for number in range(12):
        baking.draw(tmp_path / f"set/1_blocks/{number}.png", 1)
    found = latents(baking.make(tmp_path), encoder, tmp_path / "cache")
    assert len(files(tmp_path / "cache")) == 1
    assert len(found.held) == 12 and all(torch.equal(held, found.held[0, False]) for held in found.held.values())

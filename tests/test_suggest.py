"""Which saved file is suggested, by held-out losses, by counts, and how sure that is said to be."""

import random
from dataclasses import asdict

import pytest

from lorabake.suggest import suggest


def save(epoch: int, per_epoch: int = 100, path: str = "") -> dict:
    return {"kind": "save", "step": epoch * per_epoch, "epoch": epoch, "path": path or f"style-{epoch:06d}.safetensors"}


def held(epoch: int, loss: object, per_epoch: int = 100) -> dict:
    return {"kind": "heldout", "step": epoch * per_epoch, "epoch": epoch, "loss": loss}


def log(base: float | None, *losses: float) -> list[dict]:
    events = [] if base is None else [held(0, base)]
    for epoch, loss in enumerate(losses, 1):
        events += [held(epoch, loss), save(epoch)]
    return events


def trained(*means: float, per_epoch: int = 100, spread: float = 0.02) -> list[dict]:
    """Noisy training losses around one mean per epoch, each epoch saved."""
    rng = random.Random(1)
    events: list[dict] = []
    for epoch, mean in enumerate(means, 1):
        for step in range((epoch - 1) * per_epoch + 1, epoch * per_epoch + 1):
            events.append({"kind": "step", "step": step, "epoch": epoch, "loss": mean + rng.gauss(0, spread)})
        events.append(save(epoch, per_epoch))
    return events


def test_nothing_saved_nothing_suggested():
    assert suggest([]) is None
    assert suggest([held(0, 0.1), {"kind": "step", "step": 1, "loss": 0.2}, {}]) is None


def test_the_lowest_when_it_is_clear():
    found = suggest(log(0.120, 0.110, 0.100, 0.109))
    assert found and (found.file, found.epoch, found.step, found.held_out) == ("style-000002.safetensors", 2, 200, 0.1)
    assert found.sure == "clear"
    assert "17 % below" in found.reason and "lowest of all" in found.reason and "rises (0.1090 at epoch 3)" in found.reason
    assert "trust the sheet" in found.reason


def test_of_near_ones_the_later():
    found = suggest(log(0.120, 0.110, 0.1000, 0.1004, 0.1008, 0.110))
    assert found and found.epoch == 4 and found.sure == "close"
    assert "Epochs 2, 3 and 4 are too near" in found.reason


def test_near_is_measured_by_the_improvement():
    found = suggest(log(0.1010, 0.1000, 0.1003))  # the whole gain is 0.001: 0.0003 is a lot of it
    assert found and found.epoch == 1 and found.sure == "close"
    assert "which is little" in found.reason


def test_still_falling():
    found = suggest(log(0.120, 0.110, 0.100))
    assert found and found.epoch == 2 and "still falling at the last save" in found.reason


def test_nothing_learned():
    found = suggest(log(0.100, 0.101, 0.104))
    assert found and found.epoch == 1 and "learned nothing" in found.reason
    assert not found.reason.startswith("Its loss")


def test_without_the_loss_before_training():
    found = suggest(log(None, 0.110, 0.100, 0.1001))
    assert found and found.epoch == 3 and "without the LoRA" not in found.reason


def test_base_loss_may_stand_in_each_event():
    events = [{**held(1, 0.09), "base_loss": 0.1}, save(1)]
    found = suggest(events)
    assert found and "10 % below" in found.reason and "only saved file" in found.reason


def test_losses_that_are_not_numbers_are_left_out():
    found = suggest([held(0, 0.12), held(1, 0.1), save(1), held(2, "nan"), save(2)])
    assert found and found.epoch == 1


def test_saves_by_step_are_named_so():
    events = [held(0, 0.12), held(1, 0.1), save(1, path="s-step00000100.safetensors"), held(2, 0.1001), save(2, path="s.safetensors")]
    found = suggest(events)
    assert found and found.file == "s.safetensors" and "Step 100 and epoch 2 are too near" in found.reason


def test_without_held_out_pictures_the_last():
    found = suggest(trained(0.12, 0.11, 0.10), looks_per_step=10)
    assert found and found.epoch == 3 and found.sure == "a guess" and found.held_out is None
    assert "No pictures were held out" in found.reason and "hardly fallen" not in found.reason and "under-baked" not in found.reason


def test_counts_beyond_the_guides_range():
    found = suggest(trained(0.12, 0.11, 0.10, 0.09), looks_per_step=25)  # 2500, 5000, 7500, 10000
    assert found and found.epoch == 2 and "5000 pictures" in found.reason and "later files are beyond" in found.reason
    few = suggest(trained(0.12, 0.11), looks_per_step=2)
    assert few and few.epoch == 2 and "only 400 pictures" in few.reason
    far = suggest(trained(0.12, 0.11), looks_per_step=100)
    assert far and far.epoch == 1 and "no file is within it" in far.reason


def test_flat_training_loss_is_said():
    found = suggest(trained(0.14, 0.10, 0.10, 0.10))
    assert found and found.epoch == 4 and "hardly fallen since epoch 2" in found.reason


def test_a_training_loss_that_rises_again():
    found = suggest(trained(0.12, 0.10, 0.13, 0.15), looks_per_step=10)
    assert found and found.epoch == 2 and "rises again" in found.reason


def test_noise_is_no_rise():
    found = suggest(trained(0.12, 0.100, 0.101, 0.100))
    assert found and found.epoch == 4


def test_few_steps_between_saves_say_nothing():
    found = suggest(trained(0.12, 0.10, 0.20, per_epoch=4))
    assert found and found.epoch == 3


@pytest.mark.parametrize("events", [log(0.12, 0.1, 0.11), trained(0.12, 0.1), log(0.1, 0.2), log(None, 0.1)])
def test_reasons_are_sentences(events):
    found = suggest(events)
    assert found and found.reason.isascii() and found.reason.endswith(".") and "  " not in found.reason
    assert asdict(found)["sure"] in ("clear", "close", "a guess")

"""Steps are counted as the reference trainer counts them, and each curve is the one of diffusers' get_scheduler."""

import pytest
import torch
from diffusers.optimization import get_scheduler

from lorabake import schedule, settings


@pytest.mark.parametrize(
    ("looks", "batch_size", "expected"),
    [
        ([100], 5, 20),
        ([100], 6, 17),
        ([1, 1, 1], 5, 3),
        ([7, 5, 5], 5, 4),
        ([200, 13, 1], 1, 214),
        ([3], 8, 1),
        ([], 4, 0),
        ([10, 11], 5, 5),
    ],
)
def test_batches_never_mix_buckets_and_incomplete_ones_count(looks, batch_size, expected):
    assert schedule.batches_per_epoch(looks, batch_size) == expected


@pytest.mark.parametrize(
    ("batches", "accumulation", "processes", "expected"),
    [(20, 1, 1, 20), (20, 3, 1, 7), (21, 3, 1, 7), (20, 1, 2, 10), (21, 1, 2, 11), (21, 4, 2, 3), (1, 8, 4, 1)],
)
def test_steps_per_epoch(batches, accumulation, processes, expected):
    assert schedule.steps_per_epoch(batches, accumulation, processes) == expected


@pytest.mark.parametrize(("steps", "per_epoch", "expected"), [(100, 100, 1), (101, 100, 2), (1, 100, 1), (1600, 214, 8)])
def test_epochs_for_steps(steps, per_epoch, expected):
    assert schedule.epochs_for_steps(steps, per_epoch) == expected


@pytest.mark.parametrize(
    ("value", "total", "expected"),
    [
        (0, 1000, 0), (100, 1000, 100), (0.05, 1000, 50), (0.1, 999, 99), ("5%", 1000, 50), (" 2.5% ", 1000, 25), ("0%", 1000, 0),
        (1, 1000, 1), (1.0, 1000, 1), (0.999, 10, 9), ("50", 1000, 50), ("0.5", 1000, 500),
    ],
)  # fmt: skip
def test_warmup_steps(value, total, expected):
    assert schedule.warmup_steps(value, total) == expected


CASES = [
    (100, 0, 1, 1.0),
    (100, 10, 1, 1.0),
    (97, 13, 3, 2.0),
    (1600, 80, 4, 0.5),
    (10, 1, 7, 1.0),
    (5, 0, 2, 3.0),
    (20, 20, 1, 1.0),
    (1, 0, 1, 1.0),
]


@pytest.mark.parametrize("name", schedule.SCHEDULERS)
@pytest.mark.parametrize(("total", "warmup", "restarts", "power"), CASES)
def test_each_curve_is_the_one_of_diffusers(name, total, warmup, restarts, power):
    """A rate of 1 makes polynomial's fixed end rate of 1e-7 a share of 1e-7."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=total, num_cycles=restarts, power=power).lr_lambdas[
        0
    ]
    for step in range(total):
        ours = schedule.factor(name, step, total=total, warmup=warmup, restarts=restarts, power=power)
        assert ours == pytest.approx(theirs(step), abs=3e-7), step


@pytest.mark.parametrize("name", schedule.SCHEDULERS)
def test_the_factor_stays_between_0_and_1_even_behind_the_end(name):
    for step in range(0, 300, 7):
        assert 0.0 <= schedule.factor(name, step, total=200, warmup=20, restarts=3, power=1.5) <= 1.0


def test_restarts_go_back_to_the_full_rate():
    found = [schedule.factor("cosine_with_restarts", step, total=100, restarts=4) for step in range(100)]
    assert [step for step in range(100) if found[step] == pytest.approx(1.0)] == [0, 25, 50, 75]


def test_a_profile_may_say_each_of_them_and_no_other():
    assert set(schedule.SCHEDULERS) == set(settings.SCHEDULERS)


def test_a_name_that_is_none_is_refused():
    with pytest.raises(ValueError, match="rex is none of"):
        schedule.factor("rex", 1, total=10)

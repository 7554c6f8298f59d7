"""Order of looks: from seed and epoch alone, buckets kept apart, regularisation counts, captions and flips per look."""

from collections import Counter
from dataclasses import replace

import pytest

from lorabake import dataset
from lorabake.dataset import epoch_batches, looks_per_epoch
from picture_sets import make, picture


def planned(tmp_path, settings=None, *, train=(("2_a", 5),), reg=()):
    sizes = [(128, 128), (64, 200), (200, 90)]
    for name, count in train:
        for number in range(count):
            picture(tmp_path / f"set/{name}/{name}{number}.png", f"{name}, one, two, three, {number}", size=sizes[number % 3])
    for name, count in reg:
        for number in range(count):
            picture(tmp_path / f"reg/{name}/{name}{number}.png", f"{name} {number}", size=(128, 128))
    extra = {"data.regularization": str(tmp_path / "reg")} if reg else {}
    return make(tmp_path, tmp_path / "set", {"data.holdout": "0", "train.batch_size": "3", **extra, **(settings or {})})


def counted(plan, indices):
    return Counter(plan.pictures[index].path.replace("\\", "/").rpartition("/")[2] for index in indices)


def test_the_order_is_the_seeds_and_the_epochs(tmp_path):
    plan = planned(tmp_path, {"data.flip": "true", "data.shuffle": "true"}, train=(("3_a", 9),))
    assert epoch_batches(plan, 2) == epoch_batches(plan, 2)
    assert epoch_batches(plan, 1) != epoch_batches(plan, 2)
    other = replace(plan, train=plan.train.model_copy(update={"seed": plan.train.seed + 1}))
    assert epoch_batches(plan, 1) != epoch_batches(other, 1)


def test_an_epoch_needs_nothing_of_the_epochs_before(tmp_path):
    plan = planned(tmp_path)
    in_a_row = [epoch_batches(plan, epoch) for epoch in (1, 2, 3)]
    assert epoch_batches(plan, 3) == in_a_row[2]


def test_each_picture_as_often_as_it_repeats_in_batches_of_its_bucket(tmp_path):
    plan = planned(tmp_path, train=(("2_a", 5), ("3_b", 4)))
    batches = epoch_batches(plan, 1)
    seen = counted(plan, [look.picture for batch in batches for look in batch.looks])
    assert seen == {f"2_a{n}.png": 2 for n in range(5)} | {f"3_b{n}.png": 3 for n in range(4)}
    assert all(plan.pictures[look.picture].bucket == batch.bucket for batch in batches for look in batch.looks)
    assert len({batch.bucket for batch in batches}) > 1
    for bucket, group in Counter(batch.bucket for batch in batches).items():
        sizes = sorted(len(batch.looks) for batch in batches if batch.bucket == bucket)
        assert sizes[1:] == [3] * (group - 1), "only one batch of a bucket is smaller"


def test_held_out_pictures_are_never_looked_at(tmp_path):
    plan = planned(tmp_path, {"data.holdout": "3"}, train=(("2_a", 9),))
    held = {index for index, p in enumerate(plan.pictures) if p.holdout}
    assert len(held) == 3
    assert not held & {look.picture for epoch in (1, 2, 3) for batch in epoch_batches(plan, epoch) for look in batch.looks}


# lora-facts 3.2, by hand: T = 12 training looks.
@pytest.mark.parametrize(
    ("reg", "expected"),
    [
        ((("1_r", 3),), {"1_r0.png": 4, "1_r1.png": 4, "1_r2.png": 4}),  # 3 looks, then round and round
        ((("2_r", 5),), {"2_r0.png": 3, "2_r1.png": 3, "2_r2.png": 2, "2_r3.png": 2, "2_r4.png": 2}),
        ((("3_r", 6),), {f"3_r{n}.png": 3 for n in range(4)}),  # more than enough: the rest is not used
        ((("1_r", 20),), {f"1_r{n}.png": 1 for n in range(12)}),
        ((("2_p", 2), ("1_q", 4)), {"2_p0.png": 3, "2_p1.png": 3, "1_q0.png": 2, "1_q1.png": 2, "1_q2.png": 1, "1_q3.png": 1}),
    ],
)
def test_regularisation_pictures_fill_up_to_the_training_looks(tmp_path, reg, expected):
    plan = planned(tmp_path, train=(("2_a", 6),), reg=reg)
    looks = looks_per_epoch(plan)
    regular = [index for index in looks if plan.pictures[index].regularization]
    assert len(regular) == 12 == len(looks) - len(regular)
    found = counted(plan, regular)
    if len(reg) == 2:  # folders come in their natural order
        assert sum(found.values()) == 12 and set(found) == set(expected)
        assert max(found.values()) <= 3
    else:
        assert found == expected


def test_the_loss_of_regularisation_counts_as_asked(tmp_path):
    plan = planned(tmp_path, {"train.prior_loss_weight": "0.4"}, reg=(("1_r", 3),))
    for batch in epoch_batches(plan, 1):
        for look in batch.looks:
            assert look.weight == (0.4 if plan.pictures[look.picture].regularization else 1.0)


def test_captions_are_shuffled_per_look_behind_the_kept_tags(tmp_path):
    plan = planned(tmp_path, {"data.shuffle": "true", "data.keep_tokens": "1"}, train=(("9_a", 4),))
    captions = [look.caption for batch in epoch_batches(plan, 1) for look in batch.looks]
    assert all(caption.startswith("9_a, ") for caption in captions)
    assert len({tuple(sorted(caption.split(", "))) for caption in captions}) == 4
    assert len(set(captions)) > 8
    still = planned(tmp_path / "b", {"data.shuffle": "false"}, train=(("9_a", 4),))
    assert len({look.caption for batch in epoch_batches(still, 1) for look in batch.looks}) == 4


def test_flips_are_about_half_and_only_when_asked(tmp_path):
    plan = planned(tmp_path, {"data.flip": "true"}, train=(("50_a", 4),))
    flips = [look.flipped for batch in epoch_batches(plan, 1) for look in batch.looks]
    assert 60 < sum(flips) < 140 and len(flips) == 200
    plan = planned(tmp_path, {"data.flip": "false"}, train=(("50_a", 4),))
    assert not any(look.flipped for batch in epoch_batches(plan, 1) for look in batch.looks)


def test_steps_gather_batches_and_the_last_may_be_smaller(tmp_path):
    batches = epoch_batches(planned(tmp_path), 1)
    windows = dataset.windows_of(batches, 3)
    assert [batch for window in windows for batch in window] == batches
    assert all(len(window) == 3 for window in windows[:-1]) and 1 <= len(windows[-1]) <= 3

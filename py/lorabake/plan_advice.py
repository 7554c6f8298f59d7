"""What a plan tells beside its figures: the written guides' bands and advice, what was made of the pictures, settings without effect.

Each sentence about a figure out of its band ends in the line to type. Notes are facts, warnings are probably not what is wanted.
Not here: layout remarks (scan_layout.py), memory (plan_fit.py), the printed page (plan_text.py).
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from lorabake import plan_checked, release
from lorabake.console import duration, size
from lorabake.folder_names import repeats_of
from lorabake.plan_data import Picture, PlannedFolder, cropped, enlarged, training_looks
from lorabake.plan_types import Plan
from lorabake.profile import Loaded
from lorabake.scan import Scan
from lorabake.tag_query import plain, plain_tags
from lorabake.wording import counted, listed

# The guides' figures: steps counted at batch 1, pictures, ranks.
LEAST_STEPS, MOST_STEPS = 1500, 6000
FEW_PICTURES, GOOD_PICTURES, MANY_PICTURES = 10, 50, 200
MOST_RANK_OTHER_TYPES = 32
MOST_RATE_FACTOR = 16  # beyond it rates that grow with the batch usually diverge
MUCH_ENLARGED, MUCH_CROPPED = 2.0, 0.25
LONG_S = 12 * 3600


def advise(plan: Plan, found: Scan, loaded: Loaded) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(notes, warnings) about a plan that is complete but for them, after what the layout and the profile itself gave rise to."""
    warned = {key for key in loaded.typed if any(f"{key}: " in warning or f"{key} " in warning for warning in loaded.warnings)}
    typed = loaded.typed - warned
    warnings = [
        *loaded.warnings,
        *found.warnings,
        *_few(plan),
        *_band(plan),
        *_rates(plan),
        *_without_effect(plan, typed),
        *_pictures_badly_used(plan),
        *_costs(plan),
        *_stack(plan),
    ]
    notes = [*found.notes, *_many(plan), *_looks_of_pictures(plan, found), *_noise(plan), *_without_trigger(plan)]
    root = Path(loaded.profile.images)
    notes += plan_checked.told(plan, root)
    sentence, many = plan_checked.upscaled_share(plan, root)
    (warnings if many else notes).extend([sentence] if sentence else [])
    return tuple(notes), tuple(warnings)


def training_pictures(plan: Plan) -> list[Picture]:
    """Held-out ones included."""
    return [picture for picture in plan.pictures if not picture.regularization]


def _few(plan: Plan) -> Iterator[str]:
    count = len(training_pictures(plan))
    if count < FEW_PICTURES:
        yield (
            f"{counted(count, 'picture')}: very few, the LoRA will mostly repeat them; "
            f"{FEW_PICTURES} can work, {GOOD_PICTURES} and more learn a style"
        )


def _many(plan: Plan) -> Iterator[str]:
    count = len(training_pictures(plan))
    if FEW_PICTURES <= count < GOOD_PICTURES:
        repeats = "; with 30 or fewer the guides take 10 to 12 repeats" if count <= 30 else ""
        yield f"{count} pictures can do for one character or thing; for a style {GOOD_PICTURES} or more, varied, are better{repeats}"
    if count > MANY_PICTURES:
        yield f"{count} pictures: beyond {MANY_PICTURES} a LoRA gains little; the best {MANY_PICTURES} bake faster"


def _band(plan: Plan) -> Iterator[str]:
    steps = plan.steps_at_batch_1
    if LEAST_STEPS <= steps <= MOST_STEPS:
        return
    few = steps < LEAST_STEPS
    what = (
        f"{steps} steps counted at batch 1 are few: under {LEAST_STEPS} a LoRA is mostly under-baked"
        if few
        else f"{steps} steps counted at batch 1 are many: beyond {MOST_STEPS} a LoRA over-fits or gains nothing"
    )
    ways = [way for way in (_by_length(plan, few=few), _by_repeats(plan, few=few)) if way]
    yield f"{what}. To bring {'it' if steps == 1 else 'them'} in: {', or '.join(ways) or 'change epochs and repeats together'}"


def _rounded(exact: float, *, few: bool) -> int:
    """Up to reach the lower end, down to come under the upper one. The tiny shift keeps a whole number whole."""
    return math.ceil(exact - 1e-9) if few else math.floor(exact + 1e-9)


def _by_length(plan: Plan, *, few: bool) -> str | None:
    """The epochs, or steps where these were typed, that bring the count into the band."""
    goal = LEAST_STEPS if few else MOST_STEPS
    if plan.train.steps is not None:
        return f"train.steps: {max(1, _rounded(plan.total_steps * goal / plan.steps_at_batch_1, few=few))}"
    looks = training_looks(plan.pictures)
    epochs = _rounded(goal / looks, few=few)
    return f"train.epochs: {epochs}" if epochs >= 1 and LEAST_STEPS <= epochs * looks <= MOST_STEPS else None


def _by_repeats(plan: Plan, *, few: bool) -> str | None:
    """The repeats, all changed by the same factor, that bring the count into the band."""
    if plan.train.steps is not None:
        return None
    factor = (LEAST_STEPS if few else MOST_STEPS) / plan.steps_at_batch_1
    folders = [(i, f) for i, f in enumerate(plan.folders) if not f.regularization]
    repeats = {i: max(1, _rounded(f.repeats * factor, few=few)) for i, f in folders}
    looks = sum(repeats[p.folder] for p in plan.pictures if not p.regularization and not p.holdout)
    if not LEAST_STEPS <= looks * plan.epochs <= MOST_STEPS:
        return None
    renames = [_rename(f, repeats[i]) for i, f in folders if repeats[i] != f.repeats]
    return listed(renames) if renames else None


def _rename(folder: PlannedFolder, repeats: int) -> str:
    if repeats_of(folder.name) != (folder.repeats, folder.concept):
        return f"data.repeats: {repeats}"
    return f"rename {folder.name} to {repeats}_{folder.concept}"


def _rates(plan: Plan) -> Iterator[str]:
    if plan.rate_factor > MOST_RATE_FACTOR:
        yield (
            f"both learning rates are multiplied by {plan.rate_factor}, which often diverges beyond {MOST_RATE_FACTOR}: "
            "lower them, or train.scale_lr_by_batch: false"
        )
    if plan.network.type != "lora" and (plan.network.rank or 0) > MOST_RANK_OTHER_TYPES:
        most = MOST_RANK_OTHER_TYPES
        yield f"rank {plan.network.rank} is much for {plan.network.type}, {most} is the usual most: network.rank: {most}"


def _noise(plan: Plan) -> Iterator[str]:
    if plan.train.noise_offset > 0:
        yield (
            f"noise_offset {plan.train.noise_offset:g} widens the range of light and dark, and dampens learning: "
            "per 0.1 add steps or raise the rates"
        )


def _numbered_only(plan: Plan) -> bool:
    return all(repeats_of(f.name) == (f.repeats, f.concept) for f in plan.folders if not f.regularization)


# (key, whether it has no effect in this plan, why); what the profile alone shows is in profile_checks.py
WITHOUT_EFFECT: tuple[tuple[str, Callable[[Plan], bool], str], ...] = (
    ("data.repeats", _numbered_only, "the folders have their repeats in front of their names"),
    ("data.upscale_small", lambda p: not p.data.buckets, "data.buckets is false"),
    ("data.caption_extension", lambda p: not any(f.num_captions for f in p.folders), "there are no caption files"),
    ("train.prior_loss_weight", lambda p: not any(f.regularization for f in p.folders), "there are no regularisation pictures"),
    ("train.deterministic", lambda p: p.device == "cpu" and p.train.deterministic, "the CPU always is"),
    ("save.keep_last", lambda p: len(p.save_steps) <= (p.save.keep_last or 0), "there are no more files than that"),
    ("samples.seeds", lambda p: bool(p.prompts) and all(q.seed not in p.samples.seeds for q in p.prompts), "each prompt has its own seed"),
)


def _without_effect(plan: Plan, typed: Collection[str]) -> Iterator[str]:
    for key, is_idle, why in WITHOUT_EFFECT:
        if key in typed and is_idle(plan):
            yield f"{key} has no effect: {why}"


def _names(pictures: Sequence[Picture], detail: Callable[[Picture], str]) -> str:
    return listed([f"{Path(p.path).name} ({detail(p)})" for p in pictures])


def _pictures_badly_used(plan: Plan) -> Iterator[str]:
    pictures = training_pictures(plan)
    large = sorted((p for p in pictures if enlarged(p) > MUCH_ENLARGED), key=enlarged, reverse=True)
    if large:
        names = _names(large, lambda p: f"{p.width}x{p.height}")
        many = counted(len(large), "picture")
        yield f"{many} enlarged more than {MUCH_ENLARGED:g} times, which teaches blur: {names}; use larger ones or none"
    cut = sorted((p for p in pictures if cropped(p) > MUCH_CROPPED), key=cropped, reverse=True)
    if cut:
        names = _names(cut, lambda p: f"{p.width}x{p.height} to {p.bucket[0]}x{p.bucket[1]}, {cropped(p):.0%}")
        yield f"{counted(len(cut), 'picture')} cropped by more than {MUCH_CROPPED:.0%} of the area: {names}"
    fullest = max((count for _w, _h, count in plan.buckets), default=0)
    if (plan.train.batch_size or 1) > fullest:
        yield (
            f"batch_size {plan.train.batch_size} is never full, the fullest bucket has {fullest} looks per epoch, "
            f"yet the rates are multiplied by it: train.batch_size: {fullest}"
        )


def _looks_of_pictures(plan: Plan, found: Scan) -> Iterator[str]:
    read = [f for folder in found.folders for f in folder.pictures]
    clear = sum(f.has_alpha for f in read)
    if clear:
        yield f"{counted(clear, 'picture')} with an alpha channel: transparent places are laid on {plan.data.background} (data.background)"
    moving = [Path(f.path).name for f in read if f.frames > 1]
    if moving:
        yield f"{counted(len(moving), 'animated picture')}: the first frame is used ({listed(moving)})"
    small = [p for p in training_pictures(plan) if 1 < enlarged(p) <= MUCH_ENLARGED]
    if small:
        yield f"{counted(len(small), 'picture')} smaller than the bucket: enlarged (data.upscale_small: false leaves them as they are)"
    looks = sum(count for _w, _h, count in plan.buckets)
    filled = looks / (plan.batches_per_epoch * (plan.train.batch_size or 1))
    if filled < 0.7 and plan.batches_per_epoch > 1:
        yield f"batches are {filled:.0%} full on average, because each holds pictures of one bucket only"


def _without_trigger(plan: Plan) -> Iterator[str]:
    """A word that is missing in a caption is learned from the other pictures only."""
    for index, folder in enumerate(plan.folders):
        word = plan.triggers.get(folder.name)
        if word and not folder.regularization:
            bare = [p.path for p in plan.pictures if p.folder == index and plain(word) not in plain_tags(p.caption)]
            names = listed([Path(path).name for path in bare])
            if bare:
                yield f"{counted(len(bare), 'picture')} in {folder.name} without the trigger word {word}: {names}"


def _stack(plan: Plan) -> Iterator[str]:
    if plan.stack and (sentence := release.other_stack(plan.stack)):
        yield sentence


def _costs(plan: Plan) -> Iterator[str]:
    costs = plan.costs
    if costs.disk_bytes > costs.free_bytes:
        yield (
            f"the disk will be full: {size(costs.disk_bytes)} are needed, {size(costs.free_bytes)} are free in {plan.output}; "
            "make room, or save.every_epochs: 0 writes only the last LoRA"
        )
    if plan.device == "cpu" and costs.train_seconds and costs.train_seconds > LONG_S:
        yield f"on the CPU this takes about {duration(costs.train_seconds)}; an NVIDIA card needs a small part of that"

"""Which of the saved files to try first, why, and how sure that is, in words.

By the loss on held-out pictures where there are any, else by the guides' count of steps and the training loss. Never a judgement of
taste: the sheet is for eyes. Not here: drawing or copying.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorabake.plan_advice import LEAST_STEPS, MOST_STEPS

NEAR = 0.05  # of the improvement: losses nearer to the best than this are taken as equal; a handful of pictures tells no finer
CLEAR_GAIN = 0.05  # an improvement under this share of the loss is said to be small
LEAST_POINTS = 8  # steps between two saves under which a mean of their losses says nothing
NOISE = 2.0  # standard errors by which two means must differ to count as different


@dataclass(frozen=True)
class Suggestion:
    """`file` is a LoRA file's name; `held_out` its loss, None where nothing was held out. `sure`: "clear", "close" or "a guess"."""

    file: str
    epoch: int
    step: int
    held_out: float | None
    reason: str
    sure: str = "a guess"


@dataclass(frozen=True)
class _Run:
    """What a log says: saved files by step, held-out losses by step (0: before training), training losses."""

    saves: Mapping[int, Mapping[str, Any]]
    held: Mapping[int, float]
    losses: Sequence[tuple[int, float]]

    def label(self, step: int) -> str:
        event = self.saves[step]
        return f"step {step}" if "-step" in str(event.get("path", "")) else f"epoch {event.get('epoch', '?')}"

    def suggestion(self, step: int, reason: Sequence[str], sure: str) -> Suggestion:
        event = self.saves[step]
        return Suggestion(
            str(event.get("path", "")), int(number(event.get("epoch")) or 0), step, self.held.get(step), " ".join(reason), sure
        )


def suggest(events: Iterable[Mapping[str, Any]], looks_per_step: float | None = None) -> Suggestion | None:
    """From a run's events (log.jsonl); None while nothing is saved. `looks_per_step`: pictures seen in one step, where it is known."""
    run = _read(events)
    if not run.saves:
        return None
    return _by_held_out(run) if any(step in run.held for step in run.saves) else _by_count(run, looks_per_step)


def number(value: object) -> float | None:
    """A finite number of a log, or None: what was not finite is text there."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _read(events: Iterable[Mapping[str, Any]]) -> _Run:
    saves: dict[int, Mapping[str, Any]] = {}
    held: dict[int, float] = {}
    losses: dict[int, float] = {}
    for event in events:
        step, loss = int(number(event.get("step")) or 0), number(event.get("loss"))
        if event.get("kind") == "save":
            saves[step] = event
        elif event.get("kind") == "heldout" and loss is not None:
            held[step] = loss
            if (base := number(event.get("base_loss"))) is not None:
                held.setdefault(0, base)
        elif event.get("kind") == "step" and loss is not None:
            losses[step] = loss
    return _Run(dict(sorted(saves.items())), held, sorted(losses.items()))


def _by_held_out(run: _Run) -> Suggestion:
    measured = {step: run.held[step] for step in run.saves if step in run.held}
    best = min(measured, key=lambda step: measured[step])
    base = run.held.get(0)
    lowest = measured[best]
    gain = (max(measured.values()) if base is None else base) - lowest
    near = [step for step in measured if measured[step] <= lowest + NEAR * max(gain, 0.0)]
    step = max(near)
    if base is not None and measured[step] >= base:
        reason = [f"No saved file does better on the held-out pictures than no LoRA at all ({lowest:.4f} against {base:.4f})."]
        reason.append("It has learned nothing that carries over: train longer, or with higher rates.")
        return run.suggestion(step, reason, "clear")
    reason = [_achieved(measured[step], base)]
    if len(measured) == 1:
        reason.append("It is the only saved file.")
        return run.suggestion(step, reason, "close")
    if len(near) > 1:
        names = [run.label(s) for s in near]
        reason.append(f"{_together(names)} are too near to each other to be told apart by this; of equals the later has learned more.")
    else:
        reason.append("That is the lowest of all saved files.")
    later = {s: loss for s, loss in measured.items() if s > step}
    if later:
        worst = max(later, key=lambda s: later[s])
        reason.append(f"After it the loss rises ({later[worst]:.4f} at {run.label(worst)}): the LoRA begins to copy its pictures.")
    elif gain > 0 and step == max(measured) and len(near) == 1:
        reason.append("It was still falling at the last save, so more epochs may do better.")
    reason.append("A few held-out pictures measure this roughly, and taste not at all: where the sheet says otherwise, trust the sheet.")
    small = base is not None and gain < CLEAR_GAIN * base
    return run.suggestion(step, reason, "close" if len(near) > 1 or small else "clear")


def _achieved(loss: float, base: float | None) -> str:
    if base is None:
        return f"Its loss on the held-out pictures is {loss:.4f}."
    share = 100 * (1 - loss / base)
    shown = f"{share:.0f} %" if share >= 1 else f"{share:.1f} %"
    small = "" if share >= 100 * CLEAR_GAIN else ", which is little"
    return f"Its loss on the held-out pictures is {loss:.4f}, {shown} below that without the LoRA ({base:.4f}){small}."


def _by_count(run: _Run, looks_per_step: float | None) -> Suggestion:
    """The last file, unless it is beyond the guides' count of steps or the training loss rises again."""
    steps = list(run.saves)
    means = _means(run)
    reason = ["No pictures were held out, so nothing measures how it does on new ones."]
    chosen = steps[-1]
    if rise := _rise(means):
        chosen = rise
        reason.append(f"After {run.label(chosen)} the training loss rises again, which is a bad sign for the later files.")
    elif looks_per_step and round(steps[-1] * looks_per_step) > MOST_STEPS:
        within = [step for step in steps if round(step * looks_per_step) <= MOST_STEPS]
        chosen = within[-1] if within else steps[0]
        reason.append(_count(run, chosen, looks_per_step, last=chosen == steps[-1]))
    else:
        reason.append("It is the last file." if len(steps) > 1 else "It is the only file.")
        if looks_per_step and round(chosen * looks_per_step) < LEAST_STEPS:
            reason.append(
                f"It has seen only {round(chosen * looks_per_step)} pictures (steps at batch 1); under {LEAST_STEPS} is often under-baked."
            )
    flat = _flat_since(means)
    if flat is not None and flat < chosen:
        reason.append(f"The training loss has hardly fallen since {run.label(flat)}, so the files from there on may look much alike.")
    reason.append("This is a guess: look at the sheet, and take an earlier file or a lower weight if it is too strong.")
    return run.suggestion(chosen, reason, "a guess")


def _count(run: _Run, chosen: int, looks_per_step: float, *, last: bool) -> str:
    seen = round(chosen * looks_per_step)
    text = (
        f"At {run.label(chosen)} it has seen {seen} pictures (steps at batch 1); the guides' useful range is {LEAST_STEPS} to {MOST_STEPS}"
    )
    if seen > MOST_STEPS:
        return f"{text}, and no file is within it."
    return f"{text}." if last else f"{text}, and later files are beyond it."


def _means(run: _Run) -> dict[int, tuple[float, float]]:
    """Per save the mean training loss since the save before, and its standard error. Empty where too few steps lie between."""
    means: dict[int, tuple[float, float]] = {}
    start = 0
    for end in run.saves:
        values = [loss for step, loss in run.losses if start < step <= end]
        if len(values) < LEAST_POINTS:
            return {}
        means[end] = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
        start = end
    return means


def _rise(means: Mapping[int, tuple[float, float]]) -> int | None:
    """The last save before the training loss rises for good, beyond its noise; None where it does not."""
    if len(means) < 2:
        return None
    lowest = min(means, key=lambda step: means[step][0])
    after = [step for step in means if step > lowest]
    risen = [step for step in after if _differ(means[step], means[lowest])]
    return lowest if risen and risen[-1] == list(means)[-1] else None


def _flat_since(means: Mapping[int, tuple[float, float]]) -> int | None:
    """The first save after which no later mean lies below its own beyond the noise; None where the loss falls to the end."""
    steps = list(means)
    for index, step in enumerate(steps[:-1]):
        if not any(_differ(means[step], means[later]) for later in steps[index + 1 :]):
            return step
    return None


def _differ(higher: tuple[float, float], lower: tuple[float, float]) -> bool:
    return higher[0] - lower[0] > NOISE * math.hypot(higher[1], lower[1])


def _together(names: Sequence[str]) -> str:
    """`Epochs 3 and 4`, `Epochs 3, 4 and 5`, `Step 100 and epoch 2`."""
    kinds = {name.split()[0] for name in names}
    if len(kinds) == 1:
        names = [f"{names[0].replace(' ', 's ')}", *(name.split()[1] for name in names[1:])]
    text = f"{', '.join(names[:-1])} and {names[-1]}"
    return text[0].upper() + text[1:]

"""Which of the saved files to try first, and why, in words.

From the held-out losses where there are any. Not a judgement of taste: the sheet is for eyes. Not here: drawing or copying.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NEAR = 0.05  # of the improvement: losses nearer to the best than this are taken as equal; a handful of pictures tells no finer


@dataclass(frozen=True)
class Suggestion:
    """`file` is a LoRA file's name; `held_out` its loss, None where nothing was held out."""

    file: str
    epoch: int
    step: int
    held_out: float | None
    reason: str


def suggest(events: Iterable[Mapping[str, Any]]) -> Suggestion | None:
    """From a run's events (trainer.Event as in log.jsonl); None while nothing is saved."""
    saves: dict[int, Mapping[str, Any]] = {}
    held: dict[int, float] = {}
    for event in events:
        step = int(event.get("step", 0))
        if event.get("kind") == "save":
            saves[step] = event
        elif event.get("kind") == "heldout" and isinstance(event.get("loss"), int | float):
            held[step] = float(event["loss"])
    if not saves:
        return None
    measured = {step: held[step] for step in sorted(saves) if step in held}
    if not measured:
        step = max(saves)
        reason = "the last one: no pictures were held out to measure by; look at the sheet, and lower the weight if it is too strong"
        return Suggestion(str(saves[step]["path"]), int(saves[step]["epoch"]), step, None, reason)
    best = min(measured, key=lambda step: measured[step])
    base = held.get(0)
    gain = base - measured[best] if base is not None else measured[best]
    near = [step for step in measured if measured[step] <= measured[best] + NEAR * max(gain, 0.0)]
    step = max(near)
    return Suggestion(str(saves[step]["path"]), int(saves[step]["epoch"]), step, measured[step], reason_for(step, best, measured, base))


def reason_for(step: int, best: int, measured: Mapping[int, float], base: float | None) -> str:
    """One or two sentences: how much better than no LoRA, and how it compares with the other saved ones."""
    loss = measured[step]
    if base is not None and loss >= base:
        return f"no saved file does better than no LoRA on the held-out pictures ({loss:.4f} against {base:.4f}): train longer, or with higher rates"
    text = f"held-out loss {loss:.4f}"
    if base is not None:
        text += f", {100 * (1 - loss / base):.0f} % below that without the LoRA ({base:.4f})"
    if len(measured) == 1:
        return text + "; it is the only saved file"
    if step == best:
        text += "; the lowest of all saved files"
    else:
        text += f"; as good as the lowest ({measured[best]:.4f}) within what so few pictures can tell, and the later of two equals is the stronger"
    if step < max(measured):
        text += ". Later files do worse on pictures they have not seen: they begin to copy"
    return text

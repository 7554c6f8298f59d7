"""The report's curves as SVG text: axes, ticks, values on hover. Pure functions of numbers.

Not here: reading a run (report.py). Colours are CSS classes of the page, so that both its themes fit.
"""

import html
import math
from collections.abc import Mapping, Sequence

Points = Sequence[tuple[int, float]]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1100, 300, 70, 16, 14, 34
MOST_POINTS = 800


def losses(points: Points, total: int) -> str:
    """Every step faintly, the running mean over a twentieth of the run on top."""
    values = sorted(value for _, value in points)
    top = values[min(len(values) - 1, int(0.98 * len(values)))] * 1.05
    frame = Frame(total, (0.0, top))
    smooth = running_mean(points, max(3, len(points) // 20))
    key = '<div class="faint"><span class="key" style="background:var(--accent)"></span>mean of neighbouring steps; faint: each step</div>'
    return key + svg(frame, [line(frame, thin(points), "raw"), line(frame, thin(smooth), "main"), hover(frame, thin(smooth, 120))])


def held_out(points: Points, total: int) -> str:
    """Loss on held-out pictures per save; the value at step 0, without LoRA, as a dashed line."""
    values = [value for _, value in points]
    low, high = min(values), max(values)
    room = max((high - low) * 0.25, high * 0.02)
    frame = Frame(total, (low - room, high + room))
    base = next((value for step, value in points if step == 0), None)
    dashed = (
        f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{frame.y(base):.1f}" y2="{frame.y(base):.1f}"/>'
        if base is not None
        else ""
    )
    dots = "".join(
        f'<circle class="dot" cx="{frame.x(step):.1f}" cy="{frame.y(value):.1f}" r="4.5"><title>step {step}: {value:.4f}</title></circle>'
        for step, value in points
    )
    key = (
        '<div class="faint"><span class="key" style="background:var(--second)"></span>with the LoRA; dashed: without. Lower is better</div>'
    )
    return key + svg(frame, [dashed, line(frame, points, "second"), dots])


def rates(groups: Mapping[str, Points], total: int) -> str:
    """One line per group of parameters."""
    frame = Frame(total, (0.0, max((value for points in groups.values() for _, value in points), default=1.0) * 1.08 or 1.0))
    kinds = ("main", "second")
    names = {"unet": "U-Net", "text_encoder": "text encoder"}
    colours = ("var(--accent)", "var(--second)")
    key = "".join(
        f'<span class="key" style="background:{colours[n % 2]}"></span>{html.escape(names.get(name, name))}'
        for n, name in enumerate(groups)
    )
    lines = [line(frame, thin(points), kinds[n % 2]) + hover(frame, thin(points, 60)) for n, points in enumerate(groups.values())]
    return f'<div class="faint">{key}</div>' + svg(frame, lines)


class Frame:
    """From (step, value) to places in the drawing."""

    def __init__(self, total: int, span: tuple[float, float]) -> None:
        self.total = max(1, total)
        self.low, self.high = span if span[1] > span[0] else (span[0], span[0] + 1.0)

    def x(self, step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / self.total

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between low and high, about `count` of them."""
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def svg(frame: Frame, parts: Sequence[str]) -> str:
    out = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    for value in ticks(frame.low, frame.high):
        y = frame.y(value)
        out.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for step in ticks(0, frame.total, 8):
        if step == int(step):
            out.append(f'<text x="{frame.x(step):.1f}" y="{HEIGHT - 10}" text-anchor="middle">{int(step)}</text>')
    return "".join([*out, *parts, "</svg>"])


def line(frame: Frame, points: Points, kind: str) -> str:
    return f'<polyline class="{kind}" points="{" ".join(f"{frame.x(s):.1f},{frame.y(v):.1f}" for s, v in points)}"/>'


def hover(frame: Frame, points: Points) -> str:
    """Unseen discs that show a value under the mouse."""
    return "".join(
        f'<circle cx="{frame.x(s):.1f}" cy="{frame.y(v):.1f}" r="6" fill="transparent"><title>step {s}: {v:.4g}</title></circle>'
        for s, v in points
    )


def thin(points: Points, most: int = MOST_POINTS) -> Points:
    """At most `most` of the points, evenly, the last one among them."""
    if len(points) <= most:
        return points
    every = len(points) / most
    return [points[int(n * every)] for n in range(most - 1)] + [points[-1]]


def running_mean(points: Points, window: int) -> list[tuple[int, float]]:
    """Centred mean over `window` neighbours, fewer at the ends."""
    values = [value for _, value in points]
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    half = window // 2
    out = []
    for n, (step, _) in enumerate(points):
        first, last = max(0, n - half), min(len(values), n + half + 1)
        out.append((step, (sums[last] - sums[first]) / (last - first)))
    return out

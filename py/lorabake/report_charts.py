"""The report's curves as SVG text: axes, round ticks, epochs, and a readout under the pointer. Pure functions of numbers.

Colours are CSS classes of the page, so that both its themes fit. Not here: reading a run (report_run.py), the page (report.py).
"""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Points = Sequence[tuple[int, float]]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 250, 52, 12, 26, 36
MOST_LINE_POINTS, MOST_BANDS, MOST_EPOCH_LABELS = 320, 90, 12
SMOOTHED_OVER = 20  # the smoothed line is a mean over this part of a run
LETTER_PX = 5.9  # about the width of a letter in a legend
OUTLIERS = 0.02  # share of the raw values that may lie outside the drawing on either side


@dataclass(frozen=True)
class Series:
    """One line. `style` is a CSS class: main, second, third. `raw`: drawn faintly, and its mean over neighbours on top."""

    name: str
    points: Points
    style: str = "main"
    raw: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Level:
    """A dashed line at one value all the way, with its words."""

    name: str
    value: float


@dataclass(frozen=True)
class Chart:
    """What is drawn: series over steps 0 to `total`. `epochs`: the last step of each; `marked`: a step that stands out."""

    title: str
    series: Sequence[Series]
    total: int
    levels: Sequence[Level] = ()
    epochs: Sequence[int] = ()
    marked: int | None = None
    from_zero: bool = False
    number: Callable[[float], str] | None = None  # how values are written; None: with as many digits as they need


class Frame:
    """From (step, value) to places in the drawing; values outside are cut off at its edge."""

    def __init__(self, total: int, low: float, high: float) -> None:
        self.total = max(1, total)
        self.low, self.high = (low, high) if high > low else (low - 0.5, low + 0.5)

    def x(self, step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(step / self.total, 0), 1)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def draw(chart: Chart) -> str:
    """The <svg>; "" when no series has a point."""
    if not any(series.points for series in chart.series):
        return ""
    frame = Frame(chart.total, *span(chart))
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(chart.title)}">']
    parts += [*_grid(chart, frame), *_epochs(chart, frame)]
    for level in chart.levels:
        y = f"{frame.y(level.value):.1f}"
        parts.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
    for series in chart.series:
        parts += _lines(series, frame)
    if chart.marked is not None:
        parts += _mark(chart, frame, chart.marked)
    return "".join([*parts, *_legend(chart), *_bands(chart, frame), "</svg>"])


def span(chart: Chart) -> tuple[float, float]:
    """Lowest and highest value shown: all smooth lines, dots and levels, and the raw values but for outliers."""
    values = [level.value for level in chart.levels]
    for series in chart.series:
        line = sorted(value for _, value in (series.points if not series.raw else smoothed(series.points)))
        raw = sorted(value for _, value in series.points)
        cut = int(OUTLIERS * len(raw)) if series.raw else 0
        values += [*line[:1], *line[-1:], *raw[cut : cut + 1], *raw[len(raw) - 1 - cut : len(raw) - cut]]
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 0.5
    if chart.from_zero or 0 <= low < 0.4 * high:
        return min(low, 0.0), high + room
    return low - room, high + room


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers from low to high, at most about `count` of them."""
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def alike(values: Sequence[float]) -> Callable[[float], str]:
    """A way of writing numbers that gives all of these the same number of decimals, as few as tell them exactly."""
    decimals = max((len(f"{value:.10f}".rstrip("0").partition(".")[2]) for value in values), default=0)
    return lambda value: f"{value:.{decimals}f}"


def smoothed(points: Points) -> list[tuple[int, float]]:
    """Centred mean over a SMOOTHED_OVERth of the points, at least three, fewer at the ends."""
    sums = [0.0]
    for _, value in points:
        sums.append(sums[-1] + value)
    half = max(3, len(points) // SMOOTHED_OVER) // 2
    found = []
    for n, (step, _) in enumerate(points):
        first, last = max(0, n - half), min(len(points), n + half + 1)
        found.append((step, (sums[last] - sums[first]) / (last - first)))
    return found


def thinned(points: Points, most: int) -> Points:
    """At most `most` of the points, evenly, the first and the last among them."""
    if len(points) <= most:
        return points
    return [points[round(n * (len(points) - 1) / (most - 1))] for n in range(most)]


def envelope(points: Points, most: int) -> Points:
    """At most about `most` points that keep the lowest and the highest of each stretch, so that a noisy line stays as tall as it is."""
    if len(points) <= most:
        return points
    size = math.ceil(2 * len(points) / most)
    found: list[tuple[int, float]] = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        found += sorted(ends)
    return found


def _path(points: Points, frame: Frame, style: str) -> str:
    return f'<polyline class="{style}" points="{" ".join(f"{frame.x(step):.1f},{frame.y(value):.1f}" for step, value in points)}"/>'


def _lines(series: Series, frame: Frame) -> list[str]:
    if not series.points:
        return []
    if series.raw:
        faint = _path(envelope(series.points, 3 * MOST_LINE_POINTS), frame, f"line raw {series.style}")
        return [faint, _path(thinned(smoothed(series.points), MOST_LINE_POINTS), frame, f"line {series.style}")]
    found = [_path(thinned(series.points, MOST_LINE_POINTS), frame, f"line {series.style}")]
    if series.dots:
        found += [
            f'<circle class="dot {series.style}" cx="{frame.x(step):.1f}" cy="{frame.y(value):.1f}" r="3.5"/>'
            for step, value in thinned(series.points, MOST_BANDS)
        ]
    return found


def _grid(chart: Chart, frame: Frame) -> list[str]:
    found = []
    values = ticks(frame.low, frame.high, 5)
    number = chart.number or alike(values)
    for value in values:
        y = frame.y(value)
        found.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        found.append(f'<text x="{LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end">{html.escape(number(value))}</text>')
    steps = [int(step) for step in ticks(0, frame.total, 6) if step == int(step)]
    for step in steps:
        anchor = "end" if frame.x(step) > WIDTH - RIGHT - 14 else "middle"
        found.append(f'<text x="{frame.x(step):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="{anchor}">{step}</text>')
    found.append(f'<text class="name" x="{LEFT - 7}" y="{HEIGHT - BOTTOM + 15}" text-anchor="end">step</text>')
    return found


def _epochs(chart: Chart, frame: Frame) -> list[str]:
    """A faint upright line at the end of each epoch, and its number below, as many as there is room for."""
    found = [f'<text class="name" x="{LEFT - 7}" y="{HEIGHT - 4}" text-anchor="end">epoch</text>'] if chart.epochs else []
    every = math.ceil(len(chart.epochs) / MOST_EPOCH_LABELS) or 1
    for number, step in enumerate(chart.epochs, 1):
        if number % every:
            continue
        x = f"{frame.x(step):.1f}"
        found.append(f'<line class="epoch" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        found.append(f'<text class="name" x="{x}" y="{HEIGHT - 4}" text-anchor="middle">{number}</text>')
    return found


def _mark(chart: Chart, frame: Frame, step: int) -> list[str]:
    x = f"{frame.x(step):.1f}"
    found = [f'<line class="mark" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>']
    for series in chart.series:
        value = dict(series.points).get(step)
        if series.dots and value is not None:
            found.append(f'<circle class="ring" cx="{x}" cy="{frame.y(value):.1f}" r="7"/>')
    return found


def _legend(chart: Chart) -> list[str]:
    entries = []
    for series in chart.series:
        if series.raw:
            entries.append((series.name, f"raw {series.style}"))
        entries.append(("mean of neighbours" if series.raw else series.name, series.style))
    entries += [(level.name, "level") for level in chart.levels]
    found, x = [], float(LEFT)
    for words, style in entries:
        found.append(f'<line class="line {style}" x1="{x:.0f}" x2="{x + 16:.0f}" y1="9" y2="9"/>')
        found.append(f'<text x="{x + 21:.0f}" y="12.5">{html.escape(words)}</text>')
        x += 34 + LETTER_PX * len(words)
    return found


def _bands(chart: Chart, frame: Frame) -> list[str]:
    """Upright stripes that show, under the pointer, a line, dots and the values there; as a tooltip too."""
    number = chart.number or (lambda value: f"{value:.4g}")
    shown = [(series, dict(series.points), dict(smoothed(series.points)) if series.raw else None) for series in chart.series]
    steps = thinned(sorted({(step, 0.0) for _, values, _ in shown for step in values}), MOST_BANDS)
    places = [frame.x(step) for step, _ in steps]
    found = []
    for n, (step, _) in enumerate(steps):
        left = LEFT if n == 0 else (places[n - 1] + places[n]) / 2
        right = WIDTH - RIGHT if n == len(steps) - 1 else (places[n] + places[n + 1]) / 2
        x, dots, words = f"{places[n]:.1f}", "", [f"step {step}"]
        if chart.epochs and step:
            words.append(f"epoch {1 + sum(end < step for end in chart.epochs)}")
        for series, values, mean in shown:
            if step in values:
                at = values[step] if mean is None else mean[step]
                dots += f'<circle class="dot {series.style}" cx="{x}" cy="{frame.y(at):.1f}" r="3.5"/>'
                name = f"{series.name} " if len(shown) > 1 else ""
                words.append(f"{name}{number(values[step])}" + ("" if mean is None else f", mean {number(mean[step])}"))
        text = html.escape("; ".join(words))
        found.append(
            f'<g class="band"><rect x="{left:.1f}" y="{TOP}" width="{max(right - left, 0.5):.1f}" height="{HEIGHT - TOP - BOTTOM}"/>'
            f'<g><line x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>{dots}'
            f'<text class="read" x="{WIDTH - RIGHT}" y="12.5" text-anchor="end">{text}</text></g><title>{text}</title></g>'
        )
    return found

"""The report's pictures: strengths side by side, and the saves side by side, in rows of prompts and seeds.

Not here: the other sections (report_parts.py), encoding pictures (report_pictures.py).
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lorabake.report_pictures import Embedded
from lorabake.report_run import Drawn, Run, Samples

Pictures = Mapping[Path, Embedded]
Row = tuple[str, str]  # prompt, seed
Column = tuple[str, str, Mapping[Row, Drawn]]  # heading, small print, pictures by row
SMALLEST_CELL_PX, LARGEST_CELL_PX, LABEL_PX = 96, 256, (130, 170)
ENLARGED = 1.5  # small pictures are shown at most so much larger than they are


def esc(value: object) -> str:
    return html.escape(str(value), quote=True)


def picture(drawn: Drawn | None, pictures: Pictures, prefix: str = "") -> str:
    """A button with the picture in it; a dashed box where it is not there."""
    shown = pictures.get(drawn.path) if drawn else None
    if drawn is None or shown is None:
        return '<div class="gone">no picture</div>'
    words = esc(f"{prefix}{drawn.prompt} (seed {drawn.seed})")
    return (
        f'<button class="pic" type="button"><img src="{shown.uri}" alt="{words}" title="{words}" '
        f'width="{shown.width}" height="{shown.height}" loading="lazy"></button>'
    )


def rows_of(columns: Iterable[Samples]) -> list[Row]:
    """(prompt, seed) of all pictures, in the order of first appearance."""
    return list(dict.fromkeys(drawn.row for column in columns for drawn in column.drawn))


def grid(columns: Sequence[Column], rows: Sequence[Row], pictures: Pictures, *, best: int | None, prefix: str = "") -> str:
    """Pictures in rows of prompts and seeds; headings become captions on narrow screens."""
    own = max((pictures[d.path].width for _, _, drawn in columns for d in drawn.values() if d.path in pictures), default=0)
    most = round(min(max(SMALLEST_CELL_PX, ENLARGED * own), LARGEST_CELL_PX))
    widths = f"minmax({LABEL_PX[0]}px,{LABEL_PX[1]}px) repeat({len(columns)},minmax({SMALLEST_CELL_PX}px,{most}px))"
    out = [f'<div class="scroll"><div class="sheet" style="grid-template-columns:{widths};--narrow:{2 if len(columns) <= 4 else 3}">']
    out.append('<div class="corner"></div>')
    for index, (heading, small, _) in enumerate(columns):
        out.append(f'<div class="head{" best" if index == best else ""}">{esc(heading)}<small>{esc(small)}</small></div>')
    for number, row in enumerate(rows):
        again = number > 0 and rows[number - 1][0] == row[0]  # only the seed is another: the prompt is not said twice
        words = "" if again else esc(row[0])
        out.append(f'<div class="label"><div class="prompt" title="{words}">{words}</div><small>seed {esc(row[1])}</small></div>')
        for index, (heading, _, drawn) in enumerate(columns):
            shown = picture(drawn.get(row), pictures, f"{prefix}{heading}: ")
            out.append(f'<div class="cell{" best" if index == best else ""}">{shown}<div class="cap">{esc(heading)}</div></div>')
    return "".join([*out, "</div></div>"])


def strengths(run: Run, pictures: Pictures) -> str:
    """The final sheets: without the LoRA, then rising strengths; the suggested file's first."""
    out = []
    for index, made in enumerate(run.sheets):
        stem = made.file.removesuffix(".safetensors") or "the LoRA"
        if made.drawn:
            by_strength: dict[float | None, dict[Row, Drawn]] = {}
            for drawn in made.drawn:
                by_strength.setdefault(drawn.strength, {})[drawn.row] = drawn
            order = sorted(by_strength, key=lambda strength: -1.0 if strength is None else strength)
            columns: list[Column] = [("no LoRA" if s is None else f"strength {s:g}", "", by_strength[s]) for s in order]
            body = grid(columns, rows_of([made]), pictures, best=None, prefix=f"{stem}, ")
        elif made.sheet and (shown := pictures.get(made.sheet)):
            size = f'width="{shown.width}" height="{shown.height}"'
            body = f'<button class="pic" type="button"><img src="{shown.uri}" alt="sheet of {esc(stem)}" {size}></button>'
        else:
            continue
        what = "suggested" if run.suggestion and made.file == run.suggestion.file else "last"
        opened = " open" if index == 0 else ""
        out.append(f'<details class="card"{opened}><summary>{esc(stem)} <span class="chip">{what}</span></summary>{body}</details>')
    words = "The same prompts and seeds without the LoRA and at rising strengths. Click a picture to see it large."
    return f'<section><h2>With and without the LoRA</h2><p class="soft">{words}</p>{"".join(out)}</section>' if out else ""


def epochs(run: Run, pictures: Pictures) -> str:
    """One column per save, so that an eye can follow a prompt from epoch to epoch."""
    if not run.samples:
        return ""
    saved = {made.step: made for made in run.saved}
    best_step = run.suggestion.step if run.suggestion else None
    held = dict(run.held)
    columns: list[Column] = []
    best = None
    bare = {drawn.row: drawn for made in (*run.sheets, *run.samples) for drawn in made.drawn if drawn.strength is None}
    if bare:
        columns.append(("no LoRA", f"loss {run.held_base:.4f}" if run.held_base is not None else "", bare))
    for made in run.samples:
        drawn = {d.row: d for d in made.drawn if d.strength is not None}
        if not drawn:
            continue
        heading = saved[made.step].label if made.step in saved else f"step {made.step}"
        small = f"loss {held[made.step]:.4f}" if made.step in held else ""
        if made.step == best_step:
            best, small = len(columns), f"suggested\n{small}".strip()
        columns.append((heading, small, drawn))
    if not columns:
        return ""
    words = "Each drawn at strength 1 from its saved file, with the same seeds." + (
        " Loss: on the held-out pictures; lower is better." if held else ""
    )
    body = grid(columns, rows_of(run.samples), pictures, best=best)
    return f'<section><h2>Epoch by epoch</h2><p class="soft">{words}</p><div class="card">{body}</div></section>'

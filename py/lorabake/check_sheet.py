"""The contact sheet of a check: every picture small, with the part of it that the trainer will see, its verdict and its caption.

`<folder>/_checks/sheet.html` with thumbnails beside it in `thumbs/`; opens offline, fetches nothing. Not here: what is found (checks.py).
"""

import errno
import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lorabake import __version__, buckets, console, images, paths, thumbs
from lorabake.caption_checks import Length, Remark
from lorabake.damage import ImageError
from lorabake.picture_checks import Verdict
from lorabake.picture_memory import FOLDER
from lorabake.report_sheets import esc
from lorabake.wording import counted, listed

NAME, THUMBS = "sheet.html", "sheet"
SIDE_PX = 384  # twice the size at which thumbnails stand on the page, for screens of many pixels
GRADES = {"reject": "to reject", "poor": "poor", "good": "good"}
# 'self' does not name a page that was opened from a disk
POLICY = "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class Row:
    """One picture. `name` is its place in the dataset; `placed` its bucket and how it gets there, None for what cannot be read."""

    name: str
    verdict: Verdict
    remarks: tuple[Remark, ...]
    placed: tuple[buckets.Size, buckets.Placement] | None
    tags: tuple[str, ...]
    length: Length

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys([f.kind for f in self.verdict.found] + [remark.kind for remark in self.remarks]))


def write(folder: Path, rows: Sequence[Row], remarks: Sequence[Remark]) -> Path | None:
    """Write the sheet and the thumbnails that it lacks; returns its place, None where nothing can be written (it is told why)."""
    sheet = folder / FOLDER / NAME
    try:
        (folder / FOLDER / THUMBS).mkdir(parents=True, exist_ok=True)
        made = _thumbnails(folder, rows)
        paths.write_text(sheet, page(folder.absolute().name, rows, remarks, made).encode("utf-8", "replace").decode("utf-8"))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        console.say(f"no sheet: {folder / FOLDER} cannot be written ({error.strerror})")
        return None
    return sheet


def _thumbnails(folder: Path, rows: Sequence[Row]) -> frozenset[str]:
    """Make those that are missing, named after their picture's content; returns the names of all that there are. Old ones go."""
    place = folder / FOLDER / THUMBS
    wanted = {thumbnail(row): row.verdict.path for row in rows if row.placed}
    there = {path.name for path in place.iterdir()}
    missing = [(name, path) for name, path in wanted.items() if name not in there]

    def make(job: tuple[str, Path]) -> None:
        name, path = job
        with suppress(ImageError):  # changed or gone since it was looked at: the sheet says so in the place of the picture
            with paths.replacing(place / name) as aside:
                aside.write_bytes(thumbs.of(path, SIDE_PX))
            there.add(name)

    with console.Bar(len(missing), "thumbnails") as bar, ThreadPoolExecutor(min(images.MOST_THREADS, os.cpu_count() or 1)) as pool:
        for done, _ in enumerate(pool.map(make, missing), 1):
            bar.update(done)
    for name in there - wanted.keys():
        (place / name).unlink(missing_ok=True)
    return frozenset(there & wanted.keys())


def thumbnail(row: Row) -> str:
    return f"{row.verdict.facts.digest[:24]}.jpg"


def page(title: str, rows: Sequence[Row], remarks: Sequence[Remark], made: frozenset[str]) -> str:
    """The whole sheet as text, the worst pictures first. `made`: names of the thumbnails that there are."""
    order = list(GRADES)
    ordered = sorted(rows, key=lambda row: order.index(row.verdict.grade))  # stable: within a grade as in the folder
    cards = "\n".join(_card(row, thumbnail(row) in made) for row in ordered)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{esc(title)} - checked by lorabake</title>",
            f"<style>\n{_beside('report.css')}\n{_beside('check_sheet.css')}</style></head>",
            f"<body><main>{_head(title, rows)}{_remarks(remarks)}{_filters(rows)}",
            f'<section class="pictures">\n{cards}\n</section>',
            '<p class="none soft" hidden>No picture is like that.</p>',
            f"<footer>Written by lorabake {esc(__version__)}, {time.strftime('%Y-%m-%d %H:%M')}</footer></main>",
            f"<script>\n{_beside('check_sheet.js')}</script></body></html>\n",
        ]
    )


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _head(title: str, rows: Sequence[Row]) -> str:
    grades = Counter(row.verdict.grade for row in rows)
    chips = "".join(f"<span>{grades[grade]} {words}</span>" for grade, words in reversed(GRADES.items()))
    words = "The bright part of each picture is what the trainer sees of it; what is struck through in a caption is never read."
    return (
        f'<header><h1>{esc(title)}</h1><div class="facts"><span>{counted(len(rows), "picture")}</span>{chips}</div>'
        f'<p class="soft">{words}</p></header>'
    )


def _remarks(remarks: Sequence[Remark]) -> str:
    """What is about the whole set or about captions."""
    lines = [f"{remark.text}{f' ({listed(remark.names)})' if remark.names else ''}" for remark in remarks if len(remark.names) != 1]
    items = "".join(f"<li>{esc(line)}</li>" for line in lines)
    return f'<section><h2>Captions</h2><div class="card"><ul>{items}</ul></div></section>' if items else ""


def _filters(rows: Sequence[Row]) -> str:
    """Buttons for verdicts and findings, with counts, and a box for words."""
    grades = Counter(row.verdict.grade for row in rows)
    kinds = Counter(kind for row in rows for kind in row.kinds)
    buttons = [("", "all", len(rows)), *((f"grade:{g}", words, grades[g]) for g, words in GRADES.items() if grades[g])]
    buttons += [(f"kind:{kind}", kind, count) for kind, count in kinds.most_common()]
    drawn = "".join(
        f'<button type="button" data-show="{esc(show)}" aria-pressed="{"false" if show else "true"}">{esc(words)} <b>{count}</b></button>'
        for show, words, count in buttons
    )
    box = '<input type="search" placeholder="name or tag" aria-label="name or tag">'
    return f'<nav class="filters">{drawn}{box}</nav>'


def _card(row: Row, has_thumbnail: bool) -> str:
    verdict, facts = row.verdict, row.verdict.facts
    search = " ".join([row.name, *row.tags]).lower()
    found = "".join(f'<li class="{finding.grade}"><b>{esc(finding.kind)}</b> {esc(finding.text)}</li>' for finding in verdict.found)
    found += "".join(f'<li class="note"><b>{esc(remark.kind)}</b> {esc(_own(remark))}</li>' for remark in row.remarks)
    sizes = [(facts.width, facts.height), row.placed[0]] if row.placed else []
    size = " to ".join(dict.fromkeys(f"{width}x{height}" for width, height in sizes))
    place, _, name = row.name.rpartition("/")
    return (
        f'<article data-grade="{verdict.grade}" data-kinds="{esc(" ".join(row.kinds))}" data-text="{esc(search)}">'
        f"{_shot(row) if has_thumbnail else _no_shot()}"
        f'<h3 title="{esc(row.name)}">{esc(name)}</h3><p class="size">{esc(place)}</p>'
        f'<p class="size"><span class="chip {verdict.grade}">{GRADES[verdict.grade]}</span> {size}</p>'
        f"{f'<ul>{found}</ul>' if found else ''}{_caption(row)}</article>"
    )


def _own(remark: Remark) -> str:
    """A remark as it is said of one of its pictures."""
    return (
        "no caption beside it"
        if remark.kind == "no-caption"
        else "tagged as signed or watermarked"
        if remark.kind == "watermark"
        else remark.text
    )


def _shot(row: Row) -> str:
    assert row.placed
    facts, (bucket, placed) = row.verdict.facts, row.placed
    across, down = placed.resized
    cut = (placed.left / across, placed.top / down, 1 - (placed.left + bucket[0]) / across, 1 - (placed.top + bucket[1]) / down)
    left, top, right, bottom = (f"{max(0.0, share):.2%}" for share in cut)
    frame = f'<i style="inset:{top} {right} {bottom} {left}"></i>' if any(share > 0 for share in cut) else ""
    alt = f"{row.name}: {', '.join(row.tags)}"
    return (
        f'<div class="shot"><div style="--ratio:{facts.width / facts.height:.4f}">'
        f'<img src="{THUMBS}/{thumbnail(row)}" loading="lazy" decoding="async" alt="{esc(alt)}">{frame}</div></div>'
    )


def _no_shot() -> str:
    return '<div class="shot"><span class="soft">no picture to show</span></div>'


def _caption(row: Row) -> str:
    if not row.tags:
        return ""
    read, lost = (esc(", ".join(part)) for part in (row.tags[: row.length.num_read], row.tags[row.length.num_read :]))
    struck = f"{', ' if read and lost else ''}<s>{lost}</s>" if lost else ""
    return f'<p class="caption">{read}{struck} <small>{counted(row.length.num_tokens, "token")}</small></p>'

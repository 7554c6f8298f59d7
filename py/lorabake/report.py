"""report.html of a run: one file that opens offline, with sheets, curves, files, settings and the suggested file.

Made from the run folder alone, at any time, also while the run goes on; no torch. The parts: report_run.py (reads the folder),
report_pictures.py (embeds pictures), report_charts.py (curves), report_sheets.py, report_settings.py and report_parts.py (sections),
report.css and report.js.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from lorabake import __version__, paths, report_parts, report_pictures, report_run, report_settings, report_sheets
from lorabake.report_run import Run

# Nothing from outside, whatever a prompt or a name might hold.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write(folder: Path) -> Path:
    """Make `<folder>/report.html` from plan.json, log.jsonl, result.json and the pictures there; returns its path."""
    path = Path(folder) / "report.html"
    # Names from disks can hold what no text can (lone surrogates); they become question marks.
    paths.write_text(path, page(report_run.read(Path(folder))).encode("utf-8", "replace").decode("utf-8"))
    return path


def page(run: Run) -> str:
    """The whole page as text."""
    pictures = report_pictures.embed(wanted(run))
    body = [
        report_parts.header(run),
        report_parts.suggestion(run, pictures),
        report_sheets.strengths(run, pictures),
        report_sheets.epochs(run, pictures),
        report_parts.curves(run),
        report_parts.warnings(run),
        report_parts.files(run),
        report_parts.trained_on(run),
        report_settings.settings(run),
        f"<footer>Written by lorabake {report_sheets.esc(__version__)}, {time.strftime('%Y-%m-%d %H:%M')}</footer>",
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{report_sheets.esc(run.name)} - lorabake</title>",
            f"<style>\n{beside('report.css')}</style></head>",
            "<body><main>",
            *filter(None, body),
            '</main><dialog aria-label="picture"><img alt=""><p></p></dialog>',
            f"<script>\n{beside('report.js')}</script></body></html>\n",
        ]
    )


def beside(name: str) -> str:
    """A file that lies beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def wanted(run: Run) -> Iterator[Path]:
    """Files of all pictures on the page."""
    for made in (*run.sheets, *run.samples):
        if made.sheet and not made.drawn:
            yield made.sheet
        for drawn in made.drawn:
            yield drawn.path

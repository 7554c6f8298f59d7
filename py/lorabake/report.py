"""report.html of a run: one file that opens offline, with curves, sheets, settings and the suggested file.

Read from the run folder alone, at any time, also while the run goes on. No torch. The curves are in report_charts.py.
"""

import base64
import html
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lorabake import console, paths, report_charts, runlog, suggest

LARGEST_PX = 1400  # of an embedded picture's longer side
Json = Mapping[str, Any]

STYLE = """
:root{--paper:#fafaf8;--card:#fff;--ink:#1e1e22;--faint:#6b6b74;--line:#e3e3df;--accent:#b4532a;--second:#2a6fb4}
@media(prefers-color-scheme:dark){:root{--paper:#17171a;--card:#1f1f24;--ink:#ececf0;--faint:#9a9aa6;--line:#34343c;--accent:#f0905f;--second:#74b3f0}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,Segoe UI,sans-serif}
main{max-width:1180px;margin:0 auto;padding:24px 20px 60px}h1{font-size:26px;margin:0 0 2px}h2{font-size:18px;margin:34px 0 10px}
.faint{color:var(--faint)}.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;margin:12px 0}
.suggest{border-left:5px solid var(--accent)}.suggest b{font-size:17px}img{max-width:100%;border-radius:6px;display:block}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(130px,1fr));gap:10px}.grid img{width:100%;image-rendering:auto}
figure{margin:0}figcaption{font-size:12px;color:var(--faint);overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:14px}
td,th{text-align:left;padding:4px 10px 4px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
svg{width:100%;height:auto}svg text{fill:var(--faint);font-size:12px}.axis{stroke:var(--line)}
.raw{stroke:var(--accent);opacity:.25;fill:none}
.main{stroke:var(--accent);fill:none;stroke-width:2}.second{stroke:var(--second);fill:none;stroke-width:2}
.base{stroke:var(--faint);stroke-dasharray:5 4}
.dot{fill:var(--second)}
summary{cursor:pointer;font-weight:600}code{background:var(--line);padding:1px 5px;border-radius:4px;overflow-wrap:anywhere}
.key{display:inline-block;width:14px;height:3px;vertical-align:middle;margin:0 5px 0 14px}ul{margin:6px 0;padding-left:20px}
"""


def write(folder: Path) -> Path:
    """Make `<folder>/report.html` from plan.json, log.jsonl, result.json and the pictures there; returns its path."""
    plan, result = _json(folder / "plan.json"), _json(folder / "result.json")
    events = runlog.read(folder / "log.jsonl")
    path = folder / "report.html"
    paths.write_text(path, page(folder, plan, result, events))
    return path


def _json(path: Path) -> Json:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def page(folder: Path, plan: Json, result: Json, events: Sequence[Json]) -> str:
    name = html.escape(str(plan.get("name", folder.name)))
    parts = [
        head(plan, result, events),
        suggestion(events),
        sheets(folder, events),
        curves(plan, events),
        warnings(plan, events),
        epochs(folder, events),
        settings(plan),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{name} - lorabake</title><style>{STYLE}</style></head><body><main>\n{body}\n</main></body></html>\n"
    )


def head(plan: Json, result: Json, events: Sequence[Json]) -> str:
    steps = [event for event in events if event.get("kind") == "step"]
    status = str(result.get("status", "running"))
    done = int(steps[-1]["step"]) if steps else 0
    facts = [status, f"step {done} of {plan.get('total_steps', '?')}"]
    if result.get("seconds"):
        facts.append(console.duration(float(result["seconds"])))
    started = next((event.get("time") for event in events if event.get("kind") == "start"), None)
    if started:
        facts.append(time.strftime("%Y-%m-%d %H:%M", time.localtime(float(started))))
    facts.append(Path(str(plan.get("base", {}).get("path", "?")).replace("\\", "/")).name)
    message = f'<div class="card">{html.escape(str(result["message"]))}</div>' if result.get("message") else ""
    return f'<h1>{html.escape(str(plan.get("name", "")))}</h1><div class="faint">{html.escape(" - ".join(facts))}</div>{message}'


def suggestion(events: Sequence[Json]) -> str:
    found = suggest.suggest(events)
    if not found:
        return ""
    stem = html.escape(found.file.removesuffix(".safetensors"))
    return (
        f'<div class="card suggest">Try first: <b>{html.escape(found.file)}</b> (epoch {found.epoch})<br>{html.escape(found.reason)}.'
        f"<br>In a web UI: <code>&lt;lora:{stem}:1&gt;</code>, lower the number if it is too strong.</div>"
    )


def picture(path: Path) -> str:
    """The picture as a data URI, shrunk where it is large; WebP, which every browser of today shows."""
    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
            small.thumbnail((LARGEST_PX, LARGEST_PX))
            buffer = io.BytesIO()
            small.save(buffer, "WEBP", quality=88)
    except (OSError, SyntaxError):
        return ""
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def sheets(folder: Path, events: Sequence[Json]) -> str:
    found = {event["file"]: event["path"] for event in events if event.get("kind") == "sheet"}
    if not found:
        return ""
    shown = [
        f'<div class="card"><img alt="sheet of {html.escape(file)}" src="{picture(folder / path)}"></div>' for file, path in found.items()
    ]
    return "<h2>With and without the LoRA</h2>" + "".join(shown)


def curves(plan: Json, events: Sequence[Json]) -> str:
    steps = [event for event in events if event.get("kind") == "step" and isinstance(event.get("loss"), int | float)]
    if not steps:
        return ""
    held = [(int(e["step"]), float(e["loss"])) for e in events if e.get("kind") == "heldout" and isinstance(e.get("loss"), int | float)]
    losses = [(int(event["step"]), float(event["loss"])) for event in steps]
    total = int(plan.get("total_steps") or losses[-1][0])
    names = list(dict.fromkeys(name for event in steps for name in event.get("rates", {})))
    rates = {name: [(int(e["step"]), float(e["rates"][name])) for e in steps if name in e.get("rates", {})] for name in names}
    out = ["<h2>Loss</h2>", f'<div class="card">{report_charts.losses(losses, total)}</div>']
    if held:
        out += ["<h2>Loss on pictures it has not seen</h2>", f'<div class="card">{report_charts.held_out(held, total)}</div>']
    out += ["<h2>Learning rate</h2>", f'<div class="card">{report_charts.rates(rates, total)}</div>']
    return "".join(out)


def warnings(plan: Json, events: Sequence[Json]) -> str:
    lines = [str(text) for text in plan.get("warnings", [])]
    lines += [f"step {e['step']} was skipped: {e.get('reason', '')}" for e in events if e.get("kind") == "skip"]
    lines += [str(event.get("text", "")) for event in events if event.get("kind") == "note"]
    if not lines:
        return ""
    return "<h2>To know</h2><div class='card'><ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul></div>"


def epochs(folder: Path, events: Sequence[Json]) -> str:
    """The sample pictures of each save, the latest open."""
    drawn = [event for event in events if event.get("kind") == "samples"]
    out = []
    for number, event in enumerate(reversed(drawn)):
        cells = []
        for file in event.get("files", []):
            caption = html.escape(f"{file.get('prompt', '')} (seed {file.get('seed')})")
            cells.append(
                f'<figure><img alt="{caption}" src="{picture(folder / str(file["path"]))}"><figcaption>{caption}</figcaption></figure>'
            )
        heading = "before training" if not event.get("epoch") else f"epoch {event['epoch']}, step {event['step']}"
        opened = " open" if number == 0 else ""
        out.append(f'<details class="card"{opened}><summary>{heading}</summary><br><div class="grid">{"".join(cells)}</div></details>')
    return "<h2>Samples of each save</h2>" + "".join(out) if out else ""


def settings(plan: Json) -> str:
    rows = []
    for block in ("network", "train", "data", "model", "save", "samples"):
        for key, value in plan.get(block, {}).items():
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            reason = plan.get("reasons", {}).get(f"{block}.{key}", "")
            cells = (
                f"<td>{block}.{html.escape(key)}</td>",
                f"<td>{html.escape(shown)}</td>",
                f"<td class='faint'>{html.escape(str(reason))}</td>",
            )
            rows.append(f"<tr>{''.join(cells)}</tr>")
    profile = html.escape(str(plan.get("profile_text", "")))
    return (
        f"<h2>Settings</h2><details class='card'><summary>All settings as used</summary><table>{''.join(rows)}</table></details>"
        f"<details class='card'><summary>The profile as written</summary><pre>{profile}</pre></details>"
    )

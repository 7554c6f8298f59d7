"""The sections of report.html, each a function from a run to HTML; "" where there is nothing to say yet.

Everything that comes from a user or a file goes through `esc`. Not here: pictures in rows (report_sheets.py), settings
(report_settings.py), reading (report_run.py), the page (report.py).
"""

import time

from lorabake import console, report_charts
from lorabake.families import FAMILIES
from lorabake.families.lora_names import PART_TITLES
from lorabake.networks import NETWORKS
from lorabake.plan_text import TARGETS, rate
from lorabake.report_charts import Chart, Level, Series
from lorabake.report_run import Run
from lorabake.report_sheets import Pictures, esc, picture
from lorabake.suggest import number
from lorabake.wording import counted

CERTAINTY = {"clear": "clear", "close": "a close call", "a guess": "a guess"}
STRENGTH_TO_START = "0.8"


def last_name(path: object) -> str:
    """File or folder name of a path of any system."""
    return str(path).replace("\\", "/").rstrip("/").rpartition("/")[2]


def when(seconds: object) -> str:
    stamp = number(seconds)
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(stamp)) if stamp else ""


def header(run: Run) -> str:
    """Name, how it ended, and the facts in one line; what went wrong in a box."""
    plan, status = run.plan, run.status
    kind = {"done": "good", "running": "", "stopped": ""}.get(status, "bad")
    base, network = plan.get("base") or {}, plan.get("network") or {}
    family, type_row = FAMILIES.get(str(plan.get("family"))), NETWORKS.get(str(network.get("type")))
    kind_of = f"{type_row.title if type_row else 'LoRA'}, rank {network.get('rank')}, {TARGETS.get(str(network.get('target')), '')}"
    facts = [
        kind_of if network.get("rank") else "",
        f"on {last_name(base['path'])}" + (f" ({family.title})" if family else "") if base.get("path") else "",
        progress(run),
        when(next((event.get("time") for event in run.of_kind("start")), run.result.get("started_at"))),
        duration(run),
    ]
    line = "".join(f"<span>{esc(fact)}</span>" for fact in facts if fact)
    out = f'<header><h1>{esc(run.name)}</h1><span class="chip {kind}">{esc(status)}</span><div class="facts">{line}</div></header>'
    message = str(run.result.get("message") or "")
    if message:
        out += f'<div class="card trouble {kind}">{esc(message)}</div>'
    elif status == "running" and run.events:
        out += '<p class="soft">This run was still going when the page was written; load it again for what came after.</p>'
    return out


def progress(run: Run) -> str:
    done, total = run.done_steps, run.total_steps
    epochs = number(run.plan.get("epochs"))
    words = f"{counted(int(epochs), 'epoch')}, " if epochs else ""
    return "" if not total else f"{words}{total} steps" if done >= total else f"{words}step {done} of {total}"


def duration(run: Run) -> str:
    """How long, and how fast the steps were."""
    seconds = number(run.result.get("seconds"))
    paces = sorted(value for _, value in run.numbers("step", "seconds"))
    words = []
    if len(run.of_kind("start")) > 1:
        words.append(f"{console.duration(sum(paces))} of training in {len(run.of_kind('start'))} sittings")
    elif seconds:
        words.append(f"took {console.duration(seconds)}")
    if paces and paces[len(paces) // 2] > 0:
        pace = paces[len(paces) // 2]
        words.append(f"{pace:.2f} s a step" if pace >= 0.1 else f"{1 / pace:.0f} steps a second")
    return ", ".join(words)


def suggestion(run: Run, pictures: Pictures) -> str:
    """The file to try first, its reason, and the words to type."""
    found = run.suggestion
    if not found:
        return ""
    stem = found.file.removesuffix(".safetensors")
    tag = f"<lora:{stem}:{STRENGTH_TO_START}>"
    words = list(dict.fromkeys((run.plan.get("triggers") or {}).values()))
    prompt = ", ".join([*words[:1], tag])
    others = (
        f" Trigger words: {', '.join(f'{word} ({folder})' for folder, word in run.plan['triggers'].items())}." if len(words) > 1 else ""
    )
    drawn = next((made.drawn[0] for made in run.samples if made.step == found.step), None)
    shown = picture(drawn, pictures, f"{stem}: ") if drawn and drawn.path in pictures else ""
    return (
        f'<section class="card suggest">{shown}<div class="say"><div class="soft">Try this file first '
        f'<span class="chip">{esc(CERTAINTY.get(found.sure, found.sure))}</span></div><p class="file">{esc(found.file)}</p>'
        f"<p>{esc(found.reason)}</p>"
        f'<p>In a web UI, copy the file into its Lora folder and write <code class="take">{esc(prompt)}</code> into the prompt; '
        f"raise or lower the number to taste.{esc(others)} ComfyUI: a Load LoRA node with that strength.</p></div></section>"
    )


def warnings(run: Run) -> str:
    lines = [str(text) for text in run.plan.get("warnings") or ()]
    for event in run.of_kind("skip"):
        names = ", ".join(last_name(path) for path in (event.get("pictures") or ())[:4])
        lines.append(f"step {event.get('step')} was skipped: {event.get('reason', '')}" + (f" ({names})" if names else ""))
    lines += [str(event.get("text", "")) for event in run.of_kind("note")]
    items = "".join(f"<li>{esc(line)}</li>" for line in lines if line)
    return f'<section><h2>Worth knowing</h2><div class="card"><ul>{items}</ul></div></section>' if items else ""


def curves(run: Run) -> str:
    total, ends = run.total_steps, run.epoch_ends()
    marked = run.suggestion.step if run.suggestion else None
    charts = []
    if run.losses:
        charts.append(Chart("Training loss", [Series("each step", run.losses, raw=True)], total, epochs=ends, marked=marked))
    if run.held:
        levels = [Level("without the LoRA", run.held_base)] if run.held_base is not None else []
        points = [Series("with the LoRA", run.held, "second", dots=True)]
        charts.append(Chart("Loss on held-out pictures", points, total, levels, ends, marked))
    parts = {part: points for part, points in run.rates().items() if any(value for _, value in points)}
    rates = [(PART_TITLES.get(part, part), parts[part]) for part in sorted(parts, key=lambda part: [*PART_TITLES, part].index(part))]
    styles = ("main", "second", "third")
    if rates:
        lines = [Series(name, points, styles[n % 3]) for n, (name, points) in enumerate(rates)]
        charts.append(Chart("Learning rate", lines, total, epochs=ends, from_zero=True, number=rate))
    norms = run.numbers("step", "grad_norm")
    if norms:
        charts.append(Chart("Gradient norm", [Series("each step", norms, "third", raw=True)], total, epochs=ends))
    cards = "".join(f'<div class="card"><h3>{esc(c.title)}</h3>{report_charts.draw(c)}</div>' for c in charts)
    words = "Faint: each step; bold: the mean of its neighbours. Point at a curve to read it." + (
        " The upright line is the suggested file." if marked is not None else ""
    )
    return f'<section><h2>Curves</h2><p class="soft">{words}</p><div class="charts">{cards}</div></section>' if cards else ""


def files(run: Run) -> str:
    """What was written, with sizes and how each does on the held-out pictures."""
    if not run.saved:
        return ""
    held, base = dict(run.held), run.held_base
    best = run.suggestion.file if run.suggestion else ""
    rows = []
    for made in run.saved:
        loss = held.get(made.step)
        gain = f"{100 * (1 - loss / base):+.1f} %" if loss is not None and base else ""
        size = console.size(made.place.stat().st_size) if made.place else "not kept"
        chip = ' <span class="chip good">suggested</span>' if made.name == best else ""
        cells = [f"<td>{esc(made.name)}{chip}</td>", f'<td class="num">{esc(made.label)}</td>', f'<td class="num">{made.step}</td>']
        if held:
            cells += [f'<td class="num">{"" if loss is None else f"{loss:.4f}"}</td>', f'<td class="num">{gain}</td>']
        rows.append(f'<tr{" class=best" if chip else ""}>{"".join(cells)}<td class="num">{esc(size)}</td></tr>')
    extra = '<th class="num">held-out loss</th><th class="num">gain over no LoRA</th>' if held else ""
    head = f'<tr><th>file</th><th class="num">of</th><th class="num">step</th>{extra}<th class="num">size</th></tr>'
    body = f'<div class="card scroll"><table>{head}{"".join(rows)}</table></div>'
    return f'<section><h2>Files</h2><p class="soft">In the output folder, each with its preview picture.</p>{body}</section>'


def trained_on(run: Run) -> str:
    """Folders in counts, and the plan's remarks."""
    rows = []
    for folder in run.plan.get("folders") or ():
        names = [
            folder.get("name", ""),
            *(folder.get(k, "") for k in ("num_pictures", "repeats", "num_captions", "num_missing", "num_empty")),
        ]
        kind = ' <span class="chip">regularisation</span>' if folder.get("regularization") else ""
        rows.append(
            "<tr>" + f"<td>{esc(names[0])}{kind}</td>" + "".join(f'<td class="num">{esc(cell)}</td>' for cell in names[1:]) + "</tr>"
        )
    heads = "".join(f'<th class="num">{word}</th>' for word in ("pictures", "repeats", "captions", "missing", "empty"))
    out = f'<div class="card scroll"><table><tr><th>folder</th>{heads}</tr>{"".join(rows)}</table></div>' if rows else ""
    buckets = ", ".join(f"{w}x{h}: {n}" for w, h, n in run.plan.get("buckets") or ())
    lines = [f"looks per epoch by size in px: {buckets}"] if buckets else []
    lines += [str(note) for note in run.plan.get("notes") or ()]
    if lines:
        out += f'<div class="card"><ul>{"".join(f"<li>{esc(line)}</li>" for line in lines)}</ul></div>'
    return f"<section><h2>Trained on</h2>{out}</section>" if out else ""

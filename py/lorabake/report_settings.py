"""The report's table of settings: every value as it was used, and where it came from; the profile itself below.

Not here: the other sections (report_parts.py), what the keys mean (settings.py).
"""

import json

from lorabake import yaml_nodes
from lorabake.plan_text import rate
from lorabake.report_run import Run
from lorabake.report_sheets import esc
from lorabake.settings import BLOCKS, keys
from lorabake.suggest import number


def typed_keys(text: str) -> set[str]:
    """Dotted keys that stand in a profile's text, for plans that do not say which were typed."""
    root, _ = yaml_nodes.compose(text)
    found: set[str] = set()
    pending = [("", root)]
    while pending:
        prefix, node = pending.pop()
        value = getattr(node, "value", None)
        if getattr(node, "id", "") != "mapping" or not isinstance(value, list):
            continue
        for key, below in value:
            found.add(f"{prefix}{key.value}")
            pending.append((f"{prefix}{key.value}.", below))
    return found


def settings(run: Run) -> str:
    """Every setting as it was used, with where it came from; the profile itself below."""
    text, reasons = str(run.plan.get("profile_text") or ""), run.plan.get("reasons") or {}
    typed = set(run.plan.get("typed") or typed_keys(text))
    known = {key.dotted: key for key in keys()}
    used = _used_rates(run)
    rows, num_typed = [], 0
    for block in BLOCKS:
        values = run.plan.get(block)
        if not isinstance(values, dict) or not values:
            continue
        rows.append(f'<tr class="block"><td colspan="3">{esc(block)}</td></tr>')
        for name, value in values.items():
            dotted = f"{block}.{name}"
            key = known.get(dotted)
            is_typed = dotted in typed
            why = "typed" if is_typed else reasons.get(dotted) or (key.auto if key and key.auto else "default")
            why = "not used" if value is None else why + used.get(dotted, "")
            num_typed += is_typed
            rows.append(
                f'<tr{" class=typed" if is_typed else ""} title="{esc(key.meaning if key else "")}"><td class="key">{esc(name)}</td>'
                f'<td>{esc(_shown(value))}</td><td class="why">{esc(why)}</td></tr>'
            )
    if not rows:
        return ""
    head = "<tr><th>setting</th><th>used</th><th>where from</th></tr>"
    table = (
        f'<details class="card"><summary>All settings, {num_typed} of them typed</summary><table>{head}{"".join(rows)}</table></details>'
    )
    profile = f'<details class="card"><summary>The profile as it was written</summary><pre>{esc(text)}</pre></details>' if text else ""
    return f"<section><h2>Settings</h2>{table}{profile}</section>"


def _used_rates(run: Run) -> dict[str, str]:
    """What the two learning rates became by the batch, for their rows."""
    train = run.plan.get("train") or {}
    found = {}
    for part in ("unet_lr", "text_encoder_lr"):
        typed, used = number(train.get(part)), number(run.plan.get(f"{part}_used"))
        if typed and used and used != typed:
            found[f"train.{part}"] = f"; used {rate(used)}, x{used / typed:.4g} for the batch"
    return found


def _shown(value: object) -> str:
    """A value as one would type it; lists one per line would be too long, so with commas."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return rate(value)
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)

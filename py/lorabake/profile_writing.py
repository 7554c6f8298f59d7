"""The profile that answers make, as commented YAML: what differs from the defaults, and what people change most.

It is read back before it is trusted. Not here: asking (interview.py), the form of YAML (yaml_lines.py).
"""

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lorabake import paths, profile, yaml_lines
from lorabake.errors import UserError
from lorabake.profile import Loaded
from lorabake.profile_checks import Values, impossible, without_effect
from lorabake.questions import Question, Sheet, values_of
from lorabake.wording import listed
from lorabake.yaml_lines import Line

SCHEMA = "yaml-language-server: $schema=lorabake.schema.json"
NEXT = "What is not written here has its default: docs/profile-reference.md has them all."


def text(sheet: Sheet, known: Mapping[str, Question], kept: Collection[str] = ()) -> str:
    """The whole file; `kept` keys stand in it even with their defaults. The four required keys must be answered."""
    chosen = _written(sheet, kept)
    lines = [Line(dotted, value, known[dotted].key.meaning) for dotted, value in chosen.items()]
    return yaml_lines.text([SCHEMA, _summary(sheet), NEXT], lines, [])


def _summary(sheet: Sheet) -> str:
    """The line that train.ps1 shows in its list."""
    base, pictures = (Path(sheet.values[key].replace("\\", "/")).name for key in ("base_model", "images"))
    return f"{sheet.values['name']}: {pictures or 'pictures'} on {base}"


def _written(sheet: Sheet, kept: Collection[str]) -> dict[str, Any]:
    """What is written, in the order of the settings: required keys, answers beside the default, and kept ones where they count."""
    v = values_of(sheet)
    chosen = dict(v.typed)
    for dotted in kept:
        value = v[dotted]
        if dotted not in chosen and value is not None and _counts(chosen, v, dotted, value):
            chosen[dotted] = value
    order = [key for key in v.defaults if key in chosen]
    return {dotted: chosen[dotted] for dotted in order}


def _counts(chosen: Mapping[str, Any], v: Values, dotted: str, value: Any) -> bool:
    """Whether writing this default out is neither a mistake nor without effect."""
    with_it = Values({**chosen, dotted: value}, v.defaults)
    return not any(finding.key == dotted for finding in without_effect(with_it)) and len(list(impossible(with_it))) <= len(
        list(impossible(Values(chosen, v.defaults)))
    )


def load(written: str, path: Path) -> Loaded:
    """The text as the strict reader takes it, under the path that it will have. Raises ProfileErrors."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / path.name
        file.write_text(written, encoding="utf-8")
        return replace(profile.load(file), path=path)


def save(written: str, path: Path) -> None:
    """Raises UserError where a file of this name is there; it is left alone."""
    if path.exists():
        raise UserError("there is already a profile of this name, which is left alone", where=str(path), todo="another name")
    paths.write_text(path, written)


def differing(loaded: Loaded, sheet: Sheet) -> str:
    """Keys whose value did not come back as it was answered; "" when all did. For tests, and against our own mistakes."""
    again = {**loaded.profile.model_dump()}
    wrong = []
    for dotted, value in sheet.values.items():
        block, _, name = dotted.rpartition(".")
        if (again[block][name] if block else again[name]) != value:
            wrong.append(dotted)
    return listed(wrong)

"""What the outputs of a tagger mean: its selected_tags.csv, or the tag_mapping.json of the other layout.

Formats: reference/lora-facts.md 5.5 (kohya-ss/sd-scripts, finetune/tag_images_by_wd14_tagger.py). Not here: the model (tagger.py).
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorabake.errors import UserError

CSV_NAME, JSON_NAME = "selected_tags.csv", "tag_mapping.json"
MODEL_NAMES = {CSV_NAME: "model.onnx", JSON_NAME: "model_optimized.onnx"}
CSV_KINDS = {"9": "rating", "0": "general", "1": "artist", "3": "copyright", "4": "character", "5": "meta"}  # danbooru's numbers
KINDS = ("rating", "general", "character", "copyright", "meta", "model", "quality", "artist")


@dataclass(frozen=True)
class Labels:
    """One name and one kind (of KINDS) for each output, in order."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]


def read(folder: Path) -> Labels:
    """The labels that lie beside a model. Raises UserError for a folder without them, or with what is no such file."""
    readers = {CSV_NAME: _from_csv, JSON_NAME: _from_json}
    for name in sorted(readers, key=lambda name: not (folder / MODEL_NAMES[name]).is_file()):  # the list of the model that is there
        file, reader = folder / name, readers[name]
        if file.is_file():
            try:
                labels = reader(file)
            except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
                raise UserError(f"this is no list of a tagger's tags: {error}", where=str(file), todo="download the model again") from error
            if not labels.names:
                raise UserError("this list of tags is empty", where=str(file), todo="download the model again")
            return labels
    raise UserError("no list of tags beside the model", where=str(folder), allowed=f"{CSV_NAME} or {JSON_NAME}")


def _from_csv(file: Path) -> Labels:
    """tag_id,name,category,count. Categories that are not known here count as general, so that outputs keep their places.

    A row stands for an output by its place, so one that is empty between others is refused, never left out.
    """
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)  # an open quotation mark would swallow all rows behind it
        rows = [(reader.line_num, row) for row in reader]
    while rows and not rows[-1][1]:
        rows.pop()
    if not rows:
        return Labels((), ())
    heads = rows.pop(0)[1]
    if not {"name", "category"} <= set(heads):
        raise ValueError(f"its columns are {', '.join(heads)}, wanted are tag_id, name, category")
    name, category = heads.index("name"), heads.index("category")
    for line, row in rows:
        if not any(cell.strip() for cell in row):
            raise ValueError(f"line {line} is empty, and all tags behind it would be one place off")
        if len(row) < len(heads) - 1 or len(row) <= max(name, category) or not row[name].strip():
            raise ValueError(f"line {line} is cut off")
        if len(row) > len(heads):
            raise ValueError(f"line {line} has {len(row)} cells, the first has {len(heads)}: a tag with a comma stands in quotation marks")
    return Labels(tuple(row[name] for _, row in rows), tuple(CSV_KINDS.get(row[category].strip(), "general") for _, row in rows))


def _from_json(file: Path) -> Labels:
    """{"0": {"tag": ..., "category": "General"}, ...} with every number once."""
    found = json.loads(file.read_text(encoding="utf-8"))
    if missing := [number for number in range(len(found)) if str(number) not in found]:
        raise ValueError(f"number {missing[0]} is missing")
    rows = [found[str(number)] for number in range(len(found))]
    kinds = [str(row["category"]).lower() for row in rows]
    return Labels(tuple(str(row["tag"]) for row in rows), tuple(kind if kind in KINDS else "general" for kind in kinds))


def layout(folder: Path) -> tuple[Path, bool]:
    """(the model's file, whether it is of the other layout). Raises UserError where there is none."""
    for labels, name in MODEL_NAMES.items():
        if (folder / name).is_file() and (folder / labels).is_file():
            return folder / name, labels == JSON_NAME
    wanted: Sequence[str] = [f"{name} with {labels}" for labels, name in MODEL_NAMES.items()]
    raise UserError("no tagger in this folder", where=str(folder), allowed=" or ".join(wanted))

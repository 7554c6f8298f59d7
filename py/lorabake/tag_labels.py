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
    """tag_id,name,category,count. Categories that are not known here count as general, so that outputs keep their places."""
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if rows and not {"name", "category"} <= rows[0].keys():
        raise ValueError(f"its columns are {', '.join(rows[0])}, wanted are tag_id, name, category")
    for number, row in enumerate(rows, 2):
        if not row["name"] or row["category"] is None:
            raise ValueError(f"line {number} is cut off")
    return Labels(tuple(str(row["name"]) for row in rows), tuple(CSV_KINDS.get(row["category"], "general") for row in rows))


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

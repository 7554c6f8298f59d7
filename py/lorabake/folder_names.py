"""Names of training folders: `<repeats>_<concept>`. Standard library only; which folders are read is scan_layout.py's business."""

import re

NUMBERED = re.compile(r"\s*([+-]?[0-9]{1,9})\s*(?:_(.*))?", re.DOTALL)


def repeats_of(name: str) -> tuple[int, str] | None:
    """(repeats, concept) of `5_ConceptA`; None when the name has no such number. Underscores and spaces of the concept are kept."""
    match = NUMBERED.fullmatch(name)
    return (int(match[1]), match[2] or "") if match else None

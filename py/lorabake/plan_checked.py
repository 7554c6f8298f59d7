"""What a plan tells of pictures that were looked at before: the verdicts of earlier checks, and how many nobody has looked at.

Nothing is decoded here. Not here: the looking (picture_memory.py, the cache of a bake), the verdicts (picture_checks.py).
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lorabake import picture_checks, picture_memory, plan_data, upscaled
from lorabake.families import FAMILIES
from lorabake.hashes import HashMemory
from lorabake.picture_facts import Facts
from lorabake.plan_types import Plan
from lorabake.wording import counted, listed

GRADES = {"reject": "to reject", "poor": "poor"}
SHOWN = 3


MANY_UPSCALED = 0.2  # of the training pictures: from here a warning


def upscaled_share(plan: Plan, root: Path) -> tuple[str, bool]:
    """The sentence on pictures that a network enlarged, "" without any, and whether they are too many."""
    own = {Path(picture.path) for picture in plan.pictures if not picture.regularization}
    made = {
        path: model for path, model in upscaled.pictures([root, *(Path(folder.path) for folder in plan.folders)]).items() if path in own
    }
    if not made:
        return "", False
    share = len(made) / len(own)
    models = listed(sorted(set(made.values())))
    advice = "that is many: use larger originals where there are any" if share > MANY_UPSCALED else "a few are fine"
    return (
        f"{len(made)} of {len(own)} pictures ({share:.0%}) were upscaled ({models}), whose quirks are learned too; {advice}",
        share > MANY_UPSCALED,
    )


def told(plan: Plan, root: Path) -> Iterator[str]:
    """Sentences. `root` is the folder of pictures that the profile names."""
    files = [Path(picture.path) for picture in plan.pictures]
    facts = _facts(plan, root, files)
    memory = HashMemory(Path(plan.output) / ".cache" / "hashes.json")
    unknown = sum(file not in facts and not memory.is_decoded(file) for file in files)
    if unknown:
        yield f"{unknown} of {len(files)} pictures not yet checked for damage (done when training starts)"
    if facts:
        yield from _verdicts(plan, facts)


def _facts(plan: Plan, root: Path, files: list[Path]) -> dict[Path, Facts]:
    """What checks of the dataset, or of one of its folders, have kept."""
    found: dict[Path, Facts] = {}
    for place in dict.fromkeys((root, *(Path(folder.path) for folder in plan.folders))):
        inside = [file for file in files if place in file.parents and file not in found]
        found |= picture_memory.remembered(place, inside) if inside else {}
    return {file: found[file] for file in files if file in found}


def _verdicts(plan: Plan, facts: dict[Path, Facts]) -> Iterator[str]:
    row = FAMILIES[plan.family]
    known = plan_data.sizes(plan.data, row)
    captioned = {Path(picture.path) for picture in plan.pictures if picture.caption_path}
    verdicts = picture_checks.judge(facts, lambda size: plan_data.placed(size, plan.data, row, known), captioned)
    names: dict[str, list[str]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.grade in GRADES:
            names[verdict.grade].append(f"{verdict.path.name} {verdict.found[0].kind}")
    parts = [f"{len(names[grade])} {words} ({listed(names[grade], most=SHOWN)})" for grade, words in GRADES.items() if names[grade]]
    if parts:
        num_good = len(verdicts) - sum(map(len, names.values()))
        yield f"{counted(len(verdicts), 'picture')} checked before: {num_good} good, {', '.join(parts)}; tag.py --check shows them"

"""What `py/tag.py --check` shows: what is odd in the pictures and captions of a dataset.

Not here: the findings themselves (picture_checks.py, caption_checks.py).
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lorabake import buckets, caption_checks, console, picture_checks, plan_data
from lorabake.errors import UsageError
from lorabake.families import FAMILIES
from lorabake.tag_files import Captioned
from lorabake.wording import counted, listed


def show(folder: Path, chosen: Sequence[Captioned], *, trigger: str | None, most_tokens: int, resolution: int) -> int:
    """What is odd in the pictures and captions: a line per finding, with the pictures that it is about."""
    from lorabake.families.tokenizer import clip_tokenizer  # only now: it takes seconds to import

    tokenizer = clip_tokenizer()
    texts = {str(picture.relative_to(folder)): one.text or "" for one in chosen for picture in one.pictures}

    def count_tokens(tag: str) -> int:
        return len(tokenizer(tag, add_special_tokens=False)["input_ids"])

    pictures = [picture for one in chosen for picture in one.pictures]
    remarks = of_pictures(folder, pictures, resolution)
    remarks += caption_checks.check(texts, trigger=trigger, count_tokens=cache(count_tokens), most_tokens=most_tokens)
    for remark in remarks:
        about = f"  ({listed(remark.names)})" if remark.names else ""
        console.result(f"{remark.kind}: {remark.text}{about}")
    console.say(f"{counted(len(remarks), 'remark')} about {counted(len(texts), 'picture')} and their captions")
    return 0


def of_pictures(folder: Path, pictures: Sequence[Path], resolution: int) -> list[caption_checks.Remark]:
    """A remark per finding with its pictures, then one per group of equal files. `resolution` is the bake's, in px."""
    if not 64 <= resolution <= 8192:
        raise UsageError(f"--resolution {resolution} is no resolution of a bake", allowed="64 to 8192 px", todo="--resolution 512")
    step = plan_data.bucket_step(resolution, FAMILIES["sd1"])
    sizes = buckets.resolutions(resolution, *plan_data.bucket_range(resolution, step), step)
    with console.Bar(len(pictures), "looking") as bar:
        verdicts = picture_checks.look_at_all(pictures, resolution, sizes, bar.update)
    about: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        for finding in verdict.found:
            about.setdefault(finding, []).append(str(verdict.path.relative_to(folder)))
    found = [caption_checks.Remark(kind, text, tuple(names)) for (kind, text), names in about.items()]
    for group in picture_checks.twice(verdicts):
        names = tuple(str(path.relative_to(folder)) for path in group)
        found.append(caption_checks.Remark("twice", f"{len(group)} files are the same", names))
    return found

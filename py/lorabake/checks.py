"""`py/tag.py --check`, `--reject` and `--demote`: what is odd in a dataset, shown, and the pictures of it that are moved away.

Not here: the findings themselves (picture_checks.py, caption_checks.py), the sheet (check_sheet.py), the moving (set_aside.py).
"""

from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lorabake import caption_checks, check_sheet, console, locks, picture_checks, picture_memory, set_aside, tag_query
from lorabake.caption_checks import Remark
from lorabake.check_sheet import Row
from lorabake.checks_asked import Asked
from lorabake.errors import UsageError
from lorabake.picture_checks import Verdict
from lorabake.tag_files import Captioned, Reader
from lorabake.tag_query import Query
from lorabake.wording import counted, listed

AUTO, ALL = "auto", "all"  # words behind --reject and --demote: what the verdicts say; all that --find names
SHOWN = 6  # lines of a kind; the sheet has them all
GRADES = ("reject", "poor", "note")


@dataclass(frozen=True)
class Looked:
    """`rows`: the pictures that were asked for, with all that was found on each. `remarks`: on their captions, by set."""

    rows: tuple[Row, ...]
    remarks: tuple[Remark, ...]


def look(asked: Asked, found: Sequence[Captioned], only: Query | None) -> Looked:
    """Look at every picture of the dataset, since the same picture twice takes two; rows of those that `only` fits."""
    pictures = [picture for one in found for picture in one.pictures]
    with console.Bar(len(pictures), "looking") as bar:
        facts = picture_memory.look_at_all(asked.folder, pictures, bar.update)
    captioned = {picture for one in found if one.text for picture in one.pictures}
    verdicts = {verdict.path: verdict for verdict in picture_checks.judge(facts, asked.placed, captioned)}
    chosen = [one for one in found if only is None or only(tag_query.plain_tags(one.text or ""))]
    names = {picture: picture.relative_to(asked.folder).as_posix() for one in chosen for picture in one.pictures}
    ask = asked.of_captions(names, token_counter())
    texts = {names[picture]: one.text or "" for one in chosen for picture in one.pictures}
    files = [Remark("file", one.problem, tuple(names[picture] for picture in one.pictures)) for one in chosen if one.problem]
    remarks = (*files, *caption_checks.check(texts, ask))
    rows = [_row(asked, one, verdicts[picture], remarks, ask) for one in chosen for picture in one.pictures]
    return Looked(tuple(rows), remarks)


def _row(asked: Asked, one: Captioned, verdict: Verdict, remarks: Sequence[Remark], ask: caption_checks.Ask) -> Row:
    name = verdict.path.relative_to(asked.folder).as_posix()
    size = verdict.facts.width, verdict.facts.height
    return Row(
        name=name,
        verdict=verdict,
        remarks=tuple(remark for remark in remarks if name in remark.names),
        placed=asked.placed(size) if all(size) else None,
        tags=tuple(one.tags),
        length=caption_checks.length(one.tags, ask),
    )


def token_counter() -> Callable[[str], int]:
    """Tokens of a text, without begin and end."""
    from lorabake.families.tokenizer import clip_tokenizer  # only now: it takes seconds to import

    tokenizer = clip_tokenizer()
    return cache(lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]))


def show(asked: Asked, found: Sequence[Captioned], only: Query | None) -> int:
    """Every finding in a line, the worst first, and the sheet. Always 0: what is odd is for the user to judge."""
    looked = look(asked, found, only)
    findings = [(finding, row.name) for row in looked.rows for finding in row.verdict.found]
    for grade in GRADES:
        for kind in dict.fromkeys(finding.kind for finding, _ in findings if finding.grade == grade):
            _tell(grade, kind, [(name, f.text) for f, name in findings if (f.grade, f.kind) == (grade, kind)])
    for kind in dict.fromkeys(remark.kind for remark in looked.remarks):
        _tell("captions", kind, [(listed(one.names) if one.names else "", one.text) for one in looked.remarks if one.kind == kind])
    grades = Counter(row.verdict.grade for row in looked.rows)
    many = counted(len(looked.rows), "picture")
    remarks = counted(len(looked.remarks), "remark")
    console.result(f"{many}: {grades['good']} good, {grades['poor']} poor, {grades['reject']} to reject; {remarks} about captions")
    if sheet := check_sheet.write(asked.folder, looked.rows, looked.remarks):
        console.say(f"all of it with the pictures: {sheet}")
    if grades["reject"]:
        console.say(f"--reject moves the {grades['reject']} to {set_aside.REJECTED}, and --undo back")
    if grades["poor"]:
        console.say(
            f"--demote 1 moves the {grades['poor']} poor to 1_<concept>, where they are seen once an epoch; --undo brings them back"
        )
    return 0


def _tell(head: str, kind: str, lines: Sequence[tuple[str, str]]) -> None:
    for name, text in lines[:SHOWN]:
        console.result(f"{head:<8}  {kind:<12}  {f'{name}: ' if name else ''}{text}")
    if len(lines) > SHOWN:
        console.result(f"{head:<8}  {kind:<12}  and {len(lines) - SHOWN} more")


def move_away(asked: Asked, read: Reader, only: Query | None, options: Namespace) -> int:
    """--reject or --demote: by the verdicts, by kinds of findings, or by names."""
    repeats, words = _repeats(options.demote) if options.demote is not None else (None, _split(options.reject))
    looked = look(asked, read(), only)
    chosen = chosen_by(words, looked.rows, "reject" if repeats is None else "poor", has_find=only is not None)
    if options.dry_run:
        return _move(asked, read(), chosen, repeats, dry_run=True)
    with locks.dataset(asked.folder):  # captions are read again: another job may have written some since
        return _move(asked, read(), chosen, repeats, dry_run=False)


def _move(asked: Asked, found: Sequence[Captioned], chosen: Sequence[Path], repeats: int | None, *, dry_run: bool) -> int:
    if repeats is None:
        place, where = set_aside.rejected(asked.folder), set_aside.REJECTED
    else:
        place, where = set_aside.demoted(asked.folder, repeats, chosen), f"{repeats}_<concept>"
        stay = len(chosen)
        chosen = set_aside.seen_less(chosen, repeats)
        if stay := stay - len(chosen):
            console.say(f"{counted(stay, 'picture')} would be seen no less often with {repeats}, left where they are")
    made = set_aside.moves(set(chosen), found, place)
    for group in made.groups:
        path, target = next(iter(group.items()))
        console.say(f"{path.relative_to(asked.folder)} -> {target.relative_to(asked.folder)}")
    title = f"{counted(len(made.groups), 'picture')} to {where}"
    problems = [] if dry_run else set_aside.carry_out(asked.folder, made, title)
    for problem in problems:
        console.say(problem)
    console.result(f"{counted(len(made.groups) - len(problems), 'picture')} {'would be moved' if dry_run else 'moved'} to {where}")
    if made.groups and not dry_run:
        console.say("--undo brings them back")
    return 1 if problems else 0


def _split(words: Sequence[str]) -> list[str]:
    return [part.strip() for word in words for part in word.split(",") if part.strip()] or [AUTO]


def _repeats(words: Sequence[str]) -> tuple[int, list[str]]:
    """`2 blurred small` -> 2 and the rest."""
    first, *rest = _split(words)
    if not first.isdecimal():
        raise UsageError(
            f'--demote "{first}" is no number of repeats', allowed="a whole number, then what to move", todo="--demote 2 blurred"
        )
    return int(first), rest or [AUTO]


def chosen_by(words: Sequence[str], rows: Sequence[Row], grade: str, *, has_find: bool) -> list[Path]:
    """The pictures that words name: `auto` those of the verdict, `all`, kinds of findings, names. Raises UsageError for other words."""
    kinds: dict[str, set[Path]] = {kind: set() for kind in (*picture_checks.KINDS, *caption_checks.KINDS)}
    for row in rows:
        for kind in (*(finding.kind for finding in row.verdict.found), *(remark.kind for remark in row.remarks)):
            kinds.setdefault(kind, set()).add(row.verdict.path)
    chosen: set[Path] = set()
    for word in words:
        named = {row.verdict.path for row in rows if word.replace("\\", "/") in (row.name, row.verdict.path.name)}
        if word == AUTO:
            chosen |= {row.verdict.path for row in rows if row.verdict.grade == grade}
        elif word == ALL and has_find:
            chosen |= {row.verdict.path for row in rows}
        elif word in kinds:
            chosen |= kinds[word]
        elif named:
            chosen |= named
        else:
            all_ = f", {ALL} with --find" if word != ALL else f"; {ALL} only with --find, which says of what"
            raise UsageError(
                f'"{word}" is no finding and no picture here', allowed=f"{AUTO}{all_}, {', '.join(kinds)}, or a picture's name"
            )
    return [row.verdict.path for row in rows if row.verdict.path in chosen]

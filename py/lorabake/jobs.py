"""What py/train.py does: find the profiles, check and plan all of them, then bake each, then a summary.

No torch here, so that a typo in the tenth profile is answered in a second. Not here: what a profile or a plan is, and baking itself.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lorabake import (
    asking,
    closing,
    console,
    environment,
    hardware,
    interview,
    new_profile,
    night_times,
    paths,
    pickers,
    plan,
    plan_text,
    power,
    profile,
)
from lorabake.errors import LorabakeError, QueueFailed, Stopped, UsageError, UserError
from lorabake.plan_types import Plan

SUFFIXES = (".yaml", ".yml")
NAME_ROOM = 28  # columns, in the list to choose from
CHOOSE = """Which profile? Type its number (or several: 1 3), or drag its file here.
  n: a new one, by questions   {window}Enter alone: stop"""
STATUS = {
    0: "done",
    1: "needs your hand",
    2: "wrong arguments",
    3: "our bug",
    10: "out of memory",
    11: "diverged",
    12: "disk full",
    13: "stopped, state saved",
}


@dataclass(frozen=True)
class Planned:
    path: Path
    plan: Plan
    warnings: tuple[str, ...]


def main(options: Namespace) -> int:
    """Exit code of py/train.py; errors of single profiles are raised as they are, those of several are shown together."""
    if options.answers:
        new_profile.from_file(options)
        return 0
    if options.new:
        options.profile_path = interview.run(options)
        if not options.profile_path:
            return 0
    end = night_times.end_after(datetime.now(), options.stop_by) if options.stop_by else None
    planned, num_bad = checked(options, must_be_right=asking.somebody_there() or options.plan_only)
    if options.clear_cache:
        return clear_caches(planned)
    if options.plan_only:
        show(planned, as_json=options.json)
        return 0
    if past(end):
        raise Stopped(f"nothing was started: the end that was given, {end:%Y-%m-%d %H:%M}, is past")
    with power.awake():
        if len(planned) + num_bad == 1:
            from lorabake.bake import bake

            show(planned, as_json=False, stream=console.say)
            return bake(planned[0].plan, fresh=options.fresh, end=end)
        return bake_each(planned, options, end, num_skipped=num_bad)


def past(end: datetime | None) -> bool:
    return end is not None and datetime.now() >= end


def checked(options: Namespace, *, must_be_right: bool) -> tuple[list[Planned], int]:
    """The plans of all that was typed or chosen, and how many profiles have mistakes, which were told.

    Raises the mistake where there is one profile only, and where several `must_be_right` unless --skip-bad was typed.
    """
    files = find(options.profile_path or choose())
    planned, failures = plan_all(files, options.set)
    refuse_same_names(planned)
    if failures and len(files) == 1:
        raise failures[0]
    for failure in failures:
        console.say(f"error: {failure}\n")
    if failures and not options.skip_bad and must_be_right:
        raise UserError(
            f"{len(failures)} of {len(files)} profiles have mistakes, nothing was started",
            todo="mend them, or add --skip-bad to go on without them",
        )
    return planned, len(failures)


def rejoined(words: Sequence[str], exists: Callable[[str], bool]) -> list[str]:
    """A list of files that PowerShell's -File took apart at every comma, with the commas that belong to names put back."""
    found, rest = [], list(words)
    while rest:
        lengths = (length for length in range(1, len(rest) + 1) if exists(",".join(rest[:length])))
        length = next(lengths, 1)
        found.append(",".join(rest[:length]))
        rest = rest[length:]
    return found


def find(given: Sequence[str | Path]) -> list[Path]:
    """Profile files for what was typed: files as they are, folders by the profiles in them. Each file once."""
    found: list[Path] = []
    for item in map(Path, rejoined([str(item) for item in given], lambda typed: Path(typed).exists())):
        if item.is_dir():
            inside = [path for path in paths.visible(item) if path.suffix.lower() in SUFFIXES]
            if not inside:
                raise UserError(
                    "no profiles here", where=str(item), allowed="files ending in .yaml", todo="copy profiles/demo.yaml and change it"
                )
            found += inside
        else:
            found.append(item)
    return list(dict.fromkeys(found))


def choose() -> list[Path]:
    """Ask which profiles, at a console; without one, say what to type. `n` makes a new one by questions."""
    offered = [path for path in paths.visible(paths.PROFILES) if path.suffix.lower() in SUFFIXES]
    if not asking.somebody_there():
        raise UsageError(
            "no profile was named", allowed=", ".join(str(path) for path in offered), todo="python py/train.py profiles/demo.yaml"
        )
    for line in rows(offered, shutil.get_terminal_size().columns - 1):
        console.say(line)
    console.say(CHOOSE.format(window="w: choose in a window   " if pickers.screen() else ""))
    typed = asking.line() or ""
    if not typed:
        raise UsageError("no profile was chosen")
    if typed.lower() in ("n", "new"):
        return interview.run(Namespace(profile_path=[]))
    if typed.lower() == "w":
        found = pickers.files("Profiles", pickers.PROFILES)
        if not found:
            raise UsageError("no profile was chosen" if found is not None else "no window can be opened here", todo="type its number")
        return [Path(path) for path in found]
    if numbers := numbers_of(typed, len(offered)):
        return [offered[number - 1] for number in numbers]
    return [Path(path) for path in asking.paths_of(typed)]


def rows(offered: Sequence[Path], width: int) -> list[str]:
    """A line per profile, in narrow windows too: its number, its name, what it is for."""
    room = min(NAME_ROOM, max((len(path.stem) for path in offered), default=0))
    lines = [f"  {number:>2}  {path.stem:<{room}}  {summary(path)}".rstrip() for number, path in enumerate(offered, start=1)]
    return [line if len(line) <= width else f"{line[: width - 3].rstrip()}..." for line in lines]


def numbers_of(typed: str, most: int) -> list[int]:
    """`2`, `1 3` or `1,3` as numbers of the list, each once; [] for what is something else."""
    words = typed.replace(",", " ").split()
    numbers = [int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 6]
    return list(dict.fromkeys(numbers)) if len(numbers) == len(words) and all(1 <= number <= most for number in numbers) else []


def summary(path: Path) -> str:
    """The first comment line of a profile that is not for editors; without one, what its first keys say."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for line in lines:
        if line.startswith("#") and "yaml-language-server" not in line:
            return line.lstrip("# ").strip()[:90]
    told = [line.partition(":")[2].strip().strip("'\"") for line in lines if line.startswith(("base_model:", "images:"))]
    return " and ".join(text.replace("\\", "/").rpartition("/")[2] for text in told)[:90]


def plan_all(files: Sequence[Path], overrides: Sequence[str]) -> tuple[list[Planned], list[LorabakeError]]:
    planned, failures = [], []
    seen = hardware.look()  # asks a program of the card's driver: once for all
    for path in files:
        try:
            loaded = profile.load(path, overrides)
            planned.append(Planned(path, plan.make(loaded, seen), loaded.warnings))
        except LorabakeError as error:
            failures.append(error)
    return planned, failures


def refuse_same_names(planned: Sequence[Planned]) -> None:
    seen: dict[tuple[str, str], Path] = {}
    for job in planned:
        key = (str(Path(job.plan.output).resolve()).lower(), job.plan.name.lower())
        if key in seen:
            raise UserError(
                f"two profiles would write the same files, {job.plan.name} in {job.plan.output}",
                where=f"{seen[key]} and {job.path}",
                todo="give one of them another name:",
            )
        seen[key] = job.path


def show(planned: Sequence[Planned], *, as_json: bool, stream: object = console.result) -> None:
    assert callable(stream)
    if as_json:
        plans = [json.loads(job.plan.to_json()) for job in planned]
        console.result(json.dumps(plans[0] if len(plans) == 1 else plans, indent=1))
        return
    for job in planned:
        stream(plan_text.render(job.plan, width=min(96, max(60, shutil.get_terminal_size((96, 24)).columns - 1))))
        stream("")


def bake_each(planned: Sequence[Planned], options: Namespace, end: datetime | None, *, num_skipped: int) -> int:
    """Each profile in a child process of its own, so that memory is freed and a crash spoils one job only."""
    script = str(paths.ROOT / "py" / "train.py")
    more = [word for override in options.set for word in ("--set", override)] + (["--fresh"] if options.fresh else [])
    more += [f"--stop-by={end:%Y-%m-%dT%H:%M}"] if end else []
    rows, stopped = [], False
    for number, job in enumerate(planned, start=1):
        if stopped or past(end):
            stopped = True
            rows.append((job.plan.name, "not started", 0.0))
            continue
        console.say(f"\n=== {number} of {len(planned)}: {job.plan.name}")
        began = time.monotonic()
        code = run_child([sys.executable, script, str(job.path), *more])
        rows.append((job.plan.name, STATUS.get(code, "failed"), time.monotonic() - began))
        stopped = code == Stopped.exit_code
    console.say("")
    for name, status, seconds in rows:
        console.say(f"  {name:<30} {status:<22} {console.duration(seconds) if seconds else ''}".rstrip())
    if num_skipped:
        console.say(f"  {num_skipped} profiles with mistakes were skipped")
    if stopped:
        return Stopped.exit_code
    num_failed = sum(status != STATUS[0] for _, status, _ in rows) + num_skipped
    if num_failed:
        raise QueueFailed(
            f"{num_failed} of {len(planned) + num_skipped} jobs failed", todo="see above; the same command goes on where it can"
        )
    return 0


def run_child(command: list[str], closed: list[str] | None = None) -> int:
    """Exit code of a child, which answers Ctrl-C and a closed window itself; the latter is noted in `closed`."""
    child = subprocess.Popen(command)
    with left_to_the_child(closed):
        return code_of(child)


@contextmanager
def left_to_the_child(closed: list[str] | None = None) -> Iterator[None]:
    """Ctrl-C and a closing window reach this process as well as its child; the child saves its state, and here is only waited."""
    names = [name for name in ("SIGINT", "SIGBREAK", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), signal.SIG_IGN) for name in names}
    try:
        with closing.listening((closed if closed is not None else []).append):
            yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def code_of(child: subprocess.Popen[bytes]) -> int:
    """Waits for a child; a death without a code counts as 3."""
    code = environment.exit_code_of(child.wait())
    return code if code in STATUS or code == QueueFailed.exit_code else 3


def clear_caches(planned: Sequence[Planned]) -> int:
    """Empty the caches of these profiles' outputs: latents, sample pictures and remembered hashes, all of which can be made again."""
    for output in dict.fromkeys(job.plan.output for job in planned):
        cache = Path(output) / ".cache"
        num_bytes = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
        if cache.is_dir():
            shutil.rmtree(cache)
        console.say(f"{cache}: {console.size(num_bytes)} freed")
    return 0

"""`setup.py --check`: what is well with this machine and what is not, a row each, with cause and fix. Changes nothing.

Not here: making the environment (builder.py). Standard library only.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lorabake import console, hardware, installer, paths, pythons, torch_builds, venvs
from lorabake.errors import UserError

OK, WARN, FAIL = "OK", "WARN", "FAIL"
GIB = 1 << 30
LITTLE_DISK, LITTLE_MEMORY_GIB, LITTLE_COMMIT = 10 * GIB, 7.5, 12 * GIB
LONG_ROOT = 100  # characters; packages nest up to 130 deeper, and Windows ends at 260
PAGE_FILE = "Windows settings, System, About, Advanced system settings, Performance, Advanced, Virtual memory: let Windows manage it"
SYNCED = ("onedrive", "dropbox", "google drive", "icloud")
CODE = """
import json, sys, torch
told = {"python": sys.version.split()[0], "torch": torch.__version__, "cuda": torch.version.cuda}
told.update(card="", trouble="", eight_bit="")
if torch.version.cuda:
    try:
        torch.ones(8, device="cuda").sum().item()
        told["card"] = torch.cuda.get_device_name(0)
        import bitsandbytes
    except ImportError as error:
        told["eight_bit"] = str(error).splitlines()[0]
    except (RuntimeError, AssertionError) as error:
        told["trouble"] = str(error).splitlines()[0]
print("told " + json.dumps(told))
"""


@dataclass(frozen=True)
class Check:
    """One row: `status` is OK, WARN or FAIL; `fix` is empty where nothing is to do."""

    name: str
    status: str
    found: str
    fix: str = ""


def checks(*, root: Path = paths.VENV, stack: Path = paths.STACK) -> list[Check]:
    """Every check, in the order in which to mend things."""
    seen = hardware.look()
    told, environment = environment_check(root, stack)
    choice = torch_builds.choose(seen, torch_builds.rows(table=stack / venvs.TORCH))
    rows = [python_check(), *folder_checks(root.parent), disk_check(root), *memory_checks(), environment]
    return [*rows, *card_checks(seen, choice, told), torch_check(seen, choice, told), model_check()]


def python_check() -> Check:
    """The running Python, or another that fits."""
    version = platform.python_version()
    if pythons.fits(sys.version_info[:2]) and sys.maxsize > 2**32:
        return Check("Python", OK, f"{version}, {sys.executable}")
    try:
        path, other = pythons.base_python()
    except UserError as error:
        return Check("Python", FAIL, error.what, error.todo)
    return Check("Python", OK, f"{version} does not fit, but {other} is there: {path}")


def folder_checks(folder: Path) -> list[Check]:
    """Whether our folder can be written, and what makes trouble in its path."""
    text = str(folder)
    if not os.access(folder, os.W_OK):
        fix = "move it into a folder of your own; on Windows not below Program Files"
        return [Check("folder", FAIL, f"{text} cannot be written", fix)]
    synced = [name for name in SYNCED if name in text.lower()]
    if synced:
        return [Check("folder", WARN, f"{text} is copied to a cloud by {synced[0]}", "move lorabake to a folder that is not synchronised")]
    if sys.platform == "win32" and len(text) > LONG_ROOT and not long_paths_enabled():
        return [Check("folder", WARN, f"{text} is a long path", "move lorabake to a short one, such as C:\\lorabake")]
    return [Check("folder", OK, text)]


def long_paths_enabled() -> bool:
    """Whether Windows is set to allow paths of more than 260 characters; True elsewhere."""
    if sys.platform != "win32":
        return True
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False


def disk_check(root: Path) -> Check:
    """Room for the environment, models and caches."""
    free = paths.free_bytes(root)
    status = OK if free > LITTLE_DISK else WARN if free > LITTLE_DISK / 5 else FAIL
    return Check(
        "disk",
        status,
        f"{console.size(free)} free",
        "" if status == OK else "make room: an environment with CUDA needs 10 GB, one without 3 GB",
    )


def memory_checks() -> list[Check]:
    """Memory, and on Windows what may still be promised: loading a 4 GB model fails there with error 1455 when the page file is small."""
    memory = hardware.memory_bytes()
    if not memory:
        return [Check("memory", WARN, "the amount cannot be read")]
    total_gib = memory["total"] / GIB
    status = OK if total_gib >= LITTLE_MEMORY_GIB else WARN
    rows = [
        Check(
            "memory", status, f"{total_gib:.1f} GiB", "" if status == OK else "close other programs while baking; a 4 GB model needs 8 GiB"
        )
    ]
    if "commit_free" in memory:
        free = memory["commit_free"]
        rows.append(
            Check(
                "page file", OK if free > LITTLE_COMMIT else WARN, f"{console.size(free)} left", "" if free > LITTLE_COMMIT else PAGE_FILE
            )
        )
    return rows


def environment_check(root: Path, stack: Path) -> tuple[dict[str, Any], Check]:
    """What the environment tells of its torch ({} when it cannot), and its row."""
    python, name = Path(sys.executable), "LORABAKE_PYTHON=current"
    if os.environ.get("LORABAKE_PYTHON") != "current":
        env = venvs.current(root)
        reason = venvs.why_not(env, stack)
        fix = "python py/setup.py"
        if env is None or reason:
            return {}, Check("environment", WARN if env is None else FAIL, reason, f"{fix} (any bake does it too)")
        broken = installer.broken_packages(env)
        if broken:
            return {}, Check("environment", FAIL, f"{env.name} is damaged: {', '.join(info.name for info in broken[:5])}", fix)
        python, name = venvs.python_of(env), f"{env.name}, made {venvs.read_stamp(env).get('made', '')}"
    try:
        told = json.loads(installer.imported(python, CODE))
    except UserError as error:
        return {}, Check("environment", FAIL, error.what, "python py/setup.py")
    return told, Check("environment", OK, f"{name}: Python {told['python']}, torch {told['torch']}")


def card_checks(seen: hardware.Seen, choice: torch_builds.Choice, told: dict[str, Any]) -> list[Check]:
    """A row per NVIDIA card, and one for its driver."""
    if seen.problem:
        return [Check("graphics card", FAIL, seen.problem, torch_builds.UPDATE_DRIVER)]
    if not seen.cards:
        return [Check("graphics card", WARN, "no NVIDIA card", "none needed for the demo; real models bake slowly on the CPU")]
    rows = [
        Check(
            "graphics card",
            OK,
            f"{card.index}: {card.name}, {card.vram_gib:.1f} GiB ({card.free_gib:.1f} free), compute {card.compute_text}",
        )
        for card in seen.cards
    ]
    first = choice.warning.splitlines()
    status = OK if not first else WARN if choice.builds[0].compute else FAIL
    return [*rows, Check("driver", status, first[0] if first else seen.cards[0].driver_text, torch_builds.UPDATE_DRIVER if first else "")]


def torch_check(seen: hardware.Seen, choice: torch_builds.Choice, told: dict[str, Any]) -> Check:
    """Whether torch computes where it should."""
    if not told:
        return Check("torch", WARN, "not known without an environment")
    if told["trouble"]:
        return Check("torch", FAIL, f"{told['torch']} does not compute on the card: {told['trouble']}", torch_builds.UPDATE_DRIVER)
    if seen.cards and choice.builds[0].compute and not told["cuda"]:
        return Check("torch", FAIL, f"{told['torch']} leaves the card unused", f"python py/setup.py --torch {choice.names[0]}")
    if told["eight_bit"]:
        return Check("torch", WARN, f"{told['torch']}; bitsandbytes: {told['eight_bit']}", "AdamW8bit will be AdamW, which needs more VRAM")
    return Check("torch", OK, f"{told['torch']} computes on {told['card'] or 'the CPU'}")


def model_check() -> Check:
    """Whether the small model of the demo is there."""
    path = paths.MODELS / "pocket.safetensors"
    if path.is_file() and path.stat().st_size > 1 << 20:
        return Check("pocket model", OK, console.size(path.stat().st_size))
    return Check("pocket model", WARN, f"{path} is not there", "the demo needs it: fetch the whole repository again")


def exit_code(found: list[Check]) -> int:
    """1 when a row says FAIL."""
    return int(any(check.status == FAIL for check in found))


def to_text(found: list[Check]) -> str:
    """A row per check, its fix on the line below."""
    width = max(len(check.name) for check in found)
    lines = []
    for check in found:
        lines.append(f"{check.status:<4}  {check.name:<{width}}  {check.found}")
        if check.fix:
            lines.append(f"{'':<{6 + width}}  -> {check.fix}")
    return "\n".join(lines)


def to_json(found: list[Check]) -> str:
    """The rows for machines."""
    return json.dumps([asdict(check) for check in found], indent=1)

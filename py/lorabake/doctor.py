"""`setup.py --check`: what is well with this machine and what is not, a row each, with cause and fix. Changes nothing.

Here the facts are gathered and the rows put together; what a fact means is said in doctor_folder.py, doctor_system.py and
doctor_environment.py, how rows look in doctor_table.py, what --fix does in doctor_fixes.py. Standard library only.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Union

from lorabake import (
    disks,
    dlls,
    doctor_ask,
    doctor_environment,
    doctor_folder,
    doctor_system,
    doctor_windows,
    environment,
    hardware,
    installer,
    magick,
    paths,
    pins,
    pythons,
    torch_builds,
    venvs,
    web_mark,
)
from lorabake.doctor_table import WARN, Check, number_of
from lorabake.errors import LorabakeError, UserError

WINDOWS = os.name == "nt"
SETUP = doctor_environment.setup_command(windows=WINDOWS)
STARTED = "setup.bat -Check" if WINDOWS else "python3 py/setup.py --check"
# What a look at a machine can meet: no right, an odd locale, a call that this Windows lacks, a program that does not end.
FAILURES = (OSError, ValueError, LookupError, ImportError, AttributeError, TypeError, subprocess.SubprocessError, LorabakeError)
Made = Union[Check, Iterable[Check], None]  # noqa: UP007  (old Pythons read this file too)


@dataclass(frozen=True)
class Environment:
    """Which Python is looked at. `python` None: there is none that could be asked. `row`: its torch's row of torch.json, '' unknown."""

    name: str
    python: Path | None
    library: Path
    ours: Path | None  # its folder when lorabake made it
    reason: str = ""
    told: str = ""
    row: str = ""
    stack: Path = paths.STACK


def checks(*, root: Path = paths.VENV, stack: Path = paths.STACK) -> list[Check]:
    """Every row, in the order of the numbers."""
    env = environment_of(root, stack)
    with ThreadPoolExecutor(1) as pool:  # importing torch takes seconds, in which the rest is looked at
        asked = pool.submit(doctor_ask.ask, env.python) if env.python and not env.reason else None
        rows = [*machine_rows(root.parent, env), *environment_rows(env)]
        told = asked.result() if asked else {}
    rows += card_rows(env, told)
    if env.name and not env.ours:  # setup would make another one, which LORABAKE_PYTHON=current then does not use
        rows = [replace(row, action="") if row.action in doctor_environment.ACTIONS else row for row in rows]
    return sorted(rows, key=lambda check: number_of(check.name))


def guarded(name: str, make: Callable[[], Made]) -> list[Check]:
    """The rows of one check; one that cannot be made says so itself."""
    try:
        made = make()
        return [made] if isinstance(made, Check) else list(made or ())
    except FAILURES as error:
        lines = str(error).splitlines()
        words = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        return [Check(name, WARN, "could not be looked at", words, "nothing, if bakes run")]


def environment_of(root: Path, stack: Path) -> Environment:
    """The environment that bakes run in, or with LORABAKE_PYTHON=current the running Python."""
    if os.environ.get(environment.CHOICE) == "current":
        library = Path(sysconfig.get_path("purelib"))
        try:
            environment.check_running()
        except UserError as error:
            return Environment(f"{environment.CHOICE}=current", Path(sys.executable), library, None, error.allowed)
        return Environment(f"{environment.CHOICE}=current", Path(sys.executable), library, None, told=sys.prefix)
    env = venvs.current(root)
    reason = venvs.why_not(env, stack)
    if env is None:
        return Environment("", None, root, None, reason)
    stamp = venvs.read_stamp(env)
    python = venvs.python_of(env)
    made = f"made {stamp['made']}" if stamp.get("made") else ""
    usable = python if stamp and python.exists() else None
    return Environment(env.name, usable, venvs.library_of(env), env, reason, made, str(stamp.get("row") or ""), venvs.stack_of(env, stack))


def machine_rows(folder: Path, env: Environment) -> list[Check]:
    """What is known without an environment."""
    text = str(folder)
    rows = guarded("Python", python_row)
    rows += guarded("folder", lambda: doctor_folder.folder_row(text, doctor_folder.writable(folder), os.environ, windows=WINDOWS))
    rows += guarded("neighbours", lambda: _neighbours(folder))
    rows += guarded("disk", lambda: doctor_folder.disk_row(paths.free_bytes(folder), disks.disk_of(folder)))
    memory = hardware.memory_bytes()
    rows += guarded("memory", lambda: doctor_system.memory_row(memory))
    pocket = paths.MODELS / "pocket.safetensors"
    rows += guarded("pocket model", lambda: doctor_environment.model_row(str(pocket), pocket.stat().st_size if pocket.is_file() else 0))
    if WINDOWS:
        rows += windows_rows(folder, env, memory)
    return rows


def python_row() -> Check:
    """The running Python, or another that fits."""
    version = platform.python_version()
    if pythons.fits(sys.version_info[:2]) and sys.maxsize > 2**32:
        return doctor_environment.python_row(version, sys.executable, None, "")
    try:
        path, other = pythons.base_python()
    except UserError as error:
        return doctor_environment.python_row(version, sys.executable, None, error.what)
    return doctor_environment.python_row(version, sys.executable, f"{other}, {path}", "")


def _neighbours(folder: Path) -> Check:
    name, above = doctor_folder.neighbours(folder)
    return doctor_folder.neighbours_row(str(folder), name, str(above), windows=WINDOWS)


def windows_rows(folder: Path, env: Environment, memory: dict[str, int]) -> list[Check]:
    """What only Windows has."""
    seen = doctor_windows.look()
    if seen is None:
        return []
    python, text = str(env.python or sys.executable), str(folder)
    rows = guarded("Windows", lambda: doctor_system.windows_row(seen.version, seen.display))
    rows += guarded("path length", lambda: doctor_folder.path_row(text, long_paths=seen.long_paths))
    rows += guarded("folder guard", lambda: doctor_folder.guard_row(seen.guard, text, seen.guarded, python))
    rows += guarded("page file", lambda: doctor_system.page_file_row(memory, seen.page_files))
    rows += guarded("web mark", lambda: doctor_system.mark_row(web_mark.marked(folder), folder))
    rows += guarded("ImageMagick", lambda: doctor_system.magick_row(magick.here(), magick.LOST, magick.INSTALL))
    return rows + guarded("restart", lambda: doctor_system.restart_row(seen.restarts))


def environment_rows(env: Environment) -> list[Check]:
    """What can be read of the environment without starting its Python."""
    rows = guarded("environment", lambda: _environment(env))
    if env.python and env.library.is_dir() and not env.reason:
        rows += guarded("packages", lambda: _packages(env))
        if env.ours:
            rows += guarded("DLLs", lambda: doctor_environment.dll_rows(dlls.findings(env.ours or env.library, env.stack), setup=SETUP))
    return rows


def _environment(env: Environment) -> Check:
    broken = installer.broken_packages(env.ours) if env.ours and env.python else []
    names = [info.name.split("-")[0] for info in broken]
    command = SETUP if env.ours or not env.name else _pip_command(env)
    return doctor_environment.environment_row(env.name, env.told, reason=env.reason, broken=names, command=command)


def _pip_command(env: Environment) -> str:
    return f'"{env.python}" -m pip install -r "{env.stack / venvs.REQUIREMENTS}"'


def _packages(env: Environment) -> Check:
    pinned = pins.wanted(env.stack, row=env.row)
    wrong = pins.differences(pins.installed(env.library), pinned)
    command = doctor_environment.fix_command("packages", windows=WINDOWS) if env.ours else _pip_command(env)
    return doctor_environment.packages_row(wrong, len(pinned), ours=bool(env.ours), command=command)


def card_rows(env: Environment, told: dict[str, dict[str, Any]]) -> list[Check]:
    """The card, its driver, and what the environment computes on it. `told`: doctor_ask.ask's."""
    seen = hardware.look()
    table = torch_builds.rows(table=env.stack / venvs.TORCH)
    choice = torch_builds.choose(seen, table)
    known = told.get("torch", {}).get("version", "")
    built = next((build for build in table if build.name == (env.row or known.partition("+")[2])), None)
    rows = guarded("graphics card", lambda: doctor_environment.card_rows(seen))
    rows += guarded("driver", lambda: doctor_environment.driver_row(seen, choice, built))
    rows += guarded("VRAM", lambda: doctor_environment.vram_row(seen, doctor_ask.users_of_memory()))
    rows += guarded("VRAM overflow", lambda: doctor_environment.overflow_row(seen, windows=WINDOWS))
    rows += guarded("torch", lambda: doctor_environment.torch_row(told.get("torch"), seen, choice, windows=WINDOWS))
    rows += guarded("cuDNN", lambda: doctor_environment.cudnn_row(told.get("cuDNN"), setup=SETUP))
    rows += guarded("bitsandbytes", lambda: doctor_environment.bitsandbytes_row(told.get("bitsandbytes"), setup=SETUP))
    rows += guarded("xformers", lambda: doctor_environment.xformers_row(told.get("xformers"), python=str(env.python)))
    return rows + guarded("onnxruntime", lambda: doctor_environment.onnxruntime_row(told.get("onnxruntime"), setup=SETUP))

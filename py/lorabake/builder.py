"""Makes environments: one at a time, step by step, each step verified by importing what it brought, stamped only when all is well.

A half-made one (power cut, closed window, lost network) is gone on with after a check of its files; a finished one that has become unfit is
never changed but replaced by the next number, and taken away once nothing runs in it. Not here: running pip (installer.py), which torch
(torch_builds.py). Standard library only.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lorabake import accelerate_config, console, dlls, errors, hardware, installer, paths, pythons, torch_builds, venvs
from lorabake.errors import DiskFull, UserError

PROGRESS = "_half-made.json"
ON_CPU = {"cpu", torch_builds.OWN_INDEX}
PIN = "lorabake-torch.txt"  # holds the installed torch's exact version, so that no later step of pip can replace it
ROOM_CPU, ROOM_CUDA = 3 << 30, 10 << 30  # bytes: the environment, and a wheel on its way in
WAIT_EVERY_S, WAIT_SAID_EVERY_S = 0.5, 60.0
# The version as pip knows it: torch of the package index for Windows calls itself 2.13.0+cpu and is 2.13.0 to pip.
TORCH_CODE = """
import importlib.metadata, json, torch
told = {"version": importlib.metadata.version("torch"), "cuda": torch.version.cuda, "trouble": ""}
assert float((torch.ones(8) @ torch.ones(8))) == 8.0
if torch.version.cuda:
    try:
        told["trouble"] = "" if float((torch.ones(8, device="cuda") * 2).sum()) == 16.0 else "wrong result"
    except (RuntimeError, AssertionError) as error:
        told["trouble"] = str(error).splitlines()[0]
print("told " + json.dumps(told))
"""
SET_CODE = """
import accelerate, bottle, imagehash, numpy, onnxruntime, PIL.Image, psutil, pydantic, safetensors.torch, waitress, yaml
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel
import importlib.metadata
print("told " + importlib.metadata.version("torch"))
"""
ONNX_CODE = """
import torch, onnxruntime
assert "CUDAExecutionProvider" in onnxruntime.get_available_providers(), "onnxruntime has no CUDA"
print("told " + onnxruntime.__version__)
"""
TESTS_CODE = "import onnx, peft, playwright, pytest; print('told ' + pytest.__version__)"


@dataclass(frozen=True)
class Place:
    """Where environments stand (`root`) and where the pinned set is (`stack`)."""

    root: Path
    stack: Path


@dataclass
class Work:
    """An environment being made. `done` maps finished steps to what they brought; it is kept on disk for a start after a break."""

    place: Place
    env: Path
    log: Path
    key: dict[str, str]
    done: dict[str, str] = field(default_factory=dict)
    pid: int = 0

    @property
    def python(self) -> str:
        """The environment's interpreter."""
        return str(venvs.python_of(self.env))

    def keep(self, **done: str) -> None:
        """Note finished steps on disk."""
        self.done.update(done)
        paths.write_json(self.env / PROGRESS, {"key": self.key, "done": self.done, "pid": self.pid})

    def started(self, pid: int) -> None:
        """Note the program that is writing into the environment: while it lives, nobody else may."""
        self.pid = pid
        self.keep()

    def run(self, command: list[str], label: str) -> str:
        """Run one step; see installer.run_step."""
        tail = installer.run_step(command, label=label, log=self.log, temp=temp_folder(self.place.root), started=self.started)
        self.pid = 0
        return tail

    def pip(self, *words: str, label: str) -> None:
        """pip install inside the environment, from wheels only; the user's own pip settings hold."""
        shared = [
            "--only-binary",
            ":all:",
            "--progress-bar",
            "off",
            "--no-warn-script-location",
            "-c",
            str(self.place.stack / venvs.REQUIREMENTS),
        ]
        self.run([self.python, "-m", "pip", "install", *shared, *words], label)


def build(place: Place, *, torch: str | None = None) -> Path:
    """A usable environment: the current one when it is whole, else a new one. `torch` names a row of torch.json.

    Raises UserError and DiskFull with what to do, UsageError for an unknown `torch`.
    """
    table = torch_builds.rows(table=place.stack / venvs.TORCH)
    with locked(place.root):
        env = venvs.current(place.root)
        reason = venvs.why_not(env, place.stack)
        asked = torch or (venvs.read_stamp(env).get("asked") if env else None)
        if asked not in {
            build.name for build in table
        }:  # "auto", or a row that a newer table no longer has; a wrong --torch is refused below
            asked = None if torch in {None, "auto"} else torch
        seen = hardware.look()
        accelerate_config.write(place.root.parent, seen)
        choice = torch_builds.choose(seen, table, asked=asked)
        if env and not reason:
            console.say(f"checking the environment {env.name}")
            dlls.mend(env, place.stack, log=new_log, temp=temp_folder(place.root), thorough=False)
            reason = unfit(env, choice)
        if env and not reason:
            restamp(env, asked=asked)
            return env
        console.say(f"setting up lorabake's environment ({reason})")
        console.say(f"  {choice.reason}; torch {table[0].version}: {choice.names[0]}")
        if choice.warning:
            console.say(f"  warning: {choice.warning}")
        made = make(place, choice, asked=asked)
        paths.write_text(place.root / "current.txt", made.name + "\n")
        tidy(place.root, made)
        return made


def unfit(env: Path, choice: torch_builds.Choice) -> str:
    """Why a stamped environment must be replaced: another torch is due, or its files or imports are broken. '' when it is whole."""
    due = torch_due(str(venvs.read_stamp(env).get("row")), choice)
    if due:
        return due
    broken = installer.broken_packages(env)
    if broken:
        return f"{env.name} is damaged: {', '.join(info.name.split('-')[0] for info in broken[:5])}"
    try:
        installer.imported(venvs.python_of(env), SET_CODE)
    except UserError as error:
        return f"{env.name} is damaged: {error.what}"
    return ""


def torch_due(row: str, choice: torch_builds.Choice) -> str:
    """Why the installed torch (row of torch.json) must go, '' when it may stay: an absent card or a silent index leaves it as it is."""
    for_card = [build for build in choice.builds if build.compute]
    if row in choice.names and not (for_card and row in ON_CPU):
        return ""
    if not for_card and not choice.asked:
        return ""
    silent = [torch_builds.probe(build) for build in for_card]
    if silent and all(silent):
        console.say(f"torch {for_card[0].name} would suit the card, but its index does not answer ({silent[0]}): {row} stays")
        return ""
    return f"torch {row} is installed, {choice.names[0]} is due"


def make(place: Place, choice: torch_builds.Choice, *, asked: str | None) -> Path:
    """Make a new environment, or go on with a half-made one, and stamp it."""
    base = pythons.base_python()
    key = {"lock": venvs.lock_hash(place.stack), "python": base[1], "base": base[0]}
    work = half_made(place, key) or Work(place, next_folder(place.root), new_log(), key)
    need = ROOM_CPU if choice.names[0] in ON_CPU else ROOM_CUDA
    free = paths.free_bytes(place.root)
    if free < need and not work.done:
        raise DiskFull(
            f"{console.size(free)} are free, {console.size(need)} are needed", where=str(place.root), todo="make room, then start again"
        )
    console.say(f"  into {work.env} with Python {base[1]}; log: {work.log}")
    if "venv" not in work.done:
        work.env.mkdir()
        work.run([base[0], "-m", "venv", str(work.env)], "folder")
        installer.imported(venvs.python_of(work.env), "import pip; print('told ' + pip.__version__)")
        work.keep(venv=base[1])
    if "torch" not in work.done:
        add_torch(work, choice)
    if "set" not in work.done:
        work.pip("-r", str(place.stack / venvs.REQUIREMENTS), "-c", str(work.env / PIN), label="packages")
        add_onnxruntime(work, [build.onnxruntime for build in choice.builds if build.name == work.done["row"]])
        version = installer.imported(venvs.python_of(work.env), SET_CODE)
        if version != work.done["torch"]:
            raise UserError(f"torch {work.done['torch']} was replaced by {version}", where=str(work.log), todo="start again")
        dlls.mend(work.env, place.stack, log=lambda: work.log, temp=temp_folder(place.root))
        console.say("  everything imports")
        work.keep(set=work.key["lock"])
    stamp = {**key, "torch": work.done["torch"], "row": work.done["row"], "asked": asked, "mark": venvs.driver_mark(), "tests": None}
    paths.write_json(work.env / venvs.STAMP, {**stamp, "made": time.strftime("%Y-%m-%d %H:%M"), "choice": choice.reason})
    (work.env / PROGRESS).unlink(missing_ok=True)
    return work.env


def add_torch(work: Work, choice: torch_builds.Choice) -> None:
    """Install the first build of the choice whose index answers and that computes here."""
    place = work.place
    for build in choice.builds:
        silent = torch_builds.probe(build)
        if silent:
            console.say(f"  torch {build.name}: {build.index} does not answer ({silent}); trying the next")
            continue
        extra = ["--extra-index-url", build.index] if build.index else []
        if not build.index:
            brings = " (PyPI's for Linux brings CUDA along, 3 GB)" if sys.platform == "linux" else ""
            console.say(f"  torch from the index that pip is set to use{brings}")
        try:
            work.pip(build.requirement, *extra, label=f"torch {build.name}" if build.index else "torch")
            told = json.loads(dlls.loaded(work.env, place.stack, TORCH_CODE, log=lambda: work.log, temp=temp_folder(place.root)))
        except (DiskFull, installer.NoNetwork):
            raise
        except UserError as error:
            if build is choice.builds[-1]:
                raise
            console.say(f"  torch {build.name}: {error.what}; trying the next")
            continue
        if build.compute and told["trouble"]:
            going_on = "kept, as it was asked for" if choice.asked else "trying the next"
            console.say(f"  torch {build.name} does not compute here: {told['trouble']}; {going_on}")
            if not choice.asked:
                continue
        paths.write_text(work.env / PIN, f"torch=={told['version']}\n")
        console.say(f"  torch {told['version']} computes{' on the card' if told['cuda'] and not told['trouble'] else ' on the CPU'}")
        work.keep(torch=told["version"], row=build.name)
        return
    todo = f"{torch_builds.UPDATE_DRIVER}; or: python py/setup.py --torch cpu"
    raise UserError("no build of torch could be installed that computes here", where=str(work.log), todo=todo)


def add_onnxruntime(work: Work, wanted: list[str]) -> None:
    """Put the onnxruntime for the card's CUDA in the place of the pinned one, which comes back where that fails: both are one module."""
    for requirement in filter(None, wanted):
        work.run([work.python, "-m", "pip", "uninstall", "--yes", "onnxruntime"], "onnxruntime out")
        try:
            work.pip("--no-deps", requirement, label="onnxruntime for the card")
            installer.imported(venvs.python_of(work.env), ONNX_CODE)
        except (DiskFull, installer.NoNetwork):
            raise
        except UserError as error:
            console.say(f"  {requirement}: {error.what}; pictures will be tagged on the processor")
            name = requirement.partition("==")[0]
            work.run([work.python, "-m", "pip", "uninstall", "--yes", name], f"{name} out")
            work.pip("--no-deps", "onnxruntime", label="onnxruntime")


def restamp(env: Path, *, asked: str | None) -> None:
    """Note that the card and driver of today go with this environment."""
    stamp = venvs.read_stamp(env)
    fresh = {**stamp, "mark": venvs.driver_mark() or stamp.get("mark", ""), "asked": asked}
    if fresh != stamp:
        paths.write_json(env / venvs.STAMP, fresh)


def add_tests(place: Place) -> None:
    """The packages that only the tests need, into the current environment."""
    with locked(place.root):
        env = venvs.current(place.root)
        if env is None or not venvs.read_stamp(env):
            raise UserError("there is no environment to add the test packages to", todo="python py/setup.py")
        due = venvs.tests_hash(place.stack)
        if venvs.read_stamp(env).get("tests") == due:
            return
        console.say("adding the packages that the tests need")
        # "_half-made.json" is not written here: the environment is and stays finished
        words = ["--only-binary", ":all:", "--progress-bar", "off", "-c", str(place.stack / venvs.REQUIREMENTS), "-c", str(env / PIN)]
        command = [str(venvs.python_of(env)), "-m", "pip", "install", *words, "-r", str(place.stack / venvs.TESTS)]
        installer.run_step(command, label="test packages", log=new_log(), temp=temp_folder(place.root))
        installer.imported(venvs.python_of(env), TESTS_CODE)
        paths.write_json(env / venvs.STAMP, {**venvs.read_stamp(env), "tests": due})


def temp_folder(root: Path) -> Path:
    """Where this process's downloads pass through."""
    return root / f"_tmp-{os.getpid()}"


def next_folder(root: Path) -> Path:
    """venv/001, or one more than the highest number there."""
    return root / f"{max((int(env.name) for env in venvs.numbered(root)), default=0) + 1:03}"


def half_made(place: Place, key: dict[str, str]) -> Work | None:
    """The newest unfinished environment of the same set and Python, its broken packages forgotten; other unfinished ones are taken away."""
    found: Work | None = None
    for env in reversed(venvs.numbered(place.root)):
        if venvs.read_stamp(env):
            continue
        try:
            kept = json.loads((env / PROGRESS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            kept = {}
        if paths.process_alive(int(kept.get("pid", 0))):
            console.say(f"  {env.name} is left alone: a pip of an earlier start still works in it")
        elif found is None and kept.get("key") == key and "venv" in kept.get("done", {}):
            broken = installer.forget_broken(env)
            done = {step: brought for step, brought in kept["done"].items() if not (step in {"torch", "row"} and "torch" in broken)}
            console.say(f"  going on with {env.name}, which was not finished ({', '.join(sorted(done))} done)")
            found = Work(place, env, new_log(), key, done)
        else:
            shutil.rmtree(env, ignore_errors=True)
    return found


def tidy(root: Path, kept: Path) -> None:
    """Take away every other environment in which nothing runs, and what earlier removals left."""
    for leftover in (*root.glob("_old-*"), *root.glob("_tmp-*")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
    for env in venvs.numbered(root):
        if env != kept and not in_use(env):
            aside = root / f"_old-{env.name}"
            with suppress(OSError):  # Windows refuses while any file in it is open
                env.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)


def in_use(env: Path) -> bool:
    """Whether a script runs in the environment, or a pip works on it."""
    with suppress(OSError, ValueError):
        if paths.process_alive(int(json.loads((env / PROGRESS).read_text(encoding="utf-8")).get("pid", 0))):
            return True
    if os.name != "posix":
        try:
            (env / venvs.IN_USE).unlink(missing_ok=True)  # Windows refuses to delete an open file
        except OSError:
            return True
        return False
    import fcntl

    try:
        number = os.open(env / venvs.IN_USE, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(number)
    return False


def new_log() -> Path:
    """A new log file under logs/."""
    return errors.write_log(f"lorabake setup, Python {sys.version}, {platform.platform()}\n", kind="setup")


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Only one start builds; the others wait here. The system lets the lock go when its holder dies, however it dies."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        number = os.open(root / "_lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        todo = "put lorabake into a folder of your own (not Program Files), or set LORABAKE_PYTHON=current and use your own Python"
        raise UserError(f"the environment cannot be made here: {error.strerror}", where=str(root), todo=todo) from error
    try:
        said_at = None
        while not _try_lock(number):
            if said_at is None or time.monotonic() - said_at > WAIT_SAID_EVERY_S:
                console.say("another start is making the environment; waiting for it")
                said_at = time.monotonic()
            time.sleep(WAIT_EVERY_S)
        yield
    finally:
        os.close(number)


def _try_lock(number: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(number, 0, os.SEEK_SET)
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

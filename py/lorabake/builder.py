"""Makes environments: one at a time, step by step, each step verified by importing what it brought, stamped only when all is well.

A half-made one (power cut, closed window, lost network) is gone on with after a check of its files; a finished one that has become unfit is
never changed but replaced by the next number, and taken away once nothing runs in it. Not here: running pip (installer.py), which torch
(torch_builds.py). Standard library only.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from lorabake import (
    accelerate_config,
    console,
    dlls,
    hardware,
    installer,
    kept,
    offline,
    paths,
    pythons,
    setup_lock,
    torch_builds,
    venvs,
)
from lorabake.errors import DiskFull, UsageError, UserError
from lorabake.workshop import Place, Work, half_made, new_log, next_folder, temp_folder

ON_CPU = {"cpu", torch_builds.OWN_INDEX}
PIN = "lorabake-torch.txt"  # holds the installed torch's exact version, so that no later step of pip can replace it
ROOM_CPU, ROOM_CUDA = 3 << 30, 10 << 30  # bytes: the environment, and a wheel on its way in
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
SELF_TEST = f"import sys; sys.path.insert(0, {str(paths.ROOT / 'py')!r}); from lorabake import self_test; self_test.start()"
TESTS_CODE = "import onnx, peft, playwright, pytest; print('told ' + pytest.__version__)"


def build(place: Place, *, torch: str | None = None, stack: str | None = None) -> Path:
    """A usable environment: the current one when it is whole, else the kept one where it fits, else a new one.

    `torch` names a row of torch.json, `stack` a named pinned set (None: the one in use). Raises UserError and DiskFull with what to do,
    UsageError for an unknown `torch` or `stack`.
    """
    with setup_lock.locked(place.root):
        env = venvs.current(place.root)
        place = wanted_stack(place, env, stack)
        table = torch_builds.rows(table=place.stack / venvs.TORCH)
        reason = venvs.why_not(env, place.stack)
        if env and not reason and venvs.stack_of(env, place.stack) != place.stack:
            reason = f"the stack {place.stack.name} was asked for"
        asked = torch or (venvs.read_stamp(env).get("asked") if env else None)
        if asked not in {
            build.name for build in table
        }:  # "auto", or a row that a newer table no longer has; a wrong --torch is refused below
            asked = None if torch in {None, "auto"} else torch
        seen = hardware.look()
        accelerate_config.write(place.root.parent, seen)
        choice = offline.choice(place.offline, table) if place.offline else torch_builds.choose(seen, table, asked=asked)
        keep = env if env and not venvs.unusable(env) else None
        if env and not reason:
            console.say(f"checking the environment {env.name}")
            dlls.mend(env, place.stack, log=new_log, temp=temp_folder(place.root), thorough=False)
            reason = torch_due(str(venvs.read_stamp(env).get("row")), choice)
            damage = "" if reason else installer.damage(env, SET_CODE)
            if not reason and not damage:
                restamp(env, asked=asked)
                return env
            reason, keep = reason or damage, None if damage else keep
        made = finished(place, choice, reason) or make_new(place, choice, reason, asked=asked)
        kept.switch(place.root, made, keep=keep)
        kept.tidy(place.root)
        kept.say_kept(place.root, place.stack)
        return made


def wanted_stack(place: Place, env: Path | None, name: str | None) -> Place:
    """The place with the stack that is due: the named one, else that of the environment in use. UsageError names those there are."""
    found = venvs.stacks(place.stack.parent)
    if name and name not in found:
        lines = [f"{one}: {torch_builds.line_of(folder / venvs.TORCH)}" for one, folder in found.items()]
        close = get_close_matches(name, found, 1)
        raise UsageError(f'no stack "{name}"', allowed="\n  ".join(lines), todo=f"did you mean {close[0]}?" if close else "--stack current")
    folder = found[name] if name else venvs.stack_of(env, place.stack) if env else place.stack
    if not venvs.is_stack(folder):
        console.say(f"the stack {folder.name} is not here any more: {place.stack.name} takes its place")
        return place
    return replace(place, stack=folder)


def finished(place: Place, choice: torch_builds.Choice, reason: str) -> Path | None:
    """Another finished environment that is what is due, so that nothing needs to be installed: kept, or never switched to."""
    for env in reversed(venvs.numbered(place.root)):
        if env == venvs.current(place.root) or venvs.stack_of(env, place.stack) != place.stack or venvs.why_not(env, place.stack):
            continue
        if not torch_due(str(venvs.read_stamp(env).get("row")), choice) and not installer.damage(env, SET_CODE):
            console.say(f"{kept.described(env, place.stack)} is here already and is used ({reason})")
            return env
    return None


def make_new(place: Place, choice: torch_builds.Choice, reason: str, *, asked: str | None) -> Path:
    """A new environment, and what is said before."""
    console.say(f"setting up lorabake's environment ({reason})")
    if place.stack.name != venvs.CURRENT:
        console.say(f"  stack {place.stack.name}: {torch_builds.line_of(place.stack / venvs.TORCH)}")
    console.say(f"  {choice.reason}; torch {choice.builds[0].version}: {choice.names[0]}")
    if choice.warning:
        console.say(f"  warning: {choice.warning}")
    return make(place, choice, asked=asked)


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
    if place.offline:
        offline.check(place.offline, place.stack, base[1])
    key = {"lock": venvs.lock_hash(place.stack), "python": base[1], "base": base[0]}
    work = half_made(place, key) or Work(place, next_folder(place.root), new_log(), key)
    need = ROOM_CPU if choice.names[0] in ON_CPU else ROOM_CUDA
    free = paths.free_bytes(place.root)
    if free < need and not work.done:
        spare = kept.previous(place.root)
        more = f" (setup --forget-previous frees {console.size(kept.num_bytes(spare))})" if spare else ""
        raise DiskFull(
            f"{console.size(free)} are free, {console.size(need)} are needed",
            where=str(place.root),
            todo=f"make room{more}, then start again",
        )
    console.say(f"  into {work.env} with Python {base[1]}; log: {work.log}")
    if "venv" not in work.done:
        work.env.mkdir()
        for number, command in enumerate(offline.venv_commands(place.offline, base[0], work.env)):
            work.run(command, "pip" if number else "folder")
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
    prove(work)
    stamp = {
        **key,
        "stack": place.stack.name,
        "torch": work.done["torch"],
        "row": work.done["row"],
        "asked": asked,
        "mark": venvs.driver_mark(),
        "tests": None,
    }
    paths.write_json(work.env / venvs.STAMP, {**stamp, "made": time.strftime("%Y-%m-%d %H:%M"), "choice": choice.reason})
    (work.env / kept.PROGRESS).unlink(missing_ok=True)
    return work.env


def prove(work: Work) -> None:
    """The self-test, inside the new environment: it is used only when all of it works."""
    try:
        work.run([work.python, "-c", SELF_TEST], "self-test")
    except DiskFull:
        raise
    except UserError as error:
        env = venvs.current(work.place.root)
        stays = f"{env.name} stays in use; " if env and not venvs.unusable(env) else ""
        what = f"the new environment did not pass its self-test: {error.what.rpartition('ERROR: ')[2]}"
        raise UserError(what, where=error.where, todo=f"{stays}start again; if it fails again, send the log with your question") from error


def add_torch(work: Work, choice: torch_builds.Choice) -> None:
    """Install the first build of the choice whose index answers and that computes here."""
    place = work.place
    for build in choice.builds:
        silent = None if place.offline else torch_builds.probe(build)
        if silent:
            console.say(f"  torch {build.name}: {build.index} does not answer ({silent}); trying the next")
            continue
        extra = ["--extra-index-url", build.index] if build.index and not place.offline else []
        if not build.index and not place.offline:
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
    with setup_lock.locked(place.root):
        env = venvs.current(place.root)
        if env is None or not venvs.read_stamp(env):
            raise UserError("there is no environment to add the test packages to", todo="python py/setup.py")
        due = venvs.tests_hash(place.stack)
        if venvs.read_stamp(env).get("tests") == due:
            return
        console.say("adding the packages that the tests need")
        # "_half-made.json" is not written here: the environment is and stays finished
        pins = venvs.stack_of(env, place.stack) / venvs.REQUIREMENTS
        words = ["--only-binary", ":all:", "--progress-bar", "off", "-c", str(pins), "-c", str(env / PIN)]
        command = [str(venvs.python_of(env)), "-m", "pip", "install", *words, "-r", str(place.stack / venvs.TESTS)]
        installer.run_step(command, label="test packages", log=new_log(), temp=temp_folder(place.root))
        installer.imported(venvs.python_of(env), TESTS_CODE)
        paths.write_json(env / venvs.STAMP, {**venvs.read_stamp(env), "tests": due})

"""Every script begins with `ensure`: it makes or repairs our environment when needed and runs the script again inside it.

When nothing is to do this costs two small files and a new process: no program is asked, no network. With LORABAKE_PYTHON=current the
running interpreter is used as it is. Not here: how an environment is made (builder.py). Standard library only, any Python 3.8 or newer,
so that an old Python gets a sentence and not a syntax error.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

from lorabake import console, paths, venvs
from lorabake.errors import BUG, STOPPED, LorabakeError, UsageError, UserError
from lorabake.venvs import python_of

__all__ = ["add_test_packages", "build", "ensure", "python_of", "ready"]

CHOICE = "LORABAKE_PYTHON"  # "current": no environment of ours
GUARD = "LORABAKE_INSIDE"  # set for the re-run script, so that a mistake of ours cannot run in circles
LEFT_OVER = ("BNB_CUDA_VERSION",)  # old guides have people set it: bitsandbytes then loads the library of another CUDA, or none
CARD_ORDER = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # CUDA numbers the cards as nvidia-smi does
STATUS_CONTROL_C_EXIT = 0xC000013A  # how Windows ends a program on Ctrl-C
NEEDED = {  # module: distribution; what LORABAKE_PYTHON=current must offer
    "torch": "torch",
    "numpy": "numpy",
    "PIL": "pillow",
    "yaml": "PyYAML",
    "pydantic": "pydantic",
    "safetensors": "safetensors",
    "transformers": "transformers",
    "diffusers": "diffusers",
    "accelerate": "accelerate",
    "onnxruntime": "onnxruntime",
    "imagehash": "ImageHash",
    "bottle": "bottle",
    "waitress": "waitress",
}


def ensure(script: str) -> None:
    """Return when this process may do the work; else run `script` again inside our environment, made or repaired before.

    Raises UserError (no network, read-only folder, unfit Python, missing package), DiskFull.
    """
    choice = os.environ.get(CHOICE, "")
    if choice == "current":
        check_running()
        return
    if choice:
        raise UsageError(
            f'{CHOICE}="{choice}" is not known', allowed=f'{CHOICE}=current uses the running Python; without it the "venv" folder is used'
        )
    env = ready() or build()
    if venvs.inside(env):
        for name in (GUARD, *LEFT_OVER):
            os.environ.pop(name, None)
        os.environ.setdefault(*CARD_ORDER)  # the launchers start our Python themselves
        venvs.hold(env)
        return
    if os.environ.get(GUARD) == str(env):
        raise LorabakeError(
            f"{python_of(env)} does not run inside its own environment", where=sys.prefix, todo=f"delete the folder {env} and start again"
        )
    rerun(env, script)


def ready(*, root: Path = paths.VENV, stack: Path = paths.STACK) -> Path | None:
    """The current environment when it can be used at once, else None. Starts no program, asks no network."""
    env = venvs.current(root)
    return env if env and not venvs.why_not(env, stack) and not venvs.card_changed(env) else None


def build(*, torch: str | None = None, name: str | None = None, offline: Path | None = None) -> Path:
    """Make or repair the environment; `torch` names a row of torch.json (None: as the card needs), `name` a stack. See builder.build.

    `offline`: a folder of --make-offline, from which everything comes.
    """
    from lorabake import builder  # slow to import, and needed once

    return builder.build(builder.Place(paths.VENV, paths.STACK, offline), torch=torch, stack=name)


def add_test_packages(*, root: Path = paths.VENV, stack: Path = paths.STACK) -> None:
    """Install what only the tests need into the current environment, once. With LORABAKE_PYTHON=current it must be there."""
    if os.environ.get(CHOICE) == "current":
        if importlib.util.find_spec("pytest") is None:
            raise UserError("this Python has no pytest", where=sys.executable, todo=f"pip install -r {stack / venvs.TESTS}")
        return
    env = venvs.current(root)
    if env and venvs.read_stamp(env).get("tests") == venvs.tests_hash(stack):
        return
    from lorabake import builder

    builder.add_tests(builder.Place(root, stack))
    importlib.invalidate_caches()


def inner_variables(env: Path) -> dict[str, str]:
    """The environment variables of a script inside `env`: UTF-8, nothing from outside, cards numbered as nvidia-smi numbers them."""
    variables = {
        name: value for name, value in os.environ.items() if name not in {"PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__", *LEFT_OVER}
    }
    variables.update(PYTHONUTF8="1", PYTHONNOUSERSITE="1")
    variables.setdefault(*CARD_ORDER)
    variables[GUARD] = str(env)
    return variables


def rerun(env: Path, script: str) -> None:
    """Replace this process by the script inside `env`; Windows cannot, so there a child does the work and its exit code is passed on."""
    command = [str(python_of(env)), str(Path(script).resolve()), *sys.argv[1:]]
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    if os.name == "posix":
        os.execve(command[0], command, inner_variables(env))
    sys.exit(run_child(command, inner_variables(env)))


def run_child(command: list[str], variables: dict[str, str]) -> int:
    """The exit code of a child that shares our console. Ctrl-C reaches both; the child answers it and we wait for its answer."""
    import signal
    import subprocess

    child = subprocess.Popen(command, env=variables)
    for name in ("SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    return exit_code_of(child.wait())


def exit_code_of(status: int) -> int:
    """A child's status as our exit code: its own where it gave one, 13 for Ctrl-C, 3 where it died without."""
    if 0 <= status <= 255:
        return status
    if status & 0xFFFFFFFF == STATUS_CONTROL_C_EXIT or status == -2:
        return STOPPED
    console.say(f"error: the program ended without an exit code (status {status & 0xFFFFFFFF:#x})")
    return BUG


def check_running() -> None:
    """LORABAKE_PYTHON=current: raise UserError with everything that is missing or unfit in the running interpreter."""
    import importlib.metadata
    import importlib.util

    problems = []
    oldest, newest = (".".join(map(str, version)) for version in venvs.PYTHONS)
    if not venvs.PYTHONS[0] <= sys.version_info[:2] <= venvs.PYTHONS[1]:
        problems.append(f"Python {sys.version.split()[0]}: lorabake runs on {oldest} to {newest}")
    missing = [distribution for module, distribution in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        problems.append(f"missing: {', '.join(missing)}")
    if "torch" not in missing:
        version = importlib.metadata.version("torch")
        numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:2])
        ranges = venvs.torch_ranges()
        if not any(first <= numbers < below for first, below in ranges):
            problems.append(f"torch {version}: lorabake runs on {venvs.ranges_text(ranges)}")
    if problems:
        todo = f"pip install torch, then pip install -r {paths.STACK / venvs.REQUIREMENTS}; or unset {CHOICE}: then lorabake makes its own"
        raise UserError(f"{CHOICE}=current: this Python cannot run lorabake", where=sys.executable, allowed="; ".join(problems), todo=todo)

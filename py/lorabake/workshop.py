"""An environment being made: where it stands, what is done of it (on disk, for a start after a break), and pip at work in it.

Not here: which steps there are (builder.py). Standard library only, any Python 3.8 or newer.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from lorabake import console, errors, installer, kept, offline, paths, venvs


@dataclass(frozen=True)
class Place:
    """Where environments stand (`root`), where the pinned set is (`stack`), and the folder of wheels to install from without a network."""

    root: Path
    stack: Path
    offline: Path | None = None


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
        paths.write_json(self.env / kept.PROGRESS, {"key": self.key, "done": self.done, "pid": self.pid})

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
            *(offline.pip_words(self.place.offline) if self.place.offline else []),
        ]
        self.run([self.python, "-m", "pip", "install", *shared, *words], label)


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
            noted = json.loads((env / kept.PROGRESS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            noted = {}
        if paths.process_alive(int(noted.get("pid", 0))):
            console.say(f"  {env.name} is left alone: a pip of an earlier start still works in it")
        elif found is None and noted.get("key") == key and "venv" in noted.get("done", {}):
            broken = installer.forget_broken(env)
            done = {step: brought for step, brought in noted["done"].items() if not (step in {"torch", "row"} and "torch" in broken)}
            console.say(f"  going on with {env.name}, which was not finished ({', '.join(sorted(done))} done)")
            found = Work(place, env, new_log(), key, done)
        else:
            shutil.rmtree(env, ignore_errors=True)
    return found


def new_log() -> Path:
    """A new log file under logs/."""
    return errors.write_log(f"lorabake setup, Python {sys.version}, {platform.platform()}\n", kind="setup")

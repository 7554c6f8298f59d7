"""A stand-in for pip and every other program that the builder starts, so that environments are "made" in milliseconds."""

import json
import os
import shutil
import sys
import time
from pathlib import Path

from lorabake import builder, errors, hardware, installer, paths, pythons, torch_builds, venvs
from lorabake.errors import UserError

SETUP_STEPS = ["folder", "torch cpu", "packages", "self-test"]


class Pip:
    """Stands in for every program that the builder starts; `breaks` maps a step's label to what it raises, `silent` are dead indexes."""

    def __init__(self):
        self.steps, self.commands = [], []
        self.breaks, self.silent, self.no_card_for = {}, set(), set()
        self.torch = ""
        self.pause_s = 0.0
        self.damaged = ""

    def run_step(self, command, *, label, log, temp, started=lambda pid: None):
        self.steps.append(label)
        self.commands.append(command)
        started(2**22 + 1)  # no process has this id
        time.sleep(self.pause_s)
        if label == "folder":
            python = venvs.python_of(Path(command[-1]))
            python.parent.mkdir(parents=True)
            if os.name == "posix":
                python.symlink_to(os.path.realpath(sys.executable))
            else:
                python.write_text("", encoding="utf-8")
        if label in self.breaks:
            raise self.breaks.pop(label)
        wanted = [word for word in command if word.startswith("torch==")]
        if wanted:
            self.torch = wanted[0].split("==")[1]
        return ""

    def imported(self, python, code):
        if any(name in Path(python).parts for name in self.damaged.split()):
            raise UserError("it does not import: ImportError")
        if code == builder.TORCH_CODE:
            cuda = "+cu" in self.torch
            return json.dumps({"version": self.torch, "cuda": cuda, "trouble": "no kernel image" if self.torch in self.no_card_for else ""})
        return self.torch

    def probe(self, build):
        return "timed out" if build.name in self.silent else None


def put_in_place(monkeypatch) -> Pip:
    """The stand-in where the builder looks for programs; no card, a Python 3.12.1."""
    stand_in = Pip()
    monkeypatch.setattr(installer, "run_step", stand_in.run_step)
    monkeypatch.setattr(installer, "imported", stand_in.imported)
    monkeypatch.setattr(torch_builds, "probe", stand_in.probe)
    monkeypatch.setattr(hardware, "look", lambda: hardware.Seen(()))
    monkeypatch.setattr(pythons, "base_python", lambda: (os.path.realpath(sys.executable), "3.12.1"))
    monkeypatch.setattr(venvs, "driver_mark", lambda: "")
    return stand_in


def new_place(folder: Path, monkeypatch) -> builder.Place:
    """A place for environments with a copy of the pinned set."""
    monkeypatch.setattr(errors, "LOGS", folder / "logs")
    shutil.copytree(paths.STACK, folder / "stacks" / "current")
    return builder.Place(folder / "venv", folder / "stacks" / "current")

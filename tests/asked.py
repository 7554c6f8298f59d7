"""What the tests of --new share: a folder of profiles of their own, pictures, and a person who types answers."""

from collections.abc import Iterable
from pathlib import Path

import picture_sets
import sd1_header
from lorabake import answer_checks, asking, paths, pickers
from lorabake.new_answers import Making


def base_file(folder: Path, *, pocket: bool = True) -> Path:
    """A base model, of headers only; with `pocket` its file says for 128 px and clip skip 1."""
    path = folder / ("small.safetensors" if pocket else "anime.safetensors")
    return sd1_header.write(path, metadata=sd1_header.POCKET_METADATA if pocket else {})


def rooms(tmp_path, monkeypatch) -> Path:
    """Profiles go to a folder of the test; there is no screen. Gives the folder that holds 5_anna and 10_bob."""
    monkeypatch.setattr(paths, "PROFILES", tmp_path / "profiles")
    paths.PROFILES.mkdir()
    monkeypatch.setattr(pickers, "screen", lambda: False)
    picture_sets.pictures(tmp_path / "it's a set/5_anna", 3)
    picture_sets.pictures(tmp_path / "it's a set/10_bob", 2)
    return tmp_path / "it's a set"


def making(tmp_path: Path, **values: object) -> Making:
    """With the four required answers, and `values` (train__epochs for train.epochs)."""
    found = Making(tmp_path)
    images = tmp_path / "it's a set"
    found.sheet.values.update(name="x", base_model="pocket", images=str(images), output=str(tmp_path / "out"))
    found.sheet.values.update({key.replace("__", "."): value for key, value in values.items()})
    assert answer_checks.profile_path("x").parent == paths.PROFILES
    return found


class Typist:
    """Types `answers` in turn; then the input is closed. "^C" is Ctrl-C."""

    def __init__(self, monkeypatch, answers: Iterable[str]) -> None:
        self.left = list(answers)
        monkeypatch.setattr(asking, "line", self.line)
        monkeypatch.setattr(asking, "somebody_there", lambda: True)
        monkeypatch.setattr(asking, "at_console", lambda: True)

    def line(self) -> str | None:
        if not self.left:
            return None
        typed = self.left.pop(0)
        if typed == "^C":
            raise KeyboardInterrupt
        return typed.strip()

"""Scores that a tagger gave, kept in the dataset: an interrupted run goes on, and other thresholds cost no second look at the pictures.

One file a model in `<folder>/_tagger/`, a line a picture. It is ours and can be deleted at any time. Not here: how scores are made
(tagger.py), which tags follow from them (tag_choice.py).
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from lorabake import paths, tag_labels
from lorabake.paths import Stamp, stamp_of

FOLDER, VERSION = "_tagger", 1
Scores = dict[int, float]


class Store:
    """The scores of one model and background. `add` appends; lines of pictures that changed since are no longer found."""

    def __init__(self, folder: Path, *, model: Path, background: str) -> None:
        """Reads what is there; what is of another model file, list of tags, background or version, or torn, counts as nothing."""
        self.folder = folder
        self.file = folder / FOLDER / f"{model.parent.name}.jsonl"
        labels = [stamp_of(model.parent / name) for name in tag_labels.MODEL_NAMES]  # scores go by the places of the tags there
        self.head = {"version": VERSION, "model": stamp_of(model), "labels": labels, "background": background}
        self.known: dict[str, tuple[Stamp, Scores]] = {}
        self.stream: BinaryIO | None = None
        self._read()

    def _read(self) -> None:
        try:
            lines = self.file.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            return
        with suppress(ValueError, IndexError):
            if json.loads(lines[0]) != json.loads(json.dumps(self.head)):
                return
            for line in lines[1:]:
                with suppress(ValueError, KeyError, TypeError, AttributeError):  # a line that was being written when the power went
                    row = json.loads(line)
                    scores = {int(number): float(score) for number, score in row["scores"].items()}
                    self.known[row["path"]] = ((int(row["size"]), int(row["mtime_ns"])), scores)

    def find(self, path: Path) -> Scores | None:
        """The scores of a picture that has not changed since."""
        stamp, scores = self.known.get(self._place(path), (None, None))
        return scores if stamp is not None and stamp == stamp_of(path) else None

    def add(self, rows: Iterable[tuple[Path, Stamp, Scores]]) -> None:
        """Keep the scores of pictures whose files were stamped before they were read."""
        lines = []
        for path, stamp, scores in rows:
            self.known[self._place(path)] = (stamp, scores)
            row = {"path": self._place(path), "size": stamp[0], "mtime_ns": stamp[1], "scores": scores}
            lines.append(json.dumps(row) + "\n")
        if not self.stream:
            self._begin()
        assert self.stream
        self.stream.write("".join(lines).encode("ascii"))
        self.stream.flush()

    def _begin(self) -> None:
        """Open for appending, behind what is still true; a file that is torn or of other things is written anew."""
        self.file.parent.mkdir(exist_ok=True)
        rows = [{"path": path, "size": stamp[0], "mtime_ns": stamp[1], "scores": scores} for path, (stamp, scores) in self.known.items()]
        text = "".join(json.dumps(row) + "\n" for row in [self.head, *rows])  # in ASCII, which holds names that are no Unicode too
        paths.write_text(self.file, text)
        self.stream = self.file.open("ab")

    def _place(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        if self.stream:
            self.stream.flush()
            os.fsync(self.stream.fileno())
            self.stream.close()
            self.stream = None

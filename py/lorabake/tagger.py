"""A tagger at work: its model on the card or the CPU, and the scores of many pictures, decoded on several threads while the model computes.

Formats: reference/lora-facts.md 5.5. Not here: where the model comes from (tag_models.py), which tags follow from scores (tag_choice.py).
"""

import io
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lorabake import console, images, tag_labels, tagger_input
from lorabake.damage import ImageError
from lorabake.errors import UserError
from lorabake.paths import Stamp, stamp_of
from lorabake.tag_labels import Labels
from lorabake.tag_scores import Scores

CARD, PROCESSOR = "CUDAExecutionProvider", "CPUExecutionProvider"
CARD_BATCH, CPU_BATCH = 16, 4
USUAL_PX = 448
FATAL_ONLY = 4  # onnxruntime's severity; what goes wrong is told in our own words
Decoded = tuple[Stamp | None, np.ndarray | str]  # a picture, or what is wrong with it
LOWEST = 0.01  # scores below are dropped: no threshold is lower


@dataclass(frozen=True)
class Tagger:
    """An opened model. `batch` is the size of a batch, `fixed` when it takes no other; `other` is the layout with tag_mapping.json."""

    session: Any
    labels: Labels
    side_px: int
    batch: int
    fixed: bool
    other: bool
    device: str


@dataclass(frozen=True)
class Scored:
    """One picture: {number of the output: probability} from LOWEST up, or what is wrong with it; `stamp` of the file that was read."""

    path: Path
    stamp: Stamp | None
    scores: Scores
    problem: str = ""


def opened(folder: Path, *, device: str | None = None, batch: int | None = None) -> Tagger:
    """The model of a folder, on the card when it really computes there, else on the CPU. `device` cpu or cuda asks for one of them.

    Raises UserError for a model that is damaged or no tagger, or when cuda was asked for and does not work.
    """
    file, other = tag_labels.layout(folder)
    labels = tag_labels.read(folder)
    why_not = "asked for" if device == "cpu" else ""
    if device != "cpu":
        found, why_not = _on_card(file, labels, other, batch)
        if found:
            return found
        if device and device.startswith("cuda"):
            raise UserError(f"the tagger does not run on the card: {why_not}", todo="python py/setup.py --check; or --device cpu")
    tagger = _shaped(_session(file, [PROCESSOR]), labels, other, batch or CPU_BATCH, f"the processor ({why_not})")
    _tried(tagger, file)
    return tagger


def _session(file: Path, providers: Sequence[str]) -> Any:
    import onnxruntime as ort

    ort.set_default_logger_severity(FATAL_ONLY)
    options = ort.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait for each other take from the decoders
    try:
        return ort.InferenceSession(os.fspath(file), options, providers=list(providers))
    except _failures() as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"this model cannot be opened: {reason}", where=str(file), todo="download it again: --refresh-model") from error


def _failures() -> tuple[type[Exception], ...]:
    """What onnxruntime raises; its own kinds stand in a module that is not documented, so they are looked up there."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (RuntimeError, ValueError, *own)


def _on_card(file: Path, labels: Labels, other: bool, batch: int | None) -> tuple[Tagger | None, str]:
    """(the tagger on the card, "") or (None, why not). That the provider exists proves nothing: one batch is run."""
    import onnxruntime as ort

    if CARD not in ort.get_available_providers():
        return None, "this onnxruntime has no CUDA"
    with suppress(ImportError):
        import torch  # its CUDA libraries are the ones to use

        if not torch.cuda.is_available():
            return None, "no NVIDIA card that torch can use"
    with redirect_stdout(io.StringIO()):  # what it cannot find it prints there, where results belong
        ort.preload_dlls()
    try:
        session = _session(file, [CARD, PROCESSOR])
        if session.get_providers()[0] != CARD:
            return None, "onnxruntime's CUDA libraries do not load"
        tagger = _shaped(session, labels, other, batch or CARD_BATCH, "the card")
        infer(tagger, [np.full((tagger.side_px, tagger.side_px, 3), 255, np.uint8)])
    except _failures() as error:
        return None, str(error).strip().splitlines()[0]
    return tagger, ""


def _shaped(session: Any, labels: Labels, other: bool, batch: int, device: str) -> Tagger:
    """What the model's own shapes say: its size, and a batch of its own where it has a fixed one."""
    shape = session.get_inputs()[0].shape
    sides = [side for side in shape[1:] if isinstance(side, int) and side > 3]
    fixed = isinstance(shape[0], int) and shape[0] > 0
    return Tagger(session, labels, sides[0] if sides else USUAL_PX, shape[0] if fixed else batch, fixed, other, device)


def _tried(tagger: Tagger, file: Path) -> None:
    """Refuse a model that takes other pictures or gives other scores than its list of tags says."""
    try:
        scores = infer(tagger, [np.full((tagger.side_px, tagger.side_px, 3), 255, np.uint8)])
    except _failures() as error:
        what = f"this is no tagger of a known kind: {str(error).strip().splitlines()[0]}"
        raise UserError(what, where=str(file), allowed="WD 1.4 and 3 taggers as ONNX") from error
    if scores.ndim != 2 or scores.shape[1] != len(tagger.labels.names):
        what = f"the model gives {scores.shape[-1]} scores, its list of tags has {len(tagger.labels.names)} rows"
        raise UserError(what, where=str(file), todo="both files must be of one model: download it again")


def infer(tagger: Tagger, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """(n, number of labels) probabilities of n pictures, each (side, side, 3) uint8 in BGR. At most a batch."""
    bhwc = np.stack(pictures).astype(np.float32)
    if tagger.fixed and len(bhwc) < tagger.batch:
        bhwc = np.concatenate([bhwc, np.repeat(bhwc[-1:], tagger.batch - len(bhwc), axis=0)])
    values = bhwc.transpose(0, 3, 1, 2) / 127.5 - 1 if tagger.other else bhwc
    found = tagger.session.run(None, {tagger.session.get_inputs()[0].name: np.ascontiguousarray(values, dtype=np.float32)})[0]
    found = found[: len(pictures)]
    return 1 / (1 + np.exp(-found)) if tagger.other else found


def score_all(tagger: Tagger, files: Sequence[Path], *, background: str = "white") -> Iterator[Scored]:
    """The scores of every file, in order. Decoding runs ahead by two batches at most, so memory does not grow with the set."""
    num_threads = min(images.MOST_THREADS, os.cpu_count() or 1)
    waiting = deque(files)
    ahead: deque[tuple[Path, Future[Decoded]]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            while waiting or ahead:
                while waiting and len(ahead) < 2 * tagger.batch + num_threads:
                    path = waiting.popleft()
                    ahead.append((path, pool.submit(_decoded, path, tagger.side_px, background)))
                yield from _batch(tagger, [ahead.popleft() for _ in range(min(tagger.batch, len(ahead)))])
        finally:
            for _, future in ahead:
                future.cancel()


def _decoded(path: Path, side_px: int, background: str) -> Decoded:
    stamp = stamp_of(path)  # before it is read: what changes in between is seen later
    try:
        return stamp, tagger_input.square(images.composite(path, background), side_px)
    except (ImageError, OSError) as error:
        return stamp, str(error)


def _batch(tagger: Tagger, taken: Sequence[tuple[Path, Future[Decoded]]]) -> Iterator[Scored]:
    results = [(path, *future.result()) for path, future in taken]
    pictures = [found for _, _, found in results if not isinstance(found, str)]
    scores = iter(_inferred(tagger, pictures))
    for path, stamp, found in results:
        if isinstance(found, str):
            yield Scored(path, stamp, {}, found)
            continue
        own = next(scores)
        yield Scored(path, stamp, {int(number): float(f"{own[number]:.9g}") for number in np.flatnonzero(own >= LOWEST)})


def _inferred(tagger: Tagger, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    """A row of scores per picture; what is too much at once, as on a card that others use too, is done in halves."""
    if not pictures:
        return []
    try:
        return list(infer(tagger, pictures))
    except _failures() as error:
        half = len(pictures) // 2
        if not half:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"the tagger fails: {reason}", todo="close other programs that use the card; or --device cpu") from error
        return _inferred(tagger, pictures[:half]) + _inferred(tagger, pictures[half:])


def say_device(tagger: Tagger) -> None:
    """One line on where it runs and how."""
    console.say(f"tagging on {tagger.device}, {tagger.batch} pictures at a time, {len(tagger.labels.names)} tags known")

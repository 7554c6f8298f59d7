"""From two open checkpoints to the tensors of a LoRA, layer by layer on every processor: the difference, its low-rank approximation.

One layer's matrices are in memory at a time and thread, and the LoRA itself. Not here: which layers belong together (model_pair.py), the
arithmetic of one (differences.py, svd.py), files and words (extractor.py).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from lorabake import differences, svd, tensor_files
from lorabake.differences import Distance
from lorabake.families import lora_keys
from lorabake.families.anchors import Anchor
from lorabake.families.layers import Layer
from lorabake.model_pair import Pair
from lorabake.networks import lora
from lorabake.tensor_files import Source
from lorabake.weights import DTYPES

CURVE = (1, 2, 4, 8, 16, 32, 64, 128)
LAYERS, RESNETS = "layers", "layers of the resnets"  # what is told together of the layers that a LoRA sits on
MOST_THREADS = 8  # each holds a few copies of the largest layer

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Wish:
    """`rank` None: no limit, with a `share`; `conv_rank` None: no resnets. `only_compare`: no LoRA is made."""

    rank: int | None
    conv_rank: int | None = None
    share: float | None = None
    precision: str = "fp16"
    min_diff: float = 0.0
    only_compare: bool = False


@dataclass(frozen=True)
class Open:
    """Both models open, and where to compute."""

    pair: Pair
    base: Source
    tuned: Source
    device: torch.device


@dataclass(frozen=True)
class Fact:
    """What came of a layer. `rank` 0: it is not in the LoRA. `captured`: squares by rank, for those of CURVE below its own, and its own."""

    layer: Layer
    rank: int = 0
    squared: float = 0.0
    captured: dict[int, float] = field(default_factory=dict)

    def at(self, rank: int) -> float:
        """The squares that the layer would hold if it were cut to `rank`."""
        return max((value for known, value in self.captured.items() if known <= rank), default=0.0)


@dataclass
class Extraction:
    """`distances` by part and group, in the order in which they were looked at; `tensors` in their saved names and precision."""

    distances: dict[tuple[str, str], Distance] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    def add(self, part: str, group: str, one: differences.Difference) -> None:
        self.distances.setdefault((part, group), Distance()).add(one)

    def kept(self) -> list[Fact]:
        return [fact for fact in self.facts if fact.rank]


@contextmanager
def threads(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """As many workers as torch has threads, each computing on one: the same bits whatever their number, and small matrices go faster.

    A card gets one worker.
    """
    num = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        workers = min(num, MOST_THREADS) if device.type == "cpu" else 1
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(num)


def in_order(pool: ThreadPoolExecutor, function: Callable[[Item], Made], items: Iterable[Item], *, ahead: int = 16) -> Iterator[Made]:
    """Results one after the other, few of them waiting; after an error or a stop nothing more is begun, and nothing runs on behind it."""
    waiting: deque[Future[Made]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        wait(waiting)  # the files that they read are closed next


def compare_anchors(models: Open, pool: ThreadPoolExecutor, found: Extraction) -> None:
    """How far the two are in what no LoRA sits on: the first sign of a wrong base, before the long part."""

    def one(twins: tuple[Anchor, Anchor]) -> differences.Difference:
        made = differences.of_tensors((twins[0].key, twins[1].key), models.base, models.tuned)
        return made.without_matrix()

    for (anchor, _), difference in zip(models.pair.anchors, in_order(pool, one, models.pair.anchors), strict=True):
        found.add(anchor.part, anchor.group, difference)


def run(models: Open, wish: Wish, pool: ThreadPoolExecutor, found: Extraction) -> Iterator[None]:
    """Compute all layers into `found`; yields after each. Raises UserError for damaged weights and for those that the precision lacks."""

    def one(twins: tuple[Layer, Layer]) -> tuple[differences.Difference, Fact, dict[str, torch.Tensor]]:
        difference = differences.of_layer(twins, models.base, models.tuned, models.device)
        fact, tensors = approximate(twins[0], difference, wish)
        return difference.without_matrix(), fact, tensors

    for difference, fact, tensors in in_order(pool, one, models.pair.twins):
        found.add(fact.layer.part, RESNETS if fact.layer.conv else LAYERS, difference)
        found.facts.append(fact)
        found.tensors |= {f"{fact.layer.name}.{suffix}": tensor for suffix, tensor in tensors.items()}
        yield


def approximate(layer: Layer, difference: differences.Difference, wish: Wish) -> tuple[Fact, dict[str, torch.Tensor]]:
    """The layer's tensors, (Fact with rank 0, {}) where it is left out."""
    matrix = difference.matrix
    if matrix is None or difference.largest <= wish.min_diff or wish.only_compare:
        return Fact(layer, squared=difference.squared), {}
    limit = wish.conv_rank if lora_keys.has_kernel(layer.shape) else wish.rank
    seed = svd.seed_of(layer.name)
    if wish.share:
        factors = svd.by_share(matrix, wish.share, most=limit, seed=seed)
    else:
        assert limit, "the words give a rank or a share"
        factors = svd.low_rank(matrix, limit, seed=seed)
    rank = len(factors.values)
    known = sorted({*(k for k in CURVE if k < rank), rank})
    return Fact(layer, rank, factors.total, {k: factors.captured(k) for k in known}), pair_of(layer, factors, wish.precision)


def pair_of(layer: Layer, factors: svd.Factors, precision: str) -> dict[str, torch.Tensor]:
    """up @ down = the approximation, alpha = rank. Each of the two gets the root of the values: both are of like size then, and neither
    comes near the ends of half precision, as up = U S would. Nothing is clamped."""
    rank, roots = len(factors.values), factors.values.sqrt()
    up = (factors.left * roots).reshape(layer.shape[0], rank, *(1 for _ in layer.shape[2:]))
    down = (roots[:, None] * factors.right).reshape(rank, *layer.shape[1:])
    dtype = DTYPES[precision]
    made = {lora.UP: up.cpu(), lora.DOWN: down.cpu(), lora.ALPHA: torch.tensor(float(rank))}
    cast = {name: tensor.to(dtype).contiguous() for name, tensor in made.items()}
    for name, tensor in cast.items():
        todo = "--precision bf16 or fp32; is --base the model that --tuned was made from?"
        tensor_files.require_fits(tensor, made[name], where=layer.name, todo=todo)
    return cast

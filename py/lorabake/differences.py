"""tuned - base of one tensor, and what there is to know of it: how large, or only the rounding of two precisions.

Not here: which tensors belong together (model_pair.py), what is said about them (extract_report.py).
"""

from dataclasses import dataclass, replace

import torch

from lorabake import svd, tensor_files
from lorabake.errors import UserError
from lorabake.families.layers import Layer
from lorabake.tensor_files import Source

# dtype -> unit roundoff
UNITS = {
    torch.float64: 2.0**-53,
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
    torch.float8_e4m3fn: 2.0**-4,
    torch.float8_e5m2: 2.0**-3,
}
COARSE = (torch.bfloat16, torch.float16, torch.float32)  # coarsest first: what a wider file may hold in truth
# Half the distance of the smallest numbers; float32's and bfloat16's reach far below what a weight can matter with.
FLOORS = {torch.float8_e4m3fn: 2.0**-10, torch.float8_e5m2: 2.0**-17}
HALF_FLOOR = 2.0**-25
SAMPLE = 4096
LARGEST = 1e12  # of a weight in any model that draws; squares of more would leave float32


@dataclass(frozen=True)
class Difference:
    """`matrix` (out, fan-in) in float32 on the device; None where nothing `changed` but rounding. Squares are of Frobenius norms.

    `noise`: the part of `squared` that is the rounding of a base of coarser precision than the tuned model.
    """

    matrix: torch.Tensor | None
    largest: float
    squared: float
    base_squared: float
    noise: float = 0.0
    changed: bool = True

    def without_matrix(self) -> "Difference":
        """The numbers alone, which take no memory."""
        return replace(self, matrix=None)


@dataclass
class Distance:
    """How far two groups of tensors are from one another; grows by `add`."""

    squared: float = 0.0
    base_squared: float = 0.0
    noise: float = 0.0
    num: int = 0
    num_equal: int = 0
    num_changed: int = 0

    def add(self, one: Difference) -> None:
        self.num += 1
        self.num_equal += one.largest == 0
        self.num_changed += one.changed
        self.squared += one.squared
        self.base_squared += one.base_squared
        self.noise += one.noise

    def relative(self) -> float:
        """|tuned - base| / |base|; 0 where all of it is rounding."""
        return (self.squared / self.base_squared) ** 0.5 if self.base_squared else float(self.squared > 0)

    def text(self) -> str:
        if self.num_equal == self.num:
            return "equal"
        return "equal but for rounding" if not self.num_changed else percent(self.relative())


def percent(share: float) -> str:
    """`93 %`, `98.7 %`, `1.4 %`, `0.02 %`: two digits at least, and never 100 % for less."""
    value = 100 * share
    if 94.95 <= value < 100:
        return f"{min(value, 99.9):.1f} %"
    if value >= 9.95:
        return f"{value:.0f} %"
    return f"{value:.1f} %" if value >= 0.095 else f"{value:.2g} %"


def of_layer(twins: tuple[Layer, Layer], base: Source, tuned: Source, device: torch.device) -> Difference:
    """Of one layer; of its rows, where the key joins several. Raises UserError for NaN and infinity, naming the tensor."""
    ours, theirs = twins
    with base.tensor(ours.key) as first, tuned.tensor(theirs.key) as second:
        first, second = (tensor[slice(*layer.rows)] if layer.rows else tensor for tensor, layer in ((first, ours), (second, theirs)))
        return _between(first, second, device, where=((base, ours.key), (tuned, theirs.key)))


def of_tensors(keys: tuple[str, str], base: Source, tuned: Source) -> Difference:
    """Of two whole tensors of any shape."""
    with base.tensor(keys[0]) as first, tuned.tensor(keys[1]) as second:
        return _between(first, second, torch.device("cpu"), where=((base, keys[0]), (tuned, keys[1])))


def _between(first: torch.Tensor, second: torch.Tensor, device: torch.device, *, where: tuple[tuple[Source, str], ...]) -> Difference:
    first, second = (tensor.reshape(tensor.shape[0] if tensor.dim() else 1, -1).to(device) for tensor in (first, second))
    if not first.numel():
        return Difference(None, 0.0, 0.0, 0.0, changed=False)
    matrix = second.to(torch.float32, copy=True).sub_(_plain(first))
    low, high = matrix.aminmax()
    largest = max(-low.item(), high.item())
    base_squared = svd.squares(_plain(first))
    if not largest < LARGEST or not base_squared < LARGEST**2:
        raise _damaged(((first, *where[0]), (second, *where[1])))
    if largest == 0 or only_rounding(first, second, matrix):
        return Difference(None, largest, 0.0, base_squared, changed=False)
    return Difference(matrix, largest, svd.squares(matrix), base_squared, _noise(first, second))


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """8-bit floats as torch can compute with them."""
    return tensor.float() if tensor.dtype.itemsize == 1 else tensor


def _damaged(given: tuple[tuple[torch.Tensor, Source, str], ...]) -> UserError:
    for tensor, source, key in given:
        if not tensor_files.is_finite(tensor):
            return UserError(
                "this model is damaged: a tensor holds NaN or infinity", where=f"{source.path}: {key}", todo="use another copy of it"
            )
    (_, source, key), (_, other, _) = given
    what = "weights so large that no model draws with them"
    return UserError(what, where=f"{source.path} or {other.path}: {key}", todo="one of the two files is damaged: use another copy")


def grid(tensor: torch.Tensor) -> torch.dtype:
    """The coarsest precision that holds the tensor's values: an fp32 file may well hold fp16's."""
    for dtype in COARSE:
        if UNITS.get(tensor.dtype, 1.0) < UNITS[dtype] and torch.equal(tensor.to(dtype).to(tensor.dtype), tensor):
            return dtype
    return tensor.dtype


def only_rounding(first: torch.Tensor, second: torch.Tensor, matrix: torch.Tensor) -> bool:
    """Whether second - first = matrix is no more, anywhere, than what rounding one value to the two precisions makes.

    Two tensors of the same precision differ by rounding nowhere: a step of that precision is a change. (Changes that are all so small
    beside their own weights do not occur: in a large matrix some weights are next to nothing, and their changes are not.)
    """
    return all(_within_rounding(*given) for given in ([_sampled(tensor) for tensor in (first, second, matrix)], (first, second, matrix)))


def _sampled(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1)[:: max(1, tensor.numel() // SAMPLE)]


def _within_rounding(first: torch.Tensor, second: torch.Tensor, matrix: torch.Tensor) -> bool:
    grids = grid(first), grid(second)
    if grids[0] == grids[1]:
        # Numbers at fp16's lower end fit bf16 as well, which cannot be seen from one file in each.
        ends = {first.dtype, second.dtype} == {torch.float16, torch.bfloat16}
        return bool((matrix.abs() <= HALF_FLOOR).all()) if ends else not matrix.any().item()
    size = torch.maximum(first.float().abs(), second.float().abs())
    floor = sum(FLOORS.get(dtype, HALF_FLOOR) for dtype in grids if UNITS.get(dtype, 0.0) > UNITS[torch.float32])
    # A little more, because bound and difference are rounded themselves.
    unit = 1.01 * sum(UNITS.get(dtype, 0.0) for dtype in grids)
    return bool((matrix.abs() <= size.mul_(unit).add_(floor)).all())


def _noise(first: torch.Tensor, second: torch.Tensor) -> float:
    """|rounding|^2 of a base that is coarser than the tuned model: what rounding the tuned model like it would change."""
    coarse, fine = grid(_sampled(first)), grid(_sampled(second))
    if UNITS.get(coarse, 0.0) <= UNITS.get(fine, 0.0):
        return 0.0
    exact = _plain(second).float()
    return svd.squares(exact.to(coarse).float() - exact)

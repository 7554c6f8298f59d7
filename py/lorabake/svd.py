"""The best approximation of a matrix by one of low rank, in float32: by a randomised SVD where that is quicker, else by a full one.

The randomised one is subspace iteration from a random start (Halko, Martinsson, Tropp 2011, "Finding structure with randomness",
algorithms 4.4 and 5.1), each half step orthonormalised, repeated until what is still to be gained does not matter. Not here: what the
matrices are, files.
"""

import zlib
from dataclasses import dataclass

import torch

from lorabake.networks import lowrank

OVERSAMPLING = 16
# Of what is left over, in squares: half of it in the error itself, so 0.3 % above the smallest by the forecast. 1 % is promised.
TOLERANCE = 0.006
LEAST_HALF_STEPS, MOST_HALF_STEPS = 4, 40
SLOWEST = 0.9  # a gain that hardly falls from one half step to the next forecasts nothing: go on
FULL_FROM = 0.2  # of the smaller side: where the full SVD takes no longer (measured, docs/benchmarks.md)
ROUNDING = 1e-8  # of the whole, in squares: what float32 cannot tell


@dataclass(frozen=True)
class Factors:
    """matrix (m, n) ~ left (m, r) @ diag(values) @ right (r, n); `values` fall. `total`: |matrix|^2 (Frobenius); `exact`: all."""

    left: torch.Tensor
    values: torch.Tensor
    right: torch.Tensor
    total: float
    exact: bool

    def captured(self, rank: int | None = None) -> float:
        """The sum of the squares that the first `rank` (all) values hold; total - captured is the squared error, exactly."""
        return min(self.values[:rank].double().square().sum().item(), self.total)

    def first(self, rank: int) -> "Factors":
        return Factors(self.left[:, :rank], self.values[:rank], self.right[:rank], self.total, self.exact)


def seed_of(name: str) -> int:
    """A layer's own seed, the same in every run."""
    return zlib.crc32(name.encode())


def squares(tensor: torch.Tensor) -> float:
    """|tensor|^2, summed by rows in double precision: over a whole matrix, float32 loses five digits of eight."""
    rows = tensor.reshape(tensor.shape[0] if tensor.dim() else 1, -1)
    dtype = torch.float32 if tensor.dtype.itemsize < 4 else tensor.dtype
    return torch.linalg.vector_norm(rows, dim=1, dtype=dtype).double().square().sum().item()


def low_rank(matrix: torch.Tensor, rank: int, *, seed: int) -> Factors:
    """The first `rank` singular triples of a float32 matrix, or as many as its smaller side has.

    |matrix - result| is at most 1.01 times the smallest possible (Frobenius), for any spectrum.
    """
    rank = min(rank, *matrix.shape)
    found = None
    if rank + OVERSAMPLING < FULL_FROM * min(matrix.shape):
        found = _iterated(matrix, rank, seed)
    return (found or full(matrix)).first(rank)


def by_share(matrix: torch.Tensor, share: float, *, most: int | None = None, seed: int) -> Factors:
    """As few triples as capture `share` of |matrix|^2; at most `most`, at least one."""
    smaller = min(matrix.shape)
    most = min(most or smaller, smaller)
    rank = min(2 * OVERSAMPLING, most)
    while rank + OVERSAMPLING < FULL_FROM * smaller:
        found = low_rank(matrix, rank, seed=seed)
        wanted = share * found.total
        if found.captured() >= wanted or rank == most:
            return found.first(_least_rank(found, share))
        # No further value is larger than the last one, so at least so many more are needed.
        last = max(found.values[-1].item() ** 2, 1e-30 * found.total)
        rank = min(most, max(2 * rank, rank + int(min((wanted - found.captured()) / last, smaller))))
    found = full(matrix)
    return found.first(min(_least_rank(found, share), most))


def _least_rank(found: Factors, share: float) -> int:
    reached = found.values.double().square().cumsum(0) >= share * found.total * (1 - 1e-7)
    return int((~reached).sum().item()) + 1 if reached.any() else len(found.values)


def full(matrix: torch.Tensor) -> Factors:
    """All triples, by lowrank.of_matrix. Where the card's solver gives up, the processor's does it."""
    try:
        found = lowrank.of_matrix(matrix, min(matrix.shape))
    except torch.linalg.LinAlgError:
        found = lowrank.of_matrix(matrix.cpu(), min(matrix.shape))
    return Factors(found.left.to(matrix), found.values.to(matrix), found.right.to(matrix), squares(matrix), exact=True)


def _iterated(matrix: torch.Tensor, rank: int, seed: int) -> Factors | None:
    """None where it converges too slowly to be worth it."""
    total = squares(matrix)
    flipped = matrix.shape[0] > matrix.shape[1]
    wide = matrix.t() if flipped else matrix
    start = torch.randn(wide.shape[0], rank + OVERSAMPLING, generator=torch.Generator().manual_seed(seed))
    basis = torch.linalg.qr(start.to(matrix.device)).Q
    gained: list[float] = []
    for half_step in range(MOST_HALF_STEPS):
        before = basis
        # Even half steps lead to the right side of `wide`, odd ones back; the square of each value that `small` has can only grow.
        basis, small = torch.linalg.qr((wide.t() if half_step % 2 == 0 else wide) @ before)
        gained.append(_top_squares(small, rank))
        if _converged(gained, total):
            return _assembled(before, basis, small, (rank, total, (half_step % 2 == 1) != flipped))
    return None


def _assembled(before: torch.Tensor, basis: torch.Tensor, small: torch.Tensor, about: tuple[int, float, bool]) -> Factors:
    """From W @ before = basis @ small, so that W ~ basis @ small @ before^T; W is the matrix, or its transpose if not `upright`."""
    rank, total, upright = about
    u, values, vh = torch.linalg.svd(small)
    out, back = basis @ u[:, :rank], before @ vh[:rank].t()
    left, right = (out, back.t()) if upright else (back, out.t())
    return Factors(left, values[:rank], right, total, exact=False)


def _top_squares(small: torch.Tensor, rank: int) -> float:
    """The sum of the squares of the `rank` largest singular values of a small matrix."""
    small = small.double()
    return torch.linalg.eigvalsh(small @ small.t())[-rank:].sum().item()


def _converged(gained: list[float], total: float) -> bool:
    """Whether all later half steps together would gain little of what is left. The gains of subspace iteration fall like a
    geometric series, whose ratio the last two tell."""
    if len(gained) < LEAST_HALF_STEPS:
        return False
    left = max(total - gained[-1], 0.0)
    gain, earlier = gained[-1] - gained[-2], gained[-2] - gained[-3]
    if gain <= ROUNDING * total or gain <= 1e-5 * left:
        return True
    ratio = gain / earlier if earlier > 0 else 1.0
    ratio = max(ratio, 0.3)
    return ratio < SLOWEST and gain * ratio / (1 - ratio) <= TOLERANCE * left

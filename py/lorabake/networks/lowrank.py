"""The best approximation of a matrix by one of lower rank (Eckart and Young 1936), from two factors or from the matrix itself.

The product of two factors is never formed: QR of both, then the SVD of the small core. Pure; float32 in, float32 out.
"""

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Decomposed:
    """matrix (out, in) = left (out, k) * values (k,) * right (k, in); values fall, left and right have unit columns and rows."""

    left: torch.Tensor
    values: torch.Tensor
    right: torch.Tensor

    def pair(self, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(up (out, rank), down (rank, in)) whose product is the nearest matrix of that rank; each has half of every value."""
        half = self.values[:rank].sqrt()
        return self.left[:, :rank] * half, half[:, None] * self.right[:rank]

    def norm(self, rank: int | None = None) -> float:
        """Frobenius norm of the matrix, or of its first `rank` parts."""
        return math.sqrt(float(self.values[:rank].double().square().sum()))


def of_factors(up: torch.Tensor, down: torch.Tensor) -> Decomposed:
    """Of up (out, rank) @ down (rank, in); k is the smallest of out, rank and in."""
    q_up, r_up = torch.linalg.qr(up)
    q_down, r_down = torch.linalg.qr(down.T)
    left, values, right = torch.linalg.svd(r_up @ r_down.T, full_matrices=False)
    return Decomposed(q_up @ left, values, right @ q_down.T)


def of_matrix(matrix: torch.Tensor, most: int) -> Decomposed:
    """The `most` largest values of a matrix, by the eigenvectors of its smaller Gram matrix in float64: several times faster than an SVD.

    That squares the values, which float64 has the digits for: what float32 can tell of the matrix stays.
    """
    if matrix.shape[0] > matrix.shape[1]:
        turned = of_matrix(matrix.T, most)
        return Decomposed(turned.right.T, turned.values, turned.left.T)
    exact = matrix.double()
    _, vectors = torch.linalg.eigh(exact @ exact.T)
    left = vectors.flip(1)[:, : min(most, matrix.shape[0])]
    right = left.T @ exact
    values, order = torch.linalg.vector_norm(right, dim=1).sort(descending=True)  # anew: those that are rounding alone may be out of order
    left, right = left[:, order], right[order]
    right = right / values.clamp_min(torch.finfo(torch.float64).tiny)[:, None]
    return Decomposed(left.float(), values.float(), right.float())


def norm_of_product(up: torch.Tensor, down: torch.Tensor) -> float:
    """Frobenius norm of up @ down, which is not formed: the trace of (up.T up)(down down.T)."""
    up, down = up.double(), down.double()
    return math.sqrt(float(((up.T @ up) * (down @ down.T)).sum().clamp(min=0)))  # NaN stays NaN


def balanced(up: torch.Tensor, down: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """scale * up @ down as a pair of about equal size, so that neither loses digits in fp16.

    What moves between the two is a power of two, which rounds nothing. Both must be other than zero.
    """
    sizes = [float(torch.linalg.vector_norm(tensor.double())) / math.sqrt(tensor.numel()) for tensor in (up, down)]
    power = 2.0 ** round(math.log2(abs(scale) * sizes[0] / sizes[1]) / 2)
    return up * (scale / power), down * power

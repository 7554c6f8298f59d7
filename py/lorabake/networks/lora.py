"""LoRA (Hu et al. 2021) on Linear, 1x1 and 3x3 Conv2d: output = base(x) + strength * alpha / rank * up(down(x)).

Tensor names are the saved names. Not here: which layers get one, how it hangs on them, files (attach.py).
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional

DOWN, UP, ALPHA = "lora_down.weight", "lora_up.weight", "alpha"
TENSORS = frozenset({DOWN, UP, ALPHA})
TRAINED = (DOWN, UP)
Tensors = Mapping[str, torch.Tensor]


class Options(Protocol):
    """What `init` reads; the `network` block of the profile fits. An alpha of None or 0 means alpha = rank."""

    @property
    def rank(self) -> int | None: ...
    @property
    def alpha(self) -> float | None: ...
    @property
    def conv_rank(self) -> int | None: ...
    @property
    def conv_alpha(self) -> float | None: ...


def init(shape: tuple[int, ...], options: Options, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Tensors for a base weight of `shape`, float32 on the CPU; the same for the same state of the CPU generator."""
    return make_pair(shape, options.rank, options.alpha, generator)


def make_pair(shape: tuple[int, ...], rank: int | None, alpha: float | None, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """down ~ U(+-1/sqrt(fan_in)), which is Kaiming-uniform with a = sqrt(5) (torch's own start of a layer); up = 0.

    Linear (out, in): down (r, in), up (out, r). Conv (out, in, kh, kw): down (r, in, kh, kw), up (out, r, 1, 1).
    """
    assert rank, "the plan resolves every rank"
    width_out, *fan = shape
    bound = torch.Size(fan).numel() ** -0.5
    down = torch.empty(rank, *fan).uniform_(-bound, bound, generator=generator)
    up = torch.zeros(width_out, rank, *(1 for _ in fan[1:]))
    return {DOWN: down, UP: up, ALPHA: torch.tensor(float(alpha or rank))}


def rank_of(tensors: Tensors) -> int:
    return tensors[DOWN].shape[0]


def scale_of(tensors: Tensors) -> float:
    """alpha / rank. A missing alpha counts as the rank, and so does 0; any dtype is read."""
    return _alpha(tensors) / rank_of(tensors)


def _alpha(tensors: Tensors) -> float:
    return float(tensors.get(ALPHA, 0)) or float(rank_of(tensors))


def fit(tensors: Tensors, shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """The tensors of a file in the shapes that a base weight of `shape` wants: files hold 1x1 layers as (r, in) or (r, in, 1, 1).

    Alpha comes out as a 0-dim float32. Raises ValueError with both sizes when they are for another layer.
    """
    down, up = tensors[DOWN], tensors[UP]
    if len(shape) == 2 and down.shape[2:].numel() == up.shape[2:].numel() == 1:
        down, up = down.flatten(1), up.flatten(1)
    if shape[2:] == (1, 1) and down.dim() == up.dim() == 2:
        down, up = down[..., None, None], up[..., None, None]
    rank = down.shape[0]
    wanted = (rank, *shape[1:]), (shape[0], rank, *(1 for _ in shape[2:]))
    if (tuple(down.shape), tuple(up.shape)) != wanted:
        found = f"down {tuple(tensors[DOWN].shape)}, up {tuple(tensors[UP].shape)}"
        raise ValueError(f"{found} in the file; this layer's weight is {tuple(shape)}")
    return {DOWN: down, UP: up, ALPHA: torch.tensor(_alpha(tensors))}


def delta(tensors: Tensors, scale: float = 1.0) -> torch.Tensor:
    """What the adapter adds to the base weight, in its shape and in float32: scale * alpha / rank * up @ down."""
    down, up = tensors[DOWN].float(), tensors[UP].float()
    product = up.flatten(1) @ down.flatten(1)
    return (product * (scale * scale_of(tensors))).reshape(up.shape[0], *down.shape[1:])


def forward(module: nn.Module, x: torch.Tensor, tensors: Tensors, factor: float) -> torch.Tensor:
    """module(x) + branch: the fast path of a layer with one adapter. `factor` is strength * alpha / rank."""
    if isinstance(module, nn.Linear):
        dtype = compute_dtype(x)
        return _FusedLinear.apply(x, module.weight, module.bias, tensors[DOWN], tensors[UP], factor, dtype)
    return type(module).forward(module, x) + branch(module, x, tensors, factor)


def branch(module: nn.Module, x: torch.Tensor, tensors: Tensors, factor: float) -> torch.Tensor:
    """factor * up(down(x)) alone, in the precision of the layer's own output."""
    dtype = compute_dtype(x)
    x, down, up = x.to(dtype), tensors[DOWN].to(dtype), tensors[UP].to(dtype)
    if isinstance(module, nn.Linear):
        return functional.linear(functional.linear(x, down) * factor, up)
    assert isinstance(module, nn.Conv2d)
    hidden = functional.conv2d(x, down, stride=module.stride, padding=module.padding, dilation=module.dilation)
    return functional.conv2d(hidden * factor, up)


def compute_dtype(x: torch.Tensor) -> torch.dtype:
    """What a matrix product of `x` is computed in: autocast's type inside it, else the type of x, which is the base weights'."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class _FusedLinear(torch.autograd.Function):
    """Frozen Linear plus LoRA in one node: the branch is added inside its matrix product, and the two gradients of x likewise.

    Equal to rounding to `module(x) + branch(...)` (tests/test_networks.py). It keeps x (once, in the precision computed in) and the
    rank-wide hidden values; nothing for the frozen weight.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *args: Any) -> torch.Tensor:
        weight, bias, down, up, factor, dtype = args
        ctx.x_dtype, ctx.down_dtype, ctx.up_dtype, ctx.factor = x.dtype, down.dtype, up.dtype, factor
        x, weight, down, up = x.to(dtype), weight.to(dtype), down.to(dtype), up.to(dtype)
        out = functional.linear(x, weight, None if bias is None else bias.to(dtype))
        x_ni = x.reshape(-1, x.shape[-1])
        hidden_nr = x_ni @ down.t()
        out.view(-1, out.shape[-1]).addmm_(hidden_nr, up.t(), alpha=factor)
        ctx.save_for_backward(x_ni, hidden_nr, weight, down, up)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x_ni, hidden_nr, weight, down, up = ctx.saved_tensors
        (grad,) = grads
        grad_no = grad.reshape(-1, grad.shape[-1])
        grad_hidden_nr = grad_no @ up
        if ctx.factor != 1:
            grad_hidden_nr.mul_(ctx.factor)
        grad_x = grad_down = grad_up = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad_no @ weight).addmm_(grad_hidden_nr, down).view(*grad.shape[:-1], -1).to(ctx.x_dtype)
        if ctx.needs_input_grad[3]:
            grad_down = (grad_hidden_nr.t() @ x_ni).to(ctx.down_dtype)
        if ctx.needs_input_grad[4]:
            grad_up = (grad_no.t() @ hidden_nr).to(ctx.up_dtype)
            if ctx.factor != 1:
                grad_up.mul_(ctx.factor)
        return grad_x, None, None, grad_down, grad_up, None, None

"""The device that a plan names, opened: precision, autocast, gradient scaling, threads, determinism, gradient checkpointing.

It verifies and applies what was chosen (hardware.py chooses, without torch), and chooses nothing itself.
"""

import ctypes
import os
import platform
import random
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from lorabake.errors import UserError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SETUP = "python3 py/setup.py"


@dataclass
class Device:
    """An opened device. `weights_dtype` is for the frozen base; the LoRA and its optimizer stay float32. `scaler` only for fp16."""

    torch_device: torch.device
    precision: str
    scaler: torch.amp.GradScaler | None = None
    _unscaled: bool = field(default=False, init=False)

    @property
    def weights_dtype(self) -> torch.dtype:
        return DTYPES[self.precision]

    def autocast(self) -> AbstractContextManager[Any]:
        """What forward passes run in: torch's autocast to the precision; nothing under fp32."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.torch_device.type, dtype=self.weights_dtype)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss` to the parameters, scaled up under fp16 so that small ones survive."""
        if self.scaler and self._unscaled:
            self.scaler.update()  # the caller left out the last step, so the scale has not yet heard of that overflow
            self._unscaled = False
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def clip(self, optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], max_norm: float) -> float:
        """Scale the gradients back, limit their common norm to `max_norm` (0 = no limit), return the norm before that; once per step.

        After it, `step` may be left out.
        """
        if self.scaler:
            self.scaler.unscale_(optimizer)
            self._unscaled = True
        parameters = list(parameters)
        norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        if max_norm:
            nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
        return norm.item()

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """One optimizer step; under fp16 it is left out when a gradient has overflowed, and the scale is lowered."""
        if not self.scaler:
            optimizer.step()
            return
        self.scaler.step(optimizer)
        self.scaler.update()
        self._unscaled = False

    def checkpoint(self, models: Any) -> None:
        """Gradient checkpointing (Chen et al. 2016) on `models.unet` and `models.text_encoder`: block inputs are kept, the rest recomputed.

        Only the non-reentrant kind: it gives gradients to adapters although no input of a frozen model requires one.
        """
        models.unet.enable_gradient_checkpointing()
        enable = getattr(models.text_encoder, "activation_checkpointing_enable", None) or models.text_encoder.gradient_checkpointing_enable
        enable({"use_reentrant": False})
        models.text_encoder.disable_input_require_grads()  # switched on by the line above; only the reentrant kind needs it
        for layer in models.text_encoder.modules():
            if getattr(layer, "gradient_checkpointing", False):
                layer.training = True  # transformers asks for it; not .train(), which would switch dropout on inside

    def free_vram_gib(self) -> float | None:
        """Free memory of the card now, as its driver says; None on the CPU."""
        return torch.cuda.mem_get_info(self.torch_device)[0] / 2**30 if self.torch_device.type == "cuda" else None


def open_device(name: str, precision: str, *, deterministic: bool = False, cpu_threads: int | None = None) -> Device:
    """Open "cpu", "cuda" or "cuda:N" for fp32, bf16 or fp16.

    On cards float32 products run in TF32 (10 bits of mantissa, what fp16 has, and several times faster). Raises UserError where the
    device is not there or cannot compute in the precision.
    """
    assert precision in DTYPES, precision
    device = _find(name)
    if cpu_threads:
        torch.set_num_threads(cpu_threads)
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":
        torch.cuda.set_device(device)
        if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise UserError(
                f"{torch.cuda.get_device_name(device)} does not compute in bf16",
                where="train.mixed_precision",
                todo="set train.mixed_precision to fp16, or leave it out",
            )
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    if deterministic:
        make_deterministic()
    return Device(device, precision, torch.amp.GradScaler(device.type) if precision == "fp16" else None)


def for_tool(name: str | None) -> torch.device:
    """What `--device cuda` or `--device cpu` asks for; None: the card where torch sees one, else the CPU. Raises UserError."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("torch sees no NVIDIA card here", where="--device cuda", todo="python py/setup.py --check says why; --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _find(name: str) -> torch.device:
    """The torch device of a name in a profile. Raises UserError saying what there is."""
    kind, _, index = name.partition(":")
    if name == "cpu":
        return torch.device("cpu")
    if kind != "cuda" or not (name == "cuda" or (index.isascii() and index.isdigit())):
        raise UserError(f'there is no device "{name}"', where="train.device", allowed="cpu, cuda, or cuda:N with the number of the card")
    if torch.version.cuda is None:
        raise UserError(
            f'"{name}" was asked for, but this torch ({torch.__version__}) is built for the CPU only',
            where="train.device",
            todo=f"run {SETUP}, which installs the build for your card, or set train.device to cpu",
        )
    if not torch.cuda.is_available():
        raise UserError(
            f'"{name}" was asked for, but torch finds no NVIDIA card that it can use',
            where="train.device",
            todo=f"run {SETUP} --check, which says why (often an old driver), or set train.device to cpu",
        )
    count = torch.cuda.device_count()
    if int(index or 0) >= count:
        numbers = ", ".join(f"cuda:{number} ({torch.cuda.get_device_name(number)})" for number in range(count))
        raise UserError(f'there is no device "{name}"', where="train.device", allowed=f"cpu, {numbers}")
    return torch.device("cuda", int(index or 0))


def keep_freed_memory() -> None:
    """Ask glibc's allocator to keep what is freed for the next step; other systems' allocators are left as they are.

    By default it gives each large tensor back to the system and asks for new, zeroed pages a moment later: a fifth of a step on the
    CPU (docs/benchmarks.md). The peak stays what it was, as every step needs the same again.
    """
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_max = -1, -4  # their numbers in <malloc.h>
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def make_deterministic() -> None:
    """Let torch use only algorithms that give the same bits every time. The CPU's own do so anyway."""
    # Read when the first product is made on the card; without it torch refuses those products.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)


def seed_everything(seed: int) -> None:
    """Seed the global generators. Our own draws have generators of their own; this is for what libraries draw unasked."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)

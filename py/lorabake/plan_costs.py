"""What a plan will cost: bytes on disk, memory of the card, rough time. Arithmetic on sizes alone; nothing is measured or loaded here.

Where the constants come from stands beside them. Not here: which batch or saver is chosen because of them (plan_fit.py).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lorabake.settings import Network

Shapes = Mapping[str, tuple[int, ...]]
GIB = 2**30
MPX = 2**20
BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}

# Tensor names of the layers that LoRA sits on, by pieces: the original layouts of SD 1 and SDXL, and Diffusers folders.
ATTENTION = (".transformer_blocks.", ".proj_in.", ".proj_out.")
CONVOLUTION = (
    ".in_layers.",
    ".out_layers.",
    ".emb_layers.",
    ".skip_connection.",
    ".op.",
    ".conv.",
    ".resnets.",
    ".downsamplers.",
    ".upsamplers.",
)
TEXT_LAYERS = (".layers.", ".resblocks.")
UNET_PREFIXES = ("model.diffusion_model.", "unet/")
TEXT_PREFIXES = ("cond_stage_model.", "conditioner.", "text_encoder/", "text_encoder_2/")

# A safetensors header names each tensor in about 130 bytes; the metadata hold the profile, tags and settings.
HEADER_BYTES_PER_TENSOR, METADATA_BYTES = 150, 32 * 1024
PREVIEW_BYTES_PER_PX = 1.5  # a PNG of a drawn picture
BITS_8_EXTRA = 2 * (1 + 4 / 256)  # two moments of one byte, and a float32 for each block of 256

FULL_UNET = 860e6  # parameters of SD 1.x's U-Net, by which smaller ones are scaled
# Multiply-adds of that U-Net for one 512 x 512 px picture (BK-SDM, Kim et al. 2023, table 1), and of the autoencoder's two halves.
UNET_MACS, ENCODE_MACS, DECODE_MACS = 339e9, 540e9, 1240e9
# Forward, and backward to the inputs only, since the base is frozen; checkpointing runs forward twice.
TRAIN_FLOPS, CHECKPOINTED_FLOPS = 4.4, 6.4
# float32 on one CPU core: 5.6 s for a step of 256 px, batch 1, rank 32 on two; 0.34 s for 4 pictures of 128 px on the pocket model.
CPU_FLOPS_PER_THREAD, CPU_SECONDS_PER_STEP, CPU_SECONDS_PER_CALL = 33e9, 0.25, 0.04

RUNTIME_GIB = 0.6  # CUDA's context and the libraries' workspace; on the CPU Python and torch themselves
FRAGMENTATION = 1.1  # share of the activations that the allocator holds on top
TEXT_GIB = 0.08  # activations of a trained text encoder per caption of 150 tokens


@dataclass(frozen=True)
class Activations:
    """GiB that one picture of 2**20 px keeps for the backward pass, at rank 0, and per rank.

    Counted, not measured on a card: the tensors that autograd saves in a full-size U-Net of the family with LoRA, 150 tokens, fused
    attention, under autocast (or in float32). It is proportional to the area from 256 to 1024 px within 3 %. With checkpointing it
    is what stands at the block borders, plus one layer computed again.
    """

    half: float
    full: float
    half_checkpointed: float
    full_checkpointed: float
    per_rank: float


ACTIVATIONS = {"sd1": Activations(half=4.2, full=6.4, half_checkpointed=1.3, full_checkpointed=1.9, per_rank=0.0052)}


@dataclass(frozen=True)
class Costs:
    """Bytes, GiB and seconds. `None` where there is nothing to say (no card; a machine of unknown speed)."""

    lora_bytes: int  # one LoRA file
    state_bytes: int  # one training state: the LoRA in fp32 and the optimizer's moments
    latent_bytes: int
    num_sample_pictures: int
    disk_bytes: int  # what stays when all is done
    write_bytes: int  # what is written on the way, states that replace each other included
    free_bytes: int  # on the disk of the output folder, when the plan was made
    card: str | None
    vram_gib: float | None
    vram_free_gib: float | None
    train_seconds: float | None
    sample_seconds: float | None


@dataclass(frozen=True)
class Sizes:
    """Parameters in all, of the U-Net, and of the LoRA with its tensors, by the base model's header."""

    base: int
    unet: int
    lora: int
    num_lora_tensors: int


def layer_shapes(shapes: Shapes, *, conv: bool) -> dict[str, list[tuple[int, ...]]]:
    """Weight shapes of the layers that get a LoRA, by part: "unet" and "text_encoder"."""
    pieces = ATTENTION + CONVOLUTION if conv else ATTENTION
    found: dict[str, list[tuple[int, ...]]] = {"text_encoder": [], "unet": []}
    for name, shape in shapes.items():
        if len(shape) not in (2, 4) or not name.endswith(".weight"):
            continue
        if name.startswith(UNET_PREFIXES) and any(piece in name for piece in pieces):
            found["unet"].append(shape)
        elif name.startswith(TEXT_PREFIXES) and any(piece in name for piece in TEXT_LAYERS):
            found["text_encoder"].append(shape)
    return found


def sizes(shapes: Shapes, network: Network, *, parts: Iterable[str], conv: bool) -> Sizes:
    """`network` has its ranks resolved; `parts` are those trained."""
    layers = layer_shapes(shapes, conv=conv)
    chosen = [shape for part in parts for shape in layers[part]]
    params = 0
    for shape in chosen:
        is_large_kernel = math.prod(shape[2:]) > 1
        rank = int((network.conv_rank if is_large_kernel else network.rank) or network.rank or 1)
        params += rank * (shape[0] + math.prod(shape[1:]))
    unet = sum(math.prod(shape) for name, shape in shapes.items() if name.startswith(UNET_PREFIXES))
    base = sum(math.prod(shape) for name, shape in shapes.items() if not name.startswith("model_ema."))
    return Sizes(base, unet, params + len(chosen), 3 * len(chosen))


def lora_bytes(size: Sizes, precision: str) -> int:
    """One LoRA file, within some kilobytes of metadata."""
    return size.lora * BYTES[precision] + size.num_lora_tensors * HEADER_BYTES_PER_TENSOR + METADATA_BYTES


def state_bytes(size: Sizes, optimizer: str) -> int:
    """The LoRA in fp32 with the optimizer's two moments, in fp32 or 8 bit."""
    return int(size.lora * (4 + (BITS_8_EXTRA if "8bit" in optimizer.lower() else 8)))


def latent_bytes(buckets: Iterable[tuple[int, int]], *, flip: bool, channels: int, factor: int) -> int:
    """Cached latents of all pictures, float32; twice when they are mirrored too."""
    once = sum(channels * (w // factor) * (h // factor) * 4 + 300 for w, h in buckets)
    return once * (2 if flip else 1)


@dataclass(frozen=True)
class Load:
    """What has to fit: sizes, the largest bucket in px, what is computed in, and how it is optimised."""

    family: str
    sizes: Sizes
    pixels: int
    precision: str
    rank: int
    optimizer: str
    trains_text: bool
    on_card: bool


def memory_gib(load: Load, batch: int, *, checkpointing: bool) -> float:
    """Expected peak: context, base weights, LoRA (weights and gradients in fp32, moments), and the activations of a batch.

    Activations grow with the area and with the width of the U-Net, that is with the square root of its parameters.
    """
    half = load.precision != "fp32"
    table = ACTIVATIONS.get(load.family, ACTIVATIONS["sd1"])
    per_mpx = (table.half_checkpointed if half else table.full_checkpointed) if checkpointing else (table.half if half else table.full)
    if not checkpointing:
        per_mpx += table.per_rank * load.rank * (1 if half else 2)
    width = math.sqrt(load.sizes.unet / FULL_UNET)
    activations = batch * width * (per_mpx * load.pixels / MPX + (TEXT_GIB if load.trains_text else 0))
    weights = load.sizes.base * BYTES[load.precision] / GIB
    trained = load.sizes.lora * (8 + (BITS_8_EXTRA if "8bit" in load.optimizer.lower() else 8)) / GIB
    return RUNTIME_GIB + weights + trained + activations * (FRAGMENTATION if load.on_card else 1)


def batch_that_fits(load: Load, room_gib: float, *, most: int, checkpointing: bool) -> int:
    """The largest batch up to `most` within `room_gib`; 0 when not even one picture fits."""
    return next((b for b in range(most, 0, -1) if memory_gib(load, b, checkpointing=checkpointing) <= room_gib), 0)


def _scale(size: Sizes, pixels: float) -> float:
    """Work relative to the full-size U-Net at 512 x 512 px."""
    return size.unet / FULL_UNET * pixels / (512 * 512)


def cpu_train_seconds(size: Sizes, pixels: float, *, steps: int, threads: int, checkpointing: bool) -> float:
    """Rough time of all steps on the CPU in float32; `pixels` are those of all looks together."""
    flops = UNET_MACS * _scale(size, pixels) * (CHECKPOINTED_FLOPS if checkpointing else TRAIN_FLOPS)
    return flops / (CPU_FLOPS_PER_THREAD * threads) + steps * CPU_SECONDS_PER_STEP


def cpu_sample_seconds(size: Sizes, pixels: int, steps: int, *, guided: bool, threads: int) -> float:
    """Rough time of one sample picture on the CPU; guidance looks twice."""
    flops = 2 * _scale(size, pixels) * (UNET_MACS * steps * (2 if guided else 1) + DECODE_MACS)
    return flops / (CPU_FLOPS_PER_THREAD * threads) + steps * CPU_SECONDS_PER_CALL


def cpu_encode_seconds(size: Sizes, pixels: float, *, threads: int) -> float:
    """Rough time of encoding pictures of so many px in all, once."""
    return 2 * ENCODE_MACS * _scale(size, pixels) / (CPU_FLOPS_PER_THREAD * threads)

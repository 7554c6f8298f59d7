"""Stable Diffusion 1.x on diffusers and transformers: load, encode, predict, and which layers a LoRA sits on.

Any number of layers and any widths: sizes are read from the tensors, so no configuration is looked for and nothing is downloaded.
Not here: names of tensors (sd1_keys.py), the training maths (noise.py), sampling (sampler.py).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

# Before the two libraries are imported: they ask the hub at the first chance otherwise.
os.environ.update({"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TRANSFORMERS_OFFLINE": "1"})

import torch
from diffusers.utils import import_utils

# For 4-bit models, which nothing here has, diffusers imports bitsandbytes: a quarter of a start. Our optimizers import it themselves.
import_utils._bitsandbytes_available = False

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from lorabake.captions import windows
from lorabake.errors import UserError
from lorabake.families import FAMILIES, Base, sd1_keys
from lorabake.families.layouts import missing_parts
from lorabake.families.tokenizer import clip_tokenizer
from lorabake.modelfile import PARTS, part_files, read_json
from lorabake.weights import load_checkpoint

ROW = FAMILIES["sd1"]
WINDOW = 77
UNET_SCOPE = ("Transformer2DModel",)
UNET_CONV_SCOPE = ("Transformer2DModel", "ResnetBlock2D", "Downsample2D", "Upsample2D")
# What a Diffusers folder's config.json may say that its tensors do not; everything else is read from the tensors.
FOLDER_KEYS = {
    "unet": ("attention_head_dim", "num_attention_heads", "norm_num_groups", "norm_eps"),
    "vae": ("norm_num_groups",),
    "text_encoder": ("num_attention_heads", "hidden_act", "layer_norm_eps"),
}
_OLD_VAE_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
Tensors = dict[str, torch.Tensor]


@dataclass
class Models:
    """The three parts, frozen, in evaluation mode. The autoencoder is always float32: some overflow in fp16."""

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    vae: AutoencoderKL


class Target(NamedTuple):
    """A layer that a LoRA sits on; `part` is "text_encoder" or "unet"."""

    name: str
    module: torch.nn.Module
    part: str


def load(base: Base, *, dtype: torch.dtype, device: torch.device | str) -> Models:
    """The model of a file or Diffusers folder; U-Net and text encoder in `dtype`, on `device`.

    Tensors are converted one by one from the mapped file into modules that held no memory before, so the peak is the model
    itself plus one tensor. Raises UserError naming the tensors that a damaged file lacks.
    """
    path = Path(base.path)
    parts, configs = _folder_parts(path) if base.kind == "folder" else (_file_parts(path), {part: {} for part in PARTS})
    dtypes = {"unet": dtype, "text_encoder": dtype, "vae": torch.float32}
    models = {}
    for part in PARTS:
        model = _empty(part, parts[part], configs[part], path)
        models[part] = _fill(model, parts.pop(part), dtype=dtypes[part], device=device, where=f"{path} ({part})")
    if torch.device(device).type == "cpu":
        # The layout that the CPU's convolutions compute in: a quarter faster for the autoencoder, no difference for the U-Net.
        models["vae"].to(memory_format=torch.channels_last)
    return Models(**models)


def _file_parts(path: Path) -> dict[str, Tensors]:
    prefixes = (sd1_keys.UNET, sd1_keys.VAE, sd1_keys.TEXT)
    tensors = load_checkpoint(path, only=lambda name: name.startswith(prefixes))
    if missing := missing_parts(tensors):
        raise UserError(f"this checkpoint has no {' and no '.join(missing)}", where=str(path), todo="give the full checkpoint")
    parts: dict[str, Tensors] = {part: {} for part in PARTS}
    for original, (part, name) in sd1_keys.to_diffusers(tensors).items():
        parts[part][name] = tensors[original]
    return parts


def _folder_parts(path: Path) -> tuple[dict[str, Tensors], dict[str, dict[str, Any]]]:
    parts: dict[str, Tensors] = {}
    for part in PARTS:
        tensors: Tensors = {}
        for file in part_files(path / part):
            tensors.update(load_checkpoint(file))
        if part == "text_encoder":
            tensors = {sd1_keys.text_name(name): tensor for name, tensor in tensors.items()}
        if part == "vae":
            tensors = {_modern(name): tensor for name, tensor in tensors.items()}
        parts[part] = tensors
    return parts, {part: read_json(path / part / "config.json") for part in PARTS}


def _modern(name: str) -> str:
    """Diffusers renamed the layers of the autoencoder's attention in 2023; the published SD 1.5 folder still has the old names."""
    for old, new in _OLD_VAE_NAMES.items():
        name = name.replace(old, new)
    return name


def _empty(part: str, tensors: Tensors, config: Mapping[str, Any], path: Path) -> torch.nn.Module:
    """The module of a part with all its sizes and no memory behind it. Raises UserError when the sizes cannot be read."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    read: dict[str, Callable[[sd1_keys.Shapes], dict[str, Any]]]
    read = {"unet": sd1_keys.unet_sizes, "vae": sd1_keys.vae_sizes, "text_encoder": sd1_keys.text_sizes}
    try:
        sizes = read[part](shapes)
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(
            f"the {part} of this model lacks {error}", where=str(path), todo="download it again, or give another file"
        ) from error
    sizes |= {key: config[key] for key in FOLDER_KEYS[part] if config.get(key) is not None}
    with torch.device("meta"):
        if part == "unet":
            return UNet2DConditionModel(**sizes)
        if part == "vae":
            return AutoencoderKL(**sizes, scaling_factor=ROW.scaling_factor)
        return CLIPTextModel(CLIPTextConfig(**sizes))


def _fill(model: torch.nn.Module, tensors: Tensors, *, dtype: torch.dtype, device: torch.device | str, where: str) -> Any:
    """Give an empty module its tensors, emptying `tensors`. Raises UserError for missing ones and for wrong shapes."""
    state: Tensors = {}
    missing: list[str] = []
    for name, empty in model.state_dict().items():
        tensor = tensors.pop(sd1_keys.text_name(name), None)
        if tensor is None:
            missing.append(name)
            continue
        if sd1_keys.is_vae_attention(name):
            tensor = tensor.reshape(tensor.shape[:2])
        if tensor.shape != empty.shape:
            raise UserError(f"{name} has the shape {tuple(tensor.shape)}, {tuple(empty.shape)} was expected", where=where)
        # A copy even where the type is right: the file is closed afterwards and may be replaced while training runs.
        state[name] = tensor.to(device=device, dtype=dtype, copy=True)
    if missing:
        shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        raise UserError(f"this model is not whole: it lacks {shown}", where=where, todo="download it again, or give another file")
    model.load_state_dict(state, assign=True)
    for module in model.modules():
        if isinstance(ids := getattr(module, "position_ids", None), torch.Tensor):
            # Counted, not stored; older checkpoints do store it, some of them rounded to fp16.
            module.position_ids = torch.arange(ids.shape[-1], device=device).expand((1, -1))
    return model.requires_grad_(False).eval()


def encode_text(models: Models, captions: Sequence[str], *, clip_skip: int, num_windows: int) -> torch.Tensor:
    """(b, num_windows * 75 + 2, width): each window of 77 tokens encoded alone, then joined, the ends kept once.

    `clip_skip` n takes the n-th hidden state from the end, then the final layer norm; 1 is the encoder's own output. Keeps
    gradients. What does not fit the windows is cut.
    """
    tokenizer = clip_tokenizer()
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    ids = tokenizer(list(captions), add_special_tokens=False, truncation=True, max_length=num_windows * 75)["input_ids"]
    rows = [window for row in ids for window in windows(row, num_windows, bos=bos, eos=eos, pad=tokenizer.pad_token_id)]
    encoder = models.text_encoder
    inner = getattr(encoder, "text_model", encoder)  # older transformers keep the model one level down
    device = inner.final_layer_norm.weight.device
    tokens_bt = torch.tensor(rows, device=device)
    if clip_skip == 1:
        states = encoder(tokens_bt).last_hidden_state
    else:
        hidden = encoder(tokens_bt, output_hidden_states=True).hidden_states
        if clip_skip > len(hidden):
            raise UserError(f"model.clip_skip {clip_skip} is more than this text encoder has", allowed=f"1 to {len(hidden)}")
        states = inner.final_layer_norm(hidden[-clip_skip])
    states = states.reshape(len(captions), num_windows, WINDOW, -1)
    middle = states[:, :, 1:-1].flatten(1, 2)
    return torch.cat((states[:, 0, :1], middle, states[:, -1, -1:]), 1)


@torch.no_grad()
def encode_image(models: Models, pixels_bchw: torch.Tensor, generator: torch.Generator | Sequence[torch.Generator]) -> torch.Tensor:
    """One sample of the posterior, (b, 4, h/8, w/8) float32, NOT multiplied by the scaling factor; pixels in [-1, 1].

    A CPU generator, or one per picture, so that the result depends neither on the card nor on the batch.
    """
    weight = models.vae.quant_conv.weight
    posterior = models.vae.encode(pixels_bchw.to(weight.device, weight.dtype)).latent_dist
    mean, deviation = posterior.mean.float(), posterior.std.float()
    if isinstance(generator, torch.Generator):
        noise = torch.randn(mean.shape, generator=generator)
    else:
        noise = torch.stack([torch.randn(mean.shape[1:], generator=one) for one in generator])
    return mean + deviation * noise.to(mean.device)


@torch.no_grad()
def decode(models: Models, latents_bchw: torch.Tensor) -> torch.Tensor:
    """Pixels in about [-1, 1], (b, 3, 8h, 8w) float32, from latents already divided by the scaling factor; one by one, to spare memory."""
    weight = models.vae.post_quant_conv.weight
    latents_bchw = latents_bchw.to(weight.device, weight.dtype)
    return torch.cat([models.vae.decode(one).sample.float() for one in latents_bchw.split(1)])


def predict(models: Models, noisy_bchw: torch.Tensor, t_b: torch.Tensor, context_btd: torch.Tensor) -> torch.Tensor:
    """The U-Net's guess of the noise, (b, 4, h, w) in its own precision."""
    dtype = models.unet.conv_in.weight.dtype
    return models.unet(noisy_bchw.to(dtype), t_b, encoder_hidden_states=context_btd.to(dtype), return_dict=False)[0]


def targets(models: Models, conv: bool = False) -> list[Target]:
    """The layers that LoRA programs agree on, text encoder first: 72 + 192 of a full-size model, 72 + 278 with `conv`."""
    found = []
    for path, module in models.text_encoder.named_modules():
        if isinstance(module, torch.nn.Linear):
            found.append(_target("text_encoder", f"text_model.{sd1_keys.text_name(path)}", module))
    for path, block in models.unet.named_modules():
        if type(block).__name__ in (UNET_CONV_SCOPE if conv else UNET_SCOPE):
            for inner, module in block.named_modules():
                if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
                    found.append(_target("unet", f"{path}.{inner}", module))
    return found


def _target(part: str, path: str, module: torch.nn.Module) -> Target:
    return Target(f"{ROW.lora_prefixes[part]}_{path.replace('.', '_')}", module, part)


def to_original_keys(models: Models) -> Tensors:
    """All tensors under the names and shapes of the original layout, as a single-file checkpoint holds them."""
    found: Tensors = {}
    for part in PARTS:
        tensors = getattr(models, part).state_dict()
        for name, original in sd1_keys.to_original(part, tensors).items():
            tensor = tensors[name]
            found[original] = tensor[:, :, None, None] if part == "vae" and sd1_keys.is_vae_attention(name) else tensor
    return found

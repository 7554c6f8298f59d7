"""Adapters on frozen layers: hang them on, read and change their strengths, take them off, and do so from a saved file.

An adapter replaces the `forward` of its Linear or Conv2d on that one object: no module is renamed or exchanged, so the model's own
keys stay what they are. The tensors live here, beside the model. Not here: what an adapter computes (networks/*), which layers get
one (families/*), writing files (weights.py).
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from lorabake.errors import UserError
from lorabake.networks import NETWORKS
from lorabake.weights import read_header

PARTS = ("text_encoder", "unet")  # in the order of the saved keys
Target = tuple[str, nn.Module, str]  # name in LoRA files, layer, part
# Other kinds of adapter by a piece of their tensor names, for the sentence that refuses them.
OTHER_KINDS = {
    "lora_mid.": "a LoCon with a Tucker core",
    "hada_": "a LoHa",
    "lokr_": "a LoKr",
    "dora_scale": "a DoRA",
    "oft_": "an OFT",
    ".lora_A.": "a LoRA with the key names of diffusers or PEFT",
    ".lora.down.": "a LoRA with the key names of diffusers",
}
# Names that only other families have, most telling first.
OTHER_FAMILIES = {
    "lora_unet_double_blocks": "Flux",
    "lora_unet_single_blocks": "Flux",
    "lora_unet_joint_blocks": "Stable Diffusion 3",
    "lora_te3_": "Stable Diffusion 3 or Flux",
    "lora_te2_": "Stable Diffusion XL",
    "lora_te1_": "Stable Diffusion XL",
    "lora_unet_input_blocks": "Stable Diffusion XL",
    "lora_unet_output_blocks": "Stable Diffusion XL",
}


@dataclass
class Adapter:
    """One adapter on one layer. `strengths` is shared by all adapters of an Attached; `scale` is alpha / rank."""

    module: nn.Module
    part: str
    network: ModuleType
    tensors: dict[str, torch.Tensor]
    strengths: dict[str, float]
    scale: float = field(init=False)

    def __post_init__(self) -> None:
        self.scale = self.network.scale_of(self.tensors)

    def trained(self) -> list[nn.Parameter]:
        return [tensor for name in self.network.TRAINED if isinstance(tensor := self.tensors[name], nn.Parameter)]


class Wrapped:
    """Stands in for the `forward` of one layer and adds every adapter that hangs on it, whichever file it is from."""

    def __init__(self, module: nn.Module) -> None:
        self.original: Callable[[torch.Tensor], torch.Tensor] = module.forward
        self.module = module
        self.adapters: list[Adapter] = []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        out = None
        for adapter in self.adapters:
            strength = adapter.strengths[adapter.part]
            if strength == 0:
                continue  # not a multiplication by 0: the output must be the bare layer's to the bit
            factor = strength * adapter.scale
            if out is None:
                out = adapter.network.forward(self.module, x, adapter.tensors, factor)
            else:
                out = out + adapter.network.branch(self.module, x, adapter.tensors, factor)
        return self.original(x) if out is None else out


def base_weight(module: nn.Module) -> torch.Tensor:
    """The weight of a layer that can take an adapter; a family's targets hold no others."""
    assert isinstance(module, nn.Linear | nn.Conv2d), f"adapters know Linear and Conv2d only, not {type(module).__name__}"
    return module.weight


class Attached:
    """A set of adapters that belong together: one training, or one file. Made by `attach` and `apply_file`."""

    def __init__(self, strengths: Mapping[str, float]) -> None:
        self.adapters: dict[str, Adapter] = {}
        self.strengths = dict(strengths)
        self.unused: tuple[str, ...] = ()  # names in the file for which this model has no layer
        self._flags: list[tuple[nn.Parameter, bool]] = []

    def hang(self, name: str, adapter: Adapter) -> None:
        """Freeze the layer and put the adapter on it."""
        module = adapter.module
        for parameter in module.parameters():
            self._flags.append((parameter, parameter.requires_grad))
            parameter.requires_grad_(False)
        wrapped = module.__dict__.get("forward")
        if not isinstance(wrapped, Wrapped):
            wrapped = Wrapped(module)
            module.forward = wrapped
        wrapped.adapters.append(adapter)
        self.adapters[name] = adapter

    def detach(self) -> None:
        """Take these adapters off, in any order with other sets; the last one off leaves the layer as it was."""
        for adapter in self.adapters.values():
            wrapped = adapter.module.__dict__["forward"]
            wrapped.adapters = [other for other in wrapped.adapters if other is not adapter]
            if not wrapped.adapters:
                del adapter.module.forward
        for parameter, flag in reversed(self._flags):
            parameter.requires_grad_(flag)
        self.adapters, self._flags = {}, []

    def set_multiplier(self, unet: float, text_encoder: float | None = None) -> None:
        """Strength of the whole set, at any time; the text encoder's is the U-Net's where it is not given. 0 is as if detached."""
        self.strengths.update(unet=unet, text_encoder=unet if text_encoder is None else text_encoder)

    def parameters(self, part: str | None = None) -> list[nn.Parameter]:
        """What is trained, in the order of `tensors()`; of one part ("unet", "text_encoder") or of both."""
        chosen = [adapter for adapter in self.adapters.values() if part in (None, adapter.part)]
        return [parameter for adapter in chosen for parameter in adapter.trained()]

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors under their saved keys, text encoder first. They share memory with the live ones: copy what is to outlast a step."""
        return {f"{name}.{key}": t.detach() for name, adapter in self.adapters.items() for key, t in adapter.tensors.items()}

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy values in, by full key. Raises UserError when keys or shapes are not exactly those of this set."""
        own = self.tensors()
        if wrong := sorted(own.keys() ^ tensors.keys()) or [key for key in own if own[key].shape != tensors[key].shape]:
            raise UserError("these LoRA tensors are for another network", where=f"{wrong[0]} and {len(wrong) - 1} more")
        for key, tensor in tensors.items():
            own[key].copy_(tensor)
        for adapter in self.adapters.values():
            adapter.scale = adapter.network.scale_of(adapter.tensors)


def load_network(name: str) -> ModuleType:
    """The functions of a network type; its name is a key of NETWORKS."""
    return importlib.import_module(NETWORKS[name].module)


def attach(targets: Iterable[Target], network: Any, *, generator: torch.Generator) -> Attached:
    """New adapters, to be trained, on every target; `network` is the profile's block (type, rank, alpha, conv_rank, conv_alpha).

    Their tensors are float32 on the device of the layer, drawn on the CPU from `generator`: text encoder first, then the U-Net, each
    in the order of `targets`. The base weights lose requires_grad.
    """
    functions = load_network(network.type)
    attached = Attached(dict.fromkeys(PARTS, 1.0))
    for name, module, part in in_order(targets):
        weight = base_weight(module)
        drawn = functions.init(tuple(weight.shape), network, generator)
        tensors = {k: nn.Parameter(t.to(weight.device)) if k in functions.TRAINED else t for k, t in drawn.items()}
        attached.hang(name, Adapter(module, part, functions, tensors, attached.strengths))
    return attached


def in_order(targets: Iterable[Target]) -> list[Target]:
    """Text encoder first, the order within a part kept."""
    return sorted(targets, key=lambda target: PARTS.index(target[2]))


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file as read: `modules` maps the name of a layer to its tensors, whatever their dtype; `network` is a key of NETWORKS."""

    path: Path
    network: str
    modules: dict[str, dict[str, torch.Tensor]]
    metadata: dict[str, str]

    def ranks(self) -> dict[str, int]:
        functions = load_network(self.network)
        return {name: functions.rank_of(tensors) for name, tensors in self.modules.items()}


def read_lora(path: Path) -> LoraFile:
    """Read a LoRA of any family in the key names that web UIs share. Raises UserError naming what is unknown in it."""
    _, metadata = read_header(path)
    tensors = load_file(path)
    modules: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, suffix = key.partition(".")
        modules.setdefault(name, {})[suffix] = tensor
    for kind in NETWORKS:
        functions = load_network(kind)
        need = {*functions.TRAINED}
        strange = [name for name, found in modules.items() if not need <= found.keys() <= functions.TENSORS]
        if modules and not strange:
            return LoraFile(path, kind, modules, metadata)
    raise _unknown_keys(path, list(tensors))


def _unknown_keys(path: Path, keys: list[str]) -> UserError:
    known = load_network("lora").TENSORS
    unknown = [key for key in keys if key.partition(".")[2] not in known] or keys
    kind = next((words for piece, words in OTHER_KINDS.items() if any(piece in key for key in unknown)), None)
    return UserError(
        f"this file is {kind}, which lorabake cannot use" if kind else "this file is not a LoRA that lorabake can use",
        where=f"{path}: {_shown(unknown)}",
        allowed="LoRA and LoCon in a .safetensors file, keys ending in .lora_down.weight, .lora_up.weight and .alpha",
    )


def apply_file(models: Any, family: ModuleType, path: Path, unet_weight: float = 1.0, te_weight: float | None = None) -> Attached:
    """Hang a saved LoRA on loaded models, not to be trained, in the precision of the layers; te_weight None means unet_weight.

    Names for which the model has no layer are in `unused`. Raises UserError for a file of another family or of other sizes.
    """
    file = read_lora(path)
    return attach_modules(family.targets(models, conv=True), file, unet_weight, te_weight)


def attach_modules(targets: Iterable[Target], file: LoraFile, unet_weight: float, te_weight: float | None) -> Attached:
    """apply_file for layers that are already listed."""
    functions = load_network(file.network)
    attached = Attached({"unet": unet_weight, "text_encoder": unet_weight if te_weight is None else te_weight})
    chosen = [target for target in in_order(targets) if target[0] in file.modules]
    attached.unused = tuple(sorted(file.modules.keys() - {name for name, _, _ in chosen}))
    if not chosen:
        raise _other_family(file)
    fitted = []
    for name, module, _ in chosen:
        try:
            fitted.append(functions.fit(file.modules[name], tuple(base_weight(module).shape)))
        except ValueError as error:
            raise UserError(
                f"this LoRA was made for a base model of other sizes ({error})",
                where=f"{file.path}: {name}",
                todo="use a LoRA of the same family and size as the base model",
            ) from error
    for (name, module, part), tensors in zip(chosen, fitted, strict=True):
        weight = base_weight(module)
        moved = dict(tensors)
        for key in functions.TRAINED:
            moved[key] = tensors[key].to(weight.device, weight.dtype, copy=True)  # a copy lets go of the file
        attached.hang(name, Adapter(module, part, functions, moved, attached.strengths))
    return attached


def _other_family(file: LoraFile) -> UserError:
    names = list(file.modules)
    found = next((title for sign, title in OTHER_FAMILIES.items() if any(name.startswith(sign) for name in names)), None)
    return UserError(
        f"this LoRA is for {found}, not for this base model" if found else "no layer of this base model has a name that is in this LoRA",
        where=f"{file.path}: {_shown(names)}",
        todo="use a LoRA of the same family as the base model",
    )


def _shown(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

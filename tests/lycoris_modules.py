"""Makes modules with LyCORIS itself and writes what it saves of them, beside the weight that it computes: the oracle of test_deltas.py.

`python tests/lycoris_modules.py OUT.safetensors [LAYER...]`, with lycoris-lora on the path. tests/data/lycoris.safetensors is what 4.1.3
wrote of "linear" and "conv".
LyCORIS 4.1.3 multiplies LoHa's and LoKr's difference by alpha / rank twice in `get_diff_weight`; `get_weight`, used here, does so once,
as its bypass forward and every program that loads such files do.
"""

import sys

import torch
from lycoris.modules.full import FullModule
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from safetensors.torch import save_file
from torch import nn

LAYERS = {
    "linear": lambda: nn.Linear(12, 8),
    "conv": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "pointwise": lambda: nn.Conv2d(6, 8, 1),
    "square": lambda: nn.Conv2d(8, 8, 3),
}
MODULES = {
    "lora": (LoConModule, {}),
    "tucker": (LoConModule, {"use_tucker": True}),
    "loha": (LohaModule, {}),
    "loha-tucker": (LohaModule, {"use_tucker": True}),
    "lokr": (LokrModule, {"factor": 2, "lora_dim": 1}),
    "lokr-both": (LokrModule, {"factor": 4, "lora_dim": 1, "decompose_both": True}),
    "lokr-whole": (LokrModule, {"factor": 2, "full_matrix": True}),
    "lokr-tucker": (LokrModule, {"factor": 2, "lora_dim": 1, "use_tucker": True}),
    "lora-rs": (LoConModule, {"rs_lora": True}),
}
DORA = {"": {}, "-out": {"weight_decompose": True}, "-in": {"weight_decompose": True, "wd_on_out": False}}


def main(out: str, *layers: str) -> None:
    torch.manual_seed(7)
    found: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for layer_name in layers or LAYERS:
            make = LAYERS[layer_name]
            for kind, (module, options) in MODULES.items():
                for axis, wd in DORA.items():
                    enter(found, f"{layer_name}:{kind}{axis}", module, make(), {"lora_dim": 3, "alpha": 2.0, **options, **wd})
            whole(found, f"{layer_name}:full", make())
        norm(found)
    save_file(found, out)


def enter(found: dict[str, torch.Tensor], case: str, kind: type, layer: nn.Module, options: dict) -> None:
    made = kind("x", layer, 1.0, **options)
    for parameter in made.parameters():
        if parameter is not getattr(made, "dora_scale", None):
            parameter.copy_(torch.randn(parameter.shape) * 0.5)
    base = layer.weight.detach()
    diff = made.get_diff_weight()[0] if kind is LoConModule else made.get_weight(made.shape)
    diff = diff.reshape(base.shape)
    if options.get("weight_decompose"):
        made.dora_scale.copy_(made.dora_scale * (0.5 + torch.rand(made.dora_scale.shape)))
        diff = made.apply_weight_decompose(base + diff) - base
    note(found, case, made.custom_state_dict(), base, diff)


def whole(found: dict[str, torch.Tensor], case: str, layer: nn.Module) -> None:
    made = FullModule("x", layer)
    made.weight.copy_(torch.randn(made.weight.shape))
    made.bias.copy_(torch.randn(made.bias.shape))
    # Its state is the difference once it has taken the layer's place; before that the parameters are.
    note(found, case, {"diff": made.weight, "diff_b": made.bias}, layer.weight, made.get_merged_weight()[0] - layer.weight)


def norm(found: dict[str, torch.Tensor]) -> None:
    layer = nn.LayerNorm(8)
    made = NormModule("x", layer)
    made.w_norm.copy_(torch.randn(8))
    made.b_norm.copy_(torch.randn(8))
    note(found, "norm:full", made.state_dict(), layer.weight, made.get_merged_weight()[0] - layer.weight)


def note(found: dict[str, torch.Tensor], case: str, state: dict, base: torch.Tensor, change: torch.Tensor) -> None:
    for name, tensor in {**state, "BASE": base, "CHANGE": change}.items():
        found[f"{case}/{name}"] = tensor.detach().clone().contiguous()


if __name__ == "__main__":
    main(*sys.argv[1:])

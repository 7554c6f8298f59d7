"""LoRAs with the layers of full-size models and tiny ranks, made in memory. For tests of everything that reads LoRA files."""

import torch

from lorabake.families import layers, lora_names


def kohya(
    family: str, *, rank: int = 2, alpha: float = 1.0, conv: bool = False, num: int | None = None, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Every layer of a family's published model (or the first `num` of each part) in kohya's names, float32."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, torch.Tensor] = {}
    chosen = [layer for layer in layers.full_size(family).values() if conv or not layer.conv]
    for part in ("text_encoder", "unet"):
        for layer in [layer for layer in chosen if layer.part == part][:num]:
            out, *fan = layer.shape
            found[f"{layer.name}.alpha"] = torch.tensor(alpha)
            found[f"{layer.name}.lora_down.weight"] = torch.randn(rank, *fan, generator=generator)
            found[f"{layer.name}.lora_up.weight"] = torch.randn(out, rank, *(1 for _ in fan[1:]), generator=generator)
    return found


def peft(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A LoRA in kohya's names in those of diffusers and PEFT; its alphas are lost, as they are there."""
    suffixes = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}
    parts = [(key.partition("."), tensor) for key, tensor in tensors.items()]
    return {f"{lora_names.to_peft(name)}.{suffixes[suffix]}": tensor for (name, _, suffix), tensor in parts if suffix in suffixes}

"""Network types as rows of plain facts. Not the maths: that is in the module that the row names (networks/lora.py ...)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkType:
    """What the plan and the metadata must know about a network type.

    `kohya_module` goes into ss_network_module, `kohya_algo` (LyCORIS types only) into ss_network_args.
    """

    name: str
    title: str
    module: str
    has_conv: bool
    default_rank: int
    kohya_module: str
    kohya_algo: str | None = None


NETWORKS: dict[str, NetworkType] = {
    "lora": NetworkType("lora", "LoRA", "lorabake.networks.lora", has_conv=False, default_rank=128, kohya_module="networks.lora"),
    # The reference trainer's own LoCon is networks.lora with conv_dim in its arguments: every program reads that.
    "locon": NetworkType("locon", "LoCon", "lorabake.networks.locon", has_conv=True, default_rank=32, kohya_module="networks.lora"),
}

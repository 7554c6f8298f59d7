"""What a plan will cost: bytes on disk, memory of the card, time. Estimates from sizes alone; nothing is measured or loaded here."""

from dataclasses import dataclass


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

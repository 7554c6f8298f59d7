"""What `train.ps1 -New` says about a key beside its meaning: title, usual values, advice, how to pick it.

Data; its order is that of the questions. Keys that are not here are asked too, under "more settings", with what settings.py says of them;
so a new key appears by itself. Not here: defaults, ranges and meanings (settings.py), when a question is left out (questions.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

FOLDER, MODEL, TEXT_FILE = "folder", "model", "text file"  # what a window lets one pick


@dataclass(frozen=True)
class Ask:
    """`usual` is the written guides' value or band; `advice` is for who asks for more; `first`: asked without asking for more settings;
    `kept`: stands in the written profile even where it is the default, because people change it most."""

    title: str = ""
    usual: str = ""
    advice: str = ""
    pick: str = ""
    first: bool = True
    kept: bool = False


ASKED: Mapping[str, Ask] = {
    "base_model": Ask(
        "Base model",
        "the model you will draw with, or the one its family comes from",
        "It decides much of how faithful a style becomes. Of anime models NAI is the safest and the best for characters; mixes such as "
        "AOM2 Hard or Meadmix often keep a style more exactly. There is no rule: try two and compare.",
        MODEL,
    ),
    "images": Ask(
        "Pictures",
        "the folder that HOLDS your 5_name folders, not one of those",
        "Each folder inside is named <repeats>_<concept>: 5_anna is seen 5 times an epoch. 5 repeats do for 100 to 200 pictures, 10 to 12 "
        "for 30 or fewer. 50 pictures or more are good for a style, 5 to 10 can work. A folder with the pictures themselves works too.",
        FOLDER,
    ),
    "name": Ask("Name of the LoRA", "", "You will type it in prompts: <lora:name:0.8>. The profile gets the same name."),
    "output": Ask("Folder for the results", "", "The LoRA, one of each epoch, preview pictures and the report go here.", FOLDER),
    "model.look": Ask(
        "Anime or realistic base model?",
        "realistic if the base model does not come from an anime model",
        "It sets the clip skip: 2 for anime, 1 for realistic. No value is right for both: the wrong one makes it react weakly.",
        kept=True,
    ),
    "network.type": Ask(
        "Kind of LoRA",
        "lora",
        "locon trains the convolutions too, which can catch texture and line work better; take a rank of 32 at most with it.",
        kept=True,
    ),
    "network.rank": Ask(
        "Rank",
        "128; 96 to 192 for characters; 32 at most for other types than lora",
        "More can hold more detail, in a larger file, and over-fits sooner. As little as 1 works. It can be made smaller afterwards.",
    ),
    "network.alpha": Ask(
        "Alpha",
        "the rank, or half of it; 1 can work",
        "What is learned counts alpha / rank times. A smaller alpha dampens learning, but avoids rounding of very small numbers.",
    ),
    "network.target": Ask(
        "Parts to train",
        "both",
        "The U-Net draws, the text encoder understands the words. Without it the LoRA hears its trigger word less.",
    ),
    "train.epochs": Ask(
        "Epochs",
        "5 to 10; 12 for few pictures",
        "Steps are pictures x repeats x epochs / batch. 1500 to 2000 at least, counted at batch 1, more for complex subjects; beyond 5000 "
        "to 6000 it over-fits or gains nothing. A little too much is better than too little: the weight can be lowered when drawing.",
        kept=True,
    ),
    "save.every_epochs": Ask(
        "Keep a LoRA every so many epochs", "1; 0 keeps only the last", "The ones on the way are there to choose the least overcooked."
    ),
    "train.batch_size": Ask(
        "Pictures per step",
        "5 or 6 with 12 GB, 1 or 2 with 6 GB",
        "More is faster and takes more VRAM; 1 is safest and may be better. Both learning rates are multiplied by it.",
    ),
    "train.unet_lr": Ask(
        "Learning rate of the U-Net",
        "8e-5 (with 5 pictures per step that makes 4e-4)",
        "For one picture: it is multiplied by the pictures per step, and the plan shows the result. Too high burns, too low does nothing.",
        kept=True,
    ),
    "train.text_encoder_lr": Ask(
        "Learning rate of the text encoder",
        "1.5e-5",
        "For one picture, as the other rate. It is lower, because words over-fit sooner.",
        kept=True,
    ),
    "train.optimizer": Ask(
        "Optimizer", "AdamW8bit", "How the weights are changed. AdamW8bit is AdamW with less VRAM and the same results."
    ),
    "train.scheduler": Ask(
        "How the rates change on the way",
        "cosine_with_restarts, cosine, constant, constant_with_warmup",
        "The cosine ones fall to 0 at the end, which is forgiving; constant learns more and over-fits sooner.",
    ),
    "train.restarts": Ask("Restarts", "1 (none)", "How many times the rates start from the top again. With 1 it is a plain cosine."),
    "train.power": Ask("Power of the fall", "1", "1 is a straight line; 2 falls faster at first."),
    "train.warmup": Ask(
        "Warmup", "0; 5% where the start is rough", "Steps, a share such as 0.1, or a percentage, while the rates rise from 0."
    ),
    "data.resolution": Ask(
        "Resolution",
        "512; 768 where card and patience allow",
        "More: finer, slower, more VRAM, and more training needed. Pictures keep their shapes; they are sorted into buckets of this area.",
    ),
    "data.flip": Ask(
        "Mirror pictures?",
        "no for characters, rarely for a style",
        "It doubles the variety where pictures are few, but hair, costumes and writing get mirrored too.",
    ),
    "data.shuffle": Ask(
        "Shuffle tags?", "no for a style; maybe for characters and concepts", "Then no tag counts more because of its place."
    ),
    "data.keep_tokens": Ask("Tags that stay in front", "1 with a trigger word", "So that shuffling leaves the trigger word where it is."),
    "data.regularization": Ask(
        "Regularisation pictures",
        "none",
        "A folder of ordinary pictures of the same class that keep the model from forgetting it (dreambooth). It doubles the time.",
        FOLDER,
    ),
    "train.prior_loss_weight": Ask("Weight of these pictures", "1"),
    "train.noise_offset": Ask(
        "Noise offset", "0 = off; 0.1 for darker darks and lighter lights", "It dampens learning: per 0.1 add steps or raise the rates."
    ),
    "train.seed": Ask("Seed", "any number", "The same profile, seed and PC give the same LoRA."),
    "save.comment": Ask("Comment", "trigger words, keywords", "Stands in the file; `lora.py info` reads it back."),
    # asked under "more settings"
    "model.clip_skip": Ask("Clip skip", "2 for anime, 1 for realistic", first=False),
    "model.max_token_length": Ask("Caption length", "150", "A tag is 1 to 4 tokens.", first=False),
    "data.buckets": Ask("Keep the pictures' shapes?", "yes", "Without it every picture is cropped to a square.", first=False),
    "data.min_bucket": Ask("Shortest side of a bucket", "320", first=False),
    "data.max_bucket": Ask("Longest side of a bucket", "960", first=False),
    "data.caption_extension": Ask("Ending of the caption files", ".txt", first=False),
    "data.cache": Ask("Cache of encoded pictures", "disk", "It saves much VRAM and time.", first=False),
    "train.mixed_precision": Ask("Precision of the arithmetic", "fp16; bf16 on RTX 30xx and newer", first=False),
    "train.cpu_threads": Ask("CPU threads", "all; fewer where the PC is used meanwhile", first=False),
    "save.precision": Ask("Precision of the file", "fp16", first=False),
    "save.copy_to": Ask("Copy the finished LoRA to", "the web UI's models\\Lora", pick=FOLDER, first=False),
    "samples.prompts": Ask(
        "What to draw", 'three prompts from the captions; yours: ["1girl, solo", "a castle"]', pick=TEXT_FILE, first=False
    ),
}

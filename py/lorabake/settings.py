"""Every profile key that works: its default, range, meaning, kohya's name. A default stands here and nowhere else.

Frozen pydantic models. In a loaded profile `None` means `auto` where `auto` is a key's default (the plan resolves it), else "not set".
docs/profile-reference.md and profiles/lorabake.schema.json are generated from here (tools/make_reference.py). Not here: keys that do
not work yet (settings_later.py), reading YAML (profile.py), rules between keys (profile_checks.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from lorabake import special_kinds as special
from lorabake import tag_kinds
from lorabake.families import POCKET
from lorabake.kinds import Kind, choice, flag, number, one_number_of, path, pattern, text, whole
from lorabake.networks import NETWORKS
from lorabake.tag_words import PRESETS

REQUIRED: Any = ...
OPTIMIZERS = ("AdamW8bit", "AdamW")
SCHEDULERS = ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup")
PRECISIONS = ("fp32", "bf16", "fp16")
SAMPLERS = ("dpm++_2m", "euler_a")
KOHYA_PRECISION = {"no": "fp32", "float": "fp32", "float32": "fp32", "full": "fp32", "half": "fp16", "float16": "fp16", "bfloat16": "bf16"}
KOHYA_TYPES = {"lycoris": "locon", "lycoris.kohya": "locon", "c3lier": "locon", "networks.lora": "lora", "lierla": "lora"}
KOHYA_SAMPLERS = {"k_euler_a": "euler_a", "euler a": "euler_a", "dpm++ 2m": "dpm++_2m", "dpmpp_2m": "dpm++_2m", "dpmsolver++": "dpm++_2m"}


def key(default: Any, kind: Kind, meaning: str, *, kohya: str = "", auto: str = "") -> Any:
    """A profile key. `kohya`: its names there, by commas; `auto`: what `auto` becomes, in words (then the default is None)."""
    return Field(default, description=meaning, json_schema_extra={"kind": kind, "kohya": kohya, "auto": auto, "by": "F"})  # type: ignore[dict-item]


class Block(BaseModel):
    """Frozen, no unknown names, every value checked by its key's Kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    @field_validator("*", mode="after")
    @classmethod
    def _check(cls, value: Any, info: ValidationInfo) -> Any:
        extra = cls.model_fields[str(info.field_name)].json_schema_extra
        kind = extra.get("kind") if isinstance(extra, dict) else None
        if isinstance(kind, Kind) and value is not None and not kind.fits(value):
            raise ValueError(f"{value!r} is not allowed: {kind.allowed}")
        return value


class Network(Block):
    """What is trained."""

    type: str = key(
        "lora", choice(NETWORKS, aliases=KOHYA_TYPES), "Type of network. locon trains the convolutions too.", kohya="network_module"
    )
    rank: int | None = key(
        None,
        whole(1, 1024),
        "Size of what can be learned, and of the file.",
        kohya="network_dim",
        auto="128 for lora, 32 for the other types",
    )
    alpha: float | None = key(
        None,
        number(0, 1024, over=True, note="at most the rank"),
        "The LoRA counts alpha / rank times; lower dampens learning.",
        kohya="network_alpha",
        auto="the rank",
    )
    conv_rank: int | None = key(
        None, whole(1, 1024), "Rank of the 3x3 convolutions (locon).", kohya="conv_dim", auto="the rank, at most 32"
    )
    conv_alpha: float | None = key(
        None,
        number(0, 1024, over=True, note="at most conv_rank"),
        "Alpha of the 3x3 convolutions (locon).",
        kohya="conv_alpha",
        auto="conv_rank",
    )
    target: str = key(
        "both",
        choice(("both", "unet", "text_encoder")),
        "Which parts are trained.",
        kohya="network_train_unet_only, network_train_text_encoder_only",
    )


class Train(Block):
    """How it is trained."""

    epochs: int = key(6, whole(1, 100_000), "How many times the whole set is seen.", kohya="max_train_epochs")
    steps: int | None = key(None, whole(1, 10_000_000), "Steps in all, instead of epochs.", kohya="max_train_steps")
    batch_size: int | None = key(
        None, whole(1, 1024), "Pictures per step. More: faster, more VRAM.", kohya="train_batch_size", auto="5, or what fits the card"
    )
    accumulation: int = key(
        1, whole(1, 1024), "Batches per step: acts like a larger batch, without its VRAM.", kohya="gradient_accumulation_steps"
    )
    unet_lr: float = key(
        8e-5, number(0, 10, note="0 = not trained"), "Learning rate of the U-Net for ONE picture; see scale_lr_by_batch.", kohya="unet_lr"
    )
    text_encoder_lr: float = key(
        1.5e-5, number(0, 10, note="0 = not trained"), "Learning rate of the text encoder for ONE picture.", kohya="text_encoder_lr"
    )
    scale_lr_by_batch: bool = key(True, flag(), "Multiply both rates by batch_size x accumulation x processes; the plan shows the result.")
    optimizer: str = key("AdamW8bit", choice(OPTIMIZERS), "Where AdamW8bit cannot load, AdamW is used, and said.", kohya="optimizer_type")
    optimizer_args: dict[str, bool | int | float | str | tuple[float, ...]] = key(
        {}, special.options(), "Options of the optimizer.", kohya="optimizer_args"
    )
    scheduler: str = key("cosine_with_restarts", choice(SCHEDULERS), "How the rates change on the way.", kohya="lr_scheduler")
    restarts: int = key(1, whole(1, 1000), "Cycles of cosine_with_restarts; 1 = none.", kohya="lr_scheduler_num_cycles")
    power: float = key(1.0, number(0, 100, over=True), "Power of polynomial.", kohya="lr_scheduler_power")
    warmup: int | float | str = key(
        0, special.share_or_count("steps", keep_percent=True), "The rates rise from 0 during these first steps.", kohya="lr_warmup_steps"
    )
    max_grad_norm: float = key(1.0, number(0, 1000, note="0 = off"), "Larger gradients are cut to this.", kohya="max_grad_norm")
    mixed_precision: str | None = key(
        None,
        choice(PRECISIONS, aliases=KOHYA_PRECISION),
        "What the base model computes in. The LoRA itself is trained in fp32.",
        kohya="mixed_precision",
        auto="bf16 where the card computes in it, else fp16 on cards, fp32 on the CPU",
    )
    min_snr_gamma: float | None = key(
        None, number(0, 100, note="5 is usual, 0 = off"), "Weighs easy timesteps less.", kohya="min_snr_gamma"
    )
    noise_offset: float = key(
        0.0, number(0, 1, note="0 = off"), "0.1 widens the range of light and dark and dampens learning.", kohya="noise_offset"
    )
    prior_loss_weight: float = key(1.0, number(0, 100), "Weight of regularisation pictures.", kohya="prior_loss_weight")
    gradient_checkpointing: bool | None = key(
        None, flag(), "Less VRAM, slower.", kohya="gradient_checkpointing", auto="true where the card would be too small otherwise"
    )
    seed: int = key(23, special.SEED, "The same seed, the same LoRA.", kohya="seed")
    device: str | None = key(
        None,
        pattern(r"cpu|cuda(:\d{1,2})?", "cpu, cuda, cuda:0, cuda:1 ..."),
        "Where to train.",
        auto="the card with the most free VRAM, else the CPU",
    )
    processes: int = key(1, whole(1, 64), "Cards used at once.", kohya="num_processes")
    cpu_threads: int | None = key(
        None, whole(1, 1024), "Fewer leave room while the PC is used.", kohya="num_cpu_threads_per_process", auto="all"
    )
    background: bool = key(False, flag(), "Run at lower priority.")
    deterministic: bool = key(False, flag(), "On a card: slower, the same tensors every time. On the CPU it is always so.")


class Data(Block):
    """The pictures and captions."""

    resolution: int | None = key(
        None,
        whole(32, 4096, step=8),
        "Side in px. More: better, slower, more VRAM.",
        kohya="resolution",
        auto="the family's: 512 for SD 1.x, 128 for pocket",
    )
    min_bucket: int | None = key(
        None,
        whole(8, 8192, note="multiples of 64; of 8 where data.resolution is under 256"),
        "Shortest side of a bucket, in px.",
        kohya="min_bucket_reso",
        auto="320 at 512, 64 at 128",
    )
    max_bucket: int | None = key(
        None,
        whole(8, 8192, note="multiples of 64; of 8 where data.resolution is under 256"),
        "Longest side of a bucket, in px.",
        kohya="max_bucket_reso",
        auto="960 at 512, 256 at 128",
    )
    buckets: bool = key(True, flag(), "Keep the pictures' shapes; false = square crops.", kohya="enable_bucket")
    upscale_small: bool = key(
        True, flag(), "Enlarge pictures that are smaller than their bucket.", kohya="bucket_no_upscale (its opposite)"
    )
    repeats: int = key(
        5,
        whole(1, 100_000),
        "For flat folders, how often each picture is seen per epoch; other folders say it in their names.",
        kohya="dataset_repeats",
    )
    background: str = key("white", special.colour(), "What transparent places are laid on.")
    caption_extension: str = key(".txt", special.extension(), "Of the caption files; .caption is tried next.", kohya="caption_extension")
    keep_tokens: int | None = key(
        None,
        whole(0, 225),
        "Tags at the front that stay in place when shuffling.",
        kohya="keep_tokens",
        auto="1 with a trigger word, else 0",
    )
    shuffle: bool = key(False, flag(), "Shuffle the tags of a caption each time.", kohya="shuffle_caption")
    flip: bool = key(False, flag(), "Mirror half of the pictures: more variety, but costumes and hair get mirrored too.", kohya="flip_aug")
    regularization: str | None = key(
        None, path("a folder, or nothing"), "Folder of regularisation pictures; empty = none.", kohya="reg_data_dir"
    )
    holdout: int | float | None = key(
        None,
        special.share_or_count("pictures", keep_percent=False),
        "Pictures kept aside to measure how well the rest is learned; 0 = none.",
        kohya="validation_split",
        auto="0 under 40 pictures, else 5 % (2 to 16)",
    )
    cache: str = key(
        "disk",
        choice(("disk", "memory", "off"), aliases={"true": "disk", "yes": "disk", "false": "off", "no": "off", "ram": "memory"}),
        "Where encoded pictures are kept.",
        kohya="cache_latents, cache_latents_to_disk",
    )


class Model(Block):
    """How the base model is used."""

    clip_skip: int | None = key(
        None,
        whole(1, 12),
        "Which of the text encoder's last layers is used.",
        kohya="clip_skip",
        auto="2 for anime, 1 for realistic, or what the file says",
    )
    look: str = key(
        "anime",
        choice(("anime", "realistic"), aliases={"photo": "realistic", "real": "realistic"}),
        "Kind of base model; decides clip_skip.",
    )
    max_token_length: int = key(150, one_number_of((75, 150, 225)), "Tokens of a caption that are read.", kohya="max_token_length")


class Save(Block):
    """What is written."""

    every_epochs: int = key(
        1, whole(0, 100_000, note="0 = only the last"), "A LoRA file every so many epochs.", kohya="save_every_n_epochs"
    )
    every_steps: int | None = key(None, whole(1, 10_000_000), "A LoRA file every so many steps.", kohya="save_every_n_steps")
    precision: str = key("fp16", choice(("fp16", "bf16", "fp32"), aliases=KOHYA_PRECISION), "Of the LoRA file.", kohya="save_precision")
    keep_last: int | None = key(
        None, whole(1, 100_000), "Keep so many of the files on the way; never deletes the suggested one.", kohya="save_last_n_epochs"
    )
    state_minutes: float = key(
        10.0,
        number(0, 10_000, note="0 = at saves only"),
        "Minutes between saved states, from which an interrupted run goes on.",
        kohya="save_state",
    )
    comment: str = key("", text(), "Stands in the file, readable with `lora.py info`.", kohya="training_comment")
    author: str = key("", text(), "Stands in the file.", kohya="metadata_author")
    tags: str = key("", text(), "Stands in the file.", kohya="metadata_tags")
    license: str = key("", text(), "Stands in the file.", kohya="metadata_license")
    copy_to: str | None = key(None, path("a folder, or nothing"), "The web UI's Lora folder: finished LoRA and preview are copied there.")


class Samples(Block):
    """The pictures that are drawn to judge a LoRA."""

    prompts: tuple[str, ...] | str | None = key(
        None,
        special.prompts(),
        "What to draw. `<lora:name:0.8>` of further LoRAs is understood. Prompts with commas go on lines of their own: `- 1girl, solo`.",
        kohya="sample_prompts",
        auto="three, from the captions",
    )
    every_epochs: int = key(1, whole(0, 100_000, note="0 = only at the end"), "Draw every so many epochs.", kohya="sample_every_n_epochs")
    every_steps: int | None = key(None, whole(1, 10_000_000), "Draw every so many steps, at the next save.", kohya="sample_every_n_steps")
    at_start: bool = key(False, flag(), "Draw before the first step too.", kohya="sample_at_first")
    size: tuple[int, int] | int | None = key(None, special.size(), "Size in px.", auto="the family's")
    steps: int = key(20, whole(1, 1000), "Steps per picture.")
    cfg: float = key(7.0, number(0, 100), "How strictly the prompt is followed.")
    sampler: str = key("dpm++_2m", choice(SAMPLERS, aliases=KOHYA_SAMPLERS), "How the picture is drawn.", kohya="sample_sampler")
    negative: str = key("", text(), "What should not be in the picture.")
    seeds: tuple[int, ...] = key((1,), special.seeds(), "Each prompt is drawn once per seed.")


class Tag(Block):
    """How `py/tag.py PROFILE` tags the pictures."""

    model: str = key(
        "wd-swinv2-tagger-v3",
        text("a tagger's name, owner/name on the hub, or a folder with model.onnx and selected_tags.csv"),
        "The tagger; downloaded once.",
    )
    preset: str = key(
        "none",
        choice(PRESETS),
        "What the captions leave out: names for a style; also hair, eyes, body and usual clothes for a character or concept.",
    )
    trigger: str | dict[str, str] | None = key(
        None,
        tag_kinds.trigger(),
        "Word in front of every caption, or {5_anna: anna, 5_bob: bob}. Presets take auto; style only for several folders.",
    )
    threshold: float = key(0.35, number(0.01, 1), "Lower: more tags, more of them wrong.", kohya="(tagger) general_threshold")
    character_threshold: float | None = key(
        None, number(0.01, 1), "The same for names of characters.", kohya="(tagger) character_threshold", auto="the threshold"
    )
    exclude: tuple[str, ...] = key((), tag_kinds.tags(), "Tags that are not written.", kohya="(tagger) undesired_tags")
    replace: dict[str, str] = key({}, tag_kinds.replacements(), "Tags that are written otherwise.", kohya="(tagger) tag_replacement")
    first: tuple[str, ...] = key((), tag_kinds.tags(), "Tags at the front, behind the trigger word.", kohya="(tagger) always_first_tags")
    append: tuple[str, ...] = key((), tag_kinds.tags(), "Tags at the end of every caption.", kohya="(tagger) append_tags")
    underscores: bool = key(False, flag(), "Write long_hair instead of long hair.", kohya="(tagger) remove_underscore, its opposite")
    character_first: bool = key(False, flag(), "Names of characters before the other tags.", kohya="(tagger) character_tags_first")
    character_expand: bool = key(False, flag(), "name_(series) as two tags.", kohya="(tagger) character_tag_expand")
    rating: str = key("no", choice(("no", "first", "last")), "Write the rating tag.", kohya="(tagger) use_rating_tags")
    order: str | None = key(None, choice(("file", "score")), "Order of the tags.", auto="as in the tagger's list of tags")
    existing: str = key(
        "keep", choice(("keep", "merge", "overwrite")), "Captions that are there already; merge adds the tags that they lack."
    )
    batch_size: int | None = key(None, whole(1, 1024), "Pictures at a time.", kohya="(tagger) batch_size", auto="16 on a card, else 4")
    rules: tuple[dict[str, bool | str | tuple[str, ...] | dict[str, str]], ...] = key(
        (), tag_kinds.rules(), "Edits that follow each tagging, and `--rules`; as on the command line: find, add, remove ..."
    )


class Profile(Block):
    """One LoRA."""

    name: str = key(REQUIRED, special.file_name(), "File name of the LoRA.", kohya="output_name")
    base_model: str = key(
        REQUIRED,
        path("a .safetensors or .ckpt file, a Diffusers folder, or the word pocket", words=(POCKET,)),
        "The model that the LoRA is for; pocket is the small one that ships here.",
        kohya="pretrained_model_name_or_path",
    )
    images: str = key(
        REQUIRED,
        path("a folder"),
        "Folder that holds `<repeats>_<concept>` folders (5_ConceptA), or pictures.",
        kohya="train_data_dir",
    )
    output: str = key(REQUIRED, path("a folder"), "Folder for the LoRA and its runs; made if it is not there.", kohya="output_dir")
    stack: str | None = key(
        None, special.stack(), "The environment (setup.bat -Stack) that this was tuned on; another one running is said."
    )
    network: Network = Network()
    train: Train = Train()
    data: Data = Data()
    model: Model = Model()
    save: Save = Save()
    samples: Samples = Samples()
    tag: Tag = Tag()


BLOCKS: dict[str, type[Block]] = {
    "network": Network,
    "train": Train,
    "data": Data,
    "model": Model,
    "save": Save,
    "samples": Samples,
    "tag": Tag,
}


@dataclass(frozen=True)
class Key:
    """A profile key as the reader, the reference page and the schema see it. `default` is None where `auto` says what it becomes."""

    dotted: str
    kind: Kind
    default: Any
    required: bool
    nullable: bool
    auto: str
    meaning: str
    kohya: str

    @property
    def kohya_names(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.kohya.partition("(")[0].split(",") if name.strip())


def keys() -> Iterator[Key]:
    """All working keys in the order of the models: the ones at the top first, then block by block."""
    blocks: list[tuple[str, type[Block]]] = [("", Profile), *((f"{name}.", block) for name, block in BLOCKS.items())]
    for prefix, block in blocks:
        for name, info in block.model_fields.items():
            extra = info.json_schema_extra
            if not isinstance(extra, dict):
                continue  # a block itself
            kind, required = extra["kind"], info.is_required()
            assert isinstance(kind, Kind)
            default = None if required else info.default
            yield Key(
                f"{prefix}{name}",
                kind,
                default,
                required,
                default is None and not required,
                str(extra["auto"]),
                info.description or "",
                str(extra["kohya"]),
            )

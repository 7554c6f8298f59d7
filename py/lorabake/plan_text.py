"""The plan as a page for the console: aligned, as wide as asked, ASCII in our own words, warnings last.

Not here: any decision; every figure and sentence is in the plan already.
"""

import textwrap
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from lorabake.console import duration, size
from lorabake.families import FAMILIES
from lorabake.kinds import plain
from lorabake.networks import NETWORKS
from lorabake.plan_advice import LEAST_STEPS, MOST_STEPS
from lorabake.plan_data import bucket_step, training_looks
from lorabake.plan_types import Plan
from lorabake.wording import counted, listed

WIDTH = 96
LABEL = 11  # columns of the labels on the left
TABLE = 45  # columns of the figures beside the folders' names
MOST_FOLDERS, MOST_BUCKETS, MOST_PROMPTS = 8, 8, 4
TARGETS = {"both": "U-Net and text encoder", "unet": "U-Net only", "text_encoder": "text encoder only"}


def render(plan: Plan, *, width: int = WIDTH) -> str:
    """The whole page, `width` columns at most but for paths that are longer; ends without a line break."""
    lines = [f"Plan of {plan.name}  ({Path(plan.profile_path).name})", ""]
    for label, block in _blocks(plan, width):
        lines += _labelled(label, block, width)
    for number, note in enumerate(plan.notes):
        lines += _wrapped(note, f"{'notes' if number == 0 else '':<{LABEL}}- ", width)
    if plan.warnings:
        lines += ["", f"{counted(len(plan.warnings), 'warning')}:"]
        for warning in plan.warnings:
            lines += _wrapped(warning, "! ", width)
    return "\n".join(line.rstrip() for line in lines)


def _blocks(plan: Plan, width: int) -> list[tuple[str, list[str]]]:
    return [
        ("base", _base(plan)),
        ("network", _network(plan)),
        ("pictures", _folders(plan, width - LABEL - TABLE)),
        ("buckets", _buckets(plan)),
        ("steps", _steps(plan)),
        ("rates", _rates(plan)),
        ("precision", [f"{plan.precision}: {plan.precision_reason}"]),
        ("clip skip", [f"{plan.model.clip_skip}: {plan.clip_skip_reason}"]),
        ("device", _device(plan)),
        ("files", _files(plan)),
        ("samples", _samples(plan, width - LABEL - 4)),
        ("disk", _disk(plan)),
        ("time", _time(plan)),
    ]


def _labelled(label: str, block: Sequence[str], width: int) -> list[str]:
    """The label on the first line; long lines go on below their own beginning."""
    lines = []
    for number, text in enumerate(block):
        head = f"{label if number == 0 else '':<{LABEL}}" + " " * (len(text) - len(text.lstrip()))
        if len(head) + len(text.lstrip()) <= width:
            lines.append(head + text.lstrip())
        else:
            lines += _wrapped(text.lstrip(), head, width)
    return lines


def _wrapped(text: str, mark: str, width: int) -> list[str]:
    """A sentence behind a mark; paths and file names are not torn apart."""
    indent = " " * len(mark)
    return textwrap.wrap(text, width, initial_indent=mark, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def _columns(text: str) -> int:
    """Columns in a console: letters of East Asian scripts take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 0 if unicodedata.combining(letter) else 1 for letter in text)


def _padded(text: str, width: int) -> str:
    """Exactly `width` columns; what is too long ends in three dots."""
    if _columns(text) > width:
        while _columns(text) > width - 3:
            text = text[:-1]
        text += "..."
    return text + " " * (width - _columns(text))


def rate(number: float) -> str:
    """A learning rate as people write it: 8e-5, 4e-4, 7.5e-5, 0.01, 1."""
    if number == 0 or number >= 0.01:
        return plain(float(f"{number:.6g}"))
    mantissa, exponent = f"{number:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _base(plan: Plan) -> list[str]:
    row = FAMILIES[plan.family]
    return [f"{Path(plan.base.path).name}, {row.title}, {size(plan.base.size_bytes)}"]


def _network(plan: Plan) -> list[str]:
    network = plan.network
    text = f"{NETWORKS[network.type].title}, rank {network.rank}, alpha {plain(network.alpha or 0)}"
    if network.conv_rank:
        text += f", convolutions rank {network.conv_rank}, alpha {plain(network.conv_alpha or 0)}"
    return [f"{text}; {TARGETS[network.target]}"]


def _folders(plan: Plan, room: int) -> list[str]:
    """A row per folder, names at most `room` columns wide."""
    shown, hidden = plan.folders[:MOST_FOLDERS], plan.folders[MOST_FOLDERS:]
    names = [f"{f.name}{' (regularisation)' if f.regularization else ''}" for f in shown]
    width = min(max(map(_columns, names)), room)
    lines = [f"{'':<{width}}  pictures  repeats  captions  missing  empty"]
    for name, f in zip(names, shown, strict=True):
        gaps = f"{f.num_missing or '-':>7}  {f.num_empty or '-':>5}"
        lines.append(f"{_padded(name, width)}  {f.num_pictures:>8}  {f.repeats:>7}  {f.num_captions:>8}  {gaps}")
    if hidden:
        lines.append(f"and {counted(len(hidden), 'more folder')} with {sum(f.num_pictures for f in hidden)} pictures")
    held = [Path(p.path).name for p in plan.pictures if p.holdout]
    if held:
        why = f" ({plan.reasons['data.holdout']})" if "data.holdout" in plan.reasons else ""
        lines.append(f"{len(held)} held out{why}, not trained on, to measure how well it learns: {listed(held, most=16)}")
    return lines


def _buckets(plan: Plan) -> list[str]:
    data = plan.data
    if not data.buckets:
        return [f"off: every picture is cropped to {data.resolution}x{data.resolution}"]
    pictures: dict[tuple[int, int], int] = {}
    for picture in plan.pictures:
        pictures[picture.bucket] = pictures.get(picture.bucket, 0) + 1
    order = sorted(pictures, key=lambda bucket: (-pictures[bucket], bucket))
    texts = [f"{w}x{h}: {pictures[w, h]}" for w, h in order[:MOST_BUCKETS]]
    if len(order) > MOST_BUCKETS:
        texts.append(f"{len(order) - MOST_BUCKETS} more: {sum(pictures[bucket] for bucket in order[MOST_BUCKETS:])}")
    step = bucket_step(int(data.resolution or 0), FAMILIES[plan.family])
    why = f" ({plan.reasons['data.resolution']})" if "data.resolution" in plan.reasons else ""
    sides = [f"{key.partition('.')[2]} {plan.reasons[key]}" for key in ("data.min_bucket", "data.max_bucket") if key in plan.reasons]
    head = f"{data.resolution} px{why}, sides {data.min_bucket} to {data.max_bucket} in steps of {step}"
    return ["; ".join([head, *sides]), "  ".join(texts)]


def _steps(plan: Plan) -> list[str]:
    train = plan.train
    looks, all_looks = training_looks(plan.pictures), sum(count for _w, _h, count in plan.buckets)
    regular = f" + {all_looks - looks} of regularisation" if all_looks > looks else ""
    batch_why = plan.reasons.get("train.batch_size")
    batch = f"batch {train.batch_size}" + (f" ({batch_why})" if batch_why else "")
    windows = f", {train.accumulation} batches a step" if train.accumulation > 1 else ""
    epochs = (
        f"{counted(plan.epochs, 'epoch')} (the last one cut short)"
        if plan.total_steps < plan.epochs * plan.steps_per_epoch
        else counted(plan.epochs, "epoch")
    )
    band = "within" if LEAST_STEPS <= plan.steps_at_batch_1 <= MOST_STEPS else "under" if plan.steps_at_batch_1 < LEAST_STEPS else "over"
    return [
        f"{looks} looks per epoch{regular}, {batch}{windows}",
        f"{plan.steps_per_epoch} steps per epoch, {epochs}: {plan.total_steps} steps in all",
        f"{plan.steps_at_batch_1} counted at batch 1, {band} the guides' {LEAST_STEPS} to {MOST_STEPS}",
    ]


def _rates(plan: Plan) -> list[str]:
    train, factor = plan.train, plan.rate_factor
    lines = []
    for label, typed, used in (
        ("U-Net", train.unet_lr, plan.unet_lr_used),
        ("text encoder", train.text_encoder_lr, plan.text_encoder_lr_used),
    ):
        times = f" (x{factor})" if train.scale_lr_by_batch else ""
        lines.append(f"{label:<12}  typed {rate(typed)}, used {rate(used)}{times}" if used else f"{label:<12}  not trained")
    warmup = f", warmup {train.warmup if isinstance(train.warmup, str) else plain(train.warmup)}" if train.warmup else ""
    restarts = f" ({counted(train.restarts, 'cycle')})" if train.scheduler == "cosine_with_restarts" and train.restarts > 1 else ""
    extras = [
        f"min-SNR {train.min_snr_gamma:g}" if train.min_snr_gamma else "",
        f"noise offset {train.noise_offset:g}" if train.noise_offset else "",
    ]
    because = f" ({plan.reasons['train.optimizer']})" if "train.optimizer" in plan.reasons else ""
    return [*lines, ", ".join([f"{train.optimizer}{because}, {train.scheduler}{restarts}{warmup}", *filter(None, extras)])]


def _device(plan: Plan) -> list[str]:
    costs, checkpointing = plan.costs, "on" if plan.train.gradient_checkpointing else "off"
    why = plan.reasons.get("train.device")
    because = f" ({why})" if why else ""
    if costs.card is None:
        return [f"CPU{because}, gradient checkpointing {checkpointing}"]
    head = f"{plan.device}, {costs.card}{because}"
    reason = plan.reasons.get("train.gradient_checkpointing", "")
    saver = f"gradient checkpointing {reason or checkpointing}"
    return [head, f"about {costs.vram_gib:.1f} GiB of VRAM expected, {costs.vram_free_gib:.1f} free; {saver}"]


def _files(plan: Plan) -> list[str]:
    costs, save = plan.costs, plan.save
    between = plan.lora_files[:-1]
    stems = [name.removesuffix(".safetensors") for name in between]
    some = stems if len(stems) <= 2 else [stems[0], "...", stems[-1]]
    lines = [str(Path(plan.output) / plan.lora_files[-1])]
    if stems:
        kept = f", the last {save.keep_last} kept" if save.keep_last else ""
        lines.append(f"and {counted(len(stems), 'file')} on the way: {', '.join(some)}{kept}")
    preview = ", with a preview picture" if plan.prompts else ""
    lines.append(f"each {size(costs.lora_bytes)} ({save.precision}){preview}; everything else in {plan.name}.runs")
    return lines + ([f"the finished LoRA is copied to {save.copy_to}{preview}"] if save.copy_to else [])


def _samples(plan: Plan, room: int) -> list[str]:
    costs = plan.costs
    if not plan.prompts:
        return ["none are drawn (samples.prompts is [])"]
    sizes = {(p.width, p.height) for p in plan.prompts}
    side = "{}x{}".format(*next(iter(sizes))) if len(sizes) == 1 else "several sizes"
    cost = f", about {duration(costs.sample_seconds)}" if costs.sample_seconds is not None else ""
    first = plan.prompts[0]
    head = f"{counted(costs.num_sample_pictures, 'picture')} in all{cost}: {side}, {first.sampler}, {first.steps} steps, cfg {first.cfg:g}"
    texts = list(dict.fromkeys(p.prompt for p in plan.prompts))
    shown = [f'  "{_padded(text, room).rstrip()}"' for text in texts[:MOST_PROMPTS]]
    hidden = len(texts) - MOST_PROMPTS
    return [head, *shown, *([f"  and {counted(hidden, 'more prompt')}"] if hidden > 0 else [])]


def _disk(plan: Plan) -> list[str]:
    c = plan.costs
    return [f"{size(c.disk_bytes)} needed, {size(c.write_bytes)} written on the way; {size(c.free_bytes)} free"]


def _time(plan: Plan) -> list[str]:
    seconds = plan.costs.train_seconds
    if seconds is None:
        return ["shown after the first steps: the speed of cards is not known beforehand"]
    return [f"about {duration(seconds + (plan.costs.sample_seconds or 0))}, samples included (rough)"]

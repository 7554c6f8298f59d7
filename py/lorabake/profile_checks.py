"""Rules between keys of one profile: combinations that cannot be, and settings without effect. Values arrive converted.

Not here: single values (kinds.py), and what depends on the pictures, the base model or the card (plan.py).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lorabake.kinds import plain
from lorabake.networks import NETWORKS
from lorabake.settings import POCKET

BUCKET_STEP_PX = 64
SMALL_PX = 256
CONV_RANK_MOST = 32


@dataclass(frozen=True)
class Finding:
    """A mistake (or a warning) that belongs to the line of `key`."""

    key: str
    what: str
    allowed: str = ""
    todo: str = ""


@dataclass(frozen=True)
class Values:
    """What a profile says: `typed` the values that were typed and understood (None: auto or null), `defaults` the rest."""

    typed: Mapping[str, Any]
    defaults: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.typed.get(key, self.defaults.get(key))

    def set(self, key: str) -> bool:
        """Typed, with a value of its own."""
        return self.typed.get(key) is not None

    def line(self, key: str) -> str:
        """The setting as one would type it."""
        value = self[key]
        return f"{key}: {str(value).lower() if isinstance(value, bool) else plain(value) if isinstance(value, int | float) else value}"


def impossible(v: Values) -> Iterator[Finding]:
    """Combinations that cannot be; one Finding each."""
    if v.set("train.epochs") and v.set("train.steps"):
        yield Finding(
            "train.steps", "train.epochs and train.steps are both typed, but each decides the other", todo="leave one of the two out"
        )
    yield from _network(v)
    yield from _rates(v)
    yield from _sizes(v)
    if v.set("images") and v["images"] == v["output"]:
        yield Finding(
            "output", "output is the folder of the pictures: previews written there would become training pictures", todo="another folder"
        )
    if v["train.processes"] > 1:
        yield Finding("train.processes", "not yet: several cards at once", todo="leave it out")


def _network(v: Values) -> Iterator[Finding]:
    kind = NETWORKS.get(v["network.type"])
    if kind is None:
        return
    with_conv = [name for name, row in NETWORKS.items() if row.has_conv]
    rank, why = v["network.rank"] or kind.default_rank, "" if v.set("network.rank") else f", its default for {kind.name}"
    yield from _at_most(v, "network.alpha", "network.rank", rank, why)
    conv_typed = [key for key in ("network.conv_rank", "network.conv_alpha") if v.set(key)]
    if conv_typed and not kind.has_conv:
        what = f"network.type {kind.name} has no convolutions, so {v.line(conv_typed[0])} cannot be"
        yield Finding(conv_typed[0], what, todo=f"network.type: {with_conv[0]}, or leave {' and '.join(conv_typed)} out")
    elif kind.has_conv:
        conv_rank = v["network.conv_rank"] or min(rank, CONV_RANK_MOST)
        yield from _at_most(
            v, "network.conv_alpha", "network.conv_rank", conv_rank, "" if v.set("network.conv_rank") else ", its default here"
        )


def _at_most(v: Values, key: str, limit_key: str, limit: int, why: str) -> Iterator[Finding]:
    if v.set(key) and v[key] > limit:
        todo = f"{key}: {limit}, or a larger {limit_key}"
        yield Finding(key, f"{v.line(key)} is over {limit_key}, which is {limit}{why}", todo=todo)


def _rates(v: Values) -> Iterator[Finding]:
    if v["train.scheduler"] == "constant" and v["train.warmup"] not in (0, "0%"):
        key = "train.warmup" if v.set("train.warmup") else "train.scheduler"
        yield Finding(
            key,
            f"train.scheduler: constant has no warmup, but {v.line('train.warmup')} is typed",
            todo="train.scheduler: constant_with_warmup",
        )
    target = v["network.target"]
    used = [f"train.{part}_lr" for part in ("unet", "text_encoder") if target in ("both", part)]
    if all(v[key] == 0 for key in used):
        what = f"with network.target: {target} and {' and '.join(v.line(key) for key in used)} nothing would be trained"
        yield Finding(next((key for key in used if v.set(key)), "network.target"), what)


def _sizes(v: Values) -> Iterator[Finding]:
    low, high, resolution = v["data.min_bucket"], v["data.max_bucket"], v["data.resolution"]
    small = resolution < SMALL_PX if resolution else v["base_model"] == POCKET
    for key, side in (("data.min_bucket", low), ("data.max_bucket", high)):
        if side and side % BUCKET_STEP_PX and not small:
            nearest = max(1, round(side / BUCKET_STEP_PX)) * BUCKET_STEP_PX
            allowed = f"multiples of {BUCKET_STEP_PX} (of 8 where data.resolution is under {SMALL_PX})"
            yield Finding(key, f"{v.line(key)} is not a multiple of {BUCKET_STEP_PX}", allowed, f"{key}: {nearest}")
    if low and high and low > high:
        key = "data.min_bucket" if v.set("data.min_bucket") else "data.max_bucket"
        yield Finding(key, f"{v.line('data.min_bucket')} is over {v.line('data.max_bucket')}", todo="the smaller one is min_bucket")
    elif resolution and v["data.buckets"]:
        if low and low > resolution:
            yield Finding("data.min_bucket", f"{v.line('data.min_bucket')} is over {v.line('data.resolution')}", "at most data.resolution")
        if high and high < resolution:
            yield Finding(
                "data.max_bucket", f"{v.line('data.max_bucket')} is under {v.line('data.resolution')}", "at least data.resolution"
            )


def _with(key: str, wanted: str) -> Callable[[Values], str | None]:
    return lambda v: None if v[key] == wanted else f"with {v.line(key)}; it counts only with {wanted}"


def _without_buckets(v: Values) -> str | None:
    return None if v["data.buckets"] else "with data.buckets: false"


def _keep_last(v: Values) -> str | None:
    return None if v["save.every_epochs"] or v["save.every_steps"] else "with save.every_epochs: 0; only one file is written"


def _every_epochs(v: Values) -> str | None:
    late = v["train.steps"] is None and v["save.every_epochs"] > v["train.epochs"]
    return f"with {v.line('train.epochs')}; only the last LoRA is written" if late else None


def _look(v: Values) -> str | None:
    return f"with {v.line('model.clip_skip')}, the only thing that it decides" if v.set("model.clip_skip") else None


def _keep_tokens(v: Values) -> str | None:
    return "while data.shuffle is false" if v["data.keep_tokens"] and not v["data.shuffle"] else None


def _prior(v: Values) -> str | None:
    return None if v["data.regularization"] else "without data.regularization"


def _warmup(v: Values) -> str | None:
    return (
        "without train.warmup; it is the same as constant"
        if v["train.scheduler"] == "constant_with_warmup" and not v["train.warmup"]
        else None
    )


def _unet(v: Values) -> str | None:
    return "with network.target: text_encoder" if v["network.target"] == "text_encoder" else None


def _text_encoder(v: Values) -> str | None:
    return "with network.target: unet" if v["network.target"] == "unet" else None


def _deterministic(v: Values) -> str | None:
    return "on the CPU, where it is always so" if v["train.deterministic"] and v["train.device"] == "cpu" else None


# For a typed key: why it has no effect, None when it has one.
NO_EFFECT: Mapping[str, Callable[[Values], str | None]] = {
    "train.restarts": _with("train.scheduler", "cosine_with_restarts"),
    "train.power": _with("train.scheduler", "polynomial"),
    "train.scheduler": _warmup,
    "train.unet_lr": _unet,
    "train.text_encoder_lr": _text_encoder,
    "train.prior_loss_weight": _prior,
    "train.deterministic": _deterministic,
    "data.min_bucket": _without_buckets,
    "data.max_bucket": _without_buckets,
    "data.keep_tokens": _keep_tokens,
    "model.look": _look,
    "save.keep_last": _keep_last,
    "save.every_epochs": _every_epochs,
}


def without_effect(v: Values) -> Iterator[Finding]:
    """A Finding for each typed setting that changes nothing."""
    for key, reason in NO_EFFECT.items():
        if v.set(key) and (why := reason(v)):
            yield Finding(key, f"{v.line(key)} has no effect {why}")

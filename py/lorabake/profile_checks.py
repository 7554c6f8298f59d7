"""Rules between keys of one profile: combinations that cannot be, and settings without effect. Values arrive converted.

Not here: single values (kinds.py), and what depends on the pictures, the base model or the card (plan.py).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lorabake.families import POCKET
from lorabake.kinds import plain
from lorabake.networks import NETWORKS

BUCKET_STEP_PX = 64
SMALL_PX = 256
SMALL_STEP_PX = 8
CONV_RANK_MOST = 32


@dataclass(frozen=True)
class Finding:
    """A mistake (or a warning) that belongs to the line of `key`."""

    key: str
    what: str
    allowed: str = ""
    todo: str = ""


class Unclear(Exception):
    """A check asked for a value that was typed but not understood: the check has nothing to say."""


@dataclass(frozen=True)
class Values:
    """What a profile says: `typed` the values that were typed and understood (None: auto or null), `defaults` the rest.

    `broken`: keys that were typed and not understood; asking for one raises Unclear.
    """

    typed: Mapping[str, Any]
    defaults: Mapping[str, Any]
    broken: frozenset[str] = frozenset()

    def __getitem__(self, key: str) -> Any:
        if key in self.broken:
            raise Unclear(key)
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
    for check in CHECKS:
        try:
            found = check(v)
        except Unclear:
            continue
        if found:
            yield found


def _both_lengths(v: Values) -> Finding | None:
    if not (v.set("train.epochs") and v.set("train.steps")):
        return None
    what = "train.epochs and train.steps are both typed, but each decides the other"
    return Finding("train.steps", what, todo="leave one of the two out")


def _same_folder(v: Values) -> Finding | None:
    if not v.set("images") or v["images"] != v["output"]:
        return None
    what = "output is the folder of the pictures: previews written there would become training pictures"
    return Finding("output", what, todo="another folder")


def _processes(v: Values) -> Finding | None:
    return (
        Finding("train.processes", "train.processes - not yet: several cards at once", todo="leave it out")
        if v["train.processes"] > 1
        else None
    )


def _rank(v: Values) -> tuple[int, str]:
    """The rank, and why where it was not typed."""
    kind = NETWORKS[v["network.type"]]
    return (v["network.rank"], "") if v["network.rank"] else (kind.default_rank, f", the default of {kind.name}")


def _alpha(v: Values) -> Finding | None:
    rank, why = _rank(v)
    return _at_most(v, "network.alpha", "network.rank", rank, why)


def _conv_alpha(v: Values) -> Finding | None:
    if not NETWORKS[v["network.type"]].has_conv:
        return None
    conv_rank = v["network.conv_rank"] or min(_rank(v)[0], CONV_RANK_MOST)
    return _at_most(v, "network.conv_alpha", "network.conv_rank", conv_rank, "" if v.set("network.conv_rank") else ", its default here")


def _at_most(v: Values, key: str, limit_key: str, limit: int, why: str) -> Finding | None:
    if not v.set(key) or v[key] <= limit:
        return None
    return Finding(key, f"{v.line(key)} is over {limit_key}, which is {limit}{why}", todo=f"{key}: {limit}, or a larger {limit_key}")


def _conv(v: Values) -> Finding | None:
    kind = NETWORKS[v["network.type"]]
    typed = [key for key in ("network.conv_rank", "network.conv_alpha") if v.set(key)]
    if not typed or kind.has_conv:
        return None
    with_conv = " or ".join(name for name, row in NETWORKS.items() if row.has_conv)
    what = f"network.type: {kind.name} does not train convolutions, so that {v.line(typed[0])} cannot be"
    return Finding(typed[0], what, todo=f"network.type: {with_conv}; or leave {' and '.join(typed)} out")


def _constant(v: Values) -> Finding | None:
    if v["train.scheduler"] != "constant" or v["train.warmup"] in (0, "0%"):
        return None
    return Finding(
        "train.warmup",
        f"train.scheduler: constant has no warmup, but {v.line('train.warmup')} is typed",
        todo="train.scheduler: constant_with_warmup",
    )


def _nothing_trained(v: Values) -> Finding | None:
    target = v["network.target"]
    used = [f"train.{part}_lr" for part in ("unet", "text_encoder") if target in ("both", part)]
    if any(v[key] for key in used):
        return None
    key = next((key for key in used if v.set(key)), "network.target")
    return Finding(
        key, f"with network.target: {target} and {' and '.join(map(v.line, used))} nothing would be trained", todo="a rate over 0"
    )


def _step(key: str) -> Callable[[Values], Finding | None]:
    """A bucket side is a multiple of the step that the resolution allows."""

    def check(v: Values) -> Finding | None:
        side, resolution = v[key], v["data.resolution"]
        small = resolution < SMALL_PX if resolution else v["base_model"] == POCKET
        step = SMALL_STEP_PX if small else BUCKET_STEP_PX
        if not side or side % step == 0:
            return None
        allowed = f"multiples of {BUCKET_STEP_PX}; of {SMALL_STEP_PX} where data.resolution is under {SMALL_PX}"
        return Finding(key, f"{v.line(key)} is not a multiple of {step}", allowed, f"{key}: {max(1, round(side / step)) * step}")

    return check


def _bucket_order(v: Values) -> Finding | None:
    low, high = v["data.min_bucket"], v["data.max_bucket"]
    if low and high and low > high:
        return Finding(
            "data.max_bucket", f"{v.line('data.max_bucket')} is under {v.line('data.min_bucket')}", todo="the larger one is max_bucket"
        )
    resolution = v["data.resolution"]
    if not resolution or not v["data.buckets"]:
        return None
    if low and low > resolution:
        return Finding("data.min_bucket", f"{v.line('data.min_bucket')} is over {v.line('data.resolution')}", "at most data.resolution")
    if high and high < resolution:
        return Finding("data.max_bucket", f"{v.line('data.max_bucket')} is under {v.line('data.resolution')}", "at least data.resolution")
    return None


CHECKS: tuple[Callable[[Values], Finding | None], ...] = (
    _both_lengths,
    _same_folder,
    _processes,
    _alpha,
    _conv,
    _conv_alpha,
    _constant,
    _nothing_trained,
    _step("data.min_bucket"),
    _step("data.max_bucket"),
    _bucket_order,
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


# For a key that NO_EFFECT judges by its value, or not at all: whether any value of it can count.
CAN_COUNT: Mapping[str, Callable[[Values], bool]] = {
    "network.conv_rank": lambda v: NETWORKS[v["network.type"]].has_conv,
    "network.conv_alpha": lambda v: NETWORKS[v["network.type"]].has_conv,
    "train.warmup": lambda v: v["train.scheduler"] != "constant",
    "train.epochs": lambda v: not v.set("train.steps"),
    "train.steps": lambda v: not v.set("train.epochs"),
    "data.keep_tokens": lambda v: bool(v["data.shuffle"]),
    "train.processes": lambda v: False,  # not yet: see _processes
}


def pointless(v: Values, key: str) -> bool:
    """Whether no value of `key` could change anything beside the other values, so that it need not be asked for."""
    others = Values({name: value for name, value in v.typed.items() if name != key}, v.defaults, v.broken)
    try:
        return (key in CAN_COUNT and not CAN_COUNT[key](others)) or (key in NO_EFFECT and NO_EFFECT[key](others) is not None)
    except Unclear:
        return False

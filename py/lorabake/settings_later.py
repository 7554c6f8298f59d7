"""Profile keys and values that do not work yet, so that a profile which names one is answered "not yet" instead of "unknown".

Each has the topic that will bring it, in words. A key that begins to work moves from here to settings.py.
"""

from collections.abc import Mapping

# Whole groups and single keys, dotted. A group stands for every key under it.
NOT_YET: dict[str, str] = {
    "log": "logging to TensorBoard or Weights & Biases",
    "queue": "queues that run overnight",
    "sweep": "comparing settings in one go",
    "network.dora": "DoRA",
    "network.dropout": "dropout",
    "network.rank_dropout": "dropout",
    "network.module_dropout": "dropout",
    "network.blocks": "ranks and rates by block",
    "network.layers": "choosing layers by name",
    "network.lora_plus": "LoRA+",
    "network.rs_lora": "rsLoRA",
    "network.continue_from": "starting from an earlier LoRA",
    "network.merge_first": "merging LoRAs into the base model first",
    "train.text_encoder_epochs": "stopping the text encoder early",
    "train.multires": "multi-resolution noise",
    "train.ip_noise_gamma": "input perturbation noise",
    "train.zero_terminal_snr": "zero terminal SNR",
    "train.debiased": "debiased loss",
    "train.loss": "other losses than the squared error",
    "train.timesteps": "a range of timesteps",
    "train.ema": "averaged weights (EMA)",
    "train.vram": "choosing memory savers by itself",
    "data.caption_dropout": "caption dropout",
    "data.tag_dropout": "tag dropout",
    "data.caption_dropout_every": "caption dropout",
    "data.token_warmup": "token warmup",
    "data.wildcards": "wildcards in captions",
    "data.weighted": "weights in captions",
    "data.prefix": "caption prefix and suffix",
    "data.suffix": "caption prefix and suffix",
    "data.color": "colour augmentation",
    "data.random_crop": "random crops",
    "data.mask": "masked loss",
    "model.prediction": "v-prediction models",
    "model.vae": "another VAE file",
    "samples.models": "drawing on further models",
}

_NETWORK = "further types of network"
_OPTIMIZER = "further optimizers"
_SCHEDULER = "further schedulers"
_OPTIMIZERS = (
    "PagedAdamW, PagedAdamW8bit, PagedAdamW32bit, Lion, Lion8bit, PagedLion8bit, SGDNesterov, SGDNesterov8bit, SDGNesterov8bit, "
    "DAdaptation, DAdaptAdaGrad, DAdaptAdam, DAdaptAdan, DAdaptAdanIP, DAdaptLion, DAdaptSGD, DAdaptAdamPreprint, "
    "Prodigy, AdaFactor, CAME, RAdamScheduleFree, AdamWScheduleFree, SGDScheduleFree"
)
_SCHEDULERS = "rex, warmup_stable_decay, inverse_sqrt, cosine_with_min_lr, piecewise_constant, adafactor"


def _all(names: str, topic: str) -> dict[str, str]:
    return {name.strip().lower(): topic for name in names.split(",")}


# Values, lower case, of keys whose other values work.
NOT_YET_VALUES: Mapping[str, Mapping[str, str]] = {
    "network.type": _all("loha, lokr, dora, glora, oft, boft, dylora, ia3, full", _NETWORK),
    "train.optimizer": _all(_OPTIMIZERS, _OPTIMIZER),
    "train.scheduler": _all(_SCHEDULERS, _SCHEDULER),
    "data.regularization": {"auto": "regularisation pictures made by the base model itself"},
}


def topic_of(dotted: str) -> str | None:
    """The topic that a key waits for, None when it does not stand here."""
    return NOT_YET.get(dotted) or NOT_YET.get(dotted.partition(".")[0])

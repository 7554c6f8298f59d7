"""What `lora.py info` prints: the facts of a model file as a person reads them, most wanted first. ASCII in our own words.

Pure: facts in, text out. Values from files are already clean (said.py). Not here: where the facts come from (model_facts.py).
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lorabake import console, said
from lorabake.kinds import plain
from lorabake.wording import counted

WIDTH, LABEL = 110, 18
TAGS_SHOWN, FOLDERS_SHOWN = 30, 8
SIDES = {"unet": "U-Net", "text_encoder": "text encoder", "text_encoder_2": "second text encoder", "other": "other"}
DIALECTS = {"kohya": "kohya's", "peft": "PEFT's, as diffusers writes today", "diffusers": "diffusers', as it was before PEFT"}
OF_NOTHING = "e3b0c442"  # AutoV1 of every file under 1 MB
MIXED = {"no": "fp32 (no mixed precision)"}
Facts = Mapping[str, Any]
Row = tuple[str, str]


def text(facts: Facts) -> str:
    """The whole report of one file."""
    title = f"{facts['title']}, {facts['precision']}" if facts.get("precision") else facts["title"]
    lines = [said.clean(facts["file"]), f"  {title}, {console.size(facts['size_bytes'])}"]
    for heading, rows in _sections(facts):
        rows = [row for row in rows if row[1]]
        if rows:
            lines += ["", f"  {heading}", *(line for row in rows for line in _row(*row))]
    return "\n".join(lines)


def _row(label: str, value: str) -> list[str]:
    indent = " " * (4 + LABEL)
    first = f"    {label:<{LABEL - 1}} "
    return textwrap.wrap(value, WIDTH, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False) or [first.rstrip()]


def _sections(facts: Facts) -> Iterator[tuple[str, list[Row]]]:
    about, base, words = facts.get("about", {}), facts.get("base", {}), facts.get("words", {})
    is_lora = "network" in facts
    yield "Look at this first", [("!", line) for line in facts.get("warnings", ())]
    if is_lora:
        yield "Use", list(_use(facts, words, base, about))
        yield "Loads in", [*_loads(facts.get("loads", {})), *_cure(facts)]
    yield "About", list(_about(about))
    if is_lora:
        yield "Network", list(_network(facts["network"]))
    else:
        yield "Inside", list(_inside(facts))
    yield "Training", list(_training(facts.get("training", {})))
    yield "Pictures", list(_pictures(facts.get("pictures", {})))
    yield "Weights", list(_weights(facts.get("weights", {})))
    yield "Hashes", list(_hashes(facts.get("hashes", {})))


def _use(facts: Facts, words: Facts, base: Facts, about: Facts) -> Iterator[Row]:
    trigger = ", ".join(words.get("trigger", ()))
    yield "trigger words", trigger if words.get("trigger_is_said") or not trigger else f"{trigger} (the folders' names; none is given)"
    yield "on most pictures", _counts(words.get("on_most", ())[:12])
    shown = words.get("tags", ())[:TAGS_SHOWN]
    more = words.get("num_tags", 0) - len(shown)
    yield "frequent tags", _counts(shown) + (f"; {more} more (--json)" if more > 0 else "")
    yield "hint", about.get("usage_hint", "")
    yield "base model", _base(base)
    training = facts.get("training", {})
    yield "clip skip", plain(training["clip_skip"]) if "clip_skip" in training else ""
    yield "resolution", " x ".join(map(str, training.get("resolution", ())))
    yield "predicts", "v: for v-prediction models only" if base.get("prediction") == "v" else ""


def _base(base: Facts) -> str:
    known = (("sha256", "SHA-256", 10), ("legacy_hash", "old hash", 8))
    hashes = [f"{label} {base[key][:length]}" for key, label, length in known if key in base]
    inside = f" ({', '.join(hashes)})" if hashes else ""
    vae = f", with the VAE {base['vae']}" if "vae" in base else ""
    return f"{base.get('name') or ('not named' if inside else '')}{inside}{vae}"


def _counts(pairs: Iterable[Iterable[Any]]) -> str:
    return ", ".join(f"{tag} ({count})" for tag, count in pairs)


def _loads(loads: Facts) -> Iterator[Row]:
    programs = loads.get("programs", {})
    for program, verdict in programs.items():
        if "refused" in verdict:
            yield program, f"no: {verdict['refused']}"
        elif not verdict["loaded"]:
            yield program, f"nothing: none of its {verdict['of']} names is known there"
        elif "left_out" in verdict:
            left, names = verdict["left_out"], ", ".join(verdict["first"][:3])
            yield program, f"in part: leaves out {left} of {verdict['of']} tensors: {names}{' ...' if left > 3 else ''}"
        else:
            yield program, f"yes, all {verdict['of']} tensors"
    if "other_sizes" in loads:
        sizes = loads["other_sizes"]
        small = "smaller than the published model's: it is for a small model of this kind, and only names were compared"
        other = f"of other sizes than the published model's (first: {sizes['first'][0]}): made for another base"
        are = "layer is" if sizes["layers"] == 1 else "layers are"
        yield "sizes", f"{sizes['layers']} {are} {small if sizes['smaller_model'] else other}"


def _cure(facts: Facts) -> Iterator[Row]:
    """What to do about names that not every program knows."""
    programs = facts.get("loads", {}).get("programs", {})
    if facts["network"]["dialect"] != "kohya" and any(verdict["loaded"] < verdict["of"] for verdict in programs.values()):
        yield "what helps", f"kohya's names, which all of them know: python py/convert.py {said.clean(facts['file'])}"


def _about(about: Facts) -> Iterator[Row]:
    for key, label in (("title", "title"), ("author", "author"), ("license", "licence"), ("description", "description")):
        yield label, about.get(key, "")
    for key, label in (
        ("comment", "comment"),
        ("tags", "tags"),
        ("merged_from", "merged from"),
        ("made_from", "made from"),
        ("date", "date"),
        ("made_with", "made with"),
    ):
        yield label, about.get(key, "")
    yield "thumbnail", "in the file" if about.get("thumbnail") else ""


def _network(network: Facts) -> Iterator[Row]:
    yield "rank", _with_alpha(network, "rank", "alpha")
    yield "rank of 3x3", _with_alpha(network, "conv_rank", "conv_alpha")
    counts = [f"{count} in the {SIDES.get(side, side)}" for side, count in network["layers"].items()]
    conv = f", {network['conv_layers']} of them 3x3" if network["conv_layers"] else ""
    yield "layers", ", ".join(counts) + conv
    yield "names", DIALECTS[network["dialect"]]
    args = ", ".join(f"{said.clean(key, 40)} {said.clean(value, 60)}" for key, value in network.get("args", {}).items())
    yield "module", network.get("module", "") + (f" ({args})" if args else "")
    yield "dropout", plain(network["dropout"]) if "dropout" in network else ""
    if network["strange"]:
        yield "unknown names", f"{len(network['strange'])}: {', '.join(said.clean(name, 80) for name in network['strange'][:3])}"


def _with_alpha(network: Facts, key: str, alpha_key: str) -> str:
    ranks = network.get(key, ())
    if not ranks:
        return ""
    alphas = network.get(alpha_key, ())
    said_alpha = network.get("alpha_said", "") if key == "rank" and not alphas else ""
    alpha = _range(alphas) if alphas else said_alpha
    return _range(ranks) + (f", alpha {alpha}" if alpha else "")


def _range(values: Iterable[float]) -> str:
    low, high = min(values), max(values)
    return plain(low) if low == high else f"{plain(low)} to {plain(high)}"


def _inside(facts: Facts) -> Iterator[Row]:
    for part, found in facts.get("parts", {}).items():
        if part in ("schedule", "marks"):
            continue
        size = f", {console.size(found['size_bytes'])}" if found["size_bytes"] else ""
        first = f" (first: {', '.join(said.clean(name, 60) for name in found['first'][:3])})" if "first" in found else ""
        label = part if part != "other" else "other tensors" if len(facts["parts"]) > 1 else "tensors"
        precision = f", {found['precision']}" if found["precision"] else ""
        yield label, f"{found['parameters']:,} numbers in {counted(found['tensors'], 'tensor')}{precision}{size}{first}"
    if facts["kind"] == "checkpoint":
        yield "VAE baked in", "" if "VAE" in facts["parts"] else "no: the program's own VAE setting decides"
    yield "predicts", {"v": "v (v-prediction)", "epsilon": "noise (epsilon)"}.get(facts.get("prediction", ""), "")
    for vectors in facts.get("vectors", ()):
        yield "vectors", f"{vectors['count']}, {vectors['width']} wide"
    if facts.get("latent_channels"):
        yield "latents", f"{facts['latent_channels']} channels" + ("" if facts["encoder"] else "; decoder only")


def _training(training: Facts) -> Iterator[Row]:
    yield "steps", _of(training, "steps", "max_train_steps")
    yield "epochs", _of(training, "epoch", "num_epochs")
    common = training.get("learning_rate")  # what counts where a part has no rate of its own
    rates = (("U-Net", training.get("unet_lr", common)), ("text encoder", training.get("text_encoder_lr", common)))
    yield "learning rates", ", ".join(f"{label} {plain(rate)}" for label, rate in rates if rate is not None)
    yield "optimizer", training.get("optimizer", "")
    warmup = training.get("warmup")
    yield "scheduler", training.get("scheduler", "") + (f", warmup {plain(warmup)}" if warmup else "")
    accumulation = training.get("accumulation", 1)
    if "batch_size" in training:
        yield "batch size", plain(training["batch_size"]) + (f" x {plain(accumulation)} accumulated" if accumulation > 1 else "")
    if "buckets" in training:
        low, high = training["buckets"]
        yield "buckets", f"{low} to {high} px" if low and high else "yes"
    for key, label in _PLAIN:
        yield label, plain(training[key]) if key in training else ""
    mixed = str(training.get("mixed_precision", ""))
    yield "precision", MIXED.get(mixed) or mixed
    started = training.get("started", "")
    yield "started", started + (f", took {console.duration(training['duration_s'])}" if started and "duration_s" in training else "")


_PLAIN = (("max_token_length", "tokens"), ("min_snr_gamma", "min-SNR gamma"), ("noise_offset", "noise offset"), ("seed", "seed"))


def _of(training: Facts, key: str, total: str) -> str:
    if key not in training:
        return plain(training[total]) if total in training else ""
    more = f" of {plain(training[total])}" if total in training and training[total] != training[key] else ""
    return plain(training[key]) + more


def _pictures(pictures: Facts) -> Iterator[Row]:
    counts = (("different", "pictures"), ("seen_per_epoch", "with repeats"), ("regularization", "regularisation"))
    yield "counts", ", ".join(f"{pictures[key]} {label}" for key, label in counts if key in pictures)
    folders = pictures.get("folders", ())
    for folder in folders[:FOLDERS_SHOWN]:
        count = f"{folder['pictures']} pictures" if folder["pictures"] is not None else ""
        repeats = f"x {folder['repeats']}" if folder["repeats"] is not None else ""
        kind = "regularisation" if folder["regularization"] else ""
        yield "folder", f"{folder['name']}: {' '.join(word for word in (count, repeats, kind) if word)}".rstrip(": ")
    if len(folders) > FOLDERS_SHOWN:
        yield "", f"and {len(folders) - FOLDERS_SHOWN} more folders"


def _weights(weights: Facts) -> Iterator[Row]:
    if not weights:
        return
    for key, label in (("nan", "NaN"), ("infinite", "infinite"), ("no_effect", "without effect"), ("zero", "all zero")):
        found = weights.get(key)
        noun = "layer" if key == "no_effect" else "tensor"
        if found:
            yield label, f"{counted(found['count'], noun)}: {', '.join(found['first'][:3])}{' ...' if found['count'] > 3 else ''}"
    yield "sound", "every number is finite" if weights["sound"] else ""
    norms = [f"{SIDES.get(side, side)} {value:.3g}" for side, value in weights.get("mean_norm", {}).items()]
    yield "strength", f"{', '.join(norms)} (mean norm of what a layer adds at weight 1)" if norms else ""


def _hashes(hashes: Facts) -> Iterator[Row]:
    yield "SHA-256", hashes.get("sha256", "")
    short = [
        f"{name} {hashes[key]}" for key, name in (("auto_v1", "AutoV1"), ("auto_v2", "AutoV2"), ("auto_v3", "AutoV3")) if hashes.get(key)
    ]
    yield "as sites show it", ", ".join(short)
    if "sshs_model_hash" in hashes:
        agrees = {True: "agrees with the weights", False: "does NOT agree with the weights", None: "not checked"}[hashes.get("agrees")]
        yield "stored hash", f"{hashes['sshs_model_hash'][:12]} {agrees}"

"""What py/extract.py does: judge a base and the models made from it, compute a LoRA of each difference, tell, write.

Not here: whether two models fit (model_pair.py), computing (extraction.py), what is told about it (extract_report.py).
"""

import json
from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from lorabake import (
    asking,
    console,
    conversion,
    device,
    extract_report,
    extraction,
    hashes,
    lora_metadata,
    model_kinds,
    model_pair,
    paths,
    pickers,
    tensor_files,
)
from lorabake.errors import LorabakeError, QueueFailed, UsageError, UserError
from lorabake.extract_words import RANK
from lorabake.extraction import Extraction, Open, Wish
from lorabake.families import lora_keys
from lorabake.model_pair import PARTS, Model, Pair
from lorabake.tensor_files import Source, Spec
from lorabake.wording import counted

USAGE = "python py/extract.py --base MODEL --tuned MODEL --out LORA.safetensors"
KEY = "lorabake_extract"  # of our own metadata


@dataclass(frozen=True)
class Job:
    """`out` None: only compare."""

    pair: Pair
    out: Path | None


def main(options: Namespace) -> int:
    """Exit code of py/extract.py. Of several models one that cannot be done leaves the others undisturbed: QueueFailed at the end."""
    complete(options)
    jobs = plan(options)
    where = device.for_tool(options.device)
    if where.type == "cpu":
        device.keep_freed_memory()
    wish = wish_of(options)
    base = jobs[0].pair.base
    num_failed = 0
    with tensor_files.opened(base.path) as source, ThreadPoolExecutor(2) as hashing, extraction.threads(where) as pool:
        base_hash = hashing.submit(hashes.sha256_model, base.path) if not wish.only_compare else None
        for number, job in enumerate(jobs):
            if number:
                console.result("")
            tuned_hash = hashing.submit(hashes.sha256_model, job.pair.tuned.path) if base_hash else None
            try:
                with tensor_files.opened(job.pair.tuned.path) as tuned:
                    one(job, Open(job.pair, source, tuned, where), wish, pool, digests=[h for h in (base_hash, tuned_hash) if h])
            except UserError as error:
                if len(jobs) == 1:
                    raise
                console.say(f"error: {error}")
                num_failed += 1
    if num_failed:
        raise QueueFailed(f"{num_failed} of {len(jobs)} models could not be done; the others are")
    return 0


def wish_of(options: Namespace) -> Wish:
    return Wish(
        options.rank or (None if options.share else RANK),
        options.conv_rank,
        options.share,
        options.precision,
        options.min_diff,
        only_compare=options.compare,
    )


def complete(options: Namespace) -> None:
    """Ask a person at a console for what was not typed, as after a right-click. Raises UsageError where nobody can be asked."""
    options.tuned = [name for text in options.tuned for name in separate(text)]
    lacking = [word for word, value in (("--base", options.base), ("--tuned", options.tuned), ("--out", options.out)) if not value]
    if options.compare and "--out" in lacking:
        lacking.remove("--out")
    if not lacking:
        return
    if not asking.somebody_there():
        raise UsageError(f"not given: {', '.join(lacking)}", todo=USAGE)
    if not options.base:
        pick = partial(pickers.files, "The base model", pickers.MODELS, several=False)
        options.base = asking.required_path("Which model is the base?", lacking="no model was named", todo=USAGE, pick=pick)
    if not options.tuned:
        pick = partial(pickers.files, "Models made from it", pickers.MODELS)
        options.tuned = asking.required_paths(
            "Which model was made from it? Or several.", lacking="no model was named", todo=USAGE, pick=pick
        )
        if options.rank is None and options.share is None:
            options.rank = _asked_rank()
    if "--out" in lacking:
        proposed = _proposed(options.tuned)
        options.out = asking.answer(f"Where shall the LoRA go? Enter: {proposed}") or str(proposed)


def separate(text: str) -> list[str]:
    """powershell.exe -File hands a,b over as one word; a name that is there may have a comma in it."""
    return [text] if Path(text).exists() else text.split(",")


def _proposed(tuned: Sequence[str]) -> Path:
    first = Path(tuned[0])
    return first.parent if len(tuned) > 1 else first.with_name(f"{_stem(first)}-lora.safetensors")


def _asked_rank() -> int:
    answer = asking.answer(f"Which rank? More captures more and makes a larger file. Enter: {RANK}") or str(RANK)
    if not (answer.isascii() and answer.isdecimal()) or int(answer) < 1:
        raise UsageError(f'"{answer}" is no rank', allowed="a whole number from 1 on")
    return int(answer)


def plan(options: Namespace) -> list[Job]:
    """All that headers and names can tell, of every model, before any work. Mistakes are shown together; the last one is raised."""
    base = model_pair.look(options.base, "--base")
    mistakes: list[LorabakeError] = []
    jobs: list[Job] = []
    outs = [None] * len(options.tuned) if options.compare else places(options.out, [Path(text) for text in options.tuned])
    for text, out in zip(options.tuned, outs, strict=True):
        try:
            tuned = model_pair.look(text, "--tuned")
            conv = options.conv_rank is not None or options.compare
            jobs.append(Job(model_pair.match(base, tuned, conv=conv, target=options.target), out))
            if out:
                paths.refuse_existing(out)
        except UserError as error:
            mistakes.append(error)
    for mistake in mistakes[:-1]:
        console.say(f"error: {mistake}")
    if mistakes:
        raise mistakes[-1]
    return jobs


def places(out: str, tuned: Sequence[Path]) -> list[Path]:
    """Where each LoRA goes: the file that was named, or into the folder by the model's name. Raises UsageError for names that clash."""
    place = Path(out)
    folder = len(tuned) > 1 or place.is_dir() or out.endswith(("/", "\\"))
    if folder and place.suffix.lower() == ".safetensors":
        raise UsageError(f"--out {out} is one file, and there are {counted(len(tuned), 'LoRA')} to write", todo="name a folder")
    if not folder and place.suffix.lower() != ".safetensors":
        raise UsageError(f"--out {out} does not end in .safetensors", todo=f"--out {place.name}.safetensors, or a folder that is there")
    found = [place / f"{_stem(path)}-lora.safetensors" for path in tuned] if folder else [place]
    if twice := [path.name for path in found if sum(path.name.lower() == other.name.lower() for other in found) > 1]:
        raise UsageError(f"two of the LoRAs would be named {twice[0]}", todo="extract those models one by one, each with its own --out")
    return found


def _stem(path: Path) -> str:
    """The name without its ending; of a folder all of it: dots may be part of it."""
    return path.name if path.is_dir() else path.stem


def one(job: Job, models: Open, wish: Wish, pool: ThreadPoolExecutor, *, digests: Sequence[Future[str]]) -> None:
    """One LoRA, told on the console. Raises UserError where the two models do not differ."""
    pair, found = job.pair, Extraction()
    for model in (pair.base, pair.tuned):
        console.result(f"{model.word.removeprefix('--'):<6} {model.path.name}: {told(model)}")
    for note in pair.notes:
        console.say(f"note: {note}")
    extraction.compare_anchors(models, pool, found)
    said = _warn(found, pair, [])
    with console.Bar(len(pair.twins), "layers") as bar:
        for number, _ in enumerate(extraction.run(models, wish, pool, found), start=1):
            bar.update(number)
    console.result("")
    for line in extract_report.distance_lines(found):
        console.result(line.rstrip())
    _warn(found, pair, said)
    _require_changes(found, pair, wish)
    if job.out:
        meta = metadata(found, pair, wish, title=job.out.stem, digests=[future.result() for future in digests])
        size = write(job.out, found.tensors, models.base, meta)
        console.result("")
        for line in extract_report.captured_lines(found):
            console.result(line.rstrip())
        console.result("")
        console.result(f"{job.out}: {extract_report.rank_line(found, console.size(size))}")


def _warn(found: Extraction, pair: Pair, said: list[str]) -> list[str]:
    for line in extract_report.warnings(found, pair):
        if line not in said:
            console.say(f"warning: {line}")
            said.append(line)
    return said


def told(model: Model) -> str:
    parts = [model.kind.title(), model_kinds.precision_of(model.contents.dtypes), console.size(model.contents.size_bytes)]
    return ", ".join(part for part in parts if part)


def _require_changes(found: Extraction, pair: Pair, wish: Wish) -> None:
    same = extract_report.untouched(found)
    where = f"{pair.base.path}, {pair.tuned.path}"
    if len(same) == len({fact.layer.part for fact in found.facts}):
        equal = all(one.num_equal == one.num for one in found.distances.values())
        what = "the two models are the same" if equal else "where a LoRA could change them, the two models differ by rounding at most"
        raise UserError(what, where=where, todo="there is nothing to extract: is --tuned the right file?")
    for part in same:
        console.say(f"note: the {PARTS[part]}s are the same: the LoRA has no {PARTS[part]}")
    if not wish.only_compare and not found.kept():
        raise UserError(f"no layer changed by more than {wish.min_diff:g}", where=where, todo="a smaller --min-diff")


def metadata(found: Extraction, pair: Pair, wish: Wish, *, title: str, digests: Sequence[str]) -> dict[str, str]:
    """What the file says of itself. Only modelspec.date differs from one run to the next."""
    spatial = [fact for fact in found.kept() if lora_keys.has_kernel(fact.layer.shape)]
    others = [fact for fact in found.kept() if fact not in spatial]
    conv = {fact.rank for fact in spatial}
    says_v = {"modelspec.prediction_type": "v"} if pair.tuned.predicts_v() else {}
    common = lora_metadata.of_tool(
        lora_metadata.family_key(pair.family, says_v),
        title,
        ranks=[fact.rank for fact in others or spatial],
        alphas=[fact.rank for fact in others or spatial],
        conv=(min(conv), min(conv)) if len(conv) == 1 else None,
    )
    common |= {"ss_sd_model_name": pair.base.path.name, "ss_new_sd_model_hash": digests[0]}
    if not pair.base.path.is_dir():
        common["ss_sd_model_hash"] = hashes.legacy_hash(pair.base.path)
    about = extract_report.for_metadata(found, pair, wish, {"base": digests[0], "tuned": digests[1]})
    return lora_metadata.dated({**common, KEY: json.dumps(about)})


def write(out: Path, tensors: dict[str, torch.Tensor], source: Source, meta: dict[str, str]) -> int:
    """Write and read back; the size in bytes. The same tensors and metadata give the same bytes."""
    made = conversion.Conversion(metadata=meta, constants=tensors)
    made.specs = {name: Spec(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    conversion.add_hashes(made, source)
    conversion.write(made, source, out, tick=lambda _: None)
    return out.stat().st_size

"""One bake from plan to report: checks, run folder, caches, training, saving, samples, result. Everything around trainer.train().

Not here: reading profiles and several jobs (jobs.py), the loop itself (trainer.py), pictures (gallery.py).
"""

import importlib
import platform
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from lorabake import (
    cache,
    console,
    hashes,
    images,
    metadata,
    optimizers,
    paths,
    redrawing,
    report,
    runlog,
    runs,
    states,
    suggest,
    trainer,
    weights,
)
from lorabake.attach import attach
from lorabake.device import open_device
from lorabake.errors import DiskFull, LorabakeError, Stopped, UserError
from lorabake.families import FAMILIES
from lorabake.gallery import Gallery
from lorabake.locks import Lock
from lorabake.longer import keep_finished
from lorabake.networks import NETWORKS
from lorabake.plan import Plan
from lorabake.stopper import Every, Stopper

FINGERPRINT_PARTS_BYTES = 0x10000


@dataclass
class Job:
    """What one bake carries through its stages."""

    plan: Plan
    folder: Path
    log: runlog.RunLog
    base_hashes: "Future[hashes.Hashes]"
    started_at: float
    saved: list[Path] = field(default_factory=list)
    step: int = 0
    kit: trainer.Kit | None = None
    end: datetime | None = None


def bake(plan: Plan, *, fresh: bool = False, end: datetime | None = None) -> int:
    """Bake the plan, until `end` by this PC's clock at most; 0 when the LoRA is there.

    Raises the LorabakeError that ends it otherwise, after result.json says so.
    """
    output = Path(plan.output)
    require_writable(output)
    memory = hashes.HashMemory(output / ".cache" / "hashes.json")
    with Lock(runs.runs_folder(output, plan.name), "this LoRA is being baked right now"):
        content_hashes = check_pictures(plan, memory)
        identity = {
            **plan.identity(),
            "content": contents(plan, content_hashes),
            "base_fingerprint": hashes.fingerprint(Path(plan.base.path)),
        }
        decision = runs.decide(plan.output, plan.name, identity, fresh=fresh)
        if decision.kind == "done" and redrawing.wanted(plan, decision.folder):
            decision = replace(decision, kind="continue")
        if decision.kind == "done":
            console.say(f"already baked: {output / plan.lora_files[-1]} is finished and nothing has changed; --fresh bakes it again")
            return 0
        tell_decision(decision)
        runs.begin(decision, identity, plan.output, plan.name)
        paths.write_text(decision.folder / "plan.json", plan.to_json())
        return bake_in(plan, decision.folder, memory, content_hashes, end)


def bake_in(plan: Plan, folder: Path, memory: hashes.HashMemory, content_hashes: list[str], end: datetime | None) -> int:
    """Everything after the run folder is chosen; whatever ends it, result.json tells the truth."""
    started_at = time.time()
    write_result(folder, {"status": "running", "started_at": started_at})
    state = states.newest(folder / "state", console.say)
    start = int(state.progress["step"]) if state else 0
    with runlog.RunLog(folder / "log.jsonl", up_to=start if state else -1) as log, ThreadPoolExecutor(max_workers=1) as background:
        job = Job(plan, folder, log, background.submit(memory.of_model, Path(plan.base.path)), started_at, end=end)
        log.add(
            "start", step=start, time=started_at, total_steps=plan.total_steps, python=platform.python_version(), torch=torch.__version__
        )
        try:
            cook(job, state, content_hashes)
        except LorabakeError as error:
            finish(job, status=status_of(error), exit_code=error.exit_code, message=str(error))
            raise
        except (OSError, RuntimeError, KeyboardInterrupt, MemoryError) as error:
            finish(job, status="failed", exit_code=None, message=f"{type(error).__name__}: {error}")
            raise
        finish(job, status="done", exit_code=0, message="")
    console.result(str(Path(plan.output) / plan.lora_files[-1]))
    return 0


def cook(job: Job, state: states.State | None, content_hashes: list[str]) -> None:
    """Load, cache, train to the end, draw. Raises Stopped when asked to stop, with the state saved."""
    plan, folder = job.plan, job.folder
    stopper = Stopper((folder / "stop", folder.parent / "stop"), job.end)
    with stopper.listening():
        kit = job.kit = lay_out(plan, content_hashes)
        gallery = Gallery(plan, kit, folder, job.base_hashes)
        start = 0
        if state:
            start = job.step = int(state.progress["step"])
            restore(kit, state)
            saved = [path for path in map(Path, state.progress["saved"]) if path.exists()]
            job.saved = keep_finished(plan, saved, job.log, step=start)
            console.say(f"going on from step {start} of {plan.total_steps}")
            redrawing.epochs(plan, gallery, job.log)
        elif plan.samples.at_start:
            gallery.epoch(None, job.log, step=0, epoch=0)
        train(job, stopper, gallery, start)
        gallery.finish(job.saved, job.log, chosen(job))
        redrawing.over(folder)


def lay_out(plan: Plan, content_hashes: list[str]) -> trainer.Kit:
    """Models loaded, LoRA attached, latents ready, optimizer made."""
    row = FAMILIES[plan.family]
    family = importlib.import_module(row.module)
    device = open_device(plan.device, plan.precision, deterministic=plan.train.deterministic, cpu_threads=plan.train.cpu_threads)
    console.say(f"loading {Path(plan.base.path).name}")
    models = family.load(plan.base, dtype=device.weights_dtype, device=device.torch_device)
    encoder = cache.Encoder(models, family, device.torch_device, cache.vae_hash(models.vae))
    latents = cache.Latents(plan, encoder, Path(plan.output) / ".cache" / "latents", content_hashes)
    prepare_latents(latents)
    network = NETWORKS[plan.network.type]
    parts = {"unet": ("unet",), "text_encoder": ("text_encoder",), "both": ("text_encoder", "unet")}[plan.network.target]
    rates = {"unet": plan.unet_lr_used, "text_encoder": plan.text_encoder_lr_used}
    parts = tuple(part for part in parts if rates[part] > 0)
    targets = [target for target in family.targets(models, conv=network.has_conv) if target.part in parts]
    attached = attach(targets, plan.network, generator=torch.Generator().manual_seed(plan.train.seed))
    if plan.train.gradient_checkpointing:
        device.checkpoint(models)
    groups = [{"params": attached.parameters(part), "base_lr": rates[part], "lr": rates[part], "name": part} for part in parts]
    optimizer, note = optimizers.make(plan.train, groups, device=device.torch_device)
    if note:
        console.say(note)
    return trainer.Kit(models, row, family, attached, optimizer, device, latents, trains_text="text_encoder" in parts)


def prepare_latents(latents: cache.Latents) -> None:
    with console.Bar(len(latents.items()), "pictures") as bar:
        latents.prepare(lambda done, _total: bar.update(done))
    if latents.num_damaged:
        console.say(f"{latents.num_damaged} damaged latents in the cache were made anew")


def train(job: Job, stopper: Stopper, gallery: Gallery, start: int) -> None:
    """Iterate the trainer; log, save and draw between its steps."""
    plan, timer, mean_loss = job.plan, Every(job.plan.save.state_minutes), None
    assert job.kit is not None
    with console.Bar(plan.total_steps, "baking") as bar:
        for event in trainer.train(plan, job.kit, start=start):
            job.step = event.step
            if event.kind == "save":
                path = save_lora(job, event.epoch)
                job.log.add("save", step=event.step, epoch=event.epoch, path=path.name, seconds=time.time() - job.started_at)
                save_state(job)
                timer.reset()
                bar.close()
                gallery.epoch(path, job.log, step=event.step, epoch=event.epoch)
                report.write(job.folder)
                if event.step < plan.total_steps:
                    stop_if_asked(job, stopper)
                continue
            job.log.add(event.kind, step=event.step, epoch=event.epoch, **event.values)
            if event.kind == "step":
                loss = event.values["loss"]
                mean_loss = loss if mean_loss is None else 0.98 * mean_loss + 0.02 * loss
                bar.update(event.step, f"loss {mean_loss:.4f}")
            elif event.kind == "skip":
                bar.close()
                console.say(f"step {event.step} skipped: {event.values['reason']} ({', '.join(event.values['pictures'][:3])})")
            # Where a file is due after this step, its save comes first: a state without the file would be gone on with and never write it.
            if event.kind == "heldout" or event.step in plan.save_steps:
                continue
            if stopper.reason() or timer.due():
                save_state(job)
            stop_if_asked(job, stopper)


def stop_if_asked(job: Job, stopper: Stopper) -> None:
    """Raise Stopped when asked to. The state of this step must be saved."""
    if reason := stopper.reason():
        raise Stopped(
            f"stopped by {reason} at step {job.step} of {job.plan.total_steps}; the state is saved",
            todo="start the same profile again to go on",
        )


def save_lora(job: Job, epoch: int) -> Path:
    """Write the LoRA of this step under its planned name; `keep_last` then drops older ones of this run."""
    plan = job.plan
    assert job.kit is not None
    path = Path(plan.output) / plan.file_at(job.step)
    model_hashes = job.base_hashes.result()
    about = metadata.training_metadata(plan, step=job.step, epoch=epoch, started_at=job.started_at, base_hashes=model_hashes)
    require_room(path.parent, plan.lora_bytes)
    weights.save_lora(path, job.kit.attached.tensors(), metadata=about, precision=plan.save.precision)
    if path not in job.saved:
        job.saved.append(path)
    if plan.save.keep_last:
        keep_last(job)
    return path


def keep_last(job: Job) -> None:
    """Drop this run's oldest epoch files beyond the wanted number; the suggested one and the last always stay."""
    keep = job.plan.save.keep_last or 0
    best = chosen(job)
    for path in [p for p in job.saved[:-keep] if p != best]:
        try:
            path.with_name(f"{path.stem}.preview.png").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        except PermissionError:  # Windows: a web UI has it open; the next save tries again
            continue
        job.saved.remove(path)


def chosen(job: Job) -> Path | None:
    """The file that suggest.py would take of those saved so far."""
    suggestion = suggest.suggest(runlog.read(job.log.path), job.plan.looks_per_step)
    return next((path for path in job.saved if suggestion and path.name == suggestion.file), job.saved[-1] if job.saved else None)


def save_state(job: Job) -> None:
    kit, folder = job.kit, job.folder / "state"
    assert kit is not None
    folder.mkdir(exist_ok=True)
    optimizer = {
        "optimizer": states.to_device(kit.optimizer.state_dict()),
        "scaler": kit.device.scaler.state_dict() if kit.device.scaler else None,
    }
    tensors = kit.attached.tensors()
    require_room(folder, 4 * sum(t.numel() * 4 for t in tensors.values()))
    states.save(folder, states.State({"step": job.step, "saved": [str(path) for path in job.saved]}, tensors, optimizer))
    job.log.add("state", step=job.step)


def restore(kit: trainer.Kit, state: states.State) -> None:
    kit.attached.load_tensors(state.tensors)
    kit.optimizer.load_state_dict(state.optimizer["optimizer"])
    if kit.device.scaler and state.optimizer["scaler"]:
        kit.device.scaler.load_state_dict(state.optimizer["scaler"])


def finish(job: Job, *, status: str, exit_code: int | None, message: str) -> None:
    """result.json, the report, and on success the copies for the web UI. A full disk must not hide why a run failed."""
    try:
        record(job, status=status, exit_code=exit_code, message=message)
    except OSError as error:
        if status == "done":
            raise
        console.say(f"result.json or the report could not be written: {error.strerror or error}")


def record(job: Job, *, status: str, exit_code: int | None, message: str) -> None:
    seconds = time.time() - job.started_at
    job.log.add("done", step=job.step, status=status, exit_code=exit_code, seconds=seconds)
    suggestion = suggest.suggest(runlog.read(job.log.path), job.plan.looks_per_step)
    result: dict[str, Any] = {
        "status": status,
        "exit_code": exit_code,
        "message": message,
        "step": job.step,
        "total_steps": job.plan.total_steps,
    }
    result |= {"seconds": seconds, "files": [path.name for path in job.saved], "suggested": asdict(suggestion) if suggestion else None}
    write_result(job.folder, {**result, "started_at": job.started_at, "finished_at": time.time()})
    if status == "done":
        copy_to_ui(job)
    console.say(f"report: {report.write(job.folder)}")


def copy_to_ui(job: Job) -> None:
    """Finished LoRA and preview into save.copy_to; a different file of that name there is renamed, never lost."""
    if not job.plan.save.copy_to or not job.saved:
        return
    target = Path(job.plan.save.copy_to)
    target.mkdir(parents=True, exist_ok=True)
    for source in (job.saved[-1], job.saved[-1].with_name(f"{job.saved[-1].stem}.preview.png")):
        if not source.exists():
            continue
        place = target / source.name
        try:
            if place.exists() and place.read_bytes() != source.read_bytes():
                paths.move(place, place.with_name(f"{place.stem}.before-{time.strftime('%Y%m%d-%H%M%S')}{place.suffix}"))
            with paths.replacing(place) as aside:
                shutil.copyfile(source, aside)
        except (PermissionError, UserError):  # the LoRA is baked all the same
            console.say(f"{place} is open in another program: {source.name} is not copied there, do it by hand")
            return
    console.say(f"copied to {target}")


def write_result(folder: Path, result: dict[str, Any]) -> None:
    paths.write_json(folder / "result.json", result)


def status_of(error: LorabakeError) -> str:
    names = {10: "out of memory", 11: "diverged", 12: "disk full", 13: "stopped"}
    return names.get(error.exit_code, "failed")


def require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with paths.replacing(folder / "_write-test") as aside:
            aside.write_bytes(b"")
        (folder / "_write-test").unlink()
    except OSError as error:
        raise UserError(
            f"cannot write here: {error.strerror or error}", where=str(folder), todo="choose another folder as output:"
        ) from error


def require_room(folder: Path, needed_bytes: int) -> None:
    free = paths.free_bytes(folder)
    if free < needed_bytes + 2**20:
        raise DiskFull(
            f"the disk is full: {console.size(free)} free, {console.size(needed_bytes)} needed",
            where=str(folder),
            todo="make room (--clear-cache helps), then start again",
        )


def check_pictures(plan: Plan, memory: hashes.HashMemory) -> list[str]:
    """Content hash of every picture; those not yet decoded in their present state are, and all bad ones are listed at once."""
    files = [Path(picture.path) for picture in plan.pictures]
    new = [file for file in files if not memory.is_decoded(file)]
    with console.Bar(len(new), "checking pictures") as bar:
        problems = images.decode_all(new, bar.update)
    if problems:
        listing = "\n".join(f"  {problem}" for problem in problems)
        raise UserError(
            f"{len(problems)} of {len(files)} pictures cannot be read:\n{listing}", todo="repair them or move them away, then start again"
        )
    memory.mark_decoded(new)
    found = [memory.of_file(file).sha256 for file in files]
    memory.save()
    return found


def contents(plan: Plan, content_hashes: list[str]) -> str:
    names = [f"{picture.folder}/{Path(picture.path).name}" for picture in plan.pictures]
    captions = {name: picture.caption for name, picture in zip(names, plan.pictures, strict=True)}
    return runs.content_identity(dict(zip(names, content_hashes, strict=True)), captions)


def tell_decision(decision: runs.Decision) -> None:
    if decision.kind == "new" and decision.differences:
        console.say("a new run starts, because this differs from the run before (which is kept):")
        for key, (then, now) in list(decision.differences.items())[:12]:
            console.say(f"  {key}: {'nothing' if then is None else then} -> {'nothing' if now is None else now}")
    elif decision.kind == "continue":
        console.say(f"continuing the run in {decision.folder}")

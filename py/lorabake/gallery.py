"""The pictures of a run: samples after each save, a preview beside each LoRA file, and the sheets at the end.

Always drawn from the saved file, loaded afresh, so that a broken file shows. Not here: the drawing itself (sampler.py).
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from PIL import Image

from lorabake import attach, console, paths, prompts, sampler, sheet
from lorabake.hashes import Hashes
from lorabake.plan import Plan
from lorabake.plan_prompts import Prompt
from lorabake.runlog import RunLog
from lorabake.trainer import Kit
from lorabake.weights import read_header
from lorabake.wording import counted

STRENGTHS = (0.6, 0.8, 1.0)


class Gallery:
    """Draws for one run. The training's own adapters are at strength 0 meanwhile, which leaves the base model to the bit."""

    def __init__(self, plan: Plan, kit: Kit, folder: Path, base_hashes: "Future[Hashes]") -> None:
        self.plan, self.kit, self.folder, self.base_hashes = plan, kit, folder, base_hashes
        self.painter = sampler.Painter(kit.models, kit.row, kit.family, kit.device, plan.model.clip_skip or 1)
        self.at_full: dict[Path, list[dict[str, Any]]] = {}  # pictures at strength 1.0 that this process drew, for the sheets
        self.told: set[Path] = set()  # further LoRAs of which it was said that they do not fit whole
        self.lora_folders = prompts.folders(Path(plan.output), Path(plan.base.path), plan.save.copy_to)

    def epoch(self, path: Path | None, log: RunLog, *, step: int, epoch: int) -> None:
        """Every prompt at strength 1.0 from the file `path` (None: without a LoRA), and the file's preview picture."""
        if step not in (0, *self.plan.sample_steps) or not self.plan.prompts:
            return
        files = self.keep(self.pictures(path, 1.0), path, 1.0, f"samples/{path.stem if path else 'base'}")
        if path:
            self.at_full[path] = files
            self.preview(path, self.folder / str(files[0]["path"]))
        log.add("samples", step=step, epoch=epoch, files=files)

    def keep(self, pictures: Sequence[Image.Image], path: Path | None, strength: float, place: str) -> list[dict[str, Any]]:
        """Write one picture per planned prompt into the folder `place` of the run; returns what the log says of them."""
        files: list[dict[str, Any]] = []
        for number, (prompt, picture) in enumerate(zip(self.plan.prompts, pictures, strict=True), start=1):
            name = f"{place}/{number:02d}.png"
            sampler.save_png(self.folder / name, picture, self.text(prompt, path, strength))
            files.append({"prompt": prompt.prompt, "seed": prompt.seed, "path": name, "strength": strength if path else None})
        return files

    def preview(self, path: Path, picture: Path) -> None:
        place = path.with_name(f"{path.stem}.preview.png")
        with paths.replacing(place) as aside:
            shutil.copyfile(picture, aside)

    def finish(self, saved: Sequence[Path], log: RunLog, chosen: Path | None) -> None:
        """The sheets of the last and of the suggested file: a column without LoRA, then rising strengths."""
        if not self.plan.prompts or not saved:
            return
        bare = self.pictures(None, 0.0)
        files_bare = self.keep(bare, None, 0.0, "samples/base")
        for path in dict.fromkeys([saved[-1], chosen or saved[-1]]):
            columns, files = [("no LoRA", bare)], list(files_bare)
            for strength in STRENGTHS:
                if strength == 1.0 and path in self.at_full:
                    kept = self.at_full[path]
                    drawn = [load(self.folder / file["path"]) for file in kept]
                else:
                    drawn = self.pictures(path, strength)
                    kept = self.keep(drawn, path, strength, f"samples/{path.stem}-strength-{strength:g}")
                columns.append((f"strength {strength:g}", drawn))
                files += kept
            rows = [f"{prompt.prompt}\nseed {prompt.seed}" for prompt in self.plan.prompts]
            name = f"samples/sheet-{path.stem}.png"
            picture = sheet.sheet(rows, columns, title=f"{path.stem} on {Path(self.plan.base.path).stem}")
            sampler.save_png(self.folder / name, picture, f"{path.name}, made by lorabake")
            log.add("sheet", step=self.plan.total_steps, file=path.name, path=name, files=files)

    def pictures(self, path: Path | None, strength: float) -> list[Image.Image]:
        """One picture per planned prompt with the LoRA at `strength`; without one they come from the cache where it has them."""
        found: dict[Prompt, Image.Image] = {}
        missing = []
        for prompt in dict.fromkeys(self.plan.prompts):
            picture = self.remembered(prompt) if path is None else None
            if picture is None:
                missing.append(prompt)
            else:
                found[prompt] = picture
        remembered = len(found)
        name = f"{path.stem}{'' if strength == 1 else f' at {strength:g}'}" if path else "without LoRA"
        with console.Bar(len(missing), f"drawing {name}") as bar:
            for extras, members in self.by_extras(missing).items():
                with self.wearing(path, strength, extras):
                    plain = [replace(prompt, prompt=prompts.extract(prompt.prompt)[0]) for prompt in members]
                    drawn = sampler.sample(self.painter, plain, progress=lambda count: bar.update(len(found) - remembered + count))
                found.update(zip(members, drawn, strict=True))
        if path is None:
            for prompt in missing:
                sampler.save_png(self.cache_file(prompt), found[prompt], self.text(prompt, None, 0.0))
        return [found[prompt] for prompt in self.plan.prompts]

    def by_extras(self, wanted: Sequence[Prompt]) -> dict[tuple[prompts.Extra, ...], list[Prompt]]:
        groups: dict[tuple[prompts.Extra, ...], list[Prompt]] = {}
        for prompt in wanted:
            groups.setdefault(prompts.extract(prompt.prompt)[1], []).append(prompt)
        return groups

    @contextmanager
    def wearing(self, path: Path | None, strength: float, extras: Sequence[prompts.Extra]) -> Iterator[None]:
        """The models with exactly these LoRAs on, the training's own switched off; afterwards as before."""
        kit = self.kit
        kit.attached.set_multiplier(0.0)
        with ExitStack() as stack:
            stack.callback(kit.attached.set_multiplier, 1.0)
            worn = [(path, strength, strength)] if path else []
            worn += [(prompts.find(extra, self.lora_folders), extra.unet_weight, extra.te_weight) for extra in extras]
            for file, unet_weight, te_weight in worn:
                on = attach.apply_file(kit.models, kit.family, file, unet_weight, te_weight)
                stack.callback(on.detach)
                if on.unused and file not in self.told:
                    self.told.add(file)
                    console.say(f"{file.name}: no place in this model for {counted(len(on.unused), 'layer')} of it, such as {on.unused[0]}")
            yield

    def text(self, prompt: Prompt, path: Path | None, strength: float) -> str:
        model = (Path(self.plan.base.path).stem, self.base_hashes.result().sha256)
        worn = [path] if path else []
        worn += [prompts.find(extra, self.lora_folders) for extra in prompts.extract(prompt.prompt)[1]]
        return sampler.png_text(
            prompt,
            clip_skip=self.painter.clip_skip,
            model=model,
            lora=(path.stem, strength) if path else None,
            lora_hashes={file.stem: digest for file in worn if (digest := read_header(file)[1].get("sshs_model_hash"))},
        )

    def cache_file(self, prompt: Prompt) -> Path:
        """Where a picture without LoRA is kept: under all that it depends on, so that it is made once per base."""
        extras = [prompts.find(extra, self.lora_folders).stat() for extra in prompts.extract(prompt.prompt)[1]]
        worn = [(state.st_size, state.st_mtime_ns) for state in extras]
        parts = (self.base_hashes.result().sha256, asdict(prompt), self.painter.clip_skip, self.plan.precision, self.plan.device, worn)
        key = hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()
        return Path(self.plan.output) / ".cache" / "samples" / f"{key}.png"

    def remembered(self, prompt: Prompt) -> Image.Image | None:
        file = self.cache_file(prompt)
        if not file.exists():
            return None
        try:
            picture = load(file)
        except (OSError, SyntaxError):
            return None
        return picture if picture.size == (prompt.width, prompt.height) else None


def load(file: Path) -> Image.Image:
    with Image.open(file) as picture:
        return picture.convert("RGB")

"""The profile that bakes a finished LoRA again, as YAML text: exactly for our own files, as far as the metadata tell for others.

The text is read back before anybody sees it; a setting that the reader does not take becomes a comment with the reason. Not here: where
the text goes (lora_profile.py).
"""

import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lorabake import kohya_metadata, model_facts, model_kinds, paths, profile, said, said_tags, yaml_lines
from lorabake.families import FAMILIES, POCKET, POCKET_FILE, lora_keys
from lorabake.modelfile import Contents
from lorabake.said import OUR_KEY
from lorabake.settings import BLOCKS, keys
from lorabake.yaml_lines import Line

TRIES = 6
SET = "set this"
ORDER = {key.dotted: index for index, key in enumerate(keys())}


def text(path: Path, contents: Contents, alphas: Mapping[str, Iterable[float]] | None = None) -> str:
    """The profile of a LoRA file. `alphas`: "alpha" and "conv_alpha" out of the tensors, where somebody looked."""
    record = said.table(contents.metadata.get(OUR_KEY, ""))
    if isinstance(record.get("profile"), dict):
        return readable(_own(path, contents.metadata, record))
    return readable(_foreign(path, contents, alphas or {}))


def readable(written: str) -> str:
    """The text with every line that the strict reader does not take made a comment."""
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "again.yaml"
            file.write_text(written, encoding="utf-8")
            try:
                profile.load(file)
                return written
            except profile.ProfileErrors as errors:
                mistakes = errors.mistakes
        lines = written.split("\n")
        for mistake in mistakes:
            if mistake.line and not lines[mistake.line - 1].lstrip().startswith("#"):
                lines[mistake.line - 1] = yaml_lines.commented_out(lines[mistake.line - 1], mistake.what)
        if lines == written.split("\n"):
            break
        written = "\n".join(lines)
    raise AssertionError(f"the profile that was made cannot be read: {mistakes[0].what}")


def _top(name: str, path: Path, *, base: str, images: str, output: str) -> list[Line]:
    """The four keys that every profile has; three of them are for the user to set."""
    name = name if paths.check_name(name) is None and not name.lower().endswith(".safetensors") else re.sub(r"[^\w-]+", "_", path.stem)
    base = POCKET if base == POCKET_FILE else _plain_name(base, "base.safetensors")
    images, output = _plain_name(images, "images"), _plain_name(output, "output")
    return [
        Line("name", name if paths.check_name(name) is None else "again"),
        Line("base_model", base, "" if base == POCKET else f"{SET}: where this file is"),
        Line("images", images, f"{SET}: the folder that holds the folders of pictures"),
        Line("output", output if output != images else "baked", f"{SET}: where the LoRA goes"),
    ]


def _plain_name(name: str, otherwise: str) -> str:
    """A name without a folder in front, so that nothing of another machine is written; `otherwise` where none is left."""
    last = re.split(r"[\\/]", name.rstrip("\\/"))[-1].strip()
    return last if last and all(c.isprintable() for c in last) and last != POCKET else otherwise


def _own(path: Path, meta: Mapping[str, str], record: Mapping[str, Any]) -> str:
    told = record["profile"]
    base, images, output = (str(told.get(key, "")) for key in ("base_model", "images", "output"))
    lines = _top(str(told.get("name", path.stem)), path, base=base, images=images, output=output)
    lines += [Line("stack", told["stack"])] if isinstance(told.get("stack"), str) else []
    lines += sorted(_settings(told), key=lambda line: ORDER.get(line.key, len(ORDER)))
    head = [f"Bakes {said.clean(path.name)} again: all settings are those of its own record."]
    head += _base_words(meta, str(record.get("base_sha256") or ""))
    pictures = record.get("pictures")
    head += [f"Pictures: {name}: {words}" for name, words in (pictures.items() if isinstance(pictures, dict) else ())]
    version, steps = said.clean(record.get("version", "?"), 40), said.clean(record.get("total_steps", "?"), 20)
    return yaml_lines.text(head, lines, [f"Baked by lorabake {version} in {steps} steps."])


def _settings(told: Mapping[str, Any]) -> list[Line]:
    """The settings of a record; what was None there is None again when it is left out. Of epochs and steps only one may be typed."""
    lines = []
    for block in BLOCKS:
        settings = said.table(told.get(block))
        for key, value in settings.items():
            rival = key == "epochs" and settings.get("steps") is not None
            if value is not None and not rival and re.fullmatch(r"[a-z_0-9]+", key):
                lines.append(Line(f"{block}.{key}", value))
    return lines


def _base_words(meta: Mapping[str, str], sha256: str) -> list[str]:
    sha256 = sha256 or said.text(meta, "ss_new_sd_model_hash")
    return [f"The base model has the SHA-256 {sha256}"] if sha256 else []


def _foreign(path: Path, contents: Contents, alphas: Mapping[str, Iterable[float]]) -> str:
    meta, kind = contents.metadata, model_kinds.describe(contents)
    network = model_facts.network(lora_keys.read(contents.shapes), contents) | dict(alphas)
    base = model_facts.base(meta)
    name = said.text(meta, "ss_output_name", "modelspec.title") or path.stem
    lines = _top(name, path, base=base.get("name", ""), images="images", output="output")
    lines += kohya_metadata.network_lines(meta, network, kind.kind)
    lines += kohya_metadata.lines(meta)
    lines.sort(key=lambda line: ORDER.get(line.key, len(ORDER)))
    precision = model_kinds.precision_of(contents.dtypes)
    if precision in ("fp16", "bf16", "fp32"):
        lines.append(Line("save.precision", precision, "of the file"))
    head = [f"Bakes {said.clean(path.name)} again, as far as its metadata tell.", *_base_words(meta, "")]
    if kind.family not in FAMILIES:
        family = model_kinds.FAMILY_TITLES.get(kind.family) or model_kinds.OTHER_TITLES.get(kind.family, kind.family)
        head.append(f"It is for {family}, on which this lorabake does not bake yet.")
    for folder in said_tags.folders(meta):
        count = f"{folder.count} pictures" if folder.count is not None else "pictures"
        repeats = f" x {folder.repeats}" if folder.repeats is not None else ""
        head.append(f"Pictures: {folder.name}: {count}{repeats}{' (regularisation)' if folder.regularization else ''}")
    if triggers := said_tags.triggers(meta):
        head.append(f"Trigger words: {', '.join(triggers)}")
    left = kohya_metadata.left(meta, kind.kind)
    if not any(key.startswith("ss_") for key in meta):
        left.insert(0, "the file holds no metadata of a training: only its tensors were asked")
    tail = ["What has no setting here:", *(f"  {words}" for words in left)] if left else []
    return yaml_lines.text(head, lines, tail)

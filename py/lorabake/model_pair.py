"""Two checkpoints side by side: are they of one family and size, and which tensor of the one is which of the other? By headers alone.

The two may be laid out differently: one a file, the other a Diffusers folder. Not here: how far their weights are from one another
(differences.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from lorabake import model_kinds, modelfile
from lorabake.errors import UserError
from lorabake.families import layers, layouts, locate, lora_names
from lorabake.families.anchors import Anchor, anchors
from lorabake.families.layers import Layer
from lorabake.wording import counted, listed

PARTS = {part: lora_names.PART_TITLES[part] for part in ("text_encoder", "unet")}


@dataclass(frozen=True)
class Model:
    """One of the two: what its header says. `word` is the option that named it."""

    path: Path
    contents: modelfile.Contents
    kind: model_kinds.FileKind
    word: str

    def predicts_v(self) -> bool | None:
        """Whether an SD 2 predicts v, where file or folder says so; else None."""
        said = self.contents.metadata.get("modelspec.prediction_type")
        if self.contents.format == "diffusers":
            said = modelfile.read_json(self.path / "scheduler" / "scheduler_config.json").get("prediction_type")
        return None if said is None else str(said).startswith("v")


@dataclass(frozen=True)
class Pair:
    """`twins`: (in the base, in the tuned model) of each layer of the scope; `anchors` likewise, of what no LoRA sits on."""

    base: Model
    tuned: Model
    twins: tuple[tuple[Layer, Layer], ...]
    anchors: tuple[tuple[Anchor, Anchor], ...]
    notes: tuple[str, ...]

    @property
    def family(self) -> str:
        return self.base.kind.family


def look(text: str, word: str) -> Model:
    """What is named, by its header. Raises UserError for everything but a checkpoint, or a U-Net, of a family in layers.FAMILIES."""
    path = locate(text)
    if not path.exists():
        raise UserError(f"{word}: there is no such file or folder", where=text, todo='correct it; in "quotes" where it has spaces')
    if path.suffix.lower() in (".yaml", ".yml"):
        raise UserError(f"{word}: this is a profile, not a model", where=text, todo=f"{word} wants the model itself, like its base_model")
    contents = modelfile.read_contents(path)
    kind = model_kinds.describe(contents)
    if kind.kind not in ("checkpoint", "unet") or kind.family not in layers.FAMILIES:
        titles = ", ".join(model_kinds.FAMILY_TITLES[name] for name in layers.FAMILIES)
        hint = "a LoRA needs no extracting; py/lora.py resize makes it smaller" if kind.is_lora() else "give the full checkpoint"
        raise UserError(f"{word}: this is {kind.title()}", where=text, allowed=f"checkpoints of {titles}", todo=hint)
    return Model(path, contents, kind, word)


def match(base: Model, tuned: Model, *, conv: bool, target: str) -> Pair:
    """Raises UserError for two families, for an inpainting model and one that is none, and where a part is built differently."""
    _refuse_others(base, tuned)
    scopes = [{layer.name: layer for layer in layers.layers(model.contents.shapes, base.kind.family)} for model in (base, tuned)]
    wanted = [part for part in PARTS if target in ("both", part)]
    notes, twins = _notes(base, tuned), []
    for part in wanted:
        ours, theirs = ({name: layer for name, layer in scope.items() if layer.part == part} for scope in scopes)
        if not ours or not theirs:
            lacking = base if not ours else tuned
            if wanted == [part]:
                raise UserError(f"there is no {PARTS[part]} in it", where=str(lacking.path), todo="give the full checkpoint")
            notes.append(f"{lacking.path.name} has no {PARTS[part]}: it is left out")
            continue
        _require_alike(ours, theirs, pair=(base, tuned))
        twins += [(layer, theirs[name]) for name, layer in ours.items() if conv or not layer.conv]
    if not twins:
        raise UserError("no layer stands in both models", where=f"{base.path}, {tuned.path}", todo="give two full checkpoints")
    first, second = (anchors(model.contents.shapes, base.kind.family) for model in (base, tuned))
    common = [(first[name], second[name]) for name in first if name in second]
    same_size = [pair for pair in common if prod(base.contents.shapes[pair[0].key]) == prod(tuned.contents.shapes[pair[1].key])]
    return Pair(base, tuned, tuple(twins), tuple(same_size), tuple(notes))


def _refuse_others(base: Model, tuned: Model) -> None:
    if base.path.resolve() == tuned.path.resolve():
        raise UserError("base and tuned model are one and the same file", where=str(base.path), todo="--tuned is the model made from it")
    if base.kind.family != tuned.kind.family:
        titles = [model_kinds.FAMILY_TITLES[model.kind.family] for model in (base, tuned)]
        what = f"the two are of different families: {titles[0]} and {titles[1]}"
        raise UserError(what, where=f"{base.path}, {tuned.path}", todo="give the base that the tuned model was made from")
    kinds = [next((trait for trait in model.kind.traits if trait in layouts.IN_CHANNELS.values()), "") for model in (base, tuned)]
    if kinds[0] != kinds[1]:
        special, other = (base, tuned) if kinds[0] else (tuned, base)
        what = f"{special.path.name} is {kinds[0] or kinds[1]}, {other.path.name} is not"
        raise UserError(what, where=f"{base.path}, {tuned.path}", todo="give two models of one kind")


def _require_alike(ours: dict[str, Layer], theirs: dict[str, Layer], *, pair: tuple[Model, Model]) -> None:
    """1x1 convolutions and linear layers count as alike: the layouts differ in that."""
    where = f"{pair[0].path}, {pair[1].path}"
    part = PARTS[next(iter(ours.values())).part]
    for first, second, model in ((ours, theirs, pair[0]), (theirs, ours, pair[1])):
        if only := [name for name in first if name not in second]:
            what = f"their {part}s are built differently: {counted(len(only), 'layer')} only in {model.path.name}"
            raise UserError(what, where=where, allowed=listed(only), todo="give the base that the tuned model was made from")
    for name, layer in ours.items():
        if _flat(layer.shape) != _flat(theirs[name].shape):
            what = f"their {part}s are of different sizes: {_size(layer.shape)} and {_size(theirs[name].shape)}"
            raise UserError(what, where=f"{where}: {name}", todo="give the base that the tuned model was made from")


def _flat(shape: Sequence[int]) -> tuple[int, int]:
    return shape[0], prod(shape[1:])


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _notes(base: Model, tuned: Model) -> list[str]:
    says = base.predicts_v(), tuned.predicts_v()
    if None not in says and says[0] != says[1]:
        one, other = (base, tuned) if says[0] else (tuned, base)
        return [f"{one.path.name} predicts v and {other.path.name} noise: a LoRA between them carries that change, and will not draw well"]
    return []

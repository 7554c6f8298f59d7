"""What one model file becomes: which tensors stay, under which names and in which precision. Known before anything is written.

Not here: names of LoRAs (lora_dialects.py), finding files and telling about them (converter.py).
"""

from lorabake import conversion, lora_dialects, tensor_files
from lorabake.conversion import Conversion
from lorabake.errors import UserError
from lorabake.families import layouts
from lorabake.model_kinds import FileKind
from lorabake.tensor_files import Source, Spec
from lorabake.weights import DTYPES

EMA = "model_ema."
# What training programs put beside the weights without a table of their own, and the discriminator that a VAE was trained with.
BAGGAGE = ("optimizer", "lr_scheduler", "scheduler.", "callbacks.", "loops.", "grad_scaler.", "scaler.", "loss.")
WRAPPERS = ("params_ema.", "params.", "module.", "model.", "net.")
_SEQUENTIAL = "model.1.sub."  # ESRGAN's first layout, whose names begin so


def plan(source: Source, kind: FileKind, *, precision: str, dialect: str, keep_ema: bool) -> Conversion:
    """What the file becomes in `precision` ("keep" or a key of weights.DTYPES). Raises UserError for what cannot be converted."""
    _refuse(source, kind)
    found = lora_dialects.plan(source, kind, dialect) if kind.is_lora() else _plain(source, kind, keep_ema=keep_ema)
    if not found.specs:
        raise UserError("nothing is left of this file but training baggage", where=str(source.path), todo="give the file with the weights")
    if precision != "keep":
        for name, spec in found.specs.items():
            if spec.dtype.is_floating_point and not is_schedule(name, kind):
                found.specs[name] = Spec(DTYPES[precision], spec.shape)
    if kind.is_lora() and not found.changes_nothing(source):
        conversion.add_hashes(found, source)
    return found


def _refuse(source: Source, kind: FileKind) -> None:
    where = str(source.path)
    if not source.names():
        raise UserError(
            "this file holds no tensors with names",
            where=where,
            allowed="the first LoRA scripts wrote bare lists, which do not say which layer a tensor is for",
            todo="convert it with the program that made it",
        )
    if kind.kind == "hypernetwork":
        raise UserError("this is a hypernetwork, which programs load only as the .pt that it is", where=where, todo="leave it as it is")
    for name, dtype in source.contents.dtypes.items():
        if dtype and dtype not in tensor_files.TORCH_DTYPES:
            raise UserError(f"its tensors are of a type ({dtype}) that cannot be converted", where=f"{where}: {name}")


def is_schedule(name: str, kind: FileKind) -> bool:
    """The tables of the noise schedule in a checkpoint (`alphas_cumprod`): in half precision they would draw other pictures."""
    return kind.kind in ("checkpoint", "unet") and "." not in name.removeprefix(EMA)


def _plain(source: Source, kind: FileKind, *, keep_ema: bool) -> Conversion:
    found = Conversion(metadata=dict(source.contents.metadata) or {"format": "pt"})
    names = [name for name in source.names() if not name.startswith(BAGGAGE)]
    if dropped := len(source.names()) - len(names):
        found.notes.append(f"{dropped} tensors of the training program are left out")
    if kind.kind == "embedding":  # beside the vectors web UIs keep the number of their token
        names = [name for name in names if not name.startswith("string_to_token.")]
    averaged = [name for name in names if name.startswith(EMA)]
    if averaged and not keep_ema and len(averaged) < len(names):
        names = [name for name in names if not name.startswith(EMA)]
        found.notes.append(f"its averaged copy ({len(averaged)} tensors) is left out; --keep-ema keeps it")
    for name in names:
        with source.tensor(name) as tensor:
            found.add(new_name(name, names, kind), name, Spec(tensor.dtype, tuple(tensor.shape)))
    return found


def new_name(name: str, names: list[str], kind: FileKind) -> str:
    """Without a wrapper that all names share (`params_ema.`); an embedding's one tensor gets the name that web UIs look for."""
    if kind.kind == "embedding":
        return "emb_params" if len(names) == 1 else name.removeprefix("string_to_param.")
    if not name.startswith((layouts.UNET, _SEQUENTIAL)):
        for wrapper in WRAPPERS:
            if all(other.startswith(wrapper) for other in names):
                return name.removeprefix(wrapper)
    return name

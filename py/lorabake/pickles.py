"""What a PyTorch file (.ckpt, .pt, .bin) says it holds, read without torch and without running anything in it.

A pickle is a little program that names functions to call. Here every name becomes an inert stand-in that only takes notes, so
the shapes of the tensors and the list of the named functions come out, and nothing else can happen. Not a loader: the tensors
themselves are read by weights.py through torch's weights-only loader.
"""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from lorabake.errors import UserError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of files written by torch before 1.6
MAX_PICKLE_BYTES = 64 * 2**20  # a full SD checkpoint with optimizer states needs about 1 MB
_ENCRYPTED = 0x1

# What torch's weights-only loader rebuilds by itself.
PLAIN = frozenset(
    {
        "__builtin__.set",
        "builtins.set",
        "collections.OrderedDict",
        "collections.Counter",
        "torch.Size",
        "torch.device",
        "torch.Tensor",
        "torch.nn.parameter.Parameter",
    }
    | {f"torch._utils._rebuild_{name}" for name in ("tensor", "tensor_v2", "parameter", "parameter_with_state")}
    | {f"torch.{name}Storage" for name in ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")}
    | {"torch.storage.TypedStorage", "torch.storage.UntypedStorage"}
    | {f"torch.{name}" for name in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")}
)
# Bookkeeping of the training programs that old checkpoints carry beside the weights. weights.py maps each to an inert stand-in.
BOOKKEEPING = frozenset(
    {
        "pytorch_lightning.callbacks.ModelCheckpoint",
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
        "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
        "pytorch_lightning.callbacks.lr_monitor.LearningRateMonitor",
        "pytorch_lightning.callbacks.timer.Timer",
        "pytorch_lightning.utilities.parsing.AttributeDict",
        "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint",
        "lightning.pytorch.callbacks.early_stopping.EarlyStopping",
        "lightning_fabric.utilities.data.AttributeDict",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy.ndarray",
        "numpy.dtype",
        "_codecs.encode",
    }
)
PARAMETERS = "torch.nn.modules.container.ParameterDict"  # in which the first embeddings keep their vectors
# Everything that the pure-Python unpickler raises on bytes that are no pickle.
MALFORMED = (
    pickle.UnpicklingError,
    EOFError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    AssertionError,
    struct.error,
)


@dataclass(frozen=True)
class Outline:
    """`shapes` and `dtypes` (in safetensors' words) by tensor name, `names` of all that the pickle wants to call, as `module.name`."""

    shapes: dict[str, tuple[int, ...]]
    names: tuple[str, ...]
    dtypes: dict[str, str] = field(default_factory=dict)

    def unknown(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in PLAIN | BOOKKEEPING | {PARAMETERS})


# torch's name of a storage without "Storage", or of a dtype -> safetensors' name.
DTYPES = {"Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32", "Short": "I16"}
DTYPES |= {"Char": "I8", "Byte": "U8", "Bool": "BOOL", "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
DTYPES |= {"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL"}
WRAPPERS = ("state_dict", "model_state_dict")  # a training program's name for the weights, among its other tables
DEEPEST = 4


class _Shape(tuple):
    """The size of a tensor, so that it is told from an ordinary tuple; `dtype` as in DTYPES, "" where the pickle does not say."""

    dtype = ""


class Inert(dict):
    """Stands for any object: takes whatever the pickle puts into it, and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass


class Parameters(dict):
    """Stands for PARAMETERS: a table of the tensors in it, and nothing else of what the pickle says."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "Parameters":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        inside = state.get("_parameters") if isinstance(state, dict) else None
        self.update(inside if isinstance(inside, dict) else {})


# The pure-Python unpickler, because the C one reserves memory for any memo index that the file names (one opcode can ask for
# 64 GB); `_Unpickler` has been part of CPython's pickle.py since 3.1.
class _Reader(pickle._Unpickler):
    """Reads a pickle with every global replaced by a stand-in; `names` collects them."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8")
        self.names: dict[str, None] = {}

    def find_class(self, module: str, name: str) -> Any:
        self.names[f"{module}.{name}"] = None
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            return _shape
        if f"{module}.{name}" == PARAMETERS:
            return Parameters
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *rest: data
        dtype = DTYPES.get(name.removesuffix("Storage"), "") if module == "torch" else ""
        return type("Stub", (Inert,), {"dtype": dtype})

    def persistent_load(self, pid: Any) -> Any:
        """("storage", its class, key, device, length): the class's dtype is all that is of use."""
        return getattr(pid[1], "dtype", "") if isinstance(pid, tuple) and len(pid) > 1 else ""


def _shape(storage: Any, offset: Any, size: Any, *_: Any) -> _Shape:
    found = _Shape(int(n) for n in size)
    found.dtype = storage if isinstance(storage, str) else ""
    return found


def is_torch_file(head: bytes) -> bool:
    """By the first nine bytes: a zip archive (torch 1.6 on) or a pickle of protocol 2 and up.

    A .safetensors begins with its header's length, which may look like a pickle's first two bytes; its ninth byte is then a brace.
    """
    return head.startswith(b"PK\x03\x04") or (len(head) >= 2 and head[0] == 0x80 and head[1] <= 5 and head[8:9] != b"{")


def outline(path: Path) -> Outline:
    """Names and shapes of a .ckpt, .pt or .bin. Raises UserError for what is no PyTorch file."""
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        data, legacy = (_pickle_of_zip(path), False) if head.startswith(b"PK") else (file.read(MAX_PICKLE_BYTES), True)
    try:
        value, names = _read(io.BytesIO(data), legacy=legacy)
    except MALFORMED as error:
        raise _damaged(path, f"{type(error).__name__}: {error}"[:120]) from error
    found = dict(named(value, _Shape))
    return Outline({name: tuple(shape) for name, shape in found.items()}, names, {name: shape.dtype for name, shape in found.items()})


def _read(file: BinaryIO, *, legacy: bool) -> tuple[Any, tuple[str, ...]]:
    if legacy:
        head = _Reader(file)
        if head.load() != LEGACY_MAGIC:
            raise pickle.UnpicklingError("a Python pickle, but not one that PyTorch wrote")
        _Reader(file).load()  # protocol version
        _Reader(file).load()  # byte order and type sizes of the writer
    reader = _Reader(file)
    return reader.load(), tuple(reader.names)


def named(value: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """Everything of `kind` in the tables and lists of a loaded pickle, by dotted name; of a training program's file its weights alone.

    One walk for shapes (here) and tensors (weights.py), so that both say the same names: `state_dict` is entered, groups inside are
    part of the name (`params_ema.conv_first.weight`; a hypernetwork's `768.0.linear1.weight`).
    """
    if isinstance(value, dict):
        value = next((value[name] for name in WRAPPERS if isinstance(value.get(name), dict)), value)
        yield from _named(value, kind, "", DEEPEST)


def _named(value: Any, kind: type, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth == 0:
        return
    for name, entry in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(entry, kind):
            yield f"{prefix}{name}", entry
        elif isinstance(entry, dict | list):
            yield from _named(entry, kind, f"{prefix}{name}.", depth - 1)


def _pickle_of_zip(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            if any(info.flag_bits & _ENCRYPTED for info in infos):
                raise UserError(
                    "this archive is protected by a password",
                    where=str(path),
                    todo="unpack it with its password first, then give the model file that was inside",
                )
            found = [info for info in infos if info.filename.rpartition("/")[2] == "data.pkl"]
            if len(found) != 1:
                inside = ", ".join(info.filename for info in infos[:4])
                raise UserError(
                    f"this is a zip archive, not a model (it holds {inside or 'nothing'})",
                    where=str(path),
                    todo="unpack it and give the model file that was inside",
                )
            if found[0].file_size > MAX_PICKLE_BYTES:
                raise _damaged(path, f"its index claims {found[0].file_size} bytes")
            return archive.read(found[0])
    except zipfile.BadZipFile as error:
        if zipfile.is_zipfile(path):
            raise _damaged(path, str(error)) from error
        raise UserError(
            "this file was cut short: the list of its contents, which stands at the end, is missing",
            where=str(path),
            allowed=f"{path.stat().st_size} bytes are here; a download that stopped early is the usual cause",
            todo="download it again, the .safetensors if there is one",
        ) from error
    except (EOFError, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(
        f"this PyTorch file cannot be read ({reason})",
        where=str(path),
        allowed="a whole .safetensors or .ckpt; a download that stopped early is the usual cause",
        todo="download it again, the .safetensors if there is one",
    )


def refuse_unknown(path: Path, names: tuple[str, ...]) -> UserError:
    """The error for a pickle that refers to something outside the short list; unknown is all that can be said about it."""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return UserError(
        f"this file asks Python to use {shown}, which is not on lorabake's short list of known parts of checkpoints",
        where=str(path),
        allowed="it may be harmless or not, lorabake does not know it, and nothing in the file was run",
        todo="look for a .safetensors of the same model: that format cannot carry code",
    )

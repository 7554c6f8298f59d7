"""Hashes of files and of LoRAs, and a memory of those of large files by path, size and time. Standard library only.

The `sshs_*` and `ss_sd_model_hash` rules are those of the LoRA files that every UI reads (legacy: 8 hex digits of 64 KiB at 1 MiB).
"""

import hashlib
import json
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lorabake.modelfile import ALL_PARTS, part_files
from lorabake.paths import opened, status_of, write_json

BLOCK_BYTES = 2**20
LEGACY_OFFSET, LEGACY_BYTES = 0x100000, 0x10000
NUM_SPOTS = 32


@dataclass(frozen=True)
class Hashes:
    """Of a base model. `legacy` is "" for a Diffusers folder, which has no such hash."""

    sha256: str
    legacy: str


@dataclass(frozen=True)
class Known:
    """What is remembered about one file. `decoded`: a picture that was once read to its last pixel in this state."""

    size: int
    mtime_ns: int
    sha256: str
    legacy: str = ""
    decoded: bool = False


def sha256_file(path: Path, *, skip: int = 0) -> str:
    """64 hex digits over the file's bytes from `skip` on."""
    digest = hashlib.sha256()
    with opened(path) as file:
        file.seek(skip)
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def legacy_hash(path: Path) -> str:
    """The 8 digits by which old web UIs know a checkpoint."""
    with opened(path) as file:
        file.seek(LEGACY_OFFSET)
        return hashlib.sha256(file.read(LEGACY_BYTES)).hexdigest()[:8]


def lora_hashes(serialised: bytes) -> dict[str, str]:
    """The two sshs hashes of a LoRA, from its serialisation with the `ss_*` metadata alone.

    `sshs_model_hash` skips the header, so it can be checked against any later copy; the legacy one includes it, so it cannot.
    """
    start = 8 + int.from_bytes(serialised[:8], "little")
    legacy = hashlib.sha256(serialised[LEGACY_OFFSET : LEGACY_OFFSET + LEGACY_BYTES]).hexdigest()[:8]
    return {"sshs_model_hash": hashlib.sha256(memoryview(serialised)[start:]).hexdigest(), "sshs_legacy_hash": legacy}


@dataclass(frozen=True)
class WebHashes:
    """Hashes of a file as web UIs and model sites show them; `auto_v3` is "" for what is no .safetensors."""

    sha256: str
    data_sha256: str

    @property
    def auto_v2(self) -> str:
        return self.sha256[:10]

    @property
    def auto_v3(self) -> str:
        return self.data_sha256[:12]


def web_hashes(path: Path, data_start: int = 0) -> WebHashes:
    """SHA-256 of the whole file and, with `data_start`, of what follows the header of a .safetensors; at once, on two cores."""
    with ThreadPoolExecutor(2) as pool:
        data = pool.submit(sha256_file, path, skip=data_start) if data_start else None
        return WebHashes(pool.submit(sha256_file, path).result(), data.result() if data else "")


def legacy_of_lora(header: bytes, path: Path, data_start: int) -> str:
    """`sshs_legacy_hash` of a LoRA of which `header` (its length in front) is the serialisation with the `ss_*` metadata alone."""
    begin, end = min(LEGACY_OFFSET, len(header)), min(LEGACY_OFFSET + LEGACY_BYTES, len(header))
    piece = header[begin:end]
    with opened(path) as file:
        file.seek(data_start + max(0, LEGACY_OFFSET - len(header)))
        return hashlib.sha256(piece + file.read(LEGACY_BYTES - len(piece))).hexdigest()[:8]


def model_files(path: Path) -> list[Path]:
    """The weight files of a base model: itself, or those of a Diffusers folder's parts."""
    return [file for part in ALL_PARTS for file in part_files(path / part)] if path.is_dir() else [path]


def sha256_model(path: Path) -> str:
    """As HashMemory.of_model counts it, without a memory: of a file its own, of a Diffusers folder over those of its weight files."""
    return _joined(map(sha256_file, model_files(path))) if path.is_dir() else sha256_file(path)


def _joined(found: Iterable[str]) -> str:
    return hashlib.sha256(",".join(found).encode()).hexdigest()


def fingerprint(path: Path) -> str:
    """64 hex digits over sizes and NUM_SPOTS evenly spread pieces of a base model's files: milliseconds, to tell whether it changed.

    Not a proof of identity: the full hash goes into the LoRA.
    """
    digest = hashlib.sha256()
    for file_path in model_files(path):
        size = status_of(file_path).st_size
        digest.update(f"{file_path.name}:{size};".encode())
        with opened(file_path) as file:
            for spot in range(NUM_SPOTS):
                file.seek(max(0, size - LEGACY_BYTES) * spot // (NUM_SPOTS - 1))
                digest.update(file.read(LEGACY_BYTES))
    return digest.hexdigest()


class HashMemory:
    """Hashes by path, size and time in one JSON file. Safe to use from two threads; `save()` keeps what others wrote meanwhile."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._new: dict[str, Known] = {}
        self._known = _read(file)

    def of_file(self, path: Path) -> Known:
        """Hash and decoded mark of a file in its present state; hashed only when it is new or has changed."""
        state = status_of(path)
        known = self._recall(path)
        if known and (known.size, known.mtime_ns) == (state.st_size, state.st_mtime_ns):
            return known
        return self._learn(path, Known(state.st_size, state.st_mtime_ns, sha256_file(path)))

    of_picture = of_file

    def of_model(self, path: Path) -> Hashes:
        """Hashes of a base model, file or Diffusers folder (there: over the hashes of its weight files, in order)."""
        if path.is_dir():
            found = Hashes(_joined(self.of_file(file).sha256 for file in model_files(path)), "")
        else:
            known = self.of_file(path)
            if not known.legacy:
                known = self._learn(path, replace(known, legacy=legacy_hash(path)))
            found = Hashes(known.sha256, known.legacy)
        self.save()
        return found

    def is_decoded(self, path: Path) -> bool:
        """Whether this picture, in its present state, is remembered as read to its last pixel. Hashes nothing."""
        known, state = self._recall(path), status_of(path)
        return known is not None and known.decoded and (known.size, known.mtime_ns) == (state.st_size, state.st_mtime_ns)

    def mark_decoded(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self._learn(path, replace(self.of_file(path), decoded=True))

    def save(self) -> None:
        """Write what this process learned; without anything new the file is not touched."""
        with self._lock:
            if not self._new:
                return
            self._known = {**_read(self.file), **self._known, **self._new}
            self._new = {}
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.file, {key: asdict(known) for key, known in self._known.items()})

    def _recall(self, path: Path) -> Known | None:
        key = str(path.absolute())
        with self._lock:
            return self._new.get(key) or self._known.get(key)

    def _learn(self, path: Path, known: Known) -> Known:
        with self._lock:
            self._new[str(path.absolute())] = known
        return known


def _read(file: Path) -> dict[str, Known]:
    """What the file remembers; a damaged one counts as empty, for all of it can be computed again."""
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        return {str(key): Known(**fields) for key, fields in table.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}

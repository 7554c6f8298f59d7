"""`lora.py scrub`: a copy of a .safetensors file whose metadata tell nothing private. The tensors are copied byte for byte.

Not here: what is private (private_words.py).
"""

import argparse
import hashlib
import os
from pathlib import Path

from lorabake import console, hashes, modelfile, paths, private_words, said
from lorabake.errors import UserError
from lorabake.private_words import Taken

BLOCK_BYTES = 2**20
LEGACY, WHOLE = "sshs_legacy_hash", "sshs_model_hash"
SHOWN = 60


def main(options: argparse.Namespace) -> int:
    """Writes the copy and says each thing that was taken out. Exit code 0."""
    path = Path(options.file)
    out = Path(options.out) if options.out else path.with_name(f"{path.stem}-clean.safetensors")
    taken, left = scrub(path, out, tags=options.tags)
    for line in told(taken, left):
        console.say(line)
    console.result(str(out))
    return 0


def scrub(path: Path, out: Path, *, tags: bool = False) -> tuple[list[Taken], list[Taken]]:
    """Write the clean copy; returns what was taken out, and where a name out of a path still stands.

    Raises UserError for what is no whole .safetensors and where `out` is there already, DiskFull where it has no room.
    """
    if path.is_dir() or modelfile.file_format(path) != "safetensors":
        todo = f"python py/convert.py {path}" if path.is_file() else "give a .safetensors file"
        raise UserError("only .safetensors files hold metadata that could be private", where=str(path), todo=todo)
    paths.refuse_existing(out)
    header = modelfile.read_header(path)
    metadata, taken = private_words.scrubbed(header.metadata, tags=tags)
    if LEGACY in metadata:
        own = {key: value for key, value in metadata.items() if key.startswith("ss_")}
        metadata[LEGACY] = hashes.legacy_of_lora(modelfile.header_bytes(header.entries, own), path, header.data_start)
    left = private_words.still_named(metadata, private_words.user_names(header.metadata))
    copy(path, header, out, modelfile.header_bytes(header.entries, metadata))
    return taken, left


def copy(path: Path, header: modelfile.Header, out: Path, head: bytes) -> None:
    """Write `head` and the data area of `path` as `out`, block by block; compared before it gets its name."""
    paths.require_room(out, len(head) + path.stat().st_size - header.data_start)
    digest = hashlib.sha256()
    with paths.replacing(out) as aside:
        with path.open("rb") as source, aside.open("wb") as target:
            target.write(head)
            source.seek(header.data_start)
            while block := source.read(BLOCK_BYTES):
                digest.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
        if hashes.sha256_file(aside, skip=len(head)) != digest.hexdigest():
            raise UserError("what was written reads back differently", where=str(out), todo="check the disk, then start again")
        aside.chmod(0o644)


def told(taken: list[Taken], left: list[Taken]) -> list[str]:
    """The lines for the console."""
    lines = [f"taken out of {len({thing.key for thing in taken})} entries:" if taken else "nothing private was found"]
    for thing in taken[:SHOWN]:
        lines.append(f"  {said.clean(thing.key, 40)}: {thing.was}{f' -> {thing.now}' if thing.now else ''}")
    if len(taken) > SHOWN:
        lines.append(f"  and {len(taken) - SHOWN} more")
    for thing in left:
        lines.append(f"still there, for you to judge: the name {said.clean(thing.was, 40)} in {said.clean(thing.key, 40)}: {thing.now}")
    return lines

"""Taggers by name: downloaded once with huggingface_hub into models/taggers, checked, and from then on used without any network.

A download that was interrupted goes on where it stopped. A folder of the user's own is used as it is. Not here: running a model
(tagger.py), what lies in its folder (tag_labels.py).
"""

import hashlib
import json
import os
import re
import time
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lorabake import console, errors, paths, tag_labels
from lorabake.errors import UserError
from lorabake.wording import listed

OWNER = "SmilingWolf"
NAMES = (
    *("wd-vit-tagger-v3", "wd-convnext-tagger-v3", "wd-swinv2-tagger-v3", "wd-vit-large-tagger-v3", "wd-eva02-large-tagger-v3"),
    *("wd-v1-4-vit-tagger-v2", "wd-v1-4-convnext-tagger-v2", "wd-v1-4-convnextv2-tagger-v2"),
    *("wd-v1-4-swinv2-tagger-v2", "wd-v1-4-moat-tagger-v2"),
)
STORE = paths.MODELS / "taggers"
STAMP = "lorabake.json"  # beside a downloaded model: which files, their sizes and checksums, from which commit
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(/[\w.-]+)*")
SHA256, GIT_SHA1 = 64, 40  # digits
CHUNK = 1 << 20


def folder_of(name: str, *, refresh: bool = False, store: Path = STORE) -> Path:
    """The folder with the model's files: a folder that is given, else the named tagger, downloaded if it is not there.

    `name` is one of NAMES, owner/name (or owner/name/subfolder for the layout with tag_mapping.json), or a path. With `refresh` the hub is
    asked for a newer one; where it does not answer the old one stays. Raises UserError.
    """
    given = Path(name).expanduser()
    if given.is_dir():
        tag_labels.layout(given)
        return given
    if given.is_file() and given.suffix == ".onnx":
        tag_labels.layout(given.parent)
        return given.parent
    repository = f"{OWNER}/{name.lower()}" if name.lower() in NAMES else name
    if not REPOSITORY.fullmatch(repository) or "\\" in name or ".." in name:
        close = get_close_matches(name.lower(), NAMES, n=1)
        todo = f"did you mean {close[0]}?" if close else "--model wd-swinv2-tagger-v3"
        raise UserError(f'no tagger "{name}"', allowed=f"{', '.join(NAMES)}; owner/name; a folder with model.onnx", todo=todo)
    folder = store / repository.replace("/", "_")
    stamp = _stamp(folder)
    if stamp and not refresh:
        return folder
    try:
        _download(repository, folder, stamp)
    except UserError as error:
        if not stamp:
            raise
        console.say(f"{error.what}; the tagger of {stamp.get('date', 'before')} is used")
    return folder


def _stamp(folder: Path) -> dict[str, Any] | None:
    """The stamp of a finished download whose files still have their sizes, else None."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == facts["size"] for name, facts in stamp["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return stamp if whole else None


def _download(repository: str, folder: Path, stamp: dict[str, Any] | None) -> None:
    """Fetch the two files and stamp the folder; nothing is fetched again that is whole and of the hub's newest commit."""
    owner, name, *sub = repository.split("/")
    labels = tag_labels.JSON_NAME if sub else tag_labels.CSV_NAME
    files = [labels, tag_labels.MODEL_NAMES[labels]]
    told = [_told(f"{owner}/{name}", "/".join([*sub, file])) for file in files]
    if stamp and all(stamp["files"].get(file, {}).get("etag") == facts.etag for file, facts in zip(files, told, strict=True)):
        console.say(f"{repository}: nothing newer than what is here ({stamp.get('date', '')})")
        return
    total = sum(facts.size or 0 for facts in told)
    console.say(f"downloading {repository} ({console.size(total)}) into {folder}; this happens once")
    folder.mkdir(parents=True, exist_ok=True)
    record = {}
    for file, facts in zip(files, told, strict=True):
        record[file] = _fetch(f"{owner}/{name}", "/".join([*sub, file]), facts, folder)
    tag_labels.read(folder)
    paths.write_json(folder / STAMP, {"repository": repository, "date": time.strftime("%Y-%m-%d"), "files": record})


def _told(repository: str, file: str) -> Any:
    """Size, commit and checksum of a file as the hub tells them. Raises UserError."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    return _asking(repository, lambda: get_hf_file_metadata(hf_hub_url(repository, file)))


def _fetch(repository: str, file: str, facts: Any, folder: Path) -> dict[str, Any]:
    """One file, checked, in its place. A copy that is there already stays until the new one is whole.

    hf_hub_download throws away what had arrived when it is interrupted, so the part is ours and only the transfer is the hub's.
    """
    place = folder / file.rpartition("/")[2]
    part = folder / f"_{place.name}.{(facts.etag or 'new')[:12]}.part"
    for _ in range(2):
        _asking(repository, lambda: _transfer(repository, file, facts, part))
        size = part.stat().st_size
        sha256, git_sha1 = digests(part)
        wanted = {SHA256: sha256, GIT_SHA1: git_sha1}.get(len(facts.etag or ""))
        if facts.size in (None, size) and wanted in (None, facts.etag):
            paths.rename_over(part, place)
            for older in folder.glob(f"_{place.name}.*.part"):
                older.unlink()
            return {"size": size, "sha256": sha256, "etag": facts.etag, "commit": facts.commit_hash}
        part.unlink()  # damaged on the way: the second try fetches it whole
    raise UserError(f"{file} arrives damaged, twice", where=repository, todo="try again later, or name a folder with --model")


def _transfer(repository: str, file: str, facts: Any, part: Path) -> None:
    """What is still missing of a file, behind what has arrived of it."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    part.touch()
    with part.open("r+b") as stream:  # not for appending: where the server sends it all anew, it is written from the start
        had_bytes = stream.seek(0, os.SEEK_END)
        url = hf_hub_url(repository, file, revision=facts.commit_hash)
        http_get(url, stream, resume_size=had_bytes, headers=build_hf_headers(), expected_size=facts.size)
        stream.truncate()
        os.fsync(stream.fileno())


def digests(file: Path) -> tuple[str, str]:
    """SHA-256, by which the hub names large files, and git's SHA-1 of the file as a blob, by which it names small ones."""
    large, small = hashlib.sha256(), hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as stream:
        while part := stream.read(CHUNK):
            large.update(part)
            small.update(part)
    return large.hexdigest(), small.hexdigest()


def _asking(repository: str, question: Any) -> Any:
    """The hub's answer to `question`, its failures in words. Raises UserError."""
    from huggingface_hub import errors as hub

    # OSError holds connections and the hub's own errors; what its HTTP library raises besides depends on the version
    failures: tuple[type[Exception], ...] = (OSError, getattr(hub, "HTTPError", OSError))
    own = f"or copy {tag_labels.MODEL_NAMES[tag_labels.CSV_NAME]} and {tag_labels.CSV_NAME} into a folder and name it: --model FOLDER"
    try:
        return question()
    except (hub.RepositoryNotFoundError, hub.GatedRepoError) as error:
        raise UserError(f'the hub has no open model "{repository}"', allowed=listed(NAMES, most=len(NAMES)), todo=own) from error
    except hub.RemoteEntryNotFoundError as error:
        what = f"{repository} is no tagger of this kind: it lacks {tag_labels.CSV_NAME} or model.onnx"
        raise UserError(what, allowed=listed(NAMES, most=len(NAMES)), todo=own) from error
    except failures as error:
        if known := errors.translate(error):
            raise known from error
        offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
        why = "HF_HUB_OFFLINE is set" if offline else (str(error).strip().splitlines() or [type(error).__name__])[0]
        todo = f"check the connection and start again: what has arrived is kept; {own}"
        raise UserError(f"the tagger {repository} cannot be downloaded: {why}", todo=todo) from error

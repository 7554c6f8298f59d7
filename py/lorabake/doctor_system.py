"""The rows of `setup.py --check` about the machine: Windows, memory and page file, restarts, mark of the web. Functions of plain facts.

Not here: asking Windows (doctor_windows.py). Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lorabake import console
from lorabake.doctor_table import FAIL, OK, WARN, Check

GIB = 1 << 30
LITTLE_MEMORY_GIB = 7.5
MODEL, CUDA_NEEDS = 4 * GIB, 4 * GIB  # a model of Stable Diffusion 1.x as published; what CUDA's libraries promise themselves
LITTLE_COMMIT = 2 * MODEL + CUDA_NEEDS  # it is read and then converted, so it is there twice for a moment
OLDEST_WINDOWS, LAST_OF_TEN, BUILD_OF_ELEVEN = 10, 19045, 22000
PAGE_FILE_WORDS = "let Windows manage it: Advanced, Virtual memory, 'Automatically manage paging file size', then restart"
PAGE_FILE_COMMAND = "SystemPropertiesPerformance.exe"


def memory_row(memory: Mapping[str, int]) -> Check:
    """The machine's memory; what hardware.memory_bytes says."""
    if not memory:
        return Check("memory", WARN, "the amount cannot be read", "the system does not tell it", "nothing, if bakes run")
    total_gib, free = memory["total"] / GIB, memory.get("free", 0)
    found = f"{total_gib:.1f} GB" + (f", {console.size(free)} free" if free else "")
    if total_gib >= LITTLE_MEMORY_GIB:
        return Check("memory", OK, found)
    return Check("memory", WARN, found, "loading a 4 GB model needs 8 GB", "close other programs while baking")


def page_file_row(memory: Mapping[str, int], page_files: Sequence[str] | None) -> Check | None:
    """What Windows may still promise (commit limit); None where there is no such limit. `page_files`: the registry's PagingFiles."""
    if "commit_free" not in memory:
        return None
    free, limit = memory["commit_free"], memory.get("commit_total", 0)
    kind = page_file_kind(page_files)
    found = f"{console.size(free)}" + (f" of {console.size(limit)}" if limit else "") + f" may still be promised; {kind}"
    if free >= LITTLE_COMMIT or (kind == MANAGED and free >= MODEL):
        return Check("page file", OK, found)
    cause = f"a {console.size(MODEL)} model and CUDA ask for {console.size(LITTLE_COMMIT)}; else loading ends with error 1455"
    status = FAIL if free < MODEL and kind != MANAGED else WARN
    return Check("page file", status, found, cause, PAGE_FILE_WORDS, PAGE_FILE_COMMAND)


MANAGED, NONE, FIXED_SIZE, UNKNOWN = (
    "Windows sizes its page file",
    "there is no page file",
    "its page file has a fixed size",
    "page file unknown",
)


def page_file_kind(page_files: Sequence[str] | None) -> str:
    r"""What the registry's lines mean: '?:\pagefile.sys' and 'C:\pagefile.sys 0 0' are Windows' to size, '... 800 8000' is fixed."""
    if page_files is None:
        return UNKNOWN
    lines = [line.strip() for line in page_files if line.strip()]
    if not lines:
        return NONE
    if any(line.startswith("?:") or line.split()[-2:] == ["0", "0"] for line in lines):
        return MANAGED
    return FIXED_SIZE


def windows_row(version: tuple[int, int, int], display: str) -> Check:
    """Windows' version: (10, 0, build) is 10 and 11 alike; `display` is '24H2'."""
    build = version[2]
    name = "11" if build >= BUILD_OF_ELEVEN else ".".join(map(str, version[:1] if version[0] >= OLDEST_WINDOWS else version[:2]))
    found = " ".join(filter(None, (f"Windows {name}", display, f"(build {build})")))
    if version[0] < OLDEST_WINDOWS:
        return Check("Windows", FAIL, found, "Python 3.11 and torch need Windows 10 or 11", "update Windows: microsoft.com/windows")
    return Check("Windows", OK, found)


def restart_row(reasons: Sequence[str]) -> Check:
    """Whether Windows waits for a restart; it may take one in the night, in the middle of a bake."""
    if not reasons:
        return Check("restart", OK, "Windows waits for none")
    cause = f"{' and '.join(reasons)} wait for it, and Windows may do it in the night, in the middle of a bake"
    return Check("restart", WARN, "Windows wants to restart", cause, "restart now", "shutdown /r /t 0")


def magick_row(folder: Path | None, lost: str, command: str) -> Check:
    """Whether wand finds ImageMagick's DLLs; what is `lost` without them, and the `command` that installs them."""
    if folder:
        return Check("ImageMagick", OK, str(folder))
    return Check(
        "ImageMagick", WARN, "not found", f"{lost}; all else is done without it", "install it, if you need that", command, "magick"
    )


def mark_row(marked: Sequence[Path], root: Path) -> Check:
    """Scripts that Windows takes for downloaded ones, so that PowerShell does not start them."""
    if not marked:
        return Check("web mark", OK, "no script is marked as downloaded")
    names = [str(path.relative_to(root)) if root in path.parents else str(path) for path in marked]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    cause = "PowerShell asks about them or refuses them ('is not digitally signed')"
    found = f"marked as downloaded: {', '.join(names[:3])}{more}"
    return Check("web mark", WARN, found, cause, "take the mark off: setup.bat does it, or", "dir -Recurse *.ps1 | Unblock-File", "unblock")

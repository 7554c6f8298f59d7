"""The rows of `setup.py --check` about lorabake's folder and its disk: each a function of plain facts.

Not here: asking Windows (doctor_windows.py) and the disk (disks.py). Standard library only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from lorabake import console, disks, path_rules
from lorabake.doctor_table import FAIL, OK, WARN, Check

GIB = 1 << 30
LITTLE_DISK = 10 * GIB
LONG_ROOT = 100  # characters; packages nest up to 130 deeper, and Windows ends at 260
LONGEST_WINDOWS = 260
CLOUD_VARIABLES = ("OneDrive", "OneDriveConsumer", "OneDriveCommercial")
CLOUDS = ("onedrive", "dropbox", "google drive", "googledrive", "icloud")  # how such folders' names begin
GUARDED = ("Documents", "Pictures", "Videos", "Music", "Desktop", "Favorites")  # of every user; what Windows guards by itself
# What the top folder of another program holds; all names must be there. The first row that fits names it.
OTHERS = (
    ("ComfyUI", ("main.py", "comfy")),
    ("Forge", ("modules_forge", "modules")),
    ("a Stable Diffusion web UI", ("webui.py", "modules")),
    ("a Stable Diffusion web UI", ("launch.py", "modules")),
    ("a Stable Diffusion web UI", ("webui.bat", "webui-user.bat")),
    ("kohya's trainer", ("train_network.py", "library")),
    ("kohya's trainer", ("kohya_gui.py",)),
    ("OneTrainer", ("modules", "training_presets")),
    ("InvokeAI", ("invokeai.yaml",)),
)
ENVIRONMENT = "the Python environment"


def path_of(text: str, *, windows: bool) -> PurePosixPath | PureWindowsPath:
    """A path that compares as the system compares paths."""
    return PureWindowsPath(text) if windows else PurePosixPath(text)


def is_below(text: str, above: str, *, windows: bool) -> bool:
    """Whether the folder is `above` or somewhere in it; False for an empty `above`."""
    here, other = path_of(text, windows=windows), path_of(above, windows=windows)
    return bool(above) and (here == other or other in here.parents)


def writable(folder: Path) -> str:
    """'' when a file can be made in the folder, else the system's words. (os.access on Windows looks at an attribute only.)"""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def better_place(text: str, *, windows: bool) -> str:
    """The command that moves the folder to a short place of its own."""
    if not windows:
        return f'mv "{text}" ~/lorabake'
    drive = PureWindowsPath(text).drive
    return f'move "{text}" {drive if len(drive) == 2 else "C:"}\\lorabake'


def folder_row(text: str, trouble: str, variables: Mapping[str, str], *, windows: bool) -> Check:
    """Whether the folder can be written, and is no place where files are copied away or emptied. `trouble`: what `writable` says."""
    move = {"fix": "move lorabake (after that setup makes its environment anew)", "command": better_place(text, windows=windows)}
    places = {name: variables.get(name, "") for name in ("ProgramFiles", "ProgramFiles(x86)", "ProgramW6432", "SystemRoot")}
    protected = next((place for place in places.values() if windows and is_below(text, place, windows=True)), "")
    if trouble:
        cause = f"only administrators may write below {protected}" if protected else f"the system says: {trouble}"
        return Check("folder", FAIL, f"{text} cannot be written", cause, **move)
    if protected:
        return Check("folder", WARN, text, f"files below {protected} are meant for installers: updates and virus scanners meddle", **move)
    cloud = cloud_of(text, variables, windows=windows)
    if cloud:
        cause = f"{cloud} copies every file of the environment (7 GB) and holds files open while a bake writes them"
        return Check("folder", WARN, text, cause, **move)
    here = path_of(text, windows=windows)
    if here.parent == here:
        return Check("folder", WARN, f"{text} is the root of a drive", "its environment, logs and profiles lie among other files", **move)
    temporary = next((one for one in ("TEMP", "TMP", "TMPDIR") if is_below(text, variables.get(one, ""), windows=windows)), "")
    if temporary:
        return Check("folder", WARN, text, "this is the folder of temporary files, which is emptied now and then", **move)
    return Check("folder", OK, text)


def cloud_of(text: str, variables: Mapping[str, str], *, windows: bool) -> str:
    """The service that copies the folder, '' for none: by Windows' variables, else by the folders' names."""
    if any(is_below(text, variables.get(name, ""), windows=windows) for name in CLOUD_VARIABLES):
        return "OneDrive"
    parts = path_of(text, windows=windows).parts[1:]
    return next((part for part in parts if part.lower().startswith(CLOUDS)), "")


def neighbours(folder: Path) -> tuple[str, Path | None]:
    """(name, folder) of another program, or of an environment, that lorabake's folder is inside of."""
    for above in Path(folder).absolute().parents:
        if (above / "pyvenv.cfg").is_file() or (above / "conda-meta").is_dir():
            return ENVIRONMENT, above
        for name, marks in OTHERS:
            if all((above / mark).exists() for mark in marks):
                return name, above
    return "", None


def neighbours_row(text: str, name: str, above: str, *, windows: bool) -> Check:
    """Whether lorabake's folder is inside another program's: what `neighbours` found."""
    if not name:
        return Check("neighbours", OK, "inside no other program")
    command = better_place(text, windows=windows)
    if name == ENVIRONMENT:
        cause = "who makes that environment anew deletes lorabake with it, profiles and all"
        return Check("neighbours", FAIL, f"inside {name} {above}", cause, "move lorabake out of it", command)
    cause = "an update or a new installation of it can take lorabake away, and its scans find our files"
    return Check("neighbours", WARN, f"inside {name}: {above}", cause, "move lorabake out of it", command)


def path_row(text: str, *, long_paths: bool) -> Check:
    """On Windows: whether the longest file of the environment still fits."""
    allowed = "long paths are on" if long_paths else f"Windows ends paths at {LONGEST_WINDOWS}"
    found = f"the folder's has {len(text)} characters; {allowed}"
    if long_paths or len(text) <= LONG_ROOT:
        return Check("path length", OK, found)
    cause = f"files of the environment lie up to {LONGEST_WINDOWS - LONG_ROOT - 30} characters deeper"
    fix = "move lorabake to a short path, such as C:\\lorabake, or switch long paths on, in a window started as administrator"
    return Check("path length", WARN, found, cause, fix, path_rules.LONG_PATHS_COMMAND)


def guard_row(guard: int | None, text: str, more: tuple[str, ...], python: str) -> Check:
    """On Windows: Defender's controlled folder access. `guard` 1 is on, 2 only watches, None unknown; `more` are folders a user added."""
    if guard != 1:
        return Check("folder guard", OK, "Windows' controlled folder access is off" if guard is not None else "no controlled folder access")
    parts = [part.lower() for part in PureWindowsPath(text).parts]
    inside = next((name for name in GUARDED if name.lower() in parts), "")
    inside = inside or next((place for place in more if is_below(text, place, windows=True)), "")
    fix = "let our Python write there, in a PowerShell started as administrator"
    command = f"Add-MpPreference -ControlledFolderAccessAllowedApplications '{python}'"
    on = "Windows' controlled folder access is on"
    if inside:
        return Check("folder guard", FAIL, on, f"programs it does not know may not write in {inside}, where lorabake is", fix, command)
    cause = "LoRAs and captions in Documents, Pictures, Desktop and the like will not be written: 'file not found' or 'no permission'"
    return Check("folder guard", WARN, on, cause, fix, command)


def disk_row(free: int, disk: disks.Disk) -> Check:
    """Room for the environment, models and caches, and a disk that suits them."""
    what = " ".join(filter(None, (disk.kind, f"({disk.system})" if disk.system else "")))
    found = f"{console.size(free)} free" + (f", {what}" if what else "")
    if free <= LITTLE_DISK:
        cause = "an environment with CUDA needs 10 GB, one without 3 GB; every LoRA of rank 128 is 144 MB"
        status = WARN if free > LITTLE_DISK / 5 else FAIL
        return Check("disk", status, found, cause, "make room: empty the bin, delete old environments and models", _cleaner(disk))
    if disk.system.upper() in ("FAT", "FAT32", "VFAT", "MSDOS"):
        cause = "this file system ends files at 4 GB, so merged models may not fit"
        return Check("disk", WARN, found, cause, "use a disk with NTFS (Windows' convert command keeps the files: convert D: /fs:ntfs)")
    if disk.kind in (disks.NETWORK, disks.REMOVABLE):
        cause = "caches and states are written all the time: slow there, and lost when it is unplugged or the network drops"
        return Check("disk", WARN, found, cause, "keep lorabake and its outputs on a disk of this PC")
    return Check("disk", OK, found)


def _cleaner(disk: disks.Disk) -> str:
    return "cleanmgr" if disk.system.upper().startswith(("NTFS", "REFS")) else ""

"""What kind of disk a folder is on, and its file system. Windows is asked without administrator's rights, Linux through /sys.

Not here: free space (paths.free_bytes). Standard library only.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SSD, HDD, NETWORK, REMOVABLE, MEMORY, UNKNOWN = "SSD", "hard disk", "network drive", "removable drive", "memory", ""
# GetDriveTypeW: 2 removable, 3 fixed, 4 remote, 5 CD, 6 memory
BY_WINDOWS = {2: REMOVABLE, 4: NETWORK, 5: REMOVABLE, 6: MEMORY}
FIXED = 3
NETWORK_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "sshfs", "fuse.sshfs", "9p", "afs", "ceph", "glusterfs"}
MEMORY_SYSTEMS = {"tmpfs", "ramfs"}
IOCTL_STORAGE_QUERY_PROPERTY = 0x002D1400
SEEK_PENALTY_PROPERTY = 7  # StorageDeviceSeekPenaltyProperty of STORAGE_PROPERTY_ID; learn.microsoft.com, winioctl.h


@dataclass(frozen=True)
class Disk:
    """`kind` is one of the words above ('' unknown), `system` the file system ('NTFS', 'ext4'), '' unknown."""

    kind: str
    system: str


def disk_of(folder: Path) -> Disk:
    """The disk of a folder, which need not exist yet. Never raises OSError: what cannot be known is ''."""
    folder = Path(folder).absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return _windows(folder) if sys.platform == "win32" else _linux(folder)
    except (OSError, ValueError, AttributeError):  # AttributeError: a Windows that lacks the call
        return Disk(UNKNOWN, "")


def _linux(folder: Path) -> Disk:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    device = os.stat(folder).st_dev  # noqa: PTH116
    number = f"{os.major(device)}:{os.minor(device)}"
    system = system_of(lines, number)
    if system in NETWORK_SYSTEMS:
        return Disk(NETWORK, system)
    if system in MEMORY_SYSTEMS:
        return Disk(MEMORY, system)
    block = Path(f"/sys/dev/block/{number}")
    if not block.exists():  # a file system without a device of its own (overlay, btrfs)
        return Disk(UNKNOWN, system)
    whole = block.resolve()
    whole = whole if (whole / "queue").is_dir() else whole.parent  # a partition has its disk's queue
    removable = (whole / "removable").read_text(encoding="ascii").strip() == "1"
    rotates = (whole / "queue" / "rotational").read_text(encoding="ascii").strip() == "1"
    return Disk(REMOVABLE if removable else HDD if rotates else SSD, system)


def system_of(lines: list[str], number: str) -> str:
    """The file system of a device 'major:minor' by the lines of /proc/self/mountinfo, '' when it is not there."""
    for line in lines:
        words = line.split()
        if len(words) > 4 and words[2] == number and "-" in words:
            return words[words.index("-") + 1]
    return ""


def _windows(folder: Path) -> Disk:
    import ctypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    root, system = ctypes.create_unicode_buffer(1024), ctypes.create_unicode_buffer(64)
    if not kernel.GetVolumePathNameW(str(folder), root, len(root)):
        return Disk(UNKNOWN, "")
    kernel.GetVolumeInformationW(root, None, 0, None, None, None, system, len(system))
    kind = kernel.GetDriveTypeW(root)
    if kind != FIXED:
        return Disk(BY_WINDOWS.get(kind, UNKNOWN), system.value)
    seeks = _has_seek_penalty(kernel, root.value.rstrip("\\"))
    return Disk({True: HDD, False: SSD, None: UNKNOWN}[seeks], system.value)


def _has_seek_penalty(kernel: Any, volume: str) -> bool | None:
    """Whether the disk's head must move (a hard disk); None where Windows does not say. Opened without any right, which anyone may."""
    import ctypes

    share_all, open_existing, invalid = 3, 3, ctypes.c_void_p(-1).value
    kernel.CreateFileW.restype = ctypes.c_void_p
    handle = kernel.CreateFileW(f"\\\\.\\{volume}", 0, share_all, None, open_existing, 0, None)
    if handle in (None, invalid):
        return None
    try:
        query = (ctypes.c_uint32 * 3)(SEEK_PENALTY_PROPERTY, 0, 0)
        answer, size = (ctypes.c_uint32 * 3)(), ctypes.c_uint32()  # DEVICE_SEEK_PENALTY_DESCRIPTOR: version, size, a byte
        done = kernel.DeviceIoControl(
            ctypes.c_void_p(handle), IOCTL_STORAGE_QUERY_PROPERTY, query, 12, answer, 12, ctypes.byref(size), None
        )
        return bool(answer[2] & 0xFF) if done else None
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))

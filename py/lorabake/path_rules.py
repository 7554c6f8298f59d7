"""What Windows does not take as a path: devices, endings that it drops, drives without a folder, more than 260 characters.

Pure functions of text, so that they are tested everywhere. Not here: names of files alone (paths.check_name) and reading long paths
(paths.long_path). Standard library only.
"""

from __future__ import annotations

import sys
from pathlib import PureWindowsPath

from lorabake.paths import FORBIDDEN, RESERVED

LONGEST_FILE = 259  # learn.microsoft.com, "Maximum Path Length Limitation": 260 with the NUL behind it
# The longest that a bake writes below its output folder: latents in the cache under a temporary name, a state, a sample.
CACHE_CHARACTERS = len(r"\.cache\latents\00\_tmp-1234567-.safetensors") + 64
STATE_CHARACTERS = len(r".runs\001\state\_tmp-1234567-00000000\lora.safetensors")
SAMPLE_CHARACTERS = len(r".runs\001\samples\-step00000000-strength-0.75\_tmp-1234567-01.png")
LONG_PATHS_KEY = r"SYSTEM\CurrentControlSet\Control\FileSystem"
LONG_PATHS_COMMAND = rf"reg add HKLM\{LONG_PATHS_KEY} /v LongPathsEnabled /t REG_DWORD /d 1 /f"


def trouble(typed: str, *, windows: bool = sys.platform == "win32") -> tuple[str, str] | None:
    r"""(what is wrong with a typed path, what to type), None when nothing is. On other systems only full paths of Windows are looked at."""
    path = PureWindowsPath(typed)
    if not windows and not path.is_absolute():
        return None
    if path.drive and not path.root:
        rest = typed[len(path.drive) :]
        what = f"{typed} means the folder that drive {path.drive} was in last"
        return what, f"{path.drive}\\{rest}, with a backslash behind the colon"
    for part in path.parts[1:] if path.anchor else path.parts:
        if part in (".", ".."):
            continue
        stem = part.split(".")[0].strip()
        if stem.lower() in RESERVED:
            return f"{part} in {typed} is a device on Windows, no folder or file", "another name"
        if part[-1] in ". ":
            return f'"{part}" in {typed} ends in a dot or a space, which Windows drops', f'"{part.rstrip(". ")}"'
        found = [character for character in part if character in FORBIDDEN or ord(character) < 32]
        if found:
            shown = found[0] if found[0].isprintable() else "a control character"
            allowed = "".join("_" if character in FORBIDDEN or ord(character) < 32 else character for character in part)
            return f"{part} in {typed} holds {shown}, which no name on Windows may", f'"{allowed}"'
    return None


def deepest(output: str, name: str) -> int:
    """How many characters the longest path of a bake has, for a LoRA of this name in this output folder."""
    return len(output) + max(CACHE_CHARACTERS, 1 + len(name) + STATE_CHARACTERS, 1 + 2 * len(name) + SAMPLE_CHARACTERS)


def too_deep(output: str, name: str, *, long_paths: bool) -> tuple[str, str] | None:
    """(what is wrong, what to do) where a bake's files would not fit under the output folder; None when they do."""
    over = deepest(output, name) - LONGEST_FILE
    if long_paths or over <= 0:
        return None
    what = f"the output folder is {over} characters too long: with what a bake writes below it, paths pass Windows' limit of 260"
    return what, f"a shorter folder or name; or, in a window started as administrator, once: {LONG_PATHS_COMMAND}"


def long_paths_enabled() -> bool:
    """Whether Windows is set to allow paths of more than 260 characters; True elsewhere."""
    if sys.platform != "win32":
        return True
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, LONG_PATHS_KEY) as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False

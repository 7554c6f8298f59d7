"""The rows of `setup.py --check` about Python, the environment, its packages and what they do with the card. Functions of plain facts.

Not here: asking (doctor_ask.py, hardware.py, pins.py). Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorabake import console, hardware, torch_builds
from lorabake.doctor_table import FAIL, OK, WARN, Check, number_of
from lorabake.pins import Difference

LITTLE_VRAM_GIB = 6.0
SHOWN = 4  # packages or programs named in a row
OVERFLOW_FROM = (536, 40)  # nvidia.custhelp.com answer 5490: the first Windows driver that moves what does not fit into main memory
WINGET_PYTHON = "winget install --id Python.Python.3.12 --scope user"
WINGET_RUNTIME = "winget install --id Microsoft.VCRedist.2015+.x64"
REPAIR, RENEW = "environment", "packages"  # what --fix can do: see doctor_fixes.FIXES
ACTIONS = (REPAIR, RENEW)
# What a failing import of torch says, the cause, what to do, the command
TROUBLES = (
    (
        ("WinError 126", "WinError 127", "WinError 1114", "DLL load failed", "a DLL is missing"),
        "often Microsoft's C++ runtime is missing or old; else a virus scanner took a DLL away",
        "install it, then look again",
        WINGET_RUNTIME,
    ),
    (
        ("WinError 1455", "paging file"),
        "Windows may promise no more memory (see the row page file)",
        "close programs; let Windows size its page file",
        "SystemPropertiesPerformance.exe",
    ),
    (("WinError 5", "Access is denied", "Permission denied"), "a virus scanner or another user's file is in the way", "", ""),
    (("illegal instruction",), "this processor lacks instructions that torch is built with (AVX2?)", "use another PC", ""),
)


def listed(names: Sequence[object]) -> str:
    """'a, b, c, d and 3 more'."""
    more = len(names) - SHOWN
    return ", ".join(str(name) for name in names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def setup_command(*, windows: bool) -> str:
    """How setup is started on this system."""
    return "setup.bat" if windows else "python3 py/setup.py"


def fix_command(name: str, *, windows: bool) -> str:
    """How the fix of a row is started."""
    words = "-Check -Fix" if windows else "--check --fix"
    return f"{setup_command(windows=windows)} {words} {number_of(name)}"


def python_row(version: str, executable: str, other: str | None, problem: str) -> Check:
    """`other`: None where the running Python fits, else the path of one that does; `problem`: why there is none."""
    if problem:
        cause = "lorabake needs a 64-bit Python 3.11 to 3.13, and found none"
        return Check("Python", FAIL, problem, cause, "install one, then start setup again", WINGET_PYTHON)
    if other is None:
        return Check("Python", OK, f"{version}, {executable}")
    return Check("Python", OK, f"{version} does not fit, but another does: {other}")


def environment_row(name: str, told: str, *, reason: str, broken: Sequence[str], command: str) -> Check:
    """`reason` why it cannot be used, `broken` packages that lack files, `told` what is known of a sound one."""
    fix = "make it (every bake does that by itself)"
    if reason and not name:
        return Check("environment", WARN, reason, "nothing can be baked yet", fix, command, REPAIR)
    if reason:
        return Check("environment", FAIL, reason, "lorabake cannot run in it as it is", "put it right", command, REPAIR)
    if broken:
        cause = "files are missing: an installation was cut off, or a virus scanner took them"
        return Check("environment", FAIL, f"{name} is damaged: {listed(broken)}", cause, "make it anew", command, REPAIR)
    return Check("environment", OK, f"{name}: {told}" if told else name)


def packages_row(wrong: Sequence[Difference], count: int, *, ours: bool, command: str) -> Check:
    """Installed versions against the pinned set. `ours`: the environment that lorabake made; else the user's own, which may differ."""
    if not wrong:
        return Check("packages", OK, f"{count} as pinned")
    cause = "lorabake is tested with the pinned versions only: others can change results or fail"
    found = f"{len(wrong)} of {count} differ: {listed(wrong)}"
    if ours:
        return Check("packages", FAIL, found, cause, "make the environment anew", command, RENEW)
    return Check("packages", WARN, found, cause, "only if there is trouble", command)


def card_rows(seen: hardware.Seen) -> list[Check]:
    """A row per NVIDIA card that the driver shows."""
    if seen.problem:
        cause = "the driver is there, but shows no card: it is damaged, just updated, or the card is off"
        return [Check("graphics card", FAIL, seen.problem, cause, torch_builds.UPDATE_DRIVER, "nvidia-smi")]
    if not seen.cards:
        cause = "baking on the processor works for the demo; a real model takes days"
        return [Check("graphics card", WARN, "no NVIDIA card, or none with a driver", cause, "with a card: nvidia.com/drivers")]
    return [
        Check("graphics card", OK, f"{card.index}: {card.name}, {card.vram_gib:.1f} GB, compute {card.compute_text}") for card in seen.cards
    ]


def driver_row(seen: hardware.Seen, choice: torch_builds.Choice, built: torch_builds.Build | None) -> Check | None:
    """The driver against the CUDA of the torch that is installed (`built`, None unknown) or would be; None without a card."""
    if not seen.cards:
        return None
    driver = seen.cards[0].driver
    text = seen.cards[0].driver_text
    if built and built.compute and driver < built.driver:
        needed = torch_builds.version_text(built.driver)
        found = f"{text}, but torch {built.name} needs {needed} or newer"
        return Check("driver", FAIL, found, "an old driver does not run a newer CUDA", torch_builds.UPDATE_DRIVER)
    lines = choice.warning.splitlines()
    if lines and not choice.builds[0].compute:
        return Check("driver", FAIL, text, lines[0], torch_builds.UPDATE_DRIVER)
    if lines:
        return Check("driver", WARN, text, lines[0].partition(";")[0], f"if there is trouble: {torch_builds.UPDATE_DRIVER}")
    return Check("driver", OK, f"{text}, new enough" + (f" for {built.name}" if built and built.compute else ""))


def vram_row(seen: hardware.Seen, users: Sequence[str]) -> Check | None:
    """What is free on the card that has most; `users` are the programs that compute on it. None without a card."""
    cards = [card for card in seen.cards if card.vram_gib]
    if not cards:
        return None
    card = max(cards, key=lambda one: one.free_gib)
    found = f"{card.free_gib:.1f} of {card.vram_gib:.1f} GB free"
    if card.free_gib >= LITTLE_VRAM_GIB:
        return Check("VRAM", OK, found)
    cause = f"used by {listed(users)}" if users else "baking at 512 pixels with the usual settings takes 6 GB"
    fix = "close web UIs, games and browsers" if card.vram_gib >= LITTLE_VRAM_GIB else "set train.batch_size: 1"
    return Check("VRAM", WARN, found, cause, f"{fix}; train.gradient_checkpointing: true needs less", "nvidia-smi")


def overflow_row(seen: hardware.Seen, *, windows: bool) -> Check | None:
    """A note on NVIDIA's drivers for Windows that move what does not fit into main memory instead of failing; None elsewhere."""
    if not windows or not seen.cards or seen.cards[0].driver < OVERFLOW_FROM:
        return None
    note = (
        "what does not fit goes to main memory, and a bake gets many times slower instead of ending. To be told instead: NVIDIA Control "
        "Panel, Manage 3D settings, CUDA - Sysmem Fallback Policy: Prefer No Sysmem Fallback"
    )
    return Check("VRAM overflow", OK, note)


def torch_row(told: Mapping[str, Any] | None, seen: hardware.Seen, choice: torch_builds.Choice, *, windows: bool) -> Check | None:
    """Whether torch computes where it should. `told`: doctor_probe's part, None when it was not asked, as no environment works."""
    setup = setup_command(windows=windows)
    if told is None:
        return None
    if "version" not in told:
        return trouble_row("torch", FAIL, told["trouble"], setup=setup)
    dead = [f"{card['name']}: {card['trouble']}" for card in told["cards"] if card["trouble"]]
    if told["trouble"] or dead:
        return _no_kernel(told, [*filter(None, [told["trouble"]]), *dead], choice, setup)
    names = [card["name"] for card in told["cards"]]
    if seen.cards and choice.builds[0].compute and not told["cuda"]:
        cause = "this build of torch has no CUDA, so the card is left unused"
        return Check("torch", FAIL, told["version"], cause, "put the one for the card in place", f"{setup} --torch {choice.names[0]}")
    if seen.cards and told["cuda"] and not names:
        cause = "torch sees no card, though nvidia-smi does; is CUDA_VISIBLE_DEVICES set?"
        return Check("torch", FAIL, told["version"], cause, torch_builds.UPDATE_DRIVER, "nvidia-smi")
    return Check("torch", OK, f"{told['version']} computes on {listed(names) if names else 'the CPU'}")


def _no_kernel(told: Mapping[str, Any], troubles: list[str], choice: torch_builds.Choice, setup: str) -> Check:
    found = f"{told['version']} does not compute on the card: {listed(troubles)}"
    if "no kernel image" in found or "not compatible" in found:
        cause = "this build of torch has no code for this card"
        return Check("torch", FAIL, found, cause, "put the one for the card in place", f"{setup} --torch {choice.names[0]}")
    if "out of memory" in found:
        return Check("torch", FAIL, found, "the card's memory is full", "close what uses it (nvidia-smi names it)", "nvidia-smi")
    return Check("torch", FAIL, found, "driver, card and CUDA do not work together", torch_builds.UPDATE_DRIVER, "nvidia-smi")


def trouble_row(name: str, status: str, trouble: str, *, setup: str) -> Check:
    """A package that does not load, with the usual causes of the words that Windows says."""
    for words, cause, fix, command in TROUBLES:
        if any(word in trouble for word in words):
            known = command or fix
            return Check(name, status, trouble, cause, fix, command if known else setup, "" if known else REPAIR)
    return Check(name, status, trouble, "it does not load", "make the environment anew", setup, REPAIR)


def cudnn_row(told: Mapping[str, Any] | None, *, setup: str) -> Check | None:
    """cuDNN as torch finds it; None where torch has no CUDA or was not asked."""
    if told is None or (not told["trouble"] and not told.get("version")):
        return None
    if told["trouble"]:
        cause = "another program's cuDNN is on PATH or was copied into torch, or its DLLs do not fit this driver"
        return Check("cuDNN", FAIL, told["trouble"], cause, "make the environment anew; copy no cuDNN by hand", setup, REPAIR)
    return Check("cuDNN", OK, cudnn_text(int(told["version"])))


def cudnn_text(number: int) -> str:
    """91002 -> '9.10.2', 8902 -> '8.9.2': cuDNN 9 counts major versions in ten thousands, 8 in thousands (cudnn_version.h)."""
    major = 10000 if number >= 90000 else 1000
    return f"{number // major}.{number % major // 100}.{number % 100}"


def dll_rows(found: Sequence[tuple[str, str, str]], *, setup: str) -> list[Check]:
    """The rows of dlls.findings: (status, what was found, what to type). All that is well is one row."""
    good = [text for status, text, _ in found if status == OK]
    rows = [Check("DLLs", OK, "; ".join(good))] if good else []
    cause = "a library that does not fit makes torch or the tagger fail, or leave the card unused"
    for status, text, fix in found:
        if status != OK:
            action = REPAIR if fix.endswith("setup.py") else ""
            rows.append(Check("DLLs", status, text, cause, "" if action else fix or "leave it", setup if action else "", action))
    return rows


def bitsandbytes_row(told: Mapping[str, Any] | None, *, setup: str) -> Check | None:
    """Whether AdamW8bit can be used; None when it was not asked."""
    if told is None:
        return None
    if told["trouble"]:
        cause = "AdamW8bit will be AdamW, which needs more VRAM"
        return Check("bitsandbytes", WARN, told["trouble"], cause, "make the environment anew", setup, REPAIR)
    if not told["needed"]:
        return Check("bitsandbytes", OK, "not needed without a card")
    if not told["version"]:
        return Check(
            "bitsandbytes", WARN, "not installed", "AdamW8bit will be AdamW, which needs more VRAM", "install the set", setup, REPAIR
        )
    return Check("bitsandbytes", OK, f"{told['version']} makes a step on the card")


def xformers_row(told: Mapping[str, Any] | None, *, python: str) -> Check | None:
    """xformers is not in the set: it must load when somebody put it there, as diffusers looks for it. None when it was not asked."""
    if told is None:
        return None
    if told["trouble"]:
        cause = "it was built for another torch; it is not needed: torch's own attention is used"
        return Check("xformers", WARN, told["trouble"], cause, "take it out", f'"{python}" -m pip uninstall xformers')
    if told["version"]:
        return Check("xformers", OK, f"{told['version']} runs, though it is not needed")
    return Check("xformers", OK, "not needed: torch's own attention is used")


def onnxruntime_row(told: Mapping[str, Any] | None, *, setup: str) -> Check | None:
    """Whether the tagger's engine starts where it should; None when it was not asked."""
    if told is None:
        return None
    if told["trouble"]:
        return trouble_row("onnxruntime", FAIL, told["trouble"], setup=setup)
    if told["for_card"] and not told["provider"].startswith("CUDA"):
        cause = "tagging will run on the processor, ten times slower" + (f" ({told['reason']})" if told.get("reason") else "")
        return Check(
            "onnxruntime", WARN, f"{told['version']} does not start on the card", cause, "make the environment anew", setup, REPAIR
        )
    return Check("onnxruntime", OK, f"{told['version']} starts on {'the card' if told['for_card'] else 'the CPU'}")


def model_row(path: str, num_bytes: int) -> Check:
    """Whether the small model of the demo is there; 0 bytes: it is not."""
    if num_bytes > 1 << 20:
        return Check("pocket model", OK, console.size(num_bytes))
    return Check("pocket model", WARN, f"{path} is not there", "the demo bakes on it", "fetch the whole of lorabake again")

"""What this machine has: NVIDIA cards as nvidia-smi tells them, memory, processor threads; and which precision suits a card.

Not here: torch (device.py verifies and applies what is chosen here) and which torch to install (torch_builds.py). Standard library only.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

FIELDS = ("index", "name", "memory.total", "memory.free", "driver_version", "uuid", "compute_cap")
MIB_PER_GIB = 1024
ANSWER_TIMEOUT_S = 30  # the first call after a start wakes a sleeping laptop card
BF16_FROM = (8, 0)
CARD_SPEAKS_OF = re.compile(r"driver|NVML|device|not found|permission", re.IGNORECASE)

# Drivers before 510 do not tell the compute capability (470 answers 'Field "compute_cap" is not a valid field to query.'):
# then the name does. Source: https://developer.nvidia.com/cuda-gpus and its legacy page, 2026-11.
COMPUTE_BY_NAME = (
    (r"RTX (PRO )?50[5-9]0|RTX PRO \d{4} Blackwell", (12, 0)),
    (r"RTX 40[5-9]0|Ada", (8, 9)),
    (r"RTX 30[5-9]0|RTX A\d000|\bA(10|16|40)\b", (8, 6)),
    (r"\bA(30|100)\b", (8, 0)),
    (r"RTX 20[5-9]0|GTX 16[3-9]0|TITAN RTX|Quadro RTX|\bT4\b", (7, 5)),
    (r"TITAN V|V100", (7, 0)),
    (r"GTX 10[3-8]0|GT 1030|TITAN Xp|TITAN X \(Pascal\)|\bP[246]00\b|\bP4\b|\bP40\b", (6, 1)),
    (r"\bP100\b", (6, 0)),
    (r"GTX 9[5-8]0|GTX TITAN X|\bM40\b", (5, 2)),
    (r"GTX 7[45]0", (5, 0)),
)


@dataclass(frozen=True)
class Card:
    """One NVIDIA card. `index` is torch's number, `compute` (8, 9) means 8.9 and (0, 0) unknown, `driver` (580, 88)."""

    index: int
    name: str
    vram_gib: float
    free_gib: float
    compute: tuple[int, int]
    driver: tuple[int, ...]
    uuid: str

    @property
    def compute_text(self) -> str:
        """'8.9'."""
        return ".".join(str(part) for part in self.compute)

    @property
    def driver_text(self) -> str:
        """'560.94', with the two digits after the dot that NVIDIA writes."""
        return ".".join([str(self.driver[0]), *(f"{part:02}" for part in self.driver[1:])]) if self.driver else "unknown"


@dataclass(frozen=True)
class Seen:
    """What nvidia-smi answered: cards, or why there are none ('' when this machine simply has no NVIDIA driver)."""

    cards: tuple[Card, ...]
    problem: str = ""


def cards(text: str | None = None) -> list[Card]:
    """The cards torch can use, numbered as torch numbers them; `text` is a recorded answer, for tests."""
    return list(look().cards if text is None else parse(text))


def look() -> Seen:
    """Ask nvidia-smi; never raises. CUDA_VISIBLE_DEVICES is respected."""
    program = find_nvidia_smi()
    if program is None:
        return Seen(())
    for fields in (FIELDS, FIELDS[:-1]):
        code, answer = _ask(program, fields)
        if code == 0:
            return Seen(tuple(visible(parse(answer), os.environ.get("CUDA_VISIBLE_DEVICES"))))
        if "not a valid field" not in answer:
            break
    told = [line.strip() for line in answer.splitlines() if CARD_SPEAKS_OF.search(line)]
    return Seen((), told[0] if told else f"nvidia-smi ended with code {code}")


def find_nvidia_smi() -> Path | None:
    """nvidia-smi on PATH, or where Windows drivers and WSL put it."""
    windows = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"))
    programs = Path(os.environ.get("PROGRAMFILES", r"C:\Program Files"))
    usual = [Path("/usr/lib/wsl/lib/nvidia-smi")]
    if os.name == "nt":
        usual = [windows / "System32" / "nvidia-smi.exe", programs / "NVIDIA Corporation" / "NVSMI" / "nvidia-smi.exe"]
    found = shutil.which("nvidia-smi")
    return Path(found) if found else next((path for path in usual if path.is_file()), None)


def _ask(program: Path, fields: tuple[str, ...]) -> tuple[int, str]:
    command = [str(program), f"--query-gpu={','.join(fields)}", "--format=csv,nounits"]
    hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    try:
        done = subprocess.run(command, capture_output=True, timeout=ANSWER_TIMEOUT_S, check=False, creationflags=hidden)
    except (OSError, subprocess.TimeoutExpired) as error:
        return -1, f"nvidia-smi does not answer (driver trouble?): {error}"
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def parse(text: str) -> list[Card]:
    """Cards from nvidia-smi's CSV with its header line ('index, name, memory.total [MiB], ...'); lines that are no card are skipped."""
    rows = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    start = next((n for n, row in enumerate(rows) if row and row[0].strip() == "index"), None)
    if start is None:
        return []
    header = [title.split(" [")[0].strip() for title in rows[start]]
    found = []
    for row in rows[start + 1 :]:
        values = dict(zip(header, (value.strip() for value in row)))  # noqa: B905  (strict= is not known to the old Pythons this must parse on)
        if values.get("index", "").isdigit() and "name" in values:
            found.append(_card(values))
    return found


def _card(values: dict[str, str]) -> Card:
    major, _, minor = values.get("compute_cap", "").partition(".")
    compute = (int(major), int(minor)) if major.isdigit() and minor.isdigit() else compute_of(values["name"])
    return Card(
        index=int(values["index"]),
        name=values["name"],
        vram_gib=_gib(values.get("memory.total", "")),
        free_gib=_gib(values.get("memory.free", "")),
        compute=compute,
        driver=tuple(int(part) for part in re.findall(r"\d+", values.get("driver_version", ""))),
        uuid=values.get("uuid", ""),
    )


def _gib(mib: str) -> float:
    digits = mib.split(" ")[0]  # "[N/A]" on cards that share the machine's memory
    return round(int(digits) / MIB_PER_GIB, 2) if digits.isdigit() else 0.0


def compute_of(name: str) -> tuple[int, int]:
    """Compute capability by the card's name, (0, 0) when the name is not known."""
    return next((compute for pattern, compute in COMPUTE_BY_NAME if re.search(pattern, name)), (0, 0))


def visible(found: list[Card], setting: str | None) -> list[Card]:
    """The cards that CUDA_VISIBLE_DEVICES leaves, renumbered as CUDA does: in its order, up to the first entry that fits none."""
    if setting is None:
        return found
    left: list[Card] = []
    for entry in (part.strip() for part in setting.split(",")):
        matches = [
            card
            for card in found
            if (entry.isdigit() and card.index == int(entry)) or (entry.startswith("GPU-") and card.uuid.startswith(entry))
        ]
        if not matches:
            break
        left.append(replace(matches[0], index=len(left)))
    return left


def precision(card: Card | None, asked: str | None) -> tuple[str, str]:
    """(precision, its reason): 'bf16', 'fp16' or 'fp32'; `asked` is what the profile says, None for auto."""
    if card is None:
        if asked == "fp16":
            return "fp32", "fp16 was asked for, but it needs an NVIDIA card; this bakes on the CPU"
        return (asked, "as the profile says") if asked else ("fp32", "no NVIDIA card: the CPU computes in fp32")
    named = f"{card.name}, compute {card.compute_text}"
    if asked == "bf16" and card.compute < BF16_FROM:
        return asked, f"as the profile says, but this card only imitates bf16, slowly ({named}): fp16 is faster"
    if asked:
        return asked, "as the profile says"
    if card.compute >= BF16_FROM:
        return "bf16", f"the card computes in it ({named})"
    if "GTX 16" in card.name:
        return "fp32", f"GTX 16xx cards give NaN in fp16 ({named})"
    return "fp16", f"the card has no bf16 ({named})"


def host_memory_gib() -> float:
    """The machine's memory, or what a container's limit leaves of it; 0.0 where it cannot be known."""
    return round(memory_bytes().get("total", 0) / 2**30, 2)


def memory_bytes() -> dict[str, int]:
    """'total' and 'free' memory; on Windows 'commit_total' and 'commit_free' too: what may be promised, memory and page file together."""
    if sys.platform == "win32":
        return _windows_memory()
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {"total": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")} if hasattr(os, "sysconf") else {}
    told = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if len(line.split()) > 1}
    limit = _container_number("memory.max") or told["MemTotal"]
    return {"total": min(told["MemTotal"], limit), "free": min(told.get("MemAvailable", 0), limit)}


def _container_number(name: str) -> int | None:
    try:
        text = (Path("/sys/fs/cgroup") / name).read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError):
        return None
    return int(text) if text.isdigit() else None


def _windows_memory() -> dict[str, int]:
    import ctypes

    # MEMORYSTATUSEX: two 32-bit fields (size, load), then seven 64-bit ones
    numbers = (ctypes.c_uint64 * 8)()
    ctypes.cast(numbers, ctypes.POINTER(ctypes.c_uint32))[0] = ctypes.sizeof(numbers)
    if not ctypes.WinDLL("kernel32").GlobalMemoryStatusEx(numbers):  # type: ignore[attr-defined]
        return {}
    return {"total": numbers[1], "free": numbers[2], "commit_total": numbers[3], "commit_free": numbers[4]}


def cpu_threads() -> int:
    """Processor threads that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

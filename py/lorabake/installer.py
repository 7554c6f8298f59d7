"""One step of an installation: a program is run, its output goes into the log, its progress onto one line, its failure into a sentence.

Not here: which steps there are and in what order (builder.py). Standard library only.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lorabake import console, venvs
from lorabake.errors import DISK_FULL_WORDS, DiskFull, LorabakeError, UserError

LOOK_EVERY_S, PLAIN_EVERY_S = 0.5, 15.0
ALONE = "--isolated"  # pip's word for: without the user's settings; that of the whole PC is left out with it
IMPORT_TIMEOUT_S = 900  # the first import on a slow disk under a virus scanner
GOODBYE_S = 10.0  # what pip gets to clean up after Ctrl-C
TAIL_LINES = 60
# pip's settings stay the user's own, but these would send the packages elsewhere than into the environment
UNWANTED = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_REQUIRE_VIRTUALENV",
    "VIRTUAL_ENV",
    "__PYVENV_LAUNCHER__",
)
JUDGED_ELSEWHERE = re.compile(r"torch/lib/cudnn\w*\.dll")  # people put others in their place, and so may we: dll_needs.py says which fit
NO_NETWORK = re.compile(
    r"name resolution|Name or service not known|getaddrinfo failed|Failed to establish a new connection|NewConnectionError|"
    r"ConnectTimeoutError|Read timed out|ReadTimeoutError|ProxyError|Network is unreachable|"
    r"Connection (reset|refused|aborted)|RemoteDisconnected"
)
SENTENCES = (  # what the tail of a log holds, what it means, what to do
    (r"ensurepip is not available|No module named '?ensurepip|No module named '?venv", "this Python has no venv", "{venv}"),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError", "the package index shows a certificate that is not trusted", "{proxy}"),
    (NO_NETWORK.pattern, "the package index cannot be reached", "{network}"),
    (r"No matching distribution found for (?P<what>\S+)", "the package index has no {what} for this Python and system", "{index}"),
    (
        r"Long Path|WinError 206|File name too long",
        "a path became too long",
        "move the lorabake folder to a short path, such as C:\\lorabake",
    ),
    (r"WinError (5|32)\b|Access is denied|Permission denied", "a file cannot be written", "{denied}"),
    (r"MemoryError|Cannot allocate memory", "the machine's memory is used up", "close other programs, then start again"),
)
ADVICE = {
    "venv": "Debian and Ubuntu: sudo apt install python3-venv; else install Python 3.12 from python.org",
    "proxy": "behind a company proxy: pip config set global.cert PATH-OF-ITS-CERTIFICATE; then start again",
    "network": "check the connection (behind a proxy: pip config set global.proxy URL), then start again: finished steps are kept",
    "index": "look at the index that pip is set to use (pip config list), then start again",
    "denied": "close what has it open (a running bake, a virus scanner), check that you may write there, then start again",
}


@dataclass
class Step:
    """What a running step is known to be doing."""

    label: str
    activity: str = ""
    tail: list[str] = field(default_factory=list)

    def read(self, line: str) -> None:
        """Take in one line of the program's output."""
        self.tail = [*self.tail[1 - TAIL_LINES :], line]
        found = re.match(r"\s*(Collecting|Downloading|Using cached|Processing|Installing collected packages:)\s*(.*)", line)
        if not found:
            return
        word, rest = found.groups()
        if word.startswith("Installing"):
            self.activity = f"installing {rest.count(',') + 1} packages"
        else:
            name = Path(rest.split(" (")[0]).name
            size = f" ({rest.rsplit('(', 1)[1]}" if word == "Downloading" and "(" in rest and not name.endswith(".metadata") else ""
            self.activity = f"{'looking for' if word in {'Collecting', 'Processing'} else 'downloading'} {name}{size}"


class NoNetwork(UserError):
    """The package index cannot be reached."""


def clean_variables(temp: Path | None) -> dict[str, str]:
    """Environment variables for pip: the user's, less what would lead it astray; downloads pass through `temp` where given."""
    variables = {name: value for name, value in os.environ.items() if name.upper() not in UNWANTED}
    variables.update(
        PYTHONUTF8="1", PYTHONNOUSERSITE="1", PYTHONUNBUFFERED="1", PIP_USER="0", PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1"
    )
    if temp:
        variables.update(TMPDIR=str(temp), TEMP=str(temp), TMP=str(temp))
    return variables


def run_step(command: list[str], *, label: str, log: Path, temp: Path, started: Callable[[int], None] = lambda pid: None) -> str:
    """Run a program to its end and return the tail of its output; `started` gets its process id. Raises what `explain` says."""
    step = Step(label)
    begin = time.monotonic()
    temp.mkdir(parents=True, exist_ok=True)
    hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0) if not sys.stderr else 0
    with log.open("ab", buffering=0) as out:  # a person who wonders whether it still works looks in here
        out.write(f"\n> {subprocess.list2cmdline(command)}\n".encode())
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**clean_variables(temp), **({"PIP_CONFIG_FILE": os.devnull} if ALONE in command else {})},
            creationflags=hidden,
        )
        started(process.pid)

        def read() -> None:
            for raw in process.stdout or ():
                out.write(raw)
                step.read(raw.decode("utf-8", "replace").rstrip())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            show_until_done(process, step, temp)
            reader.join(GOODBYE_S)
        finally:
            end(process)
    shutil.rmtree(temp, ignore_errors=True)
    if process.returncode:
        raise explain("\n".join(step.tail), label=label, log=log, code=process.returncode)
    console.say(f"  {label}: {console.duration(time.monotonic() - begin)}")
    return "\n".join(step.tail)


def end(process: subprocess.Popen[bytes]) -> None:
    """See that the program is gone; after Ctrl-C it has had the signal too and gets a moment to clean up."""
    try:
        process.wait(GOODBYE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def show_until_done(process: subprocess.Popen[bytes], step: Step, temp: Path) -> None:
    """Wait for the program and show what it does: a line redrawn on a terminal, else one every fifteen seconds."""
    live = bool(sys.stderr and sys.stderr.isatty())
    begin = shown = time.monotonic()
    try:
        while True:
            try:
                process.wait(LOOK_EVERY_S)
                return
            except subprocess.TimeoutExpired:
                now = time.monotonic()
                size = [] if step.activity.startswith("installing") else came(temp)  # all has come by then
                parts = [f"  {step.label}", step.activity, *size, console.duration(now - begin)]
                line = "  ".join(part for part in parts if part)
                if live:
                    console.rewrite(line)
                elif now - shown >= PLAIN_EVERY_S:
                    console.say(line)
                    shown = now
    finally:
        if live:
            console.rewrite("")
            sys.stderr.write("\r")


def came(temp: Path) -> list[str]:
    """['1.2 GB'] while pip has that much of a download in its temporary folder."""
    total = 0
    for folder, _, names in os.walk(temp):
        for name in names:
            with suppress(OSError):  # it may just have been moved away
                total += (Path(folder) / name).stat().st_size
    return [console.size(total)] if total > 1 << 20 else []


def explain(tail: str, *, label: str, log: Path, code: int = 1) -> LorabakeError:
    """The failure of a step (its last output, its exit code) as an error with a cause, what to do, and the log's path."""
    where = f"{label}; log: {log}"
    if any(words in tail for words in DISK_FULL_WORDS):
        return DiskFull("the disk is full", where=where, todo="make room (10 GB with an NVIDIA card, 3 GB without), then start again")
    for pattern, what, todo in SENTENCES:
        found = re.search(pattern, tail)
        if found:
            kind = NoNetwork if pattern == NO_NETWORK.pattern else UserError
            return kind(what.format(**found.groupdict()), where=where, todo=todo.format(**ADVICE))
    told = [line.strip() for line in tail.splitlines() if line.startswith(("ERROR", "Error"))]
    what = told[-1] if told else f"it was ended in the middle (code {code})"
    return UserError(
        f"the installation failed: {what}", where=where, todo="start again; if it fails again, send the log with your question"
    )


def imported(python: Path, code: str, *, offline: bool = True) -> str:
    """Run `code` in the environment and return what it printed after 'told '. Raises UserError with the last line of its complaint."""
    environment = {**clean_variables(None), **({"HF_HUB_OFFLINE": "1"} if offline else {})}
    try:
        done = subprocess.run([str(python), "-c", code], capture_output=True, timeout=IMPORT_TIMEOUT_S, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{python} does not run: {error}", todo="start again") from error
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    told = [line[len("told ") :] for line in lines if line.startswith("told ")]
    if done.returncode == 0 and told:
        return told[-1]
    complaint = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()] or [f"code {done.returncode}"]
    raise UserError(f"it does not import: {complaint[-1].strip()}", where=str(python), todo="start again")


def damage(env: Path, code: str) -> str:
    """Why an environment is not whole: files of packages are gone, or its Python does not run `code` (see `imported`). '' when it is."""
    broken = broken_packages(env)
    if broken:
        return f"{env.name} is damaged: {', '.join(info.name.split('-')[0] for info in broken[:5])}"
    try:
        imported(venvs.python_of(env), code)
    except UserError as error:
        return f"{env.name} is damaged: {error.what}"
    return ""


def broken_packages(env: Path) -> list[Path]:
    """The .dist-info folders whose files are not all there with their sizes: what a killed pip, a full disk or a virus scanner leaves."""
    library = venvs.library_of(env)
    return [info for info in sorted(library.glob("*.dist-info")) if not _whole(info, library)] if library.is_dir() else []


def _whole(info: Path, library: Path) -> bool:
    try:
        with (info / "RECORD").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        rows = [row for row in rows if len(row) == 3 and row[2] and not JUDGED_ELSEWHERE.match(row[0])]
        return all(os.stat(library / row[0]).st_size == int(row[2]) for row in rows)  # noqa: PTH116  (30 000 of them)
    except (OSError, ValueError):
        return False


def forget_broken(env: Path) -> list[str]:
    """Take away the .dist-info of broken packages and pip's half-done leftovers, so that pip installs those packages again."""
    broken = broken_packages(env)
    for info in broken:
        shutil.rmtree(info, ignore_errors=True)
    for leftover in venvs.library_of(env).glob("~*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return [info.name.split("-")[0] for info in broken]

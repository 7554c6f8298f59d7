"""The right DLLs on Windows: proved by loading; where that fails, cuDNN is put in from NVIDIA's own wheel, and proved again or undone.

`findings` is for the doctor, `mend` for setup. Today's torch brings what it needs, so on most PCs nothing is ever copied. Linux wheels
find their CUDA libraries as packages: nothing is to do there. Not here: the facts (dll_needs.py), files (dll_files.py).
Standard library only.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorabake import console, dll_files, dll_needs, installer, paths, venvs
from lorabake.dll_needs import Need
from lorabake.errors import DiskFull, UserError

OK, WARN, FAIL = "OK", "WARN", "FAIL"
REPAIR, UNDO = "python py/setup.py", "python py/setup.py --undo-dlls"
# onnx.ModelProto, IR 8, opset 13, y = x + x on one float; tests/test_dlls.py writes the same with the onnx package
TINY_MODEL = (
    "08083a350a0e0a01780a017812017922034164641201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a02080142040a00100d"
)
NOTHING_TOLD = {"torch": "", "cuda": "", "cudnn": 0, "cudnn_trouble": "", "eight_bit": "", "onnxruntime": ""}
PROOF_CODE = """
import json
told = dict(NOTHING_TOLD)

def last(error):
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__

try:
    import torch
    told["cuda"] = torch.version.cuda or ""
except (ImportError, OSError) as error:
    told["torch"] = last(error)
else:
    card = False
    if torch.version.cuda:
        card = torch.cuda.is_available()
        try:
            told["cudnn"] = torch.backends.cudnn.version() or 0
            if card:
                pixels = torch.ones(1, 1, 8, 8, device="cuda", requires_grad=True)
                torch.nn.functional.conv2d(pixels, torch.ones(1, 1, 3, 3, device="cuda")).sum().backward()
        except (RuntimeError, OSError) as error:
            told["cudnn_trouble"] = last(error)
    try:
        from bitsandbytes.cextension import lib
        if "Error" in type(lib).__name__:  # it puts one that only complains in the place of a library that does not load
            told["eight_bit"] = " ".join(lib.formatted_error.split())[:300]
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        told["eight_bit"] = last(error)
    if card:
        import contextlib, io
        import onnxruntime
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            from onnxruntime.capi import onnxruntime_pybind11_state as its
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    onnxruntime.preload_dlls()
                session = onnxruntime.InferenceSession(bytes.fromhex(MODEL), providers=["CUDAExecutionProvider"])
                if session.get_providers()[0] != "CUDAExecutionProvider":
                    told["onnxruntime"] = "its CUDA libraries do not load"
            except (its.Fail, its.RuntimeException, its.EPFail, RuntimeError, OSError, ValueError) as error:
                told["onnxruntime"] = last(error)
print("told " + json.dumps(told))
"""


def findings(env: Path, stack: Path = paths.STACK) -> list[tuple[str, str, str]]:
    """Rows for the doctor: (OK, WARN or FAIL; what was found; what to type, '' for nothing). [] for a torch for Linux. Loads nothing."""
    if not dll_files.for_windows(env):
        return []
    need = need_of(env, stack)
    if need is None:
        return [(WARN, f"torch's build {dll_files.build_of(env)} is not in {dll_needs.MANIFEST}", "")]
    return [*_cudnn_rows(env, need), *_bitsandbytes_rows(env, need), *_onnxruntime_rows(env, need)]


def need_of(env: Path, stack: Path) -> Need | None:
    """The row for the torch that is installed: the stack's, or that of another stack beside it."""
    build = dll_files.build_of(env)
    tables = (dll_needs.read(folder) for folder in (stack, *sorted(stack.parent.iterdir())))
    return next((table[build] for table in tables if build in table), None)


def wrong(env: Path, stack: Path = paths.STACK) -> bool:
    """Whether setup has something to mend here, by a quick look."""
    return any(status == FAIL for status, _, _ in findings(env, stack))


def _cudnn_rows(env: Path, need: Need) -> list[tuple[str, str, str]]:
    if need.wheel is None:
        return [(OK, "torch's CPU build needs no cuDNN", "")]
    found = dll_files.look(env)
    problems = dll_needs.judge(need, found)
    if problems:
        anew = f"delete the folder {env}, then {REPAIR}: torch's own comes back with it"
        return [(FAIL if one.fatal else WARN, f"cuDNN: {one.text}", REPAIR if one.fatal else anew) for one in problems]
    ours = [dll for dll in found if dll_needs.generation_of(dll.name) == need.generation]
    rows = [(OK, f"cuDNN {ours[0].text}, {origin(ours)}", "")]
    relics = [dll.name for dll in found if dll not in ours]
    if relics:
        rows.append((WARN, f"{dll_needs.WHERE} holds {dll_needs.listed(relics)}, which this torch never loads", ""))
    return rows


def origin(found: list[dll_needs.Found]) -> str:
    """How the cuDNN came there."""
    if all(dll.own for dll in found):
        return "as torch brings it"
    if any(dll.put for dll in found):
        return f"put there from NVIDIA's wheel ({UNDO} takes it out)"
    return "which somebody put over torch's own; it fits"


def _bitsandbytes_rows(env: Path, need: Need) -> list[tuple[str, str, str]]:
    folder = dll_files.library_of(env) / "bitsandbytes"
    if not folder.is_dir() or (folder / need.bitsandbytes).is_file():
        return []
    what = f"bitsandbytes has no {need.bitsandbytes} for this torch: AdamW8bit will be AdamW, which needs more VRAM"
    return [(WARN, what, REPAIR)]


def _onnxruntime_rows(env: Path, need: Need) -> list[tuple[str, str, str]]:
    major = onnxruntime_cuda(env)
    if not need.onnxruntime_cuda or major in {0, need.onnxruntime_cuda}:
        return []
    what = f"onnxruntime-gpu is built for CUDA {major}, torch for {need.cuda}: pictures are tagged on the processor"
    return [(WARN, what, REPAIR)]


def onnxruntime_cuda(env: Path) -> int:
    """The CUDA major that the installed onnxruntime is built for, by its own build_and_package_info.py; 0 for the CPU's or none."""
    try:
        text = (dll_files.library_of(env) / "onnxruntime" / "capi" / "build_and_package_info.py").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return 0
    found = re.search(r"^cuda_version\s*=\s*['\"](\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def proof_code() -> str:
    """The program of the proof."""
    return f"MODEL = {TINY_MODEL!r}\nNOTHING_TOLD = {NOTHING_TOLD!r}\n{PROOF_CODE}"


def prove(env: Path) -> dict[str, Any]:
    """What loading tells, in a process of its own: torch, cuDNN (a convolution on the card), bitsandbytes' library, onnxruntime's."""
    try:
        return dict(json.loads(installer.imported(python_of(env), proof_code())))
    except UserError as error:  # a DLL can take the whole process with it
        return {**NOTHING_TOLD, "torch": error.what}


def python_of(env: Path) -> Path:
    """The environment's interpreter."""
    return venvs.python_of(env)


def why_not(proof: dict[str, Any], need: Need) -> str:
    """What a proof says against torch and its cuDNN, '' for nothing."""
    if proof["torch"]:
        return f"torch does not load: {proof['torch']}"
    if need.wheel is None:
        return ""
    if proof["cudnn_trouble"] or not proof["cudnn"]:
        return f"cuDNN does not load: {proof['cudnn_trouble'] or 'torch finds none'}"
    major, minor, patch = need.oldest
    return "" if proof["cudnn"] >= major * 10000 + minor * 100 + patch else f"cuDNN {proof['cudnn']} is older than torch's own"


def loaded(env: Path, stack: Path, code: str, *, log: Callable[[], Path], temp: Path) -> str:
    """installer.imported, tried a second time where it fails and `mend` can help. Raises UserError as it does."""
    try:
        return installer.imported(python_of(env), code)
    except UserError:
        if not mend(env, stack, log=log, temp=temp):
            raise
        return installer.imported(python_of(env), code)


def mend(env: Path, stack: Path, *, log: Callable[[], Path], temp: Path, thorough: bool = True) -> bool:
    """See that torch and what goes with it load; where cuDNN is the cause, put NVIDIA's in. Whether that changed anything for the better.

    Without `thorough` only the files are looked at, and loading is tried when one of them is wrong. `log` is called only for pip.
    Raises DiskFull, UserError (no network; a DLL that is in use). On Linux it returns at once.
    """
    need = need_of(env, stack) if dll_files.for_windows(env) else None
    if need is None:
        return False
    problems = dll_needs.judge(need, dll_files.look(env))
    if not problems and not thorough:
        return False
    proof = prove(env)
    trouble = why_not(proof, need)
    for problem in problems:
        console.say(f"  {'' if trouble else 'a note: '}cuDNN: {problem.text}{'' if trouble else '; it loads, so it is left as it is'}")
    for name, said in (("bitsandbytes", proof["eight_bit"]), ("onnxruntime", proof["onnxruntime"])):
        if said and not trouble:
            console.say(f"  {name}: {said}")
    if not trouble:
        return False
    console.say(f"  {trouble}")
    return replace(env, need, log=log, temp=temp)


def replace(env: Path, need: Need, *, log: Callable[[], Path], temp: Path) -> bool:
    """Put NVIDIA's cuDNN in and prove it; what is no better is undone. Whether it is better."""
    changes = dll_needs.plan(need, dll_files.look(env))
    if need.wheel is None or not changes:
        return False
    console.say(f"  putting cuDNN {need.wheel.version} from NVIDIA's wheel into {dll_needs.WHERE} ({UNDO} takes it out again)")
    folder = temp.parent / f"{temp.name}-cudnn"
    still = "broken off"
    try:
        archive = fetch(env, need, folder, log=log(), temp=temp)
        dll_files.put(env, changes, need.wheel, archive)
        still = why_not(prove(env), need)
    finally:  # Ctrl-C and a full disk too
        if still:
            dll_files.undo(env)
        shutil.rmtree(folder, ignore_errors=True)
    said = f"that did not help ({still}): everything is as it was before" if still else f"cuDNN {need.wheel.version} loads"
    console.say(f"  {said}")
    return not still


def fetch(env: Path, need: Need, folder: Path, *, log: Path, temp: Path) -> Path:
    """NVIDIA's wheel through the environment's pip, with its hash checked by pip. Raises NoNetwork, DiskFull, UserError."""
    assert need.wheel is not None
    room = need.wheel.size + sum(size for size, _ in need.wheel.dlls.values())
    if (free := paths.free_bytes(env)) < room:
        what = f"{console.size(free)} are free, {console.size(room)} are needed for cuDNN"
        raise DiskFull(what, where=str(env), todo="make room, then start again")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / "cudnn.txt"
    paths.write_text(wanted, need.wheel.requirement + "\n")
    words = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--platform", "win_amd64", "--progress-bar", "off"]
    command = [str(python_of(env)), "-m", "pip", "download", *words, "-d", str(folder), "-r", str(wanted)]
    installer.run_step(command, label="cuDNN from NVIDIA", log=log, temp=temp)
    archive = folder / need.wheel.file
    if not archive.is_file():
        raise UserError(f"pip brought no {need.wheel.file}", where=str(log), todo="start again")
    return archive


def undo(root: Path) -> str:
    """`setup.py --undo-dlls`: put back what was replaced in the current environment. A sentence. Raises UserError where there is none."""
    env = venvs.current(root)
    if env is None or not env.is_dir():
        raise UserError("there is no environment", where=str(root), todo="python py/setup.py")
    if not dll_files.read_log(env):
        return f"nothing was put into {env.name}: there is nothing to undo"
    done, left = dll_files.undo(env)
    said = f"{len(done)} DLLs of {env.name} are as they were before"
    return f"{said}; left alone, as they were changed since: {', '.join(left)}" if left else said

"""Started by test_windows_dlls.py with Windows' Python: a DLL that Windows itself refuses is replaced by one that it loads, and put back.

Prints what happened as one line of JSON. The made-up torch loads its cuDNN with ctypes here. Not a test module.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOADING = "import ctypes\nfor name in ('cudnn64_9.dll', 'cudnn_ops64_9.dll'):\n    ctypes.WinDLL(str(LIB / name))\n"
HOLDER = "import ctypes, sys; ctypes.WinDLL(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def main():
    sys.path[:0] = [str(ROOT / "py"), str(ROOT / "tests")]
    import made_up_torch
    from lorabake import dlls, pe_version
    from lorabake.errors import UserError

    above = Path(tempfile.mkdtemp(prefix="dlls \u00e9 "))
    real = (Path(sys.base_prefix) / "vcruntime140_1.dll").read_bytes()
    content = {name: real + f"{name} says 92000".encode() for name in made_up_torch.NAMES}
    archive = made_up_torch.wheel(above / "wheels", content)
    stack = made_up_torch.stack(above / "stack", archive, content)
    os.environ.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=archive.parent.as_uri())
    broken = {name: one[:3000] for name, one in content.items()}
    env = made_up_torch.environment(above / "venv", broken)
    torch = env / "Lib" / "site-packages" / "torch"
    (torch / "__init__.py").write_text(made_up_torch.TORCH.replace("\n\nclass cuda", f"\n{LOADING}\n\nclass cuda"), encoding="utf-8")
    lib = torch / "lib"
    mend = {"log": lambda: above / "setup.log", "temp": above / "_tmp-1"}
    told = {"version": pe_version.read(Path(sys.base_prefix) / "vcruntime140_1.dll").texts["CompanyName"]}
    told["before"] = dlls.prove(env)["torch"]
    told["mended"] = dlls.mend(env, stack, **mend)
    told["after"] = dlls.prove(env)["cudnn"]
    told["there"] = all((lib / name).read_bytes() == one for name, one in content.items())
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lib / "cudnn64_9.dll")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        holder.stdout.readline()
        try:
            dlls.undo(env.parent)
            told["held"] = ""
        except UserError as error:
            told["held"] = str(error)
        holder.stdin.close()
    told["undone"] = dlls.undo(env.parent)
    told["back"] = all((lib / name).read_bytes() == one for name, one in broken.items())
    shutil.rmtree(above, ignore_errors=True)
    print("told " + json.dumps(told))


main()

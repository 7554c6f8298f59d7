"""An environment with a Python that runs and a torch that only loads its cuDNN, for Windows' troubles with DLLs on any system.

Its torch "loads" torch/lib/cudnn64_9.dll by reading it: gone, cut off or of another version, as the real one would find it. pip is the
running Python's. Not here: real DLLs that are really loaded.
"""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pip

import pe_files

NAMES = ("cudnn64_9.dll", "cudnn_ops64_9.dll")
PACKAGE, VERSION = "lorabake-made-up-cudnn", "9.20.0.48"
FILE = f"{PACKAGE.replace('-', '_')}-{VERSION}-py3-none-win_amd64.whl"
TORCH = """
from pathlib import Path
from torch import version

LIB = Path(__file__).parent / "lib"
for name in ("cudnn64_9.dll", "cudnn_ops64_9.dll"):
    if not (LIB / name).is_file():
        raise OSError(f'[WinError 126] The specified module could not be found. Error loading "{LIB / name}" or one of its dependencies.')


class cuda:
    is_available = staticmethod(lambda: False)


class backends:
    class cudnn:
        @staticmethod
        def version():
            words = (LIB / "cudnn64_9.dll").read_bytes().rpartition(b"says ")[2]
            if words != (LIB / "cudnn_ops64_9.dll").read_bytes().rpartition(b"says ")[2]:
                raise RuntimeError("CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH")
            return int(words)
"""


def dll(name, numbers=(9, 20, 0, 48), *, says=None, texts=None):
    """A cuDNN that our torch takes for that version."""
    told = says or numbers[0] * 10000 + numbers[1] * 100 + numbers[2]
    return pe_files.dll(numbers, texts, tail=f"{name} says {told}".encode())


GOOD = {name: dll(name) for name in NAMES}


def environment(root: Path, dlls, *, number="001"):
    """A finished environment `root/001` that is the current one, with these DLLs in torch/lib."""
    env = root / number
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(env)], check=True)
    library = env / "Lib" / "site-packages"
    used = library if os.name == "nt" else next((env / "lib").glob("python3.*")) / "site-packages"
    # one folder of packages for both systems: Windows' own place, which Linux's Python is told of
    library.mkdir(parents=True, exist_ok=True)
    (used / "zz_others.pth").write_text(f"{library}\n{Path(pip.__file__).parents[1]}\n", encoding="utf-8")
    lib = library / "torch" / "lib"
    lib.mkdir(parents=True)
    (lib.parent / "__init__.py").write_text(TORCH, encoding="utf-8")
    (lib.parent / "version.py").write_text("cuda = '13.0'\n", encoding="utf-8")
    (library / "bitsandbytes").mkdir()
    for name, text in (("__init__.py", ""), ("cextension.py", "lib = object()\n"), ("libbitsandbytes_cuda130.dll", "")):
        (library / "bitsandbytes" / name).write_text(text, encoding="utf-8")
    for name, content in {"c10.dll": b"MZ", **dlls}.items():
        (lib / name).write_bytes(content)
    (root / "current.txt").write_text(f"{number}\n", encoding="utf-8")
    return env


def wheel(folder: Path, content=None):
    """NVIDIA's part, played by a wheel of that shape in a folder."""
    folder.mkdir(exist_ok=True)
    info = f"{FILE.rsplit('-', 3)[0]}.dist-info"
    with zipfile.ZipFile(folder / FILE, "w") as file:
        for name, one in (content or GOOD).items():
            file.writestr(f"nvidia/cudnn/bin/{name}", one)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {VERSION}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: lorabake\nRoot-Is-Purelib: true\nTag: py3-none-win_amd64\n")
        file.writestr(f"{info}/RECORD", "")
    return folder / FILE


def stack(folder: Path, archive: Path, content=None):
    """A stack whose dlls.json asks for that wheel."""
    folder.mkdir(exist_ok=True)
    dlls = {name: {"size": len(one), "sha256": hashlib.sha256(one).hexdigest()} for name, one in (content or GOOD).items()}
    facts = {"package": PACKAGE, "version": VERSION, "wheel": FILE, "size": archive.stat().st_size}
    facts |= {"sha256": hashlib.sha256(archive.read_bytes()).hexdigest(), "folder": "nvidia/cudnn/bin", "dlls": dlls}
    row = {"cuda": "13.0", "cudnn": "cu13", "from": "9.20.0", "below": None, "bitsandbytes": "libbitsandbytes_cuda130.dll"}
    row |= {"onnxruntime_cuda": 13}
    (folder / "dlls.json").write_text(json.dumps({"cudnn": {"cu13": facts}, "builds": {"cu130": row}}), encoding="utf-8")
    return folder

"""A folder for a PC without network, on Windows: filled with real wheels by its pip, installed from with every index dead."""

import json
import os
import shutil
import sys
import time

import pytest

import test_builder_real as real
import tools
import windows_house
from lorabake import paths, venvs
from windows_house import of_windows

pytestmark = pytest.mark.windows
PYTHON = r"C:\Python\python.exe" if os.name == "posix" else sys.executable
LIMIT_S = 600
DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from lorabake import builder, errors, hardware, offline_make, torch_builds
house = Path(sys.argv[2])
errors.LOGS = house / "logs"
builder.SELF_TEST = "print('fine')"
builder.TORCH_CODE = builder.TORCH_CODE.replace("assert float((torch.ones(8) @ torch.ones(8))) == 8.0", "")
builder.SET_CODE = "import yaml, colorama, torch, importlib.metadata; print('told ' + importlib.metadata.version('torch'))"
hardware.look = lambda: hardware.Seen(())
torch_builds.probe = lambda build: "not asked" if build.index else None
stack, stick = house / "stacks" / "current", house / "stick"
if sys.argv[3] == "make":
    errors.run(lambda: offline_make.make(stick, offline_make.Wish(), root=house / "venv", stack=stack, store=house / "none") or 0)
errors.run(lambda: print(builder.build(builder.Place(house / "venv", stack, stick))) or 0)
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    tools.windows()
    folder = tmp_path_factory.mktemp("w") / "My Loras \u00e9 & (1)"
    shutil.copytree(paths.STACK, folder / "stacks" / "current")
    pins = 'PyYAML==6.0.3\ncolorama==0.4.6 ; sys_platform == "win32"\n'
    (folder / "stacks" / "current" / venvs.REQUIREMENTS).write_text(pins, encoding="utf-8")
    (folder.parent / "index").mkdir()
    table = folder / "stacks" / "current" / venvs.TORCH
    paths.write_json(table, json.loads(table.read_text(encoding="utf-8")) | {"version": "0.0.9"})  # no index has that one
    real.wheel(folder.parent / "index", "torch", "0.0.9", {"torch/__init__.py": "class version:\n    cuda = None\n"})
    (folder / "driver.py").write_text(DRIVER, encoding="utf-8")
    return folder


def start(house, what, *variables):
    words = [PYTHON, of_windows(house / "driver.py"), of_windows(paths.ROOT / "py"), of_windows(house), what]
    return windows_house.start(house, *words, limit_s=LIMIT_S, variables=variables)


@pytest.mark.skipif(os.name == "nt", reason="sets pip up by variables of the small Windows")
def test_filled_and_installed_from(house):
    began = time.monotonic()
    done = start(house, "make", f"PIP_FIND_LINKS={of_windows(house.parent / 'index')}")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((house / "stick" / "lorabake-offline.json").read_text(encoding="utf-8"))
    assert told["system"] == "windows" and told["finished"] and len(told["files"]) == 4
    assert any("pyyaml-6.0.3-cp311-cp311-win_amd64" in name.lower() for name in told["files"]), told["files"]
    shutil.rmtree(house.parent / "index")
    wheel = next((house / "stick" / "wheels").glob("colorama*"))
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:-1] + b"x")
    done = start(house, "use", "PIP_INDEX_URL=http://127.0.0.1:9/simple")
    assert done.returncode == 1 and "is not the file that the folder was made with" in done.stderr, done.stdout + done.stderr
    wheel.write_bytes(whole)
    done = start(house, "use", "PIP_INDEX_URL=http://127.0.0.1:9/simple")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (house / "venv" / "current.txt").read_text(encoding="utf-8") == "001\n"
    assert venvs.read_stamp(house / "venv" / "001")["row"] == "own index"
    assert time.monotonic() - began < LIMIT_S

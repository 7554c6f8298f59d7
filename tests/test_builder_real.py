"""The builder with a real venv, a real pip and real kills; the packages are small stand-ins from a folder, so no network is needed."""

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from lorabake import installer, paths, venvs

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="kills whole process groups")]
NUM_MODULES = 4000  # so many that pip can be killed between the first and the last
DRIVER = """
import json, sys
from pathlib import Path
sys.path.insert(0, {py!r})
from lorabake import builder, errors
import re
builder.SELF_TEST = "print('fine')"
builder.TORCH_CODE = re.sub("assert.*", "", builder.TORCH_CODE)  # the stand-in cannot multiply
builder.SET_CODE = "import many.last, torch" + builder.SET_CODE[builder.SET_CODE.index("\\nimport importlib"):]
errors.LOGS = Path({logs!r})
place = builder.Place(Path({root!r}), Path({stack!r}))
errors.run(lambda: print((builder.add_tests if sys.argv[1:] else builder.build)(place)) or 0)
"""


def wheel(folder, name, version, files, needs=""):
    """A real wheel with real RECORD sizes."""
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: lorabake\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        for path, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            rows.append(f"{path},sha256={digest},{len(text)}")
            file.writestr(path, text)
        file.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,"]) + "\n")


@pytest.fixture
def workshop(tmp_path):
    wheels, stack = tmp_path / "wheels", tmp_path / "stack"
    wheels.mkdir()
    # as PyPI has it: 2.13.0 to pip, and it calls itself 2.13.0+cpu
    code = "__version__ = '2.13.0+cpu'\nclass version:\n    cuda = None\n"
    wheel(wheels, "torch", "2.13.0", {"torch/__init__.py": code})
    wheel(wheels, "torch", "2.14.0", {"torch/__init__.py": "__version__ = '2.14.0'\n"})
    wheel(wheels, "modest", "1.0", {"modest.py": ""}, "Requires-Dist: torch>=2.0\n")
    wheel(wheels, "greedy", "1.0", {"greedy.py": ""}, "Requires-Dist: torch>=2.14\n")
    modules = {f"many/m{n}.py": f"x = {n}\n" for n in range(NUM_MODULES)}
    wheel(wheels, "many", "1.0", {"many/__init__.py": "", **modules, "many/last.py": "x = 1\n"})
    shutil.copytree(paths.STACK, stack)
    (stack / venvs.REQUIREMENTS).write_text("many==1.0\nmodest==1.0\n", encoding="utf-8")
    driver = tmp_path / "driver.py"
    names = {"py": paths.ROOT / "py", "logs": tmp_path / "logs", "root": tmp_path / "venv", "stack": stack}
    driver.write_text(DRIVER.format(**{name: str(path) for name, path in names.items()}), encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "LORABAKE"))}
    variables.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels), PIP_NO_COMPILE="1")

    def start(*, tests=False):
        command = [sys.executable, str(driver), *(["tests"] if tests else [])]
        return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    return tmp_path / "venv", stack, start


def middle_of_packages(root, process, timeout_s=300):
    """Wait until pip has put some of the many modules in place; its process id."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        for env in venvs.numbered(root):
            package = venvs.library_of(env) / "many"
            if package.is_dir() and (env / "_half-made.json").exists() and not (package / "last.py").exists():
                return json.loads((env / "_half-made.json").read_text(encoding="utf-8"))["pid"]
        time.sleep(0.002)
    pytest.fail(f"pip was never in the middle: {process.communicate()[0]}")


def whole(root, stack):
    env = venvs.current(root)
    assert env is not None
    assert venvs.why_not(env, stack) == ""
    assert installer.broken_packages(env) == []
    done = subprocess.run(
        [str(venvs.python_of(env)), "-c", "import torch, many.last; print(torch.__version__)"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "2.13.0+cpu\n"
    return env


def test_kills_and_two_starts(workshop):
    root, stack, start = workshop
    first = start()
    os.kill(middle_of_packages(root, first), signal.SIGKILL)
    said = first.communicate()[0]
    assert first.returncode == 1, said
    assert "log: " in said
    assert venvs.current(root) is None

    second = start()
    middle_of_packages(root, second)
    os.killpg(second.pid, signal.SIGKILL)  # power cut: builder and pip
    second.communicate()
    assert venvs.current(root) is None
    assert not (root / "001" / venvs.STAMP).exists()

    both = [start(), start()]
    told = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert sum("going on with 001" in text for text in told) == 1
    assert not any("torch cpu:" in text or "torch:" in text for text in told)
    assert whole(root, stack).name == "001"

    third = start()
    assert third.communicate()[0].splitlines()[-1] == str(root / "001")

    (stack / venvs.TESTS).write_text("greedy==1.0\n", encoding="utf-8")  # a later step that wants another torch
    fourth = start(tests=True)
    said = fourth.communicate()[0]
    assert fourth.returncode == 1, said
    assert "log: " in said
    assert whole(root, stack).name == "001"


def test_the_builder_alone_is_killed_and_its_pip_goes_on(workshop):
    root, stack, start = workshop
    first = start()
    pid = middle_of_packages(root, first)
    os.kill(pid, signal.SIGSTOP)  # a slow pip
    os.kill(first.pid, signal.SIGKILL)
    second = start()
    said = second.communicate()[0]
    assert second.returncode == 0, said
    assert "001 is left alone" in said
    assert whole(root, stack).name == "002"
    os.kill(pid, signal.SIGKILL)
    first.communicate()

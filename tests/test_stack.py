"""The pinned sets: exact, whole, and still what pip's own resolver finds for every Python and system that we promise."""

import json
import os
import re
import subprocess
import sys
import zipfile

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lorabake import environment, paths, torch_builds, venvs

PIN = re.compile(r"^[A-Za-z0-9._-]+==[A-Za-z0-9.]+( ; .+)?$")
LINUX_TAGS = [f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)] + ["manylinux2014_x86_64", "linux_x86_64"]
SYSTEMS = {
    "linux": (LINUX_TAGS, {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"}),
    "windows": (["win_amd64"], {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"}),
}
# What torch's wheels for Windows ask for, and those for Linux beside their CUDA packages (their metadata on PyPI, 2.7.1 and 2.13.0).
TORCH_NEEDS = {
    "2.7.1": [
        "filelock",
        "typing-extensions>=4.10.0",
        "setuptools ; python_version >= '3.12'",
        "sympy>=1.13.3",
        "networkx",
        "jinja2",
        "fsspec",
    ],
    "2.13.0": [
        "filelock",
        "typing-extensions>=4.10.0",
        "setuptools>=77.0.3",
        "sympy>=1.13.3",
        "networkx>=2.5.1",
        "jinja2",
        "fsspec>=0.8.5",
    ],
}
STACKS = sorted(path for path in paths.STACK.parent.iterdir() if path.is_dir())
FILES = [stack / name for stack in STACKS for name in (venvs.REQUIREMENTS, venvs.TESTS) if (stack / name).is_file()]


def each(things):
    return pytest.mark.parametrize("one", things, ids=[path.relative_to(paths.STACK.parent).as_posix() for path in things])


def lines(path):
    text = path.read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def names_of(path):
    return [canonicalize_name(Requirement(line).name) for line in lines(path)]


def torch_of(stack):
    return json.loads((stack / venvs.TORCH).read_text(encoding="utf-8"))["version"]


@each(FILES)
def test_every_line_is_one_exact_version(one):
    assert [line for line in lines(one) if not PIN.match(line)] == []
    assert len(names_of(one)) == len(set(names_of(one)))


@each(FILES)
def test_torch_is_only_in_its_table_and_torchvision_nowhere(one):
    assert not {"torch", "torchvision", "torchaudio"} & set(names_of(one))


@each(STACKS)
def test_what_the_library_needs_is_pinned(one):
    names = set(names_of(one / venvs.REQUIREMENTS))
    assert {canonicalize_name(name) for name in environment.NEEDED.values()} - names == {"torch"}


def test_the_current_stack_has_what_the_tests_need():
    assert paths.STACK / venvs.TESTS in FILES


def stub_torch(folder, version):
    """A wheel that is torch by name and needs, so that the resolver is asked about everything else without gigabytes moving."""
    info = f"torch-{version}+stub.dist-info/"
    needs = "".join(f"Requires-Dist: {need}\n" for need in TORCH_NEEDS[version])
    with zipfile.ZipFile(folder / f"torch-{version}+stub-py3-none-any.whl", "w") as wheel:
        wheel.writestr(info + "METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}+stub\n{needs}")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: lorabake\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", "")


def resolve(folder, python, tags, wanted):
    """What pip's resolver would install: {canonical name: (version, its requirements)}."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--only-binary=:all:", "--quiet"]
    command += ["--target", str(folder / "nowhere"), "--python-version", python, "--find-links", str(folder)]
    command += [word for tag in tags for word in ("--platform", tag)]
    report = folder / "report.json"
    command += ["--report", str(report), *wanted]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env={**os.environ, "PIP_USER": "0"}, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
    return {canonicalize_name(item["name"]): (item["version"], item.get("requires_dist", [])) for item in found}


def applies(marker: Marker | None, python, values):
    full = {**values, "python_version": python, "python_full_version": f"{python}.4", "implementation_name": "cpython"}
    return marker is None or marker.evaluate({**full, "platform_python_implementation": "CPython", "extra": ""})


@pytest.mark.slow
@each(STACKS)
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_pips_resolver_agrees(python, system, one, tmp_path):
    """Every pin, and nothing else, from wheels alone: none comes as source only, which a PC without a compiler could not install."""
    tags, values = SYSTEMS[system]
    stub_torch(tmp_path, torch_of(one))
    files = [path for path in FILES if path.parent == one]
    found = resolve(tmp_path, python, tags, [f"torch=={torch_of(one)}+stub", *(word for path in files for word in ("-r", str(path)))])
    pins = [Requirement(line) for path in files for line in lines(path)]
    pinned = {canonicalize_name(pin.name): pin for pin in pins if applies(pin.marker, python, values)}
    assert set(found) - set(pinned) == {"torch"}
    # pip judges the markers of requirements by the Python it runs in, so what is needed on the other systems is worked out here
    for name, (_, needs) in found.items():
        for need in map(Requirement, needs):
            if applies(need.marker, python, values) and canonicalize_name(need.name) != "torch":
                pin = pinned.get(canonicalize_name(need.name))
                assert pin is not None, f"{name} needs {need} on {system}, and it is not pinned"
                assert need.specifier.contains(next(iter(pin.specifier)).version, prereleases=True), f"{name} needs {need}, pinned is {pin}"


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_onnxruntime_for_the_card_has_a_wheel_for_windows(python, tmp_path):
    """What takes the place of the pinned one where there is a card."""
    wanted = {build.onnxruntime for stack in STACKS for build in torch_builds.rows(windows=True, table=stack / venvs.TORCH)}
    for requirement in filter(None, wanted):
        assert set(resolve(tmp_path, python, ["win_amd64"], ["--no-deps", requirement])) == {"onnxruntime-gpu"}

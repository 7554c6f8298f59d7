"""What torch needs on Windows: the manifests against the locks and the pinned wheels, and the judgement of what is there."""

import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest
from packaging.requirements import Requirement

from lorabake import dll_needs, paths, torch_builds, venvs
from lorabake.dll_needs import Change, Found

STACKS = sorted(path for path in paths.STACK.parent.iterdir() if (path / venvs.TORCH).is_file())
NEEDS = dll_needs.read(paths.STACK)
CU130, CU126, CPU = NEEDS["cu130"], NEEDS["cu126"], NEEDS["cpu"]


def each_stack():
    return pytest.mark.parametrize("stack", STACKS, ids=[path.name for path in STACKS])


def own(need=CU130, numbers=(9, 20, 0, 48)):
    """torch's own cuDNN, as the wheel brought it."""
    return [Found(name, size, numbers, own=True) for name, (size, _) in need.wheel.dlls.items()]


def test_torchs_own_fits():
    assert dll_needs.judge(CU130, own()) == []
    assert dll_needs.judge(CU126, own(CU126, (9, 10, 2, 21))) == []
    assert dll_needs.judge(CPU, []) == [] and dll_needs.plan(CPU, []) == []


def changed(**more):
    return [*own()[:-1], replace(own()[-1], own=False, **more)]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "torch/lib lacks cudnn64_9.dll, cudnn_adv64_9.dll, cudnn_cnn64_9.dll and 5 more"),
        ([Found("cudnn64_8.dll", 5, (8, 9, 7, 29))], "there is generation 8, which this torch cannot use"),
        (changed(numbers=(9, 1, 0, 70)), "cudnn_ops64_9.dll: version 9.1.0.70 is older than 9.20.0"),
        (changed(numbers=(9, 28, 1, 4)), "mixes cuDNN 9.20.0.48 and 9.28.1.4"),
        (changed(whose="cuDNN for everybody / somebody"), "cudnn_ops64_9.dll is not NVIDIA's: cuDNN for everybody"),
        (changed(trouble="is damaged (the file is cut off or damaged)", numbers=()), "torch/lib/cudnn_ops64_9.dll is damaged"),
        (changed(trouble="is gone", numbers=()), "torch/lib/cudnn_ops64_9.dll is gone"),
    ],
)
def test_what_is_wrong_is_named(found, said):
    problems = dll_needs.judge(CU130, found)
    assert len(problems) == 1 and said in problems[0].text, problems
    assert problems[0].fatal == ("NVIDIA's" not in said)


def test_one_that_leaves_out_old_cards_is_named_where_they_are_served():
    newer = [replace(dll, own=False, numbers=(9, 12, 0, 46)) for dll in own(CU126)]
    (problem,) = dll_needs.judge(CU126, newer)
    assert "leaves out cards that this torch serves (from 9.11.0 on)" in problem.text and not problem.fatal


def test_a_newer_whole_set_fits():
    assert dll_needs.judge(CU130, [replace(dll, own=False, numbers=(9, 28, 1, 4)) for dll in own()]) == []
    assert dll_needs.judge(CU130, [*own(), Found("cudnn_ops_infer64_8.dll", 5, (8, 9, 7, 29), whose="x")]) == [], "a relic does no harm"


def test_the_plan_puts_one_whole_set_there():
    names = list(CU130.wheel.dlls)
    assert dll_needs.plan(CU130, []) == [Change(name, True) for name in sorted(names)]
    extra = Found("CuDNN_ext64_9.dll", 7, (9, 28, 1, 4))
    assert dll_needs.plan(CU130, [*own(), extra])[-1] == Change("CuDNN_ext64_9.dll", False)
    there = [replace(dll, put=True) for dll in own()]
    assert dll_needs.plan(CU130, there) == [], "twice is once"
    assert dll_needs.plan(CU130, there[1:]) == [Change(there[0].name, True)]


def test_whose_it_is():
    recent = {
        "CompanyName": "Windows (R) Win 7 DDK provider",
        "ProductName": "NVIDIA cuDNN Library",
        "LegalCopyright": "(c) NVIDIA CORPORATION",
    }
    assert dll_needs.whose(recent) == ""
    assert dll_needs.whose({**recent, "LegalCopyright": "(c) somebody"}) == "NVIDIA cuDNN Library / (c) somebody"
    assert dll_needs.whose({"CompanyName": "NVIDIA"}) == "nobody's"


@pytest.mark.parametrize(
    ("text", "build"),
    [
        ("cuda: Optional[str] = '13.0'\n", "cu130"),
        ("debug = False\ncuda = '12.6'\n", "cu126"),
        ("cuda: Optional[str] = None\n", "cpu"),
        ("", "cpu"),
    ],
)
def test_the_build_by_torchs_own_words(text, build):
    assert dll_needs.build_of(text) == build


def test_generations():
    names = [
        "cudnn64_9.dll",
        "cudnn_engines_precompiled64_9.dll",
        "cudnn_ops_infer64_8.dll",
        "cudart64_12.dll",
        "CUDNN64_7.DLL",
        "cudnn.dll",
    ]
    assert [dll_needs.generation_of(name) for name in names] == ["9", "9", "8", "", "7", ""]


def test_a_stack_without_the_file_asks_for_nothing(tmp_path):
    assert dll_needs.read(tmp_path) == {}


# The manifests against the locks.


@each_stack()
def test_every_build_has_a_row_with_its_source(stack):
    table = json.loads((stack / venvs.TORCH).read_text(encoding="utf-8"))
    data = json.loads((stack / dll_needs.MANIFEST).read_text(encoding="utf-8"))
    assert set(data["builds"]) == {row["name"] for row in table["builds"]}
    for row in [*data["builds"].values(), *data["cudnn"].values()]:
        assert re.search(r"looked (up|at)|read on", row["source"]) and re.search(r"20\d\d-\d\d-\d\d", row["source"])
    for wheel in data["cudnn"].values():
        assert wheel["wheel"] == f"{wheel['package'].replace('-', '_')}-{wheel['version']}-py3-none-win_amd64.whl"
        assert re.fullmatch("[0-9a-f]{64}", wheel["sha256"]) and wheel["size"] > 100 << 20
        assert all(re.fullmatch("[0-9a-f]{64}", dll["sha256"]) and dll["size"] for dll in wheel["dlls"].values())


@each_stack()
def test_the_rows_fit_the_builds(stack):
    table = {build.name: build for build in torch_builds.rows(windows=True, table=stack / venvs.TORCH)}
    for name, need in dll_needs.read(stack).items():
        assert (need.wheel is None) == (table[name].compute is None)
        if need.wheel is None:
            assert (need.cuda, need.bitsandbytes) == ("", "libbitsandbytes_cpu.dll")
            continue
        major, minor = need.cuda.split(".")
        assert name == f"cu{major}{minor}"
        assert need.wheel.package == f"nvidia-cudnn-cu{major}"
        assert (
            need.oldest <= dll_needs.numbers(need.wheel.version)
            and dll_needs.judge(need, own(need, dll_needs.numbers(need.wheel.version))) == []
        )
        assert bool(need.below) == (table[name].compute[0] < (7, 5)), "cuDNN 9.11 left out compute 5.0 to 7.0"
        assert need.bitsandbytes == f"libbitsandbytes_cuda{major}{minor}.dll"


def onnxruntimes(stack):
    return {build.name: Requirement(build.onnxruntime) for build in torch_builds.rows(table=stack / venvs.TORCH) if build.onnxruntime}


@each_stack()
def test_onnxruntime_for_the_card_is_built_for_torchs_cuda(stack):
    needs = dll_needs.read(stack)
    for name in onnxruntimes(stack):
        assert str(needs[name].onnxruntime_cuda) == needs[name].cuda.split(".")[0]
    assert {name for name, need in needs.items() if need.onnxruntime_cuda} == set(onnxruntimes(stack))


# What the pinned wheels say themselves: asked of the package index.


def asked(requirement, tmp_path, *words):
    """pip's report of the wheel for 64-bit Windows; nothing is installed."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--only-binary=:all:"]
    command += [
        "--target",
        str(tmp_path / "nowhere"),
        "--platform",
        "win_amd64",
        "--report",
        str(tmp_path / "report.json"),
        *words,
        requirement,
    ]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["install"][0]


@pytest.mark.slow
@each_stack()
def test_onnxruntimes_own_metadata_names_that_cuda(stack, tmp_path):
    for name, requirement in onnxruntimes(stack).items():
        needs = asked(str(requirement), tmp_path, "--python-version", "3.12")["metadata"]["requires_dist"]
        runtime = [Requirement(need) for need in needs if re.match(r"nvidia-cuda-runtime\b", need)]
        cudnn = [Requirement(need) for need in needs if need.startswith("nvidia-cudnn")]
        need = dll_needs.read(stack)[name]
        assert [next(iter(one.specifier)).version.split(".")[0] for one in runtime] == [str(need.onnxruntime_cuda)], needs
        assert [one.name for one in cudnn] == [need.wheel.package] and cudnn[0].specifier.contains(need.wheel.version)


@pytest.mark.slow
@each_stack()
def test_nvidias_wheels_are_those_of_the_index(stack, tmp_path):
    for need in {need.wheel.package: need for need in dll_needs.read(stack).values() if need.wheel}.values():
        found = asked(f"{need.wheel.package}=={need.wheel.version}", tmp_path, "--python-version", "3.12")["download_info"]
        assert found["url"].endswith(need.wheel.file)
        assert found["archive_info"]["hashes"]["sha256"] == need.wheel.sha256


@pytest.mark.slow
@each_stack()
def test_bitsandbytes_has_its_library_for_every_build(stack, tmp_path):
    (pin,) = [
        line.strip() for line in (stack / venvs.REQUIREMENTS).read_text(encoding="utf-8").splitlines() if line.startswith("bitsandbytes==")
    ]
    words = ["download", "--no-deps", "--quiet", "--only-binary=:all:", "--platform", "win_amd64", "--python-version", "3.12"]
    command = [sys.executable, "-m", "pip", *words, "-d", str(tmp_path), pin]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(next(tmp_path.glob("bitsandbytes-*win_amd64.whl"))) as wheel:
        names = {name.removeprefix("bitsandbytes/") for name in wheel.namelist()}
    assert {need.bitsandbytes for need in dll_needs.read(stack).values()} <= names

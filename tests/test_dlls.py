"""A torch that does not load its cuDNN gets NVIDIA's, by the real pip and in real child processes; one that loads is left as it is."""

import json
import subprocess
import sys

import pytest

import made_up_torch
from lorabake import dll_files, dlls, installer, paths
from lorabake.errors import UserError
from test_dll_files import env_with, state

FOREIGN = {"ProductName": "cuDNN for all", "LegalCopyright": "somebody"}


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """A stack whose wheel lies in a folder that pip looks into, and in no index."""
    archive = made_up_torch.wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", archive.parent.as_uri())
    return made_up_torch.stack(tmp_path / "stack", archive)


def mend(env, stack, tmp_path, **more):
    return dlls.mend(env, stack, log=lambda: tmp_path / "setup.log", temp=tmp_path / "_tmp-1", **more)


def lib_of(env):
    return {path.name: path.read_bytes() for path in (env / "Lib" / "site-packages" / "torch" / "lib").iterdir()}


def test_a_torch_without_cudnn_gets_nvidias_and_it_is_undone(tmp_path, offline, capsys):
    env = made_up_torch.environment(tmp_path / "venv", {})
    before = lib_of(env)
    assert [row[0] for row in dlls.findings(env, offline)] == ["FAIL"] and dlls.wrong(env, offline)
    assert mend(env, offline, tmp_path)
    said = capsys.readouterr().err
    assert "torch does not load: [WinError 126]" in said and "cuDNN 9.20.0.48 loads" in said
    assert lib_of(env) == {**before, **made_up_torch.GOOD}
    assert dlls.findings(env, offline)[0] == ("OK", f"cuDNN 9.20.0.48, put there from NVIDIA's wheel ({dlls.UNDO} takes it out)", "")
    assert not mend(env, offline, tmp_path), "the second time nothing is to do"
    assert not list(tmp_path.glob("_tmp-*"))
    assert dlls.undo(env.parent) == "2 DLLs of 001 are as they were before"
    assert lib_of(env) == before and not (env / dll_files.LOG).exists() and not (env / dll_files.KEPT).exists()
    assert dlls.undo(env.parent) == "nothing was put into 001: there is nothing to undo"


def test_half_a_set_copied_over_is_replaced_by_a_whole_one(tmp_path, offline, capsys):
    older = made_up_torch.dll("cudnn64_9.dll", (9, 1, 0, 70))
    env = made_up_torch.environment(tmp_path / "venv", {**made_up_torch.GOOD, "cudnn64_9.dll": older})
    assert mend(env, offline, tmp_path, thorough=False)
    said = capsys.readouterr().err
    assert "cudnn64_9.dll: version 9.1.0.70 is older than 9.20.0" in said and "SUBLIBRARY_VERSION_MISMATCH" in said
    assert lib_of(env)["cudnn64_9.dll"] == made_up_torch.GOOD["cudnn64_9.dll"]
    dlls.undo(env.parent)
    assert lib_of(env)["cudnn64_9.dll"] == older


def test_a_foreign_one_that_loads_is_named_and_left(tmp_path, offline, capsys):
    foreign = {name: made_up_torch.dll(name, texts=FOREIGN) for name in made_up_torch.NAMES}
    env = made_up_torch.environment(tmp_path / "venv", foreign)
    before = state(env)
    assert not mend(env, offline, tmp_path, thorough=False)
    assert "a note: cuDNN: torch/lib/cudnn64_9.dll is not NVIDIA's: cuDNN for all / somebody; it loads" in capsys.readouterr().err
    assert {name: content for name, content in state(env).items() if not name.endswith(".pyc")} == before
    (row, *_) = dlls.findings(env, offline)
    assert row[0] == "WARN" and "not NVIDIA's" in row[1] and f"delete the folder {env}" in row[2]
    assert not dlls.wrong(env, offline), "setup has nothing to mend"


def test_what_does_not_help_is_undone(tmp_path, monkeypatch, capsys):
    wrong = {name: made_up_torch.dll(name, says=90100) for name in made_up_torch.NAMES}
    archive = made_up_torch.wheel(tmp_path / "wheels", wrong)
    stack = made_up_torch.stack(tmp_path / "stack", archive, wrong)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", archive.parent.as_uri())
    env = made_up_torch.environment(tmp_path / "venv", {"cudnn64_9.dll": made_up_torch.dll("x", (9, 1, 0, 70))})
    before = lib_of(env)
    assert not mend(env, stack, tmp_path)
    assert "that did not help (cuDNN 90100 is older than torch's own): everything is as it was before" in capsys.readouterr().err
    assert lib_of(env) == before and not (env / dll_files.LOG).exists()


def test_a_break_leaves_everything_as_it_was(tmp_path, offline, monkeypatch):
    env = made_up_torch.environment(tmp_path / "venv", {"cudnn64_9.dll": made_up_torch.dll("x", (9, 1, 0, 70))})
    before = lib_of(env)
    whole = dll_files._take

    def breaking(zipped, member, target, sha256):
        if target.name == made_up_torch.NAMES[1]:
            raise KeyboardInterrupt
        whole(zipped, member, target, sha256)

    monkeypatch.setattr(dll_files, "_take", breaking)
    with pytest.raises(KeyboardInterrupt):
        mend(env, offline, tmp_path)
    assert lib_of(env) == before and not (env / dll_files.LOG).exists()


def test_another_file_of_that_name_is_refused_by_its_hash(tmp_path, offline):
    made_up_torch.wheel(tmp_path / "wheels", {**made_up_torch.GOOD, "more.dll": b"not NVIDIA's"})
    env = made_up_torch.environment(tmp_path / "venv", {})
    before = lib_of(env)
    with pytest.raises(UserError, match="the installation failed"):
        mend(env, offline, tmp_path)
    assert lib_of(env) == before
    assert "Expected sha256" in (tmp_path / "setup.log").read_text(encoding="utf-8")


def test_a_dll_that_takes_the_process_with_it_is_trouble_too(tmp_path, offline, capsys):
    env = made_up_torch.environment(tmp_path / "venv", {"cudnn64_9.dll": made_up_torch.dll("x", (9, 1, 0, 70))})
    init = env / "Lib" / "site-packages" / "torch" / "__init__.py"
    init.write_text(made_up_torch.TORCH.replace("raise OSError", "__import__('os')._exit(5); raise OSError"), encoding="utf-8")
    assert mend(env, offline, tmp_path, thorough=False)
    assert "torch does not load: it does not import: code 5" in capsys.readouterr().err


def test_a_step_that_imports_is_tried_again_after_the_mending(tmp_path, offline):
    env = made_up_torch.environment(tmp_path / "venv", {})
    more = {"log": lambda: tmp_path / "setup.log", "temp": tmp_path / "_tmp-1"}
    assert dlls.loaded(env, offline, "import torch; print('told', torch.backends.cudnn.version())", **more) == "92000"
    with pytest.raises(UserError, match="does not import"):
        dlls.loaded(env, offline, "import nothing_like_it", **more)


def test_nothing_is_to_do_on_linux(tmp_path, monkeypatch):
    monkeypatch.setattr(installer, "imported", lambda *_: pytest.fail("nothing may be started"))
    (tmp_path / "lib" / "python3.12" / "site-packages" / "torch").mkdir(parents=True)
    assert not mend(tmp_path, paths.STACK, tmp_path)
    assert dlls.findings(tmp_path) == []


@pytest.mark.slow
def test_the_proof_runs_in_the_real_environment():
    """The real torch and bitsandbytes of this Python; on the CPU build nothing is asked of cuDNN."""
    pytest.importorskip("bitsandbytes")
    proof = json.loads(installer.imported(sys.executable, dlls.proof_code()))
    assert proof["torch"] == "" and proof["eight_bit"] == ""


def test_the_tiny_model_is_a_sum():
    onnx = pytest.importorskip("onnx")
    number = onnx.TensorProto.FLOAT
    ends = [[onnx.helper.make_tensor_value_info(name, number, [1])] for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "x"], ["y"])], "g", *ends)
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 13)])
    assert model.SerializeToString().hex() == dlls.TINY_MODEL


def rows(tmp_path, **more):
    env = env_with(tmp_path, more.pop("dlls", {}), **more)
    library = env / "Lib" / "site-packages"
    return env, library, lambda: [(status, found) for status, found, _ in dlls.findings(env, paths.STACK)]


def test_the_doctor_hears_of_bitsandbytes_and_onnxruntime(tmp_path):
    _, library, found = rows(tmp_path, cuda="None")
    assert found() == [("OK", "torch's CPU build needs no cuDNN")]
    (library / "bitsandbytes").mkdir()
    assert found()[1][0] == "WARN" and "no libbitsandbytes_cpu.dll for this torch" in found()[1][1]
    (library / "torch" / "version.py").write_text("cuda = '13.0'\n", encoding="utf-8")
    capi = library / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    (capi / "build_and_package_info.py").write_text("package_name = 'onnxruntime-gpu'\ncuda_version = '12.8'\n", encoding="utf-8")
    assert ("WARN", "onnxruntime-gpu is built for CUDA 12, torch for 13.0: pictures are tagged on the processor") in found()
    (library / "torch" / "version.py").write_text("cuda = '99.0'\n", encoding="utf-8")
    assert found() == [("WARN", "torch's build cu990 is not in dlls.json")]


def test_relics_and_a_set_of_somebodys_are_told(tmp_path):
    need = dlls.need_of(env_with(tmp_path, {}), paths.STACK)
    env = tmp_path / "other"
    env.mkdir()
    dlls_there = {name: made_up_torch.dll(name, (9, 28, 1, 4)) for name in need.wheel.dlls}
    env, _, found = rows(env, dlls={**dlls_there, "cudnn_ops_infer64_8.dll": made_up_torch.dll("x", (8, 9, 7, 29))})
    assert found() == [
        ("OK", "cuDNN 9.28.1.4, which somebody put over torch's own; it fits"),
        ("WARN", "torch/lib holds cudnn_ops_infer64_8.dll, which this torch never loads"),
    ]


def test_setup_takes_the_word(monkeypatch, tmp_path, capsys):
    from lorabake import setup_job, setup_words

    monkeypatch.setattr(paths, "VENV", tmp_path / "none")
    with pytest.raises(UserError, match="there is no environment"):
        setup_job.main(setup_words.parse(None, ["-UndoDlls"]))
    made_up_torch.environment(tmp_path / "venv", {})
    monkeypatch.setattr(paths, "VENV", tmp_path / "venv")
    assert setup_job.main(setup_words.parse(None, ["--undo-dlls"])) == 0
    assert "nothing to undo" in capsys.readouterr().out


def test_nothing_of_the_real_stack_is_asked_of_an_unknown_python(tmp_path):
    """The file of the current stack reads, in a Python without anything installed."""
    code = "from lorabake import dll_needs, paths; print(sorted(dll_needs.read(paths.STACK)))"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=paths.ROOT / "py", capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "['cpu', 'cu126', 'cu130', 'cu132']", done.stderr

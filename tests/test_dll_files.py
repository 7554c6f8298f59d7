"""DLLs in an environment: seen for what they are, put in their place whole or not at all, put back byte for byte."""

import base64
import hashlib
import json
import zipfile

import pytest

import pe_files
from lorabake import dll_files, dll_needs
from lorabake.dll_needs import Change, Wheel
from lorabake.errors import UserError

NEW = {name: pe_files.dll(tail=name.encode()) for name in ("cudnn64_9.dll", "cudnn_ops64_9.dll")}
OLD = pe_files.dll((9, 1, 0, 70))


def sha256(content):
    return hashlib.sha256(content).hexdigest()


WHEEL = Wheel(
    "nvidia-cudnn-cu13",
    "9.20.0.48",
    "nvidia_cudnn_cu13-9.20.0.48-py3-none-win_amd64.whl",
    0,
    "0" * 64,
    "nvidia/cudnn/bin",
    {name: (len(content), sha256(content)) for name, content in NEW.items()},
)


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / WHEEL.file
    with zipfile.ZipFile(path, "w") as file:
        for name, content in NEW.items():
            file.writestr(f"{WHEEL.folder}/{name}", content)
    return path


def env_with(tmp_path, dlls, *, brought=None, cuda="'13.0'"):
    """A Windows environment with these DLLs in torch/lib; `brought` is what torch's RECORD says it came with."""
    env = tmp_path / "env \u732b"
    lib = env / "Lib" / "site-packages" / "torch" / "lib"
    lib.mkdir(parents=True)
    for name, content in {"c10.dll": b"MZ", **dlls}.items():
        (lib / name).write_bytes(content)
    (lib.parent / "version.py").write_text(f"cuda: Optional[str] = {cuda}\n", encoding="utf-8")
    rows = [
        f"torch/lib/{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(c).digest()).decode()[:-1]},{len(c)}"
        for name, c in (brought or {}).items()
    ]
    info = lib.parents[1] / "torch-2.13.0+cu130.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("\n".join([*rows, "torch/version.py,,"]) + "\n", encoding="utf-8")
    return env


def state(env):
    """Every file of the environment with its bytes."""
    return {path.relative_to(env).as_posix(): path.read_bytes() for path in sorted(env.rglob("*")) if path.is_file()}


def test_what_is_there(tmp_path):
    foreign = pe_files.dll((9, 20, 0, 48), {"ProductName": "cuDNN for all", "LegalCopyright": "somebody"})
    dlls = {
        **NEW,
        "cudnn_adv64_9.dll": foreign,
        "cudnn_cnn64_9.dll": OLD,
        "cudnn_graph64_9.dll": OLD[:500],
        "cudnn64_8.dll": pe_files.dll((8, 9, 0, 1)),
        "cublas64_13.dll": OLD,
    }
    env = env_with(tmp_path, dlls, brought={**NEW, "cudnn_cnn64_9.dll": NEW["cudnn64_9.dll"], "cudnn_heuristic64_9.dll": OLD})
    found = {dll.name: dll for dll in dll_files.look(env)}
    assert set(found) == {*dlls, "cudnn_heuristic64_9.dll"} - {"cublas64_13.dll"}
    assert found["cudnn64_9.dll"].own and found["cudnn64_9.dll"].numbers == (9, 20, 0, 48)
    assert not found["cudnn_cnn64_9.dll"].own and found["cudnn_cnn64_9.dll"].text == "9.1.0.70"
    assert found["cudnn_adv64_9.dll"].whose == "cuDNN for all / somebody"
    assert "damaged" in found["cudnn_graph64_9.dll"].trouble
    assert found["cudnn_heuristic64_9.dll"].trouble == "is gone"
    assert (dll_files.for_windows(env), dll_files.build_of(env)) == (True, "cu130")


def test_an_environment_for_linux_is_none_of_it(tmp_path):
    (tmp_path / "lib" / "python3.12" / "site-packages" / "torch" / "lib").mkdir(parents=True)
    assert not dll_files.for_windows(tmp_path) and dll_files.build_of(tmp_path) == "" and dll_files.look(tmp_path) == []


CHANGES = [Change("cudnn64_9.dll", True), Change("cudnn_ops64_9.dll", True), Change("cudnn_ext64_9.dll", False)]


def test_put_and_undone_byte_for_byte(tmp_path, archive):
    env = env_with(tmp_path, {"cudnn64_9.dll": OLD, "cudnn_ext64_9.dll": b"extra"})
    before = state(env)
    dll_files.put(env, CHANGES, WHEEL, archive)
    lib = env / "Lib" / "site-packages" / "torch" / "lib"
    assert {path.name for path in lib.iterdir()} == {"c10.dll", *NEW}
    assert all((lib / name).read_bytes() == content for name, content in NEW.items())
    assert all(dll.put for dll in dll_files.look(env))
    log = json.loads((env / dll_files.LOG).read_text(encoding="utf-8"))
    assert log["wheel"] == WHEEL.file and log["files"]["cudnn_ops64_9.dll"]["kept"] is None
    once = state(env)
    dll_files.put(env, CHANGES, WHEEL, archive)
    assert state(env) == once, "twice is once, and what was there first stays kept"
    assert dll_files.undo(env) == (["cudnn64_9.dll", "cudnn_ext64_9.dll", "cudnn_ops64_9.dll"], [])
    assert state(env) == before


def test_a_break_in_the_middle_is_undone(tmp_path, archive, monkeypatch):
    env = env_with(tmp_path, {"cudnn64_9.dll": OLD, "cudnn_ops64_9.dll": OLD, "cudnn_ext64_9.dll": b"extra"})
    before = state(env)
    whole = dll_files._take
    for breaks_at in ("cudnn64_9.dll", "cudnn_ops64_9.dll"):

        def breaking(zipped, member, target, sha256, where=breaks_at):
            if target.name == where:
                raise KeyboardInterrupt
            whole(zipped, member, target, sha256)

        monkeypatch.setattr(dll_files, "_take", breaking)
        with pytest.raises(KeyboardInterrupt):
            dll_files.put(env, CHANGES, WHEEL, archive)
        assert dll_files.read_log(env)["files"]
        assert dll_files.undo(env)[1] == []
        assert state(env) == before


def test_what_is_not_in_the_wheel_or_another_file_is_refused(tmp_path, archive):
    env = env_with(tmp_path, {"cudnn64_9.dll": OLD})
    wrong = {**WHEEL.dlls, "cudnn64_9.dll": (5, "1" * 64), "cudnn_adv64_9.dll": (5, "1" * 64)}
    wheel = Wheel(*[getattr(WHEEL, name) for name in ("package", "version", "file", "size", "sha256", "folder")], wrong)
    before = state(env)
    for name, said in (("cudnn64_9.dll", "not the file that it should be"), ("cudnn_adv64_9.dll", "cannot be taken out")):
        with pytest.raises(UserError, match=said):
            dll_files.put(env, [Change(name, True)], wheel, archive)
        dll_files.undo(env)
        assert state(env) == before


def test_what_somebody_changed_since_is_left_alone(tmp_path, archive):
    env = env_with(tmp_path, {"cudnn64_9.dll": OLD})
    dll_files.put(env, CHANGES[:2], WHEEL, archive)
    mine = env / "Lib" / "site-packages" / "torch" / "lib" / "cudnn64_9.dll"
    mine.write_bytes(b"newer")
    assert dll_files.undo(env) == (["cudnn_ops64_9.dll"], ["cudnn64_9.dll"])
    assert mine.read_bytes() == b"newer" and (env / dll_files.KEPT / "cudnn64_9.dll").read_bytes() == OLD
    assert not mine.with_name("cudnn_ops64_9.dll").exists()


def test_a_log_of_anything_else_is_no_log(tmp_path):
    for text in ("", "[]", '{"files": 1}'):
        (tmp_path / dll_files.LOG).write_text(text, encoding="utf-8")
        assert dll_files.read_log(tmp_path) == {}
    assert dll_files.undo(tmp_path) == ([], [])


def test_the_pattern_of_pip_and_ours_are_one():
    from lorabake import installer

    assert installer.JUDGED_ELSEWHERE.match("torch/lib/cudnn_ops64_9.dll") and dll_needs.CUDNN.fullmatch("cudnn_ops64_9.dll")
    assert not installer.JUDGED_ELSEWHERE.match("torch/lib/c10.dll")

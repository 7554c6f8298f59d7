"""Each way to fail has its exit code and its sentence."""

import errno
import pickle
from pathlib import Path

import pytest

from lorabake import errors


def leave(main, capsys):
    with pytest.raises(SystemExit) as left:
        errors.run(main)
    return left.value.code, capsys.readouterr().err


def failing(error):
    def main() -> int:
        raise error

    return main


def test_parts_stand_on_lines_and_empty_ones_are_left_out():
    error = errors.UserError('rank "x" is no number', where="a.yaml:3", todo="rank: 32")
    assert str(error) == 'rank "x" is no number\n  a.yaml:3\n  rank: 32'


@pytest.mark.parametrize(
    ("kind", "code"),
    [("UserError", 1), ("UsageError", 2), ("OutOfMemory", 10), ("Diverged", 11), ("DiskFull", 12), ("Stopped", 13), ("QueueFailed", 20)],
)
def test_own_errors_keep_their_code(kind, code, capsys):
    left, said = leave(failing(getattr(errors, kind)("it went so")), capsys)
    assert left == code
    assert "it went so" in said
    assert "Traceback" not in said


def test_an_error_survives_a_trip_between_processes():
    there = pickle.loads(pickle.dumps(errors.DiskFull("full", where="D:", todo="make room")))
    assert isinstance(there, errors.DiskFull)
    assert str(there) == "full\n  D:\n  make room"


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y.safetensors"), 12, "/x/y.safetensors"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), 12, "disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/out"), 1, "/x/out"),
        (OSError(errno.EROFS, "Read-only file system", "/x/out"), 1, "only be read"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 10, "train.batch_size"),
        (MemoryError(), 10, "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 10, "out of memory"),
        (KeyboardInterrupt(), 13, "stopped by Ctrl-C"),
    ],
)
def test_errors_of_the_system_become_ours(error, code, words, capsys):
    left, said = leave(failing(error), capsys)
    assert left == code
    assert words in said
    assert "Traceback" not in said


def test_a_bug_leaves_a_log_and_its_path(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(errors, "LOGS", tmp_path / "logs")
    left, said = leave(failing(ValueError("never seen \u4e00")), capsys)
    assert left == 3
    (log,) = (tmp_path / "logs").iterdir()
    assert str(log) in said
    assert "ValueError: never seen \u4e00" in log.read_text(encoding="utf-8")


def test_a_log_goes_to_the_temporary_folder_where_ours_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setattr(errors, "LOGS", tmp_path / "file" / "logs")
    path = errors.write_log("text")
    assert path.read_text(encoding="utf-8") == "text"
    assert path.parent != tmp_path
    path.unlink()


def test_a_plain_return_is_the_exit_code(capsys):
    assert leave(lambda: 20, capsys) == (20, "")


def test_wrong_arguments_keep_argparse_code(capsys):
    assert leave(failing(SystemExit(2)), capsys)[0] == 2


def test_run_is_the_only_broad_except():
    library = Path(errors.__file__).parent
    broad = ("except Exception", "except BaseException", "except:")
    found = [path.name for path in library.rglob("*.py") if any(words in path.read_text(encoding="utf-8") for words in broad)]
    assert found == ["errors.py"]

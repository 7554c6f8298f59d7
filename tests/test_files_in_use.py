"""Windows lets nobody replace, move or delete a file that another program has open: such cases, played by errors as Windows makes them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lorabake import bake, errors, journal, paths, runs, states
from lorabake.errors import UserError


class Held:
    """Path.replace and Path.unlink fail for these names: `times` times, or for ever."""

    def __init__(self, monkeypatch, *names, times=10**9):
        self.names, self.left = names, times
        for method in ("replace", "unlink"):
            monkeypatch.setattr(Path, method, self.checked(getattr(Path, method)))
        monkeypatch.setattr(paths, "RENAME_PAUSE_S", 0)

    def checked(self, real):
        def method(path, *words, **more):
            if self.left > 0 and (path.name in self.names or any(getattr(word, "name", "") in self.names for word in words)):
                self.left -= 1
                raise PermissionError(13, "The process cannot access the file because it is being used by another process", str(path))
            return real(path, *words, **more)

        return method


def test_a_virus_scanner_that_looks_for_a_moment_is_waited_for(tmp_path, monkeypatch):
    Held(monkeypatch, "a.txt", times=3)
    paths.write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "new"


def test_a_file_that_stays_open_is_named_and_whole(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("old", encoding="utf-8")
    Held(monkeypatch, "a.txt")
    with pytest.raises(UserError, match=r"a\.txt cannot be replaced") as told:
        paths.write_text(tmp_path / "a.txt", "new")
    assert "close the program" in told.value.todo and str(tmp_path) in told.value.where
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {"a.txt": "old"}


def test_a_state_gets_its_name_when_the_scanner_is_done(tmp_path, monkeypatch):
    state = states.State({"step": 4, "saved": []}, {"a": torch.ones(2)}, {})
    states.save(tmp_path, state)
    Held(monkeypatch, "00000004", times=4)
    states.save(tmp_path, state)
    assert states.newest(tmp_path, pytest.fail).progress["step"] == 4
    assert [path.name for path in tmp_path.iterdir()] == ["00000004"]


def test_a_set_of_earlier_files_moves_wholly_or_stays(tmp_path, monkeypatch):
    for number in (1, 2):
        (tmp_path / f"style-00000{number}.safetensors").write_text(str(number), encoding="utf-8")
    held = Held(monkeypatch, "style-000002.safetensors")
    with pytest.raises(UserError, match=r"style-000002\.safetensors cannot be moved"):
        runs.make_room(tmp_path, "style", tmp_path / "style.runs" / "001")
    assert {path.name for path in tmp_path.glob("*.safetensors")} == {"style-000001.safetensors", "style-000002.safetensors"}
    held.left = 2
    runs.make_room(tmp_path, "style", tmp_path / "style.runs" / "001")
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("ending", [".safetensors", ".preview.png"])
def test_an_epoch_file_that_a_web_ui_has_open_does_not_end_the_bake(tmp_path, monkeypatch, ending):
    files = [tmp_path / f"style-00000{number}.safetensors" for number in (1, 2, 3)]
    for path in files:
        path.write_text("", encoding="utf-8")
        path.with_name(f"{path.stem}.preview.png").write_text("", encoding="utf-8")
    job = SimpleNamespace(plan=SimpleNamespace(save=SimpleNamespace(keep_last=1)), saved=list(files))
    monkeypatch.setattr(bake, "chosen", lambda job: None)
    held = Held(monkeypatch, f"style-000001{ending}")
    bake.keep_last(job)
    assert job.saved == [files[0], files[2]] and files[0].exists() and not files[1].exists()
    held.left = 0
    bake.keep_last(job)
    assert job.saved == [files[2]] and [path.name for path in sorted(tmp_path.iterdir())] == [
        "style-000003.preview.png",
        "style-000003.safetensors",
    ]


def test_a_copy_that_the_web_ui_has_open_is_said_and_the_bake_is_done(tmp_path, monkeypatch, capsys):
    lora, target = tmp_path / "style.safetensors", tmp_path / "ui"
    target.mkdir()
    lora.write_bytes(b"new")
    (target / lora.name).write_bytes(b"old")
    Held(monkeypatch, lora.name)
    bake.copy_to_ui(SimpleNamespace(plan=SimpleNamespace(save=SimpleNamespace(copy_to=str(target))), saved=[lora]))
    assert "is open in another program" in capsys.readouterr().err
    assert [path.read_bytes() for path in target.iterdir()] == [b"old"]


def test_a_group_of_files_that_is_moved_goes_back_together(tmp_path, monkeypatch):
    for name in ("a.png", "a.txt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    Held(monkeypatch, "a.txt")
    told = journal._moved({tmp_path / name: tmp_path / "_rejected" / name for name in ("a.png", "a.txt")})
    assert "a.txt cannot be moved" in told
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"a.png", "a.txt"}


def of_windows(number, name="", winerror=None):
    error = (PermissionError if number == 13 else FileNotFoundError if number == 2 else OSError)(number, "Windows' words", name)
    error.winerror = winerror
    return error


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (of_windows(13, "D:\\a.safetensors", 32), "no permission: Windows' words"),
        (of_windows(22, "D:\\a.safetensors", 1224), "no permission: Windows' words"),
        (of_windows(2, "D:\\" + "x" * 260, 3), "a path of 263 characters is too long"),
        (of_windows(2, "D:\\" + "x" * 260, 206), "a path of 263 characters is too long"),
        (of_windows(22, "D:\\what?", 123), "no file or folder of this name"),
        (of_windows(9, "D:\\con", 6), "no file or folder of this name"),
        (of_windows(20, "D:\\aux", 267), "no file or folder of this name"),
    ],
)
def test_what_windows_says_becomes_a_sentence(error, what):
    told = errors.translate(error)
    assert told and what in told.what and told.where and told.todo and told.exit_code == 1


def test_a_file_that_is_merely_not_there_is_no_long_path():
    assert errors.translate(of_windows(2, "D:\\a.txt", 2)) is None


@pytest.mark.parametrize("name", ["con.safetensors", "aux.txt", "NUL", "lpt1.png", "nul .png"])
def test_nothing_is_written_into_a_device(name, monkeypatch):
    with pytest.raises(UserError, match="device"):
        paths.refuse_device(Path(name), windows=True)
    paths.refuse_device(Path("context.safetensors"), windows=True)
    paths.refuse_device(Path(name), windows=False)


def test_every_written_file_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(paths.refuse_device, "__kwdefaults__", {"windows": True})
    for write in (lambda path: paths.write_text(path, "x"), paths.refuse_existing):
        with pytest.raises(UserError, match="device"):
            write(tmp_path / "aux.safetensors")
    assert not list(tmp_path.iterdir())


def test_long_paths_get_the_prefix_that_lifts_the_limit(monkeypatch):
    monkeypatch.setattr(paths.sys, "platform", "win32")
    monkeypatch.setattr(paths.os.path, "abspath", lambda text: text)
    long = "D:\\" + "x" * 250
    assert paths.long_path("D:\\short.png") == "D:\\short.png"
    assert paths.long_path(long) == "\\\\?\\" + long
    assert paths.long_path("\\\\?\\" + long) == "\\\\?\\" + long
    assert paths.long_path("\\\\nas\\sets\\" + "x" * 250).startswith("\\\\?\\UNC\\nas\\sets\\")

"""What was changed can be undone: whole, after a crash anywhere in the middle, and never over what somebody changed since."""

import errno
import os

import pytest

from lorabake import journal
from lorabake.errors import UserError
from lorabake.journal import Recorder

TEXTS = {"1girl, cat": "plain", "\ufeff\u732b, \u043a\u043e\u0442, \U0001f408": "unicode", "": "empty", "a\r\nb": "line ends"}
TEXTS["1girl,\u2028solo,\u2029cat\u0085,\x0b\x0c\x1c\x1d\x1e"] = "what Unicode takes for line ends, and JSON does not"


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "_journal" not in path.parts
    }


@pytest.fixture
def folder(tmp_path):
    for number, text in enumerate(TEXTS):
        (tmp_path / f"{number}.txt").write_bytes(text.encode())
    (tmp_path / "latin.txt").write_bytes("caf\u00e9".encode("cp1252"))
    (tmp_path / "nul.txt").write_bytes(b"\0nul")
    (tmp_path / "a.png").write_bytes(b"the picture")
    return tmp_path


def changed(folder):
    """One job of every kind of change."""
    (folder / "_tmp").write_bytes(b"a better picture")
    with Recorder(folder, "edit", "all of it") as recorder:
        recorder.write_texts({path: b"new, " + path.read_bytes() for path in folder.glob("*.txt")} | {folder / "more.txt": b"x"})
        recorder.write_texts({folder / "0.txt": None})
        recorder.replace_picture(folder / "a.png", folder / "_tmp")
        assert not recorder.move_together([{folder / "1.txt": folder / "_rejected" / "1.txt"}])
    return journal.jobs(folder)[-1]


def test_everything_comes_back_to_the_byte_and_with_its_time(folder):
    os.utime(folder / "a.png", ns=(1, 1_000_000_000))
    before = files(folder)
    job = changed(folder)
    after = files(folder)
    assert job.state == "done" and job.title == "all of it"
    assert after["a.png"] == b"a better picture" and after["_originals/a.png"] == b"the picture"
    assert after["more.txt"] == b"x" and "0.txt" not in after and "1.txt" not in after
    assert journal.undo(folder, job).problems == ()
    assert files(folder) == before and (folder / "a.png").stat().st_mtime_ns == 1_000_000_000
    assert journal.jobs(folder)[-1].state == "undone" and not (folder / "_originals").exists()


def test_a_job_that_changes_nothing_leaves_nothing(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    with Recorder(folder, "edit", "nothing") as recorder:
        recorder.write_texts({folder / "0.txt": (folder / "0.txt").read_bytes(), folder / "none.txt": None})
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("steps", range(1, 30))
def test_after_a_crash_at_any_moment_undoing_brings_everything_back(folder, monkeypatch, steps):
    """The power goes away before the n-th time that something is put on the disk."""
    before = files(folder)
    left = [steps]

    def counted(call):
        def wrapped(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise SystemExit
            return call(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(journal, "_put", counted(journal._put))
    monkeypatch.setattr(journal, "keep", counted(journal.keep))
    monkeypatch.setattr(journal.paths, "rename_over", counted(journal.paths.rename_over))
    monkeypatch.setattr(journal.os, "fsync", counted(os.fsync))
    monkeypatch.setattr(journal.Path, "rename", counted(journal.Path.rename))
    finished = False
    try:
        changed(folder)
        finished = True
    except SystemExit:
        pass
    monkeypatch.undo()
    jobs = journal.jobs(folder)
    assert [job.state for job in jobs] == (["done"] if finished else ["interrupted"] * len(jobs))
    for job in jobs:
        assert journal.undo(folder, job).problems == ()
    assert {name: data for name, data in files(folder).items() if not name.startswith("_tmp")} == before


def test_what_was_changed_since_stays_and_is_told(folder):
    job = changed(folder)
    (folder / "2.txt").write_bytes(b"by hand")
    (folder / "a.png").write_bytes(b"drawn over")
    (folder / "1.txt").write_bytes(b"another one")
    undone = journal.undo(folder, job)
    assert {problem.partition(": ")[0].rpartition(os.sep)[2] for problem in undone.problems} == {"1.txt", "2.txt", "a.png"}
    assert (folder / "2.txt").read_bytes() == b"by hand" and (folder / "a.png").read_bytes() == b"drawn over"
    assert (folder / "_originals" / "a.png").read_bytes() == b"the picture"
    assert (folder / "3.txt").read_bytes() == list(TEXTS)[3].encode(), "the others are back"
    assert journal.jobs(folder)[-1].state == "done", "it can be tried again"
    (folder / "a.png").unlink()
    (folder / "1.txt").unlink()
    (folder / "2.txt").unlink()
    journal.undo(folder, job)
    assert (folder / "a.png").read_bytes() == b"the picture"


def test_two_originals_of_one_name_are_both_kept(folder):
    for text in (b"second", b"third"):
        (folder / "_tmp").write_bytes(text)
        with Recorder(folder, "flatten", "x") as recorder:
            recorder.replace_picture(folder / "a.png", folder / "_tmp")
    assert (folder / "_originals" / "a.png").read_bytes() == b"the picture"
    assert (folder / "_originals" / "a.2.png").read_bytes() == b"second"
    for job in reversed(journal.jobs(folder)):
        assert journal.undo(folder, job).problems == ()
    assert (folder / "a.png").read_bytes() == b"the picture"


def test_where_the_disk_knows_no_second_names_the_original_is_copied(folder, monkeypatch):
    monkeypatch.setattr(journal.Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError("not supported")))
    os.utime(folder / "a.png", ns=(1, 1_000_000_000))
    job = changed(folder)
    assert journal.undo(folder, job).problems == ()
    assert (folder / "a.png").read_bytes() == b"the picture" and (folder / "a.png").stat().st_mtime_ns == 1_000_000_000


def test_a_torn_entry_is_no_job_and_its_number_is_not_used_again(folder):
    (folder / journal.FOLDER).mkdir()
    (folder / journal.FOLDER / "0009-edit.jsonl").write_bytes(b'{"name": "ed')
    assert journal.jobs(folder) == []
    assert changed(folder).number == 10


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names are Unicode there")
def test_a_name_that_is_no_unicode(folder):
    path = folder / os.fsdecode(b"caf\xe9 \xff.txt")
    path.write_bytes(b"before")
    with Recorder(folder, "edit", f"of {path.name}") as recorder:
        recorder.write_texts({path: b"after"})
    job = journal.jobs(folder)[-1]
    assert path.read_bytes() == b"after" and job.title == f"of {path.name}"
    assert journal.undo(folder, job).problems == () and path.read_bytes() == b"before"


@pytest.mark.parametrize("data", [None, b"", b"x", b"\0", b"\xff\xfe", "\u00e9\u732b".encode()])
def test_packing_keeps_every_byte(data):
    assert journal.unpacked(journal.packed(data)) == data


class Held:
    """Files by name that another program holds open, as Windows does it: they cannot be replaced, renamed or taken away."""

    def __init__(self, monkeypatch, *names):
        self.names = set(names)
        for name in ("replace", "rename", "unlink", "hardlink_to"):
            monkeypatch.setattr(journal.Path, name, self.guarded(getattr(journal.Path, name)))

    def guarded(self, call):
        def wrapped(path, *args, **kwargs):
            touched = {path.name, *(arg.name for arg in args if isinstance(arg, journal.Path))}
            if touched & self.names:
                raise PermissionError(13, "The process cannot access the file", str(path))
            return call(path, *args, **kwargs)

        return wrapped


def test_undoing_goes_on_past_files_that_are_held_open_and_takes_them_the_next_time(folder, monkeypatch):
    before = files(folder)
    job = changed(folder)
    held = Held(monkeypatch, "a.png", "more.txt", "1.txt", "2.txt")
    undone = journal.undo(folder, job)
    told = {problem.partition(": ")[0].rpartition(os.sep)[2]: problem for problem in undone.problems}
    assert set(told) == {"a.png", "more.txt", "1.txt", "2.txt"} and undone.num_files > 3
    assert "The process cannot access the file" in told["more.txt"] and "cannot be replaced" in told["a.png"]
    assert all("--undo again" in problem for problem in undone.problems)
    assert journal.jobs(folder)[-1].state == "done"
    now = files(folder)
    assert {name for name in before if now.get(name) != before[name]} == {"a.png", "1.txt", "2.txt"}
    held.names.clear()
    assert journal.undo(folder, journal.jobs(folder)[-1]).problems == ()
    assert files(folder) == before and journal.jobs(folder)[-1].state == "undone"


def test_a_full_disk_stops_an_undoing(folder, monkeypatch):
    job = changed(folder)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal, "_put", full)
    with pytest.raises(OSError, match="No space left"):
        journal.undo(folder, job)
    assert journal.jobs(folder)[-1].state == "done"


def test_a_picture_that_is_held_open_stays_and_leaves_no_second_original(folder, monkeypatch):
    before = files(folder)
    (folder / "_tmp").write_bytes(b"better")
    held = Held(monkeypatch)
    keep = journal.keep

    def kept_then_opened(path, kept):
        keep(path, kept)
        held.names.update(("a.png",))

    monkeypatch.setattr(journal, "keep", kept_then_opened)
    with Recorder(folder, "flatten", "x") as recorder, pytest.raises(UserError, match=r"a\.png cannot be replaced"):
        recorder.replace_picture(folder / "a.png", folder / "_tmp")
    held.names.clear()
    for job in journal.jobs(folder):
        assert journal.undo(folder, job).problems == ()
    (folder / "_tmp").unlink()
    assert files(folder) == before


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
@pytest.mark.parametrize("target", ["elsewhere/real.png", "../elsewhere/real.png"])
def test_the_content_of_a_picture_that_is_a_link_is_kept(folder, tmp_path, target):
    place = folder / "set"
    place.mkdir()
    real = (place / target).parent
    real.mkdir()
    (real / "real.png").write_bytes(b"the real one")
    (place / "a.png").symlink_to(target)
    (place / "_tmp").write_bytes(b"better")
    with Recorder(place, "flatten", "x") as recorder:
        recorder.replace_picture(place / "a.png", place / "_tmp")
    assert (place / "a.png").read_bytes() == b"better" and (real / "real.png").read_bytes() == b"the real one"
    assert (place / "_originals" / "a.png").read_bytes() == b"the real one"
    assert journal.undo(place, journal.jobs(place)[-1]).problems == () and (place / "a.png").read_bytes() == b"the real one"


def test_what_is_no_file_becomes_a_line_and_the_rest_is_written(folder):
    (folder / "dir.txt").mkdir()
    with Recorder(folder, "edit", "x") as recorder:
        problems = recorder.write_texts({folder / "dir.txt": b"x", folder / "new.txt": b"x"})
    assert len(problems) == 1 and "dir.txt" in problems[0] and (folder / "new.txt").read_bytes() == b"x"
    assert journal.undo(folder, journal.jobs(folder)[-1]).problems == () and (folder / "dir.txt").is_dir()

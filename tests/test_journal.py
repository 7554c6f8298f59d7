"""What was changed can be undone: whole, after a crash anywhere in the middle, and never over what somebody changed since."""

import os

import pytest

from lorabake import journal
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

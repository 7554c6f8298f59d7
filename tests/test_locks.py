"""The lock: held, given back, taken over from the dead."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lorabake import locks
from lorabake.errors import UserError
from lorabake.locks import Lock

BUSY = "this folder is taken"


def test_the_lock_is_held_and_given_back(tmp_path):
    folder = tmp_path / "style.runs"
    with Lock(folder, BUSY) as lock:
        assert json.loads(lock.path.read_text(encoding="utf-8"))["pid"] == os.getpid()
    assert not lock.path.exists()


def test_a_number_that_another_process_got_holds_nothing(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        lock = Lock(tmp_path, BUSY)
        lock.path.write_text(json.dumps({"pid": child.pid, "since": time.time()}), encoding="utf-8")
        with pytest.raises(UserError, match=rf"this folder is taken\n  process {child.pid}"), lock:
            pass
        lock.path.write_text(json.dumps({"pid": child.pid, "since": time.time() - 3600}), encoding="utf-8")
        with lock:
            assert json.loads(lock.path.read_text(encoding="utf-8"))["pid"] == os.getpid()
        child.kill()


def test_a_living_holder_keeps_its_lock(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        lock = Lock(tmp_path, BUSY)
        lock.path.write_text(json.dumps({"pid": child.pid}), encoding="utf-8")
        with pytest.raises(UserError, match=rf"this folder is taken\n  process {child.pid}"), lock:
            pass
        assert lock.path.exists()
        child.communicate(b"\n")
    with lock:
        assert json.loads(lock.path.read_text(encoding="utf-8"))["pid"] == os.getpid(), "a dead holder's lock is taken over"


@pytest.mark.parametrize("text", ["", "{", '{"pid": "x"}', '{"pid": null}'])
def test_a_torn_lock_is_taken_over(tmp_path, text):
    (tmp_path / "lock.json").write_text(text, encoding="utf-8")
    os.utime(tmp_path / "lock.json", (1, time.time() - 60))
    with Lock(tmp_path, BUSY):
        pass
    assert not (tmp_path / "lock.json").exists()


def hammered(folder, how, processes=6, times=60):
    """What the processes say that all want one folder at once, many times; some of them die with the lock in their hands."""
    command = [sys.executable, str(Path(__file__).with_name("lock_holder.py")), str(folder), str(times), how]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(processes)]
    return [process.communicate(timeout=120)[0].strip() for process in running]


@pytest.mark.parametrize("how", ["plain", "no-links"])
def test_there_are_never_two_holders_at_once(tmp_path, how):
    told = hammered(tmp_path, how)
    assert all(line.startswith("held ") for line in told), told
    assert sum(int(line.split()[1]) for line in told) > 30, "and somebody always gets it"
    assert {path.name for path in tmp_path.iterdir()} <= {"_lock.json"}, "nothing else is left"


@pytest.mark.skipif(os.name == "nt", reason="Windows locks otherwise")
def test_on_nfs_a_file_is_locked_in_the_folder_s_place(tmp_path):
    told = hammered(tmp_path, "nfs")
    assert all(line.startswith("held ") for line in told), told
    assert {path.name for path in tmp_path.iterdir()} <= {"_lock.json", "_guard-_lock.json"}


def test_where_the_disk_has_no_locks_of_the_system_it_is_taken_and_refused_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_guard", lambda _path: -1)
    (tmp_path / "lock.json").write_text(json.dumps({"pid": 2**22 + 5, "since": 1.0}), encoding="utf-8")
    with Lock(tmp_path, BUSY), pytest.raises(UserError, match=BUSY), Lock(tmp_path, BUSY):
        pass
    assert not list(tmp_path.iterdir())


def test_a_living_lock_that_was_taken_for_a_dead_one_is_given_back(tmp_path, monkeypatch):
    """Between the look and the taking another process took the dead one's place: only without locks of the system."""
    monkeypatch.setattr(locks, "_guard", lambda _path: -1)
    lock = Lock(tmp_path, BUSY)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        lock.path.write_text(json.dumps({"pid": child.pid, "since": time.time()}), encoding="utf-8")
        for links in (True, False):
            if not links:
                monkeypatch.setattr(locks.os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no links")))
            locks._cleared(lock.path, {"pid": 2**22 + 5, "since": 1.0})
            assert locks._record(lock.path)["pid"] == child.pid and os.listdir(tmp_path) == ["lock.json"]  # noqa: PTH208
        child.communicate(b"\n")


def test_a_lock_that_is_just_being_written_is_no_dead_one(tmp_path):
    code = (
        "import json, os, sys, time\n"
        "with open(sys.argv[1], 'x') as file:\n"
        "    print(flush=True); time.sleep(0.5)\n"
        "    json.dump({'pid': os.getpid(), 'since': time.time()}, file)\n"
        "input()\n"
    )
    lock = Lock(tmp_path, BUSY)
    with subprocess.Popen([sys.executable, "-c", code, str(lock.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        with pytest.raises(UserError, match=rf"{BUSY}\n  process {child.pid}"), lock:
            pass
        child.communicate(b"\n")


def test_a_lock_of_this_very_process_holds_and_one_of_an_earlier_with_its_number_does_not(tmp_path):
    with Lock(tmp_path, BUSY) as lock:
        with pytest.raises(UserError, match=BUSY), Lock(tmp_path, BUSY):
            pass
        assert lock.path.exists()
    lock.path.write_text(json.dumps({"pid": os.getpid(), "since": psutil.Process().create_time() - 1}), encoding="utf-8")
    with Lock(tmp_path, BUSY):
        pass


def test_whoever_looks_and_takes_holds_others_up_only_so_long(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE_S", 0.1)
    with (
        locks._alone(tmp_path / "lock.json"),
        pytest.raises(UserError, match="many jobs want this folder"),
        Lock(tmp_path, BUSY),
    ):
        pass
    with Lock(tmp_path, BUSY):
        pass


def test_a_disk_that_is_full_leaves_no_empty_lock(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(locks.Path, "write_text", full)
    with pytest.raises(OSError, match="No space"), Lock(tmp_path, BUSY):
        pass
    assert not list(tmp_path.iterdir())

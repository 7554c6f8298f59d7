"""The lock: held, given back, taken over from the dead."""

import json
import os
import subprocess
import sys
import time

import pytest

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
    with Lock(tmp_path, BUSY):
        pass
    assert not (tmp_path / "lock.json").exists()

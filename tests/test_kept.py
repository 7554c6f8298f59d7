"""The environment before the one in use is kept; one word goes back to it and forward again; a kill at any moment leaves one that works."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

import stand_in_pip
from lorabake import builder, console, environment, kept, paths, setup_lock, venvs
from lorabake.errors import UsageError, UserError


@pytest.fixture
def pip(monkeypatch):
    return stand_in_pip.put_in_place(monkeypatch)


@pytest.fixture
def place(tmp_path, monkeypatch):
    made = stand_in_pip.new_place(tmp_path, monkeypatch)
    older = tmp_path / "stacks" / "older"
    shutil.copytree(made.stack, older)
    table = json.loads((older / venvs.TORCH).read_text(encoding="utf-8")) | {"version": "2.11.0", "for": "older cards"}
    paths.write_json(older / venvs.TORCH, table)
    return made


def in_use(place):
    return environment.ready(root=place.root, stack=place.stack)


def names(place):
    return [env.name for env in venvs.numbered(place.root)]


def stack_in_use(place):
    return venvs.stack_of(in_use(place), place.stack).name


def test_a_stack_is_made_and_becomes_the_one_in_use(place, pip, capsys):
    builder.build(place)
    env = builder.build(place, stack="older")
    assert (env.name, venvs.read_stamp(env)["torch"], stack_in_use(place)) == ("002", "2.11.0+cpu", "older")
    said = capsys.readouterr().err
    assert "the stack older was asked for" in said and "stack older: torch 2.11.0, older cards" in said
    assert "kept: 001 (stack current, torch 2.13.0+cpu)" in said and "--forget-previous" in said
    pip.steps.clear()
    assert builder.build(place) == env, "a start that names no stack stays in this one"
    assert pip.steps == []


def test_a_stack_that_is_kept_is_gone_back_to_without_installing(place, pip):
    builder.build(place)
    builder.build(place, stack="older")
    pip.steps.clear()
    assert builder.build(place, stack="current").name == "001"
    assert pip.steps == []
    assert kept.previous(place.root).name == "002"


def test_an_unknown_stack_is_answered_with_those_there_are(place, pip):
    with pytest.raises(UsageError) as told:
        builder.build(place, stack="oldr")
    assert "did you mean older?" in str(told.value)
    assert "current: torch 2.13.0" in str(told.value) and "older: torch 2.11.0, older cards" in str(told.value)
    assert names(place) == []


def test_back_and_forward_again(place, pip):
    first = builder.build(place)
    second = builder.build(place, stack="older")
    assert kept.roll_back(place.root, place.stack) == first == in_use(place)
    assert kept.roll_back(place.root, place.stack) == second == in_use(place)
    builder.build(place, torch="cu126")
    assert names(place) == ["002", "003"], "only the one before is kept"


def test_going_back_is_refused_where_it_would_not_work(place, pip):
    with pytest.raises(UserError, match="no earlier environment"):
        kept.roll_back(place.root, place.stack)
    first = builder.build(place)
    second = builder.build(place, stack="older")
    pip.damaged = "001"
    with pytest.raises(UserError, match="001 is damaged"):
        kept.roll_back(place.root, place.stack)
    pip.damaged = ""
    venvs.python_of(first).unlink()
    with pytest.raises(UserError, match=r"Python of 001 is gone[\s\S]*002 stays in use"):
        kept.roll_back(place.root, place.stack)
    assert in_use(place) == second


def test_a_set_that_is_here_no_more_is_said(place, pip, capsys):
    builder.build(place, stack="older")
    shutil.rmtree(place.stack.parent / "older")
    assert in_use(place) is None
    assert venvs.why_not(venvs.current(place.root), place.stack) == "the stack older, of which 001 was made, is not here any more"
    env = builder.build(place)
    assert venvs.stack_of(env, place.stack).name == "current"
    assert "current takes its place" in capsys.readouterr().err


def test_a_new_one_that_fails_its_self_test_is_not_used_and_gone_on_with(place, pip):
    first = builder.build(place)
    pip.breaks["self-test"] = UserError("the installation failed: ERROR: training: no kernel")
    with pytest.raises(UserError) as told:
        builder.build(place, stack="older")
    assert "did not pass its self-test: training: no kernel" in str(told.value) and "001 stays in use" in str(told.value)
    assert in_use(place) == first
    pip.steps.clear()
    assert builder.build(place, stack="older").name == "002"
    assert pip.steps == ["self-test"]


def test_the_kept_one_is_forgotten_by_a_word(place, pip):
    assert kept.forget(place.root) == "no earlier environment is kept"
    first = builder.build(place)
    second = builder.build(place, stack="older")
    (first / "large").write_bytes(bytes(3 << 20))
    held = venvs.hold(first)
    with pytest.raises(UserError, match="something runs in the environment 001"):
        kept.forget(place.root)
    os.close(held)
    assert "3.0 MB freed" in kept.forget(place.root)
    assert (names(place), in_use(place), kept.previous(place.root)) == (["002"], second, None)


def test_a_damaged_pair_is_no_pair(place, pip):
    builder.build(place)
    builder.build(place, stack="older")
    for text in ("{", "[]", '{"pair": [1, null, "../.."]}'):
        (place.root / kept.PAIR).write_text(text, encoding="utf-8")
        assert kept.previous(place.root) is None
        assert in_use(place).name == "002"


KILLED = """
import os, signal, sys
sys.path[:0] = [{py!r}, {tests!r}]
from pathlib import Path
import pytest
import stand_in_pip
from lorabake import builder, errors, kept
patch = pytest.MonkeyPatch()
stand_in_pip.put_in_place(patch).torch = "2.11.0+cpu"
errors.LOGS = Path({root!r}).parent / "logs"
left, replace = int(sys.argv[2]), os.replace
def dying(*names, **more):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return replace(*names, **more)
patch.setattr(Path, "replace", lambda self, target: dying(self, target))
place = builder.Place(Path({root!r}), Path({stack!r}))
if sys.argv[1] == "back":
    kept.roll_back(place.root, place.stack)
else:
    builder.build(place, stack=sys.argv[1])
"""


@pytest.mark.skipif(os.name == "nt", reason="kills by a signal")
@pytest.mark.parametrize("word", ["older", "back"])
def test_killed_at_every_step_of_a_switch(place, pip, word):
    first = builder.build(place)
    allowed = {first.name, "002"}
    if word == "back":
        builder.build(place, stack="older")
    tests = os.path.dirname(__file__)  # noqa: PTH120
    code = KILLED.format(py=str(paths.ROOT / "py"), tests=tests, root=str(place.root), stack=str(place.stack))
    for step in range(20):
        done = subprocess.run([sys.executable, "-c", code, word, str(step)], capture_output=True, text=True, check=False)
        assert in_use(place) is not None and in_use(place).name in allowed, (step, done.stderr)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.returncode == 0 and step > (3 if word == "older" else 0)
    assert in_use(place).name == ("002" if word == "older" else "001")
    assert kept.previous(place.root).name == ("001" if word == "older" else "002")


def test_sizes_and_lines(place, pip, capsys):
    kept.say_kept(place.root, place.stack)
    assert capsys.readouterr().err == ""
    env = builder.build(place)
    (env / "x").write_bytes(bytes(1 << 20))
    assert console.size(kept.num_bytes(env)).startswith("1.0 MB")
    assert kept.described(env, place.stack) == "001 (stack current, torch 2.13.0+cpu)"


def test_the_lock_is_waited_for_and_given_back(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(setup_lock, "WAIT_EVERY_S", 0.01)
    hold = "import sys, time; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from lorabake import setup_lock\n"
    hold += "with setup_lock.locked(Path(sys.argv[2])): print('has it', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", hold, str(paths.ROOT / "py"), str(tmp_path)], stdout=subprocess.PIPE)
    assert other.stdout.readline().strip() == b"has it"
    timer = subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(0.3); os.kill({other.pid}, 9)"])
    began = time.monotonic()
    with setup_lock.locked(tmp_path, others="another start is at it"):
        assert time.monotonic() - began > 0.1
    assert "another start is at it; waiting for it" in capsys.readouterr().err
    timer.wait()
    other.wait()
    other.stdout.close()

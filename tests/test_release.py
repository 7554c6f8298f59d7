"""Which release and which stack run: read from git's own files, from what --update wrote, from a stamp; and what a profile is told."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lorabake import __version__, paths, release, venvs

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")


def test_without_any_sign_it_is_the_version_alone(tmp_path):
    assert str(release.here(tmp_path, "0.3.0")) == "0.3.0"


def test_a_checkout_says_its_commit(tmp_path):
    write(tmp_path / ".git" / "HEAD", "ref: refs/heads/main\n")
    assert release.git_commit(tmp_path) == ""
    write(tmp_path / ".git" / "packed-refs", f"# pack-refs\n{OTHER} refs/heads/other\n{COMMIT} refs/heads/main\n")
    assert str(release.here(tmp_path, "0.3.0")) == "0.3.0 (commit 0123456789ab)"
    write(tmp_path / ".git" / "refs" / "heads" / "main", OTHER + "\n")
    assert release.git_commit(tmp_path) == OTHER, "a loose one is newer"
    write(tmp_path / ".git" / "HEAD", COMMIT + "\n")
    assert release.git_commit(tmp_path) == COMMIT
    write(tmp_path / ".git" / "HEAD", "nonsense\n")
    assert release.git_commit(tmp_path) == ""


def test_a_worktree_finds_the_branches_of_the_main_one(tmp_path):
    main, tree = tmp_path / "main" / ".git", tmp_path / "tree"
    write(tree / ".git", f"gitdir: {main / 'worktrees' / 'tree'}\n")
    write(main / "worktrees" / "tree" / "HEAD", "ref: refs/heads/side\n")
    write(main / "worktrees" / "tree" / "commondir", "../..\n")
    write(main / "refs" / "heads" / "side", COMMIT)
    assert release.git_commit(tree) == COMMIT


def test_it_agrees_with_git_here():
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout, or git is not installed")
    assert release.git_commit(paths.ROOT) == done.stdout.strip()


def test_what_was_put_in_place_counts_while_its_version_fits(tmp_path):
    write(tmp_path / "release.json", {"version": "0.3.0", "commit": COMMIT})
    assert str(release.here(tmp_path, "0.3.0")) == "0.3.0 (commit 0123456789ab)"
    write(tmp_path / "releases" / "current.json", {"version": "0.3.0", "hash": OTHER, "commit": ""})
    assert str(release.here(tmp_path, "0.3.0")) == "0.3.0 (files ffffffffffff)"
    assert str(release.here(tmp_path, "0.4.0")) == "0.4.0", "another one was unpacked over it"
    write(tmp_path / "releases" / "current.json", "{")
    assert str(release.here(tmp_path, "0.3.0")).startswith("0.3.0 (commit")


def test_it_costs_a_moment():
    began = time.perf_counter()
    for _ in range(100):
        release.here()
    assert (time.perf_counter() - began) / 100 < 0.01
    assert release.here().version == __version__


def test_the_stack_is_that_of_the_environment_that_runs(tmp_path):
    assert release.running_stack(str(tmp_path)) == ""
    write(tmp_path / venvs.STAMP, {"stack": "older"})
    assert release.running_stack(str(tmp_path)) == "older"
    write(tmp_path / venvs.STAMP, {"lock": "x"})
    assert release.running_stack(str(tmp_path)) == "current", "made before stacks had names"


@pytest.fixture
def stacks(tmp_path):
    for name, version in (("current", "2.13.0"), ("older", "2.7.1")):
        write(tmp_path / name / venvs.TORCH, {"version": version})
        write(tmp_path / name / venvs.REQUIREMENTS, "")
    return tmp_path


@pytest.mark.parametrize(
    ("tuned_on", "running", "torch", "words"),
    [
        ("older", "older", "2.7.1+cu126", ""),
        ("older", "current", "2.13.0", "stack older (torch 2.7.1), but the stack current is running (torch 2.13.0)"),
        ("older", "", "2.7.1+cu126", ""),  # one's own Python with the same torch
        ("older", "", "2.13.0", "but your own Python is running (torch 2.13.0)"),
    ],
)
def test_another_stack_is_said(stacks, monkeypatch, tuned_on, running, torch, words):
    monkeypatch.setattr(release, "running_stack", lambda: running)
    monkeypatch.setattr(release, "running_torch", lambda: torch)
    sentence = release.other_stack(tuned_on, stacks)
    assert words in sentence and bool(words) == bool(sentence)
    assert not sentence or "setup.bat -Stack older" in sentence


def test_the_plan_says_it_and_the_identity_does_not(tmp_path, monkeypatch):
    import baking

    monkeypatch.setattr(release, "running_stack", lambda: "older")
    plain, tuned = baking.make(tmp_path), baking.make(tmp_path, {"stack": "current"})
    assert plain.stack is None and tuned.stack == "current"
    assert not any("tuned on" in warning for warning in plain.warnings)
    assert any("tuned on the stack current" in warning for warning in tuned.warnings)
    assert plain.identity() == tuned.identity()


def test_a_lora_says_what_baked_it(tmp_path, monkeypatch):
    import baking
    from lorabake import metadata, model_facts
    from lorabake.hashes import Hashes
    from lorabake.said import OUR_KEY

    monkeypatch.setattr(release, "running_stack", lambda: "older")
    plan = baking.make(tmp_path, {"stack": "current"})
    told = metadata.training_metadata(plan, step=1, epoch=1, started_at=0.0, base_hashes=Hashes("ab" * 32, "1234abcd"))
    record = json.loads(told[OUR_KEY])
    assert record["stack"] == "older" and record["profile"]["stack"] == "current"
    assert told["modelspec.implementation_version"] == f"lorabake/{__version__}"
    words = model_facts.maker(told)
    assert words == f"lorabake {release.here()}, stack older, torch {release.running_torch()}"


def test_it_needs_nothing_installed():
    code = "import sys; sys.path.insert(0, sys.argv[1]); from lorabake import release; print(release.here().version, 'ssl' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code, str(Path(paths.ROOT) / "py")], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [__version__, "False"]

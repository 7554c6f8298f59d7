"""Releases in a git checkout: tags and commits, and back; edits are kept; a git killed in the middle is mended."""

import os
import shutil
import subprocess
import sys

import pytest

import small_release as small

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
WHO = dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"), "x@example.invalid")


def git(folder, *words):
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, env={**os.environ, **WHO}, check=True)
    return done.stdout.strip()


@pytest.fixture
def house(tmp_path):
    """A checkout on its branch with two releases, the newer one checked out."""
    folder = small.write(tmp_path / "house", "0.1.0")
    small.put(folder, {".gitignore": "/venv/\n/releases/\n__pycache__/\n/logs/\n"})
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "core.autocrlf", "false")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "one")
    git(folder, "tag", "v0.1.0")
    shutil.rmtree(folder / "py")
    small.write(tmp_path / "two", "0.2.0")
    shutil.copytree(tmp_path / "two", folder, dirs_exist_ok=True)
    small.put(folder, {"docs/new.md": "new"})
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "two")
    return folder


def test_there_and_back_to_the_branch(house):
    new = small.state(house)
    done = small.setup(house, "--version", "0.1.0")
    assert done.returncode == 0 and "back to main: setup --rollback" in done.stderr, done.stderr
    assert git(house, "rev-parse", "HEAD") == git(house, "rev-parse", "v0.1.0")
    assert small.state(house)["train.ps1"] == "# launcher of 0.1.0\n"
    assert small.setup(house, "--rollback").returncode == 0
    assert git(house, "symbolic-ref", "--short", "HEAD") == "main" and small.state(house) == new
    commit = git(house, "rev-parse", "v0.1.0")[:10]
    assert small.setup(house, "--version", commit).returncode == 0
    assert "checked out already" in small.setup(house, "--version", commit).stderr
    done = small.setup(house, "--version", "9.9.9")
    assert done.returncode == 1 and 'no tag, branch or commit "9.9.9"' in done.stderr
    done = small.setup(house, "--version", "--upload-pack=x")
    assert done.returncode != 0


def test_edits_and_files_of_the_users_are_kept(house):
    small.put(house, {"train.ps1": "# mine\n", "profiles/mine.yaml": "name: mine\n", "notes.txt": "n"})
    done = small.setup(house, "--version", "v0.1.0")
    assert done.returncode == 0, done.stderr
    after = small.state(house)
    copy = next(name for name in after if name.startswith("train.ps1.kept-"))
    assert after[copy] == "# mine\n" and copy in done.stderr
    assert (after["profiles/mine.yaml"], after["notes.txt"]) == ("name: mine\n", "n")
    small.put(house, {"docs/new.md": "a file of mine"})
    done = small.setup(house, "--rollback")
    assert done.returncode == 0 and small.state(house)["docs/new.md"] == "new"
    assert any(text == "a file of mine" for text in small.state(house).values())


def test_a_profile_in_the_way_is_not_touched(house):
    small.put(house, {"profiles/later.yaml": "# of the release\n"})
    git(house, "add", "-A")
    git(house, "commit", "--quiet", "-m", "three")
    git(house, "tag", "v0.3.0")
    git(house, "checkout", "--quiet", "v0.1.0")
    small.put(house, {"profiles/later.yaml": "name: mine\n"})
    before = small.state(house)
    done = small.setup(house, "--version", "0.3.0")
    assert done.returncode == 1 and "profiles/later.yaml is yours" in done.stderr
    assert small.state(house) == before


def test_files_are_not_put_over_a_checkout(house, tmp_path):
    before = small.state(house)
    done = small.setup(house, "--update", str(tmp_path / "two"))
    assert done.returncode == 1 and "git checkout" in done.stderr and "--version" in done.stderr
    assert small.state(house) == before


KILLED = """
import os, subprocess, sys
sys.path.insert(0, os.path.join(sys.argv[1], "py"))
from lorabake import releases, switching
run = subprocess.run
def dying(command, **more):
    if command[1] == "checkout":
        open(os.path.join(sys.argv[1], ".git", "index.lock"), "w").close()
        os.remove(os.path.join(sys.argv[1], "train.ps1"))
        os._exit(9)
    return run(command, **more)
switching.subprocess.run = dying
releases.to_version("0.1.0")
"""


def test_a_git_killed_in_the_middle_is_mended_by_the_next_start(house):
    assert subprocess.run([sys.executable, "-c", KILLED, str(house)], check=False).returncode == 9
    assert (house / ".git" / "index.lock").exists() and not (house / "train.ps1").exists()
    done = small.setup(house, "--help")
    assert done.returncode == 0 and "finished now" in done.stderr, done.stderr
    assert small.state(house)["train.ps1"] == "# launcher of 0.1.0\n"
    assert git(house, "status", "--porcelain") == ""


def test_the_zip_of_a_release_is_one_that_can_be_put_in_place(house, tmp_path):
    import importlib.util

    from lorabake import paths, release_source

    spec = importlib.util.spec_from_file_location("make_release", paths.ROOT / "tools" / "make_release.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    small.put(house, {"train.ps1": "# changed\n"})
    assert tool.main(tmp_path / "a.zip", house) == 1
    git(house, "checkout", "--quiet", "train.ps1")
    assert tool.main(tmp_path / "a.zip", house) == 0
    (tmp_path / "root").mkdir()
    record = release_source.lay_in(tmp_path / "a.zip", tmp_path / "root")
    assert record["version"] == "0.2.0" and record["commit"] == git(house, "rev-parse", "HEAD")

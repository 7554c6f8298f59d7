"""Another release in a git checkout: a tag or commit is checked out; what the user edited is kept as a copy. Runs git.

Not here: releases without git (releases.py). Standard library only, any Python 3.8 or newer.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from lorabake import console, kept, paths, release, release_files, switching
from lorabake.errors import UserError

GIT_TIMEOUT_S = 600


def check_out(version: str, root: Path) -> int:
    """Check out a tag, branch or commit and note where we come from. Exit code 0. Raises UserError, and then nothing is changed."""
    kept.refuse_while_running(root)
    target, name = find(version, root)
    before, come_from = release.git_commit(root), branch(root) or release.git_commit(root)
    if target == before and name in (come_from, ""):
        console.say(f"{version} is checked out already")
        return 0
    edited = changed_files(root)
    known = set(lines(root, "ls-files", "-z"))
    theirs = [path for path in lines(root, "ls-tree", "-r", "--name-only", "-z", target) if path not in known]
    in_the_way = [path for path in theirs if (root / path).is_file()]
    blocked = [path for path in in_the_way if path.split("/")[0] in release_files.YOUR_FOLDERS]
    if blocked:
        raise UserError(
            f"{blocked[0]} is yours, and {version} has a file of that name", where=str(root), todo="rename yours, then start again"
        )
    release_files.require_writable(root, lines(root, "diff", "--name-only", "-z", before, target))
    mark = before[: release.SHORT]
    copies = [(path, release_files.free_name(path, mark, lambda one: switching.hash_of(root / one))) for path in edited + in_the_way]
    folder = release.git_folder(root)
    journal = {
        "kept": copies,
        "git": [["git", "checkout", "--force", "--quiet", *([name] if name else ["--detach", target])]],
        "git_lock": str((folder or root) / "index.lock"),
        "state": {"name": name or target, "previous": come_from, "changed": time.time()},
    }
    last = release.read_json(root / "releases" / release.CURRENT)
    switching.begin(root, journal)
    switching.finish(root, journal)
    if release.git_commit(root) != target:
        paths.write_json(root / "releases" / release.CURRENT, last)
        raise UserError(f"git could not check out {version}", where=str(root), todo=f"git checkout {version}")
    console.say(f"{version} is checked out; back to {come_from[:40]}: setup --rollback")
    if copies:
        console.say(f"  you had edited these, your version is kept beside: {', '.join(copy for _, copy in copies[:6])}")
    return 0


def find(version: str, root: Path) -> tuple[str, str]:
    """(commit, name of a branch or "") of what was asked for; the origin is asked where it is not known here. Raises UserError."""
    for attempt in ("here", "there"):
        for name in (version, f"v{version}", f"origin/{version}"):
            done = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            if done.returncode == 0:
                is_branch = git(root, "show-ref", "--verify", "--quiet", f"refs/heads/{name}").returncode == 0
                return done.stdout.decode().strip(), name if is_branch else ""
        if attempt == "here":
            git(root, "fetch", "--tags", "--quiet")
    raise UserError(f'no tag, branch or commit "{version}"', where=str(root), todo="git tag lists the releases")


def branch(root: Path) -> str:
    """The branch that is checked out, "" for a commit."""
    return git(root, "symbolic-ref", "--short", "--quiet", "HEAD").stdout.decode().strip()


def changed_files(root: Path) -> list[str]:
    """Tracked files that are not as the commit has them, and still there."""
    return [path for path in lines(root, "diff", "--name-only", "-z", "HEAD") if (root / path).is_file()]


def lines(root: Path, *words: str) -> list[str]:
    """What git answers with -z, as a list."""
    return [line for line in git(root, *words).stdout.decode("utf-8", "surrogateescape").split("\0") if line]


def git(root: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run git in the checkout, without questions. Raises UserError where there is no git."""
    variables = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.run(
            ["git", "-C", str(root), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=variables,
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise UserError("this lorabake is a git checkout, and git is not installed", where=str(root), todo="install git") from error
    except subprocess.TimeoutExpired as error:
        raise UserError("git does not answer", where=str(root), todo="check the connection, then start again") from error

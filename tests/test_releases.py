"""Another release in the place of this one and back: nothing of the user's is touched, and a kill at any moment is mended."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import small_release as small
from lorabake import kept, paths, release_files, releases, venvs

USERS = {
    "profiles/mine.yaml": "name: mine\n",
    "baked/mine.safetensors": "weights",
    "venv/notes.txt": "x",
    "models/taggers/wd/model.onnx": "onnx",
    "notes.txt": "my notes",
}


@pytest.fixture
def house(tmp_path):
    """An unpacked release 0.1.0 with its own list of files, and what a user keeps there."""
    folder = small.write(tmp_path / "lora bake \u00e9", "0.1.0")
    small.put(folder, {"docs/old.md": "old", "py/lorabake/gone.py": "x = 1\n", "profiles/second.yaml": "# second\n"})
    files = release_files.hashed(folder, list(release_files.walk(folder)))
    small.put(folder, {"release.json": json.dumps({"version": "0.1.0", "commit": "a" * 40, "files": files})})
    small.put(folder, USERS)
    return folder


@pytest.fixture
def newer(tmp_path):
    folder = small.write(tmp_path / "new", "0.2.0")
    small.put(folder, {"docs/new.md": "new", "py/lorabake/more.py": "y = 2\n", "profiles/second.yaml": "# second\n"})
    return folder


def users(folder):
    return {name: (folder / name).read_text(encoding="utf-8") for name in USERS}


def test_there_and_back_and_there_again(house, newer, tmp_path):
    before = small.state(house)
    done = small.setup(house, "--update", str(small.packed(newer, tmp_path / "new.zip", top="lorabake-0.2.0/")))
    assert done.returncode == 0, done.stderr
    assert "is in place of 0.1.0-" in done.stderr and "--rollback" in done.stderr
    after = small.state(house)
    assert users(house) == USERS
    assert {name: after[name] for name in small.state(newer)} == small.state(newer)
    assert "docs/old.md" not in after and "py/lorabake/gone.py" not in after, "what the release no longer has"
    assert not list(house.rglob("_tmp-*"))
    told = json.loads(small.setup(house, "-Rollback", "-Json").stdout)
    assert told["release"]["version"] == "0.1.0" and told["rollback"]["release"].startswith("0.2.0-")
    assert small.state(house) == before
    assert small.setup(house, "--rollback").returncode == 0
    assert small.state(house) == after
    done = small.setup(house, "--version", "0.1.0")
    assert done.returncode == 0 and small.state(house) == before, done.stderr
    assert "in place already" in small.setup(house, "--version", "0.1.0").stderr


def test_what_the_user_edited_is_kept_and_comes_back(house, newer):
    small.put(
        house,
        {"train.ps1": "# my train\n", "profiles/demo.yaml": "# my demo\n", "profiles/second.yaml": "# my second\n", "docs/old.md": "mine"},
    )
    before = small.state(house)
    done = small.setup(house, "--update", str(newer))
    assert done.returncode == 0, done.stderr
    after = small.state(house)
    assert after["train.ps1"] == "# launcher of 0.2.0\n" and after["train.ps1.kept-0.1.0"] == "# my train\n"
    assert after["profiles/demo.yaml.kept-0.1.0"] == "# my demo\n" and after["docs/old.md.kept-0.1.0"] == "mine"
    assert after["profiles/second.yaml"] == "# my second\n", "the release did not change it: the edit stays in place"
    for words in ("train.ps1.kept-0.1.0", "left as you made them: profiles/second.yaml"):
        assert words in done.stderr
    assert small.setup(house, "--rollback").returncode == 0
    assert small.state(house) == before


def test_a_profile_of_the_users_in_the_way_stays(house, newer):
    small.put(newer, {"profiles/mine.yaml": "# ours\n", "notes.txt": "ours"})
    done = small.setup(house, "--update", str(newer))
    assert done.returncode == 0 and "left as you made them: profiles/mine.yaml" in done.stderr
    after = small.state(house)
    assert after["profiles/mine.yaml"] == USERS["profiles/mine.yaml"]
    assert (after["notes.txt"], after["notes.txt.kept-0.1.0"]) == ("ours", "my notes")
    assert small.setup(house, "--rollback").returncode == 0 and users(house) == USERS


def test_a_folder_without_a_list_of_its_files_is_updated_too(house, newer):
    (house / "release.json").unlink()
    small.put(house, {"profiles/demo.yaml": "# perhaps mine\n"})
    before = small.state(house)
    assert small.setup(house, "--update", str(newer)).returncode == 0
    after = small.state(house)
    assert after["profiles/demo.yaml.kept-0.1.0"] == "# perhaps mine\n"
    assert after["profiles/second.yaml"] == "# second\n" and users(house) == USERS and "py/lorabake/gone.py" not in after
    assert small.setup(house, "--rollback").returncode == 0
    assert small.state(house) == before


def test_nothing_happens_while_something_runs(house, newer):
    env = small.with_environment(house)
    before = small.state(house)
    held = venvs.hold(env)
    done = small.setup(house, "--update", str(newer))
    assert done.returncode == 1 and "running" in done.stderr and small.state(house) == before
    os.close(held)
    assert small.setup(house, "--update", str(newer)).returncode == 0


def test_a_file_that_cannot_be_replaced_takes_everything_back(house, newer, monkeypatch, capsys):
    before = small.state(house)
    real = releases.switching.put

    def held(source, path):
        if path.name == "train.ps1" and "releases" not in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        real(source, path)

    small.put(house, {"profiles/demo.yaml": "# my demo\n"})
    before = small.state(house)
    monkeypatch.setattr(releases.switching, "put", held)
    with pytest.raises(releases.UserError, match="no permission"):
        releases.update(newer, house)
    assert small.state(house) == before and not (house / "releases" / "_switch.json").exists()
    assert releases.previous(house) == ""


def test_the_environment_that_the_release_wants_comes_with_it(house, newer):
    env = small.with_environment(house)
    lock = newer / "stacks" / "current" / venvs.REQUIREMENTS
    lock.write_text(lock.read_text(encoding="utf-8") + "another==1.0\n", encoding="utf-8")
    other = house / "venv" / "002"
    shutil.copytree(env, other, symlinks=True)
    small.stamp(other, newer / "stacks" / "current")
    paths.write_json(house / "venv" / kept.PAIR, {"pair": ["001", "002"], "changed": 1.0})
    done = small.setup(house, "--update", str(newer))
    assert done.returncode == 0 and "with the environment 002" in done.stderr, done.stderr
    assert venvs.current(house / "venv").name == "002"
    done = small.setup(house, "--rollback")
    assert done.returncode == 0 and "with the environment 001" in done.stderr, done.stderr


def test_the_newest_change_is_taken_back(house, newer):
    small.with_environment(house)
    assert small.setup(house, "--update", str(newer)).returncode == 0
    other = house / "venv" / "002"
    shutil.copytree(house / "venv" / "001", other, symlinks=True)
    kept.switch(house / "venv", other, keep=house / "venv" / "001")  # as --stack does, after the update
    done = small.setup(house, "--rollback", "--json")
    assert "back to the environment 001" in done.stderr
    told = json.loads(done.stdout)
    assert told["release"]["version"] == "0.2.0" and told["rollback"]["environment"] == "002"


def test_forgetting_frees_the_room(house, newer):
    assert small.setup(house, "--update", str(newer)).returncode == 0
    done = small.setup(house, "--forget-previous")
    assert done.returncode == 0 and "release 0.1.0-" in done.stderr and "freed" in done.stderr
    done = small.setup(house, "--rollback")
    assert done.returncode == 1 and "no earlier environment" in done.stderr


KILLED = """
import os, signal, sys
sys.path.insert(0, os.path.join(sys.argv[1], "py"))
from lorabake import releases, switching
left, replace, begin = int(sys.argv[3]), os.replace, switching.begin
counting = left < 0
left = abs(left)
def dying(one, two):
    global left
    if counting and left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= counting
    replace(one, two)
def begun(*words):
    global counting
    counting = True
    begin(*words)
switching.os.replace, switching.begin = dying, begun
from pathlib import Path
sys.exit(releases.update(Path(sys.argv[2])) if sys.argv[2] else releases.roll_back())
"""


@pytest.mark.skipif(os.name == "nt", reason="kills by a signal")
@pytest.mark.parametrize(
    ("back", "every"), [(False, 2), pytest.param(False, 1, marks=pytest.mark.slow), pytest.param(True, 1, marks=pytest.mark.slow)]
)
def test_killed_at_every_step(house, newer, back, every):
    """Whatever was done by then, the next start of any script finds one release, whole: the old one or the new one."""
    small.put(house, {"train.ps1": "# my train\n"})
    old = small.state(house)
    if back:
        assert small.setup(house, "--update", str(newer)).returncode == 0
    saved = shutil.copytree(house, house.parent / "saved")
    start, seen = small.state(house), []
    for step in [-3, *range(0, 100, every)]:  # once while files are laid in, then at every one that is exchanged
        shutil.rmtree(house)
        shutil.copytree(saved, house)
        words = [sys.executable, "-c", KILLED, str(house), "" if back else str(newer), str(step)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0 and step >= 0:
            break
        assert done.returncode == -signal.SIGKILL or (step < 0 and back), done.stderr
        journal = (house / "releases" / "_switch.json").exists()
        asked = small.setup(house, "--help")
        assert asked.returncode == 0 and ("interrupted" in asked.stderr) == journal, asked.stderr
        now = {name: text for name, text in small.state(house).items() if "_tmp-" not in name}
        seen.append(journal)
        if step >= 0:
            assert (now == start) != journal, f"step {step}: neither the one nor the other"
            assert not journal or not back or now == old
    assert seen.count(True) > 4 // every
    if not back:
        assert small.setup(house, "--rollback").returncode == 0
        assert {name: text for name, text in small.state(house).items() if "_tmp-" not in name} == start


def test_two_starts_after_a_kill_mend_once(house, newer):
    done = subprocess.Popen(
        [sys.executable, "-c", KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "os._exit(9)"), str(house), str(newer), "-1"]
    )
    assert done.wait() == 9
    journal = {"to": "x", "from": "x", "files": [], "kept": [], "state": {"name": "x", "version": "0.1.0"}}
    (house / "releases").mkdir(exist_ok=True)
    (house / "releases" / "_switch.json").write_text(json.dumps(journal), encoding="utf-8")
    both = [
        subprocess.Popen(
            [sys.executable, str(house / "py" / "setup.py"), "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("finished now" in text for _, text in said) <= 1
    assert all("usage" in out for out, _ in said)


def test_the_batch_file_that_started_it_is_exchanged_when_it_has_ended(house, newer):
    small.put(newer, {"setup.bat": "@rem another\n"})
    old = (house / "setup.bat").read_text(encoding="utf-8")
    done = small.setup(house, "--update", str(newer), LORABAKE_BATCH="1")
    assert done.returncode == 0, done.stderr
    assert (house / "setup.bat").read_text(encoding="utf-8") == old and small.state(house)["train.ps1"] == "# launcher of 0.2.0\n"
    assert small.setup(house, "--help", LORABAKE_BATCH="1").returncode == 0, "another start in that moment"
    for _ in range(100):
        if not (house / "releases" / "_switch.json").exists():
            break
        time.sleep(0.1)
    assert (house / "setup.bat").read_text(encoding="utf-8") == "@rem another\n"
    assert small.setup(house, "--rollback").returncode == 0
    assert (house / "setup.bat").read_text(encoding="utf-8") == old


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        data = self.server.files.get(self.path)
        self.send_response(200 if data else 404)
        self.send_header("Content-Length", str(len(data or b"") + self.server.missing))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def shop():
    server = HTTPServer(("127.0.0.1", 0), Shop)
    server.files, server.missing = {}, 0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.address = f"http://127.0.0.1:{server.server_port}/lorabake-{{version}}.zip"
    yield server
    server.shutdown()
    server.server_close()


def test_a_published_release_is_loaded(house, newer, tmp_path, shop):
    before = small.state(house)
    shop.files["/lorabake-0.2.0.zip"] = small.packed(newer, tmp_path / "x.zip").read_bytes()
    where = {"LORABAKE_RELEASES": shop.address}
    done = small.setup(house, "--version", "0.3.0", **where)
    assert done.returncode == 1 and "there is no release 0.3.0" in done.stderr
    shop.missing = 10
    done = small.setup(house, "--version", "0.2.0", **where)
    assert (done.returncode == 1 and "cannot be loaded" in done.stderr) or "broke off" in done.stderr
    assert small.state(house) == before
    shop.missing = 0
    done = small.setup(house, "--version", "0.2.0", **where)
    assert done.returncode == 0, done.stderr
    assert small.record(house)["version"] == "0.2.0" and not list((house / "releases").glob("_tmp-*"))
    assert small.setup(house, "--version", "0.1.0").returncode == 0, "kept releases need no network"


def test_without_an_address_it_says_what_to_do(house):
    done = small.setup(house, "--version", "0.9.0")
    assert done.returncode == 1 and "--update ZIP" in done.stderr and "LORABAKE_RELEASES" in done.stderr
    done = small.setup(house, "--version", "0.9.0", LORABAKE_RELEASES="http://example.invalid/{version}.zip")
    assert done.returncode == 1 and "https only" in done.stderr

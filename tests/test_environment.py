"""Every script begins with ensure(): at once when nothing is to do, in our environment, with its exit code; or in the running Python."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lorabake import environment, paths, venvs
from lorabake.errors import LorabakeError, UsageError, UserError

START_S = 0.3  # design: the next start costs less
WINDOWS_START_S = 2.0  # there the clock on the wall counts, three processes are begun, and the small Windows is slow at that


@pytest.fixture
def checkout(tmp_path):
    """A copy of what runs before anything is installed, with a stamped environment around the Python that runs the tests."""
    root = tmp_path / "lora bake"
    (root / "py" / "lorabake").mkdir(parents=True)
    for name in ("__init__", "console", "errors", "paths", "venvs", "environment"):
        shutil.copy(paths.ROOT / "py" / "lorabake" / f"{name}.py", root / "py" / "lorabake")
    shutil.copytree(paths.STACK, root / "stacks" / "current")
    env = root / "venv" / "007"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", "--symlinks" if os.name == "posix" else "--copies", str(env)], check=True
    )
    paths.write_json(env / venvs.STAMP, stamp_for(env, root / "stacks" / "current"))
    paths.write_text(root / "venv" / "current.txt", "007\n")
    head = f"import sys; sys.path.insert(0, {str(root / 'py')!r})\nfrom lorabake import environment, errors\n\n\ndef main():\n"
    script = head + "    environment.ensure(__file__)\n{body}\n\nerrors.run(main)\n"

    def write(body: str) -> Path:
        path = root / "py" / "go.py"
        path.write_text(script.replace("{body}", "\n".join("    " + line for line in body.splitlines())), encoding="utf-8")
        return path

    return root, env, write


def stamp_for(env, stack):
    base = os.path.realpath(venvs.python_of(env)) if os.name == "posix" else sys.executable
    return {
        "lock": venvs.lock_hash(stack),
        "base": base,
        "python": "3",
        "torch": "2.13.0+cpu",
        "row": "cpu",
        "mark": venvs.driver_mark(),
    }


def start(script, *words, python=None, **variables):
    outside = {name: value for name, value in os.environ.items() if not name.startswith("LORABAKE") and name != "PYTHONDONTWRITEBYTECODE"}
    command = [python or getattr(sys, "_base_executable", sys.executable), str(script), *words]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env={**outside, **variables}, check=False)


def test_the_script_runs_inside_with_its_words_and_exit_code(checkout):
    _, env, write = checkout
    script = write(
        "import os, pathlib\nprint(sys.prefix); print(sys.argv[1:]); print(sys.flags.utf8_mode, sys.flags.no_user_site)\n"
        "print(os.environ.get('PYTHONPATH'), os.environ.get('PYTHONHOME'), os.environ.get('LORABAKE_INSIDE'))\nreturn 12"
    )
    done = start(script, "a b", "--x=\u00e9", 'q"q', "", PYTHONPATH="/elsewhere")
    lines = done.stdout.splitlines()
    assert done.returncode == 12, done.stderr
    assert Path(lines[0]).samefile(env)
    assert lines[1] == repr(["a b", "--x=\u00e9", 'q"q', ""])
    assert lines[2:] == ["1 1", "None None None"]


def test_inside_nothing_is_started_again(checkout):
    _, env, write = checkout
    script = write("import os\nprint(os.getppid())\nreturn 0")
    done = start(script, python=str(venvs.python_of(env)))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == os.getpid() or os.name == "nt"


def test_a_start_with_nothing_to_do_starts_no_program_and_is_quick(checkout):
    _, _, write = checkout
    loaded = "bad = {'pip', 'ssl', 'socket', 'urllib.request', 'venv', 'torch', 'lorabake.builder'} & set(sys.modules)\n"
    script = write(loaded + "print(sorted(bad))\nreturn 0")
    # watched from its first line: any program it starts, any connection it opens ends it with 99 (on Windows but for our own child)
    watch = (
        "import os, sys\n"
        "def watch(event, args):\n"
        "    bad = event in ('subprocess.Popen', 'socket.connect', 'os.system')\n"
        "    return bad and not (os.name == 'nt' and '007' in str(args)) and sys.exit(99)\n"
        "sys.addaudithook(watch)\n"
    )
    script.write_text(watch + script.read_text(encoding="utf-8"), encoding="utf-8")
    assert start(script).stdout == "[]\n"
    seconds = []
    for _ in range(5):
        begin = clock()
        assert start(script).returncode == 0
        seconds.append(clock() - begin)
    assert min(seconds) < (START_S if os.name == "posix" else WINDOWS_START_S), seconds


def clock() -> float:
    """Processor seconds of finished children where the system counts them (other work on the machine does not), else the time of day."""
    if os.name == "nt":
        return time.perf_counter()
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("no current", "there is no environment yet"),
        ("no stamp", "007 was not finished"),
        ("bad stamp", "007 was not finished"),
        ("other set", "pinned set has changed"),
        ("no python", "Python of 007 is gone"),
        ("other base", "gone or replaced"),
    ],
)
def test_an_unfit_environment_is_not_used(checkout, damage, words):
    root, env, _ = checkout
    stack = root / "stacks" / "current"
    if damage == "no current":
        (root / "venv" / "current.txt").unlink()
    elif damage == "no stamp":
        (env / venvs.STAMP).unlink()
    elif damage == "bad stamp":
        (env / venvs.STAMP).write_text("{", encoding="utf-8")
    elif damage == "other set":
        with (stack / venvs.REQUIREMENTS).open("a", encoding="utf-8") as file:
            file.write("another==1.0\n")
    elif damage == "no python":
        venvs.python_of(env).unlink()
    else:
        paths.write_json(env / venvs.STAMP, {**venvs.read_stamp(env), "base": str(root / "python3")})
    assert words in venvs.why_not(venvs.current(root / "venv"), stack)
    assert environment.ready(root=root / "venv", stack=stack) is None


def test_comments_and_line_ends_do_not_make_another_set(checkout):
    root, env, _ = checkout
    file = root / "stacks" / "current" / venvs.REQUIREMENTS
    file.write_bytes(b"# new comment\r\n" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert environment.ready(root=root / "venv", stack=file.parent) == env


def test_a_new_driver_is_looked_at(checkout, monkeypatch):
    root, env, _ = checkout
    stack = root / "stacks" / "current"
    assert environment.ready(root=root / "venv", stack=stack) == env
    monkeypatch.setattr(venvs, "driver_mark", lambda: "NVRM version: 591.44")
    assert environment.ready(root=root / "venv", stack=stack) is None
    paths.write_json(env / venvs.STAMP, {**venvs.read_stamp(env), "mark": "NVRM version: 591.44"})
    monkeypatch.setattr(venvs, "driver_mark", lambda: "")  # a laptop that switched its card off
    assert environment.ready(root=root / "venv", stack=stack) == env


def test_a_moved_folder_still_starts(checkout):
    root, _, write = checkout
    write("print(sys.prefix)\nreturn 0")
    moved = root.parent / "moved"
    root.rename(moved)
    script = moved / "py" / "go.py"
    script.write_text(script.read_text(encoding="utf-8").replace(repr(str(root / "py")), repr(str(moved / "py"))), encoding="utf-8")
    done = start(script)
    assert done.stdout.strip() == str(moved / "venv" / "007"), done.stderr


def test_an_environment_that_does_not_take_is_no_endless_loop(checkout, monkeypatch):
    _, env, _ = checkout
    monkeypatch.setattr(environment, "ready", lambda: env)
    monkeypatch.delenv(environment.CHOICE, raising=False)
    monkeypatch.setenv(environment.GUARD, str(env))
    with pytest.raises(LorabakeError, match="does not run inside"):
        environment.ensure(__file__)


def test_ensure_builds_what_is_not_ready(monkeypatch, tmp_path):
    went = []
    monkeypatch.delenv(environment.CHOICE, raising=False)
    monkeypatch.setattr(environment, "ready", lambda: None)
    monkeypatch.setattr(environment, "build", lambda: tmp_path)
    monkeypatch.setattr(environment, "rerun", lambda env, script: went.append((env, script)))
    environment.ensure("x.py")
    assert went == [(tmp_path, "x.py")]


@pytest.mark.parametrize(
    ("body", "code"),
    [("raise SystemExit(12)", 12), ("import os; os._exit(20)", 20), ("", 0)],
)
def test_a_childs_exit_code_is_ours(body, code):
    before = signal.getsignal(signal.SIGINT)
    try:
        assert environment.run_child([sys.executable, "-c", body], dict(os.environ)) == code
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name == "nt", reason="signals are sent another way there")
def test_ctrl_c_reaches_the_child_and_its_answer_comes_back(tmp_path):
    inner = "import signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(13))\nprint('up', flush=True)\ntime.sleep(60)\n"
    outer = (
        f"import os, sys; sys.path.insert(0, {str(paths.ROOT / 'py')!r})\nfrom lorabake import environment\n"
        f"sys.exit(environment.run_child([sys.executable, '-c', {inner!r}], dict(os.environ)))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, start_new_session=True)
    assert parent.stdout.readline() == b"up\n"
    time.sleep(0.3)
    os.killpg(parent.pid, signal.SIGINT)  # as a console does: to both
    assert parent.wait(30) == 13
    parent.stdout.close()


def test_codes_of_children_that_died(capsys):
    assert environment.exit_code_of(11) == 11
    assert environment.exit_code_of(0xC000013A) == 13
    assert environment.exit_code_of(-2) == 13
    assert environment.exit_code_of(0xC0000005) == 3
    assert environment.exit_code_of(-9) == 3
    assert "0xc0000005" in capsys.readouterr().err


def test_bitsandbytes_is_not_led_astray_by_an_old_guides_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("BNB_CUDA_VERSION", "116")
    assert "BNB_CUDA_VERSION" not in environment.inner_variables(tmp_path)


def test_the_stacks_say_which_torch_is_accepted():
    ranges = venvs.torch_ranges()
    assert venvs.ranges_text(ranges) == "2.7 and 2.11 to 2.13"
    for table in paths.STACK.parent.glob("*/torch.json"):
        data = json.loads(table.read_text(encoding="utf-8"))
        version = tuple(int(part) for part in data["version"].split(".")[:2])
        assert any(first <= version < below for first, below in ranges) and data["for"]


def test_the_running_python_as_it_is(monkeypatch):
    monkeypatch.setenv(environment.CHOICE, "current")
    monkeypatch.setattr(environment, "build", lambda: pytest.fail("nothing may be installed"))
    monkeypatch.setattr(environment, "rerun", lambda *_: pytest.fail("nothing may be started"))
    environment.ensure(__file__)


def test_the_running_python_is_told_all_that_is_missing(monkeypatch):
    monkeypatch.setenv(environment.CHOICE, "current")
    monkeypatch.setattr(environment, "NEEDED", {"nothing_like_it": "nothing", "neither_this": "neither", "torch": "torch"})
    monkeypatch.setattr(venvs, "torch_ranges", lambda: [((1, 7), (1, 8)), ((1, 11), (1, 14))])
    with pytest.raises(UserError) as told:
        environment.ensure(__file__)
    text = str(told.value)
    assert "missing: nothing, neither" in text
    assert "lorabake runs on 1.7 and 1.11 to 1.13" in text
    assert "pip install -r" in text


def test_an_unknown_choice_is_refused(monkeypatch):
    monkeypatch.setenv(environment.CHOICE, "conda")
    with pytest.raises(UsageError, match="conda"):
        environment.ensure(__file__)


def test_what_runs_first_parses_on_old_pythons():
    """A Python of the wrong version must reach our sentence, not a syntax error."""
    first = [
        "__init__",
        "console",
        "errors",
        "paths",
        "hardware",
        "venvs",
        "environment",
        "builder",
        "installer",
        "pythons",
        *("kept", "setup_lock", "switching", "workshop", "offline", "offline_make"),
        *("release", "release_files", "release_source", "release_git", "releases", "setup_words", "setup_job"),
        "torch_builds",
        "pe_version",
        "dll_needs",
        "dll_files",
        "dlls",
        "accelerate_config",
        "doctor",
    ]
    files = [paths.ROOT / "py" / "lorabake" / f"{name}.py" for name in first]
    for path in [*files, *(paths.ROOT / "py").glob("*.py")]:
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    for path in files[1:]:
        assert "from __future__ import annotations" in path.read_text(encoding="utf-8"), path

"""The front door on Windows: setup.bat with the Pythons that people have, shortcuts with what Explorer drops, PowerShell's policy.

py\\setup.py is a stand-in where only setup.bat is looked at; nothing is installed but an empty environment.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import tools
from lorabake import venvs
from windows_house import DRIVE_C, FOLDER, START_LIMIT_S, copy_to, of_windows, start

pytestmark = [pytest.mark.windows, pytest.mark.skipif(os.name == "nt", reason="a PC whose Pythons the test chooses is needed")]
PYTHON = r"C:\Python\python.exe"
STAND_IN = """import json, os, sys
print(json.dumps({"script": sys.argv[0], "words": sys.argv[1:], "python": sys.executable,
                  **{name: os.environ.get(name) for name in ("LORABAKE_ASK", "PYTHONHOME", "PYTHONPATH")}}))
sys.exit(int(os.environ.get("ANSWER", "0")))
"""
FAR_TOO_LONG_S = 30.0
NO_MENUS = "WINEDLLOVERRIDES=mshtml=;ucrtbase=n,b;winemenubuilder.exe=d"  # Wine puts shortcuts into Linux' menus, in its own time
CLICKED, TYPED = 'CMDCMDLINE=cmd.exe /c ""C:\\x\\setup.bat" "', "CMDCMDLINE=C:\\windows\\system32\\cmd.exe"
FROM_A_PROGRAM = 'CMDCMDLINE=cmd.exe /c ""C:\\x\\setup.bat""'  # the Task Scheduler's way, and PowerShell's
INSTALLED = r"""@echo off
echo winget %*
C:\Python\python.exe -I -c "import os, shutil; shutil.copytree(r'{}', os.path.expandvars(r'%%LOCALAPPDATA%%\Programs\Python\Python312'))"
"""
CMD = "import os, subprocess, sys; os.environ['LOCALAPPDATA'] = sys.argv[1]; sys.exit(subprocess.call(sys.argv[2:]))"
EXPLORER = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1]) & 0xFF)"


@pytest.fixture(scope="module")
def above():
    tools.windows()
    folder = Path(tempfile.mkdtemp(prefix="me", dir=DRIVE_C / "users"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def front(above):
    """setup.bat and a stand-in for py\\setup.py in a folder that is hard on batch files."""
    folder = above / FOLDER / "it's a!b ^c;d, [e]"
    (folder / "py").mkdir(parents=True)
    shutil.copy(tools.ROOT / "setup.bat", folder)
    (folder / "py" / "setup.py").write_text(STAND_IN, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def house(above):
    """The real thing, without an environment."""
    return copy_to(above / FOLDER / "lorabake")


LIES = """import sys
if "Python39" in sys.executable: sys.version_info = (3, 9, 13, 'final', 0)
if "-32" in sys.executable: sys.maxsize = 2**31 - 1
"""


def python_in(folder):
    """A python.exe in a folder as an installer makes it; by the folder's name it pretends to be old or of 32 bits."""
    library = folder.parent / "Lib" / "site-packages"
    library.mkdir(parents=True, exist_ok=True)
    (library / "sitecustomize.py").write_text(LIES, encoding="utf-8")
    folder.mkdir()
    shutil.copy(DRIVE_C / "Python" / "Lib" / "venv" / "scripts" / "nt" / "python.exe", folder)
    (folder / "pyvenv.cfg").write_text("home = C:\\Python\nversion = 3.11.9\n", encoding="utf-8")
    return folder


def by_cmd(local, *words):
    """setup.bat by cmd, with the user's local programs in `local`; PATH and other variables come with the start."""
    return [PYTHON, "-I", "-c", CMD, of_windows(local), "cmd.exe", "/c", "setup.bat", *words]


def setup(folder, *words, path="", local=None, variables=()):
    """setup.bat where nobody is, with `path` in front of Windows' own."""
    return windowed(folder, *by_cmd(local or folder / "none", *words), variables=(f"WINEPATH={path}", *variables))


def windowed(folder, *command, variables=()):
    """`start`, with files for its output: whoever first makes a window (COM does) starts Wine's desktop, which would hold pipes open."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        words = [*tools.windows(), NO_MENUS, *variables, *command]
        done = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=START_LIMIT_S, check=False)
        texts = [file.seek(0) or file.read().decode("utf-8", "replace").replace("\r\n", "\n") for file in (out, err)]
    return subprocess.CompletedProcess(words, done.returncode, *texts)


def told(done):
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


def test_words_code_and_anothers_variables(front):
    variables = ["ANSWER=12", r"PYTHONHOME=C:\nowhere", r"PYTHONPATH=C:\nowhere", r"CONDA_PREFIX=C:\conda", r"VIRTUAL_ENV=C:\other"]
    done = setup(front, "-Torch", "a b", "--x=caf\u00e9", path=r"C:\Python", variables=variables)
    assert done.returncode == 12, done.stderr
    found = told(done)
    assert found["words"] == ["-Torch", "a b", "--x=caf\u00e9"]
    assert found["script"] == of_windows(front / "py" / "setup.py")
    assert (found["PYTHONHOME"], found["PYTHONPATH"], found["LORABAKE_ASK"]) == (None, None, None), "words: nobody is asked"


def test_from_another_drive(front):
    done = start(Path("/tmp"), "cmd.exe", "/c", "call", of_windows(front / "setup.bat"), "-Check")
    assert done.returncode == 0 and told(done)["script"] == of_windows(front / "py" / "setup.py"), done.stderr


def test_no_python_at_all(front):
    done = setup(front)
    assert done.returncode == 1 and "no 64-bit Python 3.11 to 3.13 was found" in done.stderr
    assert "https://www.python.org/downloads/windows/" in done.stderr, "there is no winget here"


def test_only_pythons_that_do_not_fit(front, above):
    """A 3.9 and a 32-bit one among the user's programs, the Store's placeholder on PATH."""
    local = above / "AppData old"
    python_in(local / "Programs" / "Python" / "Python39")
    python_in(local / "Programs" / "Python" / "Python311-32")
    store = above / "WindowsApps"
    store.mkdir()
    (store / "python.exe").touch()
    done = setup(front, path=of_windows(store), local=local)
    assert done.returncode == 1
    assert "not used: Python 3.9, 64 bits" in done.stdout and "not used: Python 3.11, 32 bits" in done.stdout, done.stdout
    assert "no 64-bit Python" in done.stderr and "only a placeholder" in done.stderr


def test_one_among_the_users_programs_and_one_that_only_the_registry_knows(front, above):
    local = above / "AppData new"
    python_in(local / "Programs" / "Python" / "Python39")
    fitting = python_in(local / "Programs" / "Python" / "Python312")
    assert told(setup(front, local=local))["python"].lower() == of_windows(fitting / "python.exe").lower()
    elsewhere = of_windows(python_in(above / "My Pythons & (more)") / "python.exe")
    key = r"HKCU\Software\Python\PythonCore\3.12\InstallPath"
    start(front, "reg.exe", "add", key, "/v", "ExecutablePath", "/d", elsewhere, "/f")
    try:
        assert told(setup(front))["python"].lower() == elsewhere.lower()
    finally:
        start(front, "reg.exe", "delete", r"HKCU\Software\Python", "/f")


def test_winget_brings_one_after_a_yes_and_never_without(front, above):
    """winget is a stand-in that does what the real one does: a new Python among the user's programs, not on this window's PATH."""
    from terminal import Terminal

    local, programs = above / "AppData winget", above / "winget"
    fresh = python_in(above / "fresh")
    programs.mkdir()
    (programs / "winget.bat").write_text(INSTALLED.format(of_windows(fresh)), encoding="ascii", newline="\r\n")
    done = setup(front, "-NoPause", path=of_windows(programs), local=local)
    assert done.returncode == 1 and "winget install --exact --id Python.Python.3.12" in done.stderr
    assert not local.exists() and "Type y" not in done.stdout + done.stderr
    words = [*tools.windows(), f"WINEPATH={of_windows(programs)}", TYPED, *by_cmd(local)]
    for answer, code in (("", 1), ("y", 0)):
        with Terminal(words, cwd=front) as window:
            window.expect("Type y and Enter", timeout_s=60)
            window.type(f"{answer}\r")
            assert window.wait(timeout_s=60) == code, window.text()
        assert local.exists() == (answer == "y")
    assert "Python312" in window.text().replace("\r\n", "") and '"LORABAKE_ASK": "1"' in window.text().replace("\r\n", "")


@pytest.mark.parametrize(("how", "asked", "waits"), [(CLICKED, "1", True), (TYPED, "1", False), (FROM_A_PROGRAM, None, False)])
def test_who_is_asked_and_whose_window_waits(front, how, asked, waits):
    done = setup(front, path=r"C:\Python", variables=[how])
    assert done.returncode == 0 and told(done)["LORABAKE_ASK"] == asked
    assert ("Press any key" in done.stdout) == waits


def test_a_network_folder_is_refused_in_a_sentence(front):
    done = start(front, "cmd.exe", "/c", "call", rf"\\.\unix{front}\setup.bat".replace("/", "\\"), variables=[FROM_A_PROGRAM])
    assert done.returncode == 1 and "this folder is on the network" in done.stderr and "drive letter" in done.stderr


def test_a_folder_that_cannot_be_written(house):
    """As in Program Files without rights: nothing can be made, and the sentence says where to put lorabake."""
    locked = subprocess.run(["chattr", "+i", str(house)], capture_output=True, check=False).returncode == 0
    if not locked:  # not every disk knows that; a file in the folder's place is refused at the same spot
        (house / "venv").write_text("", encoding="utf-8")
    try:
        done = setup(house, path=r"C:\Python")
    finally:
        if locked:
            subprocess.run(["chattr", "-i", str(house)], check=True)
        (house / "venv").unlink(missing_ok=True)
    assert done.returncode == 1 and "the environment cannot be made here" in done.stderr, done.stderr
    assert "not Program Files" in done.stderr and "Traceback" not in done.stderr


def test_pip_fails_in_the_middle_and_the_next_start_goes_on(house):
    """The index does not answer: the sentence, the empty environment kept, and gone on with by the next start."""
    silent = ["PIP_INDEX_URL=http://127.0.0.1:9/simple", "PIP_RETRIES=1", "PIP_CONFIG_FILE=nul"]
    for words in ("into", "going on with 001, which was not finished (venv done)"):
        done = setup(house, path=r"C:\Python", variables=silent)
        assert done.returncode == 1 and "the package index cannot be reached" in done.stderr, done.stdout + done.stderr
        assert words in done.stderr and "finished steps are kept" in done.stderr
    assert not (house / "venv" / "current.txt").exists()
    shutil.rmtree(house / "venv" / "001")


@pytest.fixture(scope="module")
def finished(house):
    """An environment with nothing in it that passes for a finished one."""
    env = house / "venv" / "001"
    start(house, PYTHON, "-m", "venv", "--without-pip", of_windows(env))
    stamp = {"lock": venvs.lock_hash(house / "stacks" / "current"), "base": PYTHON, "mark": "", "row": "cpu"}
    (env / venvs.STAMP).write_text(json.dumps(stamp), encoding="utf-8")
    (house / "venv" / "current.txt").write_text("001\n", encoding="utf-8")
    code = "import sys; sys.path.insert(0, 'py'); from lorabake import paths, setup_job, venvs; e = venvs.current(paths.VENV); "
    code += "paths.write_json(e / setup_job.SEEN, {'packages': setup_job.packages(e)})"
    assert start(house, PYTHON, "-c", code).returncode == 0
    return env


def test_a_second_start_looks_at_little(house, finished):
    """What it takes is measured by bench/plan_time.py; here, that neither torch nor any package's file is looked at."""
    begin = time.monotonic()
    done = start(house, "cmd.exe", "/c", "setup.bat")
    assert done.returncode == 0 and "nothing was to do" in done.stderr, done.stderr
    assert time.monotonic() - begin < FAR_TOO_LONG_S


def python_says(house, code):
    """What lorabake's Python prints on this PC."""
    done = windowed(house, PYTHON, "-X", "utf8", "-c", f"import sys; sys.path.insert(0, 'py'); {code}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


DROPS = ["a b.yaml", "a,b.yaml", "a&b.yaml", "100%.yaml", "%PATH%.yaml", "[1] ^x.yaml", "it's (2).yaml", "\u732b!.yaml", "a;b=c.yaml"]


def test_shortcuts_take_drops_and_go_away_again(house, finished):
    """Made by Windows' own IShellLink, read back, started by exactly the command line that Explorer makes of a drop."""
    desktop = DRIVE_C / "users" / "root" / "Desktop"
    stranger = desktop / "Convert models.lnk"
    stranger.write_bytes(b"another program's")
    try:
        done = setup(house, "-Shortcuts", path=r"C:\Python")
        assert done.returncode == 0, done.stderr
        assert {path.name for path in desktop.glob("*.lnk")} >= {
            *("Bake a LoRA.lnk", "Tag pictures.lnk", "Convert models (2).lnk", "Extract a LoRA.lnk", "Convert models.lnk")
        }
        read = "from lorabake import shell_links as s; x = s.read(s.desktop() / 'Bake a LoRA.lnk'); print(x.target); print(x.arguments)"
        target, arguments = python_says(house, read).splitlines()
        assert target == PYTHON and arguments.startswith("-I ") and arguments.endswith(" train")
        (house / "py" / "train.py").write_text(STAND_IN, encoding="utf-8")
        dropped = [f"C:\\My profiles\\{name}" for name in DROPS] + ["C:\\short&.yaml", "D:\\a,b"]
        quoted = [f'"{path}"' if " " in path else path for path in dropped]  # Explorer quotes only where a blank is
        line = " ".join([f'"{target}"', arguments, *quoted])
        wrong = ["ANSWER=13", r"PYTHONHOME=C:\nowhere2", r"PYTHONPATH=C:\x"]
        done = windowed(house, PYTHON, "-I", "-c", EXPLORER, line, variables=wrong)
        found = told(done)
        assert found["words"] == ["--", *dropped] and found["PYTHONHOME"] is None
        assert done.returncode == 13, done.stderr
        assert found["python"].lower() == of_windows(finished / "Scripts" / "python.exe").lower()
        done = setup(house, "-NoShortcuts", path=r"C:\Python")
        assert done.returncode == 0 and "Convert models (2)" in done.stdout
        assert [path.name for path in desktop.glob("*.lnk")] == [stranger.name] and stranger.read_bytes() == b"another program's"
    finally:
        stranger.unlink()
        shutil.copy(tools.ROOT / "py" / "train.py", house / "py" / "train.py")


def test_a_shortcuts_window_stays_open(house, finished):
    from terminal import Terminal

    script = of_windows(house / "py" / "dropped.py")
    with Terminal([*tools.windows(), PYTHON, "-I", script, "bake"], cwd=house) as window:
        window.expect("is no job of a shortcut", timeout_s=60)
        window.expect("Press Enter to close this window", timeout_s=30)
        assert window.read(1), "it did not wait"
        window.type("\r")
        assert window.wait(timeout_s=60) == 2


OWN_KEY = r"HKCU\Software\Microsoft\PowerShell\1\ShellIds\Microsoft.PowerShell"


def policy(house):
    done = start(house, "reg.exe", "query", OWN_KEY, "/v", "ExecutionPolicy")
    return done.stdout.split()[-1] if done.returncode == 0 else None


@pytest.mark.parametrize("before", [None, "AllSigned"])
def test_the_users_own_policy_is_set_after_a_word_and_comes_back(house, before):
    assert policy(house) is None
    if before:
        start(house, "reg.exe", "add", OWN_KEY, "/v", "ExecutionPolicy", "/d", before, "/f")
    try:
        done = setup(house, "-AllowScripts", path=r"C:\Python")
        assert done.returncode == 0 and "RemoteSigned" in done.stdout and policy(house) == "RemoteSigned", done.stdout + done.stderr
        assert "nothing to do" in setup(house, "-AllowScripts", path=r"C:\Python").stdout
        assert setup(house, "-UndoAllowScripts", path=r"C:\Python").returncode == 0 and policy(house) == before
        assert "nothing to undo" in setup(house, "-UndoAllowScripts", path=r"C:\Python").stdout
    finally:
        start(house, "reg.exe", "delete", OWN_KEY, "/v", "ExecutionPolicy", "/f")
        start(house, "reg.exe", "delete", r"HKCU\Software\lorabake", "/f")


def press_a_key(window):
    """Until the window closes: cmd forgets keys that were pressed before it asked. The exit code."""
    window.expect("Press any key", timeout_s=60)
    for _ in range(20):
        window.type(" ")
        if not all(window.read(0.2) for _ in range(5)):
            break
    return window.wait(timeout_s=10)


def test_offers_are_asked_once_in_a_window(house, finished):
    """A double-click after the environment was made: each offer, a yes done, answers remembered; the next one asks nothing."""
    from terminal import Terminal

    words = [*tools.windows(), NO_MENUS, r"WINEPATH=C:\Python", CLICKED, "cmd.exe", "/c", "setup.bat"]
    desktop = DRIVE_C / "users" / "root" / "Desktop"
    try:
        with Terminal(words, cwd=house) as window:
            for question, answer in (("Let this user", ""), ("Put shortcuts on your desktop", "y"), ("Install ImageMagick", "")):
                window.expect(question, timeout_s=60)
                window.expect(">", timeout_s=30)
                window.type(f"{answer}\r")
            assert press_a_key(window) == 0
        assert (desktop / "Bake a LoRA.lnk").is_file() and policy(house) is None
        with Terminal(words, cwd=house) as window:
            assert press_a_key(window) == 0
        assert "Type y" not in window.text() and "nothing was to do" in window.text()
    finally:
        setup(house, "-NoShortcuts", path=r"C:\Python")
        (house / "venv" / "offers.json").unlink(missing_ok=True)
    assert not list(desktop.glob("Bake a LoRA*.lnk"))


def test_imagemagick_is_found_by_the_registry(house):
    """wand itself looks in one place only; a 64-bit DLL's head is enough to be seen."""
    from test_magick import dll

    folder = dll(house.parent / "ImageMagick 7")
    ask = "from lorabake import magick; import os; magick.prepare(); print(repr(magick.lost())); print(os.environ.get('MAGICK_HOME'))"
    assert python_says(house, ask).splitlines() == [repr("pictures of 16 bits a channel become 8 when they are flattened"), "None"]
    key = r"HKCU\SOFTWARE\ImageMagick\Current"
    start(house, "reg.exe", "add", key, "/v", "LibPath", "/d", of_windows(folder), "/f")
    try:
        assert python_says(house, ask).splitlines() == ["''", of_windows(folder)]
    finally:
        start(house, "reg.exe", "delete", r"HKCU\SOFTWARE\ImageMagick", "/f")

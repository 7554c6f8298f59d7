"""The launchers, in a real PowerShell where there is one: they find Python, hand the typed words on unchanged, return its exit code."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_pwsh

import tools

ROOT = tools.ROOT
LAUNCHERS = {"train.ps1": "py/train.py", "tag.ps1": "py/tag.py", "convert.ps1": "py/convert.py", "extract.ps1": "py/extract.py"}
WITHOUT_A_NAME = {"train.ps1": "profile-path", "tag.ps1": "dataset", "convert.ps1": "path"}  # what Python takes as it is
SCRIPTS = [*LAUNCHERS, *(f"ps/{path.name}" for path in sorted((ROOT / "ps").iterdir()))]
DOORS = {"info": "file", "merge": "lora", "resize": "file", "scrub": "file", "import": "file"}  # of convert.ps1 to lora.py
ONLY_OF_THE_LAUNCHER = {"no-pause"}
MOST_LINES_OF_CODE = 16
PARAMETER = re.compile(
    r"^\s+(?:\[Parameter\(.*?\)\] )?(?:\[ArgumentCompleter\(\{(?P<offered>.*?)\}\)\] )?\[(?:switch|string(?:\[\])?)\] \$(?P<name>\w+),?$",
    re.M | re.S,
)
PYTHON = """import json, os, sys
told = {name: os.environ.get(name) for name in ("PYTHONUTF8", "PYTHONNOUSERSITE", "PYTHONHOME", "PYTHONPATH")}
print(json.dumps({"script": sys.argv[0], "words": sys.argv[1:], "variables": told}))
print("to stderr, \\u00e9", file=sys.stderr)
sys.exit(int(os.environ.get("ANSWER", "0")))
"""


@pytest.mark.parametrize("name", [*SCRIPTS, "setup.bat"])
def test_ascii_and_windows_line_ends(name):
    data = (ROOT / name).read_bytes()
    data.decode("ascii")
    assert data.count(b"\n") == data.count(b"\r\n"), (
        f"{name}: git writes CRLF here (.gitattributes): git rm --cached it and check it out again"
    )


def test_git_keeps_the_line_ends():
    attributes = (ROOT / ".gitattributes").read_text(encoding="utf-8")
    assert [kind for kind in ("*.ps1", "*.psm1", "*.bat") if f"{kind} text eol=crlf" not in attributes] == []


@pytest.mark.parametrize("name", LAUNCHERS)
def test_short_and_without_settings(name):
    text = re.sub(r"<#.*?#>", "", (ROOT / name).read_text(encoding="ascii"), flags=re.S)
    code = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    words = PARAMETER.findall(text)  # as many as Python has options
    assert len(code) - len(words) <= MOST_LINES_OF_CODE
    assert not re.search(r"\]\s*\$\w+\s*=", text), "a parameter with a default: defaults live in the profile's settings"


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_that_5_1_lacks(name):
    done = subprocess.run([*tools.linter(), str(ROOT / name)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def mistakes(script):
    """The places where another parser than PowerShell's own finds no PowerShell, [] where it reads all of it."""
    tree = tree_sitter.Parser(tree_sitter.Language(tree_sitter_pwsh.language())).parse(script)
    nodes, found = [tree.root_node], []
    while nodes:
        node = nodes.pop()
        found += [node.start_point] if node.type == "ERROR" or node.is_missing else []
        nodes += node.children
    return found


@pytest.mark.parametrize("name", SCRIPTS)
def test_parses_where_there_is_no_powershell(name):
    script = (ROOT / name).read_bytes()
    assert mistakes(script) == []
    assert mistakes(script + b"\r\nif ($x { 1 }\r\n"), "a mistake is found"


@pytest.mark.parametrize("name", SCRIPTS)
def test_stderr_of_programs_is_never_redirected(name):
    assert not re.search(r"2>|\*>", (ROOT / name).read_text(encoding="ascii"))


def options_of(script, *door):
    """{option: its choices} as --help shows them."""
    command = [sys.executable, str(ROOT / script), *door, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    found = re.findall(r"^  --([a-z-]+)(?: \{(.*?)\})?", shown, flags=re.M | re.S)
    return {name: re.sub(r"\s", "", choices).split(",") if choices else [] for name, choices in found if name != "help"}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_words_are_the_options(name):
    """Each parameter is an option of Python (or a door of convert.ps1), each option a parameter; the Tab key offers its choices."""
    text = (ROOT / name).read_text(encoding="ascii")
    parameters = {re.sub(r"(?<=[a-z])(?=[A-Z])", "-", found["name"]).lower(): found["offered"] for found in PARAMETER.finditer(text)}
    options = options_of(LAUNCHERS[name])
    if name == "convert.ps1":
        assert {*re.findall(r"\(ParameterSetName = '(\w+)'\)\] \[switch\]", text)} == {door.capitalize() for door in DOORS}
        for door in DOORS:
            options.update({**options_of("py/lora.py", door), door: []})
        options["precision"] = ["keep", "fp16", "bf16", "fp32"]
    without_a_name = {WITHOUT_A_NAME[name]} if name in WITHOUT_A_NAME else set()
    assert {*parameters} - without_a_name - ONLY_OF_THE_LAUNCHER == {*options}
    assert without_a_name <= {*parameters}
    offered = {parameter: re.findall(r"'(.*?)'", text or "") for parameter, text in parameters.items() if parameter in options}
    assert {parameter: choices for parameter, choices in options.items() if choices} == {
        parameter: choices for parameter, choices in offered.items() if options[parameter]
    }


COMPLETE = """function Show($typed) {
    $found = [System.Management.Automation.CommandCompletion]::CompleteInput($typed, $typed.Length, $null)
    "$typed -> $($found.CompletionMatches.CompletionText -join ' ')"
}
"""


def test_the_tab_key_goes_through_the_profiles(copy):
    (copy / "profiles").mkdir()
    for profile in ("junwool", "it's $mine", "other"):
        (copy / "profiles" / f"{profile}.yaml").write_text("", encoding="utf-8")
    typed = ["./train.ps1 ju", "./train.ps1 -ProfilePath it", "./convert.ps1 a.ckpt -Precision ", "./tag.ps1 x -Preset "]
    script = copy.parent / "complete.ps1"
    script.write_text(COMPLETE + "\n".join(f"Show '{line}'" for line in typed), encoding="ascii")
    code, stdout, stderr = powershell(["-File", str(script)], cwd=copy)
    assert code == 0, stderr
    quoted = [f"'{copy / 'profiles' / name}'".replace("it's", "it''s") for name in ("junwool.yaml", "it's $mine.yaml")]
    assert stdout.splitlines() == [
        f"{typed[0]} -> {quoted[0]}",
        f"{typed[1]} -> {quoted[1]}",
        f"{typed[2]} -> keep fp16 bf16 fp32",
        f"{typed[3]} -> none style character concept",
    ]


def test_converts_doors_are_lora_pys_commands(copy):
    def told_by(*words):
        code, stdout, stderr = powershell(["-File", str(copy / "convert.ps1"), *words], cwd=copy.parent)
        assert code == 0, stderr
        found = told(stdout)
        return Path(found["script"]).name, found["words"]

    assert told_by("a.ckpt", "-Precision", "fp16") == ("convert.py", ["--precision=fp16", "--", "a.ckpt"])
    assert told_by("-Info", "a b.pt,c.pt", "-Json") == ("lora.py", ["info", "--json", "--", "a b.pt", "c.pt"])
    assert told_by("a.pt=0.8,b.pt=0.5,-0.25,c.pt", "-Merge", "-Out", "x y") == (
        "lora.py",
        ["merge", "--out=x y", "--", "a.pt=0.8", "b.pt=0.5,-0.25", "c.pt"],
    )
    assert powershell(["-File", str(copy / "convert.ps1"), "-Info", "-Scrub", "x"], cwd=copy.parent)[0] == 1


@pytest.fixture
def copy(tmp_path):
    """The launchers in a folder that is hard on quoting, with a Python that tells what it was started with."""
    folder = tmp_path / "My Loras \u00e9 & [1] it's $x 100%"
    (folder / "py").mkdir(parents=True)
    shutil.copytree(ROOT / "ps", folder / "ps")
    for name in LAUNCHERS:
        shutil.copy(ROOT / name, folder)
    for name in ("train.py", "convert.py", "lora.py", "setup.py"):
        (folder / "py" / name).write_text(PYTHON, encoding="utf-8")
    if os.name == "posix":
        (folder / "venv" / "007" / "bin").mkdir(parents=True)
        (folder / "venv" / "007" / "bin" / "python").symlink_to(sys.executable)
    else:
        shutil.copytree(Path(sys.prefix) / "Scripts", folder / "venv" / "007" / "Scripts")
        shutil.copy(Path(sys.prefix) / "pyvenv.cfg", folder / "venv" / "007")
    (folder / "venv" / "current.txt").write_text("007\n", encoding="utf-8")
    return folder


def start(folder, *words, command=None, **variables):
    """Run train.ps1 by -File with `words`, or a whole PowerShell `command`. (exit code, stdout, stderr)"""
    how = ["-Command", command] if command else ["-File", str(folder / "train.ps1"), *words]
    return powershell(how, cwd=folder.parent, **variables)


def powershell(how, *, cwd=None, **variables):
    done = subprocess.run(
        [tools.powershell(), "-NoProfile", *how],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "LORABAKE_PYTHON": "", **variables},
        cwd=cwd,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def told(stdout):
    return json.loads(next(line for line in stdout.splitlines() if line.startswith("{")))


def test_without_words_nothing_is_passed_on(copy):
    code, stdout, stderr = start(copy)
    assert code == 0
    assert told(stdout)["words"] == []
    assert Path(told(stdout)["script"]) == copy / "py" / "train.py"
    assert "to stderr, \u00e9" in stderr


@pytest.mark.parametrize("answer", [0, 1, 2, 3, 10, 11, 12, 13, 20])
def test_each_exit_code_comes_back(copy, answer):
    assert start(copy, "a.yaml", ANSWER=str(answer))[0] == answer


def test_words_arrive_unchanged(copy):
    awkward = ["a b", 'q"x', 'q" x"', "c:\\a b\\", 'c:\\a\\"', "$x", "[1]", "it's", "%PATH%", "\u00e9", "-dash", "*", 'back\\\\" z\\\\']
    typed = ",".join("'" + word.replace("'", "''") + "'" for word in awkward)
    script = str(copy / "train.ps1").replace("'", "''")
    code, stdout, _ = start(copy, command=f"& '{script}' -Set {typed} -PlanOnly -ProfilePath {typed}")
    assert code == 0
    assert told(stdout)["words"] == [*(f"--set={word}" for word in awkward), "--plan-only", "--", *awkward]


def test_only_what_was_typed_and_not_what_is_powershells(copy):
    _, stdout, _ = start(copy, "a.yaml,b.yaml", "-planonly", "-Verbose", "-NoPause")
    assert told(stdout)["words"] == ["--plan-only", "--", "a.yaml", "b.yaml"]
    _, stdout, _ = start(copy, "-PlanOnly:$false", "-SkipBad")
    assert told(stdout)["words"] == ["--skip-bad"]


def test_a_comma_in_a_file_name(copy):
    (copy.parent / "red, blue.yaml").write_text("", encoding="utf-8")
    assert told(start(copy, "red, blue.yaml")[1])["words"] == ["--", "red, blue.yaml"]


def test_a_word_that_is_not_known_runs_nothing(copy):
    code, stdout, _ = start(copy, "-PlanOnlyy")
    assert code == 1 and "{" not in stdout


def test_anothers_python_variables_do_not_reach_ours(copy):
    outside = {"PYTHONHOME": str(copy), "PYTHONPATH": str(copy)}
    script = str(copy / "train.ps1").replace("'", "''")
    _, stdout, _ = start(copy, command=f"& '{script}'; \"after: $env:PYTHONPATH, [$env:PYTHONUTF8]\"", PYTHONUTF8="", **outside)
    assert told(stdout)["variables"] == {"PYTHONUTF8": "1", "PYTHONNOUSERSITE": "1", "PYTHONHOME": None, "PYTHONPATH": None}
    assert f"after: {copy}, []" in stdout, "the session that started it has its own back"


@pytest.mark.skipif(os.name == "nt", reason="test_windows.py runs setup.bat")
def test_without_an_environment_setup_runs_first(copy):
    (copy / "venv" / "current.txt").unlink()
    code, stdout, _ = start(copy, "a.yaml", ANSWER="12")
    assert code == 12
    assert Path(told(stdout)["script"]).name == "setup.py"


def test_a_key_is_waited_for_only_in_explorers_window(copy):
    """Nothing is typed here, so this ends only when no key is waited for."""
    script = str(copy / "train.ps1").replace("'", "''")
    right_click = f"if((Get-ExecutionPolicy ) -ne 'AllSigned') {{ Set-ExecutionPolicy -Scope Process Bypass }}; & '{script}'"
    assert told(start(copy, command=right_click)[1])["words"] == []


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
def test_the_console_stays_pythons_own_and_explorers_window_stays_open(copy):
    from terminal import Terminal

    script = str(copy / "train.ps1").replace("'", "''")
    (copy / "py" / "train.py").write_text("import sys; print('live:', sys.stdout.isatty(), sys.stderr.isatty())", encoding="utf-8")
    right_click = f"if((Get-ExecutionPolicy ) -ne 'AllSigned') {{ Set-ExecutionPolicy -Scope Process Bypass }}; & '{script}'"
    with Terminal([tools.powershell(), "-NoProfile", "-Command", right_click], cwd=copy) as window:
        window.expect("live: True True", timeout_s=60)
        window.expect("Press Enter to close this window", timeout_s=30)
        window.type("\r")
        assert window.wait(timeout_s=30) == 0


SLEEPER = """import signal, time
try:
    print('sleeping', flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(1)
    print('state saved', flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
def test_after_control_c_explorers_window_stays_open_too(copy):
    from terminal import Terminal

    script = str(copy / "train.ps1").replace("'", "''")
    (copy / "py" / "train.py").write_text(SLEEPER, encoding="utf-8")
    right_click = f"if((Get-ExecutionPolicy ) -ne 'AllSigned') {{ Set-ExecutionPolicy -Scope Process Bypass }}; & '{script}'"
    with Terminal([tools.powershell(), "-NoProfile", "-Command", right_click], cwd=copy) as window:
        window.expect("sleeping", timeout_s=60)
        for _ in range(10):  # PowerShell may not have given the console to Python yet, and a person would press it again
            window.type("\x03")
            deadline = time.monotonic() + 3
            while "state saved" not in window.text() and time.monotonic() < deadline:
                window.read(0.2)
            if "state saved" in window.text():
                break
        window.expect("Press Enter to close this window", timeout_s=30)
        assert "state saved" in window.text()
        assert window.read(1), "it did not wait"
        window.type("\r")
        window.wait(timeout_s=30)


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
@pytest.mark.parametrize(("answer", "wanted"), [("exit 13", 13), ("exit 20", 20)])
def test_after_control_c_the_code_is_pythons(copy, answer, wanted):
    """As the Task Scheduler starts it; PowerShell's own answer to Ctrl-C would be another code."""
    from terminal import Terminal

    (copy / "py" / "train.py").write_text(f"{SLEEPER}    raise SystemExit({answer.split()[1]})\n", encoding="utf-8")
    with Terminal([tools.powershell(), "-NoProfile", "-File", str(copy / "train.ps1"), "a.yaml"], cwd=copy) as window:
        window.expect("sleeping", timeout_s=60)
        for _ in range(10):
            window.type("\x03")
            deadline = time.monotonic() + 3
            while "state saved" not in window.text() and time.monotonic() < deadline and window.read(0.2):
                pass
            if "state saved" in window.text():
                break
        assert window.wait(timeout_s=30) == wanted, window.text()


@pytest.mark.parametrize("words", [["profiles/demo.yaml", "-PlanOnly", "-NoPause"]])
def test_the_real_plan(tmp_path, words):
    """train.ps1 as it is, with the Python that runs the tests."""
    code, stdout, stderr = as_it_is("train.ps1", *words)
    assert code == 0, stderr
    assert "demo-openmoji" in stdout


def as_it_is(name, *words):
    """A launcher of this checkout, with the Python that runs the tests."""
    variables = {"LORABAKE_PYTHON": "current", "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    return powershell(["-File", str(ROOT / name), *words], cwd=ROOT, **variables)


def test_two_models_compared(tmp_path):
    """extract.ps1 as it is; powershell -File hands a list over as one word."""
    model = ROOT / "models" / "pocket.safetensors"
    copies = [shutil.copy(model, tmp_path / name) for name in ("first.safetensors", "it's [2].safetensors")]
    code, stdout, stderr = as_it_is("extract.ps1", "pocket", ",".join(map(str, copies)), "-Compare", "-NoPause")
    assert code == 20, stderr
    assert stderr.count("the two models are the same") == 2
    assert all(copy.name in stdout for copy in copies)

"""The task as XML (golden files), and a command line that gives back the words that went into it."""

import shlex
import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lorabake import night_times, registration, train_words
from lorabake.errors import UserError
from lorabake.registration import Night, Task

GOLDEN = Path(__file__).parent / "golden" / "tasks"
START = datetime(2026, 12, 1, 23, 30)  # a Tuesday
ROOT = r"C:\Users\me\My Loras & é (1)"
NIGHTS = {
    "once": Night("junwool", (rf"{ROOT}\junwool.yaml",), START, "once"),
    "daily": Night("junwool+1", (r"D:\it's a, 100%.yaml", r"D:\二.yaml"), START, "daily", "07:00", "shutdown"),
    "weekdays": Night("a & b", (r"D:\x.yaml",), START, "weekdays", "7am", "sleep", ("train.epochs=3", "data.folders=[a, b]"), fresh=True),
    "weekly": Night("c", (r"D:\profiles",), START, "weekly", when_done="hibernate"),
}


def task(night):
    words = registration.launcher_words(night)
    line = registration.arguments(rf"{ROOT}\train.ps1", words)
    command = registration.command_of({"SystemRoot": r"C:\Windows"})
    return Task(night.name, "S-1-5-21-1-2-3-1001", night.start, night.repeat, command, line, ROOT)


@pytest.mark.parametrize("name", NIGHTS)
def test_the_xml(name):
    """To look at a change: delete the file, run this twice, git diff."""
    found, file = registration.xml(task(NIGHTS[name])), GOLDEN / f"{name}.xml"
    if not file.exists():
        file.write_text(found, encoding="utf-8")
        pytest.fail(f"{file} was written, look at it")
    assert found == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NIGHTS)
def test_the_xml_says_what_was_promised(name):
    root = ElementTree.fromstring(registration.xml(task(NIGHTS[name])).split("\n", 1)[1])
    space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
    values = {element.tag.replace(space, ""): element.text for element in root.iter()}
    wanted = {"LogonType": "InteractiveToken", "RunLevel": "LeastPrivilege", "ExecutionTimeLimit": "PT0S", "WakeToRun": "true"}
    wanted |= {"MultipleInstancesPolicy": "IgnoreNew", "DisallowStartIfOnBatteries": "true", "StartWhenAvailable": "true"}
    assert {key: values[key] for key in wanted} == wanted
    assert values["StartBoundary"] == "2026-12-01T23:30:00"
    assert values["Arguments"] == task(NIGHTS[name]).arguments


def windows_words(line):
    """The words of a command line as Windows' own programs take it apart (CommandLineToArgv's rules, written a second time)."""
    words, word, quoted, index, begun = [], "", False, 0, False
    while index < len(line):
        sign = line[index]
        slashes = len(line[index:]) - len(line[index:].lstrip("\\"))
        if slashes and line[index + slashes : index + slashes + 1] == '"':
            word += "\\" * (slashes // 2) + ('"' if slashes % 2 else "")
            index += slashes + (slashes % 2)
            begun = True
            continue
        if sign == '"':
            quoted, begun = not quoted, True
        elif sign in " \t" and not quoted:
            words += [word] if begun else []
            word, begun = "", False
        else:
            word, begun = word + sign, True
        index += 1
    return words + ([word] if begun else [])


def test_the_second_parser_is_right():
    assert windows_words(r'a "b c" d\"e "f\\" g\h "" ') == ["a", "b c", 'd"e', "f\\", r"g\h", ""]


NAMES = some.text(some.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters='<>:"/\\|?*'), min_size=1).filter(str.strip)


@given(NAMES, NAMES, some.sampled_from(["once", "daily"]))
def test_any_names_arrive(first, second, repeat):
    profiles = (rf"D:\{first}\{second}.yaml", rf"D:\{second}" + "\\")
    night = Night(first.strip(), profiles, START, repeat, "07:00", "sleep", (f"name={second.strip()}",))
    words = windows_words(task(night).arguments)
    assert words[:6] == [*registration.HOW, rf"{ROOT}\train.ps1"]
    given_words = dict(zip(words[6:-1:2], words[7:-1:2], strict=True))
    assert given_words["-ProfilePath"] == ",".join(profiles)
    assert night_times.read_mark(given_words["-Scheduled"]).name == first.strip()
    assert given_words["-StopBy"] == "07:00" and given_words["-WhenDone"] == "sleep" and words[-1] == "-NoPause"


@pytest.mark.parametrize("name", NIGHTS)
def test_python_reads_back_what_was_registered(name):
    night = NIGHTS[name]
    options = train_words.parse("", registration.python_words(night))
    assert tuple(options.profile_path) == night.profiles and tuple(options.set) == night.overrides
    assert (options.stop_by or "", options.when_done or "nothing", options.fresh) == (night.stop_by, night.when_done, night.fresh)
    mark = night_times.read_mark(options.scheduled)
    assert (mark.name, mark.first, mark.repeat) == (night.name, night.start, night.repeat)


def test_a_percent_sign_that_would_be_a_variable_is_refused():
    registration.refuse_variables(r"D:\100% x\50% y.yaml", ["TEMP"])
    with pytest.raises(UserError, match="%temp% as a variable"):
        registration.refuse_variables(r"D:\50%100%temp%.yaml", ["TEMP"])


def test_an_override_that_would_come_apart_is_refused():
    night = replace(NIGHTS["once"], overrides=("name=x,train.epochs=3",))
    with pytest.raises(UserError, match="write it into the profile"):
        registration.launcher_words(night)


@pytest.mark.parametrize(
    ("repeat", "when"), [("once", "2026-12-01 23:30:00"), ("weekdays", "Mon..Fri 23:30:00"), ("weekly", "Tue 23:30:00")]
)
def test_the_command_for_linux(repeat, when):
    night = Night("x", ("/data/it's a.yaml",), START, repeat, "07:00")
    line = registration.linux_command(night, ["/usr/bin/python3", "/opt/x y/py/train.py"])
    words = shlex.split(line)
    assert words[:5] == ["systemd-run", "--user", f"--on-calendar={when}", "/usr/bin/python3", "/opt/x y/py/train.py"]
    assert words[-2:] == ["--", "/data/it's a.yaml"] and "--stop-by=07:00" in words


def test_systemd_knows_such_times():
    import shutil

    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    for when in ("2026-12-01 23:30:00", "*-*-* 23:30:00", "Mon..Fri 23:30:00", "Tue 23:30:00"):
        assert subprocess.run(["systemd-analyze", "calendar", when], capture_output=True, check=False).returncode == 0

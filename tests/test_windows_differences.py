"""What Windows does differently, on Windows: open files, names, paths, line ends; the same words as elsewhere, and nothing lost.

What Wine does not enforce (260 characters, folders with an open file inside) is tested by the pure functions: test_path_rules.py,
test_files_in_use.py.
"""

import json
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

import lora_files
import tools
from windows_house import of_windows, python_of, start

pytestmark = pytest.mark.windows
BAKES_LIMIT_S = 900
HOLD = "import sys; files = [open(name, 'rb') for name in sys.argv[1:]]; print('held', flush=True); sys.stdin.read()"
SETS = "examples/openmoji/10_openmoji"


def python(house, *words, **more):
    return start(house, python_of(house), *words, python=False, **more)


def plan(house, profile, *words):
    return python(house, "py\\train.py", of_windows(profile), "--plan-only", "--json", *words)


@contextmanager
def held(house, *files):
    """Another program has these files open, as Windows' programs do: nobody may delete or rename them."""
    command = [*tools.windows(), python_of(house), "-c", HOLD, *map(of_windows, files)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline().strip() == b"held"
        try:
            yield
        finally:
            holder.stdin.close()


@pytest.fixture
def pictures(baker):
    """Two drawings with captions, in a folder whose name cp1252 cannot write."""
    folder = baker / "differences \u732b" / "5_anna"
    folder.mkdir(parents=True)
    for path in sorted((baker / SETS).glob("*.png"))[:2]:
        shutil.copy2(path, folder)
        path.with_suffix(".txt").exists() and shutil.copy2(path.with_suffix(".txt"), folder)
    yield folder
    shutil.rmtree(folder.parent)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def profile_of(folder, **keys):
    lines = {"name": "differences", "base_model": "pocket", "images": "../5_anna", "output": "../out", **keys}
    text = "".join(f"{key}: {value}\n" for key, value in lines.items())
    path = folder.parent / "profiles" / "p.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_bakes_after_one_another_hold_no_file(baker):
    """Continued, anew with the earlier files moved, the cache emptied: all in one process."""
    output = baker / "in use \u00e9"
    done = python(baker, "tests\\windows_bakes.py", of_windows(output), limit_s=BAKES_LIMIT_S)
    told = {row["name"]: row for row in (json.loads(line[5:]) for line in done.stdout.splitlines() if line.startswith("told "))}
    names = ("new", "continued", "fresh", "cleared")
    assert {name: row["code"] for name, row in told.items()} == dict.fromkeys(names, 0), done.stdout[-500:] + done.stderr[-2000:]

    def states(name, run):
        start = f"many.runs/{run}/state/"
        return [file.removeprefix(start) for file in told[name]["files"] if file.startswith(start) and file.count("/") == 3]

    assert states("new", "001") == ["00000001"]
    assert states("continued", "001") == ["00000002", "00000003"], "the state that was gone on from is pruned, folder and all"
    assert {"many.runs/001/many.safetensors", "many.preview.png", "many.safetensors"} <= set(told["fresh"]["files"])
    assert ".cache" in told["fresh"]["files"] and ".cache" not in told["cleared"]["files"]
    assert not [file for row in told.values() for file in row["files"] if "_tmp-" in file or "_old-" in file]
    for folder in (output, output.with_name(f"{output.name}-set")):
        shutil.rmtree(folder)


def test_a_caption_and_a_picture_that_another_program_has_open(baker, pictures):
    """The others are done, the open ones are named, nothing is lost, and all of it comes back."""
    before = contents(pictures)
    first, second = sorted(pictures.glob("*.png"))
    with held(baker, first.with_suffix(".txt"), second):
        done = python(baker, "py\\tag.py", of_windows(pictures.parent), "--add-first", "new")
        assert done.returncode == 1 and first.with_suffix(".txt").name in done.stdout + done.stderr, done.stdout + done.stderr
        flat = python(baker, "py\\flatten.py", of_windows(pictures))
        assert flat.returncode == 1 and second.name in flat.stdout + flat.stderr, flat.stdout + flat.stderr
        during = contents(pictures)
    assert during[first.with_suffix(".txt").name] == before[first.with_suffix(".txt").name]
    assert during[second.name] == before[second.name] and during[first.name] != before[first.name]
    assert during[second.with_suffix(".txt").name].startswith(b"new, ")
    for script in ("flatten.py", "tag.py"):
        undone = python(baker, f"py\\{script}", of_windows(pictures if script == "flatten.py" else pictures.parent), "--undo")
        assert undone.returncode == 0, undone.stdout + undone.stderr
    assert contents(pictures) == before


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"output": r"D:\Loras\aux", "images": r'"D:\new\table"', "name": "con"},
            ("aux in D:\\Loras\\aux is a device on Windows", "without the quotes: D:\\new\\table", "con is a device on Windows"),
        ),
        ({"output": r"..\out.", "images": "D:sets"}, ('"out." in ..\\out. ends in a dot', "drive D: was in last")),
        ({"images": r"'\\nowhere\share\set'"}, ("does not exist",)),
    ],
)
def test_paths_that_windows_does_not_take_are_told_with_their_line(baker, pictures, keys, words):
    done = plan(baker, profile_of(pictures, **keys))
    assert done.returncode == 1 and [word for word in words if word not in done.stderr] == [], done.stderr
    assert done.stderr.count("p.yaml:") >= len(words)


def test_slashes_of_both_kinds_and_names_of_hard_kinds(baker, pictures):
    output = of_windows(pictures.parent / "out & (1) \u00e9")
    for written in (output.replace("\\", "/"), f'"{output}"'.replace("\\", "\\\\")):
        done = plan(baker, profile_of(pictures, output=written))
        assert done.returncode == 0 and json.loads(done.stdout)["output"] == output, done.stderr


def test_a_device_is_no_profile(baker):
    done = plan(baker, baker / "profiles" / "con")
    assert done.returncode == 1 and "no file or folder of this name" in done.stderr, done.stderr


def test_an_output_too_deep_is_told_before_anything_is_baked(baker, pictures):
    done = plan(baker, profile_of(pictures, output=of_windows(pictures.parent / ("x" * 190))))
    assert done.returncode == 1 and "characters too long" in done.stderr and "LongPathsEnabled" in done.stderr, done.stderr


def test_pictures_at_more_than_260_characters_are_seen(baker, pictures):
    deep = pictures.parent / ("d" * 90) / ("e" * 90) / "5_anna"
    deep.mkdir(parents=True)
    long = deep / f"{'n' * 90}.png"
    for path in sorted(pictures.glob("*.png"))[:1]:
        shutil.copy2(path, long)
        long.with_suffix(".txt").write_text("a caption far down", encoding="utf-8")
    assert len(of_windows(long)) > 300
    done = plan(baker, profile_of(pictures, images=of_windows(deep.parent)))
    assert done.returncode == 0, done.stderr
    assert [picture["caption"] for picture in json.loads(done.stdout)["pictures"]] == ["a caption far down"]


def test_nothing_is_written_into_a_device(baker, pictures):
    lora = lora_files.write(pictures.parent / "a.safetensors", lora_files.layers_of(baker / "models" / "pocket.safetensors")[:2])
    out = of_windows(pictures / "con.safetensors")
    done = python(baker, "py\\lora.py", "resize", of_windows(lora), "--rank", "2", "--out", out)
    assert done.returncode == 1 and "con" in done.stderr and "device" in done.stderr, done.stdout + done.stderr


def test_captions_and_profiles_as_windows_editors_save_them(baker, pictures):
    """Byte order mark, UTF-16, CRLF, cp1252: read right; edited ones are UTF-8 without a mark and keep their line ends."""
    first, second = sorted(pictures.glob("*.png"))
    first.with_suffix(".txt").write_bytes(b"\xef\xbb\xbf\r\ncat, caf\xc3\xa9\r\nsecond line\r\n")
    second.with_suffix(".txt").write_bytes("\u732b, tail\r\n".encode("utf-16"))
    profile = profile_of(pictures)
    text = profile.read_text(encoding="utf-8")
    profile.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    done = plan(baker, profile)
    assert done.returncode == 0, done.stderr
    assert {picture["caption"] for picture in json.loads(done.stdout)["pictures"]} == {"cat, caf\u00e9", "\u732b, tail"}
    done = python(baker, "py\\tag.py", of_windows(pictures.parent), "--add", "x")
    assert done.returncode == 0, done.stdout + done.stderr
    assert first.with_suffix(".txt").read_bytes() == b"\r\ncat, caf\xc3\xa9, x\r\nsecond line\r\n"
    assert second.with_suffix(".txt").read_bytes() == "\u732b, tail, x\r\n".encode()
    prompts = pictures.parent / "profiles" / "prompts.txt"
    prompts.write_bytes(b"\xef\xbb\xbfa cat --w 64 --h 64\r\n\r\n# not this\r\n\xe7\x8c\xab --d 7\r\n")
    profile.write_text(text + "samples: {prompts: prompts.txt}\n", encoding="utf-8")
    done = plan(baker, profile)
    assert done.returncode == 0, done.stderr
    assert {prompt["prompt"] for prompt in json.loads(done.stdout)["prompts"]} == {"a cat", "\u732b"}
    profile.write_bytes(text.encode("utf-16"))
    assert "saved as UTF-16" in plan(baker, profile).stderr
    profile.write_bytes(text.encode() + "# caf\u00e9".encode("cp1252"))
    refused = plan(baker, profile)
    assert refused.returncode == 1 and "not UTF-8" in refused.stderr and "p.yaml:5" in refused.stderr


def test_the_doctor_looks_at_this_windows(baker):
    done = python(baker, "py\\setup.py", "--check", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 0, rows
    assert {"Windows", "path length", "folder guard", "page file", "restart", "torch", "onnxruntime", "packages"} <= set(rows)
    assert rows["packages"]["status"] == rows["torch"]["status"] == rows["onnxruntime"]["status"] == "OK"
    assert "260" in rows["path length"]["found"] or os.name == "nt"

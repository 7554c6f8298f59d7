"""A folder for a PC without network: filled, looked at, and installed from; what does not fit or was changed is said."""

import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

import stand_in_pip
from lorabake import builder, errors, installer, offline, offline_make, paths, switching, torch_builds, venvs
from lorabake.errors import UsageError, UserError

PINS = 'numpy==2.4.6\nPyYAML==6.0.3\ncolorama==0.4.6 ; sys_platform == "win32"\n'
WHEELS = {
    "windows": ["numpy-2.4.6-cp312-cp312-win_amd64.whl", "pyyaml-6.0.3-cp312-cp312-win_amd64.whl", "colorama-0.4.6-py2.py3-none-any.whl"],
    "linux": [
        "numpy-2.4.6-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
        "pyyaml-6.0.3-cp312-cp312-manylinux2014_x86_64.whl",
    ],
}


@pytest.fixture
def pip(monkeypatch):
    stand_in = stand_in_pip.put_in_place(monkeypatch)
    run = stand_in.run_step

    def run_step(command, **more):
        """pip download lays files of the right names into --dest."""
        if "download" in command:
            stand_in.commands.append(command)
            to = Path(command[command.index("--dest") + 1])
            if more["label"] in stand_in.breaks:
                raise stand_in.breaks.pop(more["label"])
            system = "windows" if "win_amd64" in command else "linux"
            torch, own = ["torch-2.13.0+cpu-cp312-cp312-linux_x86_64.whl"], ["pip-26.0-py3-none-any.whl"]
            names = {"torch": torch, "packages": WHEELS[system], "pip": own}
            for name in names[more["label"]]:
                (to / name).write_text(f"wheel {name}", encoding="utf-8")
            return ""
        return run(command, **more)

    monkeypatch.setattr(installer, "run_step", run_step)
    monkeypatch.setattr(offline, "this_system", lambda: "linux")
    monkeypatch.setattr(offline_make, "pip_here", lambda *_: nullcontext(sys.executable))  # else a venv for each test
    return stand_in


@pytest.fixture
def place(tmp_path, monkeypatch):
    made = stand_in_pip.new_place(tmp_path, monkeypatch)
    (made.stack / venvs.REQUIREMENTS).write_text(PINS, encoding="utf-8")
    return made


@pytest.fixture
def store(tmp_path):
    """A tagger that was loaded here, and a folder that is none."""
    for name, text in (("SmilingWolf_wd/model.onnx", "onnx"), ("SmilingWolf_wd/lorabake.json", "{}"), ("half/model.onnx", "x")):
        (tmp_path / "taggers" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "taggers" / name).write_text(text, encoding="utf-8")
    return tmp_path / "taggers"


@pytest.fixture
def filled(tmp_path, place, pip, store):
    folder = tmp_path / "stick \u00e9"
    offline_make.make(folder, offline_make.Wish(), root=place.root, stack=place.stack, store=store)
    return folder


def from_folder(place, folder):
    return builder.build(builder.Place(place.root, place.stack, folder))


def test_filled_then_installed_without_a_network(filled, place, pip, tmp_path, capsys):
    told = offline.read(filled)
    assert (told["system"], told["python"], told["torch"], told["stack"]) == ("linux", "3.12", "cpu", "current")
    assert len(told["files"]) == 6 and "taggers/SmilingWolf_wd/model.onnx" in told["files"]
    assert told["files"]["wheels/pip-26.0-py3-none-any.whl"]["sha256"] == switching.hash_of(filled / "wheels" / "pip-26.0-py3-none-any.whl")
    pip.commands.clear()
    pip.silent = {"cpu"}  # every index is dead
    env = from_folder(place, filled)
    assert venvs.read_stamp(env)["row"] == "cpu" and venvs.why_not(env, place.stack) == ""
    installs = [command for command in pip.commands if "install" in command]
    assert len(installs) == 3 and all("--no-index" in command and str(filled / "wheels") in command for command in installs)
    assert not any("--extra-index-url" in command for command in pip.commands)
    offline.bring_taggers(filled, tmp_path / "there")
    assert (tmp_path / "there" / "SmilingWolf_wd" / "model.onnx").read_text(encoding="utf-8") == "onnx"
    assert "taggers: SmilingWolf_wd" in capsys.readouterr().err


def test_for_another_pc_only_its_wheels_are_asked_for(tmp_path, place, pip):
    folder = tmp_path / "other"
    wish = offline_make.Wish(system="windows", python="3.12", torch="cpu")
    offline_make.make(folder, wish, root=place.root, stack=place.stack, store=tmp_path)
    asked = {command[command.index("--dest") + 2]: command for command in pip.commands}
    packages = asked["numpy==2.4.6"]
    assert "--no-deps" in packages and packages[packages.index("--python-version") + 1] == "3.12" and "win_amd64" in packages
    assert "colorama==0.4.6" in packages and not any(";" in word for word in packages)
    with pytest.raises(UserError) as told:
        from_folder(place, folder)
    assert "is for windows with Python 3.12; here it is linux with Python 3.12" in str(told.value)
    assert "-MakeOffline FOLDER -For linux -Python 3.12" in str(told.value)
    with pytest.raises(UserError, match="only a Linux PC"):
        wish = offline_make.Wish(system="linux", python="3.13", torch="cu130")
        offline_make.make(tmp_path / "third", wish, root=place.root, stack=place.stack, store=tmp_path)


def test_wrong_wishes(tmp_path, place, pip):
    for wish, words in (
        (offline_make.Wish(system="macos"), "windows, linux"),
        (offline_make.Wish(python="3.9"), "3.11 to 3.13"),
        (offline_make.Wish(python="three"), "3.11 to 3.13"),
        (offline_make.Wish(torch="cu999"), "--torch takes"),
        (offline_make.Wish(stack="none"), "current"),
    ):
        with pytest.raises(UsageError) as told:
            offline_make.make(tmp_path / "x", wish, root=place.root, stack=place.stack, store=tmp_path)
        assert words in str(told.value)
    with pytest.raises(UserError, match="needs the environment"):
        offline_make.make(tmp_path / "y", offline_make.Wish(taggers=("wd",)), root=place.root, stack=place.stack, store=tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="other things"):
        offline_make.make(tmp_path / "full", offline_make.Wish(), root=place.root, stack=place.stack, store=tmp_path)


def test_an_interrupted_filling_is_gone_on_with_and_not_installed_from(tmp_path, place, pip):
    folder = tmp_path / "stick"
    pip.breaks["packages"] = installer.NoNetwork("the package index cannot be reached")
    with pytest.raises(UserError, match="cannot be reached"):
        offline_make.make(folder, offline_make.Wish(), root=place.root, stack=place.stack, store=tmp_path)
    with pytest.raises(UserError, match="not filled to the end"):
        from_folder(place, folder)
    offline_make.make(folder, offline_make.Wish(), root=place.root, stack=place.stack, store=tmp_path)
    assert from_folder(place, folder).name == "001"


def test_another_set_takes_the_place_of_old_wheels(filled, place, pip, tmp_path):
    (filled / "wheels" / "numpy-1.0-py3-none-any.whl").write_text("old", encoding="utf-8")
    (place.stack / venvs.REQUIREMENTS).write_text(PINS + "\n# more\nlate==1.0\n", encoding="utf-8")
    with pytest.raises(UserError) as told:
        from_folder(place, filled)
    assert "another pinned set" in str(told.value) and "-MakeOffline" in str(told.value)
    with pytest.raises(UserError, match=r"there is no wheel of late==1\.0"):
        offline_make.make(filled, offline_make.Wish(), root=place.root, stack=place.stack, store=tmp_path)
    assert not (filled / "wheels" / "numpy-1.0-py3-none-any.whl").exists()


NUMPY, YAML = (f"wheels/{name}" for name in WHEELS["linux"])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (YAML, "other", "is not the file that the folder was made with"),
        (YAML, None, "is gone from the folder"),
        ("taggers/SmilingWolf_wd/model.onnx", "evil", "is not the file"),
        ("wheels/numpy-9.9-py3-none-any.whl", "x", "is not in the folder's list"),
        (offline.MANIFEST, None, "there is no lorabake-offline.json"),
    ],
)
def test_a_folder_that_was_changed_is_refused_before_anything_is_made(filled, place, name, text, words):
    (filled / name).unlink() if text is None else (filled / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as told:
        from_folder(place, filled)
    assert words in str(told.value)
    assert venvs.numbered(place.root) == []


def test_a_list_that_lacks_a_package_names_it(filled, place):
    told = json.loads((filled / offline.MANIFEST).read_text(encoding="utf-8"))
    del told["files"][NUMPY]
    (filled / offline.MANIFEST).write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(UserError, match=r"lacks numpy==2\.4\.6 for linux with Python 3\.12"):
        from_folder(place, filled)


@pytest.mark.parametrize(
    ("wheel", "system", "python", "yes"),
    [
        ("numpy-2.4.6-cp312-cp312-win_amd64.whl", "windows", "3.12", True),
        ("numpy-2.4.6-cp312-cp312-win_amd64.whl", "windows", "3.13", False),
        ("numpy-2.4.6-cp312-cp312-win_amd64.whl", "linux", "3.12", False),
        ("numpy-2.4.6-cp312-cp312-win32.whl", "windows", "3.12", False),
        ("safetensors-0.8.0-cp38-abi3-win_amd64.whl", "windows", "3.13", True),
        ("tokenizers-0.23.3-cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "linux", "3.11", True),
        ("tokenizers-0.23.3-cp314-abi3-win_amd64.whl", "windows", "3.13", False),
        ("torch-2.13.0-cp313-cp313t-win_amd64.whl", "windows", "3.13", False),
        ("tqdm-4.70.1-py3-none-any.whl", "linux", "3.13", True),
        ("colorama-0.4.6-py2.py3-none-any.whl", "windows", "3.11", True),
        ("bitsandbytes-0.50.2-py3-none-win_amd64.whl", "windows", "3.12", True),
        ("x-1.0-py3-none-macosx_11_0_arm64.whl", "linux", "3.12", False),
        ("x-1.0-1-py3-none-any.whl", "linux", "3.12", True),
        ("x-1.0.tar.gz", "linux", "3.12", False),
    ],
)
def test_which_wheels_fit(wheel, system, python, yes):
    assert offline.fits(wheel, system=system, python=python) is yes


def test_it_agrees_with_packaging_about_this_python():
    from packaging.tags import sys_tags
    from packaging.utils import parse_wheel_filename

    mine = set(sys_tags())
    python, system = f"3.{sys.version_info[1]}", offline.this_system()
    for name in [name for names in WHEELS.values() for name in names] + ["a-1-cp38-abi3-manylinux2014_x86_64.whl", "a-1-py3-none-any.whl"]:
        name = name.replace("cp312", f"cp3{sys.version_info[1]}")
        assert offline.fits(name, system=system, python=python) == bool(parse_wheel_filename(name)[3] & mine), name


def test_pins_by_system_and_names(place):
    assert offline.needed(place.stack, "linux") == ["numpy==2.4.6", "PyYAML==6.0.3"]
    assert offline.needed(place.stack, "windows")[-1] == "colorama==0.4.6"
    assert offline.missing(["PyYAML==6.0.3"], ["pyyaml-6.0.3-py3-none-any.whl"], system="linux", python="3.12") == []
    assert offline.missing(["PyYAML==6.0.3"], ["pyyaml-6.0.2-py3-none-any.whl"], system="linux", python="3.12") == ["PyYAML==6.0.3"]
    for stack in venvs.stacks(paths.STACK.parent).values():
        for system in ("windows", "linux"):
            assert all("==" in pin and ";" not in pin for pin in offline.needed(stack, system))


def test_torch_of_the_index_that_pip_is_set_to_use(tmp_path):
    paths.write_json(tmp_path / offline.MANIFEST, {"finished": True, "torch": torch_builds.OWN_INDEX, "files": {}})
    assert offline.choice(tmp_path, torch_builds.rows(windows=False)).builds[0].requirement.startswith("torch==2.13.0")


@pytest.mark.slow
def test_with_a_real_pip_and_stand_in_wheels(tmp_path, monkeypatch):
    """Filled from a folder that plays the index, installed with every index dead; pip itself comes from the folder."""
    import test_builder_real as real

    index, stack = tmp_path / "index", tmp_path / "stacks" / "current"
    index.mkdir()
    real.wheel(index, "torch", "2.13.0+cpu", {"torch/__init__.py": "__version__ = '2.13.0+cpu'\nclass version:\n    cuda = None\n"})
    real.wheel(index, "modest", "1.0", {"modest.py": "", "many/__init__.py": "", "many/last.py": ""}, "Requires-Dist: torch>=2.0\n")
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "pip", "--dest", str(index)], check=True)
    shutil.copytree(paths.STACK, stack)
    (stack / venvs.REQUIREMENTS).write_text("modest==1.0\n", encoding="utf-8")
    monkeypatch.setattr(errors, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(torch_builds, "probe", lambda build: None)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setattr(offline_make.hardware, "look", lambda: offline_make.hardware.Seen(()))
    offline_make.make(tmp_path / "stick", offline_make.Wish(torch="cpu"), root=tmp_path / "venv", stack=stack, store=tmp_path / "none")
    shutil.rmtree(index)
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setattr(builder, "SELF_TEST", "print('fine')")
    monkeypatch.setattr(builder, "TORCH_CODE", builder.TORCH_CODE.replace("assert float((torch.ones(8) @ torch.ones(8))) == 8.0", ""))
    version = "import importlib.metadata\nprint('told ' + importlib.metadata.version('torch'))"
    monkeypatch.setattr(builder, "SET_CODE", f"import modest, torch\n{version}")
    env = builder.build(builder.Place(tmp_path / "venv", stack, tmp_path / "stick"))
    assert venvs.why_not(env, stack) == "" and installer.broken_packages(env) == []

"""What Windows takes for no path, told before anything is written there."""

import pytest

from lorabake import path_rules, profile
from lorabake.path_rules import deepest, too_deep, trouble
from lorabake.profile import ProfileErrors


@pytest.mark.parametrize(
    "typed",
    [
        "D:\\",
        r"D:\Loras\my style",
        "D:/Loras/my style",
        r"\\server\share\Loras",
        r"\\?\D:\Loras",
        "..\\pictures",
        "../pictures",
        r"D:\a\..\b\.",
        r"D:\Loras\Aunt Con\v1.5",
        r"D:\Loras\context\auxiliary",
        "pocket",
        "\u732b\\5_\u732b",
    ],
)
def test_usual_paths(typed):
    assert trouble(typed, windows=True) is None


@pytest.mark.parametrize(
    ("typed", "what", "todo"),
    [
        ("D:", "drive D: was in last", "D:\\,"),
        ("D:Loras", "drive D: was in last", r"D:\Loras,"),
        ("d:.", "drive d: was in last", "d:\\."),
        (r"D:\Loras\aux", "is a device", "another name"),
        (r"D:\Loras\CON.safetensors", "is a device", "another name"),
        (r"D:\Loras\nul .png", "is a device", "another name"),
        (r"D:\com1\x", "is a device", "another name"),
        ("aux/pictures", "is a device", "another name"),
        (r"D:\Loras.\x", "ends in a dot", '"Loras"'),
        ("D:\\Loras \\x", "ends in a dot or a space", '"Loras"'),
        (r"D:\what?\x", "holds ?", '"what_"'),
        ("D:\\new\nline", "holds a control character", '"new_line"'),
        (r"D:\a:b", "holds :", '"a_b"'),
    ],
)
def test_what_windows_takes_for_no_path(typed, what, todo):
    found = trouble(typed, windows=True)
    assert found and what in found[0] and todo in found[1], found


def test_elsewhere_only_full_paths_of_windows_are_looked_at():
    assert trouble("aux/what?.", windows=False) is None
    assert trouble("/home/me/aux", windows=False) is None
    assert trouble(r"D:\Loras\aux", windows=False)


def test_the_deepest_path_of_a_bake():
    assert too_deep(r"D:\Loras", "style", long_paths=False) is None
    assert (
        too_deep("C:\\Users\\somebody\\Documents\\Stable Diffusion\\Loras", "a name of forty characters, more or less", long_paths=False)
        is None
    )
    long = "D:\\" + "x" * 170
    what, todo = too_deep(long, "style", long_paths=False)
    assert f"{deepest(long, 'style') - 259} characters too long" in what and "LongPathsEnabled" in todo
    assert too_deep(long, "style", long_paths=True) is None
    assert too_deep("D:\\" + "x" * 60, "n" * 120, long_paths=False), "long names count twice: the folder of samples carries them too"
    assert path_rules.long_paths_enabled() in (True, False)


def test_nothing_that_a_bake_writes_is_deeper(tmp_path):
    """Names as cache.py, states.py and gallery.py make them."""
    name = "style"
    samples = tmp_path / f"{name}.runs" / "001" / "samples" / f"{name}-step00000012-strength-0.75" / "_tmp-1234567-01.png"
    latents = tmp_path / ".cache" / "latents" / "ab" / f"_tmp-1234567-{'0' * 64}.safetensors"
    state = tmp_path / f"{name}.runs" / "001" / "state" / "_tmp-1234567-00000012" / "lora.safetensors"
    assert max(len(str(path)) for path in (samples, latents, state)) <= deepest(str(tmp_path), name)


PROFILE = "name: a\nbase_model: pocket\nimages: {}\noutput: {}\n"


def mistakes(tmp_path, images, output):
    path = tmp_path / "p.yaml"
    path.write_text(PROFILE.format(images, output), encoding="utf-8")
    try:
        return profile.load(path), ()
    except ProfileErrors as error:
        return None, error.mistakes


def test_profiles_are_told_by_line(tmp_path):
    loaded, _ = mistakes(tmp_path, r"D:\Sets\5_a", "D:/Loras/new")
    assert loaded.profile.images == r"D:\Sets\5_a" and loaded.profile.output == r"D:\Loras\new"
    loaded, _ = mistakes(tmp_path, r"\\nas\sets\anna", r"'\\nas\loras\tests'")
    assert loaded.profile.images.rstrip("\\") == r"\\nas\sets\anna" and loaded.profile.output.startswith(r"\\nas\loras")
    _, found = mistakes(tmp_path, r"D:\Sets\con", r"D:\Loras.\x")
    assert [(one.line, one.todo) for one in found] == [(3, "images: another name"), (4, 'output: "Loras"')]
    _, found = mistakes(tmp_path, r'"D:\new\table"', "out")
    assert found[0].line == 3 and found[0].todo == r"without the quotes: D:\new\table"


def test_a_drive_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(path_rules.trouble, "__kwdefaults__", {"windows": True})
    _, found = mistakes(tmp_path, "D:sets", "out")
    assert found[0].line == 3 and "was in last" in found[0].what


def test_an_output_that_is_too_deep_is_told_in_the_plan(tmp_path, monkeypatch):
    from lorabake import hardware, paths, plan
    from lorabake.errors import UserError

    monkeypatch.setattr(path_rules, "long_paths_enabled", lambda: False)
    loaded = profile.load(paths.PROFILES / "demo.yaml", [f"output={tmp_path / ('x' * 180)}"])
    with pytest.raises(UserError, match="characters too long") as told:
        plan.make(loaded, hardware.Seen(()))
    assert "output" in told.value.where and "LongPathsEnabled" in told.value.todo

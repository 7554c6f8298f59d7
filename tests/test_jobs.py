"""What py/train.py does around single bakes: finding profiles, all mistakes first, names, several in a row, caches."""

from argparse import Namespace
from datetime import datetime
from types import SimpleNamespace

import pytest

import picture_sets
from lorabake import jobs
from lorabake.errors import QueueFailed, Stopped, UsageError, UserError


def profile(folder, name="one", **settings):
    """A profile of its own name; with a header-only base, for planning."""
    picture_sets.pictures(folder / "set/5_a", 3)
    base = folder / "base.safetensors"
    if not base.exists():
        picture_sets.sd1_header.write(base, metadata=picture_sets.sd1_header.POCKET_METADATA)
    lines = [f"name: {settings.get('called', name)}", "base_model: base.safetensors", "images: set", "output: out"]
    path = folder / f"{name}.yaml"
    path.write_text("# What it is for\n" + "\n".join(lines + settings.get("more", [])) + "\n", encoding="utf-8")
    return path


def options(*files, **more):
    given = {
        "plan_only": False,
        "json": False,
        "set": [],
        "fresh": False,
        "skip_bad": False,
        "clear_cache": False,
        "stop_by": None,
        "new": False,
        "answers": None,
    }
    return Namespace(profile_path=[str(file) for file in files], **{**given, **more})


@pytest.fixture
def codes(monkeypatch):
    """Children are not started: their commands are noted and the codes given here come back, then 0."""
    given, seen = [], []

    def child(command):
        seen.append(command)
        return given.pop(0) if given else 0

    monkeypatch.setattr(jobs, "run_child", child)
    return given, seen


def test_folders_are_searched_and_each_file_is_taken_once(tmp_path):
    one, two = profile(tmp_path, "b"), profile(tmp_path, "a")
    (tmp_path / "_c.yaml").write_text("", encoding="utf-8")
    assert jobs.find([tmp_path]) == [two, one]
    assert jobs.find([one, tmp_path, str(one)]) == [one, two]
    with pytest.raises(UserError, match="no profiles here"):
        jobs.find([tmp_path / "set"])


def test_without_a_console_a_profile_must_be_named(monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(UsageError) as caught:
        jobs.choose()
    assert caught.value.exit_code == 2


def test_the_list_has_a_line_per_profile_in_a_narrow_window(tmp_path, monkeypatch, capsys):
    text = f"# {'many words ' * 20}\nname: x\n"
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(jobs.paths, "PROFILES", tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: "1")
    assert jobs.choose() == [tmp_path / "x.yaml"]
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 3 and max(map(len, shown)) <= 79


@pytest.fixture
def offered(tmp_path, monkeypatch):
    """Three profiles to choose from; what is typed is given to the function."""
    for name in "abc":
        (tmp_path / f"{name}.yaml").write_text(f"# {name}\n", encoding="utf-8")
    monkeypatch.setattr(jobs.paths, "PROFILES", tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)

    def chosen(typed):
        monkeypatch.setattr("builtins.input", lambda prompt: typed)
        return [str(path) for path in jobs.choose()]

    return chosen


def test_several_are_chosen_or_dropped(offered, tmp_path):
    one, two, three = (str(tmp_path / f"{name}.yaml") for name in "abc")
    assert offered("2") == [two]
    assert offered("1 3, 1") == [one, three]
    assert offered(f'"{one}" "{three}"') == [one, three]
    assert offered(f"& '{two}'") == [two]
    assert offered("4") == ["4"], "a file of this name, which is then looked for"


def test_profiles_chosen_in_a_window(offered, tmp_path, monkeypatch):
    for found, wanted in (([str(tmp_path / "a.yaml")], [str(tmp_path / "a.yaml")]), ([], None), (None, None)):
        monkeypatch.setattr(jobs.pickers, "files", lambda *words, found=found: found)
        if wanted:
            assert offered("w") == wanted
        else:
            with pytest.raises(UsageError):
                offered("w")


def test_a_new_profile_is_not_baked_without_being_asked(tmp_path, codes, monkeypatch):
    monkeypatch.setattr(jobs.interview, "run", lambda options: [])
    assert jobs.main(options(new=True)) == 0 and not codes[1]
    files = [profile(tmp_path, name) for name in "ab"]
    monkeypatch.setattr(jobs.interview, "run", lambda options: files)
    assert jobs.main(options(new=True)) == 0 and len(codes[1]) == 2


def test_answers_from_a_file_write_and_stop(monkeypatch, codes):
    seen = []
    monkeypatch.setattr(jobs.new_profile, "from_file", seen.append)
    assert jobs.main(options(new=True, answers="a.txt")) == 0 and seen and not codes[1]


@pytest.mark.parametrize("typed", ["", "  ", None])
def test_no_choice_is_not_our_bug(monkeypatch, typed):
    def answer(prompt):
        if typed is None:
            raise EOFError
        return typed

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", answer)
    with pytest.raises(UsageError, match="no profile was chosen"):
        jobs.choose()


def test_several_are_baked_in_turn(tmp_path, codes):
    files = [profile(tmp_path, name) for name in "ab"]
    assert jobs.main(options(*files, fresh=True, set=["train.epochs=3"])) == 0
    for file, command in zip(files, codes[1], strict=True):
        assert command[2:] == [str(file), "--set", "train.epochs=3", "--fresh"]


def test_one_that_fails_does_not_end_the_others(tmp_path, codes):
    codes[0].extend([11, 0])
    with pytest.raises(QueueFailed, match="1 of 2") as caught:
        jobs.main(options(profile(tmp_path, "a"), profile(tmp_path, "b")))
    assert caught.value.exit_code == 20 and len(codes[1]) == 2


def test_a_stop_ends_the_row(tmp_path, codes):
    codes[0].append(13)
    assert jobs.main(options(profile(tmp_path, "a"), profile(tmp_path, "b"))) == 13
    assert len(codes[1]) == 1


def test_the_end_time_goes_to_the_children_and_what_it_left_is_said(tmp_path, codes, monkeypatch, capsys):
    times = [datetime(2026, 12, 2, 6, 0)] * 3 + [datetime(2026, 12, 2, 7, 0)] * 9
    monkeypatch.setattr(jobs, "datetime", SimpleNamespace(now=lambda: times.pop(0)))
    files = [profile(tmp_path, name) for name in "abc"]
    assert jobs.main(options(*files, stop_by="7:00")) == 13
    assert [command[2:] for command in codes[1]] == [[str(files[0]), "--stop-by=2026-12-02T07:00"]]
    assert capsys.readouterr().err.count("not started") == 2


@pytest.mark.parametrize("names", ["a", "ab"])
def test_a_start_past_the_end_ends_at_once(tmp_path, codes, names):
    with pytest.raises(Stopped, match="2026-01-02 07:00, is past") as caught:
        jobs.main(options(*(profile(tmp_path, name) for name in names), stop_by="2026-01-02 7:00"))
    assert caught.value.exit_code == 13 and codes[1] == []


@pytest.mark.parametrize(
    ("words", "there", "wanted"),
    [
        (["a", "b"], {"a", "b"}, ["a", "b"]),
        (["x", " y", "b"], {"x, y", "b"}, ["x, y", "b"]),
        (["b", "x", " y", "z"], {"b", "x, y,z"}, ["b", "x, y,z"]),
        (["x", "y"], {"y"}, ["x", "y"]),
        ([], set(), []),
    ],
)
def test_commas_of_names_are_put_back(words, there, wanted):
    assert jobs.rejoined(words, there.__contains__) == wanted


def test_a_mistake_in_one_of_several(tmp_path, codes, capsys):
    good, bad = profile(tmp_path, "a"), profile(tmp_path, "b", more=["tran: {epochs: 3}"])
    with pytest.raises(UserError, match="1 of 2 profiles have mistakes"):
        jobs.main(options(good, bad, plan_only=True))
    assert "tran" in capsys.readouterr().err and not codes[1]
    with pytest.raises(QueueFailed):
        jobs.main(options(good, bad, skip_bad=True))
    assert len(codes[1]) == 1


def test_two_of_one_name_are_refused(tmp_path, codes):
    with pytest.raises(UserError, match="same files"):
        jobs.main(options(profile(tmp_path, "a", called="x"), profile(tmp_path, "b", called="X")))
    assert not codes[1]


def test_clearing_the_cache_empties_only_it(tmp_path):
    path = profile(tmp_path)
    (tmp_path / "out/.cache/latents").mkdir(parents=True)
    (tmp_path / "out/.cache/latents/x").write_bytes(b"1")
    (tmp_path / "out/one.safetensors").write_bytes(b"1")
    assert jobs.main(options(path, clear_cache=True)) == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["one.safetensors"]


def test_without_a_comment_the_summary_is_made_of_keys(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("name: x\nbase_model: 'D:\\a b\\c.ckpt'\nimages: /set\n", encoding="utf-8")
    assert jobs.summary(path) == "c.ckpt and set"


def test_a_profiles_summary_is_its_first_comment(tmp_path):
    assert jobs.summary(profile(tmp_path)) == "What it is for"

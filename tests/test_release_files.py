"""What an exchange does to each file of the folder: pure, so a row per case."""

import pytest

from lorabake import release_files

OLD = {
    "py/a.py": "1",
    "train.ps1": "1",
    "profiles/demo.yaml": "1",
    "profiles/same.yaml": "1",
    "docs/gone.md": "1",
    "profiles/gone.yaml": "1",
}
NEW = {"py/a.py": "2", "train.ps1": "2", "profiles/demo.yaml": "2", "profiles/same.yaml": "1", "py/new.py": "2", "profiles/new.yaml": "2"}


def exchanged(**there):
    now = {**OLD, **{name.replace("__", "/").replace("_dot_", "."): value for name, value in there.items()}}
    return release_files.exchange(OLD, NEW, lambda name: now.get(name), "0.1.0")


def test_untouched_files_are_exchanged():
    made = exchanged()
    assert made.files == [
        ("docs/gone.md", "1", None),
        ("profiles/demo.yaml", "1", "2"),
        ("profiles/gone.yaml", "1", None),
        ("profiles/new.yaml", None, "2"),
        ("py/a.py", "1", "2"),
        ("py/new.py", None, "2"),
        ("train.ps1", "1", "2"),
    ]
    assert (made.kept, made.left) == ([], [])


@pytest.mark.parametrize(
    ("there", "kept", "left"),
    [
        ({"train_dot_ps1": "mine"}, ["train.ps1.kept-0.1.0"], []),
        ({"profiles__demo_dot_yaml": "mine"}, ["profiles/demo.yaml.kept-0.1.0"], []),
        ({"profiles__same_dot_yaml": "mine"}, [], ["profiles/same.yaml"]),  # the release left it alone, so do we
        ({"profiles__gone_dot_yaml": "mine"}, [], ["profiles/gone.yaml"]),
        ({"docs__gone_dot_md": "mine"}, ["docs/gone.md.kept-0.1.0"], []),
        ({"profiles__new_dot_yaml": "mine"}, [], ["profiles/new.yaml"]),  # made by the user, by chance of that name
        ({"py__new_dot_py": "mine"}, ["py/new.py.kept-0.1.0"], []),
        ({"train_dot_ps1": "2"}, [], []),  # edited to what comes anyway
        ({"train_dot_ps1": "mine", "train_dot_ps1_dot_kept-0_dot_1_dot_0": "x"}, ["train.ps1.kept-0.1.0-2"], []),
    ],
)
def test_what_the_user_changed(there, kept, left):
    made = exchanged(**there)
    assert [copy for _, copy in made.kept] == kept
    assert made.left == left
    touched = {name for name, _, _ in made.files}
    assert not touched & set(left)
    assert {name for name, _ in made.kept} <= touched


def test_a_file_that_was_deleted_comes_with_the_release():
    now = {name: value for name, value in OLD.items() if name != "py/a.py"}
    assert ("py/a.py", None, "2") in release_files.exchange(OLD, NEW, lambda name: now.get(name), "0.1.0").files


def test_the_users_folders_are_no_part_of_a_release(tmp_path):
    for name in (
        "venv/001/x",
        "logs/a.log",
        "baked/a",
        "releases/x/y",
        ".git/HEAD",
        "py/__pycache__/a.pyc",
        "models/taggers/wd/m.onnx",
        "py/a.py",
        ".ci/run",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert list(release_files.walk(tmp_path)) == [".ci/run", "py/a.py"]


def test_one_hash_of_all_files():
    one = release_files.hash_of_all({"a": "1", "b": "2"})
    assert one == release_files.hash_of_all({"b": "2", "a": "1"}) != release_files.hash_of_all({"a": "2", "b": "1"})

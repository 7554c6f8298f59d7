"""A release is looked at before it is used: what is no release, not whole, or made to do harm is refused, and nothing is left of it."""

import json
import stat
import zipfile

import pytest

import small_release as small
from lorabake import release_files, release_source
from lorabake.errors import UserError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return small.write(tmp_path_factory.mktemp("whole") / "lorabake", "0.2.0")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def refused(source, root):
    with pytest.raises(UserError) as told:
        release_source.lay_in(source, root)
    assert not list((root / "releases").glob("*")) if (root / "releases").exists() else True
    return str(told.value)


def test_a_zip_and_a_folder_are_the_same_release(whole, root, tmp_path):
    one = release_source.lay_in(whole, root)
    two = release_source.lay_in(small.packed(whole, tmp_path / "a.zip", top="top/"), root)
    three = release_source.lay_in(small.packed(whole, tmp_path / "b.zip"), root)
    assert one == two == three and one["version"] == "0.2.0" and one["name"] == f"0.2.0-{one['hash'][:8]}"
    assert [entry.name for entry in (root / "releases").iterdir()] == [one["name"]]
    assert release_files.hashed(root / "releases" / one["name"] / "files", list(one["files"])) == one["files"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../out.py", "no path inside"),
        ("/etc/out", "no path inside"),
        ("C:/Windows/x.dll", "no path inside"),
        ("py\\a.py", "no path inside"),
        ("py/con.py", "device on Windows"),
        ("py/a.py ", "not every system takes"),
        ("baked/x.safetensors", "folder that is yours"),
        ("VENV/001/x", "folder that is yours"),
        (".git/hooks/post-checkout", "folder that is yours"),
        ("PY/SETUP.PY", "twice in it"),
    ],
)
def test_names_that_lead_elsewhere(whole, root, tmp_path, name, words):
    file = small.packed(whole, tmp_path / "a.zip")
    with zipfile.ZipFile(file, "a") as out:
        out.writestr(name, "x")
    assert words in refused(file, root)
    assert not (tmp_path / "out.py").exists()


def test_links_and_bombs(whole, root, tmp_path):
    file = small.packed(whole, tmp_path / "a.zip")
    with zipfile.ZipFile(file, "a") as out:
        link = zipfile.ZipInfo("py/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        out.writestr(link, "/etc/passwd")
    assert "a link" in refused(file, root)
    file = small.packed(whole, tmp_path / "b.zip")
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as out:
        out.writestr("models/zeros", bytes(300 << 20))
    assert "would unpack to" in refused(file, root)


def test_what_is_no_release_or_not_whole(whole, root, tmp_path):
    assert "no such file" in refused(tmp_path / "none.zip", root)
    (tmp_path / "text.zip").write_text("no zip", encoding="utf-8")
    assert "damaged or of an unknown kind" in refused(tmp_path / "text.zip", root)
    data = small.packed(whole, tmp_path / "c.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    assert "damaged" in refused(tmp_path / "cut.zip", root)
    (tmp_path / "other").mkdir()
    small.put(tmp_path / "other", {"setup.bat": "x"})
    assert "it has no py/setup.py" in refused(tmp_path / "other", root)
    silent = small.write(tmp_path / "silent", "0.2.0")
    (silent / "py" / "lorabake" / "__init__.py").write_text("", encoding="utf-8")
    assert "says no version" in refused(silent, root)
    broken = small.write(tmp_path / "broken", "0.2.0")
    small.put(broken, {"py/lorabake/setup_words.py": "def parse(:\n"})
    assert "does not start: SyntaxError" in refused(broken, root)
    assert "part of the lorabake" in refused(root, root)


def test_a_list_that_came_with_it_is_held_against_it(whole, root, tmp_path):
    listed = small.write(tmp_path / "listed", "0.2.0")
    files = release_files.hashed(listed, list(release_files.walk(listed)))
    small.put(
        listed, {"release.json": json.dumps({"version": "0.2.0", "commit": "b" * 40, "files": files}), "profiles/mine.yaml": "name: mine\n"}
    )
    record = release_source.lay_in(listed, root)
    assert record["commit"] == "b" * 40 and "profiles/mine.yaml" not in record["files"], "a folder somebody used: only what is listed"
    small.put(listed, {"train.ps1": "# changed\n"})
    with pytest.raises(UserError, match=r"not whole: train\.ps1"):
        release_source.lay_in(listed, root)

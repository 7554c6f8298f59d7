"""The mark of the web, with marks that the test makes up: NTFS keeps them in a second stream that no other disk has."""

import pytest

from lorabake import paths, web_mark

FROM_A_ZIP = "[ZoneTransfer]\r\nZoneId=3\r\nReferrerUrl=C:\\Users\\me\\Downloads\\lorabake.zip\r\n"


@pytest.mark.parametrize(
    ("text", "hinders"),
    [(None, False), (FROM_A_ZIP, True), ("[ZoneTransfer]\nZoneId = 4", True), ("[ZoneTransfer]\nZoneId=1", False), ("", True)],
)
def test_what_a_mark_means(text, hinders):
    assert web_mark.hinders(text) == hinders


def test_our_scripts_are_looked_at_and_nothing_else(tmp_path):
    ours = ["train.ps1", "setup.bat", "ps/launch.psm1", "py/train.py", "py/lorabake/families/sd1.py"]
    for name in [*ours, "README.md", "venv/001/x.py", "profiles/a.yaml", "mine/own.ps1"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    seen = []
    found = web_mark.marked(tmp_path, read=lambda path: seen.append(path) or (FROM_A_ZIP if path.suffix == ".ps1" else None))
    assert sorted(path.relative_to(tmp_path).as_posix() for path in seen) == sorted(ours)
    assert found == [tmp_path / "train.ps1"]


def test_here_nothing_is_marked():
    assert web_mark.marked(paths.ROOT) == []
    assert not web_mark.clear(paths.ROOT / "train.ps1")

"""People go back to the version that gave them the better style: a release that trains otherwise says so in CHANGELOG.

tests/golden/releases.json holds the hash of tests/golden/losses.txt for every released version.
"""

import hashlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORDS = "changes results"
HEADING = re.compile(r"^## (\d+\.\d+\.\d+)( \(unreleased\))?", re.MULTILINE)


def sections(changelog):
    """[(version, whether it is released, text)], newest first, as the file has them."""
    found = list(HEADING.finditer(changelog))
    ends = [match.start() for match in found[1:]] + [len(changelog)]
    return [(match[1], match[2] is None, changelog[match.end() : end]) for match, end in zip(found, ends, strict=True)]


def complaint(changelog, table, losses_hash):
    """What is wrong, and what to do; "" when nothing is."""
    newest, newest_is_out, text = sections(changelog)[0]
    released = [version for version, is_out, _ in sections(changelog) if is_out]
    unknown = [version for version in released if version not in table]
    if unknown:
        return f'{", ".join(unknown)} is released: add "{unknown[0]}": "{losses_hash}" to tests/golden/releases.json'
    if not released:
        return ""
    before = released[1] if newest_is_out and len(released) > 1 else released[0]
    if newest_is_out and table[newest] != losses_hash:
        todo = f'begin a section "## NEXT (unreleased)" that says "{WORDS}" and why'
        return f"tests/golden/losses.txt is not that of {newest}, which is released: {todo}"
    if table[before] != losses_hash and WORDS not in text:
        must = f'section {newest} of CHANGELOG.md must say "{WORDS}" and why'
        nobody = "If nobody wanted that, find the change that did it: a refactor gives the identical list."
        return f"the same profile and seed train otherwise than in {before} (tests/golden/losses.txt): {must}. {nobody}"
    return ""


def losses_hash():
    return hashlib.sha256((ROOT / "tests/golden/losses.txt").read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def test_this_release_says_whether_it_changes_results():
    table = json.loads((ROOT / "tests/golden/releases.json").read_text(encoding="utf-8"))
    assert complaint((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), table, losses_hash()) == ""


def test_the_version_of_the_code_is_that_of_the_newest_section():
    from lorabake import __version__

    assert sections((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))[0][0] == __version__


OLD = "## 0.1.0 2026-12-01\n\nFirst.\n"


@pytest.mark.parametrize(
    ("changelog", "table", "words"),
    [
        ("# C\n\n## 0.1.0 (unreleased)\n\nFirst.\n", {}, ""),
        (f"# C\n\n{OLD}", {}, '"0.1.0": "new" to tests/golden/releases.json'),
        (f"# C\n\n{OLD}", {"0.1.0": "new"}, ""),
        (f"# C\n\n{OLD}", {"0.1.0": "old"}, "which is released"),
        (f"# C\n\n## 0.2.0 (unreleased)\n\nMore.\n\n{OLD}", {"0.1.0": "new"}, ""),
        (f"# C\n\n## 0.2.0 (unreleased)\n\nMore.\n\n{OLD}", {"0.1.0": "old"}, 'section 0.2.0 of CHANGELOG.md must say "changes results"'),
        (f"# C\n\n## 0.2.0 (unreleased)\n\n- changes results: the noise\n\n{OLD}", {"0.1.0": "old"}, ""),
        (f"# C\n\n## 0.2.0 2027-01-01\n\nMore.\n\n{OLD}", {"0.1.0": "old", "0.2.0": "new"}, 'must say "changes results"'),
        (f"# C\n\n## 0.2.0 2027-01-01\n\nIt changes results.\n\n{OLD}", {"0.1.0": "old", "0.2.0": "new"}, ""),
    ],
)
def test_the_rule(changelog, table, words):
    found = complaint(changelog, table, "new")
    assert words in found and bool(words) == bool(found)

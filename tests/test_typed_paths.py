r"""Paths out of what lands in a console window: a table of who pastes what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabake.typed_paths import split

CASES = [
    # Explorer and Windows Terminal
    (r"C:\a", [r"C:\a"]),
    (r'"C:\a b\x" "D:\y"', [r"C:\a b\x", r"D:\y"]),
    (r'"C:\a b\x""D:\y z"', [r"C:\a b\x", r"D:\y z"]),
    (r'"C:\a b\x"D:\y', [r"C:\a b\x", r"D:\y"]),
    (r'D:\y "C:\a b\x"', [r"D:\y", r"C:\a b\x"]),
    (r"C:\xD:\y", [r"C:\x", r"D:\y"]),
    (r"C:\x D:\y", [r"C:\x", r"D:\y"]),
    (r"C:\a.pt, D:\b.pt", [r"C:\a.pt", r"D:\b.pt"]),
    (r'"C:\a.pt","D:\b.pt"', [r"C:\a.pt", r"D:\b.pt"]),
    (r'"\\server\my share\a" \\nas\b', [r"\\server\my share\a", r"\\nas\b"]),
    # typed by hand: spaces belong to the path
    (r"D:\My Models\a b.safetensors", [r"D:\My Models\a b.safetensors"]),
    (r"my models\a b.pt", [r"my models\a b.pt"]),
    (r"D:\red, blue\x", [r"D:\red, blue\x"]),
    (r"D:\Bob's girl\x", [r"D:\Bob's girl\x"]),
    (r"D:\the 'good' ones\x", [r"D:\the 'good' ones\x"]),
    (r"D:\a [1] (2) & 100% {x}; y", [r"D:\a [1] (2) & 100% {x}; y"]),
    ("D:\\\u732b \u00e9\\x", ["D:\\\u732b \u00e9\\x"]),
    (r'"D:\Loras\"', ["D:\\Loras\\"]),
    (r'"C:\a b', [r"C:\a b"]),
    (r'C:\a b"', [r"C:\a b"]),
    (r"'C:\a b", [r"C:\a b"]),
    ("\u201cC:\\a b\u201d", [r"C:\a b"]),
    # PowerShell's console
    (r"& 'C:\a b'", [r"C:\a b"]),
    (r"& 'C:\it''s here'", [r"C:\it's here"]),
    (r"& 'C:\a b' & 'D:\c'", [r"C:\a b", r"D:\c"]),
    (r"'C:\a''D:\b'", [r"C:\a", r"D:\b"]),
    (r'& "C:\a b"', [r"C:\a b"]),
    (r"C:\this & that", [r"C:\this & that"]),
    # Linux
    ("/a b/c", ["/a b/c"]),
    ("'/a b' '/c'", ["/a b", "/c"]),
    (r"'/it'\''s' ", ["/it's"]),
    (r"/a\ b/it\'s", ["/a b/it's"]),
    ("/a /b ~/c", ["/a", "/b", "~/c"]),
    ("file:///home/a%20b/%C3%A9", ["/home/a b/\u00e9"]),
    ("file:///C:/a%20b", ["C:/a b"]),
    # nothing
    ("", []),
    ("   ", []),
    ('""', []),
    ("\0", []),
    ("'tis.png", ["'tis.png"]),
    ("pocket", ["pocket"]),
]


@pytest.mark.parametrize(("typed", "paths"), CASES, ids=[case[0][:30] for case in CASES])
def test_who_pastes_what(typed, paths):
    assert split(typed) == paths


@given(st.text())
def test_anything_at_all(typed):
    assert all(path and path == path.strip() for path in split(typed))


names = st.text(st.characters(exclude_characters='<>:"/\\|?*', exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1).filter(
    lambda name: name == name.strip(" .,;") and name.strip()
)


@given(st.lists(names.map(lambda name: f"C:\\x\\{name.strip()}y"), min_size=1, max_size=4))
def test_several_in_explorers_quotes(paths):
    assert split(" ".join(f'"{path}"' for path in paths)) == paths


@given(st.lists(names.map(lambda name: f"C:\\x\\{name.strip()}y"), min_size=1, max_size=4))
def test_several_in_powershells_quotes(paths):
    assert split(" ".join("& '" + path.replace("'", "''") + "'" for path in paths)) == paths


def test_much_is_no_trouble():
    assert split("x" * 10_000) == ["x" * 10_000]
    assert len(split('"C:\\a b" ' * 3000)) == 3000

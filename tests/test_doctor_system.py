"""The doctor's rows about Windows, memory and restarts, from made-up facts."""

from pathlib import Path

import pytest

from lorabake.doctor_system import magick_row, mark_row, memory_row, page_file_kind, page_file_row, restart_row, windows_row

GIB = 1 << 30
MANAGED, FIXED = [r"?:\pagefile.sys"], [r"C:\pagefile.sys 800 4000"]


def test_memory():
    assert memory_row({"total": 32 * GIB, "free": 20 * GIB}).found == "32.0 GB, 20.0 GB free"
    assert memory_row({"total": 4 * GIB}).status == "WARN"
    assert memory_row({}).status == "WARN"


@pytest.mark.parametrize(
    ("free_gib", "files", "status"),
    [
        (20, FIXED, "OK"),
        (8, FIXED, "WARN"),
        (3, FIXED, "FAIL"),
        (8, MANAGED, "OK"),
        (3, MANAGED, "WARN"),
        (8, [], "WARN"),
        (3, None, "FAIL"),
    ],
)
def test_the_page_file(free_gib, files, status):
    row = page_file_row({"total": 8 * GIB, "commit_free": free_gib * GIB, "commit_total": 24 * GIB}, files)
    assert row.status == status, row
    if status != "OK":
        assert "1455" in row.cause and "12.0 GB" in row.cause and row.command == "SystemPropertiesPerformance.exe"


def test_only_windows_has_a_page_file_that_counts():
    assert page_file_row({"total": 8 * GIB}, None) is None


def test_kinds_of_page_files():
    kinds = [page_file_kind(files) for files in (MANAGED, [r"C:\pagefile.sys 0 0"], FIXED, [], [""], None)]
    assert kinds[0] == kinds[1] and kinds[3] == kinds[4] and len(set(kinds)) == 4


def test_windows_versions():
    assert windows_row((10, 0, 26100), "24H2").found == "Windows 11 24H2 (build 26100)"
    assert windows_row((10, 0, 19045), "22H2").found == "Windows 10 22H2 (build 19045)"
    assert windows_row((6, 1, 7601), "").status == "FAIL"
    assert "6.1" in windows_row((6, 1, 7601), "").found


def test_restarts():
    assert restart_row([]).status == "OK"
    row = restart_row(["installed updates", "changed parts of Windows"])
    assert row.status == "WARN" and "installed updates and changed parts" in row.cause and row.command.startswith("shutdown /r")


def test_imagemagick():
    assert magick_row(Path("C:/im"), "16 bits", "winget").status == "OK"
    row = magick_row(None, "16 bits become 8", "winget install x")
    assert (row.status, row.command, row.action) == ("WARN", "winget install x", "magick") and "16 bits" in row.cause


def test_marks_of_the_web():
    root = Path("/home/me/lorabake")
    assert mark_row([], root).status == "OK"
    row = mark_row([root / "train.ps1", *(root / "ps" / f"{n}.ps1" for n in range(4))], root)
    assert (row.status, row.action) == ("WARN", "unblock") and "train.ps1, " in row.found and "2 more" in row.found

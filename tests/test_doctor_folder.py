"""The doctor's rows about the folder and its disk, from made-up facts."""

import pytest

from lorabake import disks, doctor_folder
from lorabake.doctor_folder import disk_row, folder_row, guard_row, neighbours, neighbours_row, path_row

GIB = 1 << 30
WINDOWS = {
    "ProgramFiles": r"C:\Program Files",
    "ProgramFiles(x86)": r"C:\Program Files (x86)",
    "SystemRoot": r"C:\Windows",
    "TEMP": r"C:\Users\me\AppData\Local\Temp",
    "OneDrive": r"D:\Cloud",
}


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (r"C:\lorabake", "OK", ""),
        (r"C:\Users\me\lorabake", "OK", ""),
        (r"c:\PROGRAM FILES\lorabake", "WARN", "installers"),
        (r"C:\Windows\lorabake", "WARN", "installers"),
        (r"D:\cloud\x\lorabake", "WARN", "OneDrive copies"),
        (r"C:\Users\me\OneDrive - Firm\lorabake", "WARN", "OneDrive - Firm copies"),
        (r"E:\Dropbox\lorabake", "WARN", "Dropbox copies"),
        ("D:\\", "WARN", "among other files"),
        (r"C:\Users\me\AppData\Local\Temp\lorabake", "WARN", "emptied"),
        (r"C:\not onedrive\lorabake", "OK", ""),
    ],
)
def test_places_on_windows(text, status, words):
    row = folder_row(text, "", WINDOWS, windows=True)
    assert (row.status, words in row.cause) == (status, True), row
    assert bool(row.command) == (status != "OK")


def test_a_folder_that_cannot_be_written_fails_and_moves_to_its_own_drive():
    row = folder_row(r"D:\Program Files\lorabake", "Access is denied", {"ProgramFiles": r"D:\Program Files"}, windows=True)
    assert (row.status, row.command) == ("FAIL", r'move "D:\Program Files\lorabake" D:\lorabake')
    assert "administrators" in row.cause
    assert "Read-only file system" in folder_row("/x", "Read-only file system", {}, windows=False).cause
    assert doctor_folder.better_place(r"\\nas\me\lorabake", windows=True).endswith(r"C:\lorabake")


def test_places_on_linux():
    assert folder_row("/home/me/lorabake", "", {}, windows=False).status == "OK"
    assert folder_row("/home/me/OneDrive/lorabake", "", {}, windows=False).status == "WARN"


def test_writing_is_tried(tmp_path):
    assert doctor_folder.writable(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
    assert doctor_folder.writable(tmp_path / "none")


@pytest.mark.parametrize(
    ("marks", "name", "status"),
    [
        (["webui.py", "modules/"], "web UI", "WARN"),
        (["webui.bat", "webui-user.bat"], "web UI", "WARN"),
        (["launch.py", "modules/", "modules_forge/"], "Forge", "WARN"),
        (["main.py", "comfy/"], "ComfyUI", "WARN"),
        (["train_network.py", "library/"], "kohya", "WARN"),
        (["pyvenv.cfg"], "environment", "FAIL"),
        (["conda-meta/"], "environment", "FAIL"),
        (["main.py"], "", "OK"),
    ],
)
def test_other_programs_around_us(tmp_path, marks, name, status):
    for mark in marks:
        (tmp_path / mark).mkdir() if mark.endswith("/") else (tmp_path / mark).write_text("", encoding="utf-8")
    folder = tmp_path / "extensions" / "lorabake"
    folder.mkdir(parents=True)
    found, above = neighbours(folder)
    assert name in found and (above == tmp_path or not name)
    row = neighbours_row(str(folder), found, str(above), windows=False)
    assert row.status == status and (status == "OK" or (row.cause and row.fix and str(folder) in row.command))


def test_our_own_environment_is_no_neighbour(tmp_path):
    (tmp_path / "lorabake" / "venv" / "001").mkdir(parents=True)
    (tmp_path / "lorabake" / "venv" / "001" / "pyvenv.cfg").write_text("", encoding="utf-8")
    assert neighbours(tmp_path / "lorabake") == ("", None)


def test_long_paths():
    assert path_row(r"C:\lorabake", long_paths=False).status == "OK"
    long = path_row("C:\\" + "x" * 110, long_paths=False)
    assert long.status == "WARN" and "113" in long.found and "LongPathsEnabled" in long.command
    assert path_row("C:\\" + "x" * 110, long_paths=True).status == "OK"


def test_controlled_folder_access():
    documents = r"C:\Users\me\Documents\lorabake"
    assert guard_row(None, documents, (), "p").status == "OK"
    assert guard_row(0, documents, (), "p").status == "OK"
    assert guard_row(2, documents, (), "p").status == "OK"
    assert guard_row(1, documents, (), "p.exe").status == "FAIL"
    assert guard_row(1, r"D:\Art\lorabake", (r"d:\art",), "p.exe").status == "FAIL"
    row = guard_row(1, r"D:\lorabake", (), r"D:\venv\python.exe")
    assert (row.status, r"'D:\venv\python.exe'" in row.command) == ("WARN", True)


@pytest.mark.parametrize(
    ("free_gib", "disk", "status", "words"),
    [
        (100, disks.Disk(disks.SSD, "NTFS"), "OK", ""),
        (100, disks.Disk(disks.HDD, "NTFS"), "OK", ""),
        (100, disks.Disk("", ""), "OK", ""),
        (5, disks.Disk(disks.SSD, "NTFS"), "WARN", "10 GB"),
        (1, disks.Disk(disks.SSD, "NTFS"), "FAIL", "10 GB"),
        (100, disks.Disk(disks.NETWORK, ""), "WARN", "network"),
        (100, disks.Disk(disks.REMOVABLE, "exFAT"), "WARN", "unplugged"),
        (100, disks.Disk(disks.SSD, "FAT32"), "WARN", "4 GB"),
    ],
)
def test_disks(free_gib, disk, status, words):
    row = disk_row(free_gib * GIB, disk)
    assert (row.status, words in row.cause) == (status, True), row
    assert row.status == "OK" or row.fix
    assert disk_row(100 * GIB, disks.Disk("SSD", "NTFS")).found == "100.0 GB free, SSD (NTFS)"

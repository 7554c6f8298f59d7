"""Which kind of disk a folder is on."""

from pathlib import Path

from lorabake import disks

MOUNTS = [
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
    "36 22 0:33 / /mnt/nas rw,relatime shared:9 - nfs4 nas:/share rw,vers=4.2",
    "40 22 0:40 / /dev/shm rw - tmpfs tmpfs rw",
]


def test_the_file_system_of_a_device():
    assert disks.system_of(MOUNTS, "8:1") == "ext4"
    assert disks.system_of(MOUNTS, "0:33") == "nfs4"
    assert disks.system_of(MOUNTS, "9:9") == ""


def test_this_machine_answers_for_a_folder_that_is_not_there_yet(tmp_path):
    assert disks.disk_of(tmp_path / "a" / "b") == disks.disk_of(tmp_path)
    assert disks.disk_of(tmp_path).system


def test_network_and_memory_are_known_by_their_file_system(monkeypatch):
    monkeypatch.setattr(disks.os, "stat", lambda folder: type("Stat", (), {"st_dev": disks.os.makedev(0, 33)})())
    monkeypatch.setattr(Path, "read_text", lambda self, **_: "\n".join(MOUNTS))
    assert disks._linux(Path("/mnt/nas")).kind == disks.NETWORK
    monkeypatch.setattr(disks.os, "stat", lambda folder: type("Stat", (), {"st_dev": disks.os.makedev(0, 40)})())
    assert disks._linux(Path("/dev/shm")).kind == disks.MEMORY


def test_trouble_is_no_crash(monkeypatch, tmp_path):
    def refuses(folder):
        raise PermissionError("no")

    monkeypatch.setattr(disks, "_linux", refuses)
    monkeypatch.setattr(disks, "_windows", refuses)
    assert disks.disk_of(tmp_path) == disks.Disk("", "")

"""The version of a DLL is read from its bytes: as another reader has it, and without falling over whatever the bytes are."""

import io
import random
from pathlib import Path

import pip
import pytest

import pe_files
from lorabake import pe_version


def written(tmp_path, content):
    path = tmp_path / "a \u732b.dll"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("wide", [True, False])
def test_numbers_and_texts(tmp_path, wide):
    texts = {"ProductName": "caf\u00e9 \u732b", "Empty": "", "LegalCopyright": "\u00a9 nobody " * 30}
    found = pe_version.read(written(tmp_path, pe_files.dll((1, 65535, 0, 7), texts, wide=wide)))
    assert found.numbers == (1, 65535, 0, 7) and found.text == "1.65535.0.7"
    assert found.texts == {key: value.strip() for key, value in texts.items()}


def test_only_the_headers_and_the_resource_are_read(tmp_path):
    path = written(tmp_path, pe_files.dll())
    with path.open("r+b") as file:
        file.truncate(3 << 30)  # a hole; it takes no room
    assert pe_version.read(path).numbers == (9, 20, 0, 48)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged"),
        (b"MZ", "damaged"),
        (b"\x7fELF" + bytes(200), "no Windows"),
        (pe_files.dll()[:700], "damaged"),
        (pe_files.dll(kind=3), "holds no version"),
    ],
)
def test_what_is_none_says_so(tmp_path, content, said):
    with pytest.raises(pe_version.NoVersion, match=said) as told:
        pe_version.read(written(tmp_path, content))
    assert isinstance(told.value, pe_version.Damaged) == (said != "holds no version")


def test_any_bytes_end_in_an_answer():
    whole = pe_files.dll()
    chance = random.Random(1)
    for _ in range(600):
        changed = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            where = chance.randrange(0x200) if chance.random() < 0.3 else 0x400 + chance.randrange(0x300)
            changed[where] = chance.choice((0, 1, 4, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        cut = chance.choice((len(changed), len(changed), chance.randrange(len(changed))))
        try:
            assert len(pe_version.read_from(io.BytesIO(changed[:cut])).numbers) == 4
        except pe_version.NoVersion as error:
            assert str(error)


def real_programs():
    """pip brings Windows programs along on every system, for the scripts it installs."""
    return sorted(Path(pip.__file__).parent.rglob("*.exe"))


def test_as_another_reader_has_it(tmp_path):
    pefile = pytest.importorskip("pefile")
    made = [written(tmp_path, pe_files.dll((8, 9, 7, 29), {"ProductName": "x \u732b", "FileVersion": "8,9"}))]
    for path in [*made, *real_programs()]:
        other = pefile.PE(str(path), fast_load=True)
        other.parse_data_directories([2])
        fixed = getattr(other, "VS_FIXEDFILEINFO", None)
        try:
            ours = pe_version.read(path)
        except pe_version.NoVersion:
            assert not fixed, path
            continue
        high, low = fixed[0].FileVersionMS, fixed[0].FileVersionLS
        assert ours.numbers == (high >> 16, high & 0xFFFF, low >> 16, low & 0xFFFF)
        tables = [table for info in other.FileInfo[0] for table in getattr(info, "StringTable", [])]
        assert ours.texts == {key.decode(): value.decode().strip() for table in tables for key, value in table.entries.items()}

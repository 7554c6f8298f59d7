"""Where ImageMagick is looked for, in which order; a 32-bit one and one whose folder is gone do not count."""

import os
import struct

import pytest

from lorabake import magick


def dll(folder, *, name="CORE_RL_MagickWand_.dll", machine=0x8664):
    """The head of a DLL for one kind of processor."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"MZ" + b"\0" * 58 + struct.pack("<I", 0x80) + b"\0" * 64 + b"PE\0\0" + struct.pack("<H", machine))
    return folder


@pytest.fixture
def pc(tmp_path):
    return {name: dll(tmp_path / f"{name} ImageMagick 7") for name in ("home", "library", "path")}


def look(pc, *, registry=None, variables=None, path=()):
    told = {name: [str(folder)] for name, folder in (registry or {}).items()}
    return magick.found(lambda name: told.get(name, []), variables or {}, path=os.pathsep.join(map(str, path)))


def test_the_order(pc):
    everything = {"registry": {"LibPath": pc["library"]}, "path": [pc["path"]]}
    assert look(pc, variables={"MAGICK_HOME": str(pc["home"])}, **everything) == pc["home"]
    assert look(pc, **everything) == pc["library"]
    assert look(pc, registry={"BinPath": pc["library"]}) == pc["library"]
    assert look(pc, path=["", pc["path"]]) == pc["path"]
    assert look(pc) is None


def test_an_old_home_is_passed_over(pc, tmp_path):
    assert look(pc, variables={"MAGICK_HOME": str(tmp_path / "gone")}, registry={"LibPath": pc["library"]}) == pc["library"]


def test_what_wand_cannot_load_does_not_count(tmp_path):
    narrow = dll(tmp_path / "32 bits", machine=0x014C)
    static = tmp_path / "static"
    static.mkdir()
    (static / "magick.exe").write_bytes(b"MZ")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "CORE_RL_MagickWand_.dll").write_bytes(b"MZ")
    assert look(None, path=[narrow, static, tmp_path / "broken"]) is None
    assert look(None, path=[narrow, dll(tmp_path / "six", name="CORE_RL_wand_.dll")]) == tmp_path / "six"


@pytest.mark.skipif(os.name == "nt", reason="of other systems")
def test_elsewhere_the_system_finds_it(monkeypatch):
    monkeypatch.delenv("MAGICK_HOME", raising=False)
    magick.prepare()
    assert magick.lost() == "" and "MAGICK_HOME" not in os.environ

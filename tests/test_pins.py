"""Installed versions against the pinned set: read as files, stray ones named."""

from lorabake import paths, pins


def put(library, name, version):
    info = library / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")


def test_names_and_versions_are_read_as_files(tmp_path):
    put(tmp_path, "Image_Hash", "4.3.2")
    put(tmp_path, "torch", "2.13.0+cu130")
    (tmp_path / "broken-1.dist-info").mkdir()
    assert pins.installed(tmp_path) == {"image-hash": "4.3.2", "torch": "2.13.0+cu130"}
    assert pins.installed(tmp_path / "none") == {}


def test_the_shipped_set():
    everywhere = pins.wanted(paths.STACK, windows=False)
    assert everywhere["torch"].count(".") == 2 and everywhere["pillow"] and "colorama" not in everywhere
    assert "colorama" in pins.wanted(paths.STACK, windows=True)
    assert "onnxruntime" in everywhere and "onnxruntime-gpu" not in everywhere
    for_card = pins.wanted(paths.STACK, row="cu130", windows=True)
    assert for_card["onnxruntime-gpu"] and "onnxruntime" not in for_card


def test_strays_are_named():
    pinned = {"numpy": "2.4.6", "torch": "2.13.0", "pillow": "13.0.0", "onnxruntime-gpu": "1.31.1"}
    found = {"numpy": "1.26.4", "torch": "2.13.0+cpu", "onnxruntime": "1.31.1", "somebody": "1"}
    assert [str(one) for one in pins.differences(found, pinned)] == ["numpy 1.26.4 in place of 2.4.6", "pillow 13.0.0 is missing"]
    assert pins.differences({}, {"onnxruntime": "1"})[0].found == ""

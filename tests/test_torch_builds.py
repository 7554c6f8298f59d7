"""The right build of torch for each card and driver, from recorded answers of nvidia-smi."""

import datetime
import http.server
import json
import threading
from pathlib import Path

import pytest

from lorabake import hardware, torch_builds
from lorabake.errors import UsageError

DATA = Path(__file__).parent / "data" / "nvidia_smi"
WINDOWS, LINUX = torch_builds.rows(windows=True), torch_builds.rows(windows=False)
ON_CPU = ("cpu", torch_builds.OWN_INDEX)


def seen(file: str) -> hardware.Seen:
    text = (DATA / file).read_text(encoding="utf-8")
    found = tuple(hardware.parse(text))
    return hardware.Seen(found, "" if found else text.splitlines()[0])


@pytest.mark.parametrize(
    ("file", "windows", "names"),
    [
        ("gtx1060.csv", True, ("cu126", *ON_CPU)),  # 10xx: only the CUDA 12.6 build still holds its kernels, however new the driver
        ("gtx1080ti_535.csv", False, ("cu126", *ON_CPU)),
        ("gtx1660ti.csv", True, ("cu126", *ON_CPU)),  # 566 is older than CUDA 13 needs
        ("rtx2060.csv", True, ("cu126", *ON_CPU)),
        ("rtx3060.csv", True, ("cu130", "cu132", "cu126", *ON_CPU)),
        ("rtx4090.csv", True, ("cu130", "cu132", "cu126", *ON_CPU)),
        ("rtx5090.csv", True, ("cu130", "cu132", *ON_CPU)),  # 50xx: CUDA 12.6 has no kernels for it
        ("rtx5070ti_572.csv", True, ON_CPU),
        ("gtx1080_470.csv", False, ON_CPU),
        ("gtx680_391.csv", True, ON_CPU),
        ("no_devices.txt", True, ON_CPU),
        ("two_cards.csv", False, ("cu126", "cu130", "cu132", *ON_CPU)),  # one build that serves both comes first
    ],
)
def test_builds_in_order(file, windows, names):
    choice = torch_builds.choose(seen(file), WINDOWS if windows else LINUX)
    assert choice.names == names


@pytest.mark.parametrize(
    ("file", "windows", "words"),
    [
        (
            "rtx5070ti_572.csv",
            True,
            ["driver 572.16", "RTX 5070 Ti", "too old: 580.88 or newer", "update the driver", "CPU build meanwhile"],
        ),
        ("gtx1080_470.csv", False, ["driver 470.182.03", "GTX 1080", "525.60.13", "update the driver"]),
        ("gtx680_391.csv", True, ["GTX 680", "391.35", "update the driver"]),
        ("no_driver.txt", False, ["couldn't communicate with the NVIDIA driver", "CPU build meanwhile"]),
        ("gtx1080ti_535.csv", False, ["older than the one cu126 came with (560.28.03)"]),
    ],
)
def test_what_is_said_of_an_old_driver(file, windows, words):
    warning = torch_builds.choose(seen(file), WINDOWS if windows else LINUX).warning
    assert [word for word in words if word not in warning] == []


@pytest.mark.parametrize("file", ["gtx1060.csv", "rtx3060.csv", "rtx4090.csv", "rtx5090.csv"])
def test_a_good_driver_gets_no_warning(file):
    assert torch_builds.choose(seen(file), WINDOWS).warning == ""


def test_no_card_is_no_warning():
    choice = torch_builds.choose(hardware.Seen(()), LINUX)
    assert (choice.names, choice.warning, choice.reason) == (ON_CPU, "", "no NVIDIA card")


def test_cards_too_old_and_too_new_are_told_so():
    (card,) = hardware.parse((DATA / "rtx4090.csv").read_text(encoding="utf-8"))
    old = hardware.Seen((hardware.replace(card, compute=(3, 5)),))
    new = hardware.Seen((hardware.replace(card, compute=(14, 0)),))
    assert "too old for torch 2.13.0" in torch_builds.choose(old, WINDOWS).warning
    assert "newer than torch 2.13.0 knows" in torch_builds.choose(new, WINDOWS).warning


def test_a_build_can_be_asked_for():
    choice = torch_builds.choose(seen("rtx4090.csv"), WINDOWS, asked="cu126")
    assert choice.names == ("cu126",)
    assert choice.asked
    assert torch_builds.choose(seen("rtx4090.csv"), WINDOWS, asked="cpu").names == ON_CPU
    assert torch_builds.choose(seen("rtx4090.csv"), WINDOWS, asked="auto").names[0] == "cu130"
    with pytest.raises(UsageError, match="cu118"):
        torch_builds.choose(seen("rtx4090.csv"), WINDOWS, asked="cu118")


def test_what_pip_is_asked_for():
    by_name = {build.name: build for build in WINDOWS}
    assert by_name["cu130"].requirement == "torch==2.13.0+cu130"
    assert torch_builds.choose(hardware.Seen(()), WINDOWS).builds[-1].requirement == "torch==2.13.0"


def test_every_row_has_its_source_and_date():
    data = json.loads(torch_builds.TABLE.read_text(encoding="utf-8"))
    for row in data["builds"]:
        assert row["index"].endswith(f"/whl/{row['name']}")
        assert len(row["source"]) > 40
        assert datetime.date(2026, 1, 1) <= datetime.date.fromisoformat(row["date"])
        if row["compute"]:
            assert set(row["driver"]) == set(row["own_driver"]) == {"linux", "windows"}


@pytest.fixture
def index():
    """An index that knows /good/torch/ and answers 404 to the rest."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200 if self.path == "/good/torch/" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def build_at(url):
    return torch_builds.Build("cu130", "2.13.0", url, ((7, 5), (12, 0)), (580,), (580,))


def test_an_index_is_probed(index, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    assert torch_builds.probe(build_at(f"{index}/good")) is None
    assert "404" in torch_builds.probe(build_at(f"{index}/bad"))
    assert torch_builds.probe(build_at("http://127.0.0.1:9")) is not None
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert "no index" in torch_builds.probe(build_at(f"{index}/good"))


def test_pips_own_index_is_not_probed():
    assert torch_builds.probe(torch_builds.choose(hardware.Seen(()), LINUX).builds[-1]) is None

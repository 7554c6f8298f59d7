"""The probe: its ONNX file is a real one, what fails is told in one line."""

import json

import onnx
import onnxruntime
import pytest
import torch

from lorabake import doctor_ask, doctor_probe


def test_the_onnx_file_is_sound_and_computes():
    data = doctor_probe.onnx_model()
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": [[2.0, 0.0], [0.0, 2.0]]})[0][1][1] == 4.0


def test_parts_have_the_same_names_on_both_sides():
    assert tuple(doctor_probe.PARTS) == doctor_ask.PARTS


def test_what_it_tells_is_read(capsys, monkeypatch):
    def fails():
        raise ImportError("\nDLL load failed\nmore")

    monkeypatch.setitem(doctor_probe.PARTS, "xformers", fails)
    doctor_probe.main(["torch", "onnxruntime", "bitsandbytes", "xformers"])
    told, begun = doctor_ask.read(capsys.readouterr().out)
    assert begun == "xformers" and told["xformers"] == {"trouble": "DLL load failed"}
    assert told["torch"]["version"] and not told["torch"]["trouble"] and told["onnxruntime"]["provider"]
    json.dumps(told)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")
def test_on_a_card_everything_computes():
    told = {name: part() for name, part in doctor_probe.PARTS.items()}
    assert told["torch"]["cards"] and not any(card["trouble"] for card in told["torch"]["cards"])
    assert told["cuDNN"]["version"]

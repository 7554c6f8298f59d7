"""log.jsonl: whole lines only, later steps dropped when a run goes on, numbers that JSON has no word for."""

import json
import math

from lorabake import runlog
from lorabake.runlog import RunLog


def test_what_is_added_is_read(tmp_path):
    path = tmp_path / "log.jsonl"
    with RunLog(path) as log:
        log.add("step", step=1, loss=0.5, rates={"unet": 1e-4})
        assert runlog.read(path) == [{"kind": "step", "step": 1, "loss": 0.5, "rates": {"unet": 1e-4}}], "on the disk at once"
        log.add("note", text="\u00e9\u65e5")
    assert [event["kind"] for event in runlog.read(path)] == ["step", "note"]
    assert runlog.read(tmp_path / "none.jsonl") == []


def test_a_torn_line_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"kind": "step", "step": 1}\n\x00\x00\xff\n[1]\n{"kind": "step", "st')
    assert runlog.read(path) == [{"kind": "step", "step": 1}]


def test_going_on_after_a_torn_line_spoils_no_new_one(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"kind": "step", "step": 1}\n{"kind": "step", "st', encoding="utf-8")
    with RunLog(path, up_to=1) as log:
        log.add("step", step=2)
    assert [event["step"] for event in runlog.read(path)] == [1, 2]
    with path.open("a", encoding="utf-8") as file:
        file.write('{"kind": "st')
    with RunLog(path) as log:
        log.add("step", step=3)
    assert [event["step"] for event in runlog.read(path)] == [1, 2, 3]


def test_going_on_drops_later_steps_and_the_end(tmp_path):
    path = tmp_path / "log.jsonl"
    with RunLog(path) as log:
        for step in (1, 2, 3):
            log.add("step", step=step)
        log.add("done", status="stopped", step=1)
        log.add("note", text="kept")
    RunLog(path, up_to=2).close()
    assert [(event["kind"], event.get("step")) for event in runlog.read(path)] == [("step", 1), ("step", 2), ("note", None)]


def test_numbers_that_are_not_finite_become_words(tmp_path):
    path = tmp_path / "log.jsonl"
    with RunLog(path) as log:
        log.add("step", step=1, loss=math.nan, deep=[{"x": (math.inf, 1.0)}])
    line = path.read_text(encoding="utf-8")
    assert json.loads(line, parse_constant=lambda word: 1 / 0) == {
        "kind": "step",
        "step": 1,
        "loss": "nan",
        "deep": [{"x": ["inf", 1.0]}],
    }

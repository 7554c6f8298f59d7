"""Which run is gone on with, what makes a new one, and how earlier files make room."""

import json
from pathlib import Path

import pytest

from lorabake import paths, runs
from lorabake.errors import UserError

IDENTITY = {"train": {"seed": 1, "rates": [1, 2]}, "content": "abc", "total_steps": 100, "epochs": 4}


def begun(output, identity=IDENTITY, *, status=None, fresh=False):
    decision = runs.decide(str(output), "style", identity, fresh=fresh)
    runs.begin(decision, identity, str(output), "style")
    if status:
        paths.write_json(decision.folder / "result.json", {"status": status})
    return decision


def changed(**values):
    return {**IDENTITY, **values}


@pytest.mark.parametrize(
    ("status", "identity", "fresh", "kind", "differs"),
    [
        ("done", IDENTITY, False, "done", set()),
        ("running", IDENTITY, False, "continue", set()),
        ("stopped", IDENTITY, False, "continue", set()),
        (None, IDENTITY, False, "continue", set()),
        ("done", changed(total_steps=150, epochs=6), False, "continue", {"total_steps", "epochs"}),
        ("stopped", changed(total_steps=150, epochs=6), False, "continue", {"total_steps", "epochs"}),
        ("done", changed(total_steps=50, epochs=2), False, "new", {"total_steps", "epochs"}),
        ("stopped", changed(content="other"), False, "new", {"content"}),
        ("done", changed(train={"seed": 2, "rates": [1, 2]}), False, "new", {"train.seed"}),
        ("done", changed(total_steps=150, train={"seed": 1, "rates": [1, 3]}), False, "new", {"total_steps", "train.rates"}),
        ("done", changed(extra=1), False, "new", {"extra"}),
        ("done", IDENTITY, True, "new", set()),
        ("running", IDENTITY, True, "new", set()),
    ],
)
def test_what_is_decided(tmp_path, status, identity, fresh, kind, differs):
    first = begun(tmp_path, status=status)
    assert (first.kind, first.folder) == ("new", tmp_path / "style.runs/001")
    decision = runs.decide(str(tmp_path), "style", identity, fresh=fresh)
    assert (decision.kind, set(decision.differences)) == (kind, differs)
    assert decision.folder.name == ("002" if kind == "new" else "001")
    for key, (then, now) in decision.differences.items():
        assert then != now and now == runs.flat(identity)[key]


def test_a_damaged_run_file_starts_a_new_run(tmp_path):
    first = begun(tmp_path, status="done")
    (first.folder / "run.json").write_text('{"identity": {"tr', encoding="utf-8")
    decision = runs.decide(str(tmp_path), "style", IDENTITY)
    assert (decision.kind, decision.folder.name) == ("new", "002")


def test_damaged_result_means_unfinished(tmp_path):
    first = begun(tmp_path, status="done")
    (first.folder / "result.json").write_bytes(b"\x00" * 20)
    assert runs.decide(str(tmp_path), "style", IDENTITY).kind == "continue"


def test_going_on_keeps_the_time_of_the_start(tmp_path):
    first = begun(tmp_path)
    before = json.loads((first.folder / "run.json").read_text(encoding="utf-8"))
    longer = changed(epochs=5, total_steps=125)
    begun(tmp_path, longer)
    after = json.loads((first.folder / "run.json").read_text(encoding="utf-8"))
    assert after == {**before, "identity": longer}


def test_runs_are_counted_as_numbers(tmp_path):
    for name in ("002", "010", "999", "1000", "earlier-20260101-000000", "_tmp"):
        (tmp_path / "style.runs" / name).mkdir(parents=True)
    assert [p.name for p in runs.run_folders(tmp_path, "style")] == ["002", "010", "999", "1000"]
    assert runs.decide(str(tmp_path), "style", IDENTITY).folder.name == "1001"


OURS = (
    "style.safetensors",
    "style.preview.png",
    "style-000001.safetensors",
    "style-000001.preview.png",
    "style-step00000007.safetensors",
)
THEIRS = ("style-two.safetensors", "style2.safetensors", "style.txt", "style-.safetensors", "mystyle.safetensors", "style-1x.safetensors")


def test_files_of_an_earlier_run_are_moved_into_it(tmp_path):
    first = begun(tmp_path, status="done")
    for name in OURS + THEIRS:
        (tmp_path / name).write_bytes(name.encode())
    second = begun(tmp_path, changed(content="x"))
    assert second.folder.name == "002"
    assert {p.name for p in tmp_path.iterdir() if p.is_file()} == set(THEIRS)
    for name in OURS:
        assert (first.folder / name).read_bytes() == name.encode()


def test_files_that_no_run_made_are_kept_beside(tmp_path):
    (tmp_path / "style.safetensors").write_bytes(b"theirs")
    first = begun(tmp_path)
    assert first.folder.name == "001"
    [kept] = (tmp_path / "style.runs").glob("earlier-*/style.safetensors")
    assert kept.read_bytes() == b"theirs"


def test_a_name_that_is_taken_in_the_run_is_not_overwritten(tmp_path):
    first = begun(tmp_path, status="done")
    (first.folder / "style.safetensors").write_bytes(b"one")
    (tmp_path / "style.safetensors").write_bytes(b"two")
    begun(tmp_path, changed(content="x"))
    assert {p.read_bytes() for p in first.folder.glob("style*.safetensors")} == {b"one", b"two"}


def test_a_file_that_cannot_be_moved_leaves_the_others_in_place(tmp_path, monkeypatch):
    """Windows moves no file that a web UI has open; half a set would look as if the rest was never baked."""
    begun(tmp_path, status="done")
    for name in OURS:
        (tmp_path / name).write_bytes(name.encode())
    replace = Path.replace

    def refuse_one(path, target):
        if path.name == "style.safetensors":
            raise PermissionError(13, "Permission denied")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refuse_one)
    with pytest.raises(UserError, match="another program has it open"):
        begun(tmp_path, changed(content="x"))
    assert {name: (tmp_path / name).read_bytes() for name in OURS} == {name: name.encode() for name in OURS}


def test_going_on_moves_nothing(tmp_path):
    begun(tmp_path)
    (tmp_path / "style-000001.safetensors").write_bytes(b"x")
    begun(tmp_path)
    assert (tmp_path / "style-000001.safetensors").exists()


def test_content_is_by_name_not_by_order():
    one = runs.content_identity({"a": "1", "b": "2"}, {"a": "x", "b": "y"})
    assert one == runs.content_identity({"b": "2", "a": "1"}, {"b": "y", "a": "x"})
    assert one != runs.content_identity({"a": "2", "b": "1"}, {"a": "x", "b": "y"})
    assert one != runs.content_identity({"a": "1", "b": "2"}, {"a": "y", "b": "x"})

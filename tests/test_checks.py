"""--check, --reject and --demote as people use them: what is said, what is moved, and taking it back."""

import json
import os
import time

import pytest

from lorabake import journal, tag_job, tag_words
from lorabake.errors import UsageError, UserError
from photos import figure, scene


def run(folder, *words):
    return tag_job.main(tag_words.parse(None, [str(folder), *words]))


@pytest.fixture
def folder(tmp_path):
    """Good ones, one twice, one small, one broken; captions with something to say of each."""
    inside = tmp_path / "set" / "5_jun & (wool)"
    inside.mkdir(parents=True)
    for number in range(4):
        scene((560, 560), number).save(inside / f"good {number} 猫.png")
        (inside / f"good {number} 猫.txt").write_text(f"jun, thing {number}, Red_Eyes", encoding="utf-8")
    (inside / "again.png").write_bytes((inside / "good 0 猫.png").read_bytes())
    figure((200, 200)).save(inside / "small.png")
    (inside / "small.txt").write_text("1boy, 2boys, signature, red eyes, " + ", ".join(f"tag{n}" for n in range(40)), encoding="utf-8")
    (inside / "broken.png").write_bytes(b"\x89PNG")
    return tmp_path / "set"


def names(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not set(path.parts) & {"_checks", "_journal"}
    )


def test_what_is_odd_is_said_and_nothing_is_changed(folder, capsys):
    before = names(folder)
    assert run(folder, "--check", "--trigger", "jun", "--tokens", "75") == 0
    seen = capsys.readouterr()
    lines = {line.split()[1]: line for line in seen.out.splitlines()}
    assert {"twice", "broken", "small", "no-caption", "too-long", "no-trigger", "contradiction", "watermark", "spelling"} <= set(lines)
    assert lines["twice"].startswith("reject") and "again.png: the same file as good 0 猫.png" in lines["twice"]
    assert "tag39" in lines["too-long"] or "more" in lines["too-long"]
    assert "7 pictures: 4 good, 1 poor, 2 to reject" in seen.out and "sheet.html" in seen.err
    assert names(folder) == before and not (folder / "_journal").exists()


def test_a_second_check_looks_at_nothing(folder, monkeypatch, capsys):
    run(folder, "--check")
    first = capsys.readouterr().out
    monkeypatch.setattr("lorabake.picture_facts.look", None)
    assert run(folder, "--check") == 0 and capsys.readouterr().out == first


def test_only_what_is_asked_for_is_said_and_twins_are_sought_everywhere(folder, capsys):
    run(folder, "--check", "--find", "not (jun or 1boy)")
    out = capsys.readouterr().out
    assert "2 pictures: 0 good, 0 poor, 2 to reject" in out and "again.png: the same file as good 0" in out and "small.png" not in out


def test_what_is_hopeless_is_moved_and_comes_back(folder, capsys):
    before = names(folder)
    assert run(folder, "--reject", "--dry-run") == 0 and names(folder) == before
    assert "2 pictures would be moved to _rejected" in capsys.readouterr().out
    assert run(folder, "--reject") == 0
    assert [name for name in names(folder) if name.startswith("_")] == [
        "_rejected/5_jun & (wool)/again.png",
        "_rejected/5_jun & (wool)/broken.png",
    ]
    assert run(folder, "--undo") == 0 and names(folder) == before


def test_poor_ones_go_where_they_are_seen_less_often(folder, capsys):
    before = names(folder)
    assert run(folder, "--demote", "2") == 0
    assert {"2_jun & (wool)/small.png", "2_jun & (wool)/small.txt"} <= set(names(folder))
    assert run(folder, "--undo") == 0 and names(folder) == before
    assert run(folder, "--demote", "7", "small") == 0 and names(folder) == before
    assert "would be seen no less often" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "65536", "80000", "-1", "http"])
def test_ports_that_are_none(folder, port, capsys):
    with pytest.raises(SystemExit) as ended:
        run(folder, "--review", f"--port={port}")
    assert ended.value.code == 2 and "is no port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "moved"),
    [
        (["--reject", "small", "twice"], {"small.png", "small.txt", "again.png"}),
        (["--reject=small,broken"], {"small.png", "small.txt", "broken.png"}),
        (["--reject", "watermark"], {"small.png", "small.txt"}),
        (["--reject", "good 1 猫.png"], {"good 1 猫.png", "good 1 猫.txt"}),
        (["--find", "thing 2 or thing 3", "--reject", "all"], {"good 2 猫.png", "good 2 猫.txt", "good 3 猫.png", "good 3 猫.txt"}),
    ],
)
def test_kinds_and_names_may_be_named(folder, words, moved):
    assert run(folder, *words) == 0
    assert {name.rpartition("/")[2] for name in names(folder) if name.startswith("_rejected")} == moved


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--reject", "blury"], "no finding and no picture here"),
        (["--reject", "all"], "no finding"),
        (["--demote", "few"], "no number of repeats"),
        (["--check", "--stats"], "two jobs"),
        (["--check", "--reject"], "two jobs"),
        (["--reject", "--remove", "x"], "two jobs"),
        (["--check", "--resolution", "0"], "no resolution of a bake"),
        (["--check", "--trigger", "5_none=x"], "no folder"),
        (["--review", "--stats"], "two jobs"),
    ],
)
def test_words_that_make_no_sense(folder, words, says):
    before = names(folder)
    with pytest.raises(UsageError, match=says):
        run(folder, *words)
    assert names(folder) == before


def test_a_job_at_work_is_not_disturbed(folder):
    before = names(folder)
    record = {"pid": os.getppid(), "since": time.time()}  # of a process that runs and is not this one
    (folder / "_lock.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(UserError, match="another job"):
        run(folder, "--reject")
    (folder / "_lock.json").unlink()
    assert names(folder) == before


def test_many_findings_are_cut_short(folder, capsys):
    for number in range(12):
        scene((100, 100), number).save(folder / "5_jun & (wool)" / f"tiny{number:02}.png")
    run(folder, "--check")
    assert "and 7 more" in capsys.readouterr().out


def test_the_entry_says_what_was_done(folder):
    run(folder, "--reject", "small")
    (job,) = journal.jobs(folder)
    assert (job.name, job.title, len(job.changes)) == ("check", "1 picture to _rejected", 2)

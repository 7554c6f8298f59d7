"""Answers that are kept for next time."""

import asked
from lorabake import drafts, paths
from lorabake.questions import Sheet, all_questions

KNOWN = all_questions()
VALUES = {
    "name": "x",
    "images": "D:\\a b",
    "train.epochs": 8,
    "train.unet_lr": 1e-4,
    "train.batch_size": None,
    "train.warmup": "5%",
    "data.flip": True,
    "samples.prompts": ("a, b", "c"),
    "samples.size": (512, 768),
    "train.optimizer_args": {"betas": (0.9, 0.99), "n": 1},
    "tag.rules": ({"find": "1boy", "remove": ("solo",)},),
    "save.comment": "",
}


def test_they_come_back(tmp_path, monkeypatch):
    asked.rooms(tmp_path, monkeypatch)
    path = drafts.save(Sheet(dict(VALUES)), None)
    assert path.parent == paths.PROFILES / "_drafts" and not list(paths.visible(paths.PROFILES))
    (draft,) = drafts.found()
    assert draft.name == "x" and drafts.sheet_of(draft, KNOWN).values == VALUES
    assert drafts.save(Sheet({"name": "y"}), path) == path
    assert [draft.name for draft in drafts.found()] == ["y"]


def test_the_newest_comes_first_and_none_is_lost(tmp_path, monkeypatch):
    asked.rooms(tmp_path, monkeypatch)
    made = [drafts.save(Sheet({"name": name}), None) for name in "abc"]
    assert len(set(made)) == 3
    assert [draft.name for draft in drafts.found()] == ["c", "b", "a"]


def test_what_is_no_draft_is_left_out(tmp_path, monkeypatch):
    asked.rooms(tmp_path, monkeypatch)
    assert drafts.found() == []
    drafts.folder().mkdir()
    for number, text in enumerate(
        ["", "[]", "{", '{"answers": []}', '{"answers": {}}', '{"answers": {"name": "x", "gone.key": "1", "train.epochs": "six"}}']
    ):
        (drafts.folder() / f"{number}.json").write_text(text, encoding="utf-8")
    (draft,) = drafts.found()
    assert drafts.sheet_of(draft, KNOWN).values == {"name": "x"}

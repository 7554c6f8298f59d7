"""Which questions come, and what typed answers mean."""

import json
from pathlib import Path

import pytest

import asked
import rubbish
from lorabake import new_answers, questions, settings
from lorabake.kinds import Wrong, whole
from lorabake.questions import Sheet, all_questions, as_raw, raw_of, to_ask, understood
from lorabake.settings import keys

KNOWN = all_questions()
FOLDER = Path("/f")


def names(sheet=None, more=()):
    return [question.key.dotted for question in to_ask(KNOWN, sheet or Sheet(), more)]


def value(dotted, typed, folder=FOLDER):
    return understood(KNOWN[dotted], raw_of(KNOWN[dotted], typed), folder)


def test_every_key_is_a_question_once():
    assert sorted(KNOWN) == sorted(key.dotted for key in keys())


def test_the_guides_order_and_only_what_makes_sense():
    found = names()
    assert found[:6] == ["base_model", "images", "name", "output", "model.look", "network.type"]
    assert "train.restarts" in found, "cosine_with_restarts is the default"
    assert not {"train.power", "data.keep_tokens", "train.prior_loss_weight", "network.conv_rank"} & set(found)


@pytest.mark.parametrize(
    ("answer", "there", "gone"),
    [
        ({"train.scheduler": "polynomial"}, "train.power", "train.restarts"),
        ({"train.scheduler": "constant"}, "train.scheduler", "train.warmup"),
        ({"data.shuffle": True}, "data.keep_tokens", ""),
        ({"data.regularization": "/r"}, "train.prior_loss_weight", ""),
        ({"network.target": "unet"}, "train.unet_lr", "train.text_encoder_lr"),
        ({"model.clip_skip": 2}, "", "model.look"),
        ({"train.steps": 100}, "", "train.epochs"),
    ],
)
def test_answers_bring_and_take_questions(answer, there, gone):
    found = names(Sheet(answer))
    assert (not there or there in found) and gone not in found


def test_more_settings_walk_groups_in_the_order_they_were_wished():
    found = names(Sheet({"network.type": "locon"}), ["tag", "network"])
    assert found.index("tag.model") < found.index("network.conv_rank")
    assert "samples.cfg" not in found
    every = names(
        Sheet({"network.type": "locon", "train.scheduler": "polynomial", "data.shuffle": True, "data.regularization": "/r"}),
        questions.groups(KNOWN.values()),
    )
    left = set(KNOWN) - set(every)
    assert left == {"train.restarts", "train.processes"}, "everything else can be reached"


def test_a_key_of_tomorrow_appears_by_itself(monkeypatch):
    class Tomorrow(settings.Train):
        dream: int = settings.key(3, whole(1, 9), "A made-up setting.")

    monkeypatch.setitem(settings.BLOCKS, "train", Tomorrow)
    known = all_questions()
    assert known["train.dream"].title == "Dream"
    assert questions.groups(known.values())["train"] == questions.groups(KNOWN.values())["train"] + 1
    found = [question.key.dotted for question in to_ask(known, Sheet(), ["train"])]
    assert "train.dream" in found
    with pytest.raises(Wrong, match="too large"):
        understood(known["train.dream"], "10", FOLDER)
    assert understood(known["train.dream"], "9", FOLDER) == 9


@pytest.mark.parametrize(
    ("dotted", "typed", "found"),
    [
        ("train.epochs", " 8 ", 8),
        ("train.unet_lr", "1e-4", 1e-4),
        ("train.batch_size", "auto", None),
        ("train.batch_size", "", None),
        ("data.flip", "y", True),
        ("data.flip", "No", False),
        ("data.regularization", "none", None),
        ("save.comment", '"b"', "b"),
        ("save.comment", "[a] {b}: # 'c", "[a] {b}: # 'c"),
        ("name", '"e"', "e"),
        ("samples.prompts", '["1girl, solo", a castle]', ("1girl, solo", "a castle")),
        ("samples.seeds", "[1, 2]", (1, 2)),
        ("tag.replace", "{1boy: 1girl}", {"1boy": "1girl"}),
        ("base_model", "pocket", "pocket"),
        ("base_model", '"D:\\My Models\\a.ckpt"', "D:\\My Models\\a.ckpt"),
        ("images", "& 'C:\\it''s'", "C:\\it's"),
        ("images", "set [1]", "/f/set [1]"),
        ("output", "C:\\Users\\\u732b \U0001f469\u200d\U0001f467", "C:\\Users\\\u732b \U0001f469\u200d\U0001f467"),
    ],
)
def test_what_is_typed(dotted, typed, found):
    assert value(dotted, typed) == found


RUBBISH = [*rubbish.RUBBISH, "[1, 2", "1e999", "[[[["]


@pytest.mark.parametrize("typed", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_is_refused_or_harmless(typed):
    """Never anything but Wrong; and what is taken comes back from JSON as it was."""
    for dotted in KNOWN:
        try:
            found = value(dotted, typed)
        except Wrong as wrong:
            assert wrong.what and len(wrong.what) < 300
            continue
        again = understood(KNOWN[dotted], json.loads(json.dumps(as_raw(found))), FOLDER)
        assert again == found


@pytest.mark.parametrize("typed", ["a\u202eb", "a\x7fb", "a\u2028b"])
def test_paths_with_invisible_characters_are_named(typed):
    with pytest.raises(Wrong, match=r"invisible character|control character"):
        value("images", typed)


def test_two_paths_are_not_one():
    with pytest.raises(Wrong, match="2 paths"):
        value("images", '"C:\\a" "D:\\b"')


def test_required_answers_are_required(tmp_path):
    with pytest.raises(Wrong, match=r"needed|empty"):
        value("images", "")


def test_defaults_in_words():
    assert questions.words_of(KNOWN["network.rank"], None) == "auto (128 for lora, 32 for the other types)"
    assert questions.words_of(KNOWN["data.flip"], False) == "no"
    assert questions.words_of(KNOWN["data.regularization"], None) == "nothing"
    assert questions.words_of(KNOWN["train.unet_lr"], 8e-5) == "8e-5"
    assert questions.words_of(KNOWN["samples.seeds"], (1, 2)) == "[1, 2]"


def test_every_default_is_an_answer(tmp_path):
    for dotted, question in KNOWN.items():
        if not question.key.required:
            assert understood(question, as_raw(question.key.default), tmp_path) == question.key.default, dotted


def test_file_says_the_clip_skip(tmp_path, monkeypatch):
    asked.rooms(tmp_path, monkeypatch)
    found = asked.making(tmp_path)
    new_answers.take(found, "base_model", str(asked.base_file(tmp_path)))
    assert "model.look" not in [q.key.dotted for q in new_answers.asked(found)]
    new_answers.take(found, "base_model", str(asked.base_file(tmp_path, pocket=False)))
    assert "model.look" in [q.key.dotted for q in new_answers.asked(found)]

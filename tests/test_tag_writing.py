"""From tags to captions of a whole dataset: what is kept, merged, overwritten; presets, rules, edits and trigger words in their order."""

from dataclasses import replace

import pytest

from lorabake import settings, tag_edits, tag_files, tag_query, tag_writing
from lorabake.errors import UsageError
from lorabake.tag_wish import Wish

PLAIN = Wish(settings.Tag(), "tagger", "white", None, tag_edits.NONE)


def wish(*, trigger=None, edits=None, only=None, **tag):
    tag["rules"] = tuple(tag.get("rules", ()))
    query = tag_query.parse(only) if only else None
    return replace(PLAIN, tag=settings.Tag(**tag), trigger=trigger, edits=edits or tag_edits.NONE, only=query)


@pytest.fixture
def dataset(tmp_path):
    """Makes a folder of empty pictures with captions: {"5_girl/a.png": text, bytes or None}."""

    def make(captions):
        for name, caption in captions.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
            if caption is not None:
                path.with_suffix(".txt").write_bytes(caption if isinstance(caption, bytes) else caption.encode())
        return tmp_path

    return make


def written(folder, tags, wish):
    """{name of the caption's file: its new text} of the tags of pictures by name."""
    found = tag_files.read_all(folder)
    by_path = {folder / name: words.split(", ") if words else [] for name, words in tags.items()}
    new = tag_writing.captions_of(folder, found, by_path, wish)
    return {file.relative_to(folder).as_posix(): text for file, text in new.items()}


# --- captions that are there


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ("keep", {"empty.txt": "1girl, solo", "none.txt": "1girl, solo"}),
        (
            "merge",
            {"full.txt": "My Cat, Solo, 1girl", "empty.txt": "1girl, solo", "none.txt": "1girl, solo"},
        ),
        (
            "overwrite",
            {"full.txt": "1girl, solo", "empty.txt": "1girl, solo", "none.txt": "1girl, solo", "odd.txt": "1girl, solo"},
        ),
    ],
)
def test_keep_merge_and_overwrite(dataset, existing, expected):
    """What cannot be read has nothing that could be kept or added to, so only overwrite writes it."""
    folder = dataset({"full.png": "My Cat, Solo", "empty.png": "\n", "none.png": None, "odd.png": b"\0\1\2"})
    tags = dict.fromkeys(("full.png", "empty.png", "none.png", "odd.png"), "1girl, solo")
    assert written(folder, tags, wish(existing=existing)) == expected


def test_pictures_that_were_not_looked_at_are_left_alone(dataset):
    folder = dataset({"a.png": None, "b.png": "kept"})
    assert written(folder, {"a.png": "solo"}, wish(existing="overwrite")) == {"a.txt": "solo"}


def test_pictures_that_share_a_caption_share_their_tags(dataset):
    folder = dataset({"a.png": None, "a.jpg": None, "b.png": "Old, 1GIRL", "b.jpg": None})
    tags = {"a.png": "1girl, solo", "a.jpg": "1girl, smile", "b.png": "1girl", "b.jpg": "smile"}
    assert written(folder, tags, wish(existing="merge")) == {"a.txt": "1girl, smile, solo", "b.txt": "Old, 1GIRL, smile"}
    del tags["a.jpg"]
    assert "a.txt" not in written(folder, tags, wish(existing="merge")), "half of what a caption is about is not known"


@pytest.mark.parametrize(
    ("only", "names"),
    [("1girl", {"a.txt"}), ("not 1girl", {"b.txt", "c.txt"}), ("red eyes or 1boy", {"a.txt", "b.txt"}), ("dog", set())],
)
def test_only_captions_that_fit(dataset, only, names):
    folder = dataset({"a.png": "1girl, Red_Eyes", "b.png": "1boy", "c.png": None})
    assert set(written(folder, dict.fromkeys(("a.png", "b.png", "c.png"), "x"), wish(existing="merge", only=only))) == names


# --- presets


def test_presets_judge_each_concept_folder_by_itself(dataset):
    names = [f"{folder}/{number}.png" for folder in ("5_anna", "5_bob") for number in range(4)]
    folder = dataset(dict.fromkeys(names))
    tags = {name: "smile, red hair, hat" if "anna" in name else "smile, red hair" for name in names}
    tags["5_bob/0.png"] += ", hat"
    new = written(folder, tags, wish(preset="character"))
    assert new["5_anna/0.txt"] == "anna, smile" and new["5_bob/0.txt"] == "bob, smile, hat", "anna's hat is hers, bob has one once"
    by_path = {folder / name: words.split(", ") for name, words in tags.items()}
    assert tag_writing.left_out(folder, by_path, "character") == {"5_anna": ["red hair", "hat"], "5_bob": ["red hair"]}
    assert tag_writing.left_out(folder, by_path, "none") == {}


def test_captions_that_stay_count_for_what_is_usual(dataset):
    folder = dataset({"a.png": None, "b.png": "kept", "c.png": "kept", "d.png": "kept"})
    tags = {"a.png": "smile, hat", "b.png": "smile", "c.png": "smile", "d.png": "smile"}
    assert written(folder, tags, wish(preset="character", trigger="")) == {"a.txt": "smile, hat"}


def test_what_stood_in_a_caption_is_no_preset_s_to_take(dataset):
    folder = dataset({"a.png": "red hair, by hand"})
    assert written(folder, {"a.png": "red hair, blue eyes, smile"}, wish(preset="character", existing="merge", trigger="x")) == {
        "a.txt": "x, red hair, by hand, smile"
    }


# --- order of what is added


def test_trigger_then_first_then_tags_then_append(dataset):
    folder = dataset({"5_anna/a.png": None, "5_bob/b.png": None})
    tags = {"5_anna/a.png": "1girl, solo", "5_bob/b.png": "masterpiece, 1boy"}
    asked = wish(trigger={"anna": "ann4"}, first=("masterpiece",), append=("end", "solo"))
    assert written(folder, tags, asked) == {
        "5_anna/a.txt": "ann4, masterpiece, 1girl, solo, end",
        "5_bob/b.txt": "masterpiece, 1boy, end, solo",
    }


def test_a_trigger_word_comes_to_the_front_once(dataset):
    folder = dataset({"a.png": "solo, Jun_Wool", "b.png": "junwool, solo"})
    new = written(folder, {"a.png": "1girl", "b.png": "1girl"}, wish(trigger="jun wool", existing="merge"))
    assert new == {"a.txt": "jun wool, solo, 1girl", "b.txt": "jun wool, junwool, solo, 1girl"}


def test_a_picture_without_a_tag_gets_its_trigger_word_alone(dataset):
    folder = dataset({"a.png": None})
    assert written(folder, {"a.png": ""}, wish(first=("x",), append=("y",))) == {"a.txt": ""}
    assert written(folder, {"a.png": ""}, wish(first=("x",), trigger="junwool")) == {"a.txt": "junwool"}


def test_a_word_for_a_folder_that_is_not_there(dataset):
    with pytest.raises(UsageError, match='no folder "5_carl"'):
        written(dataset({"5_anna/a.png": None}), {"5_anna/a.png": "solo"}, wish(trigger={"5_carl": "x"}))


def test_a_flat_folder_is_a_concept_of_its_own_name(dataset):
    folder = dataset({"a.png": None, "deep/er/b.png": None})
    new = written(folder, {"a.png": "solo", "deep/er/b.png": "solo"}, wish(trigger="auto"))
    assert new == {"a.txt": f"{folder.name}, solo", "deep/er/b.txt": "deep, solo"}


# --- rules and edits


def test_rules_in_their_order_on_the_captions_that_fit(dataset):
    folder = dataset({"a.png": None, "b.png": None})
    tags = {"a.png": "1boy, solo", "b.png": "1girl, solo, tan"}
    rules = [
        {"find": "1boy", "replace": {"1boy": "1girl"}},
        {"find": "1girl and not tan", "add": ("pale",)},
        {"remove": ("sol*",)},
        {"find": "tan", "add_first": ("sun",)},
    ]
    assert written(folder, tags, wish(rules=rules, trigger="x")) == {"a.txt": "x, 1girl, pale", "b.txt": "x, sun, 1girl, tan"}


def test_rules_see_what_is_merged_and_no_other_captions(dataset):
    folder = dataset({"a.png": "old, 1boy", "b.png": "old, kept"})
    asked = wish(existing="merge", only="1boy", rules=[{"find": "old", "remove": ("old",), "add": ("new",)}])
    assert written(folder, {"a.png": "solo", "b.png": "solo"}, asked) == {"a.txt": "1boy, solo, new"}


def test_typed_edits_come_after_the_rules_and_do_not_take_the_trigger_word(dataset):
    folder = dataset({"a.png": None})
    edits = tag_edits.edits(add=["z"], add_first=["a"], remove=["new", "x"], replace=[], others={})
    assert written(folder, {"a.png": "x, solo"}, wish(rules=[{"add": ("new",)}], edits=edits, trigger="x")) == {"a.txt": "x, a, solo, z"}


@pytest.mark.parametrize("by_rule", [True, False])
def test_sorting_by_count_counts_the_captions_as_they_will_be(dataset, by_rule):
    folder = dataset({"a.png": None, "b.png": None, "c.png": "rare, kept", "c.jpg": None})
    tags = {"a.png": "common, rare, once", "b.png": "common, common too", "c.png": "x", "c.jpg": "x"}
    edits = tag_edits.edits(add=[], add_first=[], remove=[], replace=[], others={"sort": "count"})
    asked = wish(rules=[{"sort": "count"}]) if by_rule else wish(edits=edits)
    new = written(folder, tags, asked)
    assert new == {"a.txt": "rare, common, once", "b.txt": "common, common too"}, "rare stands on two pictures that share a caption"


# --- single steps


@pytest.mark.parametrize(
    ("lists", "expected"),
    [([], []), ([["a", "b"], ["B", "c"]], ["a", "b", "c"]), ([["long_hair"], ["long hair"]], ["long_hair"]), ([[], ["a", "a"]], ["a"])],
)
def test_united(lists, expected):
    assert tag_writing.united(lists) == expected


@pytest.mark.parametrize(
    ("existing", "text", "problem", "expected"),
    [
        ("keep", None, "", True),
        ("keep", "", "", True),
        ("keep", "a", "", False),
        ("keep", "a", "has 2 lines", False),
        ("keep", "", "is not UTF-8", True),
        ("keep", None, "cannot be read", False),
        ("merge", "a", "", True),
        ("merge", None, "cannot be read", False),
        ("overwrite", "a", "has 2 lines", True),
        ("overwrite", None, "cannot be read", True),
    ],
)
def test_which_captions_are_written(tmp_path, existing, text, problem, expected):
    one = tag_files.Captioned(tmp_path / "a.txt", (tmp_path / "a.png",), text, problem)
    assert tag_writing.is_written(one, wish(existing=existing)) is expected

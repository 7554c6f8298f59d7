"""--new as a person meets it: whole sessions, going back, stopping and going on, rubbish; one of them on a real console."""

import json
import os
import re
import shutil
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import pytest

import asked
import picture_sets
import rubbish
from asked import Typist
from lorabake import asking, drafts, interview, jobs, paths, pickers, profile
from lorabake.errors import Stopped, UsageError
from lorabake.questions import all_questions
from tools import ROOT

GOLDEN = Path(__file__).parent / "golden" / "new_profile.txt"


@pytest.fixture
def images(tmp_path, monkeypatch):
    found = asked.rooms(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return found


def session(monkeypatch, *answers, name=()):
    """(profiles to bake, what was not typed)."""
    typist = Typist(monkeypatch, answers)
    return interview.run(Namespace(profile_path=list(name))), typist.left


def settings_of(name):
    return profile.load(paths.PROFILES / f"{name}.yaml").profile


FIRST = ("pocket", "it's a set", "anna", "out")  # base model, pictures, name, output


def test_enough_after_four_answers(images, monkeypatch, capsys):
    bake, left = session(monkeypatch, *FIRST, "e", "1", "")
    assert (bake, left) == ([], [])
    told = capsys.readouterr()
    assert told.out.strip() == str(paths.PROFILES / "anna.yaml") and "Plan of anna" in told.err
    found = settings_of("anna")
    assert (found.base_model, found.images, found.name, found.output) == ("pocket", str(images), "anna", str(images.parent / "out"))
    assert not drafts.found()


def test_bake_now(images, monkeypatch):
    bake, _ = session(monkeypatch, *FIRST, "e", "2")
    assert bake == [paths.PROFILES / "anna.yaml"]


def test_enter_alone_takes_every_default(images, monkeypatch):
    session(monkeypatch, *FIRST, *[""] * 40)
    loaded = profile.load(paths.PROFILES / "anna.yaml")
    assert loaded.profile.model_dump(exclude={"name", "images", "output", "base_model"}) == profile.Profile(
        name="a", images="b", output="c", base_model="d"
    ).model_dump(exclude={"name", "images", "output", "base_model"})


def test_every_key_can_be_reached(images, monkeypatch, capsys):
    """With all groups, and answers that open the questions which depend on others."""
    texts = {"network.type": "locon", "train.scheduler": "polynomial", "data.shuffle": "y", "data.regularization": "it's a set"}
    monkeypatch.setattr(asking, "at_console", lambda: True)
    seen = []

    def line():
        shown = capsys.readouterr().err
        asked_now = re.findall(r"^Question .*\((\S+)\)$", shown, re.MULTILINE)
        if asked_now:
            seen.append(asked_now[-1])
            return dict(zip(("base_model", "images", "name", "output"), FIRST, strict=True)).get(seen[-1], texts.get(seen[-1], ""))
        return "all" if "More settings?" in shown else "1" if "What now?" in shown else ""

    monkeypatch.setattr(asking, "line", line)
    interview.run(Namespace(profile_path=[]))
    left = set(all_questions()) - set(seen)
    # restarts: another schedule; processes: not yet; the look: the pocket model's own file says the clip skip; steps: epochs, or nothing
    assert left <= {"train.restarts", "train.processes", "model.look"}
    assert len(seen) == len(set(seen))


def test_back_any_number_of_questions(images, monkeypatch):
    answers = ["pocket", "b", "b", "", "it's a set", "anna", "out", "", "16", "8", "b 3", "locon", "", "", "back", "4", "b20", *[""] * 45]
    session(monkeypatch, *answers)
    found = settings_of("anna")
    assert (found.network.type, found.network.rank, found.network.alpha) == ("locon", 16, 4)


def test_back_from_the_end_and_minus_for_the_default(images, monkeypatch):
    answers = [*FIRST, "", "64", "b", "-", "e", "b", "a comment", "", "1", ""]
    session(monkeypatch, *answers)
    found = settings_of("anna")
    assert found.network.rank is None and found.save.comment == "a comment"


def test_a_changed_answer_brings_those_that_no_longer_fit(images, monkeypatch, capsys):
    session(monkeypatch, *FIRST, "", "64", "64", "b2", "32", "16", "e", "1", "")
    assert "network.alpha: 64 is over network.rank, which is 32; it is asked again" in capsys.readouterr().err
    assert settings_of("anna").network.alpha == 16


def test_change_an_answer_by_number_by_name_and_one_that_was_not_asked(images, monkeypatch, capsys):
    changes = ["3", "3", "bob", "3", "epochs", "9", "3", "samples.cfg", "5", "3", "epoch", "train.epochs", "b", "3", "", "1", ""]
    session(monkeypatch, *FIRST, "e", *changes)
    found = settings_of("bob")
    assert (found.train.epochs, found.samples.cfg) == (9, 5)
    assert "here it is train.epochs" in capsys.readouterr().err


def test_the_inner_folder(images, monkeypatch, capsys):
    session(monkeypatch, "pocket", "'it'\\''s a set/5_anna'", "", "one", "out", "e", "1", "")
    assert settings_of("one").images == str(images)
    session(monkeypatch, "pocket", str(images / "5_anna"), "n", "two", "out", "e", "1", "")
    assert settings_of("two").images == str(images / "5_anna")
    assert "numbered folders itself" in capsys.readouterr().err


ODD_FOLDERS = ["a b", "it's [1] & (2)", "\u732b \u00e9 \U0001f469\u200d\U0001f467", "100% #1, x; y", "-dash", "'quoted'"]


@pytest.mark.parametrize("name", ODD_FOLDERS)
def test_odd_paths(tmp_path, images, monkeypatch, name):
    picture_sets.pictures(tmp_path / name, 2)
    typed = [f'"{tmp_path / name}"', str(tmp_path / name)]
    for number, way in enumerate(typed):
        session(monkeypatch, "pocket", way, f"odd{number}", f"{way.rstrip(chr(34))} out", "e", "1", "")
        found = settings_of(f"odd{number}")
        assert found.images == str(tmp_path / name) and found.output == f"{tmp_path / name} out"


RUBBISH = [*rubbish.RUBBISH, "b 0x", "??", "\x1b[2J"]


def test_rubbish_is_refused_with_a_sentence(images, monkeypatch, capsys):
    """Where a path, a number and a choice are wanted; names and comments take nearly anything."""
    answers = [
        *RUBBISH,
        "pocket",
        *RUBBISH,
        "it's a set",
        "anna",
        "out",
        *RUBBISH,
        "lora",
        *RUBBISH,
        "16",
        "e",
        *RUBBISH,
        "1",
        *RUBBISH,
        "",
    ]
    _, left = session(monkeypatch, *answers)
    told = capsys.readouterr().err
    assert left == [] and settings_of("anna").network.rank == 16
    assert "\x1b" not in told and max(map(len, told.splitlines())) < 300 and "Traceback" not in told


def test_a_comment_of_rubbish_comes_back(images, monkeypatch):
    for number, text in enumerate(["\U0001f600", "[", "{a: b", "- a", "!!x", "&a *a", "%", "# x", "a: b", "null", "\x1b[2J", '"b"']):
        session(monkeypatch, *FIRST[:2], f"n{number}", "out", "e", "3", "comment", text, "1", "")
        assert settings_of(f"n{number}").save.comment == text.strip('"') if number == 11 else text


def test_control_c_keeps_the_answers(images, monkeypatch, capsys):
    with pytest.raises(Stopped, match="answers so far are kept") as caught:
        session(monkeypatch, *FIRST, "", "64", "^C")
    assert caught.value.exit_code == 13
    assert json.loads(Path(caught.value.where).read_text(encoding="utf-8"))["answers"]["network.rank"] == "64"
    with pytest.raises(Stopped):
        session(monkeypatch, "", "32")  # and a closed input too, into the same draft
    (draft,) = drafts.found()
    assert draft.answers["network.alpha"] == "32"
    capsys.readouterr()
    session(monkeypatch, "x", "1", "e", "1", "")
    told = capsys.readouterr().err
    assert "1  anna, " in told and "7 answers" in told and "Question 8 of" in told
    assert settings_of("anna").network.rank == 64 and not drafts.found()


def test_a_draft_stays_where_one_begins_anew(images, monkeypatch):
    with pytest.raises(Stopped):
        session(monkeypatch, "pocket", "^C")
    session(monkeypatch, "n", *FIRST, "e", "1", "")
    assert len(drafts.found()) == 1


def test_stopped_before_the_first_answer(images, monkeypatch):
    with pytest.raises(Stopped, match="nothing is kept"):
        session(monkeypatch, "^C")
    assert not drafts.folder().exists()


def test_control_c_at_the_end_and_at_another(images, monkeypatch):
    with pytest.raises(Stopped, match="are kept"):
        session(monkeypatch, *FIRST, "e", "^C")
    with pytest.raises(Stopped, match="nothing is kept"):
        session(monkeypatch, "", "e", "1", "^C")
    assert (paths.PROFILES / "anna.yaml").exists() and not drafts.found()


def test_a_queue(images, monkeypatch, capsys):
    bake, left = session(monkeypatch, *FIRST, "e", "1", "y", "", "it's a set/10_bob", "n", "bob", "", "e", "1", "n", "y")
    assert left == [] and bake == [paths.PROFILES / "anna.yaml", paths.PROFILES / "bob.yaml"]
    assert settings_of("bob").output == settings_of("anna").output, "offered again"
    assert capsys.readouterr().out.splitlines() == [str(path) for path in bake]


def test_a_name_that_is_taken_meanwhile(images, monkeypatch):
    (paths.PROFILES / "anna.yaml").write_text("mine", encoding="utf-8")
    session(monkeypatch, *FIRST[:2], "anna", "anna-2", "out", "e", "1", "")
    real = interview.prepared

    def later(making):
        ready = real(making)
        if ready.path.stem == "bob":
            ready.path.write_text("another's", encoding="utf-8")
        return ready

    monkeypatch.setattr(interview, "prepared", later)
    session(monkeypatch, *FIRST[:2], "bob", "out", "e", "1", "carl", "e", "1", "")
    assert (paths.PROFILES / "bob.yaml").read_text(encoding="utf-8") == "another's" and settings_of("carl").name == "carl"


def test_what_cannot_be_baked_is_said_and_can_be_mended(images, monkeypatch, capsys):
    session(monkeypatch, *FIRST, "e", "3", "clip_skip", "9", "", "clip_skip", "auto", "1", "")
    told = capsys.readouterr().err
    assert "cannot be baked as they are" in told and "What now? (Enter: 3)" in told
    assert settings_of("anna").model.clip_skip is None


def test_a_window_to_pick_in(images, monkeypatch, capsys):
    monkeypatch.setattr(pickers, "screen", lambda: True)
    given = [[], [str(asked.base_file(images.parent))]]
    monkeypatch.setattr(pickers, "files", lambda *words, several: given.pop(0))
    folders = [None, [str(images)], [str(images.parent / "w")]]
    monkeypatch.setattr(pickers, "folder", lambda title: folders.pop(0))
    session(monkeypatch, "", "", "", "", "anna", "w", "e", "1", "")
    found, told = settings_of("anna"), capsys.readouterr().err
    assert (found.images, found.output) == (str(images), str(images.parent / "w"))
    assert "nothing was chosen" in told and "no window can be opened here" in told


def test_a_name_behind_new(images, monkeypatch):
    session(monkeypatch, "pocket", "it's a set", "out", "e", "1", "", name=["carl"])
    assert settings_of("carl")
    with pytest.raises(UsageError, match="cannot be a file name"):
        session(monkeypatch, name=["a/b"])


def test_nobody_there(images, monkeypatch):
    monkeypatch.setattr(asking, "at_console", lambda: False)
    with pytest.raises(UsageError, match="need a person"):
        interview.run(Namespace(profile_path=[]))


def test_from_the_list_of_profiles(images, monkeypatch):
    Typist(monkeypatch, ["n", *FIRST, "e", "2"])
    assert jobs.choose() == [paths.PROFILES / "anna.yaml"]


START = "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from lorabake import errors, interview, paths, pickers; \
from argparse import Namespace; paths.PROFILES = Path('profiles').absolute(); pickers.screen = lambda: False; \
errors.run(lambda: len(interview.run(Namespace(profile_path=[]))))"
TYPED = [
    "pocket",
    "'set/5_anna'",
    "",
    "?",
    "anna",
    "out",
    "loha",
    "locon",
    "64",
    "128",
    "b 2",
    "",
    "32",
    "16",
    "e",
    "4",
    "model",
    "",
    "",
    "",
    "1",
    "",
]


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
def test_a_whole_session_on_a_console(monkeypatch):
    """What a person sees, to the letter, but for the plan."""
    from terminal import Terminal

    home = Path(tempfile.mkdtemp(prefix="lb-"))
    (home / "profiles").mkdir()
    picture_sets.pictures(home / "set/5_anna", 3)
    picture_sets.pictures(home / "set/10_bob", 2)
    try:
        with Terminal([sys.executable, "-c", START, str(ROOT / "py")], cwd=home, columns=80) as window:
            for number, typed in enumerate(TYPED):
                window.expect_times("> ", number + 1, timeout_s=60)
                window.type(f"{typed}\r")
            assert window.wait(timeout_s=30) == 0
        seen = window.text().replace("\r\n", "\n").replace(str(home), "<home>").replace(str(ROOT), "<root>")
        seen = re.sub(r"(Plan of anna).*?(What now\?)", r"\1 ...\n\2", seen, flags=re.DOTALL)
        seen = re.sub(r"Groups:.*?Enter:", "Groups:  ...\n  Enter:", seen, flags=re.DOTALL)
        seen = re.sub(r"(Question \d+ of) \d+", r"\1 N", seen)  # both grow with the settings
        if os.environ.get("LORABAKE_WRITE_GOLDEN"):
            GOLDEN.write_text(seen, encoding="utf-8", newline="\n")
        assert seen == GOLDEN.read_text(encoding="utf-8")
        assert "alpha: 16" in (home / "profiles/anna.yaml").read_text(encoding="utf-8")
    finally:
        shutil.rmtree(home)

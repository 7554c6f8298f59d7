"""Reading profiles: values, paths, overrides, warnings; wrong profiles beside their exact messages.

Covers profile.py, profile_checks.py, profile_names.py, kohya.py and yaml_nodes.py.
"""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from lorabake import kohya, profile
from lorabake.errors import UserError
from lorabake.profile import ProfileErrors, load
from lorabake.profile_names import advice
from lorabake.settings import Profile, keys
from lorabake.settings_later import NOT_YET, topic_of

HERE = Path(__file__).parent
BAD = sorted((HERE / "bad_profiles").glob("*.yaml"))
REPOSITORY = HERE.parent
REQUIRED = "name: my-style\nbase_model: pocket\nimages: pictures\noutput: baked\n"


def written(folder: Path, text: str, *, name: str = "style.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def read(folder: Path, text: str = "", overrides=()):
    return load(written(folder, REQUIRED + text), overrides)


def wrong(folder: Path, text: str, overrides=()) -> list[str]:
    """One text per mistake: what, allowed and todo."""
    with pytest.raises(ProfileErrors) as caught:
        load(written(folder, text), overrides)
    return ["|".join((m.what, m.allowed, m.todo)) for m in caught.value.mistakes]


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_bad_profiles_say_exactly_this(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    with pytest.raises(UserError) as caught:
        load(Path(path.name))
    assert str(caught.value) + "\n" == path.with_suffix(".txt").read_text(encoding="utf-8")


def test_every_bad_profile_has_its_message_and_nothing_else_lies_there():
    assert {p.name for p in (HERE / "bad_profiles").iterdir()} == {p.stem + end for p in BAD for end in (".yaml", ".txt")}


def test_messages_are_ascii_but_for_what_was_typed():
    for path in BAD:
        assert path.with_suffix(".txt").read_text(encoding="utf-8").isascii(), path


def test_the_shipped_profiles_load_without_warnings():
    for path in sorted((REPOSITORY / "profiles").glob("*.yaml")):
        assert load(path).warnings == (), path


def test_defaults(tmp_path):
    loaded = read(tmp_path)
    assert loaded.profile == Profile(
        name="my-style", base_model="pocket", images=str(tmp_path / "pictures"), output=str(tmp_path / "baked")
    )
    assert loaded.typed == {"name", "base_model", "images", "output"}
    assert loaded.text.startswith("name: my-style")


def test_values_are_what_their_keys_declare(tmp_path):
    text = """
network: {rank: auto, alpha: 1}
train:
  epochs: 0012
  unet_lr: 8e-5
  text_encoder_lr: 1e-4
  optimizer: adamw
  optimizer_args: {weight_decay: 1e-2, betas: [0.9, 0.99]}
  warmup: 5%
  scale_lr_by_batch: off
data: {holdout: 5%, cache: off, regularization: ""}
save: {comment: 0777, author: no, tags: [a, b], license: }
samples:
  prompts:
    - 1girl, solo
    - 0777
  size: 512x768
  seeds: 7
"""
    loaded = read(tmp_path, text)
    p = loaded.profile
    assert (p.network.rank, p.network.alpha) == (None, 1.0)
    assert (p.train.epochs, p.train.unet_lr, p.train.text_encoder_lr) == (12, 8e-5, 1e-4)
    assert (p.train.optimizer, p.train.optimizer_args) == ("AdamW", {"weight_decay": 0.01, "betas": (0.9, 0.99)})
    assert (p.train.warmup, p.train.scale_lr_by_batch) == ("5%", False)
    assert (p.data.holdout, p.data.cache, p.data.regularization) == (0.05, "off", None)
    assert (p.save.comment, p.save.author, p.save.tags, p.save.license) == ("0777", "no", "a, b", "")
    assert (p.samples.prompts, p.samples.size, p.samples.seeds) == (("1girl, solo", "0777"), (512, 768), (7,))
    assert "network.rank" in loaded.typed


def test_words_of_yaml_can_be_names(tmp_path):
    for name in ("no", "0777", "1e3", "true", "2024-01-02", "Straße 2"):
        assert load(written(tmp_path, REQUIRED.replace("my-style", name))).profile.name == name


def test_null_empty_and_auto_are_none_where_there_is_no_default(tmp_path):
    text = "train: {batch_size: auto, steps: null, min_snr_gamma: ~, cpu_threads: }\ndata:\nsave: {copy_to: }\n"
    p = read(tmp_path, text).profile
    assert (p.train.batch_size, p.train.steps, p.train.min_snr_gamma, p.train.cpu_threads, p.save.copy_to) == (None,) * 5


def test_auto_is_refused_where_it_means_nothing(tmp_path):
    assert wrong(tmp_path, REQUIRED + "train: {epochs: auto}\n") == [
        'train.epochs: "auto" is not a whole number|a whole number from 1 to 100000|'
    ]


def test_relative_paths_count_from_the_profile(tmp_path, monkeypatch):
    (tmp_path / "profiles").mkdir()
    text = "name: a\nbase_model: ../m/x.safetensors\nimages: ./p\noutput: ~/out\ndata: {regularization: reg}\nsamples: {prompts: p.txt}\n"
    path = written(tmp_path / "profiles", text)
    monkeypatch.chdir(tmp_path)
    p = load(Path("profiles/style.yaml")).profile
    assert p.base_model == str(tmp_path / "m" / "x.safetensors")
    assert p.images == str(tmp_path / "profiles" / "p")
    assert p.output == str(Path.home() / "out")
    assert p.data.regularization == str(tmp_path / "profiles" / "reg")
    assert p.samples.prompts == str(tmp_path / "profiles" / "p.txt")
    assert load(path, ["output=../o"]).profile.output == str(tmp_path / "o")


def test_windows_paths_stay_whole_on_every_system(tmp_path):
    text = 'name: a\nsave: {copy_to: "D:\\\\x"}\nbase_model: D:\\Models\\new aom.safetensors # mine\n'
    text += "images: 'D:\\a b\\'\noutput: \\\\server\\share\\x\n"
    p = load(written(tmp_path, text)).profile
    assert (p.base_model, p.images, p.output) == ("D:\\Models\\new aom.safetensors", "D:\\a b", "\\\\server\\share\\x")
    assert p.save.copy_to == "D:\\x"


def test_overrides_go_through_the_same_reading(tmp_path):
    overrides = [
        "train.epochs=3",
        "train.unet_lr = 1e-4",
        "samples.seeds=[1, 2]",
        "base_model=D:\\new\\x.ckpt",
        "network={rank: 4, alpha: 2}",
    ]
    loaded = read(tmp_path, "train: {epochs: 9}\n", [*overrides, "save.comment=a=b: c", "train.min_snr_gamma="])
    p = loaded.profile
    assert (p.train.epochs, p.train.unet_lr, p.samples.seeds, p.base_model) == (3, 1e-4, (1, 2), "D:\\new\\x.ckpt")
    assert (p.network.rank, p.network.alpha, p.save.comment, p.train.min_snr_gamma) == (4, 2.0, "a=b: c", None)
    assert {"train.epochs", "network.rank", "save.comment"} <= loaded.typed
    assert load(written(tmp_path, "name: a\nimages: b\noutput: c\n"), ["base_model=pocket"]).profile.base_model == "pocket"


def test_wrong_overrides_name_themselves(tmp_path):
    with pytest.raises(ProfileErrors) as caught:
        read(tmp_path, "train: {epochs: x}\n", ["train.epochs=six", "trian.epochs=6", "epochs", "samples.seeds=[1", "network.alpha=200"])
    text = str(caught.value)
    assert 'style.yaml:5: train.epochs: "x"' in text
    for part in (
        '--set train.epochs=six: train.epochs: "six" is not a whole number',
        "--set trian.epochs=6: trian.epochs is not a key\n    -> here it is train.epochs",
        '--set epochs: "epochs" is not key=value',
        '--set samples.seeds=[1: samples.seeds: "[1" is not a list or a group',
        "--set network.alpha: network.alpha: 200 is over network.rank, which is 128, the default of lora",
    ):
        assert part in text


def test_a_length_on_the_command_line_takes_the_place_of_the_files(tmp_path):
    assert read(tmp_path, "train: {epochs: 9}\n", ["train.steps=100"]).profile.train.steps == 100
    p = read(tmp_path, "train: {steps: 9}\n", ["train.epochs=2"]).profile
    assert (p.train.steps, p.train.epochs) == (None, 2)


def test_mistakes_are_sorted_by_line_and_follow_on_ones_are_left_out(tmp_path):
    text = "network: {alpha: 300, rank: x}\ntrain: {warmup: 5, scheduler: cosin}\nouput: b\nname: a\nbase_model: pocket\nimages: b\n"
    with pytest.raises(ProfileErrors) as caught:
        load(written(tmp_path, text))
    assert [(m.line, m.what.split(":")[0]) for m in caught.value.mistakes] == [
        (1, "network.rank"),
        (2, "train.scheduler"),
        (3, "ouput is not a key"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "train: {restarts: 3, scheduler: cosine}",
            "train.restarts: 3 has no effect with train.scheduler: cosine; it counts only with cosine_with_restarts",
        ),
        ("train: {power: 2}", "train.power: 2 has no effect with train.scheduler: cosine_with_restarts; it counts only with polynomial"),
        (
            "train: {scheduler: constant_with_warmup}",
            "train.scheduler: constant_with_warmup has no effect without train.warmup; it is the same as constant",
        ),
        ("network: {target: unet}\ntrain: {text_encoder_lr: 1e-5}", "train.text_encoder_lr: 1e-5 has no effect with network.target: unet"),
        ("network: {target: text_encoder}\ntrain: {unet_lr: 1e-5}", "train.unet_lr: 1e-5 has no effect with network.target: text_encoder"),
        ("train: {prior_loss_weight: 0.5}", "train.prior_loss_weight: 0.5 has no effect without data.regularization"),
        ("train: {device: cpu, deterministic: true}", "train.deterministic: true has no effect on the CPU, where it is always so"),
        ("data: {buckets: false, min_bucket: 64}", "data.min_bucket: 64 has no effect with data.buckets: false"),
        ("data: {buckets: false, max_bucket: 256}", "data.max_bucket: 256 has no effect with data.buckets: false"),
        ("data: {keep_tokens: 1}", "data.keep_tokens: 1 has no effect while data.shuffle is false"),
        (
            "model: {look: realistic, clip_skip: 1}",
            "model.look: realistic has no effect with model.clip_skip: 1, the only thing that it decides",
        ),
        ("save: {keep_last: 2, every_epochs: 0}", "save.keep_last: 2 has no effect with save.every_epochs: 0; only one file is written"),
        ("save: {every_epochs: 9}", "save.every_epochs: 9 has no effect with train.epochs: 6; only the last LoRA is written"),
    ],
)
def test_settings_without_effect_are_warned_about(tmp_path, text, said):
    line = 5 + text.count("\n")
    assert read(tmp_path, text).warnings == (f"style.yaml:{line}: {said}",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "train: {restarts: 3}",
        "train: {power: 2, scheduler: polynomial}",
        "train: {prior_loss_weight: 0.5}\ndata: {regularization: reg}",
        "data: {keep_tokens: 0}",
        "data: {keep_tokens: 2, shuffle: true}",
        "model: {look: realistic}",
        "save: {keep_last: 2}",
        "train: {steps: 100}\nsave: {every_epochs: 9}",
        "save: {every_epochs: 9} #comment\ntrain: {epochs: 20} #x",
    ],
)
def test_nothing_else_is_warned_about(tmp_path, text):
    assert read(tmp_path, text).warnings == ()


def test_a_comment_that_may_have_been_meant_as_text_is_said(tmp_path):
    loaded = load(written(tmp_path, REQUIRED.replace("my-style", "style #2").replace("baked", "baked # here")))
    assert loaded.profile.name == "style"
    assert loaded.warnings == ("style.yaml:1: name is style; the rest of its line, from #2 on, is a comment (quotes would make it a part)",)


def test_colours_with_a_hash(tmp_path):
    assert read(tmp_path, 'data: {background: "#FF8800"}').profile.data.background == "#ff8800"
    assert read(tmp_path, "data:\n  background: '#ff8800'\n").profile.data.background == "#ff8800"


def test_bucket_sides_follow_the_resolution(tmp_path):
    assert read(tmp_path, "data: {min_bucket: 72, max_bucket: 136}").profile.data.min_bucket == 72  # pocket
    assert read(tmp_path, "data: {resolution: 128, min_bucket: 72}").profile.data.min_bucket == 72
    assert len(wrong(tmp_path, REQUIRED + "data: {resolution: 512, min_bucket: 72}")) == 1
    assert len(wrong(tmp_path, REQUIRED.replace("pocket", "x.ckpt") + "data: {min_bucket: 72}")) == 1
    assert len(wrong(tmp_path, REQUIRED + "data: {resolution: 512, max_bucket: 448}")) == 1


def test_every_kohya_name_is_answered(tmp_path):
    known = [key.dotted for key in keys()]
    for name in kohya.names():
        for place in (name, f"train.{name}"):
            if place in known or topic_of(place):
                continue
            todo, _ = advice(place, known)
            assert todo.startswith("here it is"), (place, todo)
    for name in kohya.NOTHING_TO_SET:
        assert advice(name, known)[0].startswith("leave it out: ")
    assert advice("network_dim", known) == ("here it is network.rank", {"network.rank"})


def test_kohya_names_lead_to_keys_that_are_known():
    known = {key.dotted for key in keys()} | set(NOT_YET) | {"log.tensorboard"}
    for name, meant in kohya.names().items():
        for word in meant.split(":")[0].split(" and "):
            assert word in known or word in ("data",), (name, word)


def test_near_misses():
    known = [key.dotted for key in keys()]
    cases = {
        "train.eppochs": "train.epochs",
        "imagse": "images",
        "netwrok": "network",
        "data.lr": "train.unet_lr",
        "unetlr": "train.unet_lr",
    }
    for typed, meant in cases.items():
        assert meant in advice(typed, known)[0], typed
    assert advice("train.zzz", known) == ("docs/profile-reference.md has every key", set())


def test_keys_that_are_not_yet_are_refused_as_such(tmp_path):
    for dotted, topic in NOT_YET.items():
        block, _, name = dotted.rpartition(".")
        text = f"{block}: {{{name}: 1}}\n" if block else f"{name}: {{a: 1}}\n"
        assert wrong(tmp_path, REQUIRED + text) == [f"{dotted} - not yet: {topic}||{profile.LATER}"]


def test_files_that_cannot_be_read(tmp_path):
    written(tmp_path, REQUIRED, name="other.yaml")
    with pytest.raises(UserError, match=r"(?s)no such profile.*missing\.yaml.*other\.yaml"):
        load(tmp_path / "missing.yaml")
    with pytest.raises(UserError, match=r"(?s)is a folder, not a profile.*other\.yaml"):
        load(tmp_path)
    with pytest.raises(UserError, match=r"(?s)no such profile.*folder .* is not there either"):
        load(tmp_path / "no" / "missing.yaml")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "this profile is empty"),
        (b"\xef\xbb\xbf \n\n", "this profile is empty"),
        ("name: é\n".encode("cp1252"), r"not UTF-8 text \(byte 0xe9\)"),
        (b"name: a\n# \xff\n", r"(?s)byte 0xff.*style\.yaml:2"),
        ("name: a".encode("utf-16"), "UTF-16"),
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{}", "not a text file"),
        (b"x" * 2_000_000, "too large"),
        (b"name: a\x07b\n", r"U\+0007"),
        (b"[" * 5000, "without end"),
        (b"{a: " * 5000, "without end"),
    ],
)
def test_bytes_that_are_no_profile(tmp_path, data, said):
    path = tmp_path / "style.yaml"
    path.write_bytes(data)
    with pytest.raises(UserError, match=said):
        load(path)


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbf" + REQUIRED.encode(), REQUIRED.replace("\n", "\r\n").encode(), REQUIRED.replace("\n", "\r").encode()]
)
def test_byte_order_marks_and_line_ends_do_not_matter(tmp_path, data):
    path = tmp_path / "style.yaml"
    path.write_bytes(data)
    assert load(path).profile.name == "my-style"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = written(tmp_path, REQUIRED)
    path.chmod(0)
    with pytest.raises(UserError, match="no permission"):
        load(path)


def test_yaml_that_would_run_code_is_only_text(tmp_path):
    text = 'train: !!python/object/apply:os.system ["echo"]\nsave: {comment: !!python/name:os.system }\n'
    said = wrong(tmp_path, REQUIRED + text)
    assert len(said) == 2


def test_lists_in_lists_do_not_blow_up(tmp_path):
    text = "samples: {prompts: " + "[" * 60 + "]" * 60 + "}\n"
    assert "without end" in wrong(tmp_path, REQUIRED + text)[0]


def test_errors_survive_pickling_and_copying(tmp_path):
    with pytest.raises(ProfileErrors) as caught:
        load(written(tmp_path, "name: a:b\n"))
    for again in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert str(again) == str(caught.value)
        assert again.exit_code == 1


def test_where_gives_the_line(tmp_path):
    loaded = read(tmp_path, "train: {epochs: 3}\n", ["train.seed=4"])
    assert loaded.where("train.epochs") == f"{loaded.path}:5 (train.epochs)"
    assert loaded.where("train.seed") == "train.seed"


def test_loading_is_quick():
    """CPU seconds of a fresh process up to a loaded profile, so that a busy machine does not matter."""
    code = (
        "import pathlib, time; from lorabake import profile; profile.load(pathlib.Path('profiles/demo.yaml')); print(time.process_time())"
    )
    env = {**os.environ, "PYTHONPATH": "py"}
    runs = [
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=env, capture_output=True, text=True, check=True) for _ in range(5)
    ]
    assert min(float(run.stdout) for run in runs) < 0.5

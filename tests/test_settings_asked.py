"""The table of what questions say beside the settings."""

import pytest

from lorabake.settings import keys
from lorabake.settings_asked import ASKED, FOLDER, MODEL, TEXT_FILE

KEYS = {key.dotted: key for key in keys()}
# the guides' settings (script and popup), by our names
GUIDE = (
    "base_model images output name data.regularization train.batch_size train.unet_lr train.text_encoder_lr train.epochs save.every_epochs "
    "data.resolution network.rank network.alpha train.noise_offset train.optimizer train.scheduler train.restarts train.warmup train.power "
    "data.flip data.shuffle data.keep_tokens train.prior_loss_weight train.seed model.look network.target save.comment"
).split()


def test_every_row_is_a_key():
    assert not set(ASKED) - set(KEYS)


def test_the_guides_questions_are_asked_at_first():
    assert not [dotted for dotted in GUIDE if not ASKED[dotted].first]


@pytest.mark.parametrize("dotted", ASKED)
def test_the_words(dotted):
    ask = ASKED[dotted]
    assert ask.title and all(text.isascii() for text in (ask.title, ask.usual, ask.advice))
    assert ask.advice == "" or ask.advice.endswith(".")
    assert not ask.usual.endswith(".") or dotted == "data.caption_extension"
    assert len(ask.title) <= 50 and len(ask.usual) <= 80


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_paths_say_what_is_picked(key):
    if key.dotted in ASKED:
        assert bool(ASKED[key.dotted].pick) == key.kind.is_path
        assert ASKED[key.dotted].pick in ("", FOLDER, MODEL, TEXT_FILE)


def test_kept_ones_have_a_default_to_keep():
    assert all(KEYS[dotted].default is not None for dotted, ask in ASKED.items() if ask.kept)

"""What a tagging is to do: the `tag` block of a profile, or its defaults, with what was typed on the command line on top.

Not here: the words themselves (tag_words.py), the tagging (tagging.py).
"""

from argparse import Namespace
from dataclasses import dataclass
from typing import Any

from lorabake import settings, tag_edits, tag_presets, triggers
from lorabake.errors import UsageError
from lorabake.kinds import Wrong
from lorabake.profile import Loaded
from lorabake.tag_choice import Choice
from lorabake.tag_edits import Edits
from lorabake.tag_query import Query
from lorabake.tag_words import TAGGING

TYPED = tuple(name for name in TAGGING if name not in ("background", "device", "refresh_model"))


@dataclass(frozen=True)
class Wish:
    """`tag` holds the settings, `model` a tagger's name or a folder, `edits` what was typed to be done to every caption that is written.

    `only` limits it to captions whose tags fit.
    """

    tag: settings.Tag
    model: str
    background: str
    trigger: triggers.Wish
    edits: Edits = tag_edits.NONE
    only: Query | None = None

    @property
    def choice(self) -> Choice:
        """What decides which tags a picture gets."""
        tag = self.tag
        return Choice(
            threshold=tag.threshold,
            character_threshold=tag.character_threshold or tag.threshold,
            exclude=tag.exclude,
            replace=tuple(tag.replace.items()),
            kinds_out=tag_presets.kinds_left_out(tag.preset),
            underscores=tag.underscores,
            character_first=tag.character_first,
            character_expand=tag.character_expand,
            rating=tag.rating,
            order=tag.order or "file",
        )


def of(options: Namespace, loaded: Loaded | None, edits: Edits, only: Query | None = None) -> Wish:
    """Raises UsageError for a typed value that the same key of a profile would not take."""
    block = loaded.profile.tag if loaded else settings.Tag()
    background = loaded.profile.data.background if loaded else settings.Data().background
    typed = {name: value for name in TYPED if (value := getattr(options, name)) not in (None, [], False)}
    read = {name: _read(f"tag.{name}", value, f"--{name.replace('_', '-')}") for name, value in typed.items()}
    tag = block.model_copy(update=read)
    model = tag.model
    if loaded and "model" not in read and (loaded.path.absolute().parent / model).is_dir():
        model = str(loaded.path.absolute().parent / model)  # as every path of a profile
    if options.background:
        background = _read("data.background", options.background, "--background")
    return Wish(tag, model, background, trigger_of(options, loaded), edits, only)


def _read(dotted: str, value: Any, word: str) -> Any:
    """What was typed behind `word`, as the profile's key would read it."""
    kind = {key.dotted: key.kind for key in settings.keys()}[dotted]  # noqa: SIM118  (no dict)
    try:
        return kind.parse(value if isinstance(value, list | dict) else str(value).lower() if value is True else str(value))
    except Wrong as wrong:
        raise UsageError(f"{word}: {wrong.what}", allowed=kind.allowed, todo=wrong.todo) from wrong


def trigger_of(options: Namespace, loaded: Loaded | None) -> triggers.Wish:
    """The trigger words that were typed, else the profile's. Raises UsageError for words that do not go together or are no tag."""
    if options.trigger:
        found: triggers.Wish = _read("tag.trigger", triggers.typed(options.trigger), "--trigger")
        return found
    return loaded.profile.tag.trigger if loaded else None

"""What a tagging is to do: the `tag` block of a profile, or its defaults, with what was typed on the command line on top.

Not here: the words themselves (tag_words.py), the tagging (tagging.py).
"""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from lorabake import settings, tag_presets, triggers
from lorabake.errors import UsageError
from lorabake.kinds import Wrong
from lorabake.profile import Loaded
from lorabake.tag_choice import Choice
from lorabake.tag_edits import Edits

LISTS = ("exclude",)  # words that can be given several times
TYPED = (
    *("model", "preset", "threshold", "character_threshold", "exclude", "underscores", "character_first", "character_expand"),
    *("rating", "existing", "order", "batch_size"),
)


@dataclass(frozen=True)
class Wish:
    """`tag` holds the settings, `model` a tagger's name or a folder, `edits` what was typed to be done to every caption that is written."""

    tag: settings.Tag
    model: str
    background: str
    trigger: triggers.Wish
    edits: Edits = Edits()

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


def of(options: Namespace, loaded: Loaded | None, edits: Edits) -> Wish:
    """Raises UsageError for a typed value that the same key of a profile would not take."""
    block = loaded.profile.tag if loaded else settings.Tag()
    data = loaded.profile.data if loaded else settings.Data()
    typed = {name: value for name in TYPED if (value := getattr(options, name)) not in (None, [], False)}
    kinds = {key.dotted: key.kind for key in settings.keys()}
    read = {}
    for name, value in typed.items():
        kind = kinds[f"tag.{name}"]
        try:
            read[name] = kind.parse(value if isinstance(value, list) else str(value).lower() if value is True else str(value))
        except Wrong as wrong:
            word = f"--{name.replace('_', '-')}"
            raise UsageError(f"{word}: {wrong.what}", allowed=kind.allowed, todo=f"{word} {wrong.todo}" if wrong.todo else "") from wrong
    tag = block.model_copy(update=read)
    model = tag.model
    if loaded and "model" not in read and (loaded.path.absolute().parent / model).is_dir():
        model = str(loaded.path.absolute().parent / model)  # as every path of a profile
    trigger = triggers.typed(options.trigger) if options.trigger else tag.trigger
    return Wish(tag, model, data.background, trigger, edits)

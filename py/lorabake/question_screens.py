"""How questions of a new profile look in a console: short blocks of ASCII words, wrapped to the window. Pure functions of text.

Not here: which question comes (questions.py), printing and reading (interview.py).
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lorabake.questions import Question, Sheet, words_of
from lorabake.wording import counted

LABEL = 9
WELCOME = """A new profile, question by question. Nothing is baked before you say so.
  Enter  takes what is offered         b  goes back (b 3: three questions)
  ?      explains                      e  enough: what is offered for the rest
  Ctrl-C stops, and keeps the answers for next time"""
MENU = """What now? (Enter: {enter})
  1  write the profile
  2  write it and bake now
  3  change an answer
  4  more settings"""


def question(asked: Question, number: str, offered: Any, *, answered: bool, width: int) -> str:
    """The block of one question; `offered` is what Enter takes, None with a required key: nothing."""
    lines = ["", *wrapped(f"Question {number}: {asked.title}  ({asked.key.dotted})", "", width), *wrapped(asked.key.meaning, "  ", width)]
    for label, text in (("Usual", asked.ask.usual), ("Choices", choices(asked))):
        lines += labelled(label, text, width) if text else []
    lines += labelled("Enter", enter(asked, offered, answered=answered), width)
    return "\n".join(lines)


def choices(asked: Question) -> str:
    if asked.is_flag:
        return "yes, no"
    return ", ".join(asked.key.kind.choices) if not asked.key.kind.is_path else ""


def enter(asked: Question, offered: Any, *, answered: bool) -> str:
    """What Enter alone does."""
    if asked.key.required and offered is None:
        return "opens a window to choose in; or drag it here, or type it" if asked.picks else "(an answer is needed)"
    words = words_of(asked, offered) or "nothing"
    window = "   (w: choose in a window)" if asked.picks else ""
    default = words_of(asked, asked.key.default) or "nothing"
    if answered and not asked.key.required and offered != asked.key.default:
        return f"keeps {words}   (-: {default}){window}"
    return f"{words}{window}"


def without_screen(text: str) -> str:
    """The same where no window can be opened."""
    return text.replace("opens a window to choose in; or drag it here, or type it", "drag it here, or type it").replace(
        "   (w: choose in a window)", ""
    )


def yes_or_no(text: str, width: int) -> str:
    """A question of a sentence or two; its own line breaks stay."""
    return "\n".join("\n".join(wrapped(line.strip(), line[: len(line) - len(line.lstrip())], width)) for line in text.split("\n"))


def explanation(asked: Question, width: int) -> str:
    """What `?` says."""
    key = asked.key
    lines = wrapped(asked.ask.advice, "  ", width) if asked.ask.advice else []
    lines += labelled("Allowed", key.kind.allowed + (", auto" if key.auto else ""), width)
    lines += labelled("Default", words_of(asked, key.default), width) if not key.required else []
    lines += labelled("kohya", key.kohya, width) if key.kohya else []
    return "\n".join(lines)


def refusal(what: str, more: str, width: int) -> str:
    return "\n".join([*wrapped(what, "  ! ", width), *(wrapped(more, "    ", width) if more else [])])


def told(sentences: Iterable[str], width: int) -> str:
    return "\n".join(line for sentence in sentences for line in wrapped(sentence, "  - ", width))


def more(counts: Mapping[str, int], done: Sequence[str], width: int) -> str:
    """The question for further groups."""
    left = [f"{name} ({count})" for name, count in counts.items() if name not in done]
    if not left:
        return ""
    lines = ["", "More settings? All of them have good defaults."]
    lines += labelled("Groups", ", ".join(left), width)
    return "\n".join([*lines, *labelled("Enter", "no; or type a group, or all", width)])


def answers(known: Mapping[str, Question], sheet: Sheet, width: int) -> tuple[str, list[str]]:
    """(the list to choose from, the keys by their numbers)."""
    listed = [dotted for dotted in known if dotted in sheet.values]
    room = max(map(len, listed), default=0)
    lines = ["", "Which answer? Type its number or its name; any other key can be named too."]
    for number, dotted in enumerate(listed, start=1):
        lines.append(f"  {number:>2}  {dotted:<{room}}  {words_of(known[dotted], sheet.values[dotted])}"[:width])
    return "\n".join(lines), listed


def found_draft(rows: Sequence[tuple[str, str, int]], width: int) -> str:
    """(name, when, number of answers) of drafts."""
    lines = ["", f"There {'is a draft' if len(rows) == 1 else f'are {len(rows)} drafts'} from before:"]
    lines += [f"  {number}  {name}, {when}, {counted(count, 'answer')}"[:width] for number, (name, when, count) in enumerate(rows, start=1)]
    return "\n".join([*lines, "Go on with it? Enter: " + ("yes" if len(rows) == 1 else "1") + "; n: begin anew (the draft stays)"])


def labelled(label: str, text: str, width: int) -> list[str]:
    head = f"  {label + ':':<{LABEL}}"
    return textwrap.wrap(
        text or "", width, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False, break_on_hyphens=False
    ) or [head.rstrip()]


def wrapped(text: str, mark: str, width: int) -> list[str]:
    return [
        line
        for paragraph in text.split("\n")
        for line in textwrap.wrap(
            paragraph, width, initial_indent=mark, subsequent_indent=" " * len(mark), break_long_words=False, break_on_hyphens=False
        )
    ]

"""Small pieces of sentences: counts with their nouns, lists that do not grow without end. Not here: sizes and durations (console.py)."""

from collections.abc import Sequence


def counted(count: int, noun: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str], *, most: int = 3, separator: str = ", ") -> str:
    """`a, b, c and 4 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more

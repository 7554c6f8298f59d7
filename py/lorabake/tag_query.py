"""Expressions over tags: `1girl and not (solo or "red eyes")`. Parsed once, asked of each caption.

Words that follow each other are one tag, so tags with spaces need no quotes; `*` stands for anything. Capitals do not count, and an
underscore is a space. A tag that holds a bracket or one of the three words stands in quotes: "and", "fate (series)".
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from lorabake.captions import split_tags
from lorabake.errors import UsageError

Query = Callable[[frozenset[str]], bool]  # is asked of tags as `plain` writes them
TOKEN = re.compile(r"""\s*(?:(?P<mark>[()])|"(?P<quoted>[^"]*)"|(?P<word>[^\s()"]+))""")
OPERATORS = ("and", "or", "not")
DEEPEST = 50  # brackets within brackets; nobody reads that, and Python's own depth is limited
MOST_SHOWN = 200  # characters of an expression in a message


def plain(tag: str) -> str:
    """A tag as it is compared: lower case, underscores as spaces (kaomoji such as `^_^` stay), the trainers' \\( and \\) as brackets."""
    tag = tag.strip().lower().replace("\\(", "(").replace("\\)", ")")
    return tag.replace("_", " ") if any(letter.isalnum() for letter in tag) else tag


def plain_tags(caption: str) -> frozenset[str]:
    return frozenset(plain(tag) for tag in split_tags(caption))


@cache
def _pattern(tag: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(tag.replace("[", "[[]").replace("?", "[?]")))


def matches(tag: str, pattern: str) -> bool:
    """Whether one tag is meant by `pattern`, in which `*` stands for anything."""
    tag, pattern = plain(tag), plain(pattern)
    return bool(_pattern(pattern).match(tag)) if "*" in pattern else tag == pattern


def parse(text: str) -> Query:
    """The question that an expression asks. Raises UsageError with the place where it cannot be understood."""
    tokens = _tokens(text)
    if not tokens:
        raise _wrong(text, "it is empty")
    query, rest = _either(text, tokens, depth=0)
    if rest:
        raise _wrong(text, f'nothing was expected at "{rest[0][1]}"')
    return query


def _tokens(text: str) -> list[tuple[str, str]]:
    """("(", "("), ("op", "and"), ("tag", "red eyes") ..."""
    found: list[tuple[str, str]] = []
    at, text = 0, text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise _wrong(text, f"a quotation mark is open: {text[at:].strip()}")
        at = match.end()
        if match["mark"]:
            found.append((match["mark"], match["mark"]))
        elif match["quoted"] is not None:
            found.append(("quoted", plain(match["quoted"])))
        elif match["word"].lower() in OPERATORS:
            found.append(("op", match["word"].lower()))
        elif found and found[-1][0] == "tag":
            found[-1] = ("tag", f"{found[-1][1]} {plain(match['word'])}")
        else:
            found.append(("tag", plain(match["word"])))
    return found


Rest = list[tuple[str, str]]


def _either(text: str, tokens: Rest, *, depth: int) -> tuple[Query, Rest]:
    query, rest = _both(text, tokens, depth=depth)
    queries = [query]
    while rest and rest[0] == ("op", "or"):
        query, rest = _both(text, rest[1:], depth=depth)
        queries.append(query)
    return _joined(queries, any), rest


def _both(text: str, tokens: Rest, *, depth: int) -> tuple[Query, Rest]:
    query, rest = _one(text, tokens, depth=depth)
    queries = [query]
    while rest and rest[0] == ("op", "and"):
        query, rest = _one(text, rest[1:], depth=depth)
        queries.append(query)
    return _joined(queries, all), rest


def _joined(queries: Sequence[Query], how: Callable[[Iterable[bool]], bool]) -> Query:
    """Side by side, not one within the other: a list of thousands of tags is no deeper than one of two."""
    return queries[0] if len(queries) == 1 else lambda tags: how(query(tags) for query in queries)


def _one(text: str, tokens: Rest, *, depth: int) -> tuple[Query, Rest]:
    if depth > DEEPEST:
        raise _wrong(text, f"more than {DEEPEST} brackets and nots are within each other")
    if not tokens:
        raise _wrong(text, "a tag is missing at the end")
    (kind, word), rest = tokens[0], tokens[1:]
    if (kind, word) == ("op", "not"):
        inner, rest = _one(text, rest, depth=depth + 1)
        return (lambda tags: not inner(tags)), rest
    if kind == "(":
        inner, rest = _either(text, rest, depth=depth + 1)
        if not rest or rest[0][0] != ")":
            raise _wrong(text, "a bracket is not closed")
        return inner, rest[1:]
    if kind in ("op", ")"):
        raise _wrong(text, f'a tag is missing before "{word}"')
    if kind == "tag" and "*" in word:
        return (lambda tags: any(_pattern(word).match(tag) for tag in tags)), rest
    return (lambda tags: word in tags), rest


def _wrong(text: str, why: str) -> UsageError:
    shown = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
    return UsageError(
        f'the expression "{shown}" cannot be understood: {why}',
        allowed='tags joined by and, or, not and brackets; * for anything; tags with brackets in "quotes"',
        todo='--find "1girl and not (solo or red eyes)"',
    )

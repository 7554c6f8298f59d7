"""Profile text to YAML nodes with line numbers, and YAML's own mistakes in words that a person can act on.

Two mistakes that everybody makes are mended in memory, so that the rest of the file is still checked: tabs, and Windows paths in
double quotes. Not here: what the keys mean (profile.py).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from lorabake.errors import UserError
from lorabake.kinds import Raw, Wrong

LARGEST_BYTES = 1_000_000
MENDS = 200
NULLS = ("", "~", "null", "Null", "NULL")
DEEPEST = 20
LAST_BACKSLASH = re.compile(r'"(?:[A-Za-z]:\\|\\\\)[^"\n]*(?<!\\)\\"(?=[ \t]*(?:$|#|,|\}))', re.MULTILINE)


@dataclass(frozen=True)
class SyntaxMistake:
    """One place where the text is not YAML; lines count from 1."""

    line: int
    what: str
    todo: str = ""


@dataclass(frozen=True)
class Entry:
    """One `key: value` of a group."""

    key: str
    line: int
    node: yaml.Node


class _Loader(yaml.SafeLoader):
    """Composes nodes without aliases: `*x` in a profile is text that lacks its quotes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="found an alias", problem_mark=mark)
        return super().compose_node(parent, index)


def read_text(path: Path) -> str:
    """The text of a profile; a byte order mark is dropped. Raises UserError for what cannot be one."""
    try:
        data = path.read_bytes() if path.stat().st_size <= LARGEST_BYTES else None
    except FileNotFoundError:
        raise UserError("there is no such profile", where=str(path), todo=_neighbours(path)) from None
    except (IsADirectoryError, PermissionError) as error:
        if path.is_dir():
            raise UserError("this is a folder, not a profile", where=str(path), todo=_neighbours(path / "x")) from None
        raise UserError("this profile cannot be read: no permission", where=str(path)) from error
    if data is None:
        raise UserError("this file is too large to be a profile", where=str(path), allowed="a YAML text file")
    return decode(data, path)


def _neighbours(path: Path) -> str:
    try:
        names = sorted(p.name for p in path.parent.iterdir() if p.suffix.lower() in (".yaml", ".yml") and not p.name.startswith(("_", ".")))
    except OSError:
        return f"the folder {path.parent} is not there either"
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"profiles in that folder: {shown}" if names else "there is no .yaml file in that folder"


def decode(data: bytes, path: Path) -> str:
    """UTF-8 text of a profile's bytes. Raises UserError naming the line that is not UTF-8."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError("this profile is saved as UTF-16", where=str(path), todo="save it as UTF-8 (Notepad: Save as, Encoding: UTF-8)")
    if b"\0" in data:
        raise UserError("this is not a text file", where=str(path), allowed="a YAML text file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        todo = "save it as UTF-8 (Notepad: Save as, Encoding: UTF-8)"
        raise UserError(f"this profile is not UTF-8 text (byte 0x{data[error.start]:02x})", where=f"{path}:{line}", todo=todo) from None
    if not text.strip():
        raise UserError("this profile is empty", where=str(path), todo="copy profiles/demo.yaml and change it")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def compose(text: str) -> tuple[yaml.Node | None, list[SyntaxMistake]]:
    """The root node, None where the text cannot be read to its end, and every mistake on the way."""
    mistakes: list[SyntaxMistake] = []
    for _ in range(MENDS):
        try:
            return yaml.compose(text, Loader=_Loader), mistakes
        except yaml.MarkedYAMLError as error:
            mended = _mend_quotes(text, error, mistakes) or _mend_tab(text, error, mistakes) or _mend_last_backslash(text, mistakes)
            if mended is None:
                return None, [*mistakes, explain(text, error)]
            text = mended
        except yaml.reader.ReaderError as error:
            line = text[: error.position].count("\n") + 1
            return None, [*mistakes, SyntaxMistake(line, f"a character that YAML does not allow (U+{int(error.character):04X})")]
        except RecursionError:
            return None, [*mistakes, SyntaxMistake(1, "lists inside lists without end")]
    return None, mistakes


def _mend_quotes(text: str, error: yaml.MarkedYAMLError, mistakes: list[SyntaxMistake]) -> str | None:
    """The text with `/` for `\\` in the double-quoted value where an escape failed; None when that is not the mistake."""
    mark = error.context_mark
    if mark is None or not re.search("escape (character|sequence)", str(error.problem)):
        return None
    end = text.find('"', mark.index + 1)
    if text[mark.index] != '"' or end < 0:
        return None
    value = text[mark.index : end + 1]
    mistakes.append(SyntaxMistake(mark.line + 1, *backslashes(value)))
    return text[: mark.index] + value.replace("\\", "/") + text[end + 1 :]


def backslashes(source: str) -> tuple[str, str]:
    """(what is wrong, what to type) for a double-quoted value as it stands in the file."""
    return f"in double quotes YAML reads a backslash as the start of a special character: {source}", f"without the quotes: {source[1:-1]}"


def _mend_tab(text: str, error: yaml.MarkedYAMLError, mistakes: list[SyntaxMistake]) -> str | None:
    """The text with spaces for the tabs of a line that failed at one; None when that is not the mistake."""
    mark = error.problem_mark
    if mark is None or "'\\t'" not in str(error.problem):
        return None
    lines = text.split("\n")
    lines[mark.line] = lines[mark.line].replace("\t", "  ")
    mistakes.append(SyntaxMistake(mark.line + 1, "a tab; YAML wants spaces", "two spaces for each tab"))
    return "\n".join(lines)


def _mend_last_backslash(text: str, mistakes: list[SyntaxMistake]) -> str | None:
    """The text with `/` for `\\` in the first `"D:\\Loras\\"`, where the last backslash hides the closing quote; None without one."""
    found = LAST_BACKSLASH.search(text)
    if not found:
        return None
    mistakes.append(SyntaxMistake(text[: found.start()].count("\n") + 1, *backslashes(found[0])))
    return text[: found.start()] + found[0].replace("\\", "/") + text[found.end() :]


def explain(text: str, error: yaml.MarkedYAMLError) -> SyntaxMistake:
    """PyYAML's message in other words, at the line where a person would look."""
    problem, context = str(error.problem), str(error.context)
    mark = error.problem_mark or error.context_mark
    begun = error.context_mark or mark
    assert mark is not None and begun is not None
    line, begun_line = mark.line + 1, begun.line + 1
    typed = ([*text.split("\n"), ""])[begun.line].strip()
    if "quoted scalar" in context:
        return SyntaxMistake(begun_line, f"the quotes opened here are not closed: {typed}")
    if "could not find expected ':'" in problem:
        squeezed = re.match(r"([\w.]+):\S", typed)
        todo = f"a space after the colon: {squeezed[1]}: ..." if squeezed else "key: value"
        return SyntaxMistake(begun_line, f"this line is not `key: value`: {typed}", todo)
    if "flow mapping" in context or "flow sequence" in context:
        opened = "{" if "mapping" in context else "["
        return SyntaxMistake(begun_line, f"a comma or the closing bracket is missing for the {opened} opened here: {typed}")
    if "mapping values are not allowed" in problem:
        return _stray_colon(text.split("\n"), mark.line)
    if "cannot start any token" in problem or "alias" in problem or "undefined" in problem or "directive" in problem:
        return SyntaxMistake(
            line, f"a value cannot begin with this character: {text[mark.index : mark.index + 1]}", "put the value in quotes"
        )
    if "single document" in context + problem:
        return SyntaxMistake(line, "a second document begins here (---)", "one profile per file")
    if "block" in context:
        there = ([*text.split("\n"), ""])[mark.line].strip()
        return SyntaxMistake(line, f"this line is indented differently from the ones it belongs to: {there}")
    return SyntaxMistake(line, f"this is not YAML: {problem}")


def _stray_colon(lines: list[str], index: int) -> SyntaxMistake:
    """A colon in the middle of a value: of this line, of the line before it, or because this one is indented further."""
    here, above = lines[index].strip(), max(0, index - 1)
    while above > 0 and not lines[above].partition("#")[0].strip():
        above -= 1
    before = lines[above].strip() if index else ""
    if re.match(r"[^:'\"]+: [^'\"]*: ", here):
        return SyntaxMistake(index + 1, f"a second colon in one line: {here}", "quotes around a value that holds a colon")
    if before and ":" not in before:
        return SyntaxMistake(above + 1, f"this line is not `key: value`: {before}", "key: value")
    return SyntaxMistake(index + 1, f"this line is indented further than the one before it, which has a value of its own: {here}")


def entries(node: yaml.MappingNode) -> list[Entry]:
    """The keys of a group as text, in the order of the file, duplicates included."""
    found = []
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        found.append(Entry(str(name), key.start_mark.line + 1, value))
    return found


def source(node: yaml.Node) -> str:
    """A value as it stands in the file, quotes included."""
    return str(node.start_mark.buffer or "")[node.start_mark.index : node.end_mark.index]


def rest_of_line(node: yaml.Node) -> str:
    """What follows a value on its line."""
    return str(node.end_mark.buffer or "")[node.end_mark.index :].partition("\n")[0].rstrip("\0")


def is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in NULLS


def raw(node: yaml.Node, depth: int = 0) -> Raw:
    """Text, lists and dicts of text; None where nothing (or null) is typed. Raises Wrong for YAML tags and names that come twice."""
    if depth > DEEPEST:
        raise Wrong("lists inside lists without end")
    if node.tag.startswith("!") or "python/" in node.tag:
        raise Wrong(f"a value that begins with {node.tag} is read as a YAML tag", "put the value in quotes")
    if is_null(node):
        return None
    if isinstance(node, yaml.SequenceNode):
        return [raw(entry, depth + 1) for entry in node.value]
    if isinstance(node, yaml.MappingNode):
        group: dict[str, Raw] = {}
        for entry in entries(node):
            if entry.key in group:
                raise Wrong(f'"{entry.key}" comes twice in it')
            group[entry.key] = raw(entry.node, depth + 1)
        return group
    return str(node.value)

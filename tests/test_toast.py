"""A notification: XML that any text fits into, the system's own program, and never an error."""

import os
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lorabake import toast


@given(some.text(some.characters(blacklist_categories=("Cs",))), some.text(min_size=1))
def test_any_text_is_xml(title, text):
    root = ElementTree.fromstring(toast.xml(title, text))
    assert root.tag == "toast" and [part.tag for part in root[0][0]] == ["text"] * (bool(title) + bool(text))


def test_what_it_says():
    root = ElementTree.fromstring(toast.xml("lorabake: a & b", "<done> \u732b\nlog: C:\\x"))
    assert [part.text for part in root[0][0]] == ["lorabake: a & b", "<done> \u732b\nlog: C:\\x"]


@pytest.mark.skipif(os.name == "nt", reason="Linux' own program")
def test_the_program_of_linux_gets_the_words(tmp_path, monkeypatch):
    script = tmp_path / "notify-send"
    script.write_text(f'#!/bin/sh\nprintf "%s|" "$@" > "{tmp_path}/told"\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    toast.show("-title", "a < b")
    assert (tmp_path / "told").read_text(encoding="utf-8") == "--app-name=lorabake|--|-title|a &lt; b|"


@pytest.mark.skipif(os.name == "nt", reason="Linux' own program")
@pytest.mark.parametrize("content", [None, "#!/nowhere\n", "#!/bin/sh\nexit 5\n"])
def test_no_failure_is_an_error(tmp_path, monkeypatch, content):
    if content:
        (tmp_path / "notify-send").write_text(content, encoding="utf-8")
        (tmp_path / "notify-send").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    toast.show("title", "text")

"""Lines, sizes and bars, also on consoles that know neither UTF-8 nor cursors."""

import io
import sys

import pytest

from lorabake import console


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s")],
)
def test_duration(seconds, text):
    assert console.duration(seconds) == text


def test_long_durations():
    assert console.duration(3900) == "1 h 05 min"
    assert console.duration(100 * 3600) == "100 h 00 min"


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KB"), (37_853_594, "36.1 MB"), (2_576_980_378, "2.4 GB"), (3 * 1024**4, "3.0 TB")],
)
def test_size(num_bytes, text):
    assert console.size(num_bytes) == text


def stream(encoding, errors="strict"):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors, newline="\n")


def test_say_and_result_work_on_a_cp1252_console(monkeypatch):
    out, err = stream("cp1252"), stream("cp1252")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    console.say("C:\\\u732b\\caf\u00e9.png")
    console.result("\u732b")
    assert err.buffer.getvalue() == b"C:\\?\\caf\xe9.png\n"
    assert out.buffer.getvalue() == b"?\n"


def test_prepare_makes_the_streams_utf8(monkeypatch):
    out, err = stream("cp1252"), stream("ascii")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    console.prepare()
    console.say("\u732b")
    assert err.buffer.getvalue() == "\u732b\n".encode()


def test_nothing_breaks_without_streams(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    console.prepare()
    console.say("x")
    console.result("x")
    with console.Bar(2, "x") as bar:
        bar.update(1)


def test_a_bar_in_a_file_is_a_few_plain_lines(capsys, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
    with console.Bar(100, "baking") as bar:
        for done in range(1, 101):
            bar.update(done, "loss 0.1")
    lines = capsys.readouterr().err.splitlines()
    assert 5 < len(lines) < 40
    assert lines[0].startswith("baking 1/100")
    assert lines[-1].startswith("baking 100/100")
    assert "loss 0.1" in lines[-1]
    assert any("left" in line for line in lines)
    assert not any("\r" in line for line in lines)


def test_a_bar_on_a_terminal_redraws_one_line(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    with console.Bar(3, "pictures") as bar:
        for done in range(4):
            bar.update(done, "a note that is far too long to stand on this narrow terminal in one line")
    text = terminal.getvalue()
    assert text.count("\n") == 1
    assert all(len(line) <= 59 for line in text.strip("\n").split("\r"))
    assert "3/3" in text


def test_a_bar_that_never_moved_says_nothing(capsys):
    with console.Bar(3, "pictures"):
        pass
    assert capsys.readouterr().err == ""

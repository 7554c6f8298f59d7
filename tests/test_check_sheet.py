"""The contact sheet: what it shows, that nothing on it can do harm, and how it looks to a real browser."""

import re
import shutil
from pathlib import Path

import pytest

from lorabake import buckets, check_sheet, picture_facts
from lorabake.caption_checks import Length, Remark
from lorabake.check_sheet import Row
from lorabake.picture_checks import Verdict, finding
from photos import scene

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome", "msedge"))), None)
NASTY = '<script>document.title="hit"</script>" onerror=x'


def row(folder, name, *found, tags=("a", "b"), num_read=None, remarks=(), size=(300, 200)):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    scene(size, sum(name.encode())).save(path)
    placed = (256, 256), buckets.placement(size, (256, 256))
    length = Length(3 * len(tags), len(tags) if num_read is None else num_read)
    return Row(path.relative_to(folder).as_posix(), Verdict(path, picture_facts.look(path), found), remarks, placed, tags, length)


@pytest.fixture
def rows(tmp_path):
    nasty = Remark("watermark", NASTY, ("5_x/bad & 猫.png",))
    return [
        row(tmp_path, "5_x/fine.png"),
        row(tmp_path, "5_x/bad & 猫.png", finding("twice", NASTY), tags=("a", NASTY, "z"), num_read=1, remarks=(nasty,)),
        row(tmp_path, "5_x/poor.png", finding("small", "200x200 px")),
    ]


def test_the_worst_come_first_and_everything_is_there(tmp_path, rows):
    sheet = check_sheet.write(tmp_path, rows, [Remark("sameface", "most pictures share smile")])
    text = sheet.read_text(encoding="utf-8")
    assert re.findall(r'<article data-grade="(\w+)"', text) == ["reject", "poor", "good"]
    assert "most pictures share smile" in text and "<s>&lt;script&gt;" in text and "3 pictures" in text
    assert {path.name for path in (tmp_path / "_checks" / "sheet").iterdir()} == {check_sheet.thumbnail(one) for one in rows}


def test_nothing_of_a_caption_is_markup(tmp_path, rows):
    text = check_sheet.write(tmp_path, rows, []).read_text(encoding="utf-8")
    assert (
        text.count("<script>") == 1 and 'onerror=x"' not in text.replace("&quot; onerror=x", "") and "http" not in text.split("<body>")[1]
    )


def test_the_frame_is_what_the_trainer_sees(tmp_path):
    one = row(tmp_path, "a.png", size=(300, 200))
    text = check_sheet.page("x", [one], [], frozenset([check_sheet.thumbnail(one)]))
    inset = re.search(r"inset:([\d.]+)% ([\d.]+)% ([\d.]+)% ([\d.]+)%", text)
    assert [float(part) for part in inset.groups()] == pytest.approx([0, 16.67, 0, 16.67], abs=0.2)
    whole = row(tmp_path, "b.png", size=(256, 256))
    assert "<i " not in check_sheet.page("x", [whole], [], frozenset([check_sheet.thumbnail(whole)]))


def test_thumbnails_are_made_once_and_old_ones_go(tmp_path, rows, monkeypatch):
    check_sheet.write(tmp_path, rows, [])
    monkeypatch.setattr(check_sheet.thumbs, "of", None)
    check_sheet.write(tmp_path, rows[:2], [])
    assert {path.name for path in (tmp_path / "_checks" / "sheet").iterdir()} == {check_sheet.thumbnail(one) for one in rows[:2]}


def test_a_picture_that_went_meanwhile_leaves_its_place(tmp_path, rows):
    rows[0].verdict.path.unlink()
    text = check_sheet.write(tmp_path, rows, []).read_text(encoding="utf-8")
    assert text.count("no picture to show") == 1 and text.count("<img") == 2


def test_where_nothing_can_be_written(tmp_path, rows, capsys):
    (tmp_path / "_checks").write_bytes(b"a file of this name")
    assert check_sheet.write(tmp_path, rows, []) is None and "no sheet" in capsys.readouterr().err


@pytest.mark.skipif(BROWSER is None, reason="no Chromium, Chrome or Edge here")
def test_a_browser_shows_it_and_filters(tmp_path, rows):
    from playwright.sync_api import sync_playwright

    sheet = check_sheet.write(tmp_path, rows, [])
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        problems, asked = [], []
        page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(Path(sheet).as_uri())
        # A function: an expression would be evaluated anew at each look, which the page's own policy forbids.
        page.wait_for_function("() => [...document.images].every((image) => image.complete && image.naturalWidth)")
        assert page.title().endswith("checked by lorabake") and page.locator("article:visible").count() == 3
        page.get_by_role("button", name="poor").click()
        assert page.locator("article:visible h3").all_text_contents() == ["poor.png"]
        page.get_by_role("button", name="all 3").click()
        page.keyboard.press("/")
        page.keyboard.type("fine")
        assert page.locator("article:visible h3").all_text_contents() == ["fine.png"]
        page.keyboard.type("xyz")
        assert page.get_by_text("No picture is like that").is_visible()
        browser.close()
    assert not problems and all(url.startswith("file:") for url in asked)

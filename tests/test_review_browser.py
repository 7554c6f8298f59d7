"""The reviewing page in a real browser without a window: what a person sees, types and draws, and what is on the disk afterwards."""

import itertools
import json
import os
import random
import shutil
import time
from contextlib import contextmanager

import pytest
from PIL import Image

from lorabake import journal, locks, masks
from reviewing import dataset, served

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge", "chrome")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser is installed: {', '.join(BROWSERS)}")
MEDIAN_FRAME_MS, WORST_FIRST_PAGE_S = 50, 8  # generous: tests run beside other work


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=list(ARGUMENTS))
        yield found
        found.close()


@contextmanager
def opened(browser, page, *, expected=(), **options):
    """A tab on the page; at its end nothing was asked of another computer, and the console has no error but those `expected`."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
    tab = context.new_page()
    outside, errors = [], []
    tab.on("request", lambda request: outside.append(request.url) if not request.url.startswith(page.address) else None)
    tab.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page.address)
    tab.wait_for_selector(".cell.ready")
    tab.set_default_timeout(10_000)
    yield tab
    context.close()
    assert not outside
    assert not [error for error in errors if not any(part in error for part in expected)]


@pytest.fixture
def page(tmp_path):
    with served(dataset(tmp_path / "bücher & (co)")) as found:
        yield found


@pytest.fixture
def tab(browser, page):
    with opened(browser, page) as found:
        yield found


def keys(tab, *names):
    for name in names:
        tab.keyboard.press(name)


def saved(tab, condition):
    """Wait until the disk is as it shall be."""
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until, "not saved in time"
        tab.wait_for_timeout(30)


def title_of(tab):
    return tab.inner_text("#panel h2")


# In the folder's order the pictures are 5_more/d, a, b, c.


def test_the_grid_shows_pictures_tags_and_counts(tab):
    assert tab.locator(".cell").count() == 4
    tab.wait_for_function("() => document.querySelectorAll('.cell.ready').length == 4")
    assert tab.inner_text("#count") == "4 pictures"
    assert tab.inner_text(".cell[title^='a.png'] .words") == "1girl, solo, red eyes"
    assert tab.inner_text(".cell[title^='5_more/d.png'] .words") == "no caption"
    rows = tab.locator(".tag-row")
    assert [rows.nth(index).inner_text().split("\n")[:2] for index in range(2)] == [["1girl", "2"], ["solo", "2"]]
    sizes = tab.evaluate("[...document.querySelectorAll('.cell img')].map(image => [image.naturalWidth, image.naturalHeight])")
    assert sizes == [[64, 48]] * 4
    assert tab.title() == "bücher & (co) - lorabake review"


def test_the_filter_counts_and_tells_what_it_does_not_understand(browser, page):
    with opened(browser, page, expected=("400",)) as tab:
        keys(tab, "/")
        tab.keyboard.type("1girl and not smile")
        tab.wait_for_function("() => document.querySelector('#count').textContent == '1 of 4 pictures'")
        assert [cell.get_attribute("title").split("\n")[0] for cell in tab.locator(".cell").all()] == ["a.png"]
        tab.keyboard.type(" and (")
        tab.wait_for_selector("#filter-problem:not([hidden])")
        assert "a tag is missing at the end" in tab.inner_text("#filter-problem")
        assert tab.inner_text("#count") == "1 of 4 pictures", "the last filter that was understood"
        keys(tab, "Escape")
        tab.wait_for_function("() => document.querySelector('#count').textContent == '4 pictures'")
        assert tab.locator("#filter-problem").is_hidden()


def test_the_tag_list_filters_and_changes_the_selection(tab, page):
    tab.locator(".tag-row[data-tag='solo'] .name").click()
    tab.wait_for_function("() => document.querySelector('#count').textContent == '2 of 4 pictures'")
    tab.locator(".tag-row[data-tag='1girl'] .name").click(modifiers=["Shift"])
    tab.wait_for_function("() => document.querySelector('#filter').value == 'solo and not 1girl'")
    tab.wait_for_function("() => document.querySelectorAll('.cell').length == 1")
    assert title_of(tab) == "c.png"
    row = tab.locator(".tag-row[data-tag='smile']")
    row.hover()
    row.locator(".put").click()
    saved(tab, lambda: page.text("c") == "1boy, solo, smile\n")
    row = tab.locator(".tag-row[data-tag='solo']")
    row.hover()
    row.locator(".take").click()
    saved(tab, lambda: page.text("c") == "1boy, smile\n")
    tab.wait_for_selector("#refilter:not([hidden])")
    assert tab.locator(".cell").count() == 1, "what no longer fits stays until the filter is asked again"
    tab.click("#refilter")
    tab.wait_for_function("() => document.querySelectorAll('.cell').length == 0")
    assert tab.inner_text("#nothing") == "No picture fits this filter."


def test_pictures_are_selected_and_tagged_with_keys_alone(tab, page):
    keys(tab, "Home", "ArrowRight", "Space", "ArrowRight", "ArrowRight", "Space")
    assert tab.inner_text("#count") == "4 pictures, 2 selected"
    keys(tab, "a")
    tab.keyboard.type("hat, blue sky")
    keys(tab, "Enter")
    saved(tab, lambda: (page.text("a"), page.text("c")) == ("1girl, solo, red eyes, hat, blue sky\n", "1boy, solo, hat, blue sky\n"))
    assert page.text("b") == "1girl, smile\n"
    tab.keyboard.type("junwool")
    keys(tab, "Shift+Enter")
    saved(tab, lambda: page.text("a").startswith("junwool, 1girl"))
    keys(tab, "Escape", "Escape")
    assert tab.inner_text("#count") == "4 pictures"
    keys(tab, "Control+a")
    assert tab.inner_text("#count") == "4 pictures, 4 selected"
    keys(tab, "r")
    tab.keyboard.type("1girl")
    keys(tab, "Tab", "Tab")
    tab.keyboard.type("woman")
    keys(tab, "Enter")
    saved(tab, lambda: (page.text("a"), page.text("b")) == ("junwool, woman, solo, red eyes, hat, blue sky\n", "woman, smile\n"))
    keys(tab, "Escape", "z")
    saved(tab, lambda: page.text("b") == "1girl, smile\n")
    assert len(journal.jobs(page.folder)) == 3


def test_ranges_with_shift_and_clicks(tab):
    keys(tab, "Home", "Shift+ArrowRight", "Shift+ArrowRight")
    assert tab.locator(".cell.selected").count() == 3
    keys(tab, "Shift+ArrowLeft")
    assert tab.locator(".cell.selected").count() == 2
    keys(tab, "Escape")
    tab.locator(".cell[title^='a.png']").click()
    tab.locator(".cell[title^='c.png']").click(modifiers=["Control"])
    assert tab.inner_text("#panel h2") == "2 pictures"
    tab.locator(".cell[title^='5_more']").click(modifiers=["Shift"])
    assert tab.locator(".cell.selected").count() == 4
    tab.locator(".cell[title^='b.png']").click()
    assert tab.locator(".cell.selected").count() == 0
    assert title_of(tab) == "b.png"


def test_what_is_typed_is_completed_from_the_datasets_tags(tab, page):
    tab.locator(".cell[title^='c.png']").click()
    keys(tab, "a")
    tab.keyboard.type("ey")
    tab.wait_for_selector(".complete:not([hidden])")
    assert tab.inner_text(".complete:not([hidden]) li").split() == ["red", "eyes", "1"]
    keys(tab, "Tab")
    saved(tab, lambda: page.text("c") == "1boy, solo, red eyes\n")
    keys(tab, "Escape", "e")
    tab.keyboard.type(", smi")
    keys(tab, "ArrowDown", "Enter")
    assert tab.input_value("textarea") == "1boy, solo, red eyes, smile, "
    tab.keyboard.type("x")
    keys(tab, "Enter")
    saved(tab, lambda: page.text("c") == "1boy, solo, red eyes, smile, x\n")


def test_nothing_is_lost_by_forgetting_to_apply(tab, page):
    tab.locator(".cell[title^='a.png']").click()
    keys(tab, "e")
    tab.keyboard.type(", by a click")
    tab.locator(".cell[title^='b.png']").click()
    saved(tab, lambda: page.text("a") == "1girl, solo, red eyes, by a click\n")
    keys(tab, "e")
    tab.keyboard.type(", next")
    keys(tab, "Control+Enter")
    saved(tab, lambda: page.text("b") == "1girl, smile, next\n")
    assert title_of(tab) == "c.png"
    tab.keyboard.type(", and at the end")
    keys(tab, "Escape")
    tab.wait_for_timeout(200)
    assert page.text("c") == "1boy, solo\n", "Escape takes it back"
    keys(tab, "e")
    tab.keyboard.type(", closed")
    tab.close(run_before_unload=False)
    until = time.monotonic() + 5
    while page.text("c") != "1boy, solo, closed\n":
        assert time.monotonic() < until, "what was typed when the tab was closed"
        time.sleep(0.05)


def test_edits_in_quick_succession_all_arrive(tab, page):
    tab.locator(".cell[title^='b.png']").click()
    for word in ("one", "two", "three"):
        keys(tab, "e")
        tab.keyboard.type(f", {word}")
        keys(tab, "Enter")
    saved(tab, lambda: page.text("b") == "1girl, smile, one, two, three\n")
    assert tab.locator(".toast.bad").count() == 0


def test_what_is_typed_meanwhile_moves_along_with_a_caption_that_changes(tab, page):
    tab.locator(".cell[title^='b.png']").click()
    keys(tab, "e")
    tab.keyboard.type(", typed")
    (page.folder / "b.txt").write_text("from outside\n", encoding="utf-8")
    tab.evaluate("window.dispatchEvent(new Event('focus'))")
    tab.wait_for_function("() => document.querySelector('textarea').value == 'from outside, typed'")
    tab.keyboard.type(" on")
    keys(tab, "Enter")
    saved(tab, lambda: page.text("b") == "from outside, typed on\n")


def test_chips_are_edited_with_keys(tab, page):
    tab.locator(".cell[title^='a.png']").click()
    keys(tab, "x", "ArrowRight", "Delete")
    saved(tab, lambda: page.text("a") == "1girl, red eyes\n")
    keys(tab, "Alt+ArrowLeft")
    saved(tab, lambda: page.text("a") == "red eyes, 1girl\n")
    keys(tab, "Enter")
    tab.keyboard.type("blue eyes")
    keys(tab, "Enter")
    saved(tab, lambda: page.text("a") == "blue eyes, 1girl\n")
    tab.locator(".chip[data-tag='1girl'] .out").click()
    saved(tab, lambda: page.text("a") == "blue eyes\n")


def test_a_caption_that_is_html_is_text(tmp_path, browser):
    folder = dataset(tmp_path / "x")
    evil = "<script>document.title='hit'</script>, <img src=x onerror=\"document.title='hit'\">, <b>bold</b>"
    (folder / "a.txt").write_text(evil, encoding="utf-8")
    with served(folder) as page, opened(browser, page, expected=("Content Security Policy",)) as tab:
        tab.locator(".cell[title^='a.png']").click()
        assert tab.inner_text(".cell[title^='a.png'] .words") == evil
        assert tab.input_value("textarea") == evil
        assert "<b>bold</b>" in tab.inner_text(".chips")
        keys(tab, "a")
        tab.keyboard.type("<i")
        tab.wait_for_selector(".complete:not([hidden])")
        assert tab.inner_text(".complete:not([hidden]) li span").startswith("<img src=x")
        keys(tab, "Escape", "Control+a", "h", "Escape")
        assert tab.title() == "x - lorabake review"
        assert tab.locator("#panel b, #panel script, .words img").count() == 0
        tab.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = 1'}))")
        tab.wait_for_timeout(100)
        assert tab.title() == "x - lorabake review", "even a script that got into the page would not run"


def draw(tab, page, kind, box, size=(64, 48)):
    """Drag a rectangle given in px of the picture."""
    keys(tab, kind)
    tab.wait_for_selector("#stage[open] .fit[style*='width']")
    edge = tab.locator("#stage .fit").bounding_box()
    scale = edge["width"] / size[0]
    tab.mouse.move(edge["x"] + box[0] * scale, edge["y"] + box[1] * scale)
    tab.mouse.down()
    tab.mouse.move(edge["x"] + (box[0] + box[2] / 2) * scale, edge["y"] + (box[1] + box[3] / 2) * scale, steps=3)
    tab.mouse.move(edge["x"] + (box[0] + box[2]) * scale, edge["y"] + (box[1] + box[3]) * scale, steps=3)
    tab.mouse.up()
    assert tab.inner_text("#stage output") == f"{box[2]} x {box[3]}"
    keys(tab, "Enter")


def test_a_rectangle_crops_and_undo_brings_the_picture_back(tab, page):
    before = (page.folder / "a.png").read_bytes()
    tab.locator(".cell[title^='a.png']").click()
    draw(tab, page, "c", (8, 6, 40, 30))
    saved(tab, lambda: Image.open(page.folder / "a.png").size == (40, 30))
    assert (page.folder / "_originals" / "a.png").read_bytes() == before
    tab.wait_for_function("() => document.querySelector('#stage .bar .soft').textContent.startsWith('40 x 30')")
    keys(tab, "z")
    saved(tab, lambda: (page.folder / "a.png").read_bytes() == before)
    keys(tab, "Escape", "Escape")
    assert tab.locator("#stage[open]").count() == 0
    tab.wait_for_function("() => document.querySelector('.facts').textContent.startsWith('64 x 48')")


def test_a_rectangle_blanks_a_place(tab, page):
    Image.new("RGB", (64, 48), (10, 200, 10)).save(page.folder / "a.png")
    tab.evaluate("window.dispatchEvent(new Event('focus'))")
    tab.locator(".cell[title^='a.png']").click()
    keys(tab, "b")
    tab.select_option("#stage select", "#000000")
    keys(tab, "b")
    draw(tab, page, "b", (10, 10, 20, 12))
    saved(tab, lambda: Image.open(page.folder / "a.png").getpixel((15, 15)) == (0, 0, 0))
    picture = Image.open(page.folder / "a.png")
    assert {colour: count for count, colour in picture.getcolors()} == {(0, 0, 0): 240, (10, 200, 10): 64 * 48 - 240}


def test_a_rectangle_leaves_a_place_out_of_the_loss(tab, page):
    tab.locator(".cell[title^='a.png']").click()
    draw(tab, page, "m", (10, 10, 20, 12))
    mask = masks.path_of(page.folder / "a.png")
    saved(tab, mask.exists)
    with Image.open(mask) as found:
        assert {colour: count for count, colour in found.getcolors()} == {0: 240, 255: 64 * 48 - 240}
    tab.wait_for_selector("#stage .hatch:not([hidden])")
    keys(tab, "Escape", "Escape")
    assert tab.inner_text(".cell[title^='a.png'] .badges") == "mask"
    tab.wait_for_function("() => document.querySelector('.facts').textContent.includes('8% left out of the loss')")
    tab.click("#panel .unmask")
    saved(tab, lambda: not mask.exists())
    keys(tab, "z")
    saved(tab, mask.exists)


def test_a_rectangle_is_moved_and_resized_with_keys(tab, page):
    tab.locator(".cell[title^='a.png']").click()
    keys(tab, "m")
    tab.wait_for_selector("#stage[open] .fit[style*='width']")
    edge = tab.locator("#stage .fit").bounding_box()
    tab.mouse.move(edge["x"] + 5, edge["y"] + 5)
    tab.mouse.down()
    tab.mouse.move(edge["x"] + edge["width"] / 4, edge["y"] + edge["height"] / 4, steps=3)
    tab.mouse.up()
    wide, high = map(int, tab.inner_text("#stage output").split(" x "))
    keys(tab, "ArrowRight", "Control+ArrowDown", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowUp")
    assert tab.inner_text("#stage output") == f"{wide + 2} x {high - 1}"
    keys(tab, "Escape")
    assert tab.locator("#stage .rect").is_hidden()
    keys(tab, "Escape", "ArrowRight")
    assert tab.inner_text("#stage b") == "b.png"


def test_another_programs_edit_is_not_overwritten_and_mine_is_kept(browser, page):
    with opened(browser, page, expected=("409",)) as tab:
        tab.locator(".cell[title^='a.png']").click()
        keys(tab, "e")
        tab.keyboard.type(", mine")
        (page.folder / "a.txt").write_text("theirs\n", encoding="utf-8")
        keys(tab, "Enter")
        tab.wait_for_selector(".note.bad")
        assert page.text("a") == "theirs\n"
        assert tab.input_value("textarea") == "theirs"
        assert "1girl, solo, red eyes, mine" in tab.inner_text(".note.bad")
        tab.locator(".note.bad button").first.click()
        saved(tab, lambda: page.text("a") == "1girl, solo, red eyes, mine\n")


def test_a_busy_folder_is_waited_for(browser, page):
    holder = os.getppid()
    with opened(browser, page, expected=("423",)) as tab:
        lock = locks.dataset(page.folder).path
        lock.write_text(json.dumps({"pid": holder, "since": time.time()}), encoding="utf-8")
        tab.locator(".cell[title^='a.png']").click()
        keys(tab, "a")
        tab.keyboard.type("hat")
        keys(tab, "Enter")
        tab.wait_for_function("() => document.querySelector('#saved').textContent.includes('another job is at work')")
        assert page.text("a") == "1girl, solo, red eyes\n"
        lock.unlink()
        saved(tab, lambda: page.text("a") == "1girl, solo, red eyes, hat\n")
        tab.wait_for_function("() => document.querySelector('#saved').textContent == 'saved'")


def test_what_other_programs_write_appears(tab, page):
    (page.folder / "b.txt").write_text("from outside", encoding="utf-8")
    Image.new("RGB", (20, 20)).save(page.folder / "new.png")
    (page.folder / "c.png").unlink()
    tab.evaluate("window.dispatchEvent(new Event('focus'))")
    tab.wait_for_function("() => document.querySelector(\".cell[title^='b.png'] .words\").textContent == 'from outside'")
    tab.wait_for_selector(".cell[title^='new.png']")
    assert tab.locator(".cell[title^='c.png']").count() == 0
    assert tab.inner_text("#count") == "4 pictures"


def test_a_picture_that_cannot_be_shown_says_why(tmp_path, browser):
    folder = dataset(tmp_path / "x")
    (folder / "a.png").write_bytes(b"%PDF no picture")
    with served(folder) as page, opened(browser, page, expected=("400",)) as tab:
        tab.wait_for_selector(".cell[title^='a.png'].broken")
        tab.locator(".cell[title^='a.png']").click()
        tab.wait_for_function("() => document.querySelector('.facts').textContent.includes('is a PDF')")


def test_history_and_help_open_and_close_with_keys(tab, page):
    tab.locator(".cell[title^='a.png']").click()
    keys(tab, "a")
    tab.keyboard.type("hat")
    keys(tab, "Enter", "Escape", "h")
    tab.wait_for_selector("#history-box[open]")
    assert "hat added in 1 caption" in tab.inner_text("#history-box")
    tab.click("#history-box td button")
    saved(tab, lambda: page.text("a") == "1girl, solo, red eyes\n")
    tab.wait_for_selector("#history-box tr.undone")
    keys(tab, "Escape", "?")
    tab.wait_for_selector("#help-box[open]")
    keys(tab, "Escape")
    assert tab.locator("dialog[open]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080), (1024, 700)])
def test_nothing_overlaps_or_is_cut_off(browser, page, scheme, size):
    with opened(browser, page, color_scheme=scheme) as tab:
        tab.set_viewport_size({"width": size[0], "height": size[1]})
        boxes = [
            tab.locator(f"header > {part}").bounding_box()
            for part in (".brand", ".filter", "#count", "#saved", ".size", "#undo", "#history", "#help")
        ]
        for left, right in itertools.pairwise(boxes):
            assert left["x"] + left["width"] <= right["x"] + 0.5
        assert boxes[-1]["x"] + boxes[-1]["width"] <= size[0]
        assert tab.evaluate(
            "[document.documentElement.scrollWidth <= innerWidth, document.documentElement.scrollHeight <= innerHeight]"
        ) == [True, True]
        paper, ink = tab.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
        lightness = [sum(map(int, colour[4:-1].split(", "))) for colour in (paper, ink)]
        assert (lightness[0] > lightness[1]) == (scheme == "light")


FRAMES = """async () => {
  const grid = document.querySelector("#grid"), frames = [], most = [];
  const end = grid.scrollHeight - grid.clientHeight, steps = 120;
  let last = performance.now();
  for (let step = 1; step <= steps; step++) {
    grid.scrollTop = end * step / steps;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    most.push(document.querySelectorAll(".cell").length);
    last = now;
  }
  frames.sort((one, two) => one - two);
  return { median: frames[steps / 2], worst: frames[steps - 1], cells: Math.max(...most), end };
}"""


@pytest.mark.slow
def test_five_thousand_pictures_without_stutter(tmp_path, browser):
    rng = random.Random(1)
    tags = [f"tag {number}" for number in range(3000)]
    kinds = []
    for _ in range(20):
        Image.effect_noise((64, 64), 90).convert("RGB").resize((512, 768)).save(tmp_path / "one.jpg")
        kinds.append((tmp_path / "one.jpg").read_bytes())
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(5000):
        (folder / f"{number:04}.jpg").write_bytes(kinds[number % 20])
        (folder / f"{number:04}.txt").write_text(", ".join(rng.sample(tags, 25)), encoding="utf-8")
    started = time.monotonic()
    with served(folder) as page:
        served_s = time.monotonic() - started
        started = time.monotonic()
        with opened(browser, page) as tab:
            first_s = time.monotonic() - started
            found = tab.evaluate(FRAMES)
            keys(tab, "End")
            tab.wait_for_selector(".cell[title^='4999.jpg'].ready")
            keys(tab, "Control+a")
            started = time.monotonic()
            tab.wait_for_function("() => document.querySelector('#panel h2').textContent == '5,000 pictures'")
            all_s = time.monotonic() - started
            keys(tab, "Escape", "a")
            started = time.monotonic()
            tab.keyboard.type("quick")
            keys(tab, "Enter")
            saved(tab, lambda: page.text("4999").endswith(", quick"))
            edit_s = time.monotonic() - started
            rows = tab.locator(".tag-row").count()
    print(f"\nserver {served_s:.1f} s, first page {first_s:.1f} s, frames {found}, all selected {all_s:.2f} s, one edit {edit_s:.2f} s")
    assert found["cells"] < 120
    assert rows < 80
    assert found["median"] < MEDIAN_FRAME_MS
    assert first_s < WORST_FIRST_PAGE_S
    assert edit_s < 2

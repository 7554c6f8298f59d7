"""The reviewing page's server over real HTTP: who may ask, and that every edit is journaled, fresh and can be taken back."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from lorabake import journal, locks, masks, paths, review, review_api, tag_job
from lorabake.errors import UserError
from reviewing import Page, dataset, served


@pytest.fixture
def page(tmp_path):
    with served(dataset(tmp_path / "bücher & (co)")) as found:
        yield found


# who may ask


def test_the_printed_address_is_all_that_is_needed(page):
    with urllib.request.urlopen(page.address, timeout=10) as answer:
        assert b"main.js" in answer.read()
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/api/start", "/x/api/start", "/{token}x/api/start", "/{short}/api/start", "/{token}"])
def test_without_the_whole_token_nothing_is_answered(page, path):
    wrong = page.ask("", path=path.format(token=page.token, short=page.token[:-1]))
    assert (wrong.status, wrong.json) == (403, None)
    assert b"address" in wrong.data
    assert wrong.headers["x-content-type-options"] == "nosniff"
    assert page.ask("api/start").status == 200


def test_two_pages_have_two_tokens(tmp_path):
    with served(dataset(tmp_path / "x")) as one, served(dataset(tmp_path / "y")) as two:
        assert one.token != two.token
        assert len(one.token) >= 32
        assert two.ask("", path=f"/{one.token}/api/start").status == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost", "evil.example:{port}", "127.0.0.1.evil.example:{port}", ""]
)
def test_another_name_for_this_server_is_refused(page, host):
    """A page whose own name was pointed at 127.0.0.1 afterwards (DNS rebinding)."""
    port = page.host.partition(":")[2]
    assert page.ask("api/start", headers={"Host": host.format(port=port)}).status == 403
    assert page.ask("api/start", headers={"Host": f"localhost:{port}"}).status == 200


@pytest.mark.parametrize(
    "origin", ["", "null", "http://evil.example", "http://127.0.0.1:1", "https://{host}", "http://{host}.evil.example"]
)
def test_changes_come_from_the_page_itself_only(page, origin):
    body = {"ids": [page.id("a")], "add": ["x"]}
    assert page.ask("api/tags", body, headers={"Origin": origin.format(host=page.host)}).status == 403
    assert page.text("a") == "1girl, solo, red eyes\n"
    assert page.ask("api/tags", body).status == 200
    assert page.text("a") == "1girl, solo, red eyes, x\n"


def test_reading_from_another_site_is_refused_too(page):
    assert page.ask("api/start", headers={"Origin": "http://evil.example"}).status == 403
    assert page.ask("thumb/128/0", headers={"Sec-Fetch-Site": "cross-site"}).status == 403
    assert page.ask("api/start", headers={"Sec-Fetch-Site": "same-origin"}).status == 200


def test_changing_by_a_plain_link_is_not_possible(page):
    assert page.ask("api/undo", method="GET").status == 405
    assert page.ask("api/tags", {"ids": [0], "add": ["x"]}, method="PUT").status == 405
    assert not journal.jobs(page.folder)


@pytest.mark.parametrize(
    "place",
    [
        "../a.png",
        "..%2f..%2fetc%2fpasswd",
        "thumb/128/../../a.png",
        "thumb/128/a.png",
        "thumb/128/%2e%2e",
        "view/-1",
        "view/a.txt",
        "a.png",
        "a.txt",
    ],
)
def test_no_path_leads_to_a_file(page, place):
    answer = page.ask(place)
    assert answer.status in (403, 404, 410)
    assert b"1girl" not in answer.data
    assert b"PNG" not in answer.data


def test_the_pages_own_folder_has_nothing_else_to_give(page):
    for name in ("review.py", "../review.py", "%2e%2e/review.py", "review_page/main.js", ".hidden"):
        assert page.ask(name).status == 404
    assert page.ask("main.js").headers["content-type"].startswith("text/javascript")


def test_no_other_address_of_this_computer_answers(page):
    port = int(page.host.partition(":")[2])
    for address in {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} | {"127.0.0.2"}:
        if address == "127.0.0.1":
            continue
        with pytest.raises(OSError), socket.create_connection((address, port), timeout=2):
            pass


def test_a_taken_port_is_told(tmp_path, page):
    port = int(page.host.partition(":")[2])
    with pytest.raises(UserError, match=f"port {port} cannot be used"):
        review.start(page.folder, port=port)


def test_a_folder_without_pictures_is_told(tmp_path):
    with pytest.raises(UserError, match="no pictures here"):
        review.start(tmp_path)
    with pytest.raises(UserError, match="cannot be listed"):
        review.start(tmp_path / "nothing")


# what is shown


def test_all_pictures_with_their_captions(page):
    items = page.items()
    assert {name: item["text"] for name, item in items.items()} == {
        "a": "1girl, solo, red eyes",
        "b": "1girl, smile",
        "c": "1boy, solo",
        "d": None,
    }
    assert items["d"]["name"] == "5_more/d.png"
    thumb = page.ask(f"thumb/100/{items['a']['id']}?v={items['a']['stamp']}")
    assert (thumb.status, thumb.headers["content-type"]) == (200, "image/jpeg")
    assert thumb.data.startswith(b"\xff\xd8")
    assert "immutable" in thumb.headers["cache-control"]


def test_the_filter_is_that_of_find(page):
    items = page.items()
    found = page.ask("api/find?q=1girl%20and%20not%20(solo%20or%20blue)").json["ids"]
    assert found == [items["b"]["id"]]
    wrong = page.ask("api/find?q=1girl%20and%20(")
    assert wrong.status == 400
    assert "a tag is missing at the end" in wrong.json["error"]


def test_facts_of_a_picture_and_of_what_is_none(page):
    facts = page.ask(f"api/facts/{page.id('a')}").json
    assert (facts["width"], facts["height"], facts["format"]) == (64, 48, "PNG")
    (page.folder / "broken.png").write_bytes(b"GIF no")
    number = next(item["id"] for item in page.ask("api/changes?since=1").json["items"] if item["name"] == "broken.png")
    broken = page.ask(f"api/facts/{number}")
    assert broken.status == 400
    assert "broken.png" in broken.json["error"]
    assert page.ask(f"thumb/128/{number}").status == 400


def test_tags_of_a_tagger_on_the_disk_complete(tmp_path, page, monkeypatch):
    assert page.ask("api/known").json == {"tags": []}
    store = tmp_path / "store" / "x"
    store.mkdir(parents=True)
    (store / "selected_tags.csv").write_text("tag_id,name,category,count\n1,general,9,5\n2,long_hair,0,5\n3,^_^,0,5\n", encoding="utf-8")
    monkeypatch.setattr("lorabake.tag_models.STORE", tmp_path / "store")
    assert page.ask("api/known").json == {"tags": ["long hair", "^_^"]}
    page.ask("api/tags", {"ids": [page.id("a")], "add": ["long_hair,blue_sky,big_hat,red_tie"]})
    assert page.ask("api/known").json == {"tags": ["long_hair", "^_^"]}, "as this dataset writes them"


# captions


def caption(page: Page, name: str, text: str, *, base: str | None = None):
    item, since = page.items()[name], page.ask("api/start").json["revision"]
    return page.ask("api/caption", {"id": item["id"], "base": (item["text"] or "") if base is None else base, "text": text, "since": since})


def test_a_caption_is_saved_journaled_and_taken_back(page):
    told = caption(page, "a", " 1girl,  <script>alert(1)</script>\n smile ")
    assert told.json["said"] == "a.png: caption edited"
    assert [item["text"] for item in told.json["items"]] == ["1girl, <script>alert(1)</script> smile"]
    assert page.text("a") == "1girl, <script>alert(1)</script> smile\n"
    (job,) = journal.jobs(page.folder)
    assert (job.name, job.title, job.state) == ("review", "a.png: caption edited", "done")
    assert page.ask("api/undo", {}).json["said"] == "undone: a.png: caption edited"
    assert page.text("a") == "1girl, solo, red eyes\n"
    nothing = page.ask("api/undo", {})
    assert (nothing.status, nothing.json["error"]) == (400, "there is nothing to undo")


def test_a_new_caption_makes_a_file_and_undo_takes_it_away(page):
    caption(page, "d", "new, one")
    assert page.text("d") == "new, one\n"
    page.ask("api/undo", {})
    assert not list(page.folder.rglob("d.txt"))
    assert page.items()["d"]["text"] is None


def test_a_stale_edit_is_refused_with_the_fresh_text(page):
    number, since = page.id("a"), page.ask("api/start").json["revision"]
    (page.folder / "a.txt").write_text("by another program\n", encoding="utf-8")
    told = page.ask("api/caption", {"id": number, "base": "1girl, solo, red eyes", "text": "mine", "since": since})
    assert told.status == 409
    assert "changed meanwhile" in told.json["error"]
    assert [item["text"] for item in told.json["items"]] == ["by another program"]
    assert page.text("a") == "by another program\n"
    assert caption(page, "a", "mine").status == 200
    assert page.text("a") == "mine\n"


def test_what_other_programs_change_is_seen(page):
    since = page.ask("api/start").json["revision"]
    assert page.ask(f"api/changes?since={since}").json["items"] == []
    (page.folder / "b.txt").write_text("other", encoding="utf-8")
    (page.folder / "5_more" / "d.txt").write_text("first", encoding="utf-8")
    Image.new("RGB", (8, 8)).save(page.folder / "e.png")
    (page.folder / "c.png").unlink()
    told = page.ask(f"api/changes?since={since}").json
    assert {item["name"]: item["text"] for item in told["items"]} == {"b.png": "other", "5_more/d.png": "first", "e.png": None}
    assert len(told["gone"]) == 1


def test_a_picture_that_vanished(page):
    number, since = page.id("a"), page.ask("api/start").json["revision"]
    (page.folder / "a.png").unlink()
    told = page.ask("api/caption", {"id": number, "base": "1girl, solo, red eyes", "text": "x", "since": since})
    assert (told.status, told.json["gone"]) == (410, [number])
    assert page.text("a") == "1girl, solo, red eyes\n"
    assert page.ask(f"view/{number}").status == 410
    assert page.ask("api/tags", {"ids": [number, page.id("b")], "add": ["x"]}).status == 410
    assert page.text("b") == "1girl, smile\n", "all or nothing"


def test_another_job_at_work_loses_nothing(page):
    code = f"import sys; sys.path.insert(0, {str(paths.ROOT / 'py')!r})\nfrom pathlib import Path\nfrom lorabake import locks\n"
    code += f"with locks.dataset(Path({str(page.folder)!r})): print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline() == "held\n"
        busy = caption(page, "a", "mine")
        assert busy.status == 423
        assert busy.json["error"] == "another job is at work in this folder"
        assert page.text("a") == "1girl, solo, red eyes\n"
        assert page.ask("api/start").status == 200, "looking is always possible"
        other.communicate("\n")
    assert caption(page, "a", "mine").status == 200
    assert not locks.dataset(page.folder).path.exists(), "the lock is held only while something is written"


def test_a_folder_that_cannot_be_written(page, monkeypatch):
    """As a medium that is read-only answers; root may write everywhere, so the answer is given here."""
    before = Path.open

    def refuse(self, mode="r", *rest, **options):
        if any(letter in mode for letter in "wxa+") and page.folder in self.parents:
            raise PermissionError(13, "Permission denied", str(self))
        return before(self, mode, *rest, **options)

    item = page.items()["a"]
    monkeypatch.setattr(Path, "open", refuse)
    told = page.ask("api/caption", {"id": item["id"], "base": item["text"], "text": "x"})
    assert told.status == 400
    assert "no permission" in told.json["error"]
    assert page.ask(f"thumb/256/{item['id']}").status == 200, "thumbnails need no place on the disk"
    assert page.text("a") == "1girl, solo, red eyes\n"


def test_a_caption_that_is_no_text_is_left_alone(page):
    (page.folder / "a.txt").write_bytes(b"\0\1\2")
    page.ask("api/changes")
    assert "is not text" in caption(page, "a", "x").json["error"]
    told = page.ask("api/tags", {"ids": [page.id("a"), page.id("b")], "add": ["x"]}).json
    assert told["problems"] == ["a.txt: is not text that can be read here: save it as UTF-8, left as it is"]
    assert (page.folder / "a.txt").read_bytes() == b"\0\1\2"
    assert page.text("b") == "1girl, smile, x\n"


def test_a_shared_caption_says_so(page):
    Image.new("RGB", (8, 8)).save(page.folder / "a.jpg")
    page.ask("api/changes")
    (one, two) = (item for item in page.ask("api/start").json["items"] if item["file"] == "a.txt")
    assert (one["shared"], two["shared"]) == ([two["id"]], [one["id"]])
    told = page.ask("api/caption", {"id": two["id"], "base": two["text"], "text": "both", "since": 2}).json
    assert told["said"].endswith(" has the same one")
    assert [item["text"] for item in told["items"]] == ["both", "both"]


# tags of many


def test_tags_are_added_removed_and_replaced_as_one_entry(page):
    ids = [page.id(name) for name in "abc"]
    told = page.ask(
        "api/tags", {"ids": ids, "add": ["hat"], "add_first": ["junwool"], "remove": ["red *"], "replace": ["1boy=1girl, boyish"]}
    ).json
    assert [page.text(name) for name in "abc"] == [
        "junwool, 1girl, solo, hat\n",
        "junwool, 1girl, smile, hat\n",
        "junwool, 1girl, boyish, solo, hat\n",
    ]
    assert told["said"] == "junwool put first, hat added, red * removed, 1boy replaced by 1girl, boyish in 3 captions"
    (job,) = journal.jobs(page.folder)
    assert len(job.changes) == 3
    page.ask("api/undo", {})
    assert page.text("c") == "1boy, solo\n"


def test_a_chips_tag_is_meant_as_it_is_written(page):
    caption(page, "a", "*_*, ^_^, solo")
    page.ask("api/tags", {"ids": [page.id("a")], "exactly": ["*_*"]})
    assert page.text("a") == "^_^, solo\n"


def test_nothing_to_change_leaves_no_entry(page):
    told = page.ask("api/tags", {"ids": [page.id("a")], "add": ["solo"]}).json
    assert told["said"] == "solo added: nothing to change in 1 caption"
    assert not journal.jobs(page.folder)


def test_doubles_and_sorting(page):
    caption(page, "a", "smile, solo, Smile, 1girl")
    page.ask("api/tags", {"ids": [page.id("a")], "dedupe": True})
    assert page.text("a") == "smile, solo, 1girl\n"
    page.ask("api/tags", {"ids": [page.id("a")], "sort": "count"})
    assert page.text("a") == "1girl, smile, solo\n"


# rectangles


def drawn(page: Page, name: str, kind: str, box: list[int], **more):
    item = page.items()[name]
    return page.ask("api/draw", {"id": item["id"], "stamp": item["stamp"], "kind": kind, "box": box, **more})


def test_a_crop_keeps_the_original_and_crops_the_mask(page):
    before = (page.folder / "a.png").read_bytes()
    mask = masks.path_of(page.folder / "a.png")
    assert drawn(page, "a", "mask", [0, 0, 20, 20]).status == 200
    told = drawn(page, "a", "crop", [10, 8, 40, 30]).json
    assert told["said"] == "a.png: cropped to 40x30 px at 10,8"
    assert Image.open(page.folder / "a.png").size == (40, 30)
    assert (page.folder / "_originals" / "a.png").read_bytes() == before
    with Image.open(mask) as cut:
        assert (cut.mode, cut.size, cut.getpixel((9, 11)), cut.getpixel((10, 12))) == ("L", (40, 30), 0, 255)
    page.ask("api/undo", {})
    assert (page.folder / "a.png").read_bytes() == before
    with Image.open(mask) as whole:
        assert whole.size == (64, 48)
    page.ask("api/undo", {})
    assert not mask.exists()
    assert not (page.folder / "_originals").exists()


def test_blanks_and_their_colours(page):
    picture = Image.new("RGB", (64, 48), (10, 200, 10))
    picture.paste((255, 0, 0), (20, 10, 40, 30))
    picture.save(page.folder / "a.png")
    page.ask("api/changes")
    drawn(page, "a", "blank", [20, 10, 20, 20])
    assert Image.open(page.folder / "a.png").getcolors() == [(64 * 48, (10, 200, 10))], "the colour around it"
    drawn(page, "a", "blank", [0, 0, 8, 8], fill="#000000")
    assert Image.open(page.folder / "a.png").getpixel((7, 7)) == (0, 0, 0)
    assert Image.open(page.folder / "a.png").getpixel((8, 8)) == (10, 200, 10)
    assert "is not a colour" in drawn(page, "a", "blank", [0, 0, 8, 8], fill="evil").json["error"]
    assert page.ask(f"api/facts/{page.id('a')}").json["originals"] == 2


def test_masks_add_up_and_can_be_taken_away(page):
    drawn(page, "a", "mask", [0, 0, 10, 10])
    told = drawn(page, "a", "mask", [30, 20, 10, 10]).json
    assert told["said"].endswith("left out of the loss, 7% of it in all")
    with Image.open(page.folder / "_masks" / "a.png") as mask:
        assert [mask.getpixel(at) for at in ((0, 0), (9, 9), (10, 10), (35, 25))] == [0, 0, 255, 0]
    overlay = page.ask(f"mask/{page.id('a')}")
    assert overlay.data.startswith(b"\x89PNG")
    assert page.ask(f"mask/{page.id('b')}").status == 410
    assert page.items()["a"]["mask"] and not page.items()["b"]["mask"]
    assert page.ask("api/unmask", {"ids": [page.id("a"), page.id("b")]}).json["said"] == "1 mask removed"
    assert not page.items()["a"]["mask"]
    page.ask("api/undo", {})
    assert (page.folder / "_masks" / "a.png").exists()


def test_a_mask_that_leaves_nothing_is_refused(page):
    assert "nothing of a.png would be learned" in drawn(page, "a", "mask", [0, 0, 64, 48]).json["error"]


@pytest.mark.parametrize("box", [[-1, 0, 20, 20], [0, 0, 65, 20], [50, 40, 20, 20], [0, 0, 0, 20], [0, 0, 15, 20]])
def test_a_crop_outside_or_too_small_is_refused(page, box):
    told = drawn(page, "a", "crop", box)
    assert told.status == 400
    assert "inside 64x48 px, 16 px a side at least" in told.json["allowed"]
    assert not (page.folder / "_originals").exists()


def test_a_rectangle_for_an_older_picture_is_refused(page):
    number, stamp = page.id("a"), page.items()["a"]["stamp"]
    Image.new("RGB", (99, 99)).save(page.folder / "a.png")
    told = page.ask("api/draw", {"id": number, "stamp": stamp, "kind": "crop", "box": [0, 0, 20, 20]})
    assert told.status == 409
    assert Image.open(page.folder / "a.png").size == (99, 99)


def test_transparency_that_a_crop_lays_on_the_background_is_told(tmp_path):
    folder = dataset(tmp_path / "x")
    Image.new("RGBA", (64, 48), (255, 0, 0, 0)).save(folder / "a.png")
    with served(folder, background="#00ff00") as page:
        assert drawn(page, "a", "crop", [0, 0, 20, 20]).json["said"] == "a.png: cropped to 20x20 px at 0,0; transparency laid on #00ff00"
        assert Image.open(folder / "a.png").getcolors() == [(400, (0, 255, 0))]


# undo and history


def test_the_page_undoes_its_own_newest_and_any_by_number(page):
    caption(page, "a", "one")
    with journal.Recorder(page.folder, "tags", "--add other") as recorder:
        recorder.write_texts({page.folder / "b.txt": b"other\n"})
    caption(page, "c", "two")
    entries = page.ask("api/history").json["entries"]
    assert [(entry["number"], entry["name"]) for entry in entries] == [(3, "review"), (2, "tags"), (1, "review")]
    page.ask("api/undo", {})
    page.ask("api/undo", {})
    assert (page.text("a"), page.text("b"), page.text("c")) == ("1girl, solo, red eyes\n", "other\n", "1boy, solo\n")
    told = page.ask("api/undo", {"number": 2, "since": 0}).json
    assert page.text("b") == "1girl, smile\n"
    assert "1girl, smile" in [item["text"] for item in told["items"]]
    assert [entry["state"] for entry in page.ask("api/history").json["entries"]] == ["undone"] * 3


def test_undo_leaves_alone_what_was_changed_since(page):
    caption(page, "a", "one")
    (page.folder / "a.txt").write_text("later", encoding="utf-8")
    told = page.ask("api/undo", {}).json
    assert told["said"].startswith("not all could be undone")
    assert "changed since" in told["problems"][0]
    assert page.text("a") == "later"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"ids": "x"}', b'{"ids": [1]', b'{"ids": [{}]}', b'{"ids": null, "add": 3}'])
def test_what_is_no_request_is_answered_in_words(page, body):
    told = page.ask("api/tags", body)
    assert told.status == 400
    assert "this request" in told.json["error"]


def test_the_program_prints_the_address_and_stops_with_ctrl_c(tmp_path):
    folder = dataset(tmp_path / "x")
    code = f"import sys; sys.path.insert(0, {str(paths.ROOT / 'py')!r})\nfrom pathlib import Path\nfrom lorabake import review\n"
    code += f"sys.exit(review.serve(Path({str(folder)!r}), open_browser=False))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}api/start", timeout=10) as answer:
            assert len(json.load(answer)["items"]) == 4
        time.sleep(0.2)
        process.send_signal(2 if os.name != "nt" else 1)
        try:
            assert process.wait(20) == 0
        finally:
            process.kill()
        assert process.stderr and "Traceback" not in process.stderr.read()


def test_the_browser_is_opened_when_asked(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("waitress.server.TcpWSGIServer.run", lambda self: None)
    assert review.serve(dataset(tmp_path / "x"), open_browser=True) == 0
    assert opened[0].startswith("http://127.0.0.1:")
    assert review.serve(tmp_path / "x", open_browser=False) == 0
    assert len(opened) == 1


def test_every_kind_of_drawing_has_its_words():
    assert review_api.KINDS == ("crop", "blank", "mask")


def test_tag_py_undoes_what_the_page_did(page):
    before = (page.folder / "a.png").read_bytes()
    drawn(page, "a", "mask", [0, 0, 20, 20])
    drawn(page, "a", "crop", [0, 0, 32, 32])
    for _ in range(2):
        assert tag_job.undo(page.folder, 0) == 0
    assert (page.folder / "a.png").read_bytes() == before
    assert not masks.path_of(page.folder / "a.png").exists()


def test_originals_are_counted_by_their_picture(tmp_path):
    folder = tmp_path / "_originals"
    folder.mkdir()
    for name in ("a.png", "a.2.png", "a.b.png", "ab.png", "a.jpg"):
        (folder / name).touch()
    assert [review_api.kept_originals(tmp_path / name) for name in ("a.png", "a.b.png", "x.png")] == [2, 1, 0]

"""The reviewing page: a small web server that only this computer reaches, and only through the address that it prints.

Whoever asks must know the token in the address, must have called us by our own name (a page of another site that points its name here
is refused), and must, to change anything, come from our own page. Pictures are asked for by number, never by path. Not here: what is done
(review_api.py), what the page looks like (review_page/).
"""

import hmac
import json
import logging
import secrets
import webbrowser
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import bottle
import waitress
from PIL import Image

from lorabake import console, errors, pixels, review_api, tag_edits, tag_models, thumbs
from lorabake.errors import LorabakeError, UserError
from lorabake.review_api import Done, Rectangle
from lorabake.review_state import Busy, Gone, Stale, State
from lorabake.tag_files import EXTENSION

HERE = "127.0.0.1"
PAGE = Path(__file__).parent / "review_page"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
THUMB_SIDES_PX, VIEW_PX = (128, 256, 512), 1600
MOST_BODY_BYTES = 8 << 20
STATUS: dict[type[LorabakeError], int] = {Stale: 409, Gone: 410, Busy: 423}
SAFE_HEADERS = [
    ("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def serve(folder: Path, *, port: int = 0, open_browser: bool = True, extension: str = EXTENSION, background: str = "white") -> int:
    """Show the dataset until Ctrl-C. Port 0: any free one. Raises UserError without pictures, or when the port is taken."""
    server, address = start(folder, port=port, extension=extension, background=background)
    console.result(address)
    console.say("the page is open as long as this window is: Ctrl-C stops; every change is saved at once and can be undone")
    if open_browser:
        webbrowser.open(address)
    try:
        server.run()  # returns on Ctrl-C
    finally:
        server.close()
    return 0


def start(folder: Path, *, port: int = 0, extension: str = EXTENSION, background: str = "white") -> tuple[Any, str]:
    """The server, listening but not yet answering, and its address with the token in it."""
    folder = folder.absolute()
    pixels.background_colour("white" if background == "checker" else background, Image.new("RGB", (1, 1)), Image.new("L", (1, 1)))
    state = State(folder, extension)
    if not state.shown:
        raise UserError("no pictures here", where=str(folder), todo="give the folder that holds the pictures and their captions")
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns in the console of every request that waits a moment
    token = secrets.token_urlsafe(24)
    pages: dict[str, Application] = {}
    try:
        server = waitress.create_server(
            lambda environ, answer: pages[HERE](environ, answer),
            host=HERE,
            port=port,
            threads=8,
            ident="lorabake",
            max_request_body_size=MOST_BODY_BYTES,
        )
    except (OSError, OverflowError) as error:
        raise UserError(
            f"port {port} cannot be used: {error}", allowed="1024 to 65535", todo="leave --port out to get a free one"
        ) from error
    pages[HERE] = guarded(application(state, background), token, server.effective_port)
    return server, f"http://{HERE}:{server.effective_port}/{token}/"


def guarded(inner: Application, token: str, port: int) -> Application:
    """`inner`, asked only by who may; it sees paths without the token. Every answer carries SAFE_HEADERS."""
    names = {f"{HERE}:{port}", f"localhost:{port}"}

    def outer(environ: dict[str, Any], answer: Callable[..., Any]) -> Iterable[bytes]:
        def safely(status: str, headers: list[tuple[str, str]], trouble: Any = None) -> Any:
            return answer(status, [*headers, *SAFE_HEADERS], trouble)

        given, slash, rest = environ.get("PATH_INFO", "").removeprefix("/").partition("/")
        why = refusal(environ, names)
        if not why and not (slash and hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())):
            why = "open the address that the console shows, all of it"
        if why:
            safely("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
            return [why.encode()]
        return inner({**environ, "SCRIPT_NAME": f"/{token}", "PATH_INFO": f"/{rest}"}, safely)

    return outer


def refusal(environ: dict[str, Any], names: set[str]) -> str:
    """Why this request is none of our page's, whatever its token; "" when it is."""
    host, origin, site = (environ.get(key, "") for key in ("HTTP_HOST", "HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE"))
    if host not in names:
        return "this server answers to its own name only"
    changing = environ.get("REQUEST_METHOD") not in ("GET", "HEAD")
    if (changing or origin) and origin != f"http://{host}":
        return "only the page itself may ask for this"
    if site not in ("", "same-origin", "none"):
        return "another site may not ask for this"
    return ""


def application(state: State, background: str) -> Application:
    """The routes."""
    app = bottle.Bottle()
    cache = thumbs.Cache(state.folder, background=background)
    _files(app)
    _pictures(app, state, cache)
    _questions(app, state)
    _changes(app, state, background)
    return app


def _files(app: bottle.Bottle) -> None:
    """The page's own files, by name from a list."""
    kept = {path.name: path for path in PAGE.iterdir() if path.suffix in TYPES}

    @app.get("/")
    @app.get("/<name>")
    def file(name: str = "index.html") -> Any:
        if name not in kept:
            return bottle.HTTPResponse("there is no such page", 404)
        headers = {"Content-Type": f"{TYPES[kept[name].suffix]}; charset=utf-8", "Cache-Control": "no-cache"}
        return bottle.HTTPResponse(kept[name].read_bytes(), 200, headers)


def _pictures(app: bottle.Bottle, state: State, cache: thumbs.Cache) -> None:
    @app.get("/thumb/<side:int>/<number:int>")
    def thumb(side: int, number: int) -> Any:
        fitting = next((one for one in THUMB_SIDES_PX if one >= side), THUMB_SIDES_PX[-1])
        return answered(lambda: picture(cache.get(state.of(number).path, fitting), "image/jpeg"))

    @app.get("/view/<number:int>")
    def view(number: int) -> Any:
        return answered(lambda: picture(cache.get(state.of(number).path, VIEW_PX), "image/jpeg"))

    @app.get("/mask/<number:int>")
    def mask(number: int) -> Any:
        return answered(lambda: picture(review_api.overlay(state, number), "image/png"))

    def picture(data: bytes | None, kind: str) -> Any:
        if data is None:
            raise Gone("there is no mask")
        kept = "private, max-age=31536000, immutable" if bottle.request.query.v else "no-store"
        return bottle.HTTPResponse(data, 200, {"Content-Type": kind, "Cache-Control": kept})


def _questions(app: bottle.Bottle, state: State) -> None:
    @app.get("/api/changes")
    def changes() -> Any:
        def told() -> dict[str, Any]:
            state.refresh()
            return state.since(int(bottle.request.query.since or -1))

        return answered(told)

    @app.get("/api/start")
    def start_() -> Any:
        return answered(lambda: {"folder": state.folder.name or str(state.folder), "path": str(state.folder), **state.since(-1)})

    @app.get("/api/find")
    def find() -> Any:
        return answered(lambda: {"ids": review_api.find(state, bottle.request.query.getunicode("q") or "")})

    @app.get("/api/known")
    def known() -> Any:
        underscores = review_api.writes_underscores(state)
        return answered(lambda: {"tags": review_api.known_tags([tag_models.STORE], underscores=underscores)})

    @app.get("/api/history")
    def history() -> Any:
        return answered(lambda: {"entries": review_api.history(state)})

    @app.get("/api/facts/<number:int>")
    def facts(number: int) -> Any:
        return answered(lambda: review_api.facts(state, number))


def _changes(app: bottle.Bottle, state: State, background: str) -> None:
    """Each takes JSON, with `since` what the page knows, and answers with all that changed."""

    def route(name: str, understood: Callable[[dict[str, Any]], Callable[[], Done]]) -> None:
        def change() -> Any:
            def told() -> dict[str, Any]:
                asked = body()
                try:
                    todo, since = understood(asked), int(asked.get("since", -1))
                except (KeyError, TypeError, ValueError) as error:
                    raise UserError(f"this request cannot be understood: {error!r}") from error
                done = todo()
                return {"said": done.said, "problems": list(done.problems), **state.since(since)}

            return answered(told, state)

        app.post(f"/api/{name}", callback=change)

    route("caption", lambda asked: partial(review_api.write_caption, state, int(asked["id"]), str(asked["base"]), str(asked["text"])))
    route("tags", lambda asked: partial(review_api.edit_tags, state, numbers(asked), edits(asked), words(asked, "exactly")))
    route("draw", lambda asked: partial(review_api.draw, state, rectangle(asked), background))
    route("unmask", lambda asked: partial(review_api.remove_masks, state, numbers(asked)))
    route("undo", lambda asked: partial(review_api.undo, state, int(asked.get("number", 0))))


def body() -> dict[str, Any]:
    try:
        found = json.loads(bottle.request.body.read())
    except ValueError as error:
        raise UserError("this request is no JSON") from error
    if not isinstance(found, dict):
        raise UserError("this request is no JSON object")
    return found


def numbers(asked: dict[str, Any]) -> list[int]:
    return list(dict.fromkeys(int(number) for number in asked["ids"]))


def words(asked: dict[str, Any], key: str) -> list[str]:
    return [" ".join(str(word).split()) for word in asked.get(key, ())]


def edits(asked: dict[str, Any]) -> tag_edits.Edits:
    typed = {key: words(asked, key) for key in ("add", "add_first", "remove", "replace")}
    return tag_edits.edits(**typed, others={"dedupe": asked.get("dedupe"), "sort": asked.get("sort")})


def rectangle(asked: dict[str, Any]) -> Rectangle:
    left, top, width, height = (int(number) for number in asked["box"])
    if asked["kind"] not in review_api.KINDS:
        raise UserError(f'"{asked["kind"]}" cannot be drawn', allowed=", ".join(review_api.KINDS))
    return Rectangle(int(asked["id"]), asked["kind"], (left, top, width, height), str(asked["stamp"]), str(asked.get("fill") or "edge"))


def answered(question: Callable[[], Any], state: State | None = None) -> Any:
    """The answer, or what is wrong as JSON: with a picture that changed meanwhile also how it is now."""
    try:
        found = question()
    except (LorabakeError, OSError) as error:
        known = error if isinstance(error, LorabakeError) else errors.translate(error)
        if known is None:
            raise
        told: dict[str, Any] = {"error": known.what, "where": known.where, "allowed": known.allowed, "todo": known.todo}
        if state and isinstance(known, Stale | Gone):
            told |= state.since(int(body_again().get("since", -1)))
        return bottle.HTTPResponse(
            json.dumps(told), STATUS.get(type(known), 400), {"Content-Type": "application/json", "Cache-Control": "no-store"}
        )
    bottle.response.set_header("Cache-Control", "no-store")
    return found


def body_again() -> dict[str, Any]:
    bottle.request.body.seek(0)
    return body()

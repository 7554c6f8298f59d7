"""A reviewing page on a small dataset, served by a thread, and a client that may break every rule."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from lorabake import review

COLOURS = {"a": (200, 30, 30), "b": (30, 160, 30), "c": (30, 30, 200), "d": (240, 240, 240)}
CAPTIONS = {"a": "1girl, solo, red eyes", "b": "1girl, smile", "c": "1boy, solo", "d": None}


def dataset(folder: Path) -> Path:
    """Four pictures of 64x48, three of them with captions; d lies in a folder inside."""
    for name, colour in COLOURS.items():
        place = folder / "5_more" if name == "d" else folder
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), colour).save(place / f"{name}.png")
        if caption := CAPTIONS[name]:
            (place / f"{name}.txt").write_text(f"{caption}\n", encoding="utf-8")
    return folder


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    data: bytes
    json: Any = field(default=None)


@dataclass
class Page:
    """`ask` speaks to the server as the page does, unless `headers` or `path` say otherwise."""

    folder: Path
    address: str

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    @property
    def token(self) -> str:
        return urlsplit(self.address).path.strip("/")

    def ask(
        self, place: str, body: Any = None, *, path: str | None = None, headers: dict[str, str] | None = None, method: str = ""
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        method = method or ("GET" if body is None else "POST")
        sent = {"Host": self.host, **({} if method == "GET" else {"Origin": f"http://{self.host}"}), **(headers or {})}
        connection.putrequest(method, path or f"/{self.token}/{place}", skip_host=True, skip_accept_encoding=True)
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        for name, value in {**sent, "Content-Length": str(len(data))}.items():
            if value:
                connection.putheader(name, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        found = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        connection.close()
        if "json" in found.headers.get("content-type", ""):
            found.json = json.loads(found.data)
        return found

    def items(self) -> dict[str, dict[str, Any]]:
        """All pictures by their names without folder and ending."""
        return {Path(item["name"]).stem: item for item in self.ask("api/start").json["items"]}

    def id(self, name: str) -> int:
        found: int = self.items()[name]["id"]
        return found

    def text(self, name: str) -> str:
        return next(self.folder.rglob(f"{name}.txt")).read_text(encoding="utf-8")


@contextmanager
def served(folder: Path, **options: Any) -> Iterator[Page]:
    server, address = review.start(folder, **options)
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            server.asyncore.loop(timeout=0.05, map=server._map, count=1)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield Page(folder, address)
    finally:
        over.set()
        thread.join(10)
        server.close()
        server.task_dispatcher.shutdown()

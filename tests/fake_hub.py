"""A model hub on this machine: answers what huggingface_hub asks when it downloads files, and can stall or send what is damaged."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

COMMIT = "c0ffee" * 6 + "c0de"


@dataclass
class Hub:
    """`files`: "owner/name/file" -> content. behind `stall_at` bytes an answer waits for `go_on`; `num_lies` answers are damaged."""

    files: dict[str, bytes]
    commit: str = COMMIT
    stall_at: int | None = None
    go_on: threading.Event = field(default_factory=threading.Event)
    num_lies: int = 0
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, file, its Range
    address: str = ""

    def num_sent(self, name: str) -> int:
        return sum(method == "GET" and file.endswith(name) for method, file, _ in self.asked)


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self._answer("HEAD")

        def do_GET(self):
            self._answer("GET")

        def _answer(self, method):
            parts = self.path.lstrip("/").split("?")[0].split("/")
            owner, name, _, revision, *rest = parts if len(parts) > 4 else ["", "", "", "", *parts]
            key = "/".join([owner, name, *rest])
            hub.asked.append((method, key, self.headers["Range"]))
            data = hub.files.get(key)
            if data is None or revision not in ("main", hub.commit):
                known = any(file.startswith(f"{owner}/{name}/") for file in hub.files)
                self._head(404, {"X-Error-Code": "EntryNotFound" if known else "RepoNotFound", "Content-Length": "0"})
                return
            large = key.endswith(".onnx")
            etag = hashlib.sha256(data).hexdigest() if large else hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
            first = int(self.headers["Range"].removeprefix("bytes=").partition("-")[0]) if self.headers["Range"] else 0
            part = data[first:]
            facts = {"ETag": f'"{etag}"', "X-Repo-Commit": hub.commit, "Content-Length": str(len(part)), "Accept-Ranges": "bytes"}
            if large:
                facts |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data))}
            if first:
                facts["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            self._head(206 if first else 200, facts)
            if method == "GET":
                self._send(part, large)

        def _send(self, part, large):
            if large and hub.num_lies:
                hub.num_lies -= 1
                part = bytes([part[0] ^ 1]) + part[1:]
            if large and hub.stall_at is not None:
                self.wfile.write(part[: hub.stall_at])
                self.wfile.flush()
                hub.go_on.wait(60)
                self.close_connection = True
                return
            self.wfile.write(part)

        def _head(self, code, facts):
            self.send_response(code)
            for name, value in facts.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        yield hub
        hub.go_on.set()
        server.shutdown()

"""A server on the loopback that stands in for a publisher of weights."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sammil_cli.storage.weights import WeightFile

CONTENT = bytes(range(256)) * 20_000  # 5 MB: several blocks


@dataclass
class Publisher:
    """What the server sends and what it was asked."""

    content: bytes = CONTENT
    knows_ranges: bool = True
    status: int = 200
    cut_after: int | None = None  # closes the connection after so many bytes
    url: str = ""
    asked: list[str | None] = field(default_factory=list)

    def pinned(self) -> WeightFile:
        sha256 = hashlib.sha256(CONTENT).hexdigest()
        return WeightFile(
            word="vit_x",
            used_by="sam_model: vit_x",
            file_name="w.pth",
            url=self.url,
            sha256=sha256,
            megabytes=5.12,
            licence="Apache-2.0",
            page="https://example.org/about",
        )


@contextmanager
def serving() -> Iterator[Publisher]:
    """A publisher that answers."""
    facts = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            facts.asked.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and facts.knows_ranges else 0
            if facts.status != 200 or (start and start >= len(facts.content)):
                self.send_response(facts.status if facts.status != 200 else 416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = facts.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(facts.content) - 1}/{len(facts.content)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: facts.cut_after])
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        facts.url = f"http://127.0.0.1:{server.server_address[1]}/w.pth"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield facts
        server.shutdown()
        thread.join()

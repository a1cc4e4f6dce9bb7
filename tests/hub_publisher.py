"""Servers on the loopback that play the Hugging Face hub, and the host that its files really come from."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from weight_publisher import CONTENT

from sammil_cli.storage.weights import HubFile, WeightFile

REPO, REVISION, FILE = "Lab/uni-x", "0123456789abcdef0123456789abcdef01234567", "pytorch_model.bin"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
RIGHT = "hf_right"
HUB = HubFile(repo=REPO, revision=REVISION, file=FILE)


def pinned(**other: object) -> WeightFile:
    """The gated file of the hub, whose size is not known."""
    facts: dict[str, object] = {
        "word": "uni_x",
        "used_by": "encoder: uni_x",
        "file_name": "uni_x-01234567.bin",
        "url": HUB.url,
        "sha256": SHA256,
        "megabytes": None,
        "licence": "CC-BY-NC-ND-4.0",
        "commercial": False,
        "page": HUB.page,
        "hub": HUB,
        "gated": True,
    }
    return WeightFile(**(facts | other))  # type: ignore[arg-type]


@dataclass
class Hub:
    """What the hub answers, and what it and the host of its files were asked: (method, path, headers)."""

    content: bytes = CONTENT
    gated: bool = True
    refuses: tuple[int, str, str] | None = None  # status, X-Error-Code, X-Error-Message
    etag: str | None = None
    elsewhere: bool = True  # the bytes are on another host, as large files are
    says_size: bool = True
    cut_after: int | None = None
    url: str = ""
    files_url: str = ""
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def refusal(self, authorization: str | None) -> tuple[int, str, str] | None:
        """As the hub refuses, by its documentation and its library's reading of it."""
        if self.refuses:
            return self.refuses
        if authorization not in (None, f"Bearer {RIGHT}", "Bearer hf_other"):
            return 401, "", "Invalid credentials in Authorization header"
        if self.gated and authorization is None:
            return (
                401,
                "GatedRepo",
                "Access to model Lab/uni-x is restricted. You must have access and be authenticated",
            )
        if self.gated and authorization != f"Bearer {RIGHT}":
            return 403, "GatedRepo", "Access to model Lab/uni-x is restricted and you are not in the authorized list"
        return None

    def ranges(self) -> list[str | None]:
        """The Range of each GET."""
        return [headers.get("range") for method, _, headers in self.asked if method == "GET"]


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """A hub that answers."""
    facts = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            self.close_connection = True
            headers = {name.lower(): value for name, value in self.headers.items()}
            facts.asked.append((self.command, self.path, headers))
            of_hub = self.path == f"/{REPO}/resolve/{REVISION}/{FILE}"
            if of_hub and (no := facts.refusal(headers.get("authorization"))):
                self.head(no[0], **{"X-Error-Code": no[1], "X-Error-Message": no[2], "Content-Length": "0"})
            elif of_hub and self.command == "HEAD":
                etag = facts.etag or hashlib.sha256(facts.content).hexdigest()
                size = str(len(facts.content))
                about = {"X-Repo-Commit": REVISION, "ETag": f'"{etag}"'}
                if facts.elsewhere:
                    said = {"X-Linked-Size": size} if facts.says_size else {}
                    linked = {"X-Linked-Etag": f'"{etag}"', "Location": f"{facts.files_url}/signed?key=1"}
                    self.head(302, **about, **linked, **said, **{"Content-Length": "0"})
                else:
                    self.head(200, **about, **{"Content-Length": size})
            elif of_hub or self.path == "/signed?key=1":
                self.bytes(int(headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-")))
            else:
                self.head(404, **{"X-Error-Code": "RepoNotFound", "Content-Length": "0"})

        def head(self, status: int, **lines: str) -> None:
            self.send_response(status)
            for name, value in lines.items():
                self.send_header(name, value)
            self.end_headers()

        def bytes(self, start: int) -> None:
            size = len(facts.content)
            if start >= size:
                self.head(416, **{"Content-Length": "0"})
                return
            part = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
            self.head(206 if start else 200, **part, **{"Content-Length": str(size - start)})
            with suppress(BrokenPipeError, ConnectionResetError):  # the client has gone, as it should
                self.wfile.write(facts.content[start:][: facts.cut_after])

        def log_message(self, *_: object) -> None:
            pass

    with ExitStack() as stack:
        urls = []
        for _ in range(2):
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            urls.append(f"http://127.0.0.1:{server.server_address[1]}")
        facts.url, facts.files_url = urls
        yield facts


def point_to(url: str, monkeypatch: pytest.MonkeyPatch, token: str | None = None) -> None:
    """Makes this process ask the hub at `url`, with this token or none, whatever the user's login is.

    As HF_ENDPOINT and HF_TOKEN do for a new process: huggingface_hub reads the first where it is imported.
    """
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nonexistent/token")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)

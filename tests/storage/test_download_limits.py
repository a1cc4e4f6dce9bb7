"""A server of weights that is broken or hostile costs neither the disk, nor the evening, nor a traceback."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from weight_publisher import CONTENT, Publisher

from sammil_cli.errors import MissingError
from sammil_cli.storage import web_file
from sammil_cli.storage.hub import Address
from sammil_cli.storage.weight_download import download

Answer = Callable[[BaseHTTPRequestHandler], None]
MOST = 6_120_000  # 5.12 MB, and one more for the rounding


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """A server that does what `answer` does; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.close_connection = True
            with suppress(BrokenPipeError, ConnectionResetError):  # the client has gone, as it should
                answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}/w.pth"
        finally:
            running.shutdown()
            thread.join()


def headers(handler: BaseHTTPRequestHandler, status: int = 200, **lines: object) -> None:
    handler.send_response(status)
    for name, value in lines.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()


def fetched(answer: Answer) -> Path:
    with server(answer) as url:
        return download(Publisher(url=url).pinned())


def refused(answer: Answer) -> MissingError:
    with server(answer) as url, pytest.raises(MissingError) as caught:
        download(Publisher(url=url).pinned())
    return caught.value


def left(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


# ------------------------------------------------------------------------------------------------ no more than the file


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_without_an_end_is_stopped_at_the_size_of_the_file(weights: Path, chunked: bool) -> None:
    sent = []

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        headers(handler, **({"Transfer_Encoding": "chunked"} if chunked else {"Connection": "close"}))
        block = bytes(1 << 16)
        for _ in range(2000):  # 131 MB
            handler.wfile.write(b"10000\r\n" + block + b"\r\n" if chunked else block)
            sent.append(len(block))

    error = refused(endless)
    assert f"sends more than the {MOST:,} bytes" in error.message
    assert sum(sent) < 60_000_000  # the rest is what sockets hold
    assert left(weights) == {}  # it was no part of the file


def test_a_size_that_cannot_be_is_refused_before_anything_is_written(weights: Path) -> None:
    error = refused(lambda handler: headers(handler, Content_Length=10**15))
    assert "announces 1,000,000,000,000,000 bytes" in error.message
    assert left(weights) == {}


@pytest.mark.parametrize("length", ["many", "-1", "1e6", "9" * 30, "", "\x00"])
def test_a_length_that_is_no_number_is_passed_over(weights: Path, length: str) -> None:
    def whole(handler: BaseHTTPRequestHandler) -> None:
        headers(handler, Content_Length=length)
        handler.wfile.write(CONTENT)

    assert fetched(whole).read_bytes() == CONTENT


def test_without_a_length_a_cut_body_is_told_from_a_wrong_one(weights: Path) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        headers(handler)
        handler.wfile.write(CONTENT[:2_000_000])

    error = refused(cut)
    assert "closed after 2000000 of about 5.1 MB" in error.message
    assert "go on from 2000000 bytes" in error.remedy
    assert left(weights) == {"w.pth.part": 2_000_000}


def test_a_part_that_is_longer_than_the_file_is_begun_anew(weights: Path) -> None:
    (weights / "w.pth.part").write_bytes(bytes(MOST + 1))
    asked = []

    def whole(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers.get("Range"))
        headers(handler, Content_Length=len(CONTENT))
        handler.wfile.write(CONTENT)

    assert fetched(whole).read_bytes() == CONTENT
    assert asked == [None]


# ------------------------------------------------------------------------------------------------ not for ever


@pytest.mark.alone
@pytest.mark.parametrize("where", ["body", "headers", "chunks"])
def test_a_trickle_ends_with_a_reason_and_goes_on_next_time(
    weights: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(web_file, "PATIENCE_SECONDS", 0.5)
    ended = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        if where == "headers":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        elif where == "chunks":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        else:
            headers(handler, Content_Length=len(CONTENT))
        while not ended.wait(0.05):
            handler.wfile.write(b"1\r\n0\r\n" if where == "chunks" else b"0")

    start = time.monotonic()
    try:
        error = refused(trickle)
    finally:
        ended.set()
    assert time.monotonic() - start < 5
    assert "the server is too slow: 0." in error.message
    assert ("go on from" in error.remedy) == (where != "headers")
    assert list(left(weights)) == ([] if where == "headers" else ["w.pth.part"])


@pytest.mark.alone
def test_a_slow_line_is_waited_for(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_file, "PATIENCE_SECONDS", 0.2)

    def slow(handler: BaseHTTPRequestHandler) -> None:
        headers(handler, Content_Length=len(CONTENT))
        for start in range(0, len(CONTENT), 500_000):
            time.sleep(0.06)
            handler.wfile.write(CONTENT[start : start + 500_000])

    assert fetched(slow).read_bytes() == CONTENT


def test_the_limits_are_those_of_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs/weights.md").read_text(encoding="utf-8")
    assert f"{web_file.SLOWEST_BYTES_PER_SECOND // 1000} kB/s" in text
    assert web_file.PATIENCE_SECONDS == web_file.SILENCE_SECONDS == 60


# ------------------------------------------------------------------------------------------------ nowhere else


@pytest.mark.parametrize(
    "target",
    [
        *("http://example.org/w.pth", "ftp://127.0.0.1/w.pth", "file:///etc/passwd", "data:text/plain,x"),
        *("gopher://127.0.0.1/", "http://127.0.0.1:1@example.org/w.pth", "https://[::1", "http://"),
    ],
)
def test_a_redirect_to_what_is_no_https_address_is_refused(weights: Path, target: str) -> None:
    error = refused(lambda handler: headers(handler, 302, Location=target))
    assert "cannot be fetched: " in error.message
    assert left(weights) == {}


def test_a_redirect_from_https_to_this_machine_is_refused() -> None:
    inside = "http://127.0.0.1:8080/admin"
    assert web_file.is_safe(inside)
    assert web_file.is_safe(inside, asked_by="http://localhost/w.pth")
    assert not web_file.is_safe(inside, asked_by="https://example.org/w.pth")
    assert web_file.is_safe("https://cdn.example.org/w.pth", asked_by="https://example.org/w.pth")


def test_a_redirect_that_is_safe_is_followed(weights: Path) -> None:
    def away(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/w.pth":
            headers(handler, 302, Location="/elsewhere")
        else:
            headers(handler, Content_Length=len(CONTENT))
            handler.wfile.write(CONTENT)

    assert fetched(away).read_bytes() == CONTENT


def test_the_body_of_a_redirect_is_not_read(weights: Path) -> None:
    sent = []

    def away(handler: BaseHTTPRequestHandler) -> None:
        if handler.path != "/w.pth":
            headers(handler, Content_Length=len(CONTENT))
            handler.wfile.write(CONTENT)
            return
        headers(handler, 302, Location="/elsewhere")
        for _ in range(2000):  # 131 MB
            handler.wfile.write(bytes(1 << 16))
            sent.append(1 << 16)

    assert fetched(away).read_bytes() == CONTENT
    assert sum(sent) < 60_000_000  # the rest is what sockets hold


def test_a_circle_of_redirects_ends(weights: Path) -> None:
    assert "302" in refused(lambda handler: headers(handler, 302, Location="/w.pth")).message


# ------------------------------------------------------------------------------------------------ the part asked for


@pytest.mark.parametrize(
    "line",
    [None, "bytes 0-5119999/5120000", "bytes 1001-5119999/5120000", "bytes a-b/c", "items 1000-2/3", "bytes */5120000"],
)
def test_a_part_that_was_not_asked_for_is_not_appended(weights: Path, line: str | None) -> None:
    (weights / "w.pth.part").write_bytes(CONTENT[:1000])

    def other(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Range") is None:
            headers(handler, Content_Length=len(CONTENT))
            handler.wfile.write(CONTENT)
            return
        lines = {} if line is None else {"Content_Range": line}
        headers(handler, 206, Content_Length=len(CONTENT) - 1000, **lines)
        handler.wfile.write(CONTENT[1000:])

    assert "sends another part of the file" in refused(other).message
    assert left(weights) == {}
    assert fetched(other).read_bytes() == CONTENT  # from its beginning


def test_a_part_that_nobody_asked_for_is_refused(weights: Path) -> None:
    def part(handler: BaseHTTPRequestHandler) -> None:
        headers(handler, 206, Content_Length=10, Content_Range="bytes 500-509/5120000")
        handler.wfile.write(CONTENT[500:510])

    assert "sends another part of the file" in refused(part).message
    assert left(weights) == {}


@pytest.mark.parametrize("text", [b"", b"\x00\xff\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"SSH-2.0-x\r\n"])
def test_what_is_no_http_is_told(weights: Path, text: bytes) -> None:
    error = refused(lambda handler: handler.wfile.write(text) and None)
    assert "cannot be fetched: " in error.message
    assert left(weights) == {}


def test_a_full_disk_is_no_fault_of_the_server(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing fails with the system's own error, which the command line puts into words."""
    import errno
    import io

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def whole(handler: BaseHTTPRequestHandler) -> None:
        headers(handler, Content_Length=len(CONTENT))
        handler.wfile.write(CONTENT)

    class Disk(io.BytesIO):
        write = full  # type: ignore[assignment]

    from sammil_cli.storage import weight_download

    with server(whole) as url, pytest.raises(OSError, match="No space left"):
        weight_download._receive(Publisher(url=url).pinned(), Address(url=url), Disk(), weights / "w.pth", None)

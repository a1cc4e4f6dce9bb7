"""Weights are found, verified, and fetched with resume; a server on the loopback stands in for the publisher."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sammil_cli.errors import MissingError
from sammil_cli.storage.weights import WeightFile, download, find_weights, weight_folders

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
        return WeightFile(file_name="w.pth", url=self.url, sha256=sha256, licence="Apache-2.0")


@pytest.fixture
def publisher() -> Iterator[Publisher]:
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


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_the_named_folder_comes_before_the_cache(weights: Path, tmp_path: Path) -> None:
    assert weight_folders() == [weights, tmp_path / "cache" / "sammil" / "weights"]


def test_weights_in_the_cache_are_found_where_the_named_folder_has_none(weights: Path, tmp_path: Path) -> None:
    cached = tmp_path / "cache" / "sammil" / "weights" / "w.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT)
    assert find_weights(Publisher().pinned(), None) == cached


def test_missing_weights_name_the_places_the_address_the_variable_and_the_licence(weights: Path) -> None:
    with pytest.raises(MissingError) as caught:
        find_weights(Publisher(url="https://example.org/w.pth").pinned(), None)
    assert caught.value.exit_code == 3
    assert str(weights / "w.pth") in caught.value.message
    for part in ("SAMMIL_WEIGHTS", "https://example.org/w.pth", "--download", "Apache-2.0"):
        assert part in caught.value.remedy


def test_a_file_that_was_named_is_not_replaced_by_one_that_happens_to_be_there(weights: Path, tmp_path: Path) -> None:
    weights.mkdir()
    (weights / "w.pth").write_bytes(CONTENT)
    with pytest.raises(MissingError, match=r"mine\.pth"):
        find_weights(Publisher().pinned(), tmp_path / "mine.pth")


def test_a_file_of_other_content_is_refused_with_both_digests(weights: Path) -> None:
    weights.mkdir()
    (weights / "w.pth").write_bytes(b"cut off")
    with pytest.raises(MissingError, match=hashlib.sha256(b"cut off").hexdigest()) as caught:
        find_weights(Publisher().pinned(), None)
    assert hashlib.sha256(CONTENT).hexdigest() in caught.value.message
    assert "fetch it again" in caught.value.remedy


def test_a_download_is_whole_verified_and_tells_its_progress(weights: Path, publisher: Publisher) -> None:
    told: list[tuple[int, int]] = []
    path = download(publisher.pinned(), lambda done, total: told.append((done, total)))
    assert path == weights / "w.pth"
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert publisher.asked == [None]
    assert [file.name for file in weights.iterdir()] == ["w.pth"]


def test_what_is_already_there_is_not_fetched_again(weights: Path, publisher: Publisher) -> None:
    download(publisher.pinned())
    download(publisher.pinned())
    assert len(publisher.asked) == 1


def test_a_download_goes_on_where_it_stopped(weights: Path, publisher: Publisher) -> None:
    weights.mkdir()
    (weights / "w.pth.part").write_bytes(CONTENT[:123_456])
    told: list[tuple[int, int]] = []
    path = download(publisher.pinned(), lambda done, total: told.append((done, total)))
    assert publisher.asked == ["bytes=123456-"]
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_a_server_that_knows_no_ranges_starts_from_the_beginning(weights: Path, publisher: Publisher) -> None:
    publisher.knows_ranges = False
    weights.mkdir()
    (weights / "w.pth.part").write_bytes(b"x" * 99)
    assert download(publisher.pinned()).read_bytes() == CONTENT


def test_a_part_that_is_already_whole_becomes_the_file(weights: Path, publisher: Publisher) -> None:
    weights.mkdir()
    (weights / "w.pth.part").write_bytes(CONTENT)
    assert download(publisher.pinned()).read_bytes() == CONTENT
    assert not (weights / "w.pth.part").exists()


def test_a_cut_connection_keeps_what_came_and_the_next_attempt_goes_on(weights: Path, publisher: Publisher) -> None:
    publisher.cut_after = 2_000_000
    with pytest.raises(MissingError) as caught:
        download(publisher.pinned())
    assert "run again to go on from 2000000 bytes" in caught.value.remedy
    assert (weights / "w.pth.part").stat().st_size == 2_000_000
    publisher.cut_after = None
    assert download(publisher.pinned()).read_bytes() == CONTENT
    assert publisher.asked == [None, "bytes=2000000-"]


def test_other_content_is_refused_and_deleted(weights: Path, publisher: Publisher) -> None:
    publisher.content = b"<html>please log in</html>"
    with pytest.raises(MissingError, match="is not the published file"):
        download(publisher.pinned())
    assert list(weights.iterdir()) == []


def test_an_error_of_the_server_is_told(weights: Path, publisher: Publisher) -> None:
    publisher.status = 404
    with pytest.raises(MissingError, match="404"):
        download(publisher.pinned())


def test_a_server_that_does_not_answer_is_told(weights: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/w.pth"
    with pytest.raises(MissingError, match="cannot be fetched"):
        download(Publisher(url=url).pinned())


@pytest.mark.parametrize(
    "url", ["http://example.org/w.pth", "file:///etc/passwd", "ftp://a/b", "http://127.0.0.1.example.org/w.pth"]
)
def test_addresses_that_are_not_https_are_not_opened(weights: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(MissingError, match="no https address"):
        download(Publisher(url=url).pinned())

"""Weights are found, verified, and fetched with resume; a server on the loopback stands in for the publisher."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from weight_publisher import CONTENT, Publisher, serving

from sammil_cli.errors import MissingError
from sammil_cli.storage.weight_download import download
from sammil_cli.storage.weights import WantedWeights, find_weights, weight_folders


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with serving() as facts:
        yield facts


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
    assert find_weights(Publisher().pinned()) == cached


def test_missing_weights_are_described_with_every_way_to_get_them(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError) as caught:
        find_weights(Publisher(url="https://example.org/w.pth").pinned())
    assert caught.value.exit_code == 3
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    places = (f"{weights / 'w.pth'} (SAMMIL_WEIGHTS)", f"{tmp_path / 'cache/sammil/weights/w.pth'} (the cache)")
    for part in (*places, "sam_model: vit_x", "5.1 MB", sha256, "Apache-2.0", "https://example.org/about"):
        assert part in caught.value.message
    ways = ("sammil weights fetch vit_x", "--download", "https://example.org/w.pth", "export vit_x weights.tar")
    for part in (*ways, "fetch --from weights.tar", "docker run -v /my/weights:/weights …"):
        assert part in caught.value.remedy
    assert len((caught.value.message + caught.value.remedy).splitlines()) < 20  # one screen


def test_several_folders_may_be_named_and_the_first_right_file_is_taken(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    monkeypatch.setenv("SAMMIL_WEIGHTS", f"{weights}{os.pathsep}{other}")
    assert weight_folders() == [weights, other, tmp_path / "cache" / "sammil" / "weights"]
    for folder, content in ((weights, b"cut off"), (other, CONTENT)):
        folder.mkdir()
        (folder / "w.pth").write_bytes(content)
    assert find_weights(Publisher().pinned()) == other / "w.pth"


def test_a_file_of_other_content_is_refused_with_both_digests(weights: Path) -> None:
    weights.mkdir()
    (weights / "w.pth").write_bytes(b"cut off")
    with pytest.raises(MissingError, match=hashlib.sha256(b"cut off").hexdigest()) as caught:
        find_weights(Publisher().pinned())
    assert hashlib.sha256(CONTENT).hexdigest() in caught.value.message
    assert "0.0 of 5.1 MB" in caught.value.message
    assert caught.value.remedy == "fetch it again: sammil weights fetch vit_x"


def test_a_damaged_file_is_replaced_by_a_fetch(weights: Path, publisher: Publisher) -> None:
    weights.mkdir()
    (weights / "w.pth").write_bytes(b"cut off")
    assert download(publisher.pinned()) == weights / "w.pth"
    assert find_weights(publisher.pinned()) == weights / "w.pth"


def own(path: Path, sha256: str) -> tuple[Path, str]:
    return WantedWeights(published=None, key="sam_checkpoint", own=path, own_sha256=sha256).find()


def test_a_file_of_ones_own_is_taken_when_it_is_the_pinned_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    with pytest.raises(MissingError, match=r"mine\.pth does not exist"):
        own(path, "0" * 64)
    path.write_bytes(b"mine")
    sha256 = hashlib.sha256(b"mine").hexdigest()
    assert own(path, sha256) == (path, sha256)
    with pytest.raises(MissingError, match="is not the pinned file") as caught:
        own(path, "0" * 64)
    assert f"set sam_checkpoint_sha256: {sha256}" in caught.value.remedy


def test_a_folder_of_files_and_what_lies_beside_have_one_sum(tmp_path: Path) -> None:
    for name in ("a.pth", "b.pth", "other.pth"):
        (tmp_path / name).write_bytes(name.encode())
    a, b, other = (hashlib.sha256(name.encode()).hexdigest() for name in ("a.pth", "b.pth", "other.pth"))
    folder = WantedWeights(published=None, key="both", own=tmp_path, parts=("a.pth", "b.pth"))
    both = hashlib.sha256(f"{a}{b}".encode()).hexdigest()
    assert folder.find() == (tmp_path, both)
    alone = replace(folder, own=tmp_path / "a.pth")
    assert alone.find() == (tmp_path / "a.pth", a)
    assert alone.identify() == a
    first = WantedWeights(published=None, key="first", own=tmp_path / "other.pth", beside=folder)
    assert first.files() == [(tmp_path / "other.pth", other), (tmp_path, both)]
    assert first.identify() == hashlib.sha256(f"{other}{both}".encode()).hexdigest()
    (tmp_path / "b.pth").unlink()
    with pytest.raises(MissingError, match=r"b\.pth does not exist") as caught:
        first.identify()
    assert caught.value.remedy == "correct both"


def test_what_cannot_be_written_is_left_alone_and_the_cache_is_used(
    weights: Path, tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.mkdir()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != weights and real(path, mode))  # a :ro mount
    assert download(publisher.pinned()) == tmp_path / "cache" / "sammil" / "weights" / "w.pth"
    assert list(weights.iterdir()) == []
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert download(publisher.pinned()).parent.name == "weights"  # it is here: nothing has to be written
    (tmp_path / "cache" / "sammil" / "weights" / "w.pth").unlink()
    with pytest.raises(MissingError, match="no folder for weights can be written") as caught:
        download(publisher.pinned())
    assert caught.value.remedy == "set SAMMIL_WEIGHTS to one that can"


def test_a_file_where_the_folder_should_be_is_passed_over(weights: Path, tmp_path: Path, publisher: Publisher) -> None:
    weights.write_text("a file")
    assert download(publisher.pinned()) == tmp_path / "cache" / "sammil" / "weights" / "w.pth"


def test_a_disk_that_is_full_is_told_before_anything_is_fetched(weights: Path, publisher: Publisher) -> None:
    with pytest.raises(MissingError, match=r"has room for .* 1,000,000,000,000 MB are to come"):
        download(replace(publisher.pinned(), megabytes=1e12))
    assert publisher.asked == []


def test_two_processes_do_not_fetch_into_one_file(weights: Path, publisher: Publisher) -> None:
    weights.mkdir()
    with (weights / "w.pth.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(MissingError, match="another process is fetching"):
            download(publisher.pinned())
    assert publisher.asked == []
    assert download(publisher.pinned()).read_bytes() == CONTENT


@pytest.mark.parametrize("deed", ["named", "removed"])
def test_a_part_that_another_process_ended_in_the_meantime_is_left_alone(
    weights: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    weights.mkdir()
    part, target = weights / "w.pth.part", weights / "w.pth"
    part.write_bytes(CONTENT)

    def end(*_: object) -> None:  # between our opening of the part file and our lock on it
        part.replace(target) if deed == "named" else part.unlink()

    monkeypatch.setattr(fcntl, "flock", end)
    publisher.knows_ranges = False  # it would send everything again, into what is by now the other one's file
    with pytest.raises(MissingError, match="another process is fetching"):
        download(publisher.pinned())
    assert publisher.asked == []
    assert {path.name: path.read_bytes() for path in weights.iterdir()} == (
        {"w.pth": CONTENT} if deed == "named" else {}
    )


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
    assert "run it again to go on from 2000000 bytes" in caught.value.remedy
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
    assert list(weights.iterdir()) == []


def test_a_server_that_does_not_answer_is_told(weights: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/w.pth"
    with pytest.raises(MissingError, match=r"cannot be fetched: .*refused") as caught:
        download(Publisher(url=url).pinned())
    assert "sammil weights fetch --from weights.tar" in caught.value.remedy
    assert list(weights.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/w.pth", "file:///etc/passwd", "ftp://a/b", "http://127.0.0.1.example.org/w.pth"),
        *("http://127.0.0.1:80@example.org/w.pth", "https:///w.pth", "https://[::1", "//example.org/w.pth", ""),
    ],
)
def test_addresses_that_are_not_https_are_not_opened(weights: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setattr("urllib.request.OpenerDirector.open", refuse)
    with pytest.raises(MissingError, match="no https address"):
        download(Publisher(url=url).pinned())

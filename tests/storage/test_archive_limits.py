"""What `weights fetch --from` is given may be anybody's: sizes, links, names with paths, bombs."""

import bz2
import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from weight_publisher import CONTENT, Publisher

from sammil_cli.errors import InputError, MissingError
from sammil_cli.storage import weight_archive
from sammil_cli.storage.weight_archive import take

PINNED = Publisher(url="https://example.org/model.bin").pinned()


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for entry, content in members:
            tar.addfile(entry, io.BytesIO(content))
    return path


def member(name: str, content: bytes, kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.linkname = len(content), kind, link
    return entry, content


def test_a_member_that_is_larger_than_the_file_is_refused_unread(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_archive, "check_space", lambda *_: pytest.fail("room was looked for"))
    source = tar_of(tmp_path / "large.tar", member("w.pth", CONTENT + bytes(2_000_000)))
    with pytest.raises(
        MissingError, match=r"w\.pth in .*large\.tar is not the published file: 7\.1 MB instead of 5\.1"
    ):
        take(source, [PINNED])
    assert list(weights.iterdir()) == []


def test_a_sparse_file_that_claims_terabytes_is_refused_unread(weights: Path, tmp_path: Path) -> None:
    for name in ("w.pth", "model.bin"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        with (folder / name).open("wb") as file:
            file.truncate(1 << 40)
    with pytest.raises(MissingError, match=r"1,099,511\.6 MB instead of 5\.1 MB"):
        take(tmp_path / "w", [PINNED])
    assert take(tmp_path / "model", [PINNED]) == {}  # a publisher's name is not his alone
    assert list(weights.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "link"),
    [(tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "../secret"), (tarfile.FIFOTYPE, ""), (tarfile.CHRTYPE, "")],
)
def test_only_files_count_in_a_tar_file(weights: Path, tmp_path: Path, kind: bytes, link: str) -> None:
    source = tar_of(tmp_path / "a.tar", member("w.pth", b"", kind, link), member("../../w.pth", CONTENT))
    assert take(source, [PINNED]) == {"vit_x": weights / "w.pth"}
    assert (weights / "w.pth").read_bytes() == CONTENT
    assert not (tmp_path.parent / "w.pth").exists()


def test_a_header_that_claims_gigabytes_is_refused_unread(weights: Path, tmp_path: Path) -> None:
    entry = tarfile.TarInfo("././@PaxHeader")
    entry.type, entry.size = tarfile.XHDTYPE, 7 << 30
    source = tmp_path / "bomb.tar.gz"
    ordinary = tar_of(tmp_path / "ordinary.tar", member("SHA256SUMS", b"x")).read_bytes()[:1024]
    source.write_bytes(gzip.compress(ordinary + entry.tobuf() + bytes(1 << 20)))
    with pytest.raises(MissingError, match=r"cut or damaged: a header claims 7,516,192,768 bytes"):
        take(source, [PINNED])


def test_a_member_that_unpacks_to_more_than_any_archive_is_refused_unread(weights: Path, tmp_path: Path) -> None:
    entry = tarfile.TarInfo("other.bin")
    entry.size = 1 << 42
    source = tmp_path / "bomb.tar.gz"
    source.write_bytes(gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    with pytest.raises(MissingError, match="cut or damaged: a member ends at byte 4,398,"):
        take(source, [PINNED])


def test_a_flood_of_members_does_not_fill_the_memory(weights: Path, tmp_path: Path) -> None:
    entry = tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT)
    source = tmp_path / "flood.tar.gz"
    source.write_bytes(gzip.compress(entry * (weight_archive._MOST_MEMBERS + 1) + bytes(1024)))
    with pytest.raises(MissingError, match=r"cut or damaged: it has more than 10,000 members"):
        take(source, [PINNED])


def test_a_chain_of_long_names_costs_no_traceback(weights: Path, tmp_path: Path) -> None:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2
    source = tmp_path / "chain.tar"
    source.write_bytes((entry.tobuf(tarfile.GNU_FORMAT) + b"x".ljust(512, b"\0")) * 5000 + bytes(1024))
    with pytest.raises(MissingError):
        take(source, [PINNED])


def test_another_compression_is_no_tar_file(weights: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.tar.bz2"
    source.write_bytes(bz2.compress(tar_of(tmp_path / "a.tar", member("w.pth", CONTENT)).read_bytes()))
    with pytest.raises(MissingError, match=r"is none of w\.pth: sha256"):
        take(source, [PINNED])


def test_what_is_no_file_is_not_read(weights: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for source in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(InputError, match=f"{source.name} is no file"):
            take(source, [PINNED])
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "w.pth")
    assert take(tmp_path / "folder", [PINNED]) == {}


@pytest.mark.parametrize("place", [100, 124, 136, 156, 257, 1024 + 600])
def test_a_damaged_tar_file_costs_no_traceback(weights: Path, tmp_path: Path, place: int) -> None:
    data = bytearray(tar_of(tmp_path / "a.tar", member("SHA256SUMS", b"x"), member("w.pth", CONTENT)).read_bytes())
    data[place : place + 8] = b"\xff\x80zz-9\x00\x01"
    (tmp_path / "b.tar").write_bytes(data)
    with pytest.raises(MissingError):
        take(tmp_path / "b.tar", [PINNED])
    assert list(weights.iterdir()) == []

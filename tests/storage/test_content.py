"""What a file is by its first bytes."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from sammil_cli.errors import InputError
from sammil_cli.storage.content import content_of
from sammil_cli.storage.files import read_csv
from sammil_cli.storage.hdf5 import read_hdf5

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 482113843\n"


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.svs", b"II*\0")
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.svs"))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "what", "fix"),
    [
        (LFS, "a Git LFS pointer (74 bytes) of a file of 482113843 bytes, not the file itself", "run: git lfs pull"),
        (b"/annex/objects/MD5E-s1--4d7a.svs\n", "a git-annex pointer, not the file itself", "git annex get"),
        (b"../../.git/annex/objects/zq/MD5E.svs", "a git-annex pointer, not the file itself", "git annex get"),
        (b"outs:\n- md5: 4d7a\n  path: a.svs\n", "a pointer of DVC, not the file itself", "dvc pull"),
        (
            b"\r\n <!DOCTYPE HTML PUBLIC>\n<TITLE> 404\nNot Found </TITLE>",
            "a web page with the title '404 Not Found'",
            "l",
        ),
        ("\ufeff<html><body>ü".encode(), "a web page", "download it again"),
        ("<!-- ü --><html>".encode("utf-16"), "a web page", "download it again"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "XML text that begins", "the file itself"),
        (b'{"message": "Not Found"}', 'JSON text that begins \'{"message": "Not Found"}\'', "download it again"),
        (zipped(), "a zip archive", "unpack it"),
        (tarred(), "a tar archive", "unpack it"),
        (gzip.compress(b"II*\0", mtime=0), "a gzip archive", "unpack it"),
        (b"%PDF-1.7\n\xe2\xe3", "a PDF document", "the file itself"),
        (b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file", "the file itself"),
        (bytes(5000), "zeros from its first byte on (5000 bytes)", "download it again"),
        (b" \n\t ", "blank (4 bytes)", "download it again"),
        (b"see the other disk", "text that begins 'see the other disk'", "the file itself"),
        (("ü" * 3000).encode(), "text that begins 'üüü", "the file itself"),
        (("a" + "ü" * 3000).encode(), "text that begins 'aüü", "the file itself"),  # cut within a letter
        (bytes(128) + b"DICM\x02\0", "a DICOM file", ".dcm"),
        (b"\xff\xd8\xff\xe0", "a JPEG picture", ".jpg"),
        (b"MM\0+", "a BigTIFF", ".tif"),
    ],
)
def test_a_file_is_known_by_its_first_bytes(tmp_path: Path, data: bytes, what: str, fix: str) -> None:
    (tmp_path / "a.svs").write_bytes(data)
    content = content_of(tmp_path / "a.svs")
    assert content is not None
    assert content.what.startswith(what)
    assert fix in content.fix


def test_nothing_is_said_of_bytes_of_no_known_kind(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "b").write_bytes(b"\0\1")
    assert [content_of(tmp_path / name) for name in ("a", "b", "absent")] == [None, None, None]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"slide_id;mpp\na;0,5\n", "the cells are separated by semicolons"),
        (b"slide_id\tmpp\na\t0.5\n", "the cells are separated by tabs"),
        (b"\xef\xbb\xbfslide_id|mpp\na|0.5\n", "the cells are separated by bars"),
        (
            b"sep=;\r\nslide_id;mpp\r\na;0,5\r\n",
            "the first line 'sep=;' is for Excel only, and the cells are separated by semic",
        ),
        (b"sep=,\nslide_id,mpp\na,0.5\n", "the first line 'sep=,' is for Excel only"),
        (
            b"slide_id,mpp\nb,0.5\na;0.5\n",
            "line 3: the cells are separated by semicolons, those of the header by commas",
        ),
        (b"slide_id,mpp\na\t0.5\n", "line 2: the cells are separated by tabs, those of the header by commas"),
        ("slide_id\tmpp\na\t0.5\n".encode("utf-16"), "is not UTF-8 text but UTF-16"),
        ("slide_id,mpp\na,0.5\n".encode("utf-16-be"), "is not UTF-8 text but UTF-16 or binary"),
        (zipped(), "is a spreadsheet, no text"),
        (LFS, "is no table but a Git LFS pointer"),
        (b"<html><title>Sign in</title>", "is no table but a web page with the title 'Sign in'"),
    ],
)
def test_a_table_of_another_kind_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_csv(tmp_path / "a.csv", ("slide_id",))
    assert message in caught.value.message


def test_semicolons_in_cells_are_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('slide_id,remarks,note;x\na,"pen: 3 %; grey",;\nb\n', encoding="utf-8")
    rows = read_csv(tmp_path / "a.csv", ("slide_id",))
    assert [list(row.values()) for row in rows] == [["a", "pen: 3 %; grey", ";"], ["b", "", ""]]


def test_a_pointer_in_the_place_of_a_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(LFS)
    with pytest.raises(InputError, match="is no HDF5 file but a Git LFS pointer") as caught:
        read_hdf5(tmp_path / "a.h5", "bag")
    assert caught.value.remedy == "run: git lfs pull"

"""Files are there whole or not at all; tables and JSON say what is wrong with them."""

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from sammil_cli.errors import InputError, MissingError
from sammil_cli.storage.files import (
    atomic_path,
    digest,
    provenance,
    read_csv,
    sha256_file,
    write_csv,
    write_json,
    write_text,
)


def write_half(path: Path) -> None:
    path.write_text("new, cut o")
    raise RuntimeError("half way")


def test_an_error_while_writing_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), atomic_path(path) as temporary:
        write_half(temporary)
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text() == "old"


def test_an_interrupt_while_writing_a_new_file_leaves_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "new.h5"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_at_the_path_before_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.json"
    with atomic_path(path) as temporary:
        temporary.write_text("content")
        assert not path.exists()
        assert temporary.suffix == ".json"  # OpenCV chooses the format by it
        assert temporary.name.startswith(".")  # nobody takes it for a result
    assert path.read_text() == "content"


def test_another_link_to_the_old_file_keeps_its_content(tmp_path: Path) -> None:
    # DVC may link outputs into its cache, which must never change.
    (tmp_path / "cache").write_text("old")
    (tmp_path / "out.csv").hardlink_to(tmp_path / "cache")
    write_text(tmp_path / "out.csv", "new")
    assert (tmp_path / "cache").read_text() == "old"
    assert (tmp_path / "out.csv").read_text() == "new"


def test_files_get_the_permissions_that_the_user_asks_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "a")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_json_keeps_the_order_of_keys_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": "µm"})
    assert path.read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "µm"\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"auc": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8"))["b"] == 1


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_csv(path, ("slide_id", "message"), [("s1", 'a, "b"'), ("s2", "two\nlines")])
    assert read_csv(path, ("message",)) == [
        {"slide_id": "s1", "message": 'a, "b"'},
        {"slide_id": "s2", "message": "two\nlines"},
    ]


def test_a_table_saved_by_excel_is_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xef\xbb\xbf slide_id , label\r\n s1 , tumour \r\ns2\r\n")
    assert read_csv(path, ("slide_id", "label")) == [
        {"slide_id": "s1", "label": "tumour"},
        {"slide_id": "s2", "label": ""},
    ]


def test_a_missing_column_is_named_with_the_line_to_write(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("slide,label\ns1,0\n")
    with pytest.raises(
        InputError, match=r"labels\.csv: the header 'slide,label' lacks the column 'slide_id'"
    ) as caught:
        read_csv(path, ("slide_id", "label"))
    assert caught.value.remedy == "make the first line: slide_id,label"


def test_an_empty_table_lacks_its_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    with pytest.raises(InputError, match="lacks the column 'slide_id'"):
        read_csv(tmp_path / "a.csv", ("slide_id",))


def test_a_table_that_is_not_there_or_no_text_is_refused_with_its_fix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist") as caught:
        read_csv(tmp_path / "none.csv", ("slide_id", "mpp"))
    assert caught.value.remedy == "write it, first line: slide_id,mpp"
    (tmp_path / "latin.csv").write_bytes("slide_id\nniño\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8") as caught:
        read_csv(tmp_path / "latin.csv", ("slide_id",))
    assert "CSV UTF-8" in caught.value.remedy


def test_a_table_that_cannot_be_opened_names_the_limit_and_not_its_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("slide_id\n")
    for number, error, words, fix in (
        (errno.EMFILE, MissingError, "no more files may be opened", "ulimit -n"),
        (errno.EACCES, InputError, "cannot be read: Permission denied", "permissions"),
    ):

        def refuse(path: Path, number: int = number) -> bytes:
            raise OSError(number, os.strerror(number), str(path))

        monkeypatch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(error, match=words) as caught:
            read_csv(tmp_path / "a.csv", ("slide_id",))
        assert fix in caught.value.remedy


def test_the_digest_of_a_value_does_not_depend_on_the_order_of_its_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1, "b": [1, 2]}) != digest({"a": 1, "b": [2, 1]})
    assert digest({"a": Path("x")}) == digest({"a": "x"})


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"slide" * 1000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"slide" * 1000).hexdigest()


def test_provenance_says_how_and_never_when() -> None:
    first, second = (provenance("patch", {"patch_px": 256}, {"numpy": "2.0"}) for _ in range(2))
    assert first == second
    assert first["tool"].startswith("sammil ")
    assert (first["schema"], first["stage"], first["key"]) == (1, "patch", {"patch_px": 256})
    assert first["libraries"] == {"numpy": "2.0"}

"""Reading pickles without running them."""

import builtins
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sammil_cli.errors import InputError
from sammil_cli.legacy.unpickler import UnsafePickleError, read_pickles


class Calls:
    """Asks the reader to call a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.what = (function, arguments)

    def __reduce__(self) -> Any:
        return self.what


def write(path: Path, *values: Any, protocol: int = 5) -> Path:
    path.write_bytes(b"".join(pickle.dumps(value, protocol=protocol) for value in values))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.int64).reshape(2, 3),
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.zeros((3, 4), bool)[::2],
        np.zeros((0, 2)),
        np.array([1, 2], ">i4"),
        np.int32(-5),
        np.float64(1.5),
        np.bool_(True),
        np.array(["text", "µ"]),
    ],
    ids=str,
)
def test_arrays_and_numbers_come_back_as_they_were(tmp_path: Path, value: Any, protocol: int) -> None:
    [[read]] = read_pickles(write(tmp_path / "a.pkl", [value], protocol=protocol))  # type: ignore[misc]
    assert type(read) is type(value)
    assert read.dtype == value.dtype
    np.testing.assert_array_equal(read, value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_comes_back_as_it_was(tmp_path: Path, protocol: int) -> None:
    shared = [1, -2.5, None, True, "µ", b"\x00\xff", 2**70]
    value = {"list": shared, "again": shared, "tuple": (1, (2,)), "bytes": b"", "ordered": OrderedDict(a=1)}
    [read] = read_pickles(write(tmp_path / "a.pkl", value, protocol=protocol))
    assert read == value


def test_old_numpy_names_are_read(tmp_path: Path) -> None:
    data = pickle.dumps(np.arange(3), protocol=2).replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core" in data
    (tmp_path / "a.pkl").write_bytes(data)
    np.testing.assert_array_equal(read_pickles(tmp_path / "a.pkl")[0], np.arange(3))  # type: ignore[arg-type]


def test_all_documents_of_a_stream_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pkl", [1], {"b": np.arange(100_000)}, "c")
    first, second, third = read_pickles(path)
    assert (first, third) == ([1], "c")
    assert second["b"][-1] == 99_999  # type: ignore[index]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_shell_command_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    sentinel = tmp_path / "sentinel"
    path = write(tmp_path / "a.pkl", Calls(os.system, f"touch {sentinel}"), protocol=protocol)
    with pytest.raises(UnsafePickleError, match="nothing was run") as caught:
        read_pickles(path)
    assert "a.pkl" in caught.value.message
    assert not sentinel.exists()
    pickle.loads(path.read_bytes())  # the same file is no dud
    assert sentinel.exists()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", ["eval", "exec", "getattr", "__import__", "open", "list", "range", "print"])
def test_builtins_are_refused_by_name(tmp_path: Path, name: str, protocol: int) -> None:
    sentinel = tmp_path / "sentinel"
    arguments = (f"open({str(sentinel)!r}, 'w').close()",)
    path = write(tmp_path / "a.pkl", Calls(getattr(builtins, name), *arguments), protocol=protocol)
    with pytest.raises(UnsafePickleError, match=name):
        read_pickles(path)
    assert not sentinel.exists()


@pytest.mark.parametrize("protocol", [2, 5])
def test_code_deep_in_a_later_document_is_refused(tmp_path: Path, protocol: int) -> None:
    sentinel = tmp_path / "sentinel"
    evil = [{"start_x": 0}, {"segmentation": np.zeros(3), "area": (1, [Calls(os.system, f"touch {sentinel}")])}]
    path = write(tmp_path / "a.pkl", [{"start_x": 1}], evil, protocol=protocol)
    with pytest.raises(UnsafePickleError, match=r"system.*nothing was run"):
        read_pickles(path)
    assert not sentinel.exists()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"\x80\x04\x8c\x16numpy._core.multiarray\x94\x8c\x18_reconstruct.__globals__\x93.", "__globals__"),
        (b"\x80\x02cnumpy\nload\n.", "numpy.load"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02(inumpy\ndtype\n.", "INST"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "BINPERSID"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x02cnumpy\ndtype\n)\x81.", "NEWOBJ"),
    ],
)
def test_other_ways_out_are_refused(tmp_path: Path, data: bytes, word: str) -> None:
    (tmp_path / "a.pkl").write_bytes(data)
    with pytest.raises(InputError, match=word):
        read_pickles(tmp_path / "a.pkl")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    data = pickle.dumps(np.array(["abc"]), protocol=4)
    sound = "abc".encode("utf-32-le")
    assert sound in data
    (tmp_path / "a.pkl").write_bytes(data.replace(sound, b"\xff" * len(sound)))
    with pytest.raises(InputError, match="cannot be read"):
        read_pickles(tmp_path / "a.pkl")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        np.array([{}, None], object),
        np.zeros(2, [("a", "i4")]),
        np.array([b"bytes"]),
        np.dtype("i4"),
        nested(100),
        endless(),
    ],
    ids=["objects", "fields", "text", "type", "deep", "cycle"],
)
def test_what_the_files_never_hold_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(InputError):
        read_pickles(write(tmp_path / "a.pkl", value))


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02cnumpy\ndtype\n}U\x08__dict__K\x01sb.",  # sets an attribute on a stand-in
        b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00i4\x85R}b.",  # a state that is none
        b"\x80\x02cnumpy\ndtype\n.",  # the stand-in itself as data
        b"\x80\x02]r\xff\xff\xff\x7f.",  # a memo of 64 GiB
        b"\x80\x02c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.",  # bytes(2 GiB)
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.",  # a length beyond the file
        b"\x80\x04N",  # no end
        b"\x80\x04N.N",  # bytes after the end
        b"\x80\x04R.",  # a call of nothing
        b"not a pickle",
        b"",
    ],
)
def test_crafted_streams_end_in_an_input_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(data)
    with pytest.raises(InputError):
        read_pickles(tmp_path / "a.pkl")


def test_an_array_with_too_few_bytes_is_refused(tmp_path: Path) -> None:
    data = pickle.dumps(np.arange(3, dtype=np.int64), protocol=3)
    wrong = data.replace(struct.pack("<B", 3) + b"\x85", struct.pack("<B", 9) + b"\x85", 1)
    assert wrong != data
    (tmp_path / "a.pkl").write_bytes(wrong)
    with pytest.raises(InputError, match="24 bytes"):
        read_pickles(tmp_path / "a.pkl")


def test_a_stream_cut_anywhere_is_refused(tmp_path: Path) -> None:
    one = pickle.dumps([np.arange(5), {"a": 1.5}])
    path = tmp_path / "a.pkl"
    for cut in range(1, len(one)):
        path.write_bytes(one + one[:cut])
        with pytest.raises(InputError, match="cannot be read"):
            read_pickles(path)


def test_shared_parts_cost_nothing(tmp_path: Path) -> None:
    value: list[Any] = []
    for _ in range(15):
        value = [value] * 10  # 10 ** 15 lists when written out
    assert len(read_pickles(write(tmp_path / "a.pkl", value))[0]) == 10  # type: ignore[arg-type]


def test_size_and_length_are_limited(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pkl", list(range(1000)))
    with pytest.raises(InputError, match="bytes"):
        read_pickles(path, max_bytes=100)
    with pytest.raises(InputError, match="instructions"):
        read_pickles(path, max_steps=500)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pkl"):
        read_pickles(tmp_path / "none.pkl")

"""HDF5 on file systems without locks: no lock is asked for, so none can fail."""

import ast
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from h5_files import WRITE, grid

from sammil_cli.storage import files
from sammil_cli.storage.hdf5 import read_hdf5

PACKAGE = Path(files.__file__).parents[1]


@pytest.fixture
def locked() -> Iterator[list[int]]:
    """Descriptors whose locks end with the test. HDF5's own lock on such a file fails, as one that is not offered."""
    if "HDF5_USE_FILE_LOCKING" in os.environ:
        pytest.skip("HDF5_USE_FILE_LOCKING overrules what a program asks for")
    descriptors: list[int] = []
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)


def lock(path: Path | str, descriptors: list[int]) -> None:
    descriptors.append(os.open(path, os.O_RDWR))
    fcntl.flock(descriptors[-1], fcntl.LOCK_EX)


def write(path: Path) -> None:
    WRITE["patches"](path)


@pytest.mark.parametrize("mapped", [False, True])
def test_a_file_is_read_where_it_cannot_be_locked(tmp_path: Path, locked: list[int], mapped: bool) -> None:
    write(tmp_path / "a.h5")
    lock(tmp_path / "a.h5", locked)
    with pytest.raises(OSError, match="lock"):
        h5py.File(tmp_path / "a.h5", "r", locking=True)
    arrays, _ = read_hdf5(tmp_path / "a.h5", "patches", mapped=mapped)
    assert arrays["xy"].tolist() == grid("a").xy.tolist()


def test_a_file_is_written_where_it_cannot_be_locked(
    tmp_path: Path, locked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = files.tempfile.mkstemp

    def make_and_lock(**options: object) -> tuple[int, str]:
        handle, name = make(**options)
        lock(name, locked)
        return handle, name

    monkeypatch.setattr(files.tempfile, "mkstemp", make_and_lock)
    write(tmp_path / "a.h5")
    assert len(locked) == 1
    assert read_hdf5(tmp_path / "a.h5", "patches")[0]["xy"].shape == (3, 2)


def test_no_place_of_the_package_opens_hdf5_with_a_lock() -> None:
    opened = [
        (path.name, node.lineno, {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords})
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("h5py.File")
    ]
    assert len(opened) >= 3
    assert [place for *place, given in opened if given.get("locking") != "False"] == []

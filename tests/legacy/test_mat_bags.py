"""MATLAB's files of classical data sets: arrays as scipy reads them, bags and labels, refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from typer.testing import CliRunner

from sammil_cli.cli.app import app
from sammil_cli.errors import InputError
from sammil_cli.features.bag import read_bag
from sammil_cli.legacy.inventory import Kind, take_inventory
from sammil_cli.legacy.mat_bags import read_mat_bags
from sammil_cli.legacy.mat_file import read_mat_arrays
from sammil_cli.storage.paths import BagPath

ROWS = np.arange(20, dtype=np.float64).reshape(5, 4) / 7
GOOD: dict[str, Any] = {
    "X": ROWS,
    "Bag2": np.array([[2.0], [1], [2], [3], [1]]),
    "bagI": np.array([[False], [True], [False]]),
}


def saved(folder: Path, arrays: dict[str, Any], *, packed: bool = False) -> Path:
    """One file for each array, as the published sets have them; returns that of X."""
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        savemat(folder / f"{name}.mat", {name: array}, do_compression=packed)
    return folder / "X.mat"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_arrays_are_read_as_scipy_reads_them(tmp_path: Path, kind: str, packed: bool) -> None:
    arrays = {"a": np.arange(6).reshape(3, 2).astype(kind), "longer_name": np.array([[3]], kind)}
    savemat(tmp_path / "a.mat", {**arrays, "text": "abc", "cells": np.array(["a", 1], object)}, do_compression=packed)
    found, theirs = read_mat_arrays(tmp_path / "a.mat"), loadmat(tmp_path / "a.mat")
    assert sorted(found) == ["a", "longer_name"]
    for name, array in found.items():
        np.testing.assert_array_equal(array, theirs[name])
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize("packed", [False, True])
def test_rows_go_to_the_bag_that_is_named(tmp_path: Path, packed: bool) -> None:
    found = read_mat_bags(saved(tmp_path / "fox", GOOD, packed=packed))
    assert found.labels == {"fox_1": "negative", "fox_2": "positive", "fox_3": "negative"}
    for name, rows in {"fox_1": [1, 4], "fox_2": [0, 2], "fox_3": [3]}.items():
        np.testing.assert_array_equal(found.bags[name].features, ROWS[rows].astype(np.float32))


def test_all_arrays_may_lie_in_one_file(tmp_path: Path) -> None:
    savemat(tmp_path / "all.mat", GOOD)
    assert len(read_mat_bags(tmp_path / "all.mat").bags) == 3
    assert take_inventory(tmp_path).of(Kind.MAT_BAGS) == (tmp_path / "all.mat",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Bag2": GOOD["Bag2"][:4]}, "X has 5 rows, and Bag2 names the bag of 4"),
        ({"Bag2": GOOD["Bag2"] - 1}, "does not number the 3 bags"),
        ({"Bag2": GOOD["Bag2"] + 0.5}, "does not number the 3 bags"),
        ({"Bag2": GOOD["Bag2"] * np.nan}, "does not number the 3 bags"),
        ({"bagI": np.array([[0], [1], [0], [1]])}, "does not number the 4 bags"),
        ({"bagI": np.array([[1], [2], [1]])}, "other numbers than 0 and 1"),
        ({"X": np.zeros((2, 3, 4))}, "X has the shape"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_mat_bags(saved(tmp_path / "fox", GOOD | change))


def test_what_is_missing_or_lies_there_twice_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "fox", GOOD)
    savemat(tmp_path / "fox" / "again.mat", {"bagI": GOOD["bagI"]})
    with pytest.raises(InputError, match=r"bagI lies in again\.mat and in bagI\.mat"):
        read_mat_bags(path)
    for name in ("again.mat", "bagI.mat"):
        (tmp_path / "fox" / name).unlink()
    with pytest.raises(InputError, match="holds bagI"):
        read_mat_bags(path)


def test_a_packed_array_larger_than_it_says_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sammil_cli.legacy.mat_file._MOST_BYTES", 1 << 16)
    savemat(tmp_path / "a.mat", {"X": np.zeros((1 << 10, 1 << 10))}, do_compression=True)
    with pytest.raises(InputError, match="larger than is read"):
        read_mat_arrays(tmp_path / "a.mat")


@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files_are_refused_or_read(tmp_path: Path, packed: bool) -> None:
    path = saved(tmp_path / "fox", GOOD, packed=packed)
    good, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        bad = bytearray(good)
        for place in rng.integers(len(bad), size=rng.integers(1, 6)):
            bad[place] = rng.integers(256)
        path.write_bytes(bad[: rng.integers(len(bad))] if rng.random() < 0.2 else bad)
        try:
            read_mat_bags(path)
        except InputError:
            refused += 1
    assert refused > 100


def test_a_cohort_comes_with_its_labels_and_yours_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "fox", GOOD)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    refused = CliRunner().invoke(app, ["convert-legacy", "../fox"], catch_exceptions=True)
    assert isinstance(refused.exception, InputError)
    assert "--no-coords" in refused.exception.remedy
    for _ in range(2):  # the second time they are yours
        done = CliRunner().invoke(app, ["convert-legacy", "../fox", "--no-coords"])
        assert done.exit_code == 0, done.output
    assert Path("data/labels.csv").read_text().splitlines()[1:] == [
        "fox_1,negative,fox_1",
        "fox_2,positive,fox_2",
        "fox_3,negative,fox_3",
    ]
    np.testing.assert_array_equal(
        read_bag(BagPath(Path("artifacts/bags/fox_2.h5"))).features, ROWS[[0, 2]].astype("f4")
    )

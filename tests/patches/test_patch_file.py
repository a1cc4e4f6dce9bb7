"""The patch grid on disk."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5_files import grid

from sammil_cli.errors import InputError
from sammil_cli.patches.file import read_patches, write_patches
from sammil_cli.patches.patch_grid import SCORES

FACTS = (
    *("slide_id", "patch_px", "patch_mpp", "patch_px_level0", "step_px_level0"),
    *("slide_mpp", "slide_size_px", "bounds_px", "uncovered"),
)

GRID = grid("s-1")


def test_a_grid_comes_back_as_it_was(tmp_path: Path) -> None:
    write_patches(tmp_path / "s-1.h5", GRID, {"step": "patch"})
    back = read_patches(tmp_path / "s-1.h5")
    np.testing.assert_array_equal(back.xy, GRID.xy)
    for name in (*FACTS, "waterfall"):
        assert getattr(back, name) == getattr(GRID, name), name
    for name in SCORES:
        np.testing.assert_array_equal(back.scores[name], GRID.scores[name])


def test_a_grid_without_step_and_scores_comes_back_without_them(tmp_path: Path) -> None:
    bare = replace(GRID, step_px_level0=None, scores={}, waterfall={})
    write_patches(tmp_path / "s-1.h5", bare, {"step": "patch"})
    back = read_patches(tmp_path / "s-1.h5")
    assert (back.step_px_level0, dict(back.scores), dict(back.waterfall)) == (None, {}, {})


def test_the_file_is_what_the_contract_says(tmp_path: Path) -> None:
    write_patches(tmp_path / "s-1.h5", GRID, {"step": "patch"})
    with h5py.File(tmp_path / "s-1.h5") as file:
        assert list(file) == sorted(["xy", *SCORES])
        assert {file[name].dtype for name in SCORES} == {np.dtype(np.float16)}
        assert (file["xy"].dtype, file["xy"].shape) == (np.int32, (3, 2))
        assert set(file.attrs) == {"kind", "schema", "provenance", "sums", "waterfall", *FACTS}
        assert (file.attrs["kind"], file.attrs["schema"]) == ("patches", 2)


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_patches(tmp_path / name / "s-1.h5", GRID, {"step": "patch"})
    assert (tmp_path / "a" / "s-1.h5").read_bytes() == (tmp_path / "b" / "s-1.h5").read_bytes()


def test_a_grid_of_clam_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "clam.h5", "w") as file:
        file["coords"] = GRID.xy
    with pytest.raises(InputError, match="no patches file"):
        read_patches(tmp_path / "clam.h5")
